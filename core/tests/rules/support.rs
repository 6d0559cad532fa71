//! A small world for tests: keys, a policy, a ledger, a clock that is moved by hand, and one way to do each thing.
//! Everything has a default, so that what a test sets is what it is about.

use handstamp_core::epoch::Ledger;
use handstamp_core::id::{EnvironmentId, UserId};
use handstamp_core::judge::{Demand, Verdict, judge, judge_refresh};
use handstamp_core::policy::setting::Every;
use handstamp_core::policy::{Found, Policy, Rules};
use handstamp_core::refusal::{Code, Refusal};
use handstamp_core::rotation::Issued;
use handstamp_core::sealing::DataKey;
use handstamp_core::secret::Secret;
use handstamp_core::session::{By, Client, Session};
use handstamp_core::step_up::{Auth, Level};
use handstamp_core::tag::{Group, Tag};
use handstamp_core::time::{Millis, Span};
use handstamp_core::token::Kind;
use handstamp_core::token::keyring::{Keyring, MasterKey};
use handstamp_core::token::opaque::{Opened, open};
use handstamp_core::transition::create::{NewSession, Proved, create};
use handstamp_core::transition::present::{Presented, present};
use handstamp_core::transition::{Change, Entropy, Ground};
use handstamp_core::user::User;
use std::rc::Rc;

pub(crate) const ENV: EnvironmentId = EnvironmentId(7);
pub(crate) const START: Millis = Millis(1_700_000_000_000);

#[derive(Clone)]
pub(crate) struct World {
    pub(crate) env: EnvironmentId,
    pub(crate) keys: Rc<Keyring>,
    pub(crate) policy: Policy,
    pub(crate) ledger: Ledger,
    pub(crate) data_key: DataKey,
    pub(crate) now: Millis,
    draws: u64,
}

/// A session as an application of the rules keeps it, with its user's record and last activity.
#[derive(Clone)]
pub(crate) struct Held {
    pub(crate) session: Session,
    pub(crate) user: User,
    pub(crate) seen: Millis,
}

/// The texts of one generation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Texts {
    pub(crate) session: String,
    pub(crate) refresh: Option<String>,
}

pub(crate) fn texts(issued: &Issued) -> Texts {
    Texts {
        session: issued.session.reveal().to_owned(),
        refresh: issued.refresh.as_ref().map(|text| text.reveal().to_owned()),
    }
}

pub(crate) fn tag(text: &str) -> Tag {
    Tag::parse(text).unwrap()
}
pub(crate) fn group(text: &str) -> Group {
    Group::parse(text).unwrap()
}
pub(crate) fn user(text: &str) -> UserId {
    UserId::new(text).unwrap()
}
pub(crate) fn code(refusal: Option<&Refusal>) -> Option<Code> {
    refusal.map(|r| r.code)
}
pub(crate) fn ring(current: u8, older: &[u8]) -> Rc<Keyring> {
    Rc::new(Keyring::new(&MasterKey::new([1; 32]), current, older, &Secret::new([9; 32])))
}

/// A plain login, just now.
pub(crate) fn login() -> Proved {
    Proved { auth: Auth { methods: Box::new([]), level: Level::WEAKEST }, at: None }
}

/// A session of `ada` without anything special.
pub(crate) fn plain() -> NewSession {
    NewSession {
        auth: None,
        actor: None,
        user: user("ada"),
        tags: Vec::new(),
        groups: Vec::new(),
        data: None,
        expires_in: None,
        refresh: false,
        client: Client::default(),
        device: None,
        login: None,
        by: By::System,
        idempotency: None,
    }
}

impl World {
    /// Absolute 1 h, idle 10 min, refresh 2 h, rotation after 5 min, grace 1 min.
    pub(crate) fn new() -> World {
        World {
            env: ENV,
            keys: ring(1, &[]),
            policy: Policy::from(Rules {
                absolute_timeout: Some(Span::hours(1)),
                idle_timeout: Some(Span::minutes(10)),
                refresh_timeout: Some(Span::hours(2)),
                rotate_every: Some(Every(Some(Span::minutes(5)))),
                rotation_grace: Some(Span::minutes(1)),
                ..Rules::default()
            }),
            ledger: Ledger::default(),
            data_key: DataKey::new(1, Secret::new([5; 32])),
            now: START,
            draws: 0,
        }
    }

    pub(crate) fn ground(&self) -> Ground<'_> {
        Ground {
            env: self.env,
            policy: &self.policy,
            ledger: &self.ledger,
            keys: &self.keys,
            data_key: &self.data_key,
            now: self.now,
        }
    }

    /// Bytes that never repeat.
    pub(crate) fn draw(&mut self) -> Entropy {
        self.draws += 1;
        let mut bytes = [0; 96];
        for (at, block) in bytes.chunks_mut(8).enumerate() {
            let mixed = (self.draws << 8 | at as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
            block.copy_from_slice(&mixed.to_be_bytes());
        }
        Entropy::new(bytes)
    }

    pub(crate) fn tick(&mut self, span: Span) {
        self.now = self.now.plus(span);
    }

    pub(crate) fn create(&mut self, new: NewSession) -> (Held, Texts) {
        let user = User::new(new.user.clone());
        self.create_for(new, user)
    }

    pub(crate) fn create_for(&mut self, new: NewSession, user: User) -> (Held, Texts) {
        let entropy = self.draw();
        let made = create(self.ground(), new, user, &entropy).unwrap();
        let texts = texts(&made.issued);
        let user = made.change.user.unwrap();
        (Held { session: made.change.session, user, seen: self.now }, texts)
    }

    pub(crate) fn effective(&self, session: &Session) -> Found<'_> {
        self.policy.of(session)
    }

    pub(crate) fn open(&self, text: &str) -> Opened {
        open(Kind::of(text).unwrap(), self.env, text, &self.keys).ok().unwrap()
    }

    pub(crate) fn over(&self, held: &Held) -> Option<Refusal> {
        let effective = self.effective(&held.session);
        handstamp_core::judge::over(&held.session, held.seen, &self.ledger, &effective, self.now)
    }

    /// Only judges: a refresh token as one, everything else as a session token.
    pub(crate) fn verdict(&self, held: &Held, text: &str, demand: Demand<'_>) -> Verdict {
        let (token, bench) = (self.open(text), self.ground().bench());
        let effective = self.effective(&held.session);
        if token.kind == Kind::Refresh {
            // Only who can hand it out exchanges a refresh token.
            let demand = Demand { can_deliver: true, ..demand };
            judge_refresh(&held.session, held.seen, &token, bench, &effective, demand, self.now)
        } else {
            judge(&held.session, held.seen, &token, bench, &effective, demand, self.now)
        }
    }

    /// Judges, carries out, keeps the change; an allowed request is activity.
    pub(crate) fn show(&self, held: &mut Held, text: &str, can_deliver: bool) -> (Verdict, Option<Texts>) {
        let verdict = self.verdict(held, text, Demand { can_deliver, ..Demand::default() });
        let done = self.carry_out(held, text, &verdict);
        if let Some(change) = done.change {
            held.keep(change);
        }
        if verdict.refusal.is_none() {
            held.seen = held.seen.max(self.now);
        }
        (verdict, done.issued.as_ref().map(texts))
    }

    pub(crate) fn carry_out(&self, held: &Held, text: &str, verdict: &Verdict) -> Presented {
        let (user, client) = (held.user.clone(), Client::default());
        present(self.ground(), &held.session, held.seen, user, &self.open(text), verdict, &client).unwrap()
    }
}

impl Held {
    pub(crate) fn keep(&mut self, change: Change) {
        self.session = change.session;
        if let Some(user) = change.user {
            self.user = user;
        }
    }
}

/// Whether the long campaigns run as well: `HANDSTAMP_TEST_FULL=1`.
#[expect(clippy::disallowed_methods, reason = "how long a test runs is chosen by whoever runs it")]
pub(crate) fn full() -> bool {
    std::env::var("HANDSTAMP_TEST_FULL").is_ok_and(|value| value == "1")
}
