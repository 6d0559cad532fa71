//! Memory in large pages: only once there is much to keep.

use super::{Place, Server, eventually};
use handstamp_server::host::pages::MANY;
use serde_json::json;
use std::thread;

/// Whether the system may give the process large pages.
fn may_be_large(server: &Server) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("THP_enabled:")).unwrap();
    line.trim() == "1"
}

#[test]
fn large_pages_come_with_many_sessions() {
    const DATA: u64 = 15_000;
    const CLIENTS: u64 = 4;
    let place = Place::new();
    place.configure("[log]\nlevel = \"warn\"\n");
    let server = place.serve();
    assert!(!may_be_large(&server), "a server that has just begun has nothing to keep");
    let fill = |mut client: super::process::Client, number: u64| {
        for n in 0..MANY / DATA / CLIENTS {
            let text = "x".repeat(usize::try_from(DATA).unwrap());
            let body = json!({"user_id": format!("u{number}-{n}"), "data": {"text": text}});
            let (status, made) = client.call("POST", "/v1/sessions", Some(&body)).unwrap();
            assert_eq!(status, 201, "{made}");
            let body = json!({"token": made["token"]});
            let (status, said) = client.call("POST", "/v1/sessions/validate", Some(&body)).unwrap();
            assert_eq!(status, 200, "{said}");
        }
    };
    thread::scope(|scope| {
        for number in 0..CLIENTS {
            let client = server.client();
            scope.spawn(move || fill(client, number));
        }
    });
    eventually("leave for large pages", || may_be_large(&server).then_some(()));
    drop(server.stop());
}
