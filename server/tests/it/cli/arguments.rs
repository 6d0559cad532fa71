//! Which words are understood, and what the exit code says about those that are not.

use super::{Rooms, handstamp};
use handstamp_server::cli::Exit;

#[test]
fn what_is_not_understood_is_a_usage_error() {
    for words in [
        "",
        "serve extra",
        "sevre",
        "serve --lisen 127.0.0.1:1",
        "config",
        "keys",
        "keys create",
        "keys create name --scope sessions:read --operator",
        "keys create name --for shop/prd",
        "keys create name --scope a --expires-in soon",
        "keys create name --scope a --expires-in 500ms",
        "keys list --key hsk_x",
        "sessions list --state dead",
        "sessions list --limit 0",
        "sessions revoke ses_1 --user u",
        "sessions revoke ses_1 --dry-run",
        "sessions revoke --all --user u",
        "sessions revoke --all --after 2026-01-31T13:45:00Z",
        "environments create",
        "session-types",
        "session-types show",
        "backup",
        "policy",
        "policy check",
        "policy explain --session ses_1 --user ada",
        "policy explain --user ada --tag role:admin",
        "policy rollback first",
        "bench --connections 0",
        "bench --duration 0s",
        "--json",
    ] {
        let ran = handstamp(words).keyed().run();
        assert_eq!((ran.exit, ran.out.as_str()), (Exit::Usage, ""), "{words}");
        let usage = ran.err.contains("Usage: handstamp") || ran.err.contains("--help");
        assert!(ran.asked.is_empty() && usage, "{words}: {}", ran.err);
    }
    // Understood as words, and still not enough to do anything.
    for (words, wanted) in [
        ("sessions revoke", "which sessions?"),
        ("sessions revoke --except ses_1", "which sessions?"),
        ("environments create prd", "`prd` is not product/environment"),
        ("environments create shop/", "`shop/` is not product/environment"),
        ("sessions list --url 127.0.0.1:7411", "--url is not the address of a server"),
        ("sessions list --url http://u:PLANTED@h", "--url is not the address of a server"),
        ("sessions validate", "no token was given"),
        ("policy rollback 1", "Nobody is here to answer (say --yes to go on without)"),
        ("keys revoke key_1", "Nobody is here to answer (say --yes to go on without)"),
    ] {
        let said = handstamp(words).keyed().run().usage();
        assert!(said.starts_with("error: ") && said.contains(wanted), "{words}: {said}");
    }
}

/// Who asks for JSON gets it, also where the words were not understood.
#[test]
fn a_usage_error_is_json_too() {
    for (words, wanted) in [
        ("environments --bogus --json", "--bogus"),
        ("--json sevre", "sevre"),
        ("keys create --json", "<NAME>"),
        ("sessions list --limit 0 --json", "--limit"),
        ("keys --json", "command"),
        ("--json", "command"),
        ("sessions revoke --json", "which sessions?"),
    ] {
        let said = handstamp(words).keyed().run().usage();
        let said: serde_json::Value =
            serde_json::from_str(&said).unwrap_or_else(|why| panic!("{words}: {why}: {said}"));
        assert!(said["error"]["message"].as_str().unwrap().contains(wanted), "{words}: {said}");
        assert!(said["error"]["help"].as_str().is_some_and(|help| !help.is_empty()), "{words}: {said}");
    }
    // A word behind `--` is no flag.
    assert!(handstamp("backup -- a --json").run().usage().starts_with("error: "));
}

#[test]
fn help_and_version_are_answers() {
    for words in ["--help", "-h", "keys --help", "sessions revoke --help"] {
        let said = handstamp(words).run().done();
        assert!(said.contains("Usage: handstamp"), "{words}");
        assert!(!said.contains("--key "), "{words}: a key on the command line can be seen by everybody");
    }
    assert_eq!(handstamp("--version").run().done(), format!("handstamp {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn global_flags_stand_before_or_after_the_verb() {
    for words in ["serve --listen 127.0.0.1:9", "--listen 127.0.0.1:9 serve"] {
        let ran = handstamp(words).run();
        assert_eq!(ran.asked, ["serve 127.0.0.1:9"], "{words}");
        assert_eq!(ran.done(), "");
    }
}

#[test]
fn a_wrong_configuration_keeps_every_verb_from_running() {
    let words = ["serve", "config show", "config reload", "backup f", "keys list", "healthcheck", "bench"];
    for verb in words {
        let ran = handstamp(verb).file("[log]\nlevel = \"loud\"\n[server]\nlisen = 1\n").keyed().run();
        assert!(ran.asked.is_empty());
        let said = ran.failed();
        assert!(said.starts_with("error: the configuration is not right\n"), "{said}");
        assert!(said.contains("handstamp.toml:2: log.level: `loud`"), "{said}");
        assert!(
            said.contains(
                "handstamp.toml:4: server.lisen: unknown key; the nearest known one is server.listen"
            ),
            "{said}"
        );
    }
    let said = handstamp("serve --json").file("[log]\nlevel = \"loud\"").run().failed();
    let said: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!(said["error"]["code"], "configuration_invalid");
    assert_eq!(said["error"]["details"]["problems"][0]["key"], "log.level");
}

#[test]
fn a_failure_of_a_room_is_exit_code_one() {
    let broken = || Rooms { fails: true, ..Rooms::default() };
    for verb in ["serve", "keys generate", "config reload", "doctor", "backup f"] {
        let said = handstamp(verb).rooms(broken()).run().failed();
        assert_eq!(said, "error: the disk is full (make room)\n", "{verb}");
    }
}
