//! Many tokens from many threads, while things end.

use crate::little::Little;
use crate::support::{builder, now, session, token, until};
use serde_json::json;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const TOKENS: u64 = 10_000;

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_tokens_from_many_threads() {
    let little = Little::start().await;
    let cache = 1 << 20;
    // Two cores that are busy with something else are no stale feed.
    let verifier = builder(&little).bound(Duration::from_secs(5)).cache(cache).build().await.unwrap();
    verifier.trusted(crate::support::SOON).await.unwrap();
    let tokens: Vec<String> = (0..TOKENS).map(|n| token(&little, n)).collect();
    // Every seventh ends before, every eleventh meanwhile.
    for n in (0..TOKENS).step_by(7) {
        little.tell(json!({ "session_id": session(n).to_string() }));
    }
    let before = usize::try_from(TOKENS.div_ceil(7)).unwrap();
    until("they are held", || verifier.status().revocations == before).await;
    let looked = AtomicUsize::new(0);
    let begun = Instant::now();
    std::thread::scope(|threads| {
        for thread in 0..8 {
            let (verifier, tokens, looked) = (&verifier, &tokens, &looked);
            threads.spawn(move || {
                for at in 0..3_000 {
                    // Each thread others, and some again and again.
                    let n = if at % 3 == 0 { at % 100 } else { (at * 7_919 + thread * 1_237) % tokens.len() };
                    let word = now(verifier, &tokens[n]);
                    let fits = match (n % 7 == 0, n % 11 == 0) {
                        (true, _) => word == "session_revoked",
                        (false, true) => word == "session_revoked" || word == "valid",
                        (false, false) => word == "valid",
                    };
                    assert!(fits, "{n}: {word}");
                    looked.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for n in (0..TOKENS).step_by(11) {
            little.tell(json!({ "session_id": session(n).to_string() }));
        }
    });
    println!("{} looks in {:?}", looked.load(Ordering::Relaxed), begun.elapsed());
    let (kept, bytes) = verifier.status().signatures;
    assert!(bytes <= cache && kept > 200, "{kept} take {bytes} bytes");
    let last = tokens.len() / 11 * 11;
    until("the last end is known", || now(&verifier, &tokens[last]) == "session_revoked").await;
    for (n, token) in tokens.iter().enumerate() {
        let word = if n % 7 == 0 || n % 11 == 0 { "session_revoked" } else { "valid" };
        assert_eq!(now(&verifier, token), word, "{n}");
    }
    assert_eq!(little.asked(), 0);
}
