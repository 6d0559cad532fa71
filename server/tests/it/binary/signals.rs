//! SIGTERM and SIGHUP.

use super::{Place, clock, eventually};
use rustix::process::Signal;
use serde_json::json;
use std::time::Duration;

/// A stop writes the last activity, to the millisecond, and does not wait for who does not go.
#[test]
fn a_stop_writes_activity_and_leaves_in_time() {
    let place = Place::new();
    let server = place.serve();
    let all: Vec<_> = (0..50).map(|n| server.create(&format!("u{n}"))).collect();
    eventually("another millisecond", || {
        let (_, token) = &all[0];
        assert_eq!(server.validate(token), None);
        let seen = server.get(&all[0].0);
        (seen["last_active_at"] != seen["created_at"]).then_some(())
    });
    for (_, token) in &all {
        assert_eq!(server.validate(token), None);
    }
    let before: Vec<_> = all.iter().map(|(id, _)| server.get(id)["last_active_at"].clone()).collect();
    // One that is in the middle of a request, and one that only sits there.
    let mut half = std::net::TcpStream::connect(&server.address).unwrap();
    std::io::Write::write_all(&mut half, b"POST /v1/sessions HTTP/1.1\r\nHost: x\r\nContent-Le").unwrap();
    let mut idle = server.client();
    idle.call("GET", "/livez", None).unwrap();
    let began = clock();
    server.stop();
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    let server = place.serve();
    for ((id, token), before) in all.iter().zip(before) {
        assert_eq!(server.get(id)["last_active_at"], before, "the last activity is not exact");
        assert_eq!(server.validate(token), None);
    }
}

/// New rules act on sessions that are there, from the next request on; wrong ones change nothing.
#[test]
fn a_reload_changes_the_rules_for_live_sessions() {
    let place = Place::new();
    place.configure("[policy.default]\nidle_timeout = \"1h\"\n");
    let server = place.serve();
    let (id, token) = server.create("ada");
    assert_eq!(server.validate(&token), None);
    place.configure("[policy.default]\nidle_timeout = \"no time at all\"\n");
    server.signal(Signal::HUP);
    eventually("a word about the mistake", || server.log().contains("not read again").then_some(()));
    assert_eq!(server.validate(&token), None);
    place.configure("[policy.default]\nidle_timeout = \"1s\"\n");
    let told = place.run(&["config", "reload"]).done();
    assert!(!told.is_empty());
    eventually("the reload", || server.log().contains("configuration read again").then_some(()));
    // A look that is no activity.
    let quiet = json!({"token": token, "touch": false});
    let code = eventually("the end of a second", || {
        let (_, said) = server.call("POST", "/v1/sessions/validate", Some(quiet.clone()));
        said["code"].as_str().map(str::to_owned)
    });
    assert_eq!(code, "session_idle");
    assert_eq!(server.get(&id)["state"], "ended");
    let (_, second) = server.create("bob");
    place.configure("[policy.default]\nidle_timeout = \"1h\"\n");
    server.signal(Signal::HUP);
    eventually("the second reload", || {
        (server.log().matches("configuration read again").count() >= 2).then_some(())
    });
    // Looser rules bring nobody back, and keep who is there.
    assert_eq!(server.validate(&token).as_deref(), Some("session_idle"));
    let _ = second;
    server.stop();
}

/// Nobody needs to say that the file has changed.
#[test]
fn a_changed_file_is_read_again_by_itself() {
    let place = Place::new();
    place.configure("[policy.default]\nidle_timeout = \"1h\"\n");
    let server = place.serve();
    let (_, token) = server.create("ada");
    assert_eq!(server.validate(&token), None);
    place.configure(
        "[policy.tag.\"role:admin\"]\nidle_timeout = \"1h\"\n[policy.default]\nidle_timeout = \"1s\"\n",
    );
    eventually("the reload", || server.log().contains("configuration read again").then_some(()));
    let quiet = json!({"token": token, "touch": false});
    let said = eventually("the end of a second", || {
        let (_, said) = server.call("POST", "/v1/sessions/validate", Some(quiet.clone()));
        said["code"].is_string().then_some(said)
    });
    assert_eq!(said["code"], "session_idle");
    // One that says nothing of policies any more leaves the say to the API.
    place.configure("[log]\nlevel = \"info\"\n");
    eventually("the API's say", || {
        (server.call("GET", "/v1/policies", None).1["managed_by"] == "api").then_some(())
    });
}
