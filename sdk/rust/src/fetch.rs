//! Fetches the keys: again and again, and at once when a token names one that is not known; one fetch at a time.

use crate::feed::duration;
use crate::host::{pause, random};
use crate::server::Answer;
use crate::verdict::Trouble;
use crate::verifier::Inner;
use handstamp_core::jose::json::{Json, read_object};
use handstamp_core::jose::jwe::SealingKey;
use handstamp_core::jose::key::Kid;
use handstamp_core::offline;
use handstamp_core::offline::clock::{Tick, backoff};
use handstamp_core::time::Span;
use hyper::Method;
use hyper::body::Bytes;
use hyper::header::{AGE, CACHE_CONTROL, ETAG, HeaderValue, IF_NONE_MATCH};
use std::collections::HashMap;
use std::sync::Arc;

/// For a key that is not known, the keys are fetched at most once in this time.
const UNKNOWN: Span = Span::secs(30);

/// What the next fetch has to know of the last ones.
#[derive(Default)]
pub(crate) struct Fetches {
    etag: Option<HeaderValue>,
    /// When a fetch began for a key that was not known.
    for_unknown: Option<Tick>,
    for_data: Option<Tick>,
}

/// Never ends; it is stopped from outside.
pub(crate) async fn keep_keys(inner: Arc<Inner>) {
    let mut failed = 0_u32;
    loop {
        let outcome = {
            let mut fetches = inner.fetches.lock().await;
            fetch(&inner, &mut fetches).await
        };
        let wait = match outcome {
            Ok(fresh) => {
                failed = 0;
                fresh.min(inner.keys_every)
            }
            Err(trouble) => {
                failed = failed.saturating_add(1);
                inner.note(trouble);
                // Nothing hangs on it yet: the keys that are known stay good for a while.
                Span(backoff(failed, random()).0.saturating_mul(2))
            }
        };
        inner.first_keys.send_replace(true);
        tokio::select! {
            () = pause(duration(wait)) => {}
            () = inner.fetch_keys.notified() => {}
        }
    }
}

/// Tries to have keys that are newer than `asked`: unless they were asked for too lately.
pub(crate) async fn newer_than(inner: &Inner, asked: Tick) {
    let mut fetches = inner.fetches.lock().await;
    let now = inner.clock.tick();
    if inner.keys.is_since(asked) || fetches.for_unknown.is_some_and(|last| now.since(last) < UNKNOWN) {
        return;
    }
    fetches.for_unknown = Some(now);
    if let Err(trouble) = fetch(inner, &mut fetches).await {
        inner.note(trouble);
    }
}

/// One fetch; how long the answer is fresh.
async fn fetch(inner: &Inner, fetches: &mut Fetches) -> Result<Span, Trouble> {
    let asked = inner.clock.tick();
    // A cache on the way would answer with the keys of before; one that does all the same says since when it has them.
    let mut headers = vec![(CACHE_CONTROL, HeaderValue::from_static("no-cache"))];
    headers.extend(fetches.etag.iter().map(|tag| (IF_NONE_MATCH, tag.clone())));
    let answer = inner.server.ask(Method::GET, &inner.jwks, &headers, Bytes::new()).await?;
    let ago = offline::said_ago(answer.headers.get_all(AGE).iter().filter_map(|age| age.to_str().ok()));
    let asked = Tick(asked.0.saturating_sub(ago.0.saturating_mul(1_000)));
    match answer.status {
        // Something newer is known: a key that was taken away since does not come back.
        200 | 304 if inner.keys.is_since(asked) => {}
        200 => {
            let unreadable = |_| Trouble::Unreadable("the keys are no set of keys");
            inner.keys.replace(&answer.body, asked).map_err(unreadable)?;
            fetches.etag = answer.headers.get(ETAG).cloned();
        }
        304 if fetches.etag.is_some() => inner.keys.confirm(asked),
        _ => return Err(answer.trouble()),
    }
    Ok(fresh(&answer, ago))
}

/// `max-age` less what is over of it, between a second and an hour; five minutes when it is not said.
fn fresh(answer: &Answer, ago: Span) -> Span {
    let said = answer.headers.get(CACHE_CONTROL).and_then(|value| value.to_str().ok());
    let age = said.and_then(|said| said.split(',').find_map(|one| one.trim().strip_prefix("max-age=")));
    let age = age.and_then(|age| age.parse().ok()).unwrap_or(300_i64);
    Span::secs(age.saturating_sub(ago.as_secs()).clamp(1, 3_600))
}

/// Fetches the keys that open sealed data, unless that was done lately.
pub(crate) async fn data_keys(inner: &Inner, wanted: &Kid) -> Result<(), Trouble> {
    let mut fetches = inner.fetches.lock().await;
    let now = inner.clock.tick();
    let lately = fetches.for_data.is_some_and(|last| now.since(last) < UNKNOWN);
    if lately || inner.data_keys.load().contains_key(wanted) {
        return Ok(());
    }
    let answer = inner
        .server
        .ask(Method::GET, "/v1/keys/data", std::slice::from_ref(&inner.named), Bytes::new())
        .await?;
    if answer.status != 200 {
        return Err(answer.trouble());
    }
    let Some(Json::List(keys)) = read_object(&answer.body).and_then(|mut set| set.take("keys")) else {
        return Err(Trouble::Unreadable("the data keys are no set of keys"));
    };
    let keys = keys.into_iter().filter_map(|jwk| SealingKey::from_jwk(jwk.into_object()?).ok());
    let keys: HashMap<Kid, SealingKey> = keys.map(|key| (key.kid().clone(), key)).collect();
    inner.data_keys.store(Arc::new(keys));
    // Only what was answered counts: trouble is no reason to wait.
    fetches.for_data = Some(now);
    Ok(())
}
