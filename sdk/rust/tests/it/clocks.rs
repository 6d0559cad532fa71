//! Clocks that are wrong: a minute, in either direction, on either side.

use crate::little::Little;
use crate::support::{SOON, claims, now, said, signed, token, until, verifier};
use handstamp::Claims;
use std::sync::atomic::Ordering;
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn a_minute_between_the_clocks_changes_nothing_and_is_told() {
    for offset in [60_000, -60_000, 3_600_000, -3_600_000] {
        let little = Little::start().await;
        little.turns.offset.store(offset, Ordering::SeqCst);
        let verifier = verifier(&little).await;
        assert_eq!(now(&verifier, &token(&little, 1)), "valid", "{offset}");
        let all = claims(&little, 2);
        let (seconds, life) = (all.issued_at, 2);
        let short =
            Claims { issued_at: seconds - 5, not_before: seconds - 5, expires_at: seconds + life, ..all };
        let short = signed(&short, 1);
        assert_eq!(now(&verifier, &short), "valid", "{offset}");
        let after = until("it is over", || now(&verifier, &short) == "token_expired").await;
        assert!(
            after <= Duration::from_secs(life),
            "at its end by the server's clock, not by ours: {after:?}"
        );
        let early = Claims { not_before: seconds + 60, ..claims(&little, 3) };
        assert_eq!(now(&verifier, &signed(&early, 1)), "token_not_yet_valid", "{offset}");
        let ahead = verifier.status().clock_ahead.unwrap();
        assert!((ahead + offset).abs() < 1_000, "{ahead} for {offset}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_clock_that_is_set_back_revives_nothing() {
    let little = Little::start().await;
    let verifier = verifier(&little).await;
    let all = claims(&little, 1);
    let seconds = all.issued_at;
    let over = signed(
        &Claims { issued_at: seconds - 60, not_before: seconds - 60, expires_at: seconds - 5, ..all },
        1,
    );
    let good = token(&little, 2);
    assert_eq!(
        (now(&verifier, &over), now(&verifier, &good)),
        ("token_expired".to_owned(), "valid".to_owned())
    );
    little.turns.offset.store(-60_000, Ordering::SeqCst);
    // While it finds out and afterwards, the dead one stays dead.
    until("the clock is found to be set back", || {
        assert_eq!(now(&verifier, &over), "token_expired");
        verifier.status().clock_held > Duration::from_secs(50) && verifier.status().doubt.is_none()
    })
    .await;
    assert_eq!(said(&verifier, &over).await, "token_expired");
    assert_eq!(now(&verifier, &good), "valid");
    assert_eq!(now(&verifier, &token(&little, 3)), "valid", "made by the clock that was set back");
    let ahead = verifier.status().clock_ahead.unwrap();
    assert!((ahead - 60_000).abs() < 1_000, "{ahead}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_clock_that_is_set_forward_is_followed() {
    let little = Little::start().await;
    let verifier = verifier(&little).await;
    let short = signed(&Claims { expires_at: claims(&little, 1).issued_at + 30, ..claims(&little, 1) }, 1);
    assert_eq!(now(&verifier, &short), "valid");
    little.turns.offset.store(60_000, Ordering::SeqCst);
    until("it is over", || now(&verifier, &short) == "token_expired").await;
    verifier.trusted(SOON).await.unwrap();
    assert_eq!(now(&verifier, &token(&little, 2)), "valid");
}
