//! `handstamp config`.

use super::handstamp;
use serde_json::{Value as Json, json};

#[test]
fn check_says_that_it_is_right_or_what_is_wrong() {
    let said = handstamp("config check").run().done();
    assert!(said.ends_with("handstamp.toml is right\n"), "{said}");
    let said = handstamp("config check --listen 0.0.0.0:1").run().done();
    assert!(said.starts_with("warning: server.listen 0.0.0.0:1 can be reached"), "{said}");

    let ran = handstamp("config check").file("[log]\nlevel = \"loud\"\nlevl = 1\n").run();
    let lines: Vec<&str> = ran.out.lines().collect();
    assert_eq!(lines.len(), 2);
    assert!(
        lines[0].starts_with("error: ") && lines[0].contains("handstamp.toml:2: log.level: "),
        "{lines:?}"
    );
    assert!(
        lines[1].contains("handstamp.toml:3: log.levl: unknown key; the nearest known one is log.level"),
        "{lines:?}"
    );
    assert_eq!(ran.failed(), "");

    let ran = handstamp("config check --json").file("[log]\nlevel = \"loud\"").run();
    let said: Json = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((&said["ok"], &said["problems"][0]["key"]), (&json!(false), &json!("log.level")));
    ran.failed();
    let said: Json = serde_json::from_str(&handstamp("config check --json").run().done()).unwrap();
    assert_eq!(said, json!({"ok": true, "problems": [], "warnings": []}));
}

#[test]
fn show_init_and_schema() {
    let said = handstamp("config show --origin --listen 127.0.0.1:9").run().done();
    assert!(
        said.lines().any(|l| l.starts_with("server.listen = \"127.0.0.1:9\"") && l.ends_with("# --listen"))
    );
    let said: Json = serde_json::from_str(&handstamp("config show --json").run().done()).unwrap();
    assert_eq!(said["log.level"], json!("info"));
    // Neither needs a configuration that is right.
    let wrong = "[log]\nlevel = \"loud\"";
    let sample = handstamp("config init").file(wrong).run().done();
    assert_eq!(sample, handstamp_server::config::print::sample());
    let schema: Json = serde_json::from_str(&handstamp("config schema").file(wrong).run().done()).unwrap();
    assert_eq!(schema, handstamp_server::config::print::schema());
    handstamp("config check").file(&sample).run().done();
}

#[test]
fn reload_tells_the_server_only_what_is_right() {
    let ran = handstamp("config reload --data-dir /d").run();
    assert_eq!(ran.asked, ["reload /d"]);
    ran.done();
    let ran = handstamp("config reload").file("[log]\nlevel = \"loud\"").run();
    assert!(ran.asked.is_empty());
    ran.failed();
}
