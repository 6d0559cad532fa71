//! What a verifier is told at its beginning.

use crate::feed;
use crate::fetch;
use crate::held::Held;
use crate::host::Clock;
use crate::keys::Keys;
use crate::server::{Address, Server};
use crate::signatures::Signatures;
use crate::trust;
use crate::verifier::{Inner, Tasks, Verifier};
use arc_swap::ArcSwap;
use handstamp_core::environment::EnvironmentName;
use handstamp_core::time::Span;
use hyper::header::{HeaderName, HeaderValue};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::timeout;

/// How many questions to the server may be under way.
const QUESTIONS: usize = 64;
/// How many beside them about tokens whose key is not known, and which anybody can make up.
const STRANGERS: usize = 8;

/// Describes a verifier.
#[must_use = "nothing runs before `build`"]
pub struct Builder {
    url: String,
    access_key: String,
    environment: String,
    issuer: Option<String>,
    audience: Option<String>,
    bound: Duration,
    leeway: Duration,
    keys_bound: Duration,
    keys_every: Duration,
    patience: Duration,
    cache: usize,
    revocations: usize,
    ca: Option<Vec<u8>>,
    plain: bool,
}

/// What cannot be built. A server that does not answer is no such thing: it is asked again.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BuildError {
    /// The address of the server.
    #[error("the address of the server is written such as https://auth.example.com")]
    Address,
    /// Plain http to another machine.
    #[error(
        "plain http would show tokens and the access key to the network: use https, or say `allow_plain_http`"
    )]
    Plain,
    /// The access key.
    #[error("the access key holds characters that it cannot have")]
    AccessKey,
    /// The environment.
    #[error("{0}")]
    Environment(String),
    /// The certificates.
    #[error("{0}")]
    Certificates(String),
}

impl Builder {
    pub(crate) fn new(url: &str, access_key: &str) -> Builder {
        Builder {
            url: url.to_owned(),
            access_key: access_key.to_owned(),
            environment: EnvironmentName::usual().to_string(),
            issuer: None,
            audience: None,
            bound: Duration::from_secs(2),
            leeway: Duration::from_secs(1),
            keys_bound: Duration::from_secs(15 * 60),
            keys_every: Duration::from_secs(60),
            patience: Duration::from_secs(2),
            cache: 8 << 20,
            revocations: 1_000_000,
            ca: None,
            plain: false,
        }
    }

    /// Whose tokens, as `product/environment`; else `default/prd`.
    pub fn environment(mut self, name: &str) -> Builder {
        name.clone_into(&mut self.environment);
        self
    }
    /// The `issuer` of the server's configuration (`[tokens] issuer`), without product and environment. Left out: the server has
    /// none configured.
    pub fn issuer(mut self, url: &str) -> Builder {
        self.issuer = Some(url.to_owned());
        self
    }
    /// For whom tokens must be, byte by byte; else the environment, which is what tokens say where nobody asked for another one.
    pub fn audience(mut self, audience: &str) -> Builder {
        self.audience = Some(audience.to_owned());
        self
    }
    /// How old the feed may be; else two seconds, at least half a second. A longer one is longer blindness.
    pub fn bound(mut self, bound: Duration) -> Builder {
        self.bound = bound.max(Duration::from_millis(500));
        self
    }
    /// How much earlier than it says a token may be used, where several servers make tokens; else a second. At its end there
    /// is no leeway.
    pub fn leeway(mut self, leeway: Duration) -> Builder {
        self.leeway = leeway;
        self
    }
    /// How long the keys are trusted when the server does not confirm them; else 15 minutes.
    pub fn keys_bound(mut self, bound: Duration) -> Builder {
        self.keys_bound = bound;
        self
    }
    /// How often the keys are fetched, at least; else every minute. Nothing is transferred while they are the same.
    pub fn keys_every(mut self, every: Duration) -> Builder {
        self.keys_every = every;
        self
    }
    /// How long the server may take to answer; else two seconds.
    pub fn patience(mut self, patience: Duration) -> Builder {
        self.patience = patience;
        self
    }
    /// How many bytes verified signatures may take; else 8 MiB.
    pub fn cache(mut self, bytes: usize) -> Builder {
        self.cache = bytes;
        self
    }
    /// How many revocations are held, at most; else a million. When there are more, the server is asked.
    pub fn revocations(mut self, most: usize) -> Builder {
        self.revocations = most;
        self
    }
    /// Certificates of issuers to trust, in PEM; else the system's.
    pub fn ca(mut self, pem: &[u8]) -> Builder {
        self.ca = Some(pem.to_owned());
        self
    }
    /// Speaks plain http to another machine, as on a network that is encrypted below. To this machine that is always possible.
    pub fn allow_plain_http(mut self) -> Builder {
        self.plain = true;
        self
    }

    /// Starts it: fetches the keys, and listens. Waits for the first answers, at most as long as one answer may take; when there are
    /// none the verifier is there all the same, asks the server, and trusts itself as soon as it can.
    ///
    /// Runs in the tokio runtime that it is called in.
    ///
    /// # Errors
    /// What it was told cannot be used.
    pub async fn build(self) -> Result<Verifier, BuildError> {
        let patience = self.patience;
        let inner = Arc::new(self.inner()?);
        let (mut heard, mut fetched) = (inner.first_try.subscribe(), inner.first_keys.subscribe());
        let tasks = vec![
            tokio::spawn(feed::listen(Arc::clone(&inner))),
            tokio::spawn(fetch::keep_keys(Arc::clone(&inner))),
        ];
        let verifier = Verifier::start(inner, Tasks(tasks));
        let first = async {
            let _ = heard.wait_for(|done| *done).await;
            let _ = fetched.wait_for(|done| *done).await;
        };
        if timeout(patience, first).await.is_ok() && verifier.status().connected {
            // The second word is what shows that the first one moves.
            let _ = verifier.trusted(patience).await;
        }
        Ok(verifier)
    }

    pub(crate) fn inner(self) -> Result<Inner, BuildError> {
        let address = Address::parse(&self.url).ok_or(BuildError::Address)?;
        if !address.https && !address.is_here() && !self.plain {
            return Err(BuildError::Plain);
        }
        let name = EnvironmentName::parse(&self.environment).map_err(BuildError::Environment)?.to_string();
        let named = HeaderValue::from_str(&name).map_err(|_| BuildError::Environment(name.clone()))?;
        let tls = match address.https {
            true => Some(trust::client(self.ca.as_deref()).map_err(BuildError::Certificates)?),
            false => None,
        };
        let mut key = HeaderValue::from_str(&format!("Bearer {}", self.access_key.trim()))
            .map_err(|_| BuildError::AccessKey)?;
        key.set_sensitive(true);
        let span = |time: Duration| Span(i64::try_from(time.as_millis()).unwrap_or(i64::MAX));
        let issuer = match self.issuer {
            Some(url) => format!("{}/{name}", url.trim_end_matches('/')),
            None => format!("handstamp:{name}"),
        };
        Ok(Inner {
            server: Server { address, tls, key, patience: self.patience, kept: Mutex::default() },
            clock: Clock::new(),
            issuer,
            audience: self.audience.unwrap_or_else(|| name.clone()),
            named: (HeaderName::from_static("x-handstamp-env"), named),
            jwks: format!("/.well-known/jwks.json?environment={name}"),
            bound: span(self.bound),
            leeway: span(self.leeway),
            keys_bound: span(self.keys_bound),
            keys_every: span(self.keys_every),
            most_revocations: self.revocations,
            link: ArcSwap::default(),
            linking: Mutex::default(),
            held: ArcSwap::from_pointee(Held::new(self.revocations)),
            keys: Keys::new(),
            data_keys: ArcSwap::default(),
            signatures: Signatures::new(self.cache),
            fetches: tokio::sync::Mutex::default(),
            fetch_keys: Notify::new(),
            questions: Semaphore::new(QUESTIONS),
            strangers: Semaphore::new(STRANGERS),
            asked: AtomicU64::new(0),
            unanswered: AtomicU64::new(0),
            first_try: watch::Sender::new(false),
            first_keys: watch::Sender::new(false),
            heard: watch::Sender::new(()),
        })
    }
}
