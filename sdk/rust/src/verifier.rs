//! The questions that an application asks.

use crate::builder::Builder;
use crate::fetch::{self, Fetches};
use crate::held::Held;
use crate::host::{Clock, wall};
use crate::keys::Keys;
use crate::link::Link;
use crate::server::Server;
use crate::signatures::{Signatures, hash};
use crate::status::Status;
use crate::verdict::{By, CannotTell, Local, Refused, Stop, Trouble, Verified};
use arc_swap::ArcSwap;
use handstamp_core::access_token::Reader;
use handstamp_core::jose::claims::{Claims, DATA_TYPE, RULE, TYPE};
use handstamp_core::jose::jwe::{Sealed, SealingKey};
use handstamp_core::jose::jws::Unverified;
use handstamp_core::jose::key::Kid;
use handstamp_core::jose::{Flaw, base64url};
use handstamp_core::offline::clock::Tick;
use handstamp_core::offline::{self, Ask, Demand, Known, Said};
use handstamp_core::refusal::{Code, Refusal};
use handstamp_core::time::Span;
use hyper::Method;
use hyper::body::Bytes;
use hyper::header::{HeaderName, HeaderValue};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Verifies access tokens in this process. Clones share everything; when the last one is dropped, what runs behind stops.
#[derive(Clone)]
pub struct Verifier {
    inner: Arc<Inner>,
    _tasks: Arc<Tasks>,
}

/// What runs behind, and is stopped when nobody asks any more.
pub(crate) struct Tasks(pub(crate) Vec<JoinHandle<()>>);

impl Drop for Tasks {
    fn drop(&mut self) {
        self.0.iter().for_each(JoinHandle::abort);
    }
}

/// What all clones and tasks share.
pub(crate) struct Inner {
    pub(crate) server: Server,
    pub(crate) clock: Clock,
    pub(crate) issuer: String,
    pub(crate) audience: String,
    /// The header that names the environment: a key of another one is refused, and not listened with.
    pub(crate) named: (HeaderName, HeaderValue),
    /// The path of the public keys.
    pub(crate) jwks: String,
    pub(crate) bound: Span,
    pub(crate) leeway: Span,
    pub(crate) keys_bound: Span,
    pub(crate) keys_every: Span,
    pub(crate) most_revocations: usize,
    pub(crate) link: ArcSwap<Link>,
    /// Held by whoever changes `link`.
    pub(crate) linking: Mutex<()>,
    pub(crate) held: ArcSwap<Held>,
    pub(crate) keys: Keys,
    pub(crate) data_keys: ArcSwap<HashMap<Kid, SealingKey>>,
    pub(crate) signatures: Signatures,
    pub(crate) fetches: tokio::sync::Mutex<Fetches>,
    /// Wakes whoever fetches the keys.
    pub(crate) fetch_keys: Notify,
    pub(crate) questions: Semaphore,
    /// The same for tokens whose key is not known.
    pub(crate) strangers: Semaphore,
    pub(crate) asked: AtomicU64,
    pub(crate) unanswered: AtomicU64,
    pub(crate) first_try: watch::Sender<bool>,
    pub(crate) first_keys: watch::Sender<bool>,
    /// Whenever the feed was heard.
    pub(crate) heard: watch::Sender<()>,
}

impl Verifier {
    /// Begins to describe a verifier: where the server is, and an access key of the environment with the scope `tokens:verify` (and
    /// `sessions:read`, to ask; and `tokens:open`, to open data).
    pub fn builder(url: &str, access_key: &str) -> Builder {
        Builder::new(url, access_key)
    }

    pub(crate) fn start(inner: Arc<Inner>, tasks: Tasks) -> Verifier {
        Verifier { inner, _tasks: Arc::new(tasks) }
    }

    /// May this request pass? Says so without asking wherever it can, and asks the server where it cannot.
    ///
    /// # Errors
    /// [`Stop::Refused`] with the server's codes; [`Stop::CannotTell`] when the verifier does not trust itself and the server does not
    /// answer, which says nothing about the user.
    pub async fn verify(&self, token: &str, demand: &Demand) -> Result<Verified, Stop> {
        let asked = self.inner.clock.tick();
        let mut local = self.verify_now(token, demand);
        if let Local::AskServer(Ask::UnknownKey) = local {
            fetch::newer_than(&self.inner, asked).await;
            // Before it is looked again: what is fetched in between is looked at, and what comes later counts for later tokens.
            let confirmed = self.inner.keys.confirmed();
            local = match self.verify_now(token, demand) {
                Local::AskServer(Ask::UnknownKey) => match offline::unknown_key(confirmed, asked) {
                    Said::No(refusal) => Local::Refused(refused(&refusal, By::Verifier)),
                    Said::Yes | Said::Ask(_) => Local::AskServer(Ask::UnknownKey),
                },
                again => again,
            };
        }
        let doubt = match local {
            Local::Verified(verified) => return Ok(verified),
            Local::Refused(refused) => return Err(refused.into()),
            Local::AskServer(doubt) => doubt,
        };
        self.ask(token, demand, doubt).await
    }

    /// The same, at once and without asking: what cannot be said is said to be so.
    pub fn verify_now(&self, token: &str, demand: &Demand) -> Local {
        let inner = &*self.inner;
        let claims = match inner.genuine(token) {
            Ok(claims) => claims,
            Err(Flaw::Key) => return Local::AskServer(Ask::UnknownKey),
            Err(flaw) => return Local::Refused(refused(&why(flaw), By::Verifier)),
        };
        let reader = Reader { issuer: &inner.issuer, audience: &inner.audience, leeway: inner.leeway };
        // First what is known, then whether it was revoked: what is told in between is newer, and does no harm.
        let known = inner.known();
        let ended = inner.held.load().ends(&claims);
        match offline::judge(&claims, reader, ended, demand, &known) {
            Said::Yes => Local::Verified(Verified { claims, by: By::Verifier }),
            Said::No(refusal) => Local::Refused(refused(&refusal, By::Verifier)),
            Said::Ask(doubt) => Local::AskServer(doubt),
        }
    }

    /// The data of the session, as JSON, that was sealed into the token; `None`: it has none. The access key needs the scope
    /// `tokens:open`.
    ///
    /// # Errors
    /// The keys cannot be had, or none of them opens it.
    pub async fn open(&self, verified: &Verified) -> Result<Option<String>, Trouble> {
        let unreadable = |_| Trouble::Unreadable("the data in the token cannot be opened");
        let Some(data) = verified.claims().data.as_deref() else { return Ok(None) };
        let sealed = Sealed::read(data, DATA_TYPE).map_err(unreadable)?;
        if !self.inner.data_keys.load().contains_key(sealed.kid()) {
            fetch::data_keys(&self.inner, sealed.kid()).await?;
        }
        let keys = self.inner.data_keys.load();
        let key = keys.get(sealed.kid()).ok_or(Flaw::Key).map_err(unreadable)?;
        let plain = sealed.open(key).map_err(unreadable)?;
        String::from_utf8(plain)
            .map(Some)
            .map_err(|_| Trouble::Unreadable("the data in the token is no text"))
    }

    /// Waits until it trusts itself, at most as long as `patience`.
    pub async fn trusted(&self, patience: Duration) -> Result<(), Ask> {
        let mut heard = self.inner.heard.subscribe();
        let until = async { while self.inner.known().doubt().is_some() && heard.changed().await.is_ok() {} };
        let _ = timeout(patience, until).await;
        self.inner.known().doubt().map_or(Ok(()), Err)
    }

    /// How it is.
    pub fn status(&self) -> Status {
        let inner = &*self.inner;
        let now = inner.clock.tick();
        let link = inner.link.load_full();
        let length = |span: Span| Duration::from_millis(u64::try_from(span.0).unwrap_or(0));
        let keys_age = Some(inner.keys.age(now)).filter(|age| *age != Span::FOREVER);
        Status {
            doubt: inner.known().doubt(),
            connected: link.connected,
            as_of: link.time.map(|time| time.as_of()),
            staleness: inner.known().age.map(length),
            position: link.position.clone(),
            clock_ahead: link.time.map(|time| time.offset(now, wall())),
            clock_held: link.time.map_or(Duration::ZERO, |time| length(time.behind(now))),
            revocations: inner.held.load().len(),
            keys: inner.keys.names(),
            keys_confirmed: keys_age.map(length),
            signatures: inner.signatures.usage(),
            asked: (inner.asked.load(Ordering::Relaxed), inner.unanswered.load(Ordering::Relaxed)),
            last_trouble: link.trouble.as_ref().map(|(what, at)| (what.to_string(), length(now.since(*at)))),
        }
    }

    async fn ask(&self, token: &str, demand: &Demand, doubt: Ask) -> Result<Verified, Stop> {
        let inner = &*self.inner;
        inner.asked.fetch_add(1, Ordering::Relaxed);
        // Anybody can make up the name of a key: such tokens do not take the place of those that were signed by a key of ours.
        let share = if doubt == Ask::UnknownKey { &inner.strangers } else { &inner.questions };
        let answer = match share.try_acquire() {
            Ok(_turn) => self.answer(token, demand).await,
            Err(_) => Err(Trouble::Busy),
        };
        answer.unwrap_or_else(|trouble| {
            inner.unanswered.fetch_add(1, Ordering::Relaxed);
            inner.note(trouble.clone());
            Err(Stop::CannotTell(CannotTell { doubt, trouble }))
        })
    }

    /// What the server says; trouble is no answer.
    async fn answer(&self, token: &str, demand: &Demand) -> Result<Result<Verified, Stop>, Trouble> {
        let inner = &*self.inner;
        let body = Bytes::from(question(token, &inner.audience, demand).to_string());
        let path = "/v1/sessions/validate";
        let answer = inner.server.ask(Method::POST, path, std::slice::from_ref(&inner.named), body).await?;
        if answer.status != 200 {
            return Err(answer.trouble());
        }
        let said: Value = serde_json::from_slice(&answer.body)
            .map_err(|_| Trouble::Unreadable("the verdict is not JSON"))?;
        match said.get("valid").and_then(Value::as_bool) {
            Some(true) => {
                let claims =
                    vouched(token).ok_or(Trouble::Unreadable("the verdict is about no access token"))?;
                Ok(Ok(Verified { claims: Arc::new(claims), by: By::Server }))
            }
            Some(false) => {
                let code = said.get("code").and_then(Value::as_str).and_then(Code::parse);
                let code =
                    code.ok_or(Trouble::Unreadable("the verdict has a code that is not known here"))?;
                if !offline::speaks_of_the_user(code) {
                    return Err(Trouble::Untold(code));
                }
                let why =
                    said.get("detail").and_then(Value::as_str).unwrap_or_else(|| code.means()).to_owned();
                Ok(Err(Refused { code, why, by: By::Server }.into()))
            }
            None => Err(Trouble::Unreadable("the verdict says neither yes nor no")),
        }
    }
}

impl Inner {
    /// What a token says that was signed by a key which is trusted now.
    fn genuine(&self, token: &str) -> Result<Arc<Claims>, Flaw> {
        if token.len() > handstamp_core::jose::LONGEST {
            return Err(Flaw::TooLong);
        }
        let hash = hash(token);
        if let Some(claims) = self.signatures.get(&hash) {
            return Ok(claims);
        }
        let unverified = Unverified::read(token, TYPE)?;
        let key = self.keys.get(unverified.kid()).ok_or(Flaw::Key)?;
        let claims = Arc::new(Claims::read(&unverified.verify(&key.key)?)?);
        self.signatures.keep(hash, &claims, &key);
        Ok(claims)
    }

    /// What is known of the server at this moment.
    pub(crate) fn known(&self) -> Known {
        let read = self.clock.reading();
        let now: Tick = read.tick;
        let link = self.link.load();
        let stood = link.read.and_then(|last| read.stood_still(last, self.bound)).unwrap_or(Span(0));
        Known {
            now: link.time.map(|time| time.now(now)),
            age: link.time.and_then(|time| time.age(now)).map(|age| Span(age.0.saturating_add(stood.0))),
            bound: self.bound,
            whole: link.whole,
            keys_age: self.keys.age(now),
            keys_bound: self.keys_bound,
        }
    }

    pub(crate) fn empty(&self) -> Held {
        Held::new(self.most_revocations)
    }

    /// Changes what is known of the server.
    pub(crate) fn update(&self, change: impl FnOnce(&mut Link)) {
        let _turn = self.linking.lock().unwrap_or_else(PoisonError::into_inner);
        let mut link = Link::clone(&self.link.load());
        change(&mut link);
        self.link.store(Arc::new(link));
    }

    /// Remembers what went wrong.
    pub(crate) fn note(&self, trouble: Trouble) {
        let tick = self.clock.tick();
        self.update(|link| link.trouble = Some((trouble, tick)));
    }
}

fn question(token: &str, audience: &str, demand: &Demand) -> Value {
    let mut body = json!({ "token": token, "audience": audience });
    let Some(all) = body.as_object_mut() else { return body };
    if !demand.tags.is_empty() {
        let tags: Vec<&str> = demand.tags.iter().map(|tag| tag.as_str()).collect();
        all.insert("required_tags".to_owned(), json!(tags));
    }
    if !demand.groups.is_empty() {
        let groups: Vec<&str> = demand.groups.iter().map(|group| group.as_str()).collect();
        all.insert("required_access_groups".to_owned(), json!(groups));
    }
    if let Some(age) = demand.assured.max_age {
        // Whole seconds, rounded so that no more is accepted than was demanded.
        all.insert("max_auth_age".to_owned(), json!(age.as_secs().max(0)));
    }
    if let Some(level) = demand.assured.level {
        all.insert("min_level".to_owned(), json!(level.get()));
    }
    if let Some(ip) = demand.ip {
        all.insert("ip".to_owned(), json!(ip.to_string()));
    }
    if let Some(agent) = &demand.user_agent {
        all.insert("user_agent".to_owned(), json!(agent));
    }
    body
}

/// What a token says that the server has just vouched for.
fn vouched(token: &str) -> Option<Claims> {
    let (_, rest) = token.split_once('.')?;
    let (payload, _) = rest.split_once('.')?;
    Claims::read(&base64url::decode(payload)?).ok()
}

fn refused(refusal: &Refusal, by: By) -> Refused {
    Refused { code: refusal.code, why: refusal.detail(), by }
}

fn malformed() -> Refusal {
    Refusal::plain(Code::TokenMalformed, RULE)
}

/// Callers are told one thing of all flaws; who made the token wrong knows why.
fn why(flaw: Flaw) -> Refusal {
    match flaw {
        Flaw::TooLong
        | Flaw::Form
        | Flaw::Header
        | Flaw::Type
        | Flaw::Key
        | Flaw::Algorithm
        | Flaw::Signature
        | Flaw::Claims => malformed(),
    }
}
