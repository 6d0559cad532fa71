//! A small model of the rules, written from the text of the design and not from the code: it keeps every generation
//! with the instant of its first presentation, and the order in which things happened, and asks the text's questions of
//! that. Tests run histories through both and compare.

use handstamp_core::refusal::Code;
use handstamp_core::token::Kind;
use std::collections::BTreeMap;

/// The policy, in milliseconds.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    pub(crate) absolute: i64,
    pub(crate) idle: i64,
    pub(crate) refresh: i64,
    pub(crate) every: Option<i64>,
    pub(crate) grace: i64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Made {
    First,
    Timer,
    Refresh,
    Authentication,
}

#[derive(Clone, Debug)]
pub(crate) struct Generation {
    by: Made,
    at: i64,
    presented: Option<i64>,
}

#[derive(Clone, Debug)]
pub(crate) struct Login {
    pub(crate) user: u8,
    pub(crate) refresh: bool,
    own: Option<i64>,
    authenticated: i64,
    pub(crate) seen: i64,
    stored: (i64, i64),
    generations: Vec<Generation>,
    pub(crate) ended: Option<(Code, i64)>,
    /// At which step of the history it was made, and got each tag.
    born: u64,
    pub(crate) tags: BTreeMap<u8, u64>,
    /// More first presentations within one grace than are kept apart: theft may be told up to a grace later.
    crowded: bool,
}

#[derive(Clone, Debug)]
pub(crate) enum Whom {
    All,
    User(u8),
    Tags(Vec<u8>),
}

/// What is answered to a presented token; allowed perhaps with credentials of a generation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Answer {
    Allowed(Option<usize>),
    Refused(Code),
}

#[derive(Clone)]
pub(crate) struct Model {
    pub(crate) now: i64,
    pub(crate) rules: Rules,
    pub(crate) logins: Vec<Login>,
    tightest_grace: i64,
    step: u64,
    raises: Vec<(u64, i64, Whom)>,
}

impl Model {
    pub(crate) fn new(now: i64, rules: Rules) -> Model {
        let tightest_grace = rules.grace;
        Model { now, rules, logins: Vec::new(), tightest_grace, step: 0, raises: Vec::new() }
    }

    fn next_step(&mut self) -> u64 {
        self.step += 1;
        self.step
    }

    pub(crate) fn set_rules(&mut self, rules: Rules) {
        self.tightest_grace = self.tightest_grace.min(rules.grace);
        self.rules = rules;
    }

    /// What the policy says today: the creation may only shorten.
    fn today(&self, login: &Login) -> (i64, i64) {
        let life = if login.refresh { self.rules.refresh } else { self.rules.absolute };
        (login.own.map_or(life, |own| own.min(life)), self.rules.idle)
    }

    pub(crate) fn create(&mut self, user: u8, refresh: bool, own: Option<i64>, tags: &[u8]) -> usize {
        let born = self.next_step();
        let mut login = Login {
            user,
            refresh,
            own,
            authenticated: self.now,
            seen: self.now,
            stored: (0, 0),
            generations: vec![Generation { by: Made::First, at: self.now, presented: None }],
            ended: None,
            born,
            tags: tags.iter().map(|tag| (*tag, born)).collect(),
            crowded: false,
        };
        login.stored = self.today(&login);
        self.logins.push(login);
        self.logins.len() - 1
    }

    pub(crate) fn raise(&mut self, whom: Whom) {
        let step = self.next_step();
        self.raises.push((step, self.now, whom));
    }

    /// Why and since when a login is over.
    pub(crate) fn over(&self, n: usize) -> Option<(Code, i64)> {
        let login = &self.logins[n];
        if login.ended.is_some() {
            return login.ended;
        }
        let (absolute, idle) = self.ends(n);
        let time = (absolute.min(idle) <= self.now).then(|| {
            let code = if idle < absolute { Code::SessionIdle } else { Code::SessionExpired };
            (code, absolute.min(idle).max(login.seen))
        });
        let raise = self.raises.iter().find(|(step, _, whom)| {
            *step > login.born
                && match whom {
                    Whom::All => true,
                    Whom::User(user) => *user == login.user,
                    Whom::Tags(tags) => {
                        tags.iter().all(|tag| login.tags.get(tag).is_some_and(|since| since < step))
                    }
                }
        });
        let raised = raise.map(|(_, when, _)| (Code::SessionRevoked, *when));
        match (time, raised) {
            (Some(time), Some(raised)) => Some(if raised.1 < time.1 { raised } else { time }),
            (time, raised) => time.or(raised),
        }
    }

    /// The earlier of what is stored and what today's policy says: by absolute time, by idle time.
    pub(crate) fn ends(&self, n: usize) -> (i64, i64) {
        let login = &self.logins[n];
        let (absolute, idle) = self.today(login);
        (login.authenticated + absolute.min(login.stored.0), login.seen + idle.min(login.stored.1))
    }

    pub(crate) fn newest(&self, n: usize) -> usize {
        self.logins[n].generations.len() - 1
    }

    /// When the newest was made, and the first presentation of a generation after `k`.
    pub(crate) fn made_at(&self, n: usize) -> i64 {
        self.logins[n].generations[self.newest(n)].at
    }
    pub(crate) fn later_presented(&self, n: usize, k: usize) -> Option<i64> {
        self.logins[n].generations.iter().skip(k + 1).filter_map(|g| g.presented).min()
    }

    /// What may be answered when `kind` of generation `k` is presented: the text's answer first, and after it what the
    /// documented bounds of the record allow instead.
    pub(crate) fn answers(&self, n: usize, kind: Kind, k: usize, can_deliver: bool) -> Vec<Answer> {
        if let Some((code, _)) = self.over(n) {
            return vec![Answer::Refused(code)];
        }
        let login = &self.logins[n];
        let newest = self.newest(n);
        if k == newest {
            let due = match kind {
                Kind::Refresh => true,
                _ => {
                    can_deliver
                        && !login.refresh
                        && self.rules.every.is_some_and(|every| self.now - self.made_at(n) >= every)
                }
            };
            return vec![Answer::Allowed(due.then_some(newest + 1))];
        }
        let by = login.generations[newest].by;
        let leads = k + 1 == newest
            && matches!((kind, by), (Kind::Session, Made::Timer) | (Kind::Refresh, Made::Refresh));
        let late = if leads {
            Answer::Allowed((can_deliver || kind == Kind::Refresh).then_some(newest))
        } else {
            Answer::Refused(Code::TokenSuperseded)
        };
        let stolen = Answer::Refused(Code::TokenReused);
        let Some(first) = self.later_presented(n, k) else {
            return vec![late];
        };
        let ago = self.now - first;
        let is_late = ago < self.rules.grace;
        let mut all = vec![if is_late { late } else { stolen }];
        if is_late && ago >= self.tightest_grace {
            all.push(stolen); // it was stolen once, and a looser grace does not forgive
        }
        if !is_late && login.crowded && ago < 2 * self.rules.grace {
            all.push(late);
        }
        all
    }

    /// Follows the answer that was given.
    pub(crate) fn presented(&mut self, n: usize, kind: Kind, k: usize, answer: Answer) {
        let over = self.over(n);
        let (now, newest) = (self.now, self.newest(n));
        let today = self.today(&self.logins[n]);
        let login = &mut self.logins[n];
        if over.is_some() {
            login.ended = over; // a refusal by time or epoch is written down
            return;
        }
        if answer == Answer::Refused(Code::TokenReused) {
            login.ended = Some((Code::TokenReused, now));
            return;
        }
        login.generations[k].presented.get_or_insert(now);
        let recent =
            login.generations.iter().filter(|g| g.presented.is_some_and(|at| now - at <= self.rules.grace));
        login.crowded |= recent.count() > 8;
        if let Answer::Allowed(given) = answer {
            login.seen = now;
            login.stored = (login.stored.0.max(today.0), login.stored.1.max(today.1));
            if given == Some(newest + 1) {
                let by = if kind == Kind::Refresh { Made::Refresh } else { Made::Timer };
                login.generations.push(Generation { by, at: now, presented: None });
            }
        }
    }

    /// The user authenticates again; only of a login that is alive.
    pub(crate) fn authenticate(&mut self, n: usize) {
        let today = self.today(&self.logins[n]);
        let now = self.now;
        let login = &mut self.logins[n];
        (login.authenticated, login.seen, login.stored) = (now, now, today);
        login.generations.push(Generation { by: Made::Authentication, at: now, presented: None });
    }

    /// Tags change, or the idle time restarts; only of a login that is alive.
    pub(crate) fn patch(&mut self, n: usize, add: Option<u8>, remove: Option<u8>, extend: bool) {
        let step = self.next_step();
        let today = self.today(&self.logins[n]);
        let now = self.now;
        let login = &mut self.logins[n];
        if let Some(tag) = remove.filter(|tag| add != Some(*tag)) {
            login.tags.remove(&tag);
        }
        if let Some(tag) = add {
            login.tags.entry(tag).or_insert(step);
        }
        login.stored = (login.stored.0.max(today.0), login.stored.1.max(today.1));
        if extend {
            login.seen = now;
        }
    }

    /// Whether it ended by this.
    pub(crate) fn end(&mut self, n: usize, code: Code) -> bool {
        if self.over(n).is_some() {
            return false;
        }
        self.logins[n].ended = Some((code, self.now));
        true
    }

    pub(crate) fn live(&self, user: u8) -> usize {
        (0..self.logins.len()).filter(|n| self.logins[*n].user == user && self.over(*n).is_none()).count()
    }
}
