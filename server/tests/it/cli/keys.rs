//! `handstamp keys` and `handstamp environments`.

use super::handstamp;
use super::server::{Answer, Server, ok};
use serde_json::{Value as Json, json};

fn key(id: &str, name: &str) -> Json {
    json!({"id": id, "name": name, "kind": "access", "scopes": ["sessions:read", "sessions:write"], "product": "shop",
        "environment": "prd", "created_at": "2026-11-22T10:00:00.123Z", "expires_at": null, "last_used_at": null,
        "state": "active", "rate_limit": null})
}

#[test]
fn a_new_key_goes_alone_to_standard_output() {
    let made = json!({"key": key("key_1", "billing"), "secret": "hsk_new"});
    let server = Server::start([
        Answer::Json(201, made.clone()),
        Answer::Json(201, made.clone()),
        Answer::Json(201, made.clone()),
        Answer::Json(201, made),
    ]);
    let ran = handstamp("keys create billing --scope sessions:read,sessions:write --scope events:read --expires-in 90d --env shop/prd")
        .to(&server)
        .run();
    assert_eq!(ran.err, "made key_1 (billing); this is the only time that it is shown:\n");
    assert_eq!(ran.done(), "hsk_new\n");
    handstamp("keys create ops --operator").to(&server).run().done();
    handstamp("keys create all").to(&server).run().done();
    let said = handstamp("keys rotate key_1 --overlap 1h --json").to(&server).run().done();
    assert_eq!(serde_json::from_str::<Json>(&said).unwrap()["secret"], "hsk_new");
    let asked = server.asked();
    assert_eq!(
        asked[0].body,
        json!({"name": "billing", "scopes": ["sessions:read", "sessions:write", "events:read"], "expires_in": 7_776_000})
    );
    assert!(asked[0].headers.contains("x-handstamp-env: shop/prd"));
    assert_eq!(asked[1].body, json!({"name": "ops", "operator": true}));
    assert_eq!(asked[2].body, json!({"name": "all"}));
    assert_eq!(
        (asked[3].line.as_str(), &asked[3].body),
        ("POST /v1/keys/key_1/rotate", &json!({"overlap": 3600}))
    );
}

#[test]
fn a_list_has_its_times_in_utc_and_nothing_that_a_terminal_obeys() {
    let mut strange = key("key_2", "\u{1b}[31mred\u{202e}");
    strange["expires_at"] = json!("2027-01-01T00:00:00.000Z");
    let list = json!({"items": [key("key_1", "billing"), strange]});
    let server = Server::start([ok(list.clone()), ok(list)]);
    let said = handstamp("keys list").to(&server).run().done();
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines.len(), 3, "{said}");
    assert!(lines[0].starts_with("ID     NAME") && lines[0].contains("CREATED (UTC)"), "{said}");
    let cells: Vec<&str> = lines[1].split("  ").map(str::trim).filter(|c| !c.is_empty()).collect();
    assert_eq!(
        cells,
        [
            "key_1",
            "billing",
            "access",
            "sessions:read,sessions:write",
            "shop/prd",
            "active",
            "-",
            "2026-11-22 10:00:00",
            "-",
            "-"
        ]
    );
    assert!(
        lines[2].contains("\\u{1b}[31mred\\u{202e}") && lines[2].contains("2027-01-01 00:00:00"),
        "{said}"
    );
    let said = handstamp("keys list --json").to(&server).run().done();
    assert_eq!(serde_json::from_str::<Json>(&said).unwrap()["items"][0]["id"], "key_1");
}

#[test]
fn show_finds_by_id_or_by_a_name_that_one_key_has() {
    let list = || ok(json!({"items": [key("key_1", "a"), key("key_2", "b"), key("key_3", "b")]}));
    let server = Server::start([list(), list(), list(), list()]);
    let said = handstamp("keys show key_2").to(&server).run().done();
    assert!(said.contains("\nid           key_2\n") && said.contains("\nname         b\n"), "{said}");
    assert!(handstamp("keys show a").to(&server).run().done().contains("key_1"));
    assert!(handstamp("keys show b").to(&server).run().failed().contains("2 keys have the name `b`"));
    assert!(
        handstamp("keys show c").to(&server).run().failed().contains("no key has the id or the name `c`")
    );
}

#[test]
fn suspend_resume_and_revoke() {
    let server =
        Server::start([ok(key("key_1", "a")), ok(key("key_1", "a")), ok(json!(null)), ok(json!(null))]);
    assert_eq!(handstamp("keys suspend key_1").to(&server).run().done(), "key_1 is suspended\n");
    assert_eq!(handstamp("keys resume key_1").to(&server).run().done(), "key_1 is active\n");
    assert_eq!(handstamp("keys revoke key_1 --yes").to(&server).run().done(), "revoked key_1\n");
    assert_eq!(handstamp("keys revoke a/b?c").to(&server).person("y\n").run().done(), "revoked a/b?c\n");
    assert_eq!(
        server.lines(),
        [
            "PATCH /v1/keys/key_1 {\"state\":\"suspended\"}",
            "PATCH /v1/keys/key_1 {\"state\":\"active\"}",
            "DELETE /v1/keys/key_1",
            "DELETE /v1/keys/a%2Fb%3Fc",
        ]
    );
}

#[test]
fn how_often_a_key_may_be_used() {
    let mut limited = key("key_1", "a");
    limited["rate_limit"] = json!("100/1m");
    let server = Server::start([
        Answer::Json(201, json!({"key": limited.clone(), "secret": "hsk_new"})),
        ok(limited.clone()),
        ok(key("key_1", "a")),
        ok(json!({"items": [limited]})),
    ]);
    handstamp("keys create a --rate-limit 100/1m").to(&server).run().done();
    let said = handstamp("keys limit key_1 100/1m").to(&server).run().done();
    assert_eq!(said, "key_1 may be used 100/1m\n");
    let said = handstamp("keys limit key_1 off").to(&server).run().done();
    assert_eq!(said, "key_1 may be used as often as it likes\n");
    assert!(handstamp("keys list").to(&server).run().done().contains("  100/1m  "));
    assert_eq!(
        server.lines(),
        [
            "POST /v1/keys {\"name\":\"a\",\"rate_limit\":\"100/1m\"}",
            "PATCH /v1/keys/key_1 {\"rate_limit\":\"100/1m\"}",
            "PATCH /v1/keys/key_1 {\"rate_limit\":null}",
            "GET /v1/keys",
        ]
    );
}

#[test]
fn a_no_changes_nothing() {
    let server = Server::start([]);
    for answer in ["n\n", "\n", "", "yess\n"] {
        let said = handstamp("keys revoke key_1").to(&server).person(answer).run().failed();
        assert!(said.contains("[y/N] ") && said.ends_with("nothing was changed\n"), "{said}");
    }
    handstamp("environments delete shop/dev").to(&server).person("n\n").run().failed();
    handstamp("environments delete shop/dev").to(&server).run().usage();
    assert!(server.asked().is_empty());
}

#[test]
fn generate_asks_no_server() {
    let ran = handstamp("keys generate").run();
    assert_eq!(ran.asked, ["generate"]);
    assert!(ran.err.contains("no server knows this key yet"));
    assert_eq!(ran.done(), "hsk_fresh\n");
}

#[test]
fn environments() {
    let one = json!({"product": "shop", "environment": "prd", "created_at": "2026-11-22T10:00:00.123Z"});
    let server = Server::start([
        ok(json!({"items": [one.clone()]})),
        Answer::Json(201, one),
        Answer::Json(204, json!(null)),
    ]);
    let said = handstamp("environments list").to(&server).run().done();
    assert_eq!(said.lines().nth(1), Some("shop     prd          2026-11-22 10:00:00"), "{said}");
    assert_eq!(handstamp("environments create shop/dev").to(&server).run().done(), "made shop/dev\n");
    assert_eq!(
        handstamp("environments delete shop/dev --yes").to(&server).run().done(),
        "deleted shop/dev\n"
    );
    assert_eq!(
        server.lines(),
        [
            "GET /v1/environments",
            "POST /v1/environments {\"environment\":\"dev\",\"product\":\"shop\"}",
            "DELETE /v1/environments/shop/dev",
        ]
    );
}

fn signing_key(kid: &str, state: &str) -> Json {
    json!({"kid": kid, "algorithm": "EdDSA", "purpose": "sign", "state": state,
        "created_at": "2026-11-22T10:00:00.000Z", "activate_at": "2026-11-22T10:10:00.000Z", "retire_at": null,
        "remove_at": null})
}

#[test]
fn signing_keys_are_listed_and_rotated() {
    let keys = json!([signing_key("abc", "active"), signing_key("def", "pending")]);
    let made = json!({"key": signing_key("def", "pending"), "keys": keys});
    let rotated = || Answer::Json(201, made.clone());
    let server = Server::start([
        ok(json!({"items": keys})),
        ok(json!({"items": keys})),
        rotated(),
        rotated(),
        rotated(),
        rotated(),
    ]);
    let said = handstamp("keys signing list").to(&server).run().done();
    assert!(said.contains("abc") && said.contains("pending") && said.contains("IN USE FROM (UTC)"), "{said}");
    let said = handstamp("keys signing list --json").to(&server).run().done();
    assert_eq!(serde_json::from_str::<Json>(&said).unwrap()["items"], keys);
    let ran = handstamp("keys signing rotate").to(&server).run();
    assert!(ran.err.contains("the new key is def, in use from 2026-11-22"), "{}", ran.err);
    assert!(ran.done().contains("pending"));
    handstamp("keys signing rotate --algorithm ES256 --activate-in 10m --retire-in 2h")
        .to(&server)
        .run()
        .done();
    handstamp("keys signing rotate --purpose data --json").to(&server).run().done();
    handstamp("keys signing rotate --emergency --yes").to(&server).run().done();
    let list = "GET /v1/keys/signing";
    assert_eq!(
        server.lines(),
        [
            list,
            list,
            "POST /v1/keys/signing/rotate {}",
            r#"POST /v1/keys/signing/rotate {"activate_in":600,"algorithm":"ES256","retire_in":7200}"#,
            r#"POST /v1/keys/signing/rotate {"purpose":"data"}"#,
            r#"POST /v1/keys/signing/rotate {"emergency":true}"#,
        ]
    );
    let ran = handstamp("keys signing rotate --emergency --activate-in 1m").to(&server).run();
    assert!(ran.err.contains("cannot be used with"), "{}", ran.err);
    assert_eq!(server.lines().len(), 6, "and nothing was asked");
}
