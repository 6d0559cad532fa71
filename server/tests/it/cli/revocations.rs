//! `handstamp revocations`: a list for people, and what comes.

use super::handstamp;
use super::server::{Answer, Server, ok};
use serde_json::json;

#[test]
fn a_list_for_people_and_for_programs() {
    let one = json!({"session_id": "ses_7", "ended_at": "2026-11-22T10:00:00.123Z", "until": "2026-11-22T10:05:00.000Z"});
    let many = json!({"tags": ["a:1", "b:2"], "epoch": 9, "until": "2026-11-22T10:05:00.000Z"});
    let body =
        json!({"position": "4-00000000000000aa", "as_of": "2026-11-22T10:01:00.000Z", "items": [one, many]});
    let server = Server::start([ok(body.clone()), ok(body)]);
    let said = handstamp("revocations").to(&server).run().done();
    assert!(
        said.contains("ses_7") && said.contains("2026-11-22 10:00:00") && said.contains("a:1,b:2"),
        "{said}"
    );
    let said = handstamp("revocations --json").to(&server).run().done();
    assert!(said.contains("\"position\": \"4-00000000000000aa\""), "{said}");
    assert_eq!(server.lines(), ["GET /v1/revocations", "GET /v1/revocations"]);
    handstamp("revocations --after 4-00000000000000aa").to(&server).run().usage();
}

#[test]
fn following_tells_items_and_goes_on_where_it_broke() {
    let refused =
        || Answer::Json(403, json!({"code": "insufficient_scope", "detail": "may not", "status": 403}));
    let stream = || {
        let text = "retry: 10\n\ndata: {\"reset\":true}\n\nid: 4-aa\ndata: {\"session_id\":\"ses_7\",\"ended_at\":\"x\",\"until\":\"y\"}\n\n\
            id: 5-aa\ndata: {\"as_of\":\"z\"}\n\n";
        Answer::Text(200, text)
    };
    let server = Server::start([stream(), refused()]);
    let ran = handstamp("revocations --follow --after 3-aa").to(&server).run();
    assert_eq!(ran.out.lines().collect::<Vec<_>>(), ["x  ses_7  -  -  -  -  -  -  y"]);
    assert!(ran.failed().contains("may not"));
    let asked = server.asked();
    assert!(
        asked[0].headers.contains("last-event-id: 3-aa") && asked[1].headers.contains("last-event-id: 5-aa")
    );
    let server = Server::start([stream(), refused()]);
    let ran = handstamp("revocations --follow --json").to(&server).run();
    assert_eq!(ran.out.lines().count(), 3, "{}", ran.out);
}
