//! Runs commands through the rules and through the model at once, keeps every token ever issued, and compares after
//! each step: answers, endings, counts, and that one text stands for each generation.

use crate::model::{Answer, Login, Model, Rules, Whom};
use crate::support::{Held, Texts, World, code, login, plain, tag, texts, user};
use handstamp_core::epoch::Scope;
use handstamp_core::judge::Effect;
use handstamp_core::refusal::Code;
use handstamp_core::session::{By, Client, State};
use handstamp_core::time::{Millis, Span};
use handstamp_core::token::Kind;
use handstamp_core::token::opaque::open;
use handstamp_core::transition::create::NewSession;
use handstamp_core::transition::finish::{revoke, settle};
use handstamp_core::transition::update::{Patch, authenticate, update};
use handstamp_core::user::User;
use std::collections::BTreeMap;
use std::rc::Rc;

/// A token that was issued once: of which login, which kind, which generation.
#[derive(Clone)]
pub(crate) struct Token {
    pub(crate) login: usize,
    pub(crate) kind: Kind,
    pub(crate) generation: usize,
    pub(crate) text: Rc<str>,
}

#[derive(Clone)]
pub(crate) struct Machine {
    pub(crate) world: World,
    pub(crate) model: Model,
    pub(crate) held: Vec<Held>,
    pub(crate) tokens: Vec<Token>,
    users: BTreeMap<u8, User>,
}

pub(crate) fn rules(world: &World) -> Rules {
    let p = world.policy.of_tags([]);
    Rules {
        absolute: p.absolute_timeout.value.0,
        idle: p.idle_timeout.value.0,
        refresh: p.refresh_timeout.value.0,
        every: p.rotate_every.value.0.map(|s| s.0),
        grace: p.rotation_grace.value.0,
    }
}
fn name(user: u8) -> String {
    format!("user-{user}")
}
fn label(n: u8) -> String {
    format!("t:{n}")
}

impl Machine {
    pub(crate) fn new(world: World) -> Machine {
        let model = Model::new(world.now.0, rules(&world));
        Machine { world, model, held: Vec::new(), tokens: Vec::new(), users: BTreeMap::new() }
    }

    pub(crate) fn go_to(&mut self, at: i64) {
        let at = at.max(self.world.now.0);
        self.world.now = Millis(at);
        self.model.now = at;
    }

    pub(crate) fn follow_policy(&mut self) {
        self.model.set_rules(rules(&self.world));
    }

    pub(crate) fn create(&mut self, of: u8, refresh: bool, own: Option<i64>, tags: &[u8]) -> usize {
        let new = NewSession {
            user: user(&name(of)),
            tags: tags.iter().map(|n| tag(&label(*n))).collect(),
            refresh,
            expires_in: own.map(Span),
            ..plain()
        };
        let record = self.users.remove(&of).unwrap_or_else(|| User::new(user(&name(of))));
        let (held, texts) = self.world.create_for(new, record);
        self.users.insert(of, held.user.clone());
        self.held.push(held);
        let n = self.model.create(of, refresh, own, tags);
        self.issued(n, 0, texts);
        n
    }

    /// One text for each generation: the first time it is kept, every other time it must be the same.
    fn issued(&mut self, login: usize, generation: usize, texts: Texts) {
        assert_eq!(texts.refresh.is_some(), self.model.logins[login].refresh);
        let pair = [(Kind::Session, Some(texts.session)), (Kind::Refresh, texts.refresh)];
        for (kind, text) in pair.into_iter().filter_map(|(kind, text)| Some((kind, text?))) {
            let opened = self.world.open(&text);
            assert_eq!(opened.session, self.held[login].session.id);
            assert_eq!(usize::try_from(opened.generation).unwrap(), generation);
            let known =
                self.tokens.iter().find(|t| t.login == login && t.kind == kind && t.generation == generation);
            match known {
                Some(known) => assert_eq!(*known.text, *text, "one chain, never a fork"),
                None => self.tokens.push(Token { login, kind, generation, text: text.into() }),
            }
        }
    }

    fn keep(&mut self, login: usize, change: handstamp_core::transition::Change) {
        let of = self.model.logins[login].user;
        if let Some(user) = change.user.clone() {
            self.users.insert(of, user);
        }
        self.held[login].keep(change);
    }

    /// Presents a token; what came out.
    pub(crate) fn present(&mut self, token: &Token, can_deliver: bool) -> Answer {
        let Token { login: n, kind, generation, text } = token.clone();
        self.held[n].user = self.users[&self.model.logins[n].user].clone();
        let allowed = self.model.answers(n, kind, generation, can_deliver);
        let live_before = self.held[n].session.is_live();
        let mut held = self.held[n].clone();
        let (verdict, issued) = self.world.show(&mut held, &text, can_deliver);
        let of = self.model.logins[n].user;
        self.users.insert(of, held.user.clone());
        self.held[n] = held;
        let answer = match (&verdict.refusal, &issued) {
            (Some(refusal), None) => Answer::Refused(refusal.code),
            (None, issued) => Answer::Allowed(
                issued
                    .as_ref()
                    .map(|texts| usize::try_from(self.world.open(&texts.session).generation).unwrap()),
            ),
            (Some(_), Some(_)) => panic!("refused, and still credentials were given"),
        };
        assert!(
            allowed.contains(&answer),
            "{kind:?} of generation {generation}: {answer:?}, expected {allowed:?}; {:?}",
            self.model.logins[n]
        );
        if !live_before {
            assert_eq!((verdict.effect, verdict.adopt), (Effect::Nothing, false), "ended is terminal");
        }
        self.model.presented(n, kind, generation, answer);
        if let (Answer::Allowed(Some(given)), Some(texts)) = (answer, issued) {
            self.issued(n, given, texts);
        }
        answer
    }

    pub(crate) fn authenticate(&mut self, n: usize) {
        let entropy = self.world.draw();
        let held = &self.held[n];
        match self.world.ground().living(&held.session, held.seen) {
            Err(refusal) => assert_eq!(Some(refusal.code), self.model.over(n).map(|o| o.0)),
            Ok(living) => {
                assert_eq!(self.model.over(n), None, "what is over does not come back");
                let (change, issued) =
                    authenticate(living, login(), &Client::default(), By::System, &entropy).unwrap().unwrap();
                self.keep(n, change);
                self.held[n].seen = self.world.now;
                self.model.authenticate(n);
                let newest = self.model.newest(n);
                assert!(!self.tokens.iter().any(|t| t.login == n && t.generation == newest));
                self.issued(n, newest, texts(&issued));
            }
        }
    }

    pub(crate) fn patch(&mut self, n: usize, add: Option<u8>, remove: Option<u8>, extend: bool) {
        let entropy = self.world.draw();
        let held = &self.held[n];
        let Ok(living) = self.world.ground().living(&held.session, held.seen) else {
            assert!(self.model.over(n).is_some());
            return;
        };
        assert_eq!(self.model.over(n), None);
        let tags = |t: Option<u8>| t.into_iter().map(|n| tag(&label(n))).collect();
        let patch = Patch { add_tags: tags(add), remove_tags: tags(remove), extend, ..Patch::default() };
        let change = update(living, &patch, By::System, &entropy).unwrap().unwrap();
        self.keep(n, change);
        if extend {
            self.held[n].seen = self.world.now;
        }
        self.model.patch(n, add, remove, extend);
    }

    /// By a caller, or by the client with any token of whatever generation.
    pub(crate) fn end(&mut self, n: usize) {
        let of = self.model.logins[n].user;
        let held = &self.held[n];
        let done = self
            .world
            .ground()
            .living(&held.session, held.seen)
            .ok()
            .map(|living| revoke(living, self.users[&of].clone(), By::Client, None, Client::default()));
        assert_eq!(done.is_some(), self.model.end(n, Code::SessionRevoked));
        if let Some(change) = done {
            self.keep(n, change);
        }
    }

    pub(crate) fn raise(&mut self, whom: Whom) {
        let scope = match &whom {
            Whom::All => Scope::All,
            Whom::User(of) => Scope::User(user(&name(*of))),
            Whom::Tags(tags) => Scope::Tags(tags.iter().map(|n| tag(&label(*n))).collect()),
        };
        self.world.ledger.raise(scope, self.world.now, By::System, None);
        self.model.raise(whom);
    }

    /// Housekeeping comes by.
    pub(crate) fn settle(&mut self, n: usize) {
        let of = self.model.logins[n].user;
        let (over, written) = (self.model.over(n), self.model.logins[n].ended.is_some());
        let held = &self.held[n];
        let change = settle(self.world.ground(), &held.session, held.seen, self.users[&of].clone());
        assert_eq!(change.is_some(), over.is_some() && !written);
        if let Some(change) = change {
            self.keep(n, change);
            self.model.logins[n].ended = over;
        }
    }

    /// A text that is no token, or a token where it does not belong, changes nothing and opens nothing.
    pub(crate) fn garbage(&self, token: &Token, at: usize, to: u8) {
        let mut bytes = token.text.as_bytes().to_vec();
        let at = at % bytes.len();
        bytes[at] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_"[usize::from(to) % 63];
        let changed = String::from_utf8(bytes).unwrap();
        if *changed != *token.text {
            for kind in [Kind::Session, Kind::Refresh] {
                assert!(open(kind, self.world.env, &changed, &self.world.keys).is_err());
            }
        }
        let elsewhere = handstamp_core::id::EnvironmentId(self.world.env.0 ^ 1);
        assert!(open(token.kind, elsewhere, &token.text, &self.world.keys).is_err());
        for (n, held) in self.held.iter().enumerate().filter(|(n, _)| *n != token.login) {
            let verdict = self.world.verdict(held, &token.text, Default::default());
            assert_eq!(code(verdict.refusal.as_ref()), Some(Code::SessionNotFound), "{n}");
            assert_eq!(verdict.effect, Effect::StoreBehind);
            assert!(self.world.carry_out(held, &token.text, &verdict).change.is_none());
        }
    }

    /// Sessions that were ended because a stolen token was presented.
    pub(crate) fn thefts(&self) -> usize {
        let stolen = |login: &&Login| login.ended.is_some_and(|(code, _)| code == Code::TokenReused);
        self.model.logins.iter().filter(stolen).count()
    }

    /// What must hold after every step.
    pub(crate) fn check(&self) {
        for (n, held) in self.held.iter().enumerate() {
            let expected = self.model.over(n);
            let told = self.world.over(held);
            assert_eq!(code(told.as_ref()), expected.map(|o| o.0), "{:?}", self.model.logins[n]);
            let of = &self.users[&self.model.logins[n].user];
            let settled = settle(self.world.ground(), &held.session, held.seen, of.clone());
            let end = settled.as_ref().map_or(&held.session.state, |change| &change.session.state);
            match end {
                State::Live => assert_eq!(expected, None),
                State::Ended(end) => assert_eq!(Some((end.code, end.at.0)), expected),
            }
            if let Some(change) = &settled {
                let ground = self.world.ground();
                let effective = self.world.effective(&held.session);
                let after = handstamp_core::judge::over(
                    &change.session,
                    held.seen,
                    ground.ledger,
                    &effective,
                    ground.now,
                );
                assert_eq!(after, told, "the same words once it is written down");
            }
        }
        for (of, record) in &self.users {
            let live = u32::try_from(self.model.live(*of)).unwrap();
            assert!(record.live >= live, "{} counted, {live} live", record.live);
        }
    }

    /// Once housekeeping has come by everywhere, the counts are exact.
    pub(crate) fn finish(&mut self) {
        for n in 0..self.held.len() {
            self.settle(n);
        }
        self.check();
        for (of, record) in &self.users {
            assert_eq!(record.live, u32::try_from(self.model.live(*of)).unwrap());
        }
    }
}
