//! How often somebody may ask: what each answer says of the budget, where it ends, and that nobody gets one request more.

mod visitors;

use crate::world::{Answer, Made, Options, World};
use handstamp_core::time::Span;
use handstamp_server::app::rates::debts::Usage;
use http::Method;
use serde_json::json;
use std::sync::Arc;

/// `X-RateLimit-Limit`, `-Remaining` and `-Reset`, the last in seconds from the beginning of the test's time; `None` where
/// the answer speaks of no budget.
fn standing(answer: &Answer) -> Option<(u64, u64, u64)> {
    let read = |name| answer.headers.get(name).map(|value| value.to_str().unwrap().parse().unwrap());
    let [limit, remaining, reset]: [Option<u64>; 3] =
        ["x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"].map(read);
    assert_eq!(limit.is_some(), remaining.is_some(), "{:?}", answer.headers);
    assert_eq!(limit.is_some(), reset.is_some(), "{:?}", answer.headers);
    Some((limit?, remaining?, reset? - 1_767_225_600))
}

async fn limited(world: &World, rate: &str) -> Made {
    world.make_key(json!({ "name": "limited", "rate_limit": rate })).await
}

async fn list(world: &World, key: &str) -> Answer {
    world.call(Method::GET, "/v1/sessions").key(key).send().await
}

#[tokio::test]
async fn a_key_without_a_limit_spends_nothing() {
    let world = World::new().await;
    let (key, made) = (world.make_key(json!({ "name": "free" })).await, world.login("ada").await);
    let body = json!({ "token": made.token });
    let validate = world.call(Method::POST, "/v1/sessions/validate").key(&key.token).json(&body);
    for answer in [list(&world, &key.token).await, validate.send().await] {
        answer.expect(200);
        assert_eq!(standing(&answer), None);
    }
    assert!(world.app.debts().iter().all(|(_, usage)| *usage == Usage::default()));
}

#[tokio::test]
async fn each_call_of_a_limited_key_says_how_its_budget_stands_and_beyond_it_is_refused() {
    let world = World::new().await;
    let (key, made) = (limited(&world, "6/1m").await, world.login("ada").await);
    let call = |method, path: &str| world.call(method, path).key(&key.token);
    let one = json!({ "token": made.token });
    // Whatever is answered was paid for, also what is refused, and a batch is one call.
    let answers = [
        call(Method::GET, "/v1/sessions").send().await,
        call(Method::POST, "/v1/sessions/validate").json(&one).send().await,
        call(Method::POST, "/v1/sessions/validate").body("{").send().await,
        call(Method::POST, "/v1/sessions/validate-batch")
            .json(&json!({ "requests": [one, one] }))
            .send()
            .await,
        call(Method::GET, "/v1/sessions/ses_nobody").send().await,
        call(Method::GET, "/v1/environments").send().await,
    ];
    assert_eq!(answers.each_ref().map(|answer| answer.status.as_u16()), [200, 200, 415, 200, 404, 403]);
    for (n, answer) in (1..).zip(&answers) {
        assert_eq!(standing(answer), Some((6, 6 - n, 10 * n)), "{n}");
    }
    // No call for which there is nothing left.
    for path in ["/v1/sessions/validate", "/v1/sessions/validate-batch"] {
        let answer = call(Method::POST, path).json(&json!({})).send().await;
        answer.refused(429, "rate_limit_exceeded");
        assert_eq!((standing(&answer), answer.header("retry-after")), (Some((6, 0, 60)), "10"));
    }
    let answer = list(&world, &key.token).await;
    answer.refused(429, "rate_limit_exceeded");
    let body = answer.json();
    assert_eq!(body["retry_after"], 10);
    assert_eq!(body["detail"], "the access key may make 6/1m calls; the next one passes in 10 s");
    assert!(!answer.text().contains(&key.token) && !answer.text().contains(&key.id));
    // A refusal takes nothing: the call that was said to pass passes, and one more does not.
    world.advance(Span(Span::secs(10).0 - 1));
    list(&world, &key.token).await.refused(429, "rate_limit_exceeded");
    world.advance(Span(1));
    assert_eq!(standing(&list(&world, &key.token).await), Some((6, 0, 70)));
    list(&world, &key.token).await.refused(429, "rate_limit_exceeded");
    // Nobody else's budget was touched: the same session, another key.
    assert_eq!(world.verdict(&made.token).await, "valid");
    // What the key is refused for before it is known to be good spends nothing.
    let wrong = call(Method::GET, "/v1/sessions").header("x-handstamp-env", "shop/prd").send().await;
    wrong.refused(403, "insufficient_scope");
    assert_eq!(standing(&wrong), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn calls_that_come_together_get_exactly_the_budget() {
    let world = Arc::new(World::new().await);
    let key = limited(&world, "40/1h").await;
    let calls = (0..150).map(|n| {
        let (world, key) = (world.clone(), key.clone());
        tokio::spawn(async move {
            // Both ways into the server: its routes, and the short one of validations.
            if n % 2 == 0 {
                return list(&world, &key.token).await;
            }
            let body = json!({ "token": "nonsense" });
            world.call(Method::POST, "/v1/sessions/validate").key(&key.token).json(&body).send().await
        })
    });
    let mut left = Vec::new();
    let mut refused = 0;
    for call in calls.collect::<Vec<_>>() {
        let answer = call.await.unwrap();
        match answer.status.as_u16() {
            200 => left.push(standing(&answer).unwrap().1),
            _ => {
                answer.refused(429, "rate_limit_exceeded");
                refused += 1;
            }
        }
    }
    left.sort_unstable();
    assert_eq!((left, refused), ((0..40).collect(), 110), "each place in the budget was given once");
}

#[tokio::test]
async fn a_limit_is_changed_taken_away_and_outlives_a_restart() {
    let options = Options::default();
    let (store, clock) = (options.store.clone(), options.clock.clone());
    let world = World::with(options).await;
    let key = limited(&world, "2/1h").await;
    let path = format!("/v1/keys/{}", key.id);
    assert_eq!(world.get(&path).await.expect(200)["rate_limit"], "2/1h");
    list(&world, &key.token).await.expect(200);
    // Half of the budget is spent, so half of the new one is.
    assert_eq!(
        world.patch(&path, json!({ "rate_limit": "100/1h" })).await.expect(200)["rate_limit"],
        "100/1h"
    );
    assert_eq!(standing(&list(&world, &key.token).await).map(|said| (said.0, said.1)), Some((100, 49)));
    // Other changes leave it alone.
    assert_eq!(world.patch(&path, json!({ "name": "k" })).await.expect(200)["rate_limit"], "100/1h");
    world.patch(&path, json!({ "rate_limit": null })).await.expect(200);
    assert_eq!(standing(&list(&world, &key.token).await), None);
    world.patch(&path, json!({ "rate_limit": "1/1d" })).await.expect(200);
    let next = world.post(&format!("{path}/rotate"), json!({})).await.expect(201);
    assert_eq!(next["key"]["rate_limit"], "1/1d");
    let again = World::with(Options { store, clock, seed: 2, ..Options::default() }).await;
    assert_eq!(standing(&list(&again, &key.token).await), Some((1, 0, 86_400)));
    list(&again, &key.token).await.refused(429, "rate_limit_exceeded");
    for wrong in ["", "10", "0/1h", "1/0s", "1/1y", "-1/1h", "1/1h ", "off"] {
        for (method, path) in [(Method::POST, "/v1/keys"), (Method::PATCH, &*path)] {
            let body = json!({ "name": "k", "rate_limit": wrong });
            let answer = world.call(method, path).json(&body).send().await;
            answer.refused(400, "invalid_request");
            assert_eq!(answer.json()["errors"][0]["pointer"], "/rate_limit", "{wrong}");
        }
    }
}

/// Otherwise a key that is limited would help itself to as much as it likes.
#[tokio::test]
async fn a_limited_key_gives_no_looser_limit() {
    let world = World::new().await;
    let (own, free) = (limited(&world, "1000/1h").await, world.make_key(json!({ "name": "free" })).await);
    let call = |method, path: &str, body| world.call(method, path).key(&own.token).json(&body);
    let made = call(Method::POST, "/v1/keys", json!({ "name": "k" })).send().await;
    assert_eq!(made.expect(201)["key"]["rate_limit"], "1000/1h", "nothing said: the same");
    let stricter = json!({ "name": "k", "rate_limit": "10/1h" });
    assert_eq!(
        call(Method::POST, "/v1/keys", stricter).send().await.expect(201)["key"]["rate_limit"],
        "10/1h"
    );
    let path = |key: &Made, more: &str| format!("/v1/keys/{}{more}", key.id);
    for (method, path, body) in [
        (Method::POST, "/v1/keys".to_owned(), json!({ "name": "k", "rate_limit": "1001/1h" })),
        (Method::PATCH, path(&own, ""), json!({ "rate_limit": "1001/1h" })),
        (Method::PATCH, path(&own, ""), json!({ "rate_limit": null })),
        (Method::POST, path(&free, "/rotate"), json!({})),
    ] {
        call(method, &path, body).send().await.refused(403, "insufficient_scope");
    }
    call(Method::PATCH, &path(&own, ""), json!({ "rate_limit": "999/1h" })).send().await.expect(200);
}
