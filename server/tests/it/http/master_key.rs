//! Another master key under a store that is in use: what was made before goes on; with a key that was in wrong hands, nothing
//! of it does.

use crate::http::access_tokens::claims;
use crate::world::{BEGINNING, Options, World};
use handstamp_core::jose::key::Algorithm;
use handstamp_core::time::{Millis, Span};
use handstamp_core::token::keyring::MasterKey;
use handstamp_server::app::Fault as AppFault;
use handstamp_server::app::access_tokens::Makers;
use handstamp_server::app::callers::root_key;
use handstamp_server::app::master_key::{Changed, change};
use handstamp_server::host::clock::ManualClock;
use handstamp_server::host::entropy::SeededEntropy;
use handstamp_server::store::faulty::{Call, Fault, Faulty};
use handstamp_server::store::memory::Memory;
use handstamp_server::store::{Store, StoreError};
use http::Method;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;

/// One store, opened with one master key after the other.
struct Place {
    store: Arc<dyn Store>,
    clock: Arc<ManualClock>,
}

impl Place {
    fn new() -> Place {
        Place { store: Arc::new(Memory::new()), clock: Arc::new(ManualClock::new(BEGINNING)) }
    }
    async fn open(&self, master: u8) -> World {
        let (store, clock) = (self.store.clone(), self.clock.clone());
        let options = Options { store, clock, seed: u64::from(master), ..Options::default() };
        World::with(Options { master: [master; 32], ..options }).await
    }
    async fn change(&self, from: u8, to: u8, end_sessions: bool) -> Result<Changed, AppFault> {
        change_in(self.store.as_ref(), from, to, end_sessions).await
    }
}

async fn change_in(store: &dyn Store, from: u8, to: u8, end: bool) -> Result<Changed, AppFault> {
    let keys = [from, to].map(|byte| MasterKey::new([byte; 32]));
    let entropy = SeededEntropy::new(u64::from(to) + 100);
    change(store, &entropy, (&keys[0], &keys[1]), Millis(0), end).await
}

/// Two sessions with one place in the status lists would end together for whoever looks there.
#[tokio::test]
async fn no_place_in_the_status_lists_is_given_twice() {
    let place = Place::new();
    let issuer = Some("https://auth.example.org".to_owned());
    let open = async |master: u8| {
        let (store, clock) = (place.store.clone(), place.clock.clone());
        let tokens = Makers { issuer: issuer.clone(), algorithm: Algorithm::EdDsa };
        let seed = u64::from(master);
        World::with(Options { store, clock, seed, tokens, master: [master; 32], ..Options::default() }).await
    };
    let lists = async |world: &World| {
        let mut lists = BTreeSet::new();
        for n in 0..3 {
            let body = json!({ "user_id": format!("u{n}"), "access_token": {} });
            let call = world.call(Method::POST, "/v1/sessions").key(&world.operator);
            let made = call.header("x-handstamp-env", "default/prd").json(&body).send().await.expect(201);
            let said = claims(made["access_token"]["token"].as_str().unwrap());
            lists.insert(said["status"]["status_list"]["uri"].as_str().unwrap().to_owned());
        }
        lists
    };
    let before = lists(&open(1).await).await;
    assert_eq!(lists(&open(1).await).await, before, "one list, as long as it is turned by one key");
    place.change(1, 2, false).await.ok().unwrap();
    let after = lists(&open(2).await).await;
    assert!(before.is_disjoint(&after), "{before:?} {after:?}");
    place.change(2, 3, true).await.ok().unwrap();
    let last = lists(&open(3).await).await;
    assert!(last.is_disjoint(&after) && last.is_disjoint(&before), "{last:?}");
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

/// Everything that was given out before a change.
struct Before {
    tokens: Vec<String>,
    key: String,
    app: String,
    erasure_keys: Value,
    pseudonym: String,
    jwks: Value,
    data_keys: Value,
}

async fn give_out(world: &World) -> Before {
    let mut tokens = Vec::new();
    for user in ["ada", "grace"] {
        let body = json!({ "user_id": user, "data": { "cart": [user] }, "tags": ["role:user"] });
        tokens.push(world.create(body).await.token);
    }
    // One that was rotated: its predecessor is late and brings the same successor again.
    let old = world.login("ada").await.token;
    world.advance(Span::minutes(16));
    let said =
        world.post("/v1/sessions/validate", json!({ "token": old, "rotate": "auto" })).await.expect(200);
    tokens.push(text(&said["rotated_token"]));
    tokens.push(old);
    world.login("erased").await;
    let erased = world.post("/v1/users/erased/erase", json!({})).await.expect(200);
    Before {
        tokens,
        key: world.make_key(json!({ "name": "k" })).await.token,
        app: world.make_key(json!({ "name": "app", "kind": "publishable" })).await.token,
        erasure_keys: world.get("/.well-known/handstamp-erasure-keys.json").await.expect(200),
        pseudonym: pseudonym(&erased),
        jwks: world.get("/.well-known/jwks.json").await.expect(200),
        data_keys: world.get("/v1/keys/data").await.expect(200),
    }
}

fn pseudonym(erased: &Value) -> String {
    let name = text(&erased["statement"]["pseudonym"]);
    assert!(name.starts_with("erased_") && name.len() == 29, "{name}");
    name
}

#[tokio::test]
async fn everything_goes_on_under_another_master_key() {
    let place = Place::new();
    let world = place.open(5).await;
    let before = give_out(&world).await;
    let csrf = {
        let call =
            world.call(Method::GET, "/v1/auth/session").no_key().header("x-publishable-key", &before.app);
        let answer = call.header("session", &before.tokens[0]).send().await.expect(200);
        text(&answer["csrf_token"])
    };
    let body = json!({ "user_id": "once" }).to_string();
    let once = async |world: &World| {
        let call = world.call(Method::POST, "/v1/sessions").header("idempotency-key", "one");
        call.header("content-type", "application/json").body(body.clone()).send().await.expect(201)
    };
    let made = once(&world).await;

    let mut last = 5;
    for next in [6, 7, 8] {
        let done = place.change(last, next, false).await.unwrap();
        assert_eq!((done.environments, done.access_keys), (1, 0));
        last = next;
        let world = place.open(next).await;
        for (n, token) in before.tokens.iter().enumerate() {
            assert_eq!(world.verdict(token).await, "valid", "{n} under {next}");
        }
        let said =
            world.post("/v1/sessions/validate", json!({ "token": before.tokens[0] })).await.expect(200);
        assert_eq!(said["session"]["data"], json!({ "cart": ["ada"] }), "what was sealed is opened");
        // The late one brings its successor again, the same.
        let late = json!({ "token": before.tokens[3], "rotate": "auto" });
        let said = world.post("/v1/sessions/validate", late).await.expect(200);
        assert_eq!(said["rotated_token"], before.tokens[2], "{said}");
        assert_eq!(once(&world).await["token"], made["token"], "an answer that was lost is repeated");
        world.call(Method::GET, "/v1/sessions").key(&before.key).send().await.expect(200);
        let call =
            world.call(Method::GET, "/v1/auth/session").no_key().header("x-publishable-key", &before.app);
        call.header("session", &before.tokens[0]).send().await.expect(200);
        assert_eq!(
            world.get("/.well-known/handstamp-erasure-keys.json").await.expect(200),
            before.erasure_keys
        );
        let again = world.post("/v1/users/erased/erase", json!({})).await.expect(200);
        assert_eq!(pseudonym(&again), before.pseudonym);
        assert_eq!(world.get("/.well-known/jwks.json").await.expect(200), before.jwks);
        assert_eq!(world.get("/v1/keys/data").await.expect(200), before.data_keys);
        // What is made now is made with the new set.
        let fresh = world.login("linus").await;
        assert_eq!(world.verdict(&fresh.token).await, "valid");
        world.make_environment("shop", &format!("e{next}")).await;
        world
            .call(Method::DELETE, &format!("/v1/environments/shop/e{next}"))
            .key(&world.operator)
            .send()
            .await
            .expect(200);
    }
    let world = place.open(last).await;
    let call = world.call(Method::POST, "/v1/auth/logout").no_key().header("x-publishable-key", &before.app);
    let call = call.header("session", &before.tokens[1]).header("x-xsrf-token", &csrf);
    assert_eq!(call.send().await.status.as_u16(), 204);
    // The next rotation is by the new set, and the one after it, too.
    let mut token = before.tokens[0].clone();
    for _ in 0..3 {
        world.advance(Span::minutes(16));
        let said = world
            .post("/v1/sessions/validate", json!({ "token": token, "rotate": "auto" }))
            .await
            .expect(200);
        token = text(&said["rotated_token"]);
    }
    assert_eq!(world.verdict(&token).await, "valid");
    assert_eq!(world.verdict(&before.tokens[0]).await, "token_reused", "a copy is still found out");
    // The operator's key is the new one's.
    let old = operator(5);
    world.call(Method::GET, "/v1/environments").key(&old).send().await.refused(401, "access_key_invalid");
}

fn operator(master: u8) -> String {
    root_key(&MasterKey::new([master; 32])).text().reveal().to_owned()
}

#[tokio::test]
async fn nothing_goes_on_under_a_master_key_that_replaces_a_leaked_one() {
    let place = Place::new();
    let world = place.open(5).await;
    world.post("/v1/keys/signing/rotate", json!({ "algorithm": "ES256" })).await.expect(201);
    world.post("/v1/keys/signing/rotate", json!({})).await.expect(201);
    let before = give_out(&world).await;
    let kids = |set: &Value| -> Vec<String> {
        set["keys"].as_array().unwrap().iter().map(|k| text(&k["kid"])).collect()
    };
    let done = place.change(5, 6, true).await.unwrap();
    assert_eq!((done.environments, done.access_keys), (1, 3));
    let world = place.open(6).await;
    let asked = |path: &str| world.call(Method::GET, path).key(&world.operator);
    for token in &before.tokens {
        let call = world.call(Method::POST, "/v1/sessions/validate").key(&world.operator);
        let said = call.json(&json!({ "token": token })).send().await.expect(200);
        assert_eq!((&said["valid"], &said["code"]), (&json!(false), &json!("token_malformed")), "{said}");
    }
    for key in [&before.key, &world.key] {
        world.call(Method::GET, "/v1/sessions").key(key).send().await.refused(401, "access_key_invalid");
    }
    let call = world.call(Method::GET, "/v1/auth/session").no_key().header("x-publishable-key", &before.app);
    call.header("session", &before.tokens[0]).send().await.refused(401, "access_key_invalid");
    let call = world.call(Method::GET, "/v1/environments").key(&operator(5));
    call.send().await.refused(401, "access_key_invalid");
    assert_eq!(
        asked("/v1/sessions/count").send().await.expect(200)["count"],
        0,
        "they have ended, everywhere"
    );
    let ended = asked("/v1/sessions?user_id=ada&state=ended").send().await.expect(200);
    assert_eq!(ended["items"].as_array().unwrap().len(), 2);
    assert!(ended.to_string().contains("the master key was replaced"), "{ended}");
    let jwks = asked("/.well-known/jwks.json").send().await.expect(200);
    assert_eq!(kids(&jwks).len(), 2, "one for each algorithm that was in use");
    assert!(kids(&jwks).iter().all(|kid| !kids(&before.jwks).contains(kid)));
    let data = asked("/v1/keys/data").send().await.expect(200);
    assert!(kids(&data).len() == 1 && kids(&data) != kids(&before.data_keys));
    let statements = asked("/.well-known/handstamp-erasure-keys.json").send().await.expect(200);
    assert_ne!(statements, before.erasure_keys);
    // What is made from now on goes on again, also under the next one.
    let call = world.call(Method::POST, "/v1/sessions").key(&world.operator);
    let made = call.json(&json!({ "user_id": "ada", "data": { "n": 1 } })).send().await.expect(201);
    place.change(6, 9, false).await.unwrap();
    let world = place.open(9).await;
    let call = world.call(Method::POST, "/v1/sessions/validate").key(&world.operator);
    let said = call.json(&json!({ "token": made["token"] })).send().await.expect(200);
    assert_eq!((&said["valid"], &said["session"]["data"]), (&json!(true), &json!({ "n": 1 })));
}

/// A store belongs to one of the two, whatever happens in between.
#[tokio::test]
async fn a_change_goes_through_as_a_whole_or_not_at_all() {
    for (fault, lost) in [(Fault::Before, false), (Fault::LoseAnswer, true), (Fault::Conflict, false)] {
        let place = Place::new();
        let world = place.open(5).await;
        let before = give_out(&world).await;
        let faulty = Faulty::new(place.store.clone());
        faulty.plan(Call::Commit, [fault.clone()]);
        let outcome = change_in(&faulty, 5, 6, false).await;
        assert!(outcome.is_err(), "{fault:?}");
        let world = place.open(if lost { 6 } else { 5 }).await;
        assert_eq!(world.verdict(&before.tokens[0]).await, "valid", "{fault:?}");
        assert_eq!(world.get("/v1/keys/data").await.expect(200), before.data_keys);
    }
}

#[tokio::test]
async fn another_key_than_the_stores_changes_nothing() {
    let place = Place::new();
    let world = place.open(5).await;
    let before = give_out(&world).await;
    let outcome = place.change(4, 6, false).await;
    assert!(matches!(outcome, Err(AppFault::Store(StoreError::Damaged(_)))));
    let world = place.open(5).await;
    assert_eq!(world.verdict(&before.tokens[0]).await, "valid");
}
