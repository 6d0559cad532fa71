//! Tokens, verifiers, and waiting for what has to come.

use crate::little::{KEY, Little, signing_key};
use handstamp::{Builder, By, Claims, Demand, Local, Members, Stop, Verified, Verifier};
use handstamp_core::id::{Bucket, SessionId};
use handstamp_core::jose::claims::TYPE;
use handstamp_core::jose::jws;
use handstamp_core::time::Millis;
use std::time::{Duration, Instant};

/// What an honest test waits for at most.
pub(crate) const SOON: Duration = Duration::from_secs(10);

pub(crate) fn session(n: u64) -> SessionId {
    let [a, b, c, d, e, f, g, h] = n.to_be_bytes();
    SessionId::new(Millis(1_700_000_000_000), Bucket::new(1), [a, b, c, d, e, f, g, h, 0])
}

/// What a token says that is made now, by the server's clock, and lives for five minutes.
pub(crate) fn claims(little: &Little, n: u64) -> Claims {
    let now = u64::try_from(little.turns.now().0 / 1_000).unwrap();
    Claims {
        issuer: "handstamp:default/prd".to_owned(),
        audience: vec!["default/prd".to_owned()],
        subject: format!("user-{n}"),
        session: session(n),
        issued_at: now,
        not_before: now,
        expires_at: now + 300,
        id: format!("j{n}"),
        tags: vec!["org:acme".to_owned(), "role:admin".to_owned()],
        groups: vec!["staff".to_owned()],
        methods: vec!["pwd".to_owned()],
        level: Some(1),
        authenticated_at: Millis(i64::try_from(now).unwrap() * 1_000),
        actor: None,
        epoch: 4,
        data: None,
        status: None,
        custom: Members::default(),
    }
}

pub(crate) fn signed(claims: &Claims, key: u8) -> String {
    jws::sign(&signing_key(key), TYPE, claims.write().as_bytes()).unwrap()
}

pub(crate) fn token(little: &Little, n: u64) -> String {
    signed(&claims(little, n), 1)
}

/// Strict, so that tests are quick.
pub(crate) fn builder(little: &Little) -> Builder {
    Verifier::builder(&little.url(), KEY)
        .bound(Duration::from_millis(500))
        .patience(Duration::from_millis(700))
        .keys_every(Duration::from_millis(300))
}

pub(crate) async fn verifier(little: &Little) -> Verifier {
    let verifier = builder(little).build().await.unwrap();
    verifier.trusted(SOON).await.unwrap();
    verifier
}

/// The answer in a word: `valid`, `valid by server`, a code, `ask`.
pub(crate) fn now(verifier: &Verifier, token: &str) -> String {
    match verifier.verify_now(token, &Demand::default()) {
        Local::Verified(_) => "valid".to_owned(),
        Local::Refused(refused) => refused.code.text().to_owned(),
        Local::AskServer(_) => "ask".to_owned(),
    }
}

/// The same when the server may be asked: also `cannot tell`.
pub(crate) async fn said(verifier: &Verifier, token: &str) -> String {
    word(verifier.verify(token, &Demand::default()).await)
}

pub(crate) fn word(answer: Result<Verified, Stop>) -> String {
    match answer {
        Ok(verified) if verified.by() == By::Server => "valid by server".to_owned(),
        Ok(_) => "valid".to_owned(),
        Err(Stop::Refused(refused)) => refused.code.text().to_owned(),
        Err(Stop::CannotTell(_)) => "cannot tell".to_owned(),
    }
}

/// Waits until it is so.
#[track_caller]
pub(crate) fn until(what: &str, mut is: impl FnMut() -> bool) -> impl Future<Output = Duration> {
    let begun = Instant::now();
    let what = what.to_owned();
    async move {
        while !is() {
            assert!(begun.elapsed() < SOON, "waited in vain: {what}");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        begun.elapsed()
    }
}
