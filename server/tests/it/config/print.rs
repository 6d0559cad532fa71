//! The sample file, the schema and the listing all say what the table says, and no secret is ever shown.

use super::{Said, access_key, good, kept, lines, load, written};
use handstamp_server::config::key::{Layers, keys};
use handstamp_server::config::setting::Word;
use handstamp_server::config::store::StoreUrl;
use handstamp_server::config::{Config, ConfigFile, Environment, Flags, Sources, print, unread_keys};
use serde_json::json;
use std::path::Path;

#[test]
fn the_table_and_the_structs_are_in_step() {
    assert_eq!(unread_keys().unwrap(), Vec::<String>::new());
}

#[test]
fn the_committed_sample_is_what_config_init_prints() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../handstamp.example.toml");
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == print::sample(),
        "handstamp.example.toml is stale: run `cargo run -q -p handstamp-server -- config init > handstamp.example.toml`"
    );
}

#[test]
fn the_sample_changes_nothing() {
    let sample: &'static str = kept(print::sample());
    let config = good(sample);
    let plain = load(&Said::default()).ok().unwrap();
    assert_eq!(print::listing_json(&config, true), print::listing_json(&plain, true));
    assert!(config.warnings.is_empty() && !config.policy.managed_by_file);
}

/// Uncommented, every line of it is right, and every key of the file is in it.
#[test]
fn every_line_of_the_sample_can_be_used() {
    let there = written("there", "x").display().to_string();
    let text: String = print::sample()
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(rest) if !rest.starts_with(' ') && !rest.is_empty() => format!("{rest}\n"),
            _ => format!("{line}\n"),
        })
        .collect();
    let text = ["/etc/handstamp/tls.crt", "/etc/handstamp/tls.key", "/run/secrets/master-key"]
        .iter()
        .fold(text, |text, path| text.replace(path, &there))
        .replace("__Host-handstamp", "__Secure-handstamp")
        .replace("access_key = \"...\"", &format!("access_key = \"{}\"", access_key(1)));
    let text: &'static str = kept(text);
    let found = load(&Said { file: Some(text), ..Said::default() });
    let config = match found {
        Ok(config) => config,
        problems => panic!("{:#?}", lines(problems)),
    };
    for entry in &config.entries {
        let in_a_file = entry.key.layers != Layers::Environment;
        assert_eq!(entry.origin.to_string() != "default", in_a_file, "{}", entry.path);
    }
}

#[test]
fn no_two_keys_share_a_name_and_each_default_is_right() {
    let mut paths: Vec<String> = keys().map(|key| key.path()).collect();
    let all = paths.len();
    paths.sort();
    paths.dedup();
    assert_eq!(paths.len(), all);
    for key in keys() {
        let default = handstamp_server::config::setting::Given::Loose(key.default.to_owned());
        assert!(key.look(&default).is_ok(), "{}", key.path());
        assert!(!key.about.is_empty() && !key.about.ends_with('.'), "{}", key.path());
    }
}

#[test]
fn show_says_what_stands_and_who_said_so() {
    let said = Said {
        file: Some(
            "[log]\nlevel = \"debug\"\n[cors]\norigins = [\"https://a.example\", \"https://b.example\"]\n",
        ),
        environment: vec![("HANDSTAMP_CACHE__MAX_BYTES", "67108864".to_owned())],
        flags: Flags { listen: Some("127.0.0.1:9".to_owned()), ..Flags::default() },
    };
    let config = load(&said).ok().unwrap();
    let text = print::listing(&config, true);
    let line = |path: &str| {
        let start = format!("{path} = ");
        text.lines().find(|line| line.starts_with(&start)).unwrap().to_owned()
    };
    assert!(line("server.listen").starts_with("server.listen = \"127.0.0.1:9\" "));
    assert!(line("server.listen").ends_with("# --listen"));
    assert!(line("log.level").ends_with("handstamp.toml:2"));
    assert!(line("cache.max_bytes").starts_with("cache.max_bytes = \"64MiB\" "));
    assert!(line("cache.max_bytes").ends_with("# HANDSTAMP_CACHE__MAX_BYTES"));
    assert!(line("cors.origins").contains("[\"https://a.example\", \"https://b.example\"]"));
    assert!(line("cookie.domain").contains("(not set)") && line("cookie.domain").ends_with("# default"));
    assert!(!print::listing(&config, false).contains('#'));
    let with = print::listing_json(&config, true);
    assert_eq!(with["server.listen"], json!({"value": "127.0.0.1:9", "origin": "--listen"}));
    assert_eq!(print::listing_json(&config, false)["cookie.secure"], json!(true));
    assert_eq!(with.as_object().unwrap().len(), keys().count());
}

#[test]
fn secrets_are_never_shown() {
    let key = access_key(1);
    let said = Said {
        file: Some("[control]\nurl = \"postgres://u:PLANTED@h/d?sslpassword=PLANTED\"\n"),
        environment: vec![
            ("HANDSTAMP_BOOTSTRAP__ACCESS_KEY", key.clone()),
            ("HANDSTAMP_SERVER__MASTER_KEY", "PLANTED".to_owned()),
        ],
        ..Said::default()
    };
    let config = load(&said).ok().unwrap();
    assert_eq!(config.bootstrap.access_key.as_ref().unwrap().expose_secret(), key);
    let shown = print::listing(&config, true)
        + &print::listing(&config, false)
        + &print::listing_json(&config, true).to_string()
        + &config.warnings.join("\n");
    assert!(!shown.contains("PLANTED") && !shown.contains(&key[4..20]), "{shown}");
    let values = print::listing_json(&config, false);
    assert_eq!(values["bootstrap.access_key"], json!("(set)"));
    assert_eq!(values["server.master_key"], json!("(set)"));
    assert_eq!(values["control.url"], json!("postgres://***@h/d?***"));
}

#[test]
fn of_the_address_of_a_store_all_is_shown_but_who_comes_and_how_they_prove_it() {
    for (url, shown) in [
        ("postgres://u:PLANTED@h:7,i/d", "postgres://***@h:7,i/d"),
        ("postgres://u@h/d?schema=a&sslmode=disable", "postgres://***@h/d?schema=a&sslmode=disable"),
        ("postgres://u@h/d?sslmode=disable&password=PLANTED", "postgres://***@h/d?sslmode=disable&***"),
        ("postgres://u@h/d?PLANTED", "postgres://***@h/d?***"),
        // What should stand as %XX, and does not: no database has such an address, and it is shown all the same.
        ("postgres://u:PLA?NTED@h/d", "postgres://***@h/d"),
        ("postgres://u:PLA/N@TED@h/d", "postgres://***@h/d"),
        ("postgres://u:PLANTED", "postgres://***"),
        ("postgres://u:PLANTED?schema=a", "postgres://***?schema=a"),
        ("redis://:PLANTED@h:6379/0", "redis://***@h:6379/0"),
    ] {
        let text = StoreUrl::parse(url).unwrap_or_else(|why| panic!("{why}")).text();
        assert_eq!(text, shown, "{url}");
        assert!(!text.contains("PLA") && !text.contains("TED"), "{text}");
    }
}

#[test]
fn the_schema_knows_every_key_of_the_file() {
    let schema = print::schema();
    for key in keys() {
        let mut at = &schema;
        for part in key.section.split('.') {
            at = &at["properties"][part];
        }
        assert_eq!(at["additionalProperties"], json!(false), "{}", key.path());
        let there = at["properties"].get(key.name).is_some();
        assert_eq!(there, key.layers != Layers::Environment, "{}", key.path());
    }
    let properties = &schema["properties"];
    assert_eq!(properties["server"]["properties"]["listen"]["default"], json!("127.0.0.1:7411"));
    assert_eq!(properties["cookie"]["properties"]["same_site"]["enum"], json!(["Strict", "Lax", "None"]));
    assert_eq!(properties["server"]["properties"]["max_connections"]["maximum"], json!(1_000_000));
    let tag = &properties["policy"]["properties"]["tag"]["additionalProperties"]["properties"];
    assert!(tag["seats"].is_object() && tag["idle_timeout"].get("default").is_none());
    assert!(properties["session_type"]["additionalProperties"]["properties"]["selector"].is_object());
}

/// Nothing that an operator writes makes the reader fall over.
#[test]
fn no_file_panics() {
    use proptest::prelude::*;
    let mut runner =
        proptest::test_runner::TestRunner::new(ProptestConfig { cases: 512, ..ProptestConfig::default() });
    let sections: Vec<String> = keys().map(|key| format!("[{}]\n{} = ", key.section, key.name)).collect();
    let value = prop_oneof![
        "[ -~]{0,30}",
        "\"\\PC{0,20}\"",
        "\\[(\"[a-z:/.*0-9-]{0,12}\",){0,3}\\]",
        "\\{ \"[a-z.:]{0,6}\" = \"[a-z/]{0,6}\" \\}",
        "-?[0-9]{1,20}",
    ];
    let file = written("handstamp.toml", "");
    let sources = Sources {
        file: ConfigFile::Named(file.clone()),
        environment: Environment::default(),
        flags: Flags::default(),
    };
    runner
        .run(&(proptest::sample::select(sections), value), |(key, value)| {
            std::fs::write(&file, format!("{key}{value}\n")).unwrap();
            let _ = Config::load(&sources).map_err(|problems| problems.to_string());
            Ok(())
        })
        .unwrap();
}
