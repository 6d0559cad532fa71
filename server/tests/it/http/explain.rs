//! Why a session is judged as it is, and what a policy would do before it is saved: the same numbers as when it is.

use crate::world::{Made, World};
use handstamp_core::time::Span;
use http::Method;
use serde_json::{Value, json};
use std::collections::BTreeSet;

const FIREFOX: &str = "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:128.0) Gecko/20100101 Firefox/128.0";
const SAFARI: &str = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Safari/605.1.15";

async fn put(world: &World, policy: &Value) {
    world.call(Method::PUT, "/v1/policies").json(policy).send().await.expect(200);
}

async fn explained(world: &World, id: &str) -> Value {
    world.get(&format!("/v1/sessions/{id}/explain")).await.expect(200)
}

fn rule<'a>(explained: &'a Value, name: &str) -> &'a Value {
    let rules = explained["rules"].as_array().unwrap();
    rules.iter().find(|said| said["rule"] == name).unwrap_or_else(|| panic!("no {name}: {explained}"))
}

#[tokio::test]
async fn a_session_is_explained_with_numbers_and_origins() {
    let world = World::new().await;
    put(
        &world,
        &json!({
            "default": { "ip_block": ["198.51.100.0/24"], "ip_change": "refuse" },
            "tag": {
                "role:admin": { "idle_timeout": "15m", "max_sessions": 3 },
                "org:*": { "preset": "aal2", "max_sessions": 2 },
            },
        }),
    )
    .await;
    let body = json!({
        "user_id": "ada", "tags": ["role:admin", "org:acme"], "ip": "203.0.113.7", "user_agent": FIREFOX,
    });
    let made = world.create(body).await;
    world.advance(Span::minutes(10));
    let told = explained(&world, &made.id).await;
    let policy = &told["policy"];
    assert_eq!(policy["idle_timeout"], json!({ "value": "15m", "origin": "tag role:admin" }));
    assert_eq!(policy["absolute_timeout"], json!({ "value": "1d", "origin": "preset aal2 of tag org:*" }));
    assert_eq!(policy["on_limit"], json!({ "value": "end_oldest", "origin": "default" }));
    assert_eq!(
        policy["max_sessions"],
        json!([
            { "value": 3, "origin": "tag role:admin" },
            { "value": 2, "origin": "tag org:*" },
        ])
    );
    assert_eq!(policy["ip_block"], json!({ "value": ["198.51.100.0/24"], "origin": "default" }));
    for (name, verdict, evidence) in [
        ("absolute", "allowed", json!({ "allowed": 86_400, "seen": 600 })),
        ("idle", "allowed", json!({ "allowed": 900, "seen": 600 })),
        ("rotate_every", "allowed", json!({ "allowed": 900, "seen": 600 })),
        ("ip_block", "allowed", json!({ "allowed": "all but 198.51.100.0/24", "seen": "203.0.113.7" })),
        ("ip_change", "allowed", json!({ "before": "203.0.113.7", "after": "203.0.113.7" })),
        (
            "user_agent",
            "allowed",
            json!({ "before": "Firefox 128 on Windows", "after": "Firefox 128 on Windows" }),
        ),
        ("device", "allowed", json!({ "allowed": "off", "seen": "none" })),
    ] {
        let said = rule(&told, name);
        assert_eq!((&said["verdict"], &said["evidence"]), (&json!(verdict), &evidence), "{name}");
    }
    world.advance(Span::minutes(5));
    let told = explained(&world, &made.id).await;
    let idle = rule(&told, "idle");
    assert_eq!(
        (&idle["verdict"], &idle["detail"]),
        (&json!("session_idle"), &json!("idle 15m, allowed 15m by tag role:admin"))
    );
    world.get("/v1/sessions/ses_0DpzHXOvOhCLeeOqjZBZT4/explain").await.refused(404, "not_found");
}

#[tokio::test]
async fn tags_and_users_are_explained() {
    let world = World::new().await;
    put(&world, &json!({ "tag": { "role:admin": { "idle_timeout": "15m" } } })).await;
    let ask = async |body: Value| world.post("/v1/policies/explain", body).await;
    let told = ask(json!({ "tags": ["role:admin"] })).await.expect(200);
    assert_eq!(told["policy"]["idle_timeout"], json!({ "value": "15m", "origin": "tag role:admin" }));
    let told = ask(json!({ "tags": [] })).await.expect(200);
    assert_eq!(told["policy"]["idle_timeout"], json!({ "value": "1d", "origin": "default" }));
    for n in 0..3 {
        world.create(json!({ "user_id": "ada", "tags": [format!("n:{n}")] })).await;
    }
    world.login("bob").await;
    let told = ask(json!({ "user_id": "ada" })).await.expect(200);
    assert_eq!(told["sessions"].as_array().unwrap().len(), 3);
    assert!(told["sessions"][0]["rules"].as_array().unwrap().len() > 5);
    ask(json!({})).await.refused(400, "invalid_request");
    ask(json!({ "tags": [], "user_id": "ada" })).await.refused(400, "invalid_request");
}

#[tokio::test]
async fn long_lists_are_cut_unless_all_of_them_is_asked_for() {
    let world = World::new().await;
    let networks = |count: usize| -> Vec<String> {
        (0..count).map(|n| format!("10.{}.{}.0/24", n / 250, n % 250)).collect()
    };
    let (long, just, names) = (networks(10_000), networks(20), networks(21));
    let policy = json!({
        "default": { "ip_block": long },
        "tag": { "a:1": { "ip_allow": just }, "b:1": { "ip_allow": names } },
    });
    put(&world, &policy).await;
    let made = world.create(json!({ "user_id": "ada", "ip": "203.0.113.7" })).await;
    let short = json!({ "value": long[..20], "entries": 10_000, "origin": "default" });
    let whole = json!({ "value": long, "origin": "default" });
    let allow = json!([
        { "value": just, "origin": "tag a:1" },
        { "value": names[..20], "entries": 21, "origin": "tag b:1" },
    ]);
    let at = format!("/v1/sessions/{}/explain", made.id);
    assert_eq!(explained(&world, &made.id).await["policy"]["ip_block"], short);
    let shown = world.get(&format!("{at}?full=false")).await.expect(200);
    assert_eq!(shown["policy"]["ip_block"], short);
    assert_eq!(world.get(&format!("{at}?full=true")).await.expect(200)["policy"]["ip_block"], whole);
    world.get(&format!("{at}?full=yes")).await.invalid("full");
    let ask = async |query: &str, body: &Value| {
        world.post(&format!("/v1/policies/explain{query}"), body.clone()).await.expect(200)
    };
    let (user, tags) = (json!({ "user_id": "ada" }), json!({ "tags": ["a:1", "b:1"] }));
    assert_eq!(ask("", &user).await["sessions"][0]["policy"]["ip_block"], short);
    assert_eq!(ask("?full=true", &user).await["sessions"][0]["policy"]["ip_block"], whole);
    let told = ask("", &tags).await;
    assert_eq!((&told["policy"]["ip_block"], &told["policy"]["ip_allow"]), (&short, &allow));
    let told = ask("?full=true", &tags).await;
    assert_eq!(told["policy"]["ip_block"], whole);
    assert_eq!(told["policy"]["ip_allow"][1], json!({ "value": names, "origin": "tag b:1" }));
    // Nothing else says how long it is.
    assert_eq!(told["policy"]["create_only_tags"], json!({ "value": ["org"], "origin": "default" }));
}

/// A crowd of sessions of all kinds, some of which have moved, and some of which are idle.
async fn crowd(world: &World) -> Vec<(Made, &'static str, &'static str)> {
    let mut all = Vec::new();
    for n in 0..60_u32 {
        let tags: &[&str] = match n % 4 {
            0 => &[],
            1 => &["role:admin"],
            2 => &["org:acme", "role:admin"],
            _ => &["org:other"],
        };
        let (made_at, used_at) = match n % 5 {
            0 => ("203.0.113.7", "203.0.113.7"),
            1 => ("203.0.113.7", "192.0.2.1"),
            2 => ("10.0.0.1", "10.9.9.9"),
            3 => ("2001:db8::1", "2001:db8:ffff::1"),
            _ => ("198.51.100.3", "198.51.100.200"),
        };
        let agent = if n % 7 == 3 { SAFARI } else { FIREFOX };
        let body = json!({ "user_id": format!("u{n}"), "tags": tags, "ip": made_at, "user_agent": FIREFOX });
        let made = world.create(body).await;
        world.advance(Span::secs(30));
        let used = json!({ "token": made.token, "ip": used_at, "user_agent": agent });
        world.post("/v1/sessions/validate", used).await.expect(200);
        all.push((made, used_at, agent));
        assert!(world.app.tidy().await.is_ok());
    }
    // A few that ended are nobody's business.
    for (made, ..) in &all[..5] {
        world.delete(&format!("/v1/sessions/{}", made.id)).await.expect(200);
    }
    all
}

#[tokio::test]
async fn a_preview_says_what_saving_would_do() {
    let lenient = json!({ "default": { "user_agent": "ignore" } });
    for candidate in [
        json!({}),
        json!({ "default": { "idle_timeout": "20m" } }),
        json!({ "default": { "absolute_timeout": "10m", "user_agent": "ignore" } }),
        json!({ "default": { "ip_block": ["198.51.100.0/24", "10.0.0.0/8"], "user_agent": "refuse" } }),
        json!({ "default": { "ip_change": "end", "user_agent": "ignore" } }),
        json!({ "default": { "ip_change": "reauthenticate", "user_agent": "log" }, "tag": { "role:admin": { "device": "required" } } }),
        json!({ "tag": {
            "role:*": { "idle_timeout": "5m", "user_agent": "end" },
            "org:acme": { "ip_allow": ["203.0.113.0/24"], "preset": "aal3" },
            "org:*": { "absolute_timeout": "25m" },
        } }),
    ] {
        let world = World::new().await;
        put(&world, &lenient).await;
        let all = crowd(&world).await;
        let told = world.post("/v1/policies/preview", json!({ "policy": candidate })).await.expect(200);
        assert_eq!(
            world.get("/v1/policies").await.expect(200)["policy"],
            json!({ "default": { "user_agent": "ignore" }, "tag": {} })
        );

        // Brute force: save it, and ask for each session as its last client would.
        put(&world, &candidate).await;
        let (mut ended, mut refused, mut named) = (0, 0, BTreeSet::new());
        for (made, ip, agent) in &all[5..] {
            let ask = json!({ "token": made.token, "ip": ip, "user_agent": agent, "touch": false });
            let verdict = world.post("/v1/sessions/validate", ask).await.expect(200);
            if verdict["valid"] == true {
                continue;
            }
            let state = world.get(&format!("/v1/sessions/{}", made.id)).await.expect(200)["state"].clone();
            if state == "ended" {
                ended += 1
            } else {
                refused += 1
            }
            let origin = if verdict["detail"].as_str().unwrap().contains("default") { "default" } else { "" };
            named.insert((made.id.clone(), verdict["code"].as_str().unwrap().to_owned(), origin));
        }
        let examples: BTreeSet<_> = told["examples"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| {
                let text = |key: &str| one[key].as_str().unwrap_or_default().to_owned();
                (
                    text("session_id"),
                    text("code"),
                    if one["detail"].as_str().unwrap().contains("default") { "default" } else { "" },
                )
            })
            .collect();
        assert_eq!(
            (&told["sessions"], &told["would_end"], &told["would_refuse"]),
            (&json!(55), &json!(ended), &json!(refused)),
            "{candidate}"
        );
        assert_eq!(examples, named, "{candidate}");
    }
}

#[tokio::test]
async fn refusals_that_would_not_have_been_are_counted() {
    let world = World::new().await;
    put(&world, &json!({ "default": { "ip_block": ["198.51.100.0/24"], "user_agent": "refuse" } })).await;
    let made = world.create(json!({ "user_id": "ada", "ip": "203.0.113.7", "user_agent": FIREFOX })).await;
    let ask = async |ip: &str, agent: &str| {
        let ask = json!({ "token": made.token, "ip": ip, "user_agent": agent });
        assert_eq!(world.post("/v1/sessions/validate", ask).await.expect(200)["valid"], false);
    };
    for _ in 0..4 {
        ask("198.51.100.9", FIREFOX).await;
    }
    ask("203.0.113.7", SAFARI).await;
    world.advance(Span::minutes(2));
    assert!(world.app.tidy().await.is_ok());
    for (candidate, let_in) in [
        (json!({ "default": { "user_agent": "refuse" } }), 4),
        (json!({ "default": { "ip_block": ["198.51.100.9"], "user_agent": "ignore" } }), 1),
        (json!({ "default": { "user_agent": "log" } }), 5),
        (json!({ "default": { "ip_allow": ["192.0.2.0/24"] } }), 0),
    ] {
        let told = world.post("/v1/policies/preview", json!({ "policy": candidate })).await.expect(200);
        assert_eq!(told["would_allow"], let_in, "{candidate}");
    }
    // Only of the last day.
    world.advance(Span::hours(23));
    world
        .post("/v1/sessions/validate", json!({ "token": made.token, "ip": "203.0.113.7" }))
        .await
        .expect(200);
    world.advance(Span::hours(1));
    let told = world
        .post("/v1/policies/preview", json!({ "policy": { "default": { "user_agent": "log" } } }))
        .await
        .expect(200);
    assert_eq!((&told["would_allow"], &told["sessions"]), (&json!(0), &json!(1)));
}

#[tokio::test]
async fn logins_that_would_not_have_been_refused_are_counted() {
    let world = World::new().await;
    put(
        &world,
        &json!({
            "default": { "max_sessions": 2, "on_limit": "reject", "ip_block": ["198.51.100.0/24"] },
            "tag": {
                "role:admin": { "ip_allow": ["203.0.113.0/24"] },
                "kind:tv": { "max_sessions": 1 },
                "plan:free": { "seats": 1 },
            },
        }),
    )
    .await;
    let login = async |user: &str, ip: &str, tags: &[&str]| {
        world.post("/v1/sessions", json!({ "user_id": user, "ip": ip, "tags": tags })).await
    };
    for _ in 0..2 {
        login("ada", "203.0.113.7", &[]).await.expect(201);
    }
    login("bob", "203.0.113.7", &["kind:tv"]).await.expect(201);
    login("joe", "203.0.113.7", &["plan:free"]).await.expect(201);
    for _ in 0..3 {
        login("ada", "203.0.113.7", &[]).await.refused(409, "session_limit_reached");
    }
    login("bob", "203.0.113.7", &["kind:tv"]).await.refused(409, "session_limit_reached");
    login("eve", "203.0.113.7", &["plan:free"]).await.refused(409, "session_limit_reached");
    login("eve", "198.51.100.9", &[]).await.refused(403, "ip_blocked");
    // The same user, code and rule, other tags.
    login("eve", "192.0.2.1", &["role:admin"]).await.refused(403, "ip_not_allowed");
    login("eve", "192.0.2.1", &["role:admin", "org:acme"]).await.refused(403, "ip_not_allowed");
    let none = json!({ "user_id": "eve", "tags": ["role:admin"] });
    world.post("/v1/sessions", none).await.refused(403, "ip_missing");
    world.advance(Span::minutes(2));
    assert!(world.app.tidy().await.is_ok());
    let refused = world.get("/v1/events?type=session.refused&user_id=eve").await.expect(200);
    let tags: Vec<&Value> = refused["items"].as_array().unwrap().iter().map(|line| &line["tags"]).collect();
    assert!(tags.contains(&&json!(["org:acme", "role:admin"])), "{refused}");
    let same = json!({ "max_sessions": 2, "on_limit": "reject", "ip_block": ["198.51.100.0/24"] });
    let tag = |said: Value| json!({ "default": same, "tag": said });
    let (admin, tv, free) =
        (json!({ "ip_allow": ["203.0.113.0/24"] }), json!({ "max_sessions": 1 }), json!({ "seats": 1 }));
    for (what, candidate, let_in) in [
        ("as it is", tag(json!({ "role:admin": admin, "kind:tv": tv, "plan:free": free })), 0),
        // Somebody else goes.
        (
            "evict",
            json!({ "default": { "max_sessions": 2, "ip_block": ["198.51.100.0/24"] },
                "tag": { "role:admin": admin, "kind:tv": tv, "plan:free": free } }),
            5,
        ),
        // Room for one more, and for those of televisions the default's room; a seat more.
        (
            "three",
            json!({ "default": { "max_sessions": 3, "on_limit": "reject", "ip_block": ["198.51.100.0/24"] },
                "tag": { "role:admin": admin, "kind:tv": tv, "plan:free": free } }),
            3,
        ),
        (
            "two televisions",
            tag(json!({ "role:admin": admin, "kind:tv": { "max_sessions": 2 }, "plan:free": free })),
            1,
        ),
        ("no limit of televisions", tag(json!({ "role:admin": admin, "plan:free": free })), 1),
        ("two seats", tag(json!({ "role:admin": admin, "kind:tv": tv, "plan:free": { "seats": 2 } })), 1),
        ("no seats", tag(json!({ "role:admin": admin, "kind:tv": tv })), 1),
        // Not the one without an address, while any list stands.
        ("admins from anywhere", tag(json!({ "kind:tv": tv, "plan:free": free })), 2),
        (
            "admins of one organisation",
            tag(json!({ "role:admin": { "ip_allow": ["192.0.2.1"] }, "kind:tv": tv, "plan:free": free })),
            2,
        ),
        (
            "no lists",
            json!({ "default": { "max_sessions": 2, "on_limit": "reject" }, "tag": { "kind:tv": tv, "plan:free": free } }),
            4,
        ),
        ("nothing", json!({}), 9),
        ("nobody", json!({ "default": { "ip_allow": ["192.0.2.77"] } }), 0),
    ] {
        let told = world.post("/v1/policies/preview", json!({ "policy": candidate })).await.expect(200);
        assert_eq!(told["would_allow"], let_in, "{what}");
    }
    world.advance(Span::hours(24));
    let told = world.post("/v1/policies/preview", json!({ "policy": {} })).await.expect(200);
    assert_eq!(told["would_allow"], 0);
}

#[tokio::test]
async fn a_stream_ends_with_the_result_and_slips_are_told_as_when_saving() {
    let world = World::new().await;
    world.login("ada").await;
    let call = world.call(Method::POST, "/v1/policies/preview").header("accept", "text/event-stream");
    let answer = call.json(&json!({ "policy": { "default": { "idle_timeout": "1h" } } })).send().await;
    assert_eq!(answer.header("content-type"), "text/event-stream");
    let text = answer.text();
    assert!(text.ends_with("\n\n") && text.contains("event: result\ndata: {\"sessions\":1,"), "{text}");
    let wrong = json!({ "policy": { "default": { "idle": "1h" } } });
    world.post("/v1/policies/preview", wrong).await.invalid("/policy/default/idle");
}
