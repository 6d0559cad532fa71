//! The first start, and the next one.

use super::{Place, clock};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::Duration;

#[test]
fn the_first_start_prints_what_works_as_pasted() {
    let place = Place::new();
    let server = place.serve();
    assert!(server.welcome.contains(&server.address) && server.welcome.contains(&server.key));
    // Every curl that is printed, as a person pastes it.
    let pasted: Vec<String> = curls(&server.welcome);
    assert_eq!(pasted.len(), 2, "{}", server.welcome);
    let made = shell(&pasted[0]);
    let made: serde_json::Value = serde_json::from_str(&made).unwrap_or_else(|why| panic!("{why}: {made}"));
    assert_eq!(made["session"]["user_id"], "ada");
    let token = made["token"].as_str().unwrap();
    let said = shell(&pasted[1].replace("hst_...", token));
    assert!(said.contains("\"valid\":true"), "{said}");
    for (name, mode) in [("", 0o700), ("master.key", 0o600), ("access.key", 0o600), ("handstamp.db", 0o600)] {
        let found = std::fs::metadata(place.data().join(name)).unwrap().permissions().mode() & 0o7777;
        assert_eq!(found, mode, "{name}");
    }
    for entry in std::fs::read_dir(place.data()).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{} is not private", entry.path().display());
    }
    let key = server.key.clone();
    let log = server.stop();
    assert!(!log.contains(&key) && !log.contains(token), "a secret is in the log");
    // The second start says nothing of the key, and knows everything.
    let server = place.serve();
    assert!(!server.welcome.contains(&key));
    assert_eq!(server.validate(token), None);
    server.stop();
    // Whoever works on the store is said only while it does.
    assert!(!place.data().join("handstamp.db.run").exists());
}

fn curls(welcome: &str) -> Vec<String> {
    let joined = welcome.replace("\\\n", " ");
    joined.lines().map(str::trim).filter(|line| line.starts_with("curl ")).map(str::to_owned).collect()
}

fn shell(line: &str) -> String {
    let ran = Command::new("sh").arg("-c").arg(line).output().unwrap();
    assert!(ran.status.success(), "{line}: {}", String::from_utf8_lossy(&ran.stderr));
    String::from_utf8(ran.stdout).unwrap()
}

#[test]
fn an_empty_store_answers_within_a_second() {
    // The best of some: other tests run beside.
    let best = (0..5)
        .map(|_| {
            let place = Place::new();
            let began = clock();
            let server = place.serve();
            assert_eq!(server.call("GET", "/readyz", None).0, 200);
            let took = began.elapsed();
            assert!(server.took <= took);
            took
        })
        .min();
    println!("from nothing to the first answer: {best:?}");
    assert!(best < Some(Duration::from_secs(1)), "{best:?}");
}

/// At level `debug` every call has its line, the hottest one too, and by default none has.
#[test]
fn a_line_for_each_call() {
    for (level, lines) in [("debug", 1), ("info", 0)] {
        let place = Place::new();
        place.configure(&format!("[log]\nlevel = \"{level}\"\n"));
        let server = place.serve();
        let (_, token) = server.create("ada");
        assert_eq!(server.validate(&token), None);
        let key = server.key.clone();
        let log = server.stop();
        for route in ["\"/v1/sessions/validate\"", "\"/v1/sessions\""] {
            assert_eq!(log.matches(route).count(), lines, "{route}: {log}");
        }
        assert!(!log.contains(&key) && !log.contains(&token), "{log}");
    }
}
