//! A small application of the real rules over any store: load, judge, commit, and again when somebody else came first.
//! It has what the service does not have yet (refresh), and nothing of what makes the service fast: no cache, no
//! turns. What is safe here is safe by rules and store alone. Its clock stands until a case moves it.

use super::world::NOW;
use handstamp_core::epoch::{Ledger, Scope};
use handstamp_core::event::Event;
use handstamp_core::expiry;
use handstamp_core::id::{EnvironmentId, SessionId};
use handstamp_core::judge::{Demand, judge, judge_refresh};
use handstamp_core::limit::{Limit, OnLimit, RULE};
use handstamp_core::policy::{self, Origin, Policy};
use handstamp_core::refusal::Code;
use handstamp_core::rotation::Issued;
use handstamp_core::sealing::DataKey;
use handstamp_core::secret::Secret;
use handstamp_core::session::{By, Client, Session};
use handstamp_core::time::{Millis, Span};
use handstamp_core::token::Kind;
use handstamp_core::token::keyring::{Keyring, MasterKey};
use handstamp_core::token::opaque::open;
use handstamp_core::transition::admit::admit;
use handstamp_core::transition::create::{NewSession, create};
use handstamp_core::transition::finish::{revoke, settle};
use handstamp_core::transition::present::present;
use handstamp_core::transition::{Change, Entropy, Ground};
use handstamp_core::user::User;
use handstamp_server::codec::control::{ledger_key, read_ledger, write_ledger};
use handstamp_server::codec::{
    CONTROL, event, new_event, read_session, read_user, session_key, session_record, sessions, user_key,
    user_record,
};
use handstamp_server::host::clock::{Clock, ManualClock};
use handstamp_server::store::{
    Batch, Condition, EventQuery, Expect, FacetRange, Op, Query, Store, StoreError, Tally, Versioned,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const ENV: EnvironmentId = EnvironmentId(9);

/// The rules over a store.
#[derive(Clone)]
pub(super) struct Small {
    pub(super) store: Arc<dyn Store>,
    rules: Arc<Rules>,
}

struct Rules {
    keys: Keyring,
    policy: Policy,
    data_key: DataKey,
    clock: ManualClock,
    draws: AtomicU64,
}

/// The credentials of one generation.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Pair {
    pub(super) session: String,
    pub(super) refresh: Option<String>,
}

impl Pair {
    fn of(issued: &Issued) -> Pair {
        let refresh = issued.refresh.as_ref().map(|text| text.reveal().to_owned());
        Pair { session: issued.session.reveal().to_owned(), refresh }
    }
    pub(super) fn refresh(&self) -> &str {
        self.refresh.as_deref().unwrap()
    }
}

/// What became of a presented token.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Told {
    Allowed(Option<Pair>),
    Refused(Code),
}

impl Told {
    /// The successor that was given.
    pub(super) fn pair(self) -> Pair {
        match self {
            Told::Allowed(Some(pair)) => pair,
            other => panic!("{other:?}"),
        }
    }
}

/// A session as the store has it, with what stands behind every judgement of it.
pub(super) struct Found {
    pub(super) session: Session,
    pub(super) seen: Millis,
    pub(super) version: u64,
    ledger: Ledger,
}

/// A login of that user, without anything special.
pub(super) fn login(who: &str, refresh: bool) -> NewSession {
    NewSession {
        auth: None,
        actor: None,
        user: crate::engine::house::user(who),
        tags: Vec::new(),
        groups: Vec::new(),
        data: None,
        expires_in: None,
        refresh,
        client: Client::default(),
        device: None,
        login: None,
        by: By::System,
        idempotency: None,
    }
}

impl Small {
    pub(super) fn new(store: &Arc<dyn Store>, policy: Policy) -> Small {
        let rules = Rules {
            keys: Keyring::new(&MasterKey::new([1; 32]), 1, &[], &Secret::new([2; 32])),
            policy,
            data_key: DataKey::new(1, Secret::new([3; 32])),
            clock: ManualClock::new(NOW),
            draws: AtomicU64::new(0),
        };
        Small { store: store.clone(), rules: Arc::new(rules) }
    }
    /// The same rules and the same clock over another store, or over the same one opened again.
    pub(super) fn over(&self, store: Arc<dyn Store>) -> Small {
        Small { store, rules: self.rules.clone() }
    }
    pub(super) fn now(&self) -> Millis {
        self.rules.clock.now()
    }
    pub(super) fn pass(&self, span: Span) {
        self.rules.clock.advance(span);
    }

    fn ground<'a>(&'a self, ledger: &'a Ledger, now: Millis) -> Ground<'a> {
        let Rules { keys, policy, data_key, .. } = &*self.rules;
        Ground { env: ENV, policy, ledger, keys, data_key, now }
    }
    fn effective(&self, session: &Session) -> policy::Found<'_> {
        self.rules.policy.of(session)
    }
    /// Bytes that never repeat.
    fn draw(&self) -> Entropy {
        let draw = self.rules.draws.fetch_add(1, Ordering::Relaxed) + 1;
        let mut bytes = [0; 96];
        for (at, block) in bytes.chunks_mut(8).enumerate() {
            let mixed = (draw << 8 | at as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
            block.copy_from_slice(&mixed.to_be_bytes());
        }
        Entropy::new(bytes)
    }

    /// The session, in one load with the ledger of epochs.
    pub(super) async fn load(&self, id: SessionId) -> Result<Found, StoreError> {
        let mut both = self.store.load(&[session_key(ENV, id), ledger_key(ENV)]).await?;
        let ledger = ledger_of(both.pop().flatten().as_ref());
        let found = both.pop().flatten().expect("the session is not there");
        let (session, seen) = read_session(&found).unwrap();
        Ok(Found { session, seen, version: found.version, ledger })
    }
    async fn load_user(&self, new: User) -> Result<(User, Expect), StoreError> {
        let found = self.store.load(&[user_key(ENV, &new.id)]).await?.pop().flatten();
        Ok(match found {
            Some(found) => (read_user(&found).unwrap(), Expect::Version(found.version)),
            None => (new, Expect::Absent),
        })
    }
    /// The user's sessions that nobody has ended; time may have.
    async fn unended(&self, who: &NewSession) -> Result<Vec<(Session, Millis, u64)>, StoreError> {
        let value: Box<[u8]> = who.user.as_str().as_bytes().into();
        let of_user = FacetRange { name: handstamp_core::facet::USER, low: value.clone(), high: value };
        let mut query = Query {
            space: sessions(ENV),
            all: vec![Condition { any: vec![of_user] }],
            from: None,
            until: None,
            cursor: None,
            limit: 1_000,
        };
        let mut all = Vec::new();
        loop {
            let page = self.store.search(&query).await?;
            for found in page.items {
                let (session, seen) = read_session(&found).unwrap();
                all.push((session, seen, found.version));
            }
            match page.next {
                None => return Ok(all),
                next => query.cursor = next,
            }
        }
    }

    /// A session that is made whatever else there is.
    pub(super) async fn create(&self, new: NewSession) -> (SessionId, Pair) {
        self.create_within(new, u32::MAX, OnLimit::Reject).await.unwrap()
    }

    /// Makes a session if the limit has room. The user's record is the fence, and bounds from above how many live: only
    /// at the limit are they looked at, and judged again.
    pub(super) async fn create_within(
        &self,
        new: NewSession,
        most: u32,
        mode: OnLimit,
    ) -> Option<(SessionId, Pair)> {
        loop {
            let now = self.now();
            let ledger = ledger_of(self.store.load(&[ledger_key(ENV)]).await.unwrap()[0].as_ref());
            let ground = self.ground(&ledger, now);
            let (mut user, fence) = self.load_user(User::new(new.user.clone())).await.unwrap();
            let mut stage = Stage::new(self, now);
            if user.live >= most {
                let unended = self.unended(&new).await.unwrap();
                let others: Vec<_> = unended.iter().map(|(session, seen, _)| (session, *seen)).collect();
                let limit = Limit { rule: RULE, tag: None, most, origin: Origin::Default };
                let admission = admit(ground, &[limit], mode, &others, user).ok()?;
                for (place, change) in &admission.ended {
                    let (_, seen, version) = unended[*place];
                    stage.session(Some(version), change, seen);
                }
                user = admission.user;
            }
            let made = create(ground, new.clone(), user, &self.draw()).unwrap();
            stage.session(None, &made.change, now);
            stage.user(fence, made.change.user.as_ref().unwrap());
            if stage.commit().await.unwrap() {
                return Some((made.change.session.id, Pair::of(&made.issued)));
            }
        }
    }

    /// Presents a token: a refresh token to have it exchanged, any other to pass.
    pub(super) async fn try_present(&self, text: &str) -> Result<Told, StoreError> {
        let kind = Kind::of(text).unwrap();
        let token = open(kind, ENV, text, &self.rules.keys).ok().unwrap();
        loop {
            let now = self.now();
            let Found { session, seen, version, ledger } = self.load(token.session).await?;
            let (ground, effective) = (self.ground(&ledger, now), self.effective(&session));
            let demand = Demand { can_deliver: true, ..Demand::default() };
            let verdict = if kind == Kind::Refresh {
                judge_refresh(&session, seen, &token, ground.bench(), &effective, demand, now)
            } else {
                judge(&session, seen, &token, ground.bench(), &effective, demand, now)
            };
            let (user, fence) = self.load_user(User::new(session.user.clone())).await?;
            let client = Client::default();
            let done = present(ground, &session, seen, user, &token, &verdict, &client).unwrap();
            let active = if verdict.refusal.is_none() { seen.max(now) } else { seen };
            match &done.change {
                Some(change) => {
                    let mut stage = Stage::new(self, now);
                    stage.change(version, fence, change, active);
                    if !stage.commit().await? {
                        continue;
                    }
                }
                None if active > seen => self.store.touch(&[(session_key(ENV, session.id), now)]).await?,
                None => {}
            }
            return Ok(match verdict.refusal {
                None => Told::Allowed(done.issued.as_ref().map(Pair::of)),
                Some(refusal) => Told::Refused(refusal.code),
            });
        }
    }
    pub(super) async fn present(&self, text: &str) -> Told {
        self.try_present(text).await.unwrap()
    }

    /// Ends a session. Says whether this call did.
    pub(super) async fn revoke(&self, id: SessionId) -> bool {
        self.end(id, |ground, session, seen, user| {
            let living = ground.living(session, seen).ok()?;
            Some(revoke(living, user, By::System, None, Client::default()))
        })
        .await
    }
    /// Writes down what time or an epoch has ended. Says whether this call did.
    pub(super) async fn settle(&self, id: SessionId) -> bool {
        self.end(id, settle).await
    }
    async fn end(
        &self,
        id: SessionId,
        how: impl Fn(Ground<'_>, &Session, Millis, User) -> Option<Change>,
    ) -> bool {
        loop {
            let now = self.now();
            let Found { session, seen, version, ledger } = self.load(id).await.unwrap();
            let (user, fence) = self.load_user(User::new(session.user.clone())).await.unwrap();
            let Some(change) = how(self.ground(&ledger, now), &session, seen, user) else { return false };
            let mut stage = Stage::new(self, now);
            stage.change(version, fence, &change, seen);
            if stage.commit().await.unwrap() {
                return true;
            }
        }
    }
    /// Ends many at once by an epoch.
    pub(super) async fn raise(&self, scope: Scope) {
        loop {
            let found = self.store.load(&[ledger_key(ENV)]).await.unwrap().remove(0);
            let mut ledger = ledger_of(found.as_ref());
            ledger.raise(scope.clone(), self.now(), By::System, None);
            let expect = found.map_or(Expect::Absent, |found| Expect::Version(found.version));
            let mut stage = Stage::new(self, self.now());
            stage.batch.bucket = CONTROL.get();
            stage.batch.ops.push(Op::Put { expect, record: write_ledger(ENV, &ledger, 0) });
            if stage.commit().await.unwrap() {
                return;
            }
        }
    }

    /// All that history has of a session.
    pub(super) async fn story(&self, id: SessionId) -> Vec<Event> {
        let query = EventQuery {
            subject: Some(session_key(ENV, id)),
            env: None,
            after: None,
            since: None,
            limit: 1_000,
        };
        self.store.history(&query).await.unwrap().iter().map(|line| event::read(line).unwrap()).collect()
    }
    /// The user's sessions that nobody has ended, from one snapshot.
    pub(super) async fn living(&self, who: &str) -> Vec<SessionId> {
        let all = self.unended(&login(who, false)).await.unwrap();
        all.into_iter().map(|(session, ..)| session.id).collect()
    }
    /// How many the user's record says there are.
    pub(super) async fn counted(&self, who: &str) -> u32 {
        self.load_user(User::new(login(who, false).user)).await.unwrap().0.live
    }
    /// The gauge of live sessions.
    pub(super) async fn tally(&self) -> i64 {
        let all = self.store.tallies().await.unwrap();
        all.iter().find(|(tally, _)| *tally == live()).map_or(0, |(_, n)| *n)
    }
}

fn live() -> Tally {
    Tally { env: ENV.0, name: "live".into() }
}

fn ledger_of(found: Option<&Versioned>) -> Ledger {
    found.map_or_else(Ledger::default, |found| read_ledger(found).unwrap().0)
}

/// One batch in the making.
struct Stage<'a> {
    small: &'a Small,
    batch: Batch,
}

impl Stage<'_> {
    fn new(small: &Small, at: Millis) -> Stage<'_> {
        let (ops, events, tallies) = (Vec::new(), Vec::new(), Vec::new());
        Stage { small, batch: Batch { bucket: 0, at, ops, events, tallies } }
    }
    /// A session's next state over the version that was seen, its events, and its place among the living.
    fn session(&mut self, before: Option<u64>, change: &Change, seen: Millis) {
        let session = &change.session;
        let due = expiry::ends(session, seen, &self.small.effective(session)).earliest();
        let record = session_record(ENV, session, due, seen, Span::days(30));
        self.batch.bucket = record.bucket;
        self.batch.ops.push(Op::Put { expect: before.map_or(Expect::Absent, Expect::Version), record });
        self.batch.events.extend(change.events.iter().map(|event| new_event(ENV, event)));
        // Changes are made of live sessions only.
        self.batch.tallies.push((live(), i64::from(session.is_live()) - i64::from(before.is_some())));
    }
    fn user(&mut self, expect: Expect, user: &User) {
        let (key, bucket) = (user_key(ENV, &user.id), self.small.rules.keys.bucket(ENV, &user.id));
        self.batch.ops.push(match expect {
            _ if user.is_needed() => Op::Put { expect, record: user_record(ENV, bucket, user) },
            Expect::Version(_) | Expect::Untouched { .. } => Op::Delete { key, expect },
            Expect::Absent => Op::Check { key, expect },
        });
    }
    fn change(&mut self, version: u64, fence: Expect, change: &Change, seen: Millis) {
        self.session(Some(version), change, seen);
        if let Some(user) = &change.user {
            self.user(fence, user);
        }
    }
    /// Whether it went through; if not, somebody else came first.
    async fn commit(self) -> Result<bool, StoreError> {
        match self.small.store.commit(self.batch).await {
            Err(StoreError::Conflict) => Ok(false),
            other => other.map(|()| true),
        }
    }
}
