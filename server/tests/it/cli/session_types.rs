//! `handstamp session-types`.

use super::handstamp;
use super::server::{Server, ok};
use serde_json::{Value as Json, json};

#[test]
fn list_and_show() {
    let one = json!({"name": "checkout", "version": 3, "managed_by": "api", "at": "2026-11-22T10:00:00.123Z", "by": "key_7",
        "session_type": {"expires_in": "1h", "selector": "$Session{userId}", "schema": {"userId": "string"}}});
    let page = json!({"items": [one, {"name": "2fa", "version": 0, "managed_by": "file",
        "session_type": {"refresh_expires_in": "7d"}}], "next_cursor": null});
    let server = Server::start([ok(page.clone()), ok(page.clone()), ok(one.clone()), ok(one.clone())]);
    let said = handstamp("session-types list").to(&server).run().done();
    let lines: Vec<Vec<&str>> = said
        .lines()
        .map(|line| line.split("  ").map(str::trim).filter(|c| !c.is_empty()).collect())
        .collect();
    assert_eq!(
        lines,
        [
            ["NAME", "EXPIRES IN", "REFRESH EXPIRES IN", "SELECTOR", "VERSION", "MANAGED BY"],
            ["checkout", "1h", "-", "$Session{userId}", "3", "api"],
            ["2fa", "-", "7d", "-", "0", "file"],
        ]
    );
    let said = handstamp("session-types list --json").to(&server).run().done();
    assert_eq!(serde_json::from_str::<Json>(&said).unwrap(), page);
    let said = handstamp("session-types show").argument("check/out").to(&server).run().done();
    assert!(said.contains("2026-11-22 10:00:00") && said.contains("userId"), "{said}");
    let said = handstamp("session-types show checkout --json").to(&server).run().done();
    assert_eq!(serde_json::from_str::<Json>(&said).unwrap(), one);
    assert_eq!(
        server.lines(),
        [
            "GET /v1/session-types",
            "GET /v1/session-types",
            "GET /v1/session-types/check%2Fout",
            "GET /v1/session-types/checkout",
        ]
    );
}
