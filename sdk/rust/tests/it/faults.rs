//! Everything that can go wrong with the feed: the verifier asks, says why, never says yes for want of knowing, and recovers alone.

use crate::little::{Little, Verdict};
use crate::support::{SOON, builder, now, said, session, token, until, verifier};
use handstamp::{Ask, Code, Demand, Stop, Trouble, Verifier};
use handstamp_core::time::Millis;
use serde_json::json;
use std::sync::atomic::Ordering;
use std::time::Duration;

async fn doubts(verifier: &Verifier) {
    until("it doubts itself", || verifier.status().doubt.is_some()).await;
}

async fn trusts(verifier: &Verifier) {
    verifier.trusted(SOON).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_stalls_is_stale_and_the_server_is_asked() {
    let little = Little::start().await;
    let verifier = verifier(&little).await;
    let token = token(&little, 1);
    little.turns.silent.store(true, Ordering::SeqCst);
    let after = until("it doubts", || now(&verifier, &token) == "ask").await;
    assert!((200..1_000).contains(&after.as_millis()), "the bound is 500 ms, it took {after:?}");
    assert!(matches!(verifier.status().doubt, Some(Ask::Stale { .. })));
    assert_eq!(said(&verifier, &token).await, "valid by server");
    for code in ["session_revoked", "session_idle", "token_superseded"] {
        little.set_verdict(Verdict::Refused(code));
        assert_eq!(said(&verifier, &token).await, code);
    }
    assert_eq!(verifier.status().asked, (4, 0));
    little.turns.silent.store(false, Ordering::SeqCst);
    trusts(&verifier).await;
    assert_eq!(said(&verifier, &token).await, "valid");
}

#[tokio::test(flavor = "multi_thread")]
async fn when_nobody_can_tell_it_is_a_fault_and_never_a_verdict() {
    let little = Little::start().await;
    let verifier = verifier(&little).await;
    let (good, gone) = (token(&little, 1), token(&little, 2));
    little.tell(json!({ "session_id": session(2).to_string() }));
    until("it is refused", || now(&verifier, &gone) == "session_revoked").await;
    little.turns.silent.store(true, Ordering::SeqCst);
    doubts(&verifier).await;
    for verdict in [
        Verdict::Status(503),
        Verdict::Status(500),
        Verdict::Status(404),
        Verdict::Status(429),
        Verdict::Hangs,
        Verdict::Nonsense,
        Verdict::Refused("a_code_of_tomorrow"),
    ] {
        little.set_verdict(verdict);
        let stop = verifier.verify(&good, &Demand::default()).await.unwrap_err();
        assert!(matches!(stop, Stop::CannotTell(_)), "{verdict:?}");
        assert_eq!(stop.status(), 503);
        assert_eq!(said(&verifier, &gone).await, "session_revoked", "what is known is still said");
    }
    assert_eq!(verifier.status().asked, (7, 7));
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_about_what_a_question_does_not_carry_turn_nobody_away() {
    let little = Little::start().await;
    let verifier = verifier(&little).await;
    let token = token(&little, 1);
    little.turns.silent.store(true, Ordering::SeqCst);
    doubts(&verifier).await;
    for code in ["ip_missing", "device_proof_missing", "device_proof_stale", "device_proof_invalid"] {
        little.set_verdict(Verdict::Refused(code));
        let Err(Stop::CannotTell(why)) = verifier.verify(&token, &Demand::default()).await else {
            panic!("{code}")
        };
        assert_eq!(why.trouble, Trouble::Untold(Code::parse(code).unwrap()));
        assert!(why.to_string().contains(code), "{why}");
    }
    for code in ["ip_not_allowed", "ip_changed", "user_agent_changed", "session_revoked"] {
        little.set_verdict(Verdict::Refused(code));
        assert_eq!(said(&verifier, &token).await, code);
    }
    assert_eq!(verifier.status().asked, (8, 4));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_gone_comes_back() {
    let mut little = Little::start().await;
    let verifier = verifier(&little).await;
    let (one, two) = (token(&little, 1), token(&little, 2));
    assert_eq!(now(&verifier, &one), "valid");
    little.down();
    doubts(&verifier).await;
    let Err(Stop::CannotTell(why)) = verifier.verify(&one, &Demand::default()).await else { panic!() };
    assert!(
        matches!(why.doubt, Ask::Stale { .. }) && matches!(why.trouble, Trouble::Unreachable(_)),
        "{why}"
    );
    let status = verifier.status();
    assert!(!status.connected && status.last_trouble.is_some());
    // What happens meanwhile is not missed: it goes on where it was.
    little.tell(json!({ "session_id": session(2).to_string() }));
    little.up().await;
    trusts(&verifier).await;
    assert_eq!(
        (now(&verifier, &one), now(&verifier, &two)),
        ("valid".to_owned(), "session_revoked".to_owned())
    );
    let last = little.turns.last_ids.lock().unwrap().last().cloned().unwrap();
    assert!(last.is_some_and(|id| id.starts_with("0-")), "resumed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_is_mended_before_anybody_notices() {
    let little = Little::start().await;
    let verifier = verifier(&little).await;
    let token = token(&little, 1);
    for n in 0..20 {
        let opened = little.turns.opened.load(Ordering::SeqCst);
        little.cut();
        until("it is back", || {
            assert_eq!(now(&verifier, &token), "valid", "cut {n}");
            let fresh = verifier.status().staleness.is_some_and(|age| age < Duration::from_millis(150));
            little.turns.opened.load(Ordering::SeqCst) > opened && fresh
        })
        .await;
    }
    assert_eq!(little.asked(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_does_not_know_the_place_tells_everything_again() {
    let little = Little::start().await;
    let verifier = verifier(&little).await;
    little.tell(json!({ "session_id": session(1).to_string() }));
    until("it is held", || verifier.status().revocations == 1).await;
    let one = token(&little, 1);
    assert_eq!(now(&verifier, &one), "session_revoked");
    // Another store: what was revoked there is another thing.
    little.forget_entries();
    little.tell(json!({ "session_id": session(2).to_string() }));
    little.tell(json!({ "session_id": session(3).to_string() }));
    little.restart();
    until("what was told replaces what was held", || now(&verifier, &one) == "valid").await;
    assert_eq!(verifier.status().revocations, 2);
    assert_eq!(now(&verifier, &token(&little, 3)), "session_revoked");
    let last = little.turns.last_ids.lock().unwrap().last().cloned().unwrap();
    assert!(last.is_some(), "it asked to go on");
}

#[tokio::test(flavor = "multi_thread")]
async fn half_of_everything_is_not_trusted() {
    let little = Little::start().await;
    for n in 0..5 {
        little.tell(json!({ "session_id": session(n).to_string() }));
    }
    little.turns.half.store(3, Ordering::SeqCst);
    let verifier = builder(&little).build().await.unwrap();
    until("it tried thrice", || little.turns.opened.load(Ordering::SeqCst) >= 3).await;
    assert_eq!(verifier.status().doubt, Some(Ask::NotHeard));
    assert_eq!(said(&verifier, &token(&little, 9)).await, "valid by server");
    assert!(little.turns.last_ids.lock().unwrap().iter().all(Option::is_none), "it begins again each time");
    little.turns.half.store(u64::MAX, Ordering::SeqCst);
    trusts(&verifier).await;
    assert_eq!(verifier.status().revocations, 5);
    assert_eq!(now(&verifier, &token(&little, 4)), "session_revoked");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_word_that_lies_in_a_buffer_is_old_when_it_comes() {
    let little = Little::start().await;
    let verifier = verifier(&little).await;
    // Everything still arrives four times a second and more, but 1.5 seconds late.
    little.turns.late.store(1_500, Ordering::SeqCst);
    doubts(&verifier).await;
    until("words arrive again, and are old", || {
        verifier.status().staleness.is_some_and(|age| age > Duration::from_millis(900))
    })
    .await;
    assert_eq!(said(&verifier, &token(&little, 1)).await, "valid by server");
    little.turns.late.store(0, Ordering::SeqCst);
    trusts(&verifier).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_word_that_does_not_move_is_not_believed() {
    let little = Little::start().await;
    let verifier = verifier(&little).await;
    little.turns.frozen.store(little.turns.now().0, Ordering::SeqCst);
    doubts(&verifier).await;
    // Not on another connection either, however often it is told there.
    let opened = little.turns.opened.load(Ordering::SeqCst);
    until("it tried others", || {
        assert!(verifier.status().doubt.is_some());
        little.turns.opened.load(Ordering::SeqCst) > opened + 2
    })
    .await;
    little.turns.frozen.store(0, Ordering::SeqCst);
    trusts(&verifier).await;
    // From the beginning on: an old word that is told again and again is no word.
    little.turns.frozen.store(Millis(little.turns.now().0 - 60_000).0, Ordering::SeqCst);
    let late = builder(&little).build().await.unwrap();
    assert_eq!((late.status().connected, late.status().doubt), (true, Some(Ask::NotHeard)));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_understood_is_not_passed_over() {
    let little = Little::start().await;
    let verifier = verifier(&little).await;
    little.tell_raw(r#"{"fingerprint":"x","until":"2036-01-01T00:00:00Z"}"#);
    doubts(&verifier).await;
    assert_eq!(said(&verifier, &token(&little, 1)).await, "valid by server");
    assert!(verifier.status().last_trouble.is_some());
    little.forget_entries();
    trusts(&verifier).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_than_is_held_is_asked_about() {
    let little = Little::start().await;
    let verifier = builder(&little).revocations(10).build().await.unwrap();
    trusts(&verifier).await;
    for n in 0..10 {
        little.tell(json!({ "session_id": session(n).to_string() }));
    }
    until("ten are held", || verifier.status().revocations == 10).await;
    assert_eq!(now(&verifier, &token(&little, 99)), "valid");
    little.tell(json!({ "session_id": session(10).to_string() }));
    until("it is not whole", || verifier.status().doubt == Some(Ask::Incomplete)).await;
    assert_eq!(now(&verifier, &token(&little, 3)), "session_revoked", "what is known is still said");
    assert_eq!(said(&verifier, &token(&little, 99)).await, "valid by server");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_access_key_that_was_revoked_hears_nothing() {
    let little = Little::start().await;
    let verifier = verifier(&little).await;
    let token = token(&little, 1);
    little.turns.key_is_good.store(false, Ordering::SeqCst);
    doubts(&verifier).await;
    let Err(Stop::CannotTell(why)) = verifier.verify(&token, &Demand::default()).await else { panic!() };
    let unauthorised = Trouble::Status { status: 401, code: "access_key_invalid".to_owned() };
    assert_eq!(why.trouble, unauthorised);
    let (trouble, _) = verifier.status().last_trouble.unwrap();
    assert!(trouble.contains("access_key_invalid") && !trouble.contains("hsk_"), "{trouble}");
    little.turns.key_is_good.store(true, Ordering::SeqCst);
    trusts(&verifier).await;
    assert_eq!(said(&verifier, &token).await, "valid");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_starts_later_is_found() {
    let mut little = Little::start().await;
    little.down();
    let verifier = builder(&little).build().await.unwrap();
    assert_eq!(verifier.status().doubt, Some(Ask::NotHeard));
    assert_eq!(said(&verifier, &token(&little, 1)).await, "cannot tell");
    little.up().await;
    trusts(&verifier).await;
    assert_eq!(said(&verifier, &token(&little, 1)).await, "valid");
}

#[tokio::test(flavor = "multi_thread")]
async fn questions_are_bounded() {
    let little = Little::start().await;
    let verifier = verifier(&little).await;
    little.turns.silent.store(true, Ordering::SeqCst);
    doubts(&verifier).await;
    little.set_verdict(Verdict::Hangs);
    let mut all = tokio::task::JoinSet::new();
    for n in 0..200 {
        let (verifier, token) = (verifier.clone(), token(&little, n));
        all.spawn(async move { verifier.verify(&token, &Demand::default()).await });
    }
    let troubles: Vec<Trouble> = all
        .join_all()
        .await
        .into_iter()
        .map(|answer| match answer {
            Err(Stop::CannotTell(why)) => why.trouble,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(troubles.iter().filter(|trouble| **trouble == Trouble::Busy).count(), 200 - 64);
}
