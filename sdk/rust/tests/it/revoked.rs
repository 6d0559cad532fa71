//! What is revoked is refused at once, by every word of the feed, and stays so.

use crate::little::Little;
use crate::support::{claims, now, session, signed, token, until, verifier};
use handstamp::{Claims, Local};
use serde_json::json;
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_ended_is_refused_within_a_second() {
    let little = Little::start().await;
    let verifier = verifier(&little).await;
    let mut times = Vec::new();
    for n in 0..200 {
        let token = token(&little, n);
        assert_eq!(now(&verifier, &token), "valid");
        little.tell(json!({ "session_id": session(n).to_string(), "ended_at": "2026-01-01T00:00:00.000Z" }));
        times.push(until("it is refused", || now(&verifier, &token) == "session_revoked").await);
    }
    times.sort_unstable();
    println!("told to refused: p50 {:?}, p99 {:?}, most {:?}", times[100], times[198], times[199]);
    assert!(times[199] < Duration::from_secs(1));
    assert_eq!(now(&verifier, &token(&little, 999)), "valid", "and nobody else is");
    assert_eq!(little.asked(), 0);
    assert_eq!(verifier.status().revocations, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_are_ended_by_tag_user_and_environment() {
    let little = Little::start().await;
    let verifier = verifier(&little).await;
    let made = |n: u64, epoch: u64| signed(&Claims { epoch, ..claims(&little, n) }, 1);
    let told = async |entry| {
        let before = verifier.status().revocations;
        little.tell(entry);
        until("it is held", || verifier.status().revocations > before).await;
    };
    told(json!({ "user_id": "user-1", "epoch": 5 })).await;
    assert_eq!(now(&verifier, &made(1, 4)), "session_revoked");
    assert_eq!(
        (now(&verifier, &made(1, 5)), now(&verifier, &made(2, 4))),
        ("valid".to_owned(), "valid".to_owned())
    );
    told(json!({ "tags": ["org:acme", "role:root"], "epoch": 6 })).await;
    assert_eq!(now(&verifier, &made(2, 5)), "valid", "it has one of both");
    told(json!({ "tags": ["org:acme", "role:admin"], "epoch": 7, "except": session(3).to_string() })).await;
    assert_eq!(now(&verifier, &made(2, 6)), "session_revoked");
    assert_eq!(now(&verifier, &made(3, 6)), "valid", "the one that is spared");
    told(json!({ "tag": "role:admin", "epoch": 8 })).await;
    assert_eq!(
        (now(&verifier, &made(3, 7)), now(&verifier, &made(3, 8))),
        ("session_revoked".to_owned(), "valid".to_owned())
    );
    told(json!({ "environment": "default/prd", "epoch": 9 })).await;
    assert_eq!(
        (now(&verifier, &made(9, 8)), now(&verifier, &made(9, 9))),
        ("session_revoked".to_owned(), "valid".to_owned())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cached_signature_is_no_verdict() {
    let little = Little::start().await;
    let verifier = verifier(&little).await;
    let token = token(&little, 1);
    for _ in 0..5 {
        assert_eq!(now(&verifier, &token), "valid");
    }
    little.tell(json!({ "session_id": session(1).to_string() }));
    until("it is refused", || now(&verifier, &token) == "session_revoked").await;
    let Local::Refused(refused) = verifier.verify_now(&token, &handstamp::Demand::default()) else {
        panic!()
    };
    assert!(refused.status() == 401 && !refused.why.is_empty());
}
