//! `handstamp events`: pages for people, and following that survives a stream that breaks.

use super::handstamp;
use super::server::{Answer, Server, ok};
use serde_json::json;

#[test]
fn a_page_for_people_and_for_programs() {
    let line = json!({"id": "7", "at": "2026-11-22T10:00:00.123Z", "type": "policy.changed", "by": "key_7",
        "note": "version 2: \u{1b}[31m tighter", "client": {"ip": null}});
    let page = json!({"items": [line], "next_cursor": "7"});
    let last = json!({"items": [], "next_cursor": null});
    let server = Server::start([ok(page.clone()), ok(last.clone()), ok(page), ok(last)]);
    let said = handstamp("events --user ada --type policy.changed --code session_idle --after 5")
        .to(&server)
        .run()
        .done();
    assert!(said.contains("policy.changed") && said.contains("2026-11-22 10:00:00"), "{said}");
    assert!(said.contains("version 2: \\u{1b}[31m tighter"), "{said}");
    let said = handstamp("events --json").to(&server).run().done();
    assert!(said.contains("\"next_cursor\": null"), "{said}");
    let lines = server.lines();
    assert_eq!(
        lines[..2],
        [
            "GET /v1/events?user_id=ada&type=policy.changed&code=session_idle&cursor=5&limit=50",
            "GET /v1/events?user_id=ada&type=policy.changed&code=session_idle&limit=49&cursor=7",
        ]
    );
    let server = Server::start([ok(json!({"items": [{"id": "7"}], "next_cursor": "7"}))]);
    let ran = handstamp("events --limit 1").to(&server).run();
    assert!(ran.err.contains("--after 7 goes on"), "{}", ran.err);
    ran.done();
    handstamp("events --follow --limit 3").to(&server).run().usage();
}

#[test]
fn following_takes_up_what_broke_off() {
    let refused = json!({"code": "insufficient_scope", "detail": "may not", "status": 403});
    let server = Server::start([
        Answer::Text(
            200,
            "retry: 10\n\nid: 5\ndata: {\"id\":\"5\",\"at\":\"2026-11-22T10:00:00.123Z\",\"type\":\"session.created\",\"user_id\":\"a\\u001bda\"}\n\n: quiet\nid: 9\n\nid: 10\nda",
        ),
        Answer::Json(503, json!({"code": "store_unavailable", "detail": "later", "status": 503})),
        Answer::Text(
            200,
            "id: 11\ndata: {\"id\":\"11\",\"type\":\"session.ended\",\"user_id\":\"grace\"}\n\n",
        ),
        Answer::Json(403, refused),
    ]);
    let ran = handstamp("events --follow --type session.ended --after 4").to(&server).run();
    let lines: Vec<&str> = ran.out.lines().collect();
    assert_eq!(lines.len(), 2, "{}", ran.out);
    assert!(lines[0].starts_with("5  2026-11-22 10:00:00  session.created  a\\u{1b}da"), "{}", lines[0]);
    assert!(ran.err.contains("taking it up again"), "{}", ran.err);
    assert!(ran.failed().contains("may not"));
    let asked = server.asked();
    assert!(asked.iter().all(|one| one.line == "GET /v1/events?type=session.ended"));
    assert!(asked.iter().all(|one| one.headers.contains("accept: text/event-stream")));
    let last = |n: usize| {
        asked[n].headers.lines().find_map(|line| line.strip_prefix("last-event-id: ")).unwrap().to_owned()
    };
    // The half line was never told, so it is asked for again.
    assert_eq!([last(0), last(1), last(2), last(3)], ["4", "9", "9", "11"]);
}

#[test]
fn following_as_json_is_a_line_each() {
    let server = Server::start([
        Answer::Text(200, "retry: 10\n\nid: 1\ndata: {\"id\":\"1\"}\n\nid: 2\ndata: {\"id\":\"2\"}\n\n"),
        Answer::Json(401, json!({"code": "access_key_invalid", "detail": "gone", "status": 401})),
    ]);
    let ran = handstamp("events --follow --json").to(&server).run();
    assert_eq!(ran.out, "{\"id\":\"1\"}\n{\"id\":\"2\"}\n");
    ran.failed();
}
