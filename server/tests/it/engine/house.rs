//! What an engine's test stands on: a service over any store, a clock that the test moves, random bytes from a seed, and
//! short words for the verbs.

use crate::front::Front;
use async_trait::async_trait;
use handstamp_core::agent::hints::Hints;
use handstamp_core::environment::EnvironmentName;
use handstamp_core::id::{SessionId, UserId};
use handstamp_core::jose::key::Algorithm;
use handstamp_core::policy::setting::Every;
use handstamp_core::policy::{Policy, Rules};
use handstamp_core::refusal::Code;
use handstamp_core::session::Client;
use handstamp_core::tag::Tag;
use handstamp_core::time::{Millis, Span};
use handstamp_core::token::Kind;
use handstamp_core::token::access_key::Parts;
use handstamp_core::token::keyring::MasterKey;
use handstamp_server::app::access_tokens::Makers;
use handstamp_server::app::callers::{Caller, root_key};
use handstamp_server::app::create::{Create, Made};
use handstamp_server::app::end::{Revoke, Revoked, Target};
use handstamp_server::app::open::{OpenError, Setup};
use handstamp_server::app::origins::FileOrigins;
use handstamp_server::app::search::{Filter, Which};
use handstamp_server::app::spared::Except;
use handstamp_server::app::update::Update;
use handstamp_server::app::validate::{Ask, Validated};
use handstamp_server::app::view::View;
use handstamp_server::app::{App, Fault, Stop};
use handstamp_server::host::clock::ManualClock;
use handstamp_server::host::entropy::{Entropy, SeededEntropy};
use handstamp_server::store::faulty::{self, Call, Faulty, Gate};
use handstamp_server::store::{Batch, Store, StoreError};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

pub(crate) const NOW: Millis = Millis(1_790_000_000_000);
pub(crate) const MASTER: [u8; 32] = [7; 32];
const KEY: ([u8; 16], [u8; 32]) = ([1; 16], [2; 32]);

/// A service and what drives it.
#[derive(Clone)]
pub(crate) struct House {
    pub(crate) app: Arc<App>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) store: Arc<dyn Store>,
}

/// What may be chosen; the rest is as it always is.
#[derive(Clone)]
pub(crate) struct Plan {
    pub(crate) policy: Policy,
    pub(crate) cache_bytes: u64,
    pub(crate) seed: u64,
    /// The policy is nobody's, and is said over the API: `policy` is not looked at.
    pub(crate) said: bool,
}

impl Default for Plan {
    fn default() -> Plan {
        Plan { policy: Policy::default(), cache_bytes: 8 << 20, seed: 1, said: false }
    }
}

impl Plan {
    pub(crate) fn idle(idle: Span) -> Plan {
        Plan {
            policy: Policy::from(Rules { idle_timeout: Some(idle), ..Rules::default() }),
            ..Plan::default()
        }
    }
    /// The same with room for any number of sessions of one user, for a test that is not about their number.
    pub(crate) fn roomy(self) -> Plan {
        let policy = self.policy.with(|rules| rules.max_sessions = Some(Policy::COUNT));
        Plan { policy, ..self }
    }
    pub(crate) fn rotating(every: Span, grace: Span) -> Plan {
        let policy = Policy::from(Rules {
            rotate_every: Some(Every(Some(every))),
            rotation_grace: Some(grace),
            ..Rules::default()
        });
        Plan { policy, ..Plan::default() }
    }
}

/// What a validation said.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Said {
    Allowed(Option<String>),
    Refused(Code),
}

impl House {
    pub(crate) async fn new(store: Arc<dyn Store>, plan: Plan) -> House {
        House::at(store, Arc::new(ManualClock::new(NOW)), plan).await
    }

    pub(crate) async fn at(store: Arc<dyn Store>, clock: Arc<ManualClock>, plan: Plan) -> House {
        Box::pin(House::try_at(store, clock, plan)).await.unwrap()
    }

    /// The same where it may not be possible.
    pub(crate) async fn reopened(&self) -> Result<House, OpenError> {
        Box::pin(House::try_at(self.store.clone(), self.clock.clone(), Plan::default())).await
    }

    async fn try_at(store: Arc<dyn Store>, clock: Arc<ManualClock>, plan: Plan) -> Result<House, OpenError> {
        let entropy = Arc::new(SeededEntropy::new(plan.seed));
        Box::pin(House::made_of(store, clock, entropy, plan)).await
    }

    /// With random bytes that the test gives.
    pub(crate) async fn drawing(store: Arc<dyn Store>, entropy: Arc<dyn Entropy>) -> House {
        let clock = Arc::new(ManualClock::new(NOW));
        Box::pin(House::made_of(store, clock, entropy, Plan::default())).await.unwrap()
    }

    async fn made_of(
        store: Arc<dyn Store>,
        clock: Arc<ManualClock>,
        entropy: Arc<dyn Entropy>,
        plan: Plan,
    ) -> Result<House, OpenError> {
        let setup = Setup {
            store: store.clone(),
            clock: clock.clone(),
            entropy,
            master: MasterKey::new(MASTER),
            policy: (!plan.said).then_some(plan.policy),
            types: None,
            origins: FileOrigins::default(),
            tokens: Makers { issuer: None, algorithm: Algorithm::EdDsa },
            cache_bytes: plan.cache_bytes,
            retention: Span::days(30),
        };
        let (app, _) = App::open(setup, || Ok(Parts::new(Kind::AccessKey, KEY.0, KEY.1))).await?;
        Ok(House { app: Arc::new(app), clock, store })
    }

    /// The same store after the process died: nothing is written that was not.
    pub(crate) async fn after_crash(&self, plan: Plan) -> House {
        House::at(self.store.clone(), self.clock.clone(), Plan { seed: plan.seed + 1_000, ..plan }).await
    }

    pub(crate) fn now(&self) -> Millis {
        self.app.now()
    }
    pub(crate) fn pass(&self, span: Span) {
        self.clock.advance(span);
    }

    /// The holder of the first access key.
    pub(crate) fn caller(&self) -> Caller {
        let key = Parts::new(Kind::AccessKey, KEY.0, KEY.1).text();
        self.app.caller(Some(key.reveal()), None).ok().unwrap()
    }
    /// The operator, in an environment.
    pub(crate) fn operator(&self, env: &str) -> Caller {
        let key = root_key(&MasterKey::new(MASTER)).text();
        self.app.caller(Some(key.reveal()), Some(env)).ok().unwrap()
    }
    pub(crate) async fn environment(&self, name: &str) -> Caller {
        let name = EnvironmentName::parse(name).unwrap();
        let made = self.app.create_environment(&self.operator("default/prd"), name.clone()).await;
        assert!(made.is_ok());
        self.operator(&name.to_string())
    }

    pub(crate) async fn make(&self, ask: Create) -> Result<Made, Stop> {
        self.app.create(&self.caller(), ask).await
    }
    /// A session that is made without an accident.
    pub(crate) async fn create(&self, user: &str, tags: &[&str]) -> (SessionId, String) {
        let made = good(self.make(asked(user, tags)).await);
        (made.view.session().id, made.given.token().unwrap().to_owned())
    }
    pub(crate) async fn try_validate(&self, token: &str, rotate: bool, strong: bool) -> Result<Said, Stop> {
        let ask = Ask { token, rotate, touch: true, strong, ..Ask::default() };
        Ok(match self.app.validate(&self.caller().env, ask).await? {
            Validated::Current(_) => Said::Allowed(None),
            Validated::Allowed { issued, .. } => Said::Allowed(issued.map(|i| i.session.reveal().to_owned())),
            Validated::Refused { refusal, .. } => Said::Refused(refusal.code),
        })
    }
    pub(crate) async fn validate(&self, token: &str) -> Said {
        good(self.try_validate(token, false, false).await)
    }
    pub(crate) async fn rotate(&self, token: &str) -> Said {
        good(self.try_validate(token, true, false).await)
    }
    pub(crate) async fn end(&self, id: SessionId) -> Result<bool, Stop> {
        self.app.end(&self.caller(), id, None, None).await
    }
    pub(crate) async fn revoke(&self, target: Target, except: Option<Except>) -> Result<Revoked, Stop> {
        let ask = Revoke { target, except, dry_run: false, reason: Some("test".into()) };
        self.app.revoke(&self.caller(), &ask).await
    }
    pub(crate) async fn revoke_user(&self, user: &str) -> Result<Revoked, Stop> {
        self.revoke(Target::Filter(of_user(user)), None).await
    }
    pub(crate) async fn update(&self, id: SessionId, ask: &Update) -> Result<View, Stop> {
        self.app.update(&self.caller(), id, ask).await.map(|done| done.view)
    }
    pub(crate) async fn get(&self, id: SessionId) -> View {
        good(self.app.get(&self.caller(), id).await)
    }
    /// All ids of a filter, page by page.
    pub(crate) async fn found(&self, filter: &Filter) -> Vec<SessionId> {
        let mut ids = Vec::new();
        let mut cursor = None;
        loop {
            let page = good(self.app.search(&self.caller(), filter, 50, cursor.as_deref()).await);
            ids.extend(page.items.iter().map(|view| view.session().id));
            match page.next {
                None => return ids,
                next => cursor = next,
            }
        }
    }
    /// The gauge of live sessions.
    pub(crate) async fn tally(&self, name: &str) -> i64 {
        let env = self.caller().env.record.id.0;
        let all = self.store.tallies().await.unwrap();
        all.iter().find(|(tally, _)| tally.env == env && &*tally.name == name).map_or(0, |(_, n)| *n)
    }
    /// Rounds of housekeeping until nothing is left to do.
    pub(crate) async fn tidy(&self) {
        for _ in 0..3 {
            good(self.app.flush_activity().await.map_err(Stop::from));
            good(self.app.tidy().await);
        }
    }
}

pub(crate) fn user(text: &str) -> UserId {
    UserId::new(text).unwrap()
}

pub(crate) fn tags(texts: &[&str]) -> Vec<Tag> {
    texts.iter().map(|text| Tag::parse(text).ok().unwrap()).collect()
}

pub(crate) fn asked(of: &str, with: &[&str]) -> Create {
    Create {
        auth: None,
        actor: None,
        user: Some(user(of)),
        tags: tags(with),
        groups: Vec::new(),
        data: None,
        expires_in: None,
        refresh: false,
        client: Client::default(),
        hints: Hints::default(),
        idempotency: None,
        device: None,
        login: None,
        access: None,
    }
}

pub(crate) fn of_user(text: &str) -> Filter {
    Filter { user: Some(user(text)), ..Filter::default() }
}
pub(crate) fn of_tag(text: &str) -> Filter {
    Filter { tags: tags(&[text]), ..Filter::default() }
}
pub(crate) fn in_state(which: Which, filter: Filter) -> Filter {
    Filter { which, ..filter }
}

pub(crate) fn good<T>(result: Result<T, Stop>) -> T {
    match result {
        Ok(value) => value,
        Err(stop) => panic!("{}", why(&stop)),
    }
}

pub(crate) fn why(stop: &Stop) -> String {
    match stop {
        Stop::Refused(refused) => format!("refused: {}", refused.refusal.code.text()),
        Stop::Fault(fault) => format!("fault: {fault}"),
    }
}

pub(crate) fn is_fault<T>(result: &Result<T, Stop>) -> bool {
    matches!(result, Err(Stop::Fault(Fault::Store(StoreError::Unavailable(_)))))
}

/// A store whose commits go on when the caller does not wait any more, as those of a real one do; each waits for the
/// gate.
pub(crate) struct Detached {
    pub(crate) inner: Arc<dyn Store>,
    pub(crate) gate: Gate2,
    /// How many commits came too late.
    pub(crate) conflicts: Arc<AtomicU32>,
}

/// A gate that can be shut again.
#[derive(Clone, Default)]
pub(crate) struct Gate2(Arc<std::sync::Mutex<Option<Gate>>>);

impl Gate2 {
    /// Commits from now on wait for the gate that is returned.
    pub(crate) fn shut(&self) -> Gate {
        let gate = Gate::default();
        *self.0.lock().unwrap() = Some(gate.clone());
        gate
    }
    pub(crate) fn stay_open(&self) {
        *self.0.lock().unwrap() = None;
    }
}

#[async_trait]
impl Front for Detached {
    fn inner(&self) -> &dyn Store {
        self.inner.as_ref()
    }
    async fn commit(&self, batch: Batch) -> Result<(), StoreError> {
        let (inner, gate) = (self.inner.clone(), self.gate.0.lock().unwrap().clone());
        let faulty = Faulty::new(inner);
        if let Some(gate) = gate {
            faulty.plan(Call::Commit, [faulty::Fault::Hold(gate)]);
        }
        let outcome = tokio::spawn(async move { faulty.commit(batch).await }).await.unwrap();
        self.conflicts.fetch_add(u32::from(outcome == Err(StoreError::Conflict)), Ordering::Relaxed);
        outcome
    }
}
