//! `GET /v1/users` and `GET /v1/users/{id}`: exactly what a look at each session says, at this instant.

use crate::world::{Options, World};
use handstamp_core::policy::{Policy, Rules};
use handstamp_core::time::Span;
use http::Method;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

async fn pages(world: &World, limit: usize) -> Vec<Value> {
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    for _ in 0..1_000 {
        let page = world.get(&format!("/v1/users?limit={limit}{cursor}")).await.expect(200);
        let items = page["items"].as_array().unwrap().clone();
        assert!(items.len() <= limit);
        seen.extend(items);
        let Some(next) = page["next_cursor"].as_str() else { return seen };
        cursor = format!("&cursor={next}");
    }
    panic!("the pages do not end");
}

async fn live(world: &World) -> Vec<Value> {
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = world.get(&format!("/v1/sessions?limit=200{cursor}")).await.expect(200);
        seen.extend(page["items"].as_array().unwrap().clone());
        let Some(next) = page["next_cursor"].as_str() else { return seen };
        cursor = format!("&cursor={next}");
    }
}

/// What the live sessions say of their users: how many, last activity, clients with how many.
type Said = BTreeMap<String, (usize, String, BTreeSet<(String, usize)>)>;

fn by_sessions(sessions: &[Value]) -> Said {
    let mut users: BTreeMap<String, (usize, String, BTreeMap<String, usize>)> = BTreeMap::new();
    for session in sessions {
        let user = users.entry(session["user_id"].as_str().unwrap().to_owned()).or_default();
        user.0 += 1;
        user.1 = user.1.clone().max(session["last_active_at"].as_str().unwrap().to_owned());
        let client = session.get("last_client").unwrap_or(&session["client"]);
        if !client["ip"].is_null() {
            *user.2.entry(format!("{} {}", client["ip"], client["user_agent"])).or_default() += 1;
        }
    }
    users.into_iter().map(|(id, (n, last, clients))| (id, (n, last, clients.into_iter().collect()))).collect()
}

fn by_users(users: &[Value]) -> Said {
    let said: Said = users
        .iter()
        .map(|user| {
            let clients = user["clients"].as_array().unwrap().iter();
            let count = |n: &Value| usize::try_from(n.as_u64().unwrap()).unwrap();
            let clients =
                clients.map(|c| (format!("{} {}", c["ip"], c["user_agent"]), count(&c["sessions"])));
            let last = user["last_active_at"].as_str().unwrap().to_owned();
            (user["id"].as_str().unwrap().to_owned(), (count(&user["sessions"]), last, clients.collect()))
        })
        .collect();
    assert_eq!(said.len(), users.len(), "a user is listed twice");
    said
}

/// Sessions begin, are used, end by hand, by time and by an epoch; housekeeping runs now and then, and it makes no
/// difference.
#[tokio::test]
async fn they_say_what_the_sessions_say_at_every_instant() {
    let policy = Policy::from(Rules { idle_timeout: Some(Span::minutes(10)), ..Rules::default() });
    let world = World::with(Options { policy: Some(policy), ..Options::default() }).await;
    let long = "u".repeat(200);
    let names = ["ada", "grace", "alan", "a/b ü?", &long, "zoe", "eve"];
    let mut made = Vec::new();
    for n in 0..90usize {
        let user = names[n * n % names.len()];
        let mut ask = json!({ "user_id": user, "ip": format!("203.0.113.{}", n % 3), "user_agent": "own" });
        if n % 6 == 0 {
            ask["tags"] = json!(["kind:short"]);
        }
        if n % 11 == 0 {
            ask = json!({ "user_id": user });
        }
        made.push(world.create(ask).await);
        world.advance(Span::secs(40));
        match n % 7 {
            1 => drop(world.delete(&format!("/v1/sessions/{}", made[n / 2].id)).await),
            2 => {
                let body =
                    json!({ "token": made[n / 3 * 2].token, "ip": "198.51.100.1", "user_agent": "own" });
                world.post("/v1/sessions/validate", body).await.expect(200);
            }
            3 if n % 2 == 0 => assert!(world.app.tidy().await.is_ok()),
            5 if n == 40 => {
                world.post("/v1/sessions/revoke", json!({ "tags": ["kind:short"] })).await.expect(202);
            }
            _ => {}
        }
        if n % 4 == 0 {
            let wanted = by_sessions(&live(&world).await);
            assert_eq!(by_users(&pages(&world, 1 + n % 5).await), wanted, "at {n}");
        }
    }
    let wanted = by_sessions(&live(&world).await);
    assert!(wanted.len() >= 4 && wanted.values().any(|(_, _, clients)| clients.len() > 1), "{wanted:?}");
    for (id, said) in &wanted {
        let path: String = id.bytes().map(|b| format!("%{b:02X}")).collect();
        let user = world.get(&format!("/v1/users/{path}")).await.expect(200);
        assert_eq!(by_users(&[user]).get(id), Some(said));
    }
    world.advance(Span::minutes(10));
    assert_eq!(pages(&world, 2).await, [] as [Value; 0]);
    let ada = world.get("/v1/users/ada").await.expect(200);
    assert_eq!((&ada["sessions"], &ada["last_active_at"]), (&json!(0), &Value::Null));
}

#[tokio::test]
async fn recent_refusals_are_those_of_the_last_day() {
    let world = World::new().await;
    let made = world.login("ada").await;
    let ended = world.login("ada").await;
    world.delete(&format!("/v1/sessions/{}", ended.id)).await.expect(200);
    let missing = json!({ "token": made.token, "required_tags": ["role:admin"] });
    for _ in 0..3 {
        world.post("/v1/sessions/validate", missing.clone()).await.expect(200);
    }
    world.advance(Span::secs(30));
    assert_eq!(world.verdict(&ended.token).await, "session_revoked");
    let refusals = async || {
        assert!(world.app.tidy().await.is_ok());
        let user = world.get("/v1/users/ada").await.expect(200);
        let listed = world.get("/v1/users").await.expect(200)["items"][0].clone();
        assert!(listed.is_null() || listed == user, "{listed}");
        user["recent_refusals"].clone()
    };
    let line = |code, count, at| json!({ "code": code, "count": count, "last_at": at });
    assert_eq!(
        refusals().await,
        json!([
            line("session_revoked", 1, "2026-01-01T00:00:30.000Z"),
            line("tag_missing", 1, "2026-01-01T00:00:00.000Z"),
        ])
    );
    // What was repeated within the minute is counted when it is over.
    world.advance(Span::secs(30));
    assert_eq!(refusals().await[1], line("tag_missing", 3, "2026-01-01T00:00:00.000Z"));
    world.advance(Span::hours(24));
    world.advance(Span::secs(-60));
    assert_eq!(refusals().await.as_array().unwrap().len(), 2, "exactly a day ago is recent");
    world.advance(Span::millis(1));
    assert_eq!(refusals().await, json!([line("session_revoked", 1, "2026-01-01T00:00:30.000Z")]));
    world.advance(Span::secs(30));
    assert_eq!(refusals().await, json!([]));
}

#[tokio::test]
async fn who_is_not_known_and_what_is_asked_wrongly() {
    let world = World::new().await;
    let other = world.make_environment("shop", "prd").await;
    world.login("ada").await;
    world.get("/v1/users/grace").await.refused(404, "not_found");
    world.call(Method::GET, "/v1/users/ada").key(&other.token).send().await.refused(404, "not_found");
    let theirs = world.call(Method::GET, "/v1/users").key(&other.token).send().await.expect(200);
    assert_eq!(theirs, json!({ "items": [], "next_cursor": null }));
    world.get(&format!("/v1/users/{}", "x".repeat(257))).await.refused(404, "not_found");
    world.get("/v1/users?limit=0").await.invalid("limit");
    world.get("/v1/users?cursor=xy").await.invalid("cursor");
    // A cursor of another list, and one of another environment's.
    for user in ["b", "c", "d"] {
        world.login(user).await;
    }
    let sessions = world.get("/v1/sessions?limit=1").await.expect(200);
    world
        .get(&format!("/v1/users?cursor={}", sessions["next_cursor"].as_str().unwrap()))
        .await
        .invalid("cursor");
    let users = world.get("/v1/users?limit=1").await.expect(200);
    let path = format!("/v1/users?cursor={}", users["next_cursor"].as_str().unwrap());
    world.call(Method::GET, &path).key(&other.token).send().await.invalid("cursor");
    let poor = world.make_key(json!({ "name": "poor", "scopes": ["events:read"] })).await;
    for path in ["/v1/users", "/v1/users/ada"] {
        world.call(Method::GET, path).key(&poor.token).send().await.refused(403, "insufficient_scope");
    }
}

#[tokio::test]
async fn recent_refusals_have_the_logins_that_a_rule_refused() {
    let world = World::new().await;
    let policy = json!({
        "default": { "max_sessions": 1, "on_limit": "reject", "ip_block": ["198.51.100.0/24"] }
    });
    world.call(Method::PUT, "/v1/policies").json(&policy).send().await.expect(200);
    world.create(json!({ "user_id": "ada", "ip": "203.0.113.7" })).await;
    let made = world.create(json!({ "user_id": "bob", "ip": "203.0.113.7" })).await;
    world.advance(Span::secs(10));
    let login =
        async |user: &str, ip: &str| world.post("/v1/sessions", json!({ "user_id": user, "ip": ip })).await;
    for _ in 0..3 {
        login("bob", "203.0.113.7").await.refused(409, "session_limit_reached");
    }
    world.advance(Span::secs(10));
    let refused = json!({ "token": made.token, "ip": "198.51.100.9" });
    assert_eq!(world.post("/v1/sessions/validate", refused).await.expect(200)["code"], "ip_blocked");
    world.advance(Span::secs(10));
    // One who never got in is known by that.
    for user in ["bob", "eve"] {
        login(user, "198.51.100.9").await.refused(403, "ip_blocked");
    }
    world.advance(Span::minutes(2));
    assert!(world.app.tidy().await.is_ok());
    let of = async |user: &str| {
        world.get(&format!("/v1/users/{user}")).await.expect(200)["recent_refusals"].clone()
    };
    let line = |code, count, at| json!({ "code": code, "count": count, "last_at": at });
    let wanted = json!([
        line("ip_blocked", 2, "2026-01-01T00:00:30.000Z"),
        line("session_limit_reached", 3, "2026-01-01T00:00:10.000Z"),
    ]);
    assert_eq!(of("bob").await, wanted);
    assert_eq!(of("ada").await, json!([]));
    assert_eq!(of("eve").await, json!([line("ip_blocked", 1, "2026-01-01T00:00:30.000Z")]));
    let listed = world.get("/v1/users").await.expect(200)["items"].clone();
    let listed: BTreeMap<&str, &Value> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|user| (user["id"].as_str().unwrap(), &user["recent_refusals"]))
        .collect();
    assert_eq!(listed, BTreeMap::from([("ada", &json!([])), ("bob", &wanted)]));
    // After a day nobody knows them any more.
    world.advance(Span::hours(24));
    assert_eq!(of("bob").await, json!([]));
    world.get("/v1/users/eve").await.refused(404, "not_found");
}
