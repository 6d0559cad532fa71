//! How often somebody may ask: budgets of sessions, access keys and addresses.
//!
//! * A request that brings a good session spends that session's budget, whatever else is refused about it.
//! * A request that brings none spends the budget of its client's address, and that shapes failing answers only: a good
//!   token is never refused for what others did from the same address.
//! * `validate` over the management API spends no session's budget; what fails there counts on the address that the
//!   caller says its client has, and changes no verdict.
//! * An access key has a budget when it was given one.
//!
//! [`debts`]: what is remembered. Sessions and keys have a table of their own, so that no flood of addresses, which cost
//! nothing, can make them forgotten.

use super::control::Env;
use super::{App, Stop};
use debts::Debts;
use handstamp_core::id::{EnvironmentId, KeyId, SessionId};
use handstamp_core::policy::modes::Rate;
use handstamp_core::rate::{Names, Over, Payer, Standing};
use handstamp_core::subject::Subject;
use handstamp_core::time::{Millis, Span};
use handstamp_core::token::keyring::MasterKey;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{OnceLock, PoisonError, RwLock};

pub mod debts;

/// What became of a request's price.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Spent {
    /// Nobody has a limit here; nothing is told.
    Unlimited,
    /// It was paid; how the budget stands.
    Paid(Standing),
    /// The budget does not cover it.
    Over(Over),
}

impl From<Result<Standing, Over>> for Spent {
    fn from(spent: Result<Standing, Over>) -> Spent {
        spent.map_or_else(Spent::Over, Spent::Paid)
    }
}

/// Who paid for one request of a keyless door: made by the door, handed to [`App::validate`] in
/// [`Ask::tab`](super::validate::Ask::tab), and read when the answer is ready.
#[derive(Default)]
pub struct Tab {
    session: OnceLock<Spent>,
    failed: AtomicBool,
}

impl Tab {
    /// What was taken from a session's budget; `None` while no good session was seen.
    pub fn session(&self) -> Option<Spent> {
        self.session.get().copied()
    }
    /// Whether the token was none that is good.
    pub fn failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }
    /// Takes note that there was no good token.
    pub fn fail(&self) {
        self.failed.store(true, Ordering::Relaxed);
    }
}

/// Who has a budget, in the words of metrics.
pub const PAYERS: [&str; 3] = ["session", "key", "address"];

/// Everybody's budgets.
pub(super) struct Rates {
    names: Names,
    sessions: Debts,
    addresses: Debts,
    anonymous: RwLock<Option<Rate>>,
    refused: [AtomicU64; 3],
}

impl Rates {
    pub(super) fn new(master: &MasterKey) -> Rates {
        Rates {
            names: Names::new(master),
            sessions: Debts::default(),
            addresses: Debts::default(),
            anonymous: RwLock::new(None),
            refused: Default::default(),
        }
    }

    fn spend(&self, payer: &Payer, rate: Rate, now: Millis) -> Result<Standing, Over> {
        let (debts, of) = match payer {
            Payer::Session(..) | Payer::Cookie(..) => (&self.sessions, 0),
            Payer::Key(_) => (&self.sessions, 1),
            Payer::Address(..) => (&self.addresses, 2),
        };
        let spent = debts.spend(self.names.of(payer), rate, now);
        if spent.is_err()
            && let Some(refused) = self.refused.get(of)
        {
            refused.fetch_add(1, Ordering::Relaxed);
        }
        spent
    }
}

impl App {
    /// Spends one request of a session's budget, by the policy that is in force for it.
    pub fn spend_session(&self, env: &Env, session: &impl Subject) -> Spent {
        match env.policy.of(session).rate_limit.value.0 {
            None => Spent::Unlimited,
            Some(rate) => {
                let payer = Payer::Session(env.record.id, session.id());
                self.rates.spend(&payer, rate, self.now()).into()
            }
        }
    }

    /// The same, once a request: what was taken is on the tab.
    pub(super) fn spend_once(&self, tab: &Tab, env: &Env, session: &impl Subject) -> Spent {
        *tab.session.get_or_init(|| self.spend_session(env, session))
    }

    /// Spends one failing request of the budget of its client's address. An address that nobody knows has none.
    pub fn spend_address(&self, env: EnvironmentId, ip: Option<IpAddr>) -> Spent {
        let rate = *self.rates.anonymous.read().unwrap_or_else(PoisonError::into_inner);
        match (rate, ip) {
            (Some(rate), Some(ip)) => self.rates.spend(&Payer::Address(env, ip), rate, self.now()).into(),
            (None, _) | (_, None) => Spent::Unlimited,
        }
    }

    /// Whether a minute has passed since this last said so of the session.
    pub(super) fn once_a_minute(&self, env: EnvironmentId, session: SessionId) -> bool {
        const RATE: Rate = Rate { requests: 1, time: Span::minutes(1) };
        let name = self.rates.names.of(&Payer::Cookie(env, session));
        self.rates.sessions.spend(name, RATE, self.now()).is_ok()
    }

    /// Spends one call of an access key's budget; a batch is one call.
    ///
    /// # Errors
    /// `rate_limit_exceeded`.
    pub(super) fn spend_call(&self, key: KeyId, rate: Rate, now: Millis) -> Result<Standing, Stop> {
        self.rates.spend(&Payer::Key(key), rate, now).map_err(|over| {
            let wait = over.retry_after;
            Stop::over(over, format!("the access key may make {rate} calls; the next one passes in {wait} s"))
        })
    }

    /// How often an address may fail; `None`: as often as it likes. In force from the next request on.
    pub fn set_anonymous_limit(&self, rate: Option<Rate>) {
        *self.rates.anonymous.write().unwrap_or_else(PoisonError::into_inner) = rate;
    }

    /// How many requests each of [`PAYERS`] was too many for.
    pub fn over_budget(&self) -> [(&'static str, u64); 3] {
        let mut counts = PAYERS.iter().zip(&self.rates.refused);
        [(); 3].map(|()| counts.next().map_or(("", 0), |(of, n)| (*of, n.load(Ordering::Relaxed))))
    }

    /// How many sessions and keys, and how many addresses, are remembered with what they spent.
    pub fn debts(&self) -> [(&'static str, usize); 2] {
        [("sessions", self.rates.sessions.usage().0), ("addresses", self.rates.addresses.usage().0)]
    }

    /// Forgets who owes nothing any more.
    pub(super) fn tidy_rates(&self) {
        let now = self.now();
        self.rates.sessions.tidy(now);
        self.rates.addresses.tidy(now);
    }
}
