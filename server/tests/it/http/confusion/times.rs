//! Genuine tokens at the wrong time and for somebody else, and what the environment's own keys could be made to say.

use super::{all_malformed, minted, payload, signer, world};
use crate::world::World;
use handstamp_core::id::SessionId;
use handstamp_core::jose::claims::{Claims, TYPE};
use handstamp_core::jose::jws::{Unverified, sign};
use handstamp_core::jose::key::{Algorithm, SigningKey};
use handstamp_core::signing::{ACTIVATE_IN, RETIRE_IN};
use handstamp_core::time::{Millis, Span};
use serde_json::json;

#[tokio::test]
async fn the_right_token_at_the_wrong_time_and_for_another() {
    let world = world().await;
    for algorithm in Algorithm::ALL {
        let (id, token) = minted(&world, json!({ "algorithm": algorithm.text(), "lifetime": 60 })).await;
        world.advance(Span(59_999));
        assert_eq!(world.verdict(&token).await, "valid");
        world.advance(Span(1));
        assert_eq!(world.verdict(&token).await, "token_expired");
        let later = json!({ "algorithm": algorithm.text(), "audience": ["billing", "default/prd"] });
        let (_, token) = minted(&world, later).await;
        let told = async |audience: &str| {
            let ask = json!({ "token": token, "audience": audience });
            let answer = world.post("/v1/sessions/validate", ask).await.expect(200);
            answer["code"].as_str().unwrap_or("valid").to_owned()
        };
        for audience in ["billing", "default/prd"] {
            assert_eq!(told(audience).await, "valid");
        }
        for audience in [
            "bill",
            "billing2",
            "billing/",
            "BILLING",
            "billing,default/prd",
            "default",
            "handstamp:default/prd",
        ] {
            assert_eq!(told(audience).await, "token_audience_mismatch", "{audience}");
        }
        // By our own key: a session that there is not, another user's, one that authenticated at another time.
        let key = signer(&world, "default/prd", algorithm);
        let read = Claims::read(payload(&token).as_bytes()).unwrap();
        let as_said = |claims: &Claims| sign(&key, TYPE, claims.write().as_bytes()).unwrap();
        assert_eq!(world.verdict(&as_said(&read)).await, "valid");
        let eve = Claims { subject: "eve".to_owned(), ..read.clone() };
        assert_eq!(world.verdict(&as_said(&eve)).await, "session_not_found");
        let other = Claims { session: SessionId::parse(&id).unwrap(), ..read.clone() };
        assert_eq!(world.verdict(&as_said(&other)).await, "token_superseded");
        let stale = Claims { authenticated_at: Millis(read.authenticated_at.0 - 1), ..read.clone() };
        assert_eq!(world.verdict(&as_said(&stale)).await, "token_superseded");
        let soon = Claims { not_before: read.not_before + 1, ..read.clone() };
        assert_eq!(world.verdict(&as_said(&soon)).await, "token_not_yet_valid");
        let token = Unverified::read(&token, TYPE).unwrap();
        assert_eq!(token.kid(), key.public().kid());
    }
}

#[tokio::test]
async fn a_key_whose_time_is_over() {
    let world = World::new().await;
    let (_, token) = minted(&world, json!({})).await;
    let read = Claims::read(payload(&token).as_bytes()).unwrap();
    let fresh = |key: &SigningKey| {
        let now = u64::try_from(world.app.now().0 / 1_000).unwrap();
        let claims = Claims { issued_at: now, not_before: now, expires_at: now + 60, ..read.clone() };
        sign(key, TYPE, claims.write().as_bytes()).unwrap()
    };
    let old = signer(&world, "default/prd", Algorithm::EdDsa);
    world.post("/v1/keys/signing/rotate", json!({})).await.expect(201);
    world.advance(ACTIVATE_IN);
    world.advance(Span(RETIRE_IN.0 - 1));
    // The token is good, and only its session is over.
    assert_eq!(world.verdict(&fresh(&old)).await, "session_idle");
    world.advance(Span(1));
    all_malformed(&world, [fresh(&old)]).await;
    let new = signer(&world, "default/prd", Algorithm::EdDsa);
    assert_ne!(new.public().kid(), old.public().kid());
    assert_eq!(world.verdict(&fresh(&new)).await, "session_idle");
}
