//! `GET /v1/status-lists/{n}`: a bit for each session that has an access token, signed, for whoever asks.

use crate::world::{Answer, BEGINNING, Options, World};
use handstamp_core::jose::base64url;
use handstamp_core::jose::jws::Unverified;
use handstamp_core::jose::key::Algorithm;
use handstamp_core::status::TYPE;
use handstamp_core::time::Span;
use handstamp_server::app::access_tokens::Makers;
use handstamp_server::host::clock::ManualClock;
use handstamp_server::store::Store;
use handstamp_server::store::memory::Memory;
use http::Method;
use miniz_oxide::inflate::decompress_to_vec_zlib;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;

const ISSUER: &str = "https://sessions.example";

async fn world(store: &Arc<Memory>, clock: &Arc<ManualClock>, seed: u64) -> World {
    let tokens = Makers { issuer: Some(ISSUER.to_owned()), algorithm: Algorithm::EdDsa };
    let (store, clock): (Arc<dyn Store>, _) = (store.clone(), clock.clone());
    World::with(Options { store, clock, seed, tokens, ..Options::default() }).await
}

/// A session with an access token: its id, and the token's `status`.
async fn listed(world: &World) -> (String, Value) {
    let made = world.post("/v1/sessions", json!({ "user_id": "ada", "access_token": {} })).await.expect(201);
    let token = made["access_token"]["token"].as_str().unwrap();
    let payload = base64url::decode(token.split('.').nth(1).unwrap()).unwrap();
    let claims: Value = serde_json::from_slice(&payload).unwrap();
    (made["session"]["id"].as_str().unwrap().to_owned(), claims["status"]["status_list"].clone())
}

fn at(status: &Value) -> usize {
    usize::try_from(status["idx"].as_u64().unwrap()).unwrap()
}

async fn fetched(world: &World, status: &Value) -> Answer {
    let path = status["uri"].as_str().unwrap().strip_prefix(ISSUER).unwrap();
    let answer = world.call(Method::GET, path).no_key().send().await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer
}

/// What a verifier of that draft does; the claims, and the bytes of the list.
fn verified(world: &World, answer: &Answer, status: &Value) -> (Value, Vec<u8>) {
    let Ok(caller) = world.app.caller(Some(&world.key), None) else { panic!("the key is not known") };
    let token = Unverified::read(answer.text(), TYPE).unwrap();
    let key = caller.env.tokens.verifier(token.kid(), world.app.now()).unwrap();
    let claims: Value = serde_json::from_slice(&token.verify(key).unwrap()).unwrap();
    assert_eq!(claims["sub"], status["uri"]);
    let list = &claims["status_list"];
    assert_eq!(list["bits"], 1);
    let packed = base64url::decode(list["lst"].as_str().unwrap()).unwrap();
    (claims.clone(), decompress_to_vec_zlib(&packed).unwrap())
}

fn set(bytes: &[u8]) -> Vec<usize> {
    (0..bytes.len() * 8).filter(|n| bytes[n / 8] >> (n % 8) & 1 == 1).collect()
}

#[tokio::test]
async fn an_end_sets_its_bit_for_as_long_as_a_token_can_live() {
    let (store, clock) = (Arc::new(Memory::new()), Arc::new(ManualClock::new(BEGINNING)));
    let world = world(&store, &clock, 1).await;
    let ((first, status), (_, other)) = (listed(&world).await, listed(&world).await);
    assert_eq!(status["uri"], format!("{ISSUER}/v1/status-lists/0?environment=default/prd"));
    assert!(at(&status).abs_diff(at(&other)) > 1, "neighbours in time");
    let (claims, bytes) = verified(&world, &fetched(&world, &status).await, &status);
    assert_eq!((bytes.len(), set(&bytes)), (1 << 17, vec![]));
    let iat = BEGINNING.0 / 1_000;
    assert_eq!(json!([claims["iat"], claims["exp"], claims["ttl"]]), json!([iat, iat + 60, 15]));
    world.delete(&format!("/v1/sessions/{first}")).await.expect(200);
    let before = fetched(&world, &status).await;
    assert_eq!(set(&verified(&world, &before, &status).1), Vec::<usize>::new(), "signed once a second");
    world.advance(Span::secs(1));
    let after = fetched(&world, &status).await;
    assert_eq!(set(&verified(&world, &after, &status).1), [at(&status)]);
    let heads =
        ["content-type", "access-control-allow-origin", "cache-control", "access-control-allow-credentials"];
    let wanted = ["application/statuslist+jwt", "*", "public, max-age=15", ""];
    assert_eq!(heads.map(|name| after.header(name)), wanted);
    assert_ne!(before.header("etag"), after.header("etag"));
    let path = "/v1/status-lists/0";
    let asked = world.call(Method::GET, path).no_key().header("if-none-match", after.header("etag"));
    assert_eq!(asked.send().await.status, 304, "without an environment: the one of requests without a key");
    // After a restart the list says the same, and no place is given again.
    let again = self::world(&store, &clock, 2).await;
    assert_eq!(set(&verified(&again, &fetched(&again, &status).await, &status).1), [at(&status)]);
    let mut places = BTreeSet::from([at(&status), at(&other)]);
    for n in 3..40 {
        let world = if n % 2 == 0 { &world } else { &again };
        places.insert(at(&listed(world).await.1));
        assert_eq!(places.len(), n);
    }
    world.advance(Span::hours(3));
    assert_eq!(set(&verified(&world, &fetched(&world, &status).await, &status).1), Vec::<usize>::new());
}

#[tokio::test]
async fn what_is_no_list() {
    let (store, clock) = (Arc::new(Memory::new()), Arc::new(ManualClock::new(BEGINNING)));
    let world = world(&store, &clock, 1).await;
    let ask = async |path: &str| world.call(Method::GET, path).no_key().send().await;
    ask("/v1/status-lists/0").await.refused(404, "not_found");
    listed(&world).await;
    assert_eq!(ask("/v1/status-lists/0").await.status, 200);
    for none in ["1", "-1", "+0", "x", "99999999999999999999"] {
        ask(&format!("/v1/status-lists/{none}")).await.refused(404, "not_found");
    }
    ask("/v1/status-lists/0?environment=no/where").await.refused(404, "not_found");
    ask("/v1/status-lists/0?environment=x").await.invalid("environment");
    // A server that does not know its address has none, and its tokens say nothing of any.
    let silent = World::with(Options { store: store.clone(), seed: 3, ..Options::default() }).await;
    silent.get("/v1/status-lists/0").await.refused(404, "not_found");
    assert_eq!(listed(&silent).await.1, Value::Null);
}

/// The examples of the draft, by what they hold.
#[test]
fn the_vectors_of_the_draft() {
    for (packed, bytes) in [
        (&[0x78, 0xda, 0xdb, 0xb9, 0x18, 0x00, 0x02, 0x17, 0x01, 0x5d][..], &[0xb9, 0xa3][..]),
        (&[0x78, 0xda, 0x3b, 0xe9, 0xf2, 0x13, 0x00, 0x03, 0xdf, 0x02, 0x07], &[0xc9, 0x44, 0xf9]),
    ] {
        assert_eq!(decompress_to_vec_zlib(packed).unwrap(), bytes);
        let again = miniz_oxide::deflate::compress_to_vec_zlib(bytes, 6);
        assert_eq!(decompress_to_vec_zlib(&again).unwrap(), bytes);
    }
}
