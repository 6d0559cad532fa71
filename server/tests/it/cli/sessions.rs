//! `handstamp sessions`.

use super::handstamp;
use super::server::{Answer, Server, ok};
use serde_json::{Value as Json, json};

fn session(id: &str) -> Json {
    json!({"id": id, "user_id": "u1", "tags": ["role:admin"], "state": "live", "data": {"deep": {"er": 1}},
        "created_at": "2026-11-22T10:00:00.123Z", "last_active_at": "2026-11-22T10:05:00.000Z",
        "expires_at": "2026-12-22T10:00:00.123Z", "client": {"ip": "192.0.2.7", "browser": "Firefox"}})
}

#[test]
fn a_list_follows_the_pages_up_to_its_limit() {
    let page = |from: usize, count: usize, next: Json| {
        let items: Vec<Json> = (from..from + count).map(|n| session(&format!("ses_{n}"))).collect();
        ok(json!({"items": items, "next_cursor": next}))
    };
    let server =
        Server::start([page(0, 200, json!("a/b+c")), page(200, 50, json!("more")), page(0, 2, json!(null))]);
    let ran =
        handstamp("sessions list --limit 250 --tag role:admin --tag org:acme --ip 192.0.2.0/24 --state live")
            .to(&server)
            .run();
    assert_eq!(ran.err, "there are more than these 250: --limit shows more of them\n");
    let out = ran.done();
    assert_eq!(out.lines().count(), 251);
    assert!(out.lines().nth(1).unwrap().contains("2026-11-22 10:05:00") && out.contains("192.0.2.7"));
    let ran = handstamp("sessions list --user").argument("a b&c").argument("--json").to(&server).run();
    assert_eq!(serde_json::from_str::<Json>(&ran.done()).unwrap()["items"].as_array().unwrap().len(), 2);
    let asked = server.asked();
    assert_eq!(asked[0].from, asked[1].from, "pages come over one connection");
    let filter = "ip=192.0.2.0%2F24&state=live&tag=role%3Aadmin&tag=org%3Aacme";
    assert_eq!(
        server.lines(),
        [
            format!("GET /v1/sessions?{filter}&limit=200"),
            format!("GET /v1/sessions?{filter}&limit=50&cursor=a%2Fb%2Bc"),
            "GET /v1/sessions?user_id=a%20b%26c&limit=50".to_owned(),
        ]
    );
}

#[test]
fn an_empty_page_may_not_be_the_last_and_a_page_that_repeats_is_a_failure() {
    let page = |ids: &[&str], next: Json| {
        let items: Vec<Json> = ids.iter().map(|id| session(id)).collect();
        ok(json!({"items": items, "next_cursor": next}))
    };
    let server = Server::start([
        page(&[], json!("a")),
        page(&["ses_1"], json!(null)),
        page(&["ses_1"], json!("a")),
        page(&["ses_1"], json!("a")),
    ]);
    assert!(handstamp("sessions list").to(&server).run().done().contains("ses_1"));
    let said = handstamp("sessions list").to(&server).run().failed();
    assert!(said.contains("the same page again and again"), "{said}");
    server.asked();
}

#[test]
fn show_count_and_events() {
    let event = json!({"id": "1", "at": "2026-11-22T10:00:00.123Z", "type": "session.ended", "session_id": "ses_1",
        "code": "session_idle", "origin": "default", "by": "key_7", "note": "a\u{1b}[31m leaver", "evidence": {"allowed": "15m", "seen": "31m"}});
    let server = Server::start([
        ok(session("ses_1")),
        ok(json!({"count": 10_000, "or_more": true})),
        ok(json!({"count": 7, "or_more": false})),
        ok(json!({"items": [event], "next_cursor": null})),
    ]);
    let said = handstamp("sessions show ses_1").to(&server).run().done();
    assert!(
        said.contains("client.browser  Firefox") && said.contains("data            {\"deep\":{\"er\":1}}"),
        "{said}"
    );
    assert_eq!(handstamp("sessions count --user u1").to(&server).run().done(), "10000 or more\n");
    assert_eq!(handstamp("sessions count").to(&server).run().done(), "7\n");
    let said = handstamp("sessions events ses_1").to(&server).run().done();
    assert!(
        said.contains("session.ended") && said.contains("session_idle") && said.contains("\"seen\":\"31m\""),
        "{said}"
    );
    // By whom and why; what a caller wrote moves no cursor.
    assert!(
        said.contains("key_7") && said.contains("a\\u{1b}[31m leaver") && said.contains("default"),
        "{said}"
    );
    assert_eq!(server.lines()[1..3], ["GET /v1/sessions/count?user_id=u1", "GET /v1/sessions/count"]);
}

#[test]
fn a_token_is_judged_without_touching_the_session() {
    let refused =
        json!({"valid": false, "code": "session_idle", "detail": "idle 31m, allowed 15m", "status": 401});
    let server = Server::start([
        ok(json!({"valid": true, "session": session("ses_1")})),
        ok(refused.clone()),
        ok(refused),
    ]);
    let said = handstamp("sessions validate").to(&server).input("hst_PLANTED\n").run().done();
    assert!(said.starts_with("valid\n") && said.contains("ses_1"), "{said}");
    let ran = handstamp("sessions validate").to(&server).person("hst_PLANTED\nmore\n").run();
    assert_eq!(ran.out, "refused: session_idle: idle 31m, allowed 15m\n");
    ran.failed();
    handstamp("sessions validate --json").to(&server).input("hst_PLANTED").run().failed();
    for asked in server.asked() {
        assert_eq!(asked.body, json!({"token": "hst_PLANTED", "touch": false}));
    }
}

#[test]
fn named_sessions_end_one_by_one_and_a_wrong_one_does_not_stop_the_rest() {
    let missing = json!({"code": "session_not_found", "detail": "no such session"});
    let server = Server::start([
        ok(json!({"ended": 1})),
        Answer::Json(404, missing),
        ok(json!({"ended": 0})),
        ok(json!({"ended": 1})),
    ]);
    let ran =
        handstamp("sessions revoke ses_1 ses_2 ses_3 --reason").argument("left the firm").to(&server).run();
    assert_eq!(ran.out, "ended 1\n");
    assert!(ran.failed().starts_with("ses_2: session_not_found: no such session"));
    assert_eq!(handstamp("sessions revoke ses_1").to(&server).run().done(), "ended 1\n");
    assert_eq!(server.lines()[0], "DELETE /v1/sessions/ses_1?reason=left%20the%20firm");
    assert_eq!(server.lines()[3], "DELETE /v1/sessions/ses_1");
}

#[test]
fn a_filter_is_counted_first_and_a_person_is_asked() {
    let dry = || ok(json!({"ended": 3, "sessions": ["ses_1", "ses_2", "ses_3"]}));
    let server = Server::start([dry(), ok(json!({"ended": 3, "sessions": []})), dry(), dry(), dry()]);
    let ran = handstamp("sessions revoke --user u1 --tag a:b --tag c:d --except ses_9")
        .to(&server)
        .person("y\n")
        .run();
    assert_eq!(ran.err, "End 3 sessions? [y/N] ");
    assert_eq!(ran.done(), "ended 3 sessions\n");
    handstamp("sessions revoke --user u1").to(&server).person("\n").run().failed();
    handstamp("sessions revoke --user u1").to(&server).run().usage();
    assert_eq!(
        handstamp("sessions revoke --user u1 --dry-run").to(&server).run().done(),
        "would end 3 sessions\n"
    );
    let asked = server.asked();
    let filter = json!({"user_id": "u1", "tags": ["a:b", "c:d"], "except": "ses_9"});
    let mut dry = filter.clone();
    dry["dry_run"] = json!(true);
    assert_eq!([&asked[0].body, &asked[1].body], [&dry, &filter]);
    assert_ne!(
        asked[0].from, asked[1].from,
        "the server closes a connection that rests while a person thinks"
    );
    assert!(
        asked[2..].iter().all(|one| one.body["dry_run"] == json!(true)),
        "nothing was ended without a yes"
    );
}

#[test]
fn a_filter_that_finds_nobody_asks_nobody() {
    let server = Server::start([ok(json!({"ended": 0, "sessions": []}))]);
    assert_eq!(handstamp("sessions revoke --user u1").to(&server).run().done(), "no live session matches\n");
    assert_eq!(server.asked().len(), 1);
}

#[test]
fn an_epoch_ends_all_and_the_number_is_an_estimate() {
    let server = Server::start([
        ok(json!({"ended": null, "estimate": 10_000})),
        Answer::Json(202, json!({"ended": null, "estimate": 9_999})),
    ]);
    let ran = handstamp("sessions revoke --all").to(&server).person("yes\n").run();
    assert_eq!(ran.err, "End 10000 sessions or more? [y/N] ");
    assert_eq!(ran.done(), "ended about 9999 sessions\n");
    assert_eq!(server.lines()[1], "POST /v1/sessions/revoke {\"all\":true}");
}
