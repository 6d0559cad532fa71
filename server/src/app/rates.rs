//! How often somebody may ask: budgets of sessions, access keys and addresses.
//!
//! * A request that brings a good session spends that session's budget, whatever else is refused about it.
//! * A request that brings none spends the budget of its client's address, and that shapes failing answers only: a good
//!   token is never refused for what others did from the same address.
//! * `validate` over the management API spends no session's budget; what fails there counts on the address that the
//!   caller says its client has, and changes no verdict.
//! * An access key has a budget when it was given one.
//!
//! [`shared`](self::shared): what other nodes are told. [`debts`]: what is remembered. Sessions, keys and addresses have a table each, so that no flood of addresses, which cost
//! nothing, makes a session forgotten, and no crowd of sessions a key.

use super::control::Env;
use super::{App, Stop};
use debts::{Debts, Usage};
use handstamp_core::id::{EnvironmentId, KeyId, SessionId};
use handstamp_core::policy::modes::Rate;
use handstamp_core::rate::{Names, Over, Payer, Standing};
use handstamp_core::refusal::Refusal;
use handstamp_core::subject::Subject;
use handstamp_core::time::{Millis, Span};
use handstamp_core::token::keyring::MasterKey;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{OnceLock, PoisonError, RwLock};

pub mod debts;
pub mod shared;

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
    keys: Debts,
    addresses: Debts,
    cookies: Debts,
    anonymous: RwLock<Option<Rate>>,
    refused: [AtomicU64; 3],
    counts: shared::Counts,
}

impl Rates {
    /// `are_others`: budgets are shared with other nodes.
    pub(super) fn new(master: &MasterKey, are_others: bool) -> Rates {
        Rates {
            names: Names::new(master),
            sessions: Debts::new(are_others),
            keys: Debts::new(are_others),
            addresses: Debts::new(are_others),
            cookies: Debts::default(),
            anonymous: RwLock::new(None),
            refused: Default::default(),
            counts: shared::Counts::default(),
        }
    }

    fn spend(&self, payer: &Payer, rate: Rate, now: Millis) -> Result<Standing, Over> {
        let [session, key, address] = &self.refused;
        let (debts, refused) = match payer {
            Payer::Session(..) => (&self.sessions, Some(session)),
            Payer::Key(_) => (&self.keys, Some(key)),
            Payer::Address(..) => (&self.addresses, Some(address)),
            Payer::Cookie(..) => (&self.cookies, None),
        };
        let spent = debts.spend(self.names.of(payer), rate, now);
        if let (Err(_), Some(count)) = (&spent, refused) {
            count.fetch_add(1, Ordering::Relaxed);
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

    /// Puts a backend's refused request on the account of its client's address, where the refusal says that there is no good
    /// token: never on the caller's; and whatever comes of it, the verdict stays.
    pub fn spend_refusal(&self, env: &Env, refusal: &Refusal, ip: Option<IpAddr>) {
        if refusal.code.denies_session() {
            let _ = self.spend_address(env.record.id, ip);
        }
    }

    /// Whether a minute has passed since this last said so of the session.
    pub(super) fn once_a_minute(&self, env: EnvironmentId, session: SessionId) -> bool {
        const RATE: Rate = Rate { requests: 1, time: Span::minutes(1) };
        self.rates.spend(&Payer::Cookie(env, session), RATE, self.now()).is_ok()
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
        let ([session, key, address], [one, two, three]) = (PAYERS, &self.rates.refused);
        [(session, one), (key, two), (address, three)].map(|(of, n)| (of, n.load(Ordering::Relaxed)))
    }

    /// What is remembered of each of [`PAYERS`], and of which sessions the cookie was sent within a minute.
    pub fn debts(&self) -> [(&'static str, Usage); 4] {
        let Rates { sessions, keys, addresses, cookies, .. } = &*self.rates;
        let [session, key, address] = PAYERS;
        [(session, sessions), (key, keys), (address, addresses), ("cookie", cookies)]
            .map(|(of, debts)| (of, debts.usage()))
    }

    /// Forgets who owes nothing any more.
    pub(super) fn tidy_rates(&self) {
        let now = self.now();
        let Rates { sessions, keys, addresses, cookies, .. } = &*self.rates;
        [sessions, keys, addresses, cookies].into_iter().for_each(|debts| debts.tidy(now));
    }
}
