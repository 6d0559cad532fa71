//! `backup`, `restore`, `doctor`, `healthcheck`, `bench`.

use super::server::{Answer, Server, ok};
use super::{Rooms, handstamp, problem};
use crate::config::{directory, written};
use handstamp_server::cli::{Finding, Level};
use serde_json::{Value as Json, json};
use std::time::{Duration, Instant};

#[test]
fn backup_and_restore_say_that_the_master_key_is_not_in_it() {
    let file = directory().join("b.db").display().to_string();
    let ran = handstamp("backup --data-dir /d").argument(&file).run();
    assert_eq!(ran.asked, ["backup b.db"]);
    assert!(ran.err.contains("the master key is not in it: keep /d/master.key too"), "{}", ran.err);
    assert_eq!(ran.done(), format!("wrote {file}, 42 bytes\n"));

    let there = written("b.db", "x").display().to_string();
    let ran = handstamp("backup").argument(&there).run();
    assert!(ran.asked.is_empty() && ran.failed().contains("is there already"));

    let ran = handstamp("restore").argument(&there).run();
    assert_eq!(ran.asked, ["restore b.db false false"]);
    assert!(ran.err.contains("all sessions of the backup have ended") && ran.err.contains("master key"));
    ran.done();
    let ran = handstamp("restore --keep-sessions --replace --json").argument(&there).run();
    assert_eq!(ran.asked, ["restore b.db true true"]);
    let said: Json = serde_json::from_str(&ran.done()).unwrap();
    assert_eq!((&said["bytes"], &said["sessions_kept"]), (&json!(43), &json!(true)));
    assert!(handstamp("restore").argument(&file).run().failed().contains("is not a file"));

    // It ends all sessions of a service, so somebody has to want that.
    let ran = handstamp("restore --in-place").run();
    assert!(ran.asked.is_empty() && ran.err.contains("End every session"), "{}", ran.err);
    let ran = handstamp("restore --in-place --yes").run();
    assert_eq!(ran.asked, ["restore in place false"]);
    assert!(ran.err.contains("all sessions of the backup have ended") && ran.err.contains("access keys"));
    assert_eq!(ran.done(), "the store may be used again\n");
    let ran = handstamp("restore --in-place --keep-sessions --json").run();
    assert_eq!(ran.asked, ["restore in place true"]);
    let said: Json = serde_json::from_str(&ran.done()).unwrap();
    assert_eq!((&said["store"], &said["sessions_kept"]), (&json!("the store"), &json!(true)));
    for words in ["restore", "restore --in-place --replace --yes"] {
        assert!(handstamp(words).run().asked.is_empty(), "{words}");
    }
    assert!(handstamp("restore --in-place --yes").argument(&there).run().asked.is_empty());
}

#[test]
fn a_password_on_the_command_line_is_warned_of_and_not_repeated() {
    for flag in ["--store", "--control"] {
        let ran = handstamp(&format!("doctor {flag} postgres://u:pa55@h/d")).run();
        let warned = format!("warning: everybody on this machine can see the password in {flag}");
        assert!(ran.err.contains(&warned) && !ran.err.contains("pa55"), "{}", ran.err);
    }
    let ran = handstamp("doctor --store postgres://u@h/d --control sqlite:/a:b@c").run();
    assert_eq!(ran.err, "");
    let ran = handstamp("doctor").with("HANDSTAMP_STORE__URL", "postgres://u:pa55@h/d").run();
    assert_eq!(ran.err, "");
}

#[test]
fn the_doctor_fails_when_something_is_broken() {
    let fine = Finding { level: Level::Fine, what: "store".to_owned(), detail: "answers".to_owned() };
    let rooms = |findings| Rooms { findings, ..Rooms::default() };
    let said = handstamp("doctor").rooms(rooms(vec![fine.clone()])).run().done();
    assert_eq!(said, "ok  configuration  is right\nok  store          answers\n");
    let ran = handstamp("doctor --json").rooms(rooms(vec![fine, problem("store")])).run();
    let said: Json = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((&said["ok"], &said["findings"][2]["level"]), (&json!(false), &json!("problem")));
    ran.failed();
    // A store of a later version is something that the doctor tells, and no reason not to look.
    let ran = handstamp("doctor --store redis://h/0").run();
    assert_eq!(ran.asked, ["doctor"]);
    assert!(ran.out.starts_with("problem  configuration  --store: store.url: Redis"), "{}", ran.out);
    ran.failed();
}

#[test]
fn a_healthcheck_is_zero_or_one() {
    let not = json!({"code": "store_unavailable", "detail": "the store does not answer"});
    let server = Server::start([ok(json!({})), Answer::Text(200, "ok"), Answer::Json(503, not)]);
    let check = || handstamp("healthcheck --listen").argument(server.address().to_string());
    assert_eq!(check().run().done(), "ready\n");
    assert_eq!(check().run().done(), "ready\n");
    let ran = check().run();
    assert_eq!(ran.out, "not ready (503): the store does not answer\n");
    ran.failed();
    for asked in server.asked() {
        assert_eq!(asked.line, "GET /readyz");
        assert!(!asked.headers.contains("authorization"), "a health check needs no key");
    }
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    assert!(
        handstamp("healthcheck --listen")
            .argument(free.to_string())
            .run()
            .failed()
            .contains("cannot be reached")
    );
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the promise is about real time")]
fn a_healthcheck_gives_up_after_three_seconds() {
    let server = Server::start([Answer::Silence]);
    let start = Instant::now();
    let said = handstamp("healthcheck --listen").argument(server.address().to_string()).run().failed();
    assert_eq!(said, "error: no answer within 3 s\n");
    let took = start.elapsed();
    assert!(took >= Duration::from_millis(2_900) && took < Duration::from_secs(10), "{took:?}");
}

#[test]
fn the_bench_validates_one_session_over_and_over_and_ends_it() {
    let server = Server::always(|line| match line {
        "POST /v1/sessions" => Answer::Json(201, json!({"token": "hst_PLANTED", "session": {"id": "ses_1"}})),
        "POST /v1/sessions/validate" => ok(json!({"valid": true})),
        "DELETE /v1/sessions/ses_1" => ok(json!({"ended": 1})),
        other => panic!("{other}"),
    });
    let said = handstamp("bench --connections 3 --duration 1s --json").to(&server).run().done();
    let said: Json = serde_json::from_str(&said).unwrap();
    let asked = server.asked();
    let validations = asked.iter().filter(|one| one.line == "POST /v1/sessions/validate").count();
    assert_eq!((&said["validations"], validations > 3), (&json!(validations), true), "{said}");
    assert!(
        said["p50_us"].as_u64() > Some(0) && said["p99_us"].as_u64() >= said["p50_us"].as_u64(),
        "{said}"
    );
    assert!(said["seconds"].as_f64() >= Some(1.0), "{said}");
    assert!(
        asked
            .iter()
            .all(|one| one.line != "POST /v1/sessions/validate" || one.body["token"] == "hst_PLANTED")
    );
    assert_eq!(asked[0].body["user_id"], "handstamp-bench");
    assert_eq!(asked.last().unwrap().line, "DELETE /v1/sessions/ses_1");
}

/// The first wrong answer ends it: it is no measurement then. The session is ended all the same.
#[test]
fn a_bench_that_is_refused_is_a_failure() {
    let made = json!({"token": "hst_PLANTED", "session": {"id": "ses_1"}});
    let server =
        Server::start([Answer::Json(201, made), ok(json!({"valid": false})), ok(json!({"ended": 1}))]);
    let said = handstamp("bench --connections 1 --duration 1s").to(&server).run().failed();
    assert!(said.contains("a validation was answered 200 and not valid"), "{said}");
    assert_eq!(server.asked()[2].line, "DELETE /v1/sessions/ses_1");
}

#[test]
fn compacting_says_what_it_saved() {
    let ran = handstamp("compact --data-dir /d").run();
    assert_eq!(ran.asked, ["compact /d"]);
    assert!(ran.done().contains("43 bytes now; before, it had 44"));
    let said = handstamp("compact --json").run().done();
    let said: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!(said, serde_json::json!({"bytes_before": 44, "bytes": 43}));
}

#[test]
fn another_master_key_says_where_both_are() {
    let ran = handstamp("master-key rotate").run();
    assert_eq!(ran.asked, ["master-key rotate false"]);
    assert!(
        ran.err.contains("The old one is in /d/master.key.old") && !ran.err.contains("session"),
        "{}",
        ran.err
    );
    assert_eq!(
        ran.done(),
        "the new master key is in /d/master.key; 7 keys of 2 environments are wrapped under it\n"
    );
    let ran = handstamp("master-key rotate --end-sessions").run();
    assert!(ran.asked.is_empty() && ran.err.contains("--yes"), "{}", ran.err);
    let ran = handstamp("master-key rotate --end-sessions --yes").run();
    assert_eq!(ran.asked, ["master-key rotate true"]);
    assert!(ran.err.contains("every session has ended, 3 access keys are gone"), "{}", ran.err);
    ran.done();
    let said: Json = serde_json::from_str(&handstamp("master-key rotate --json").run().done()).unwrap();
    assert_eq!((&said["keys"], &said["old_master_key"]), (&json!(7), &json!("/d/master.key.old")));
}
