//! Keys that are handed over with delays that count from now: what is told is what is stored, and what is stored holds at every
//! instant.

use super::house::{House, Plan, good};
use super::token_keys::{env, house};
use handstamp_core::jose::jws::{Unverified, sign};
use handstamp_core::jose::key::Algorithm;
use handstamp_core::policy::{Policy, Rules};
use handstamp_core::refusal::Code;
use handstamp_core::signing::handover::HandedOver;
use handstamp_core::signing::{Job, LONGEST_DELAY, TokenKey};
use handstamp_core::time::{Millis, Span};
use handstamp_server::app::Stop;
use handstamp_server::store::memory::Memory;
use std::sync::Arc;

const RS256: Algorithm = Algorithm::Rs256;
const TYP: &str = "at+jwt";

fn keys(house: &House) -> Vec<TokenKey> {
    env(house).tokens.stored().into_iter().filter(|key| key.job == Job::Rs256).collect()
}

async fn hand_over(house: &House, begin_in: i64, end_in: i64) -> (String, HandedOver) {
    let delays = (Span::secs(begin_in), Span::secs(end_in));
    let (kid, told) = good(house.app.hand_over_key(&house.caller(), RS256, delays).await);
    let key = keys(house).into_iter().find(|key| key.kid == kid).unwrap();
    assert_eq!(told.begins_at, key.life.activate_at);
    (kid.into(), told)
}

async fn refused(house: &House, begin_in: Span, end_in: Span) -> (Code, String) {
    match house.app.hand_over_key(&house.caller(), RS256, (begin_in, end_in)).await {
        Err(Stop::Refused(refused)) => (refused.refusal.code, refused.detail.unwrap_or_default()),
        Err(Stop::Fault(fault)) => panic!("{fault}"),
        Ok(_) => panic!("it went through"),
    }
}

/// A token of whoever signs now.
fn token(house: &House) -> (String, String) {
    let env = env(house);
    let key = env.tokens.signer(Some(RS256), house.now()).unwrap();
    (sign(key, TYP, b"{}").unwrap(), key.public().kid().to_string())
}

fn accepted(house: &House, token: &str) -> bool {
    let read = Unverified::read(token, TYP).ok().unwrap();
    let env = env(house);
    env.tokens.verifier(read.kid(), house.now()).is_some_and(|key| read.verify(key).is_ok())
}

fn go_to(house: &House, at: Millis) {
    house.pass(at.since(house.now()));
}

#[tokio::test]
async fn both_delays_count_from_now() {
    let house = house().await;
    let now = house.now();
    // Where there was no key there is one before, so that there is something to hand over.
    let (new, told) = hand_over(&house, 600, 1_200).await;
    assert_eq!(
        told,
        HandedOver { begins_at: now.plus(Span::secs(600)), others_end_at: now.plus(Span::secs(1_200)) }
    );
    assert_eq!(keys(&house).len(), 2);
    let (early, old) = token(&house);
    assert!(old != new && env(&house).tokens.jwks(now).contains(&new), "published before it is used");
    let (code, said) = refused(&house, Span(0), Span::secs(999)).await;
    assert!(code == Code::RotationUnderWay && said.contains(&new), "{said}");
    go_to(&house, told.begins_at.minus(Span(1)));
    assert_eq!(token(&house).1, old);
    go_to(&house, told.begins_at);
    assert_eq!(token(&house).1, new);
    go_to(&house, told.others_end_at.minus(Span(1)));
    assert!(accepted(&house, &early));
    go_to(&house, told.others_end_at);
    assert!(!accepted(&house, &early) && accepted(&house, &token(&house).0));
}

#[tokio::test]
async fn published_and_used_in_the_same_commit_and_urgently() {
    let house = house().await;
    good(house.app.have_signing_key(&house.caller(), RS256).await);
    let now = house.now();
    let early = token(&house).0;
    let (second, told) = hand_over(&house, 0, 3_600).await;
    assert_eq!(told, HandedOver { begins_at: now, others_end_at: now.plus(Span::hours(1)) });
    assert!(token(&house).1 == second && accepted(&house, &early));
    // A later one that asks for less leaves the first key the end that it was promised, and says so.
    house.pass(Span::secs(10));
    let (third, again) = hand_over(&house, 0, 360).await;
    assert_eq!(again, HandedOver { begins_at: house.now(), others_end_at: told.others_end_at });
    let later = token(&house).0;
    // Both 0: all of them are in wrong hands.
    let (fourth, told) = hand_over(&house, 0, 0).await;
    assert_eq!(told, HandedOver { begins_at: house.now(), others_end_at: house.now() });
    assert!(!accepted(&house, &early) && !accepted(&house, &later) && token(&house).1 == fourth);
    let public: Vec<String> =
        env(&house).tokens.rsa_keys(house.now()).iter().map(|key| key.kid.to_owned()).collect();
    assert_eq!(public, [fourth], "neither {second} nor {third}");
}

#[tokio::test]
async fn an_emergency_without_a_key_is_a_first_key() {
    let house = house().await;
    let (kid, told) = hand_over(&house, 0, 0).await;
    assert_eq!(told, HandedOver { begins_at: house.now(), others_end_at: house.now() });
    assert_eq!((keys(&house).len(), token(&house).1), (1, kid));
}

#[tokio::test]
async fn delays_that_do_not_fit_change_nothing() {
    let policy = Policy::from(Rules { access_token_ttl: Some(Span::hours(2)), ..Rules::default() });
    let house = House::new(Arc::new(Memory::new()), Plan { policy, ..Plan::default() }).await;
    let before = env(&house).tokens.stored();
    for (begin_in, end_in, says) in [
        (Span(0), Span::secs(7_259), "after 7260 seconds at the earliest"),
        (Span::secs(60), Span::secs(7_319), "after 7320 seconds at the earliest"),
        (Span::secs(60), Span::secs(59), "before the new one begins, after 60 seconds"),
        (Span::secs(1), Span(0), "before the new one begins"),
        (Span(0), Span(LONGEST_DELAY.0 + 1_000), "from 0 to 31622400"),
        (Span(-1_000), Span::days(2), "from 0 to 31622400"),
    ] {
        let (code, said) = refused(&house, begin_in, end_in).await;
        assert!(code == Code::InvalidRequest && said.contains(says), "{said}");
    }
    assert!(env(&house).tokens.stored() == before, "not even a first key");
    hand_over(&house, 60, 7_320).await;
}
