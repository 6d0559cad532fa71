//! `/metrics`: the documented families and no others, and numbers that are right.

use crate::world::World;
use handstamp_core::time::Span;
use handstamp_server::http::metrics::FAMILIES;
use handstamp_server::http::{Door, Web, cookie, listener};
use http::Method;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Every sample by its name with labels, after the format was looked at.
async fn read(world: &World) -> BTreeMap<String, f64> {
    let answer = world.call(Method::GET, "/metrics").no_key().send().await;
    assert_eq!(
        (answer.status.as_u16(), answer.header("content-type")),
        (200, "text/plain; version=0.0.4; charset=utf-8")
    );
    let mut samples = BTreeMap::new();
    let mut family = String::new();
    for line in answer.text().lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            family = rest.split(' ').next().unwrap().to_owned();
        } else if !line.starts_with('#') {
            let (name, value) = line.rsplit_once(' ').unwrap();
            assert!(name.starts_with(&family), "{line} under {family}");
            assert!(samples.insert(name.to_owned(), value.parse().unwrap()).is_none(), "{line} twice");
        }
    }
    samples
}

#[tokio::test]
async fn families_are_the_documented_ones() {
    let world = World::new().await;
    world.create(json!({ "user_id": "ada", "tags": ["role:admin"] })).await;
    metrics::counter!("handstamp_edge_refused_total", "reason" => "test").increment(1);
    let text = world.get("/metrics").await;
    let types: BTreeSet<(String, String)> = text
        .text()
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '))
        .map(|(name, kind)| (name.to_owned(), kind.to_owned()))
        .collect();
    let known: BTreeSet<(String, String)> =
        FAMILIES.iter().map(|family| (family.name.to_owned(), family.kind.to_owned())).collect();
    // The gauge of the edge appears with its first tick.
    let late = ("handstamp_edge_connections".to_owned(), "gauge".to_owned());
    assert_eq!(known.difference(&types).filter(|family| **family != late).count(), 0, "{types:?}");
    assert!(types.is_subset(&known), "{types:?}");
    let document = include_str!("../../../../docs/metrics.md");
    let rows: BTreeSet<String> =
        document.lines().filter(|line| line.starts_with("| `")).map(str::to_owned).collect();
    let wanted: BTreeSet<String> = FAMILIES
        .iter()
        .map(|family| {
            let labels: Vec<String> = family.labels.iter().map(|label| format!("`{label}`")).collect();
            format!("| `{}` | {} | {} | {} |", family.name, family.kind, labels.join(", "), family.help)
        })
        .collect();
    assert_eq!(rows, wanted, "docs/metrics.md has a row for each family, in these words");
}

#[tokio::test]
async fn live_sessions_are_counted_by_environment_and_tag_name() {
    let world = World::new().await;
    let shop = world.make_environment("shop", "prd").await;
    let first = world.create(json!({ "user_id": "ada", "tags": ["role:admin", "role:user", "org:a"] })).await;
    world.create(json!({ "user_id": "bob", "tags": ["role:user"] })).await;
    let call = world.call(Method::POST, "/v1/sessions").key(&shop.token).json(&json!({ "user_id": "ada" }));
    call.send().await.expect(201);
    let live = |samples: &BTreeMap<String, f64>, product: &str| {
        samples[&format!("handstamp_live_sessions{{product=\"{product}\",environment=\"prd\"}}")]
    };
    let tagged = |samples: &BTreeMap<String, f64>, tag: &str| {
        let name = format!(
            "handstamp_live_sessions_by_tag{{product=\"default\",environment=\"prd\",tag=\"{tag}\"}}"
        );
        samples.get(&name).copied()
    };
    let samples = read(&world).await;
    assert_eq!((live(&samples, "default"), live(&samples, "shop")), (2.0, 1.0));
    assert_eq!((tagged(&samples, "role"), tagged(&samples, "org")), (Some(2.0), Some(1.0)));
    world.delete(&format!("/v1/sessions/{}", first.id)).await.expect(200);
    let samples = read(&world).await;
    assert_eq!(
        (live(&samples, "default"), tagged(&samples, "role"), tagged(&samples, "org")),
        (1.0, Some(1.0), None)
    );
    world.advance(Span::days(40));
    assert!(world.app.tidy().await.is_ok());
    let samples = read(&world).await;
    assert_eq!(
        (live(&samples, "default"), live(&samples, "shop"), tagged(&samples, "role")),
        (0.0, 0.0, None)
    );
}

#[tokio::test]
async fn rotations_stall_after_ten_minutes() {
    let world = World::new().await;
    let made = world.login("ada").await;
    let stalled =
        async || read(&world).await["handstamp_stalled_rotations{product=\"default\",environment=\"prd\"}"];
    world.advance(Span::minutes(15));
    let body = json!({ "token": made.token, "rotate": "auto" });
    let next = world.post("/v1/sessions/validate", body).await.expect(200)["rotated_token"].clone();
    world.advance(Span(Span::minutes(10).0 - 1));
    assert_eq!(stalled().await, 0.0);
    world.advance(Span(1));
    assert_eq!(stalled().await, 1.0);
    assert_eq!(world.verdict(next.as_str().unwrap()).await, "valid");
    assert_eq!(stalled().await, 0.0, "somebody holds it");
    world.advance(Span::minutes(15));
    let body = json!({ "token": next, "rotate": "auto" });
    world.post("/v1/sessions/validate", body).await.expect(200);
    world.delete(&format!("/v1/sessions/{}", made.id)).await.expect(200);
    world.advance(Span::minutes(15));
    assert_eq!(stalled().await, 0.0, "an ended session stalls nothing");
}

#[tokio::test]
async fn verdicts_cache_and_process_are_counted() {
    let world = World::new().await;
    let made = world.login("ada").await;
    for _ in 0..3 {
        world.verdict(&made.token).await;
    }
    world.verdict("nonsense").await;
    let samples = read(&world).await;
    assert_eq!(samples["handstamp_verdicts_total{code=\"allowed\"}"], 3.0);
    assert_eq!(samples["handstamp_verdicts_total{code=\"token_malformed\"}"], 1.0);
    assert_eq!(
        (samples["handstamp_cache_sessions"], samples["handstamp_cache_capacity_bytes"]),
        (1.0, 1_048_576.0)
    );
    assert!(samples["handstamp_cache_bytes"] > 100.0);
    assert_eq!((samples["handstamp_cache_hits_total"], samples["handstamp_cache_misses_total"]), (2.0, 1.0));
    assert_eq!((samples["handstamp_store_up"], samples["handstamp_events_dropped_total"]), (1.0, 0.0));
    assert!(
        samples["handstamp_commit_seconds_count"] >= 1.0 && samples["handstamp_commit_seconds_sum"] > 0.0
    );
    let (count, inf) =
        (samples["handstamp_commit_seconds_count"], samples["handstamp_commit_seconds_bucket{le=\"+Inf\"}"]);
    assert_eq!(count, inf);
    assert!(samples["process_resident_memory_bytes"] > 1e6 && samples["process_open_fds"] >= 3.0);
    assert_eq!(samples[&format!("handstamp_build_info{{version=\"{}\"}}", env!("CARGO_PKG_VERSION"))], 1.0);
}

#[tokio::test]
async fn budgets_are_counted() {
    let world = World::new().await;
    let of = |name: &str, whose: &str| format!("handstamp_rate_{name}{{budget=\"{whose}\"}}");
    for (name, value) in read(&world).await.iter().filter(|(name, _)| name.starts_with("handstamp_rate_")) {
        assert_eq!(*value, 0.0, "{name}");
    }
    let key = world.make_key(json!({ "name": "k", "rate_limit": "2/1h" })).await;
    world.app.set_anonymous_limit(Some(handstamp_core::policy::modes::Rate::parse("1/1h").unwrap()));
    for _ in 0..5 {
        world.call(Method::GET, "/v1/sessions").key(&key.token).send().await;
    }
    for n in 0..3 {
        let ask = json!({ "token": "nonsense", "ip": format!("192.0.2.{}", n % 2) });
        world.post("/v1/sessions/validate", ask).await.expect(200);
    }
    let samples = read(&world).await;
    let limited = ["session", "key", "address"].map(|whose| samples[&of("limited_total", whose)]);
    assert_eq!(limited, [0.0, 3.0, 1.0]);
    let held = ["session", "key", "address", "cookie"].map(|whose| samples[&of("budgets", whose)]);
    assert_eq!(held, [0.0, 1.0, 2.0, 0.0]);
    assert!((16.0..4096.0).contains(&samples[&of("budget_bytes", "key")]), "{samples:?}");
    assert_eq!(samples[&of("budgets_evicted_total", "address")], 0.0);
}

#[tokio::test]
async fn without_the_store_the_rest_is_still_told() {
    let world = World::new().await;
    world.app.close().await;
    let samples = read(&world).await;
    assert_eq!(samples["handstamp_store_up"], 0.0);
    assert!(samples.keys().all(|name| !name.starts_with("handstamp_live_sessions")), "{samples:?}");
    assert!(samples.contains_key("process_open_fds"));
}

#[tokio::test]
async fn a_listener_of_its_own_has_metrics_and_nothing_else() {
    let world = World::new().await;
    let web = Arc::new(Web::new(world.app.clone(), cookie::Style::default(), 3));
    let (metrics, main) = (Door::of_metrics(web.clone()), Door::without_metrics(web));
    let mut stoppers = Vec::new();
    for (door, expected) in [(metrics, [200, 404, 404, 404]), (main, [404, 200, 200, 200])] {
        let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let (stopper, stop) = handstamp_server::host::signals::stop();
        stoppers.push(stopper);
        tokio::spawn(listener::serve(
            socket,
            listener::Preface::default(),
            door,
            listener::Limits::default(),
            stop,
        ));
        let mut asked = World::new().await;
        asked.address = address;
        let validate = asked.call(Method::POST, "/v1/sessions/validate").json(&json!({})).send();
        let seen = [
            asked.get("/metrics").await.status.as_u16(),
            asked.get("/docs").await.status.as_u16(),
            validate.await.status.as_u16(),
            asked.get("/v1/sessions").await.status.as_u16(),
        ];
        assert_eq!(seen, expected);
    }
}
