//! The doors of several nodes: what leaves them is still true when it leaves, and where nobody can know that, they say so.

use crate::front::{Front, Fronted};
use crate::world::{Answer, BEGINNING, Made, Options, World};
use async_trait::async_trait;
use handstamp_core::address::{Network, Networks};
use handstamp_core::policy::setting::Every;
use handstamp_core::policy::{Policy, Rules};
use handstamp_core::time::Span;
use handstamp_server::host::clock::ManualClock;
use handstamp_server::store::faulty::{Call, Fault};
use handstamp_server::store::memory::Memory;
use handstamp_server::store::{Key, Store, StoreError, Versioned};
use http::Method;
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::task::yield_now;

/// A node behind its doors, and how it hears.
pub(super) struct Node {
    pub(super) world: World,
    ear: Arc<Memory>,
}

pub(super) async fn pair() -> (Node, Node) {
    pair_with(Options::default).await
}

async fn pair_under(policy: Option<Policy>) -> (Node, Node) {
    pair_with(|| Options { policy: policy.clone(), ..Options::default() }).await
}

pub(super) async fn pair_with(options: impl Fn() -> Options) -> (Node, Node) {
    let (store, clock) = (Memory::shared(), Arc::new(ManualClock::new(BEGINNING)));
    let mut nodes = Vec::new();
    for seed in 1..3 {
        let ear = Arc::new(store.node());
        let options = Options { store: ear.clone(), clock: clock.clone(), seed, ..options() };
        let node = Node { world: Box::pin(World::with(options)).await, ear };
        node.keep_up().await;
        nodes.push(node);
    }
    let (b, a) = (nodes.remove(1), nodes.remove(0));
    a.keep_up().await;
    (a, b)
}

impl Node {
    pub(super) async fn keep_up(&self) {
        let _ = self.world.app.probe().await;
        self.world.app.hear_waiting().await;
    }

    /// Every call that memory answers.
    async fn asked(&self, made: &Made) -> [Answer; 5] {
        let (world, cookie) = (&self.world, format!("__Host-handstamp={}", made.token));
        let validate = json!({ "token": made.token });
        let command = json!({ "command": "ValidateSession", "data": { "sessionToken": made.token } });
        [
            world.post("/v1/sessions/validate", validate.clone()).await,
            world
                .post("/v1/sessions/validate-batch", json!({ "requests": [validate.clone(), validate] }))
                .await,
            world.ask("/v1/forward-auth").header("cookie", &cookie).send().await,
            world.call(Method::GET, "/v1/auth/session").no_key().header("cookie", &cookie).send().await,
            world.post("/run-command", command).await,
        ]
    }
}

/// Whether an answer lets pass.
fn passes(answer: &Answer) -> bool {
    let text = answer.text();
    answer.status == 200 && !text.contains("\"valid\":false") && !text.contains("\"type\":")
}

#[tokio::test]
async fn a_node_without_its_store_says_that_it_does_not_know() {
    let (a, b) = pair().await;
    let made = a.world.login("ada").await;
    assert!(b.asked(&made).await.iter().all(passes));
    b.keep_up().await;
    for call in [Call::Load, Call::Commit, Call::Touch, Call::Search, Call::Say, Call::Probe] {
        b.world.store.plan(call, std::iter::repeat_n(Fault::Before, 10_000));
    }
    b.ear.cut();
    assert!(b.asked(&made).await.iter().all(passes), "it knows that for a second");
    b.world.advance(Span::secs(1));
    b.keep_up().await;
    for answer in b.asked(&made).await {
        assert_eq!(answer.status, 503, "{}: {}", answer.what, answer.text());
    }
    for path in ["/v1/keys", "/v1/policies", "/v1/sessions", "/.well-known/jwks.json", "/login", "/readyz"] {
        b.world.get(path).await.refused(503, "store_unavailable");
    }
    for path in ["/livez", "/metrics", "/docs", "/openapi.json", "/.well-known/handstamp-erasure-keys.json"] {
        assert_eq!(b.world.get(path).await.status, 200, "{path}");
    }
    a.world.delete(&format!("/v1/sessions/{}", made.id)).await.expect(200);
    b.world.store.forget_plans();
    b.ear.release();
    assert_eq!(b.world.verdict(&made.token).await, "session_revoked", "it asks its store again");
    b.keep_up().await;
    assert_eq!(b.world.get("/readyz").await.status, 200);
    assert!(!b.asked(&made).await.iter().any(passes));
}

/// A node reads a session, and is stopped before it answers; meanwhile the session ends elsewhere. When it goes on, licences
/// have come, but none for what it read before. Also where what memory knows was not enough, because activity was to be written.
#[tokio::test]
async fn what_was_true_before_is_not_told_after() {
    for (which, afresh) in (0..5).flat_map(|which| [(which, false), (which, true)]) {
        let (a, b) = pair().await;
        let made = a.world.login("ada").await;
        let b = Arc::new(b);
        if afresh {
            b.world.advance(Span::hours(13));
            b.keep_up().await;
            b.world.store.plan(Call::Load, [Fault::None]);
        }
        // Answered only when much has happened since it was read.
        b.world.store.plan(Call::Load, [Fault::DelayAnswer(30_000)]);
        let asking = tokio::spawn({
            let (b, made) = (b.clone(), made.clone());
            async move {
                let (world, cookie) = (&b.world, format!("__Host-handstamp={}", made.token));
                let validate = json!({ "token": made.token });
                let command = json!({ "command": "ValidateSession", "data": { "sessionToken": made.token } });
                match which {
                    0 => world.post("/v1/sessions/validate", validate).await,
                    1 => world.post("/v1/sessions/validate-batch", json!({ "requests": [validate] })).await,
                    2 => world.ask("/v1/forward-auth").header("cookie", &cookie).send().await,
                    3 => {
                        let call = world.call(Method::GET, "/v1/auth/session").no_key();
                        call.header("cookie", &cookie).send().await
                    }
                    _ => world.post("/run-command", command).await,
                }
            }
        });
        while b.world.store.left() > 0 {
            yield_now().await;
        }
        a.world.delete(&format!("/v1/sessions/{}", made.id)).await.expect(200);
        b.world.advance(Span(999));
        b.keep_up().await;
        b.world.advance(Span(1));
        b.keep_up().await;
        assert!(!asking.is_finished(), "it answered too soon to show anything");
        let answer = asking.await.unwrap();
        assert!(!passes(&answer) && answer.status != 503, "{afresh} {}: {}", answer.what, answer.text());
    }
}

/// A caller whose key is gone by then is not told the verdict that is judged again.
#[tokio::test]
async fn who_may_not_ask_any_more_is_not_told() {
    let (a, b) = pair().await;
    let made = a.world.login("ada").await;
    let key = a.world.make_key(json!({ "name": "k", "scopes": ["sessions:read"] })).await;
    b.keep_up().await;
    let b = Arc::new(b);
    b.world.store.plan(Call::Load, [Fault::DelayAnswer(30_000)]);
    let asking = tokio::spawn({
        let (b, made, key) = (b.clone(), made.clone(), key.clone());
        async move {
            let call = b.world.call(Method::POST, "/v1/sessions/validate").key(&key.token);
            call.json(&json!({ "token": made.token })).send().await
        }
    });
    while b.world.store.left() > 0 {
        yield_now().await;
    }
    let path = format!("/v1/keys/{}", key.id);
    a.world.call(Method::DELETE, &path).key(&a.world.operator).send().await;
    b.world.advance(Span::secs(1));
    assert!(!asking.is_finished());
    asking.await.unwrap().refused(401, "access_key_invalid");
}

/// What a key has signed that was thrown away in an emergency while the session was looked up is not let in.
#[tokio::test]
async fn a_signature_is_good_for_as_long_as_its_key() {
    let (a, b) = pair().await;
    let made = a.world.login("ada").await;
    let path = format!("/v1/sessions/{}/access-tokens", made.id);
    let token = a.world.post(&path, json!({})).await.expect(201)["token"].as_str().unwrap().to_owned();
    b.keep_up().await;
    let b = Arc::new(b);
    b.world.store.plan(Call::Load, [Fault::DelayAnswer(30_000)]);
    let asking = tokio::spawn({
        let (b, token) = (b.clone(), token.clone());
        async move { b.world.post("/v1/sessions/validate", json!({ "token": token })).await }
    });
    while b.world.store.left() > 0 {
        yield_now().await;
    }
    a.world.post("/v1/keys/signing/rotate", json!({ "emergency": true })).await.expect(201);
    b.keep_up().await;
    assert!(!asking.is_finished());
    assert_eq!(asking.await.unwrap().expect(200)["code"], "token_malformed");
}

/// Memory never says no: a key that is made, or resumed, on one node is good on another one right away.
#[tokio::test]
async fn a_new_key_is_known_everywhere() {
    let (a, b) = pair().await;
    let made = a.world.login("ada").await;
    b.keep_up().await;
    let key = a.world.make_key(json!({ "name": "k", "scopes": ["sessions:read"] })).await;
    let asks = async || {
        let call = b.world.call(Method::POST, "/v1/sessions/validate").key(&key.token);
        call.json(&json!({ "token": made.token })).send().await
    };
    assert_eq!(asks().await.status, 200);
    let page = b.world.call(Method::GET, "/v1/sessions").key(&key.token).send().await;
    assert_eq!(page.status, 200);
    let path = format!("/v1/keys/{}", key.id);
    for (state, status) in [("suspended", 401), ("active", 200)] {
        let change = a.world.call(Method::PATCH, &path).key(&a.world.operator);
        change.json(&json!({ "state": state })).send().await.expect(200);
        if status == 401 {
            b.keep_up().await;
        }
        assert_eq!(asks().await.status, status, "{state}");
    }
    // An environment that an operator names.
    let environment = json!({ "product": "shop", "environment": "dev" });
    let make = a.world.call(Method::POST, "/v1/environments").key(&a.world.operator);
    make.json(&environment).send().await.expect(201);
    let call = b.world.call(Method::GET, "/v1/sessions").key(&b.world.operator);
    assert_eq!(call.header("x-handstamp-env", "shop/dev").send().await.status, 200);
    // Strangers who come together are one question to the store, and none when the store does not answer.
    let stranger = format!("{}x", key.token);
    b.world.call(Method::GET, "/v1/sessions").key(&stranger).send().await.refused(401, "access_key_invalid");
}

/// A node hears nothing while a user is erased: what it had noted of their logins is not written when it writes again.
#[tokio::test]
async fn what_was_noted_before_an_erasing_is_not_written_after_it() {
    let blocked = Networks::new(vec![Network::parse("198.51.100.0/24").unwrap()]);
    let blocking = Rules { ip_block: Some(Arc::new(blocked)), ..Rules::default() };
    let (a, b) = pair_under(Some(Policy::from(blocking))).await;
    let refused = json!({ "user_id": "ada", "ip": "198.51.100.9", "user_agent": "Agent991/1" });
    let told = async || {
        assert!(b.world.app.tidy().await.is_ok() && a.world.app.tidy().await.is_ok());
        a.world.get("/v1/events").await.text().contains("ada")
    };
    for _ in 0..3 {
        b.world.post("/v1/sessions", refused.clone()).await.refused(403, "ip_blocked");
    }
    b.ear.cut();
    a.world.call(Method::POST, "/v1/users/ada/erase").send().await.expect(200);
    assert!(!told().await);
    b.world.advance(Span::hours(2));
    assert!(!told().await, "also not what was counted");
    b.world.post("/v1/sessions", refused).await.refused(403, "ip_blocked");
    assert!(told().await, "what is noted later is about somebody who came again");
}

/// A store that takes its time.
struct Slow {
    inner: Arc<Memory>,
    clock: Arc<ManualClock>,
    on: AtomicBool,
}

#[async_trait]
impl Front for Slow {
    fn inner(&self) -> &dyn Store {
        &*self.inner
    }
    async fn load(&self, keys: &[Key]) -> Result<Vec<Option<Versioned>>, StoreError> {
        if self.on.load(Ordering::SeqCst) {
            self.clock.advance(Span::millis(8));
            // Others have their turn meanwhile.
            for _ in 0..4 {
                yield_now().await;
            }
        }
        self.inner.load(keys).await
    }
}

/// The sessions of a large batch are not all known for long enough by the time when the last of them is: those that are not
/// are looked at once more, and need not all be loaded again.
#[tokio::test]
async fn a_large_batch_is_answered_by_a_slow_store() {
    let (store, clock) = (Memory::shared(), Arc::new(ManualClock::new(BEGINNING)));
    let slow = |on| {
        Arc::new(Fronted(Slow {
            inner: Arc::new(store.node()),
            clock: clock.clone(),
            on: AtomicBool::new(on),
        }))
    };
    let first = slow(false);
    let policy = Some(Policy::default().with(|rules| rules.max_sessions = Some(Policy::COUNT)));
    let options = |store: Arc<dyn Store>, seed| Options {
        store,
        clock: clock.clone(),
        policy: policy.clone(),
        seed,
        ..Options::default()
    };
    let a = Box::pin(World::with(options(first, 1))).await;
    let mut asked = Vec::new();
    for _ in 0..256 {
        asked.push(json!({ "token": a.login("ada").await.token }));
    }
    let second = slow(false);
    let b = Box::pin(World::with(options(second.clone(), 2))).await;
    second.0.on.store(true, Ordering::SeqCst);
    let probing = tokio::spawn({
        let app = b.app.clone();
        async move {
            loop {
                let _ = app.probe().await;
                app.hear_waiting().await;
                yield_now().await;
            }
        }
    });
    let answer = b.post("/v1/sessions/validate-batch", json!({ "requests": asked })).await.expect(200);
    probing.abort();
    let results = answer["results"].as_array().unwrap();
    assert!(results.len() == 256 && results.iter().all(|result| result["valid"] == true));
}

/// What another node has done to a session a moment ago is no reason to call a page a stranger's.
#[tokio::test]
async fn a_fresh_csrf_token_is_good_everywhere() {
    let (a, b) = pair().await;
    let made = a.world.login("ada").await;
    assert!(b.asked(&made).await.iter().all(passes));
    b.ear.hold();
    a.world.advance(Span::millis(10));
    let change = json!({ "auth": { "level": 2 } });
    let done = a.world.patch(&format!("/v1/sessions/{}", made.id), change).await.expect(200);
    let cookies = done["set_cookie"].as_array().unwrap().iter().map(|cookie| cookie.as_str().unwrap());
    let cookies: Vec<&str> = cookies.map(|cookie| cookie.split(';').next().unwrap()).collect();
    let csrf = cookies.iter().find_map(|cookie| cookie.strip_prefix("XSRF-TOKEN=")).unwrap();
    let asks = |path, csrf: Option<&str>| {
        let call = b.world.call(Method::POST, path).no_key();
        let call = call.header("cookie", &cookies.join("; ")).header("sec-fetch-site", "same-origin");
        match csrf {
            Some(csrf) => call.header("x-xsrf-token", csrf).send(),
            None => call.send(),
        }
    };
    // Who forgot it is given one that will do.
    let told = asks("/v1/auth/sessions/revoke-others", None).await;
    told.refused(403, "csrf_token_invalid");
    let given = told.header("set-cookie").split(['=', ';']).nth(1).unwrap().to_owned();
    asks("/v1/auth/session/refresh", Some(csrf)).await.expect(200);
    b.ear.release();
    b.keep_up().await;
    asks("/v1/auth/sessions/revoke-others", Some(&given)).await.expect(200);
}

/// A node that has not seen a session for long does not take it for one that is over, which nobody need protect.
#[tokio::test]
async fn a_session_that_is_used_elsewhere_is_protected() {
    let never = Policy::default().with(|rules| rules.rotate_every = Some(Every(None)));
    let (a, b) = pair_under(Some(never)).await;
    let made = a.world.login("ada").await;
    let cookie = format!("__Host-handstamp={}", made.token);
    assert!(b.asked(&made).await.iter().all(passes));
    for _ in 0..4 {
        a.world.advance(Span::hours(13));
        a.keep_up().await;
        assert!(a.asked(&made).await.iter().all(passes));
    }
    b.keep_up().await;
    let call = b.world.call(Method::POST, "/v1/auth/session/refresh").no_key();
    let call = call.header("cookie", &cookie).header("sec-fetch-site", "same-origin");
    call.header("x-xsrf-token", "wrong").send().await.refused(403, "csrf_token_invalid");
}
