//! `GET /v1/sessions` and `GET /v1/sessions/count`: filters, pages, cursors.

use crate::world::World;
use handstamp_core::time::Span;
use serde_json::{Value, json};
use std::collections::BTreeSet;

async fn page(world: &World, query: &str) -> (Vec<String>, Option<String>) {
    let page = world.get(&format!("/v1/sessions{query}")).await.expect(200);
    let ids = page["items"].as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap().to_owned());
    (ids.collect(), page["next_cursor"].as_str().map(str::to_owned))
}

#[tokio::test]
async fn filters_find_what_they_name_and_count_agrees() {
    let world = World::new().await;
    let mut ids = Vec::new();
    for (user, tags, ip) in [
        ("ada", json!(["role:admin", "org:a"]), "203.0.113.7"),
        ("ada", json!(["role:user", "org:a"]), "2001:db8::1"),
        ("bob", json!(["role:user"]), "203.0.113.8"),
        ("ünï code&=", json!([]), "198.51.100.1"),
    ] {
        world.advance(Span::secs(1));
        ids.push(world.create(json!({ "user_id": user, "tags": tags, "ip": ip })).await.id);
    }
    world.delete(&format!("/v1/sessions/{}", ids[2])).await.expect(200);
    for (query, which) in [
        ("", &[3, 1, 0][..]),
        ("?state=live", &[3, 1, 0]),
        ("?state=ended", &[2]),
        ("?state=all", &[3, 2, 1, 0]),
        ("?user_id=ada", &[1, 0]),
        ("?user_id=bob", &[]),
        ("?user_id=bob&state=all", &[2]),
        ("?user_id=%C3%BCn%C3%AF+code%26%3D", &[3]),
        ("?tag=org:a", &[1, 0]),
        ("?tag=org:a&tag=role:user", &[1]),
        ("?tag=role:user&state=all", &[2, 1]),
        ("?ip=203.0.113.7", &[0]),
        ("?ip=203.0.113.0/24&state=all", &[2, 0]),
        ("?ip=2001:db8::/64", &[1]),
        ("?code=session_revoked&state=ended", &[2]),
        ("?code=session_idle&state=ended", &[]),
        ("?created_after=2026-01-01T00:00:02Z&created_before=2026-01-01T00:00:04Z&state=all", &[2, 1]),
        ("?created_after=2026-01-01T01:00:02%2B01:00", &[3, 1]),
        ("?user_id=nobody", &[]),
    ] {
        let expected: Vec<String> = which.iter().map(|n| ids[*n].clone()).collect();
        assert_eq!(page(&world, query).await, (expected, None), "{query}");
        let count = world.get(&format!("/v1/sessions/count{query}")).await.expect(200);
        assert_eq!(count, json!({ "count": which.len(), "or_more": false }), "{query}");
    }
}

#[tokio::test]
async fn listings_hold_no_credential() {
    let world = World::new().await;
    world.login("ada").await;
    let answer = world.get("/v1/sessions?state=all").await;
    assert_eq!(answer.expect(200)["items"].as_array().unwrap().len(), 1);
    assert!(!answer.text().contains("hst_") && !answer.text().contains("hsk_"));
}

#[tokio::test]
async fn both_sides_of_the_limit() {
    let world = World::new().await;
    for _ in 0..3 {
        world.login("ada").await;
    }
    for limit in ["0", "201", "-1", "+1", "1.0", "x", "", "4294967297"] {
        world.get(&format!("/v1/sessions?limit={limit}")).await.invalid("limit");
    }
    let (one, next) = page(&world, "?limit=1").await;
    assert!(one.len() == 1 && next.is_some());
    assert_eq!(page(&world, "?limit=200").await.0.len(), 3);
    assert_eq!(page(&world, "?limit=3").await.0.len(), 3);
}

#[tokio::test]
async fn pages_miss_nothing_and_repeat_nothing_while_sessions_are_made_and_ended() {
    let world = World::roomy().await;
    let mut there = BTreeSet::new();
    for n in 0..60 {
        world.advance(Span(7));
        there.insert(world.create(json!({ "user_id": "ada", "tags": [format!("n:{}", n % 2)] })).await.id);
    }
    for query in ["user_id=ada", "state=all", "tag=n:0&tag=n:0", ""] {
        let (mut seen, mut cursor) = (Vec::new(), String::new());
        loop {
            let (ids, next) = page(&world, &format!("?limit=7&{query}{cursor}")).await;
            seen.extend(ids);
            world.advance(Span(3));
            world.create(json!({ "user_id": "ada", "tags": ["n:0"] })).await;
            let Some(next) = next else { break };
            cursor = format!("&cursor={next}");
        }
        let unique: BTreeSet<String> = seen.iter().cloned().collect();
        assert_eq!(unique.len(), seen.len(), "{query}: twice");
        assert!(seen.windows(2).all(|pair| pair[0] > pair[1]), "{query}: newest first");
        let expected = there.iter().filter(|id| !query.contains("tag") || unique.contains(*id)).count();
        let found = unique.iter().filter(|id| there.contains(*id)).count();
        assert_eq!(found, if query.contains("tag") { 30 } else { 60 }, "{query}: missed");
        assert!(expected >= found);
    }
}

#[tokio::test]
async fn a_cursor_belongs_to_its_search() {
    let world = World::new().await;
    for _ in 0..3 {
        world.create(json!({ "user_id": "ada", "tags": ["a:b"] })).await;
    }
    let (_, next) = page(&world, "?user_id=ada&limit=1").await;
    let cursor = next.unwrap();
    assert_eq!(page(&world, &format!("?user_id=ada&limit=200&cursor={cursor}")).await.0.len(), 2);
    for query in ["?", "?user_id=bob&", "?user_id=ada&state=all&", "?user_id=ada&tag=a:b&", "?tag=a:b&"] {
        world.get(&format!("/v1/sessions{query}cursor={cursor}")).await.invalid("cursor");
    }
    let (damaged, short) = (cursor.replace(['0', '1'], "2"), &cursor[..cursor.len() - 1]);
    for wrong in ["", "x", "zz", "0", &damaged, short, &"0".repeat(5_000), "%00", "%F0%9F%98%80"] {
        let answer = world.get(&format!("/v1/sessions?user_id=ada&cursor={wrong}")).await;
        if !(wrong == damaged && answer.status == 200) {
            answer.invalid("cursor");
        }
    }
    let shop = world.make_environment("shop", "prd").await;
    let stranger = world.call(http::Method::GET, &format!("/v1/sessions?user_id=ada&cursor={cursor}"));
    stranger.key(&shop.token).send().await.invalid("cursor");
}

#[tokio::test]
async fn parameters_are_read_strictly() {
    let world = World::new().await;
    for (query, pointer) in [
        ("state=dead", "state"),
        ("code=nonsense", "code"),
        ("code=tag_missing", "code"),
        ("user_id=", "user_id"),
        ("user_id=a&user_id=b", "user_id"),
        ("ip=203.0.113.0/33", "ip"),
        ("ip=203.0.113.0/", "ip"),
        ("ip=203.0.113.0/024a", "ip"),
        ("created_after=2026", "created_after"),
        ("created_before=2026-01-01T00:00:00", "created_before"),
        ("colour=red", "colour"),
        // Replaced by a sign for "no text", two names that differ would become one.
        ("user_id=%ff", ""),
        ("tag=a:%C3%28", ""),
        ("%C3=a", ""),
    ] {
        for path in ["/v1/sessions", "/v1/sessions/count"] {
            let problem = world.get(&format!("{path}?{query}")).await.invalid(pointer);
            assert!(problem["errors"][0]["message"].as_str().is_some_and(|text| text.len() > 8), "{problem}");
        }
    }
    world.get("/v1/sessions?tag=x").await.invalid_as("tag_invalid", "tag/0");
    world.get("/v1/sessions/count?limit=1").await.invalid("limit");
}

#[tokio::test]
async fn counting_stops_and_says_so() {
    let world = World::new().await;
    let body = world.get("/v1/sessions/count").await.expect(200);
    assert_eq!(body, json!({ "count": 0, "or_more": false }));
    assert_eq!(body["count"], Value::from(0));
}

/// Only what has ended has a code, so whoever asks for one asks for ended sessions.
#[tokio::test]
async fn a_code_asks_for_the_ended() {
    let world = World::new().await;
    let (ada, _bob) = (world.login("ada").await, world.login("bob").await);
    world.delete(&format!("/v1/sessions/{}", ada.id)).await.expect(200);
    let found = world.get("/v1/sessions?code=session_revoked").await.expect(200);
    assert_eq!(found["items"].as_array().unwrap().len(), 1);
    assert_eq!(world.get("/v1/sessions/count?code=session_revoked").await.expect(200)["count"], 1);
    let live = world.get("/v1/sessions?code=session_revoked&state=live").await.expect(200);
    assert_eq!(live["items"], serde_json::json!([]));
}
