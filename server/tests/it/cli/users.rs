//! `handstamp users`: who is logged in, for people.

use super::handstamp;
use super::server::{Server, ok};
use serde_json::{Value, json};

fn user(id: &str) -> Value {
    json!({"id": id, "sessions": 2, "last_active_at": "2026-11-22T10:00:00.123Z", "devices": [],
        "clients": [{"ip": "203.0.113.7", "user_agent": "own", "sessions": 2, "last_active_at": "2026-11-22T10:00:00.123Z"}],
        "recent_refusals": [{"code": "tag_missing", "count": 3, "last_at": "2026-11-22T10:00:00.123Z"}]})
}

#[test]
fn lists_and_one_of_them() {
    let server = Server::start([
        ok(json!({"items": [user("ada")], "next_cursor": "aa"})),
        ok(json!({"items": [user("gr\u{1b}ace")], "next_cursor": null})),
        ok(user("a/b")),
        ok(user("ada")),
    ]);
    let said = handstamp("users list").to(&server).run().done();
    assert!(said.contains("3 tag_missing") && said.contains("203.0.113.7"), "{said}");
    assert!(said.contains("gr\\u{1b}ace") && said.contains("2026-11-22 10:00:00"), "{said}");
    let said = handstamp("users show").argument("a/b").to(&server).run().done();
    assert!(said.contains("last_active_at") && said.contains("a/b"), "{said}");
    let said = handstamp("users show ada --json").to(&server).run().done();
    assert_eq!(serde_json::from_str::<Value>(&said).unwrap(), user("ada"));
    assert_eq!(
        server.lines(),
        [
            "GET /v1/users?limit=50",
            "GET /v1/users?limit=49&cursor=aa",
            "GET /v1/users/a%2Fb",
            "GET /v1/users/ada"
        ]
    );
}

#[test]
fn erasing_asks_first_and_prints_the_statement() {
    let statement = json!({"pseudonym": "erased_x", "sessions_erased": 3});
    let answer = json!({"statement": statement, "jws": "eyJ.e30.c2ln", "public_key": {}});
    let server = Server::start([ok(answer.clone()), ok(answer.clone()), ok(answer.clone())]);
    assert!(handstamp("users erase ada").to(&server).run().usage().contains("--yes"));
    assert!(
        handstamp("users erase ada").to(&server).person("n\n").run().failed().contains("nothing was changed")
    );
    let ran = handstamp("users erase ada").to(&server).person("y\n").run();
    assert!(ran.out.contains("erased_x") && ran.out.ends_with("\neyJ.e30.c2ln\n"), "{}", ran.out);
    ran.done();
    handstamp("users erase --yes").argument("a b").to(&server).run().done();
    let said = handstamp("users erase ada --yes --json").to(&server).run().done();
    assert_eq!(serde_json::from_str::<Value>(&said).unwrap(), answer);
    let path = |id| format!("POST /v1/users/{id}/erase");
    assert_eq!(server.lines(), [path("ada"), path("a%20b"), path("ada")]);
}
