//! Keys that come and go.

use crate::little::{Little, Verdict};
use crate::support::{SOON, builder, claims, now, said, signed, token, until, verifier};
use handstamp::Ask;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::task::JoinSet;

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_with_overlap_refuses_nobody() {
    let little = Little::start().await;
    let verifier = verifier(&little).await;
    let old = token(&little, 1);
    little.publish(&[1, 2]);
    until("the new key is known", || verifier.status().keys.len() == 2).await;
    let new = signed(&claims(&little, 2), 2);
    assert_eq!((now(&verifier, &old), now(&verifier, &new)), ("valid".to_owned(), "valid".to_owned()));
    little.publish(&[2]);
    until("the old key has gone", || verifier.status().keys.len() == 1).await;
    assert_eq!(now(&verifier, &new), "valid");
    assert_eq!(little.asked(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_has_gone_takes_its_signatures_along() {
    let little = Little::start().await;
    let verifier = verifier(&little).await;
    let old = token(&little, 1);
    assert_eq!(now(&verifier, &old), "valid");
    assert_eq!(verifier.status().signatures.0, 1, "its signature is kept");
    little.publish(&[2]);
    until("it is trusted no more", || now(&verifier, &old) == "ask").await;
    assert_eq!(said(&verifier, &old).await, "token_malformed", "and no question is needed to say so");
    assert_eq!(little.asked(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_not_known_is_fetched_once_for_everybody() {
    let little = Little::start().await;
    let slow = builder(&little).keys_every(Duration::from_secs(600)).build().await.unwrap();
    slow.trusted(SOON).await.unwrap();
    let fetched = little.turns.jwks.load(Ordering::SeqCst);
    // An emergency: another key signs at once.
    little.publish(&[2]);
    let mut all = JoinSet::new();
    for n in 0..50 {
        let (verifier, token) = (slow.clone(), signed(&claims(&little, n), 2));
        all.spawn(async move { said(&verifier, &token).await });
    }
    assert!(all.join_all().await.iter().all(|word| word == "valid"));
    assert_eq!(little.turns.jwks.load(Ordering::SeqCst), fetched + 1);
    assert_eq!(now(&slow, &token(&little, 1)), "ask", "the old key went with it");
    // Somebody makes keys up: they are not fetched for again within 30 seconds, but asked about.
    little.set_verdict(Verdict::Refused("token_malformed"));
    for n in 0..20 {
        assert_eq!(said(&slow, &signed(&claims(&little, n), 7)).await, "token_malformed");
    }
    assert_eq!(little.turns.jwks.load(Ordering::SeqCst), fetched + 1);
    assert_eq!(little.asked(), 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_made_up_key_is_refused_without_a_question_when_the_keys_are_new() {
    let little = Little::start().await;
    let verifier = builder(&little).keys_every(Duration::from_secs(600)).build().await.unwrap();
    assert_eq!(said(&verifier, &signed(&claims(&little, 1), 9)).await, "token_malformed");
    assert_eq!(little.asked(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_cannot_be_confirmed_are_good_for_a_while_and_no_longer() {
    let little = Little::start().await;
    let verifier = builder(&little).keys_bound(Duration::from_millis(1_500)).build().await.unwrap();
    verifier.trusted(SOON).await.unwrap();
    let token = token(&little, 1);
    until("an answer that nothing changed", || little.turns.not_modified.load(Ordering::SeqCst) > 1).await;
    assert_eq!(now(&verifier, &token), "valid", "which confirms them");
    little.turns.jwks_fails.store(true, Ordering::SeqCst);
    let after = until("they are too old", || now(&verifier, &token) == "ask").await;
    assert!(after > Duration::from_millis(900), "known keys stay for a while: {after:?}");
    assert!(matches!(verifier.status().doubt, Some(Ask::OldKeys { .. })));
    assert_eq!(said(&verifier, &token).await, "valid by server");
    little.turns.jwks_fails.store(false, Ordering::SeqCst);
    until("they are confirmed", || now(&verifier, &token) == "valid").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn made_up_keys_have_a_small_share_of_the_questions() {
    let little = Little::start().await;
    let verifier = builder(&little).patience(SOON).build().await.unwrap();
    verifier.trusted(SOON).await.unwrap();
    assert_eq!(said(&verifier, &signed(&claims(&little, 0), 9)).await, "token_malformed", "fetched for");
    little.turns.silent.store(true, Ordering::SeqCst);
    until("it doubts", || verifier.status().doubt.is_some()).await;
    little.set_verdict(Verdict::Hangs);
    let mut all = JoinSet::new();
    for n in 0..80 {
        let (verifier, token) = (verifier.clone(), signed(&claims(&little, n), 7));
        all.spawn(async move { said(&verifier, &token).await });
    }
    for _ in 0..72 {
        assert_eq!(all.join_next().await.unwrap().unwrap(), "cannot tell", "at once");
    }
    until("the others are asked about", || little.asked() == 8).await;
    little.set_verdict(Verdict::Valid);
    assert_eq!(said(&verifier, &token(&little, 1)).await, "valid by server", "there is room for ours");
    assert_eq!(all.len(), 8, "while they are still waiting");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_cache_says_of_the_keys_is_as_old_as_it_is() {
    let little = Little::start().await;
    let builder = || builder(&little).keys_bound(Duration::from_secs(60));
    let verifier = builder().build().await.unwrap();
    verifier.trusted(SOON).await.unwrap();
    let token = token(&little, 1);
    // An answer of half a minute ago, before the key was known, takes nothing away and confirms nothing.
    little.turns.cached.store(30, Ordering::SeqCst);
    little.publish(&[2]);
    let seen = little.turns.jwks.load(Ordering::SeqCst);
    until("it was told", || little.turns.jwks.load(Ordering::SeqCst) > seen + 2).await;
    assert_eq!(now(&verifier, &token), "valid");
    let status = verifier.status();
    assert!(status.keys_confirmed.unwrap() > Duration::from_millis(500), "{status:?}");
    // Who hears nothing else takes it, for what it is: a key that it does not have may be newer.
    let other = builder().build().await.unwrap();
    other.trusted(SOON).await.unwrap();
    assert!(other.status().keys_confirmed.unwrap() >= Duration::from_secs(30));
    assert_eq!(said(&other, &token).await, "valid by server");
    little.turns.cached.store(61, Ordering::SeqCst);
    let late = builder().build().await.unwrap();
    assert!(matches!(late.status().doubt, Some(Ask::OldKeys { .. })), "{:?}", late.status().doubt);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_says_how_long_keys_are_fresh() {
    let little = Little::start().await;
    little.turns.max_age.store(1, Ordering::SeqCst);
    let verifier = builder(&little).keys_every(Duration::from_secs(600)).build().await.unwrap();
    little.publish(&[1, 2]);
    let after = until("the new key is known", || verifier.status().keys.len() == 2).await;
    assert!(after < Duration::from_secs(3));
}
