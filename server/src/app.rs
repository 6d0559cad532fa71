//! The service without its doors: load, judge, commit, tell. One verb a file; no rule of its own and no HTTP.
//!
//! * [`open`]: first start and every start after it. [`master_key`]: what follows from it; another one.
//! * [`control`]: environments, access keys and ledgers, held in memory (`room`), with [`token_keys`]; `epochs`: ending many at once; [`callers`]: who asks.
//! * [`records`]: loading, and committing one transition; [`cache`], [`kept`],
//!   [`activity`]: what is kept beside the store.
//! * [`view`]: what is told of a session. `limits`, `seats`: how many sessions a user may
//!   have, and how many all users with a tag.
//! * The verbs: [`create`], [`validate`], [`refresh`], [`read`], [`update`], [`end`] (but for [`spared`]), [`search`], [`history`], [`users`],
//!   [`policies`], [`origins`], [`explain`], [`devices`], [`erase`], [`keys`], [`environments`], [`signing`], [`access_tokens`].
//! * [`feed`], [`status_lists`]: what those must know who verify access tokens themselves.
//! * [`nodes`]: what other nodes on the same store do and say.
//! * [`housekeeping`]: what time brings about, and which node's turn it is ([`keeper`]); `behind`: what it is asked to do; `purge`: removed environments; `aging`: what may no longer be kept;
//!   [`tighter`]: rules that changed. [`types`]: what session types ask. [`observe`]: from where a session was last used. [`rates`]: how often who may ask. [`gauges`]: what can be counted.

use crate::agents::Agents;
use crate::host::clock::{Clock, pause};
use crate::host::entropy::Entropy;
use crate::store::{Store, StoreError};
use handstamp_core::device::challenge::Given;
use handstamp_core::id::EnvironmentId;
use handstamp_core::rate::Over;
use handstamp_core::refusal::{Code, Refusal};
use handstamp_core::secret::Secret;
use handstamp_core::signing::budget::Budget;
use handstamp_core::time::{Millis, Span};
use handstamp_core::token::keyring::{Keyring, MasterKey};
use handstamp_core::transition::update::Fixed;
use handstamp_core::transition::{self, Ground, Impossible};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use tokio::sync::watch;

pub mod access_tokens;
pub mod activity;
mod aging;
mod behind;
pub mod cache;
pub mod callers;
pub mod control;
pub mod create;
pub mod devices;
pub mod end;
pub mod environments;
mod epochs;
pub mod erase;
pub mod explain;
pub mod feed;
pub mod gauges;
pub mod history;
pub mod housekeeping;
pub mod keeper;
pub mod kept;
pub mod keys;
mod limits;
pub mod login;
pub mod master_key;
mod mint_for;
pub mod nodes;
mod objections;
pub mod observe;
pub mod open;
pub mod origins;
pub mod pages;
pub mod policies;
mod purge;
pub mod rates;
pub mod read;
pub mod records;
pub mod refresh;
mod room;
pub mod search;
mod seats;
pub mod signing;
pub mod spared;
pub mod status_lists;
pub mod table;
pub mod tighter;
pub mod token_keys;
mod turns;
pub mod types;
pub mod update;
pub mod update_many;
pub mod users;
pub mod validate;
pub mod verdicts;
pub mod view;
pub mod visit;

use control::Env;
use open::OpenError;

/// The service.
pub struct App {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    master: Arc<MasterKey>,
    keys: Box<Keyring>,
    /// What names of erased users are made with, and what statements about it are signed with.
    erasing: Box<[Secret<32>; 2]>,
    control: Arc<room::Room>,
    turns: turns::Turns,
    /// The turns of ledgers of seats.
    ledgers: turns::Turns,
    agents: Agents,
    cache: Arc<cache::Cache>,
    activity: Arc<activity::Activity>,
    behind: Arc<behind::Behind>,
    observer: observe::Observer,
    rates: Box<rates::Rates>,
    /// How often a data key may seal.
    sealings: arc_swap::ArcSwap<Budget>,
    /// Held by who draws the first key of an algorithm.
    drawing: Arc<tokio::sync::Mutex<()>>,
    checked: tighter::Checked,
    rounds: Box<aging::Rounds>,
    verdicts: verdicts::Verdicts,
    refreshes: Box<verdicts::Verdicts>,
    retention: Span,
    /// What access tokens say of whoever makes them.
    makers: access_tokens::Makers,
    /// Rises with each commit that history tells of.
    told: Arc<watch::Sender<u64>>,
    feeds: Arc<feed::Feeds>,
    status: Box<status_lists::StatusLists>,
    leaving: AtomicBool,
    keeping: keeper::Keeping,
    alike: Box<nodes::alike::Alike>,
    /// For keys that other nodes have just made.
    looked: Box<signing::Looked>,
    doubted: Box<seats::Doubts>,
    /// Where other nodes write to the same store.
    nodes: Option<Arc<nodes::Nodes>>,
}

/// Why a verb has no result. A refusal is an answer; a fault is an accident; neither becomes the other.
pub enum Stop {
    /// An answer.
    Refused(Box<Refused>),
    /// An accident.
    Fault(Fault),
}

/// A refusal with what the caller can do about it.
pub struct Refused {
    /// Which.
    pub refusal: Refusal,
    /// A better sentence than the code's own, where there is one.
    pub detail: Option<String>,
    /// What is wrong with the input: JSON pointer and sentence.
    pub fields: Vec<(String, String)>,
    /// A fresh challenge, where that is what the caller's client lacks.
    pub challenge: Option<Given>,
    /// The budget that does not cover the request.
    pub over: Option<Over>,
    /// All tags that may not come or go, where that is why.
    pub fixed: Vec<Fixed>,
}

/// An accident. Its text is for the log; a caller gets the code's general sentence and the request id.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The rules met something that cannot be.
    #[error(transparent)]
    Impossible(#[from] Impossible),
    /// The random source of the machine failed.
    #[error("the operating system gave no random bytes")]
    Entropy,
    /// Others came first too often.
    #[error("a change was overtaken by others for too long")]
    Contended,
}

impl Fault {
    /// Whether it is the store that does not answer, so that trying again soon may help.
    pub const fn is_outage(&self) -> bool {
        match self {
            Fault::Store(StoreError::Damaged(_)) | Fault::Impossible(_) => false,
            Fault::Store(StoreError::Conflict | StoreError::Unavailable(_))
            | Fault::Entropy
            | Fault::Contended => true,
        }
    }
}

impl Refused {
    /// What the caller is told in words: what happened, with numbers where there are some, or what the code means and what
    /// to do.
    pub fn sentence(&self) -> String {
        let (refusal, code) = (&self.refusal, self.refusal.code);
        if let Some(detail) = &self.detail {
            detail.clone()
        } else if refusal.evidence.is_some() {
            refusal.detail()
        } else if code == Code::IpMissing {
            // Which rule looks, and where it came from.
            format!("{}. {}", refusal.detail(), code.remedy())
        } else {
            format!("{} {}", code.means(), code.remedy())
        }
    }
}

impl Stop {
    /// A refusal with its own sentence.
    pub fn refuse(code: Code, detail: impl Into<String>) -> Stop {
        let refusal = Refusal::plain(code, "request");
        Stop::Refused(Box::new(Refused { detail: Some(detail.into()), ..Refused::from(refusal) }))
    }
    /// Bad input in one field.
    pub fn field(pointer: &str, message: impl Into<String>) -> Stop {
        let message = message.into();
        Stop::Refused(Box::new(Refused {
            detail: Some(format!("{pointer}: {message}")),
            fields: vec![(pointer.to_owned(), message)],
            ..Refused::from(Refusal::plain(Code::InvalidRequest, "request"))
        }))
    }
    /// Bad input in several fields; there is at least one.
    pub fn fields(code: Code, fields: Vec<(String, String)>) -> Stop {
        let more = fields.len().saturating_sub(1);
        let first =
            fields.first().map_or(String::new(), |(pointer, message)| format!("{pointer}: {message}"));
        let detail = if more == 0 { first } else { format!("{first} (and {more} more)") };
        let refused = Refused::from(Refusal::plain(code, "request"));
        Stop::Refused(Box::new(Refused { detail: Some(detail), fields, ..refused }))
    }
    /// The same, and what it is about.
    #[must_use]
    pub fn about(mut self, what: &str) -> Stop {
        if let Stop::Refused(refused) = &mut self {
            refused.detail = refused.detail.take().map(|detail| format!("{what}: {detail}"));
        }
        self
    }
    /// The same refusal, with a challenge.
    #[must_use]
    pub fn with_challenge(self, challenge: Option<Given>) -> Stop {
        match self {
            Stop::Refused(refused) => Stop::Refused(Box::new(Refused { challenge, ..*refused })),
            Stop::Fault(fault) => Stop::Fault(fault),
        }
    }
    /// A budget does not cover the request.
    pub fn over(over: Over, detail: String) -> Stop {
        let refusal = Refusal::plain(Code::RateLimitExceeded, "rate_limit");
        let (detail, over) = (Some(detail), Some(over));
        Stop::Refused(Box::new(Refused { detail, over, ..Refused::from(refusal) }))
    }
    /// A plain code.
    pub fn code(code: Code) -> Stop {
        Stop::from(Refusal::plain(code, "request"))
    }
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Refused {
        let (fields, fixed) = (Vec::new(), Vec::new());
        Refused { refusal, detail: None, fields, challenge: None, over: None, fixed }
    }
}
impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Stop {
        Stop::Refused(Box::new(Refused::from(refusal)))
    }
}
impl From<Fault> for Stop {
    fn from(fault: Fault) -> Stop {
        Stop::Fault(fault)
    }
}
impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Stop {
        Stop::Fault(Fault::Store(error))
    }
}
impl From<Impossible> for Stop {
    fn from(error: Impossible) -> Stop {
        Stop::Fault(Fault::Impossible(error))
    }
}

impl App {
    /// Now, in store time.
    pub fn now(&self) -> Millis {
        self.clock.now()
    }

    /// The store's own health.
    ///
    /// # Errors
    /// What the store says.
    pub async fn ready(&self) -> Result<(), StoreError> {
        if !self.has_others() {
            return self.store.probe().await;
        }
        // Over a network it may also say nothing at all.
        tokio::select! {
            outcome = self.store.probe() => outcome,
            () = pause(Duration::from_secs(1)) => Err(StoreError::Unavailable("it does not answer".to_owned())),
        }
    }

    /// How many bytes the cache holds, and of how many.
    pub fn cache_use(&self) -> (u64, u64) {
        self.cache.usage()
    }

    /// Closes the store. Nothing works afterwards.
    pub async fn close(&self) {
        self.store.close().await;
    }

    fn draw(&self) -> Result<transition::Entropy, Fault> {
        let mut bytes = [0; 96];
        if !self.entropy.fill(&mut bytes) {
            return Err(Fault::Entropy);
        }
        Ok(transition::Entropy::new(bytes))
    }

    fn draw_bytes<const N: usize>(&self) -> Result<[u8; N], Fault> {
        let mut bytes = [0; N];
        if self.entropy.fill(&mut bytes) { Ok(bytes) } else { Err(Fault::Entropy) }
    }

    fn env(&self, id: EnvironmentId) -> Result<Arc<Env>, Stop> {
        self.control.load().env(id).ok_or_else(|| Stop::refuse(Code::NotFound, "the environment is gone"))
    }

    fn ground<'a>(&'a self, env: &'a Env, now: Millis) -> Ground<'a> {
        Ground {
            env: env.record.id,
            policy: &env.policy,
            ledger: &env.ledger,
            keys: &self.keys,
            data_key: &env.data_key,
            now,
        }
    }
}
