//! A second reading: what changes in the running server, what waits for a restart, and that an error changes nothing.

use super::{access_key, directory, written};
use handstamp_core::time::Span;
use handstamp_server::config::log::Level;
use handstamp_server::config::reload::{Change, reload};
use handstamp_server::config::{Config, ConfigFile, Environment, Flags, Sources};
use serde_json::json;
use std::path::PathBuf;

struct Bench {
    file: PathBuf,
    sources: Sources,
    running: Config,
}

fn start(text: &str) -> Bench {
    let file = directory().join("handstamp.toml");
    std::fs::write(&file, text).unwrap();
    let sources = Sources {
        file: ConfigFile::Named(file.clone()),
        environment: Environment::default(),
        flags: Flags::default(),
    };
    let running = Config::load(&sources).ok().unwrap();
    Bench { file, sources, running }
}

fn names(changes: &[Change]) -> Vec<&str> {
    changes.iter().map(|change| change.path.as_str()).collect()
}

#[test]
fn what_may_change_changes_and_the_rest_is_told() {
    let bench = start("[policy.default]\nidle_timeout = \"1h\"\n");
    std::fs::write(
        &bench.file,
        "[policy.default]\nidle_timeout = \"15m\"\n[log]\nlevel = \"debug\"\nformat = \"json\"\n\
         [cors]\norigins = [\"https://a.example\"]\n[login]\nurl = \"/login\"\nredirect_origins = [\"https://a.example\"]\n\
         [server]\nlisten = \"127.0.0.1:9\"\n",
    )
    .unwrap();
    let done = reload(&bench.running, &bench.sources).ok().unwrap();
    assert_eq!(
        names(&done.changed),
        ["cors.origins", "login.redirect_origins", "log.level", "policy.default.idle_timeout"]
    );
    assert_eq!(names(&done.restart), ["server.listen", "login.url", "log.format"]);
    let idle = &done.changed[3];
    assert_eq!((&idle.before, &idle.after), (&json!("1h"), &json!("15m")));
    assert!(idle.to_string().starts_with("policy.default.idle_timeout: \"1h\" is now \"15m\" ("), "{idle}");

    let now = &done.config;
    assert_eq!(
        (now.policy.policy.of_tags([]).idle_timeout.value, now.log.level),
        (Span::minutes(15), Level::Debug)
    );
    assert_eq!((now.cors.origins.len(), now.login.redirect_origins.len()), (1, 1));
    assert_eq!((now.server.listen.port(), now.login.url.as_deref()), (7411, None));
    let listed = handstamp_server::config::print::listing_json(now, false);
    assert_eq!((&listed["server.listen"], &listed["log.level"]), (&json!("127.0.0.1:7411"), &json!("debug")));

    // Again: what changed is quiet, what waits is told again.
    let again = reload(&done.config, &bench.sources).ok().unwrap();
    assert!(again.changed.is_empty());
    assert_eq!(names(&again.restart), ["server.listen", "login.url", "log.format"]);
}

#[test]
fn an_error_changes_nothing() {
    let bench = start("[log]\nlevel = \"info\"\n");
    std::fs::write(&bench.file, "[log]\nlevel = \"debug\"\n[cors]\norigins = [\"*\"]\n").unwrap();
    let problems = reload(&bench.running, &bench.sources).err().unwrap();
    assert_eq!(problems.0.len(), 1);
    std::fs::remove_file(&bench.file).unwrap();
    assert!(reload(&bench.running, &bench.sources).is_err());
}

#[test]
fn certificates_may_move_but_tls_is_not_switched() {
    let [one, two] = ["one.pem", "two.pem"].map(|name| written(name, "x").display().to_string());
    let with = |pem: &str| format!("[server]\ntls_cert = \"{pem}\"\ntls_key = \"{pem}\"\n");
    let bench = start(&with(&one));
    std::fs::write(&bench.file, with(&two)).unwrap();
    let moved = reload(&bench.running, &bench.sources).ok().unwrap();
    assert_eq!(names(&moved.changed), ["server.tls_cert", "server.tls_key"]);
    assert_eq!(moved.config.server.tls.as_ref().unwrap().cert.display().to_string(), two);
    std::fs::write(&bench.file, "").unwrap();
    let off = reload(&bench.running, &bench.sources).ok().unwrap();
    assert_eq!(names(&off.restart), ["server.tls_cert", "server.tls_key"]);
    assert_eq!(off.config.server.tls.as_ref().unwrap().cert.display().to_string(), one);
}

#[test]
fn a_changed_secret_is_seen_and_not_shown() {
    let key = |seed| format!("[bootstrap]\naccess_key = \"{}\"\n", access_key(seed));
    let bench = start(&key(1));
    std::fs::write(&bench.file, key(2)).unwrap();
    let done = reload(&bench.running, &bench.sources).ok().unwrap();
    assert_eq!(names(&done.restart), ["bootstrap.access_key"]);
    assert_eq!((&done.restart[0].before, &done.restart[0].after), (&json!("(set)"), &json!("(set)")));
    std::fs::write(&bench.file, key(1)).unwrap();
    assert!(reload(&bench.running, &bench.sources).ok().unwrap().restart.is_empty());
}

#[test]
fn a_tag_that_comes_and_goes() {
    let bench = start("[policy.tag.\"role:admin\"]\nmax_sessions = 1\n");
    std::fs::write(&bench.file, "[policy.tag.\"org:acme\"]\nseats = 5\n").unwrap();
    let done = reload(&bench.running, &bench.sources).ok().unwrap();
    assert_eq!(
        names(&done.changed),
        ["policy.tag.\"org:acme\".seats", "policy.tag.\"role:admin\".max_sessions"]
    );
    assert_eq!(done.changed[1].after, json!(null));
}
