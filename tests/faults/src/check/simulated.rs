//! Good histories: a small model of the service, with nodes that answer from memory for up to a spread, answers that get
//! lost, and a node that loses its store. Each call takes effect at one moment between its beginning and its end.

use crate::history::{
    Answer, Call, Cut, Follower, Heard, History, Limit, Micros, Name, Operation, Promises, Scope, Token,
};
use crate::random::Random;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

pub(super) const NODES: usize = 3;
const CLIENTS: usize = 12;
pub(super) const SECONDS: Micros = 1_000_000;

struct Kept {
    name: Name,
    user: Name,
    tags: Vec<Name>,
    /// Token of each generation, and when it was first presented.
    chain: Vec<(Token, Option<Micros>)>,
    ended: Option<(Micros, usize, &'static str)>,
    /// Nodes that have seen the end, and do not forget it.
    seen: [bool; NODES],
    /// How many of the chain some client was told of; none while the creation is not acknowledged.
    known: usize,
}

struct Model {
    random: Random,
    sessions: Vec<Kept>,
    rules: Vec<(Micros, usize, bool)>,
    keys: Vec<Option<(Micros, usize)>>,
    /// What the feed has to tell.
    log: Vec<(Micros, Scope)>,
    cut: Cut,
    tokens: u64,
    promises: Promises,
}

/// A good history of twelve clients, made from a seed.
pub(super) fn good(seed: u64) -> History {
    let mut random = Random::new(seed);
    let mut promises = Promises { grace: 2 * SECONDS, doubt: 0, ..Promises::default() };
    promises.limits.insert("limit:reject".into(), Limit { most: 2, rejects: true });
    promises.limits.insert("limit:evict".into(), Limit { most: 2, rejects: false });
    promises.seats.insert("org:seats".into(), Limit { most: 3, rejects: false });
    let from = random.below(3 * SECONDS);
    let cut = Cut { node: random.index(NODES), from, to: from + 3 * SECONDS };
    let keys = vec![None; 4];
    let rules = vec![(0, 0, true)];
    let mut model = Model {
        random,
        sessions: Vec::new(),
        rules,
        keys,
        log: Vec::new(),
        cut: cut.clone(),
        tokens: 0,
        promises,
    };
    let mut operations = Vec::new();
    // Each client is about to begin, or to take effect, or to get its answer.
    let mut waiting: BinaryHeap<Reverse<(Micros, usize)>> =
        (0..CLIENTS).map(|client| Reverse((0, client))).collect();
    let mut doing: Vec<Option<(Operation, bool, usize)>> = (0..CLIENTS).map(|_| None).collect();
    while let Some(Reverse((now, client))) = waiting.pop() {
        let pause = 1 + model.random.below(40_000);
        match doing[client].take() {
            None if now > 6 * SECONDS => continue,
            None => {
                let (call, of) = model.ask(client, now);
                let node = model.random.index(NODES);
                let asked = Operation { node, begun: now, ended: 0, call, answer: Answer::Lost };
                doing[client] = Some((asked, false, of));
            }
            Some((mut operation, false, of)) => {
                operation.answer = model.act(now, &operation, of);
                doing[client] = Some((operation, true, of));
            }
            Some((mut operation, true, of)) => {
                operation.ended = now;
                if model.random.chance(8) {
                    operation.answer = Answer::Lost;
                }
                model.told(&operation, of);
                operations.push(operation);
            }
        }
        waiting.push(Reverse((now + pause, client)));
    }
    let followers = (0..2).map(|_| model.follower()).collect();
    History { operations, followers, cuts: vec![cut], promises: model.promises }
}

impl Model {
    fn ask(&mut self, client: usize, now: Micros) -> (Call, usize) {
        let known: Vec<usize> = (0..self.sessions.len()).filter(|at| self.sessions[*at].known > 0).collect();
        let choice = self.random.below(100);
        if client == 0 && choice < 30 {
            let value = now + 1;
            return (Call::Rule { value, allows: self.random.chance(50) }, 0);
        }
        let key = u32::try_from(self.random.below(self.keys.len() as u64)).unwrap();
        match choice {
            0..3 => (Call::DeleteKey(key), 0),
            3..12 => (Call::UseKey(key), 0),
            12..30 => {
                let user: Name = format!("user-{}", self.random.below(4)).into();
                let all = ["limit:reject", "limit:evict", "org:seats", "group:1", "group:2"];
                let tags = vec![(*self.random.pick(&all).unwrap()).into()];
                (Call::Create { user, tags, idempotency: None, offline: true }, 0)
            }
            30..36 => {
                let scope = match (self.random.below(8), self.random.pick(&known)) {
                    (0, _) => Scope::Tag("group:1".into()),
                    (1, _) => Scope::User("user-1".into()),
                    (_, Some(at)) => Scope::One(self.sessions[*at].name.clone()),
                    _ => Scope::All,
                };
                (Call::End(scope), 0)
            }
            _ => {
                let Some(of) = self.random.pick(&known).copied() else { return (Call::UseKey(key), 0) };
                let session = &self.sessions[of];
                let behind = if self.random.chance(70) { 0 } else { self.random.index(session.known) };
                let (token, _) = session.chain[session.known - 1 - behind];
                let name = session.name.clone();
                if self.random.chance(10) {
                    return (Call::Refresh { session: name, token }, of);
                }
                let [strong, rotate, watched] = [30, 50, 20].map(|percent| self.random.chance(percent));
                (Call::Validate { session: name, token, strong, rotate, watched }, of)
            }
        }
    }

    /// The moment in which a call takes effect.
    fn act(&mut self, now: Micros, operation: &Operation, of: usize) -> Answer {
        let node = operation.node;
        let memory = matches!(operation.call, Call::Validate { strong: false, rotate: false, .. });
        let from = self.cut.from + if memory { self.promises.spread } else { 0 };
        if node == self.cut.node && (from..=self.cut.to).contains(&now) || self.random.chance(2) {
            return Answer::NotKnown;
        }
        match &operation.call {
            Call::Create { user, tags, .. } => self.create(now, node, user, &tags[0]),
            Call::End(scope) => {
                for at in 0..self.sessions.len() {
                    let session = &self.sessions[at];
                    let meant = match scope {
                        Scope::One(name) => *name == session.name,
                        Scope::User(user) => *user == session.user,
                        Scope::Tag(tag) => session.tags.contains(tag),
                        Scope::All => true,
                    };
                    if meant {
                        self.end(now, node, at, "session_revoked");
                    }
                }
                self.log.push((now, scope.clone()));
                Answer::Done
            }
            Call::Rule { allows, .. } => {
                self.rules.push((now, node, *allows));
                Answer::Done
            }
            Call::DeleteKey(key) => {
                let slot = &mut self.keys[*key as usize];
                if slot.is_some() {
                    return Answer::Refused("not_found".into());
                }
                *slot = Some((now, node));
                Answer::Done
            }
            Call::UseKey(key) => {
                let deleted = self.keys[*key as usize];
                match deleted {
                    Some((at, by)) if !self.still(now, at, by, node, true) => {
                        Answer::Refused("access_key_invalid".into())
                    }
                    _ => Answer::Done,
                }
            }
            Call::Validate { token, rotate, watched, .. } => {
                if let Some((at, by, code)) = self.sessions[of].ended
                    && (self.sessions[of].seen[node] || !self.still(now, at, by, node, memory))
                {
                    self.sessions[of].seen[node] = true;
                    return Answer::Refused(code.into());
                }
                if *watched {
                    let mut rule = self.rules.len() - 1;
                    while rule > 0 && self.still(now, self.rules[rule].0, self.rules[rule].1, node, memory) {
                        rule -= 1;
                    }
                    if !self.rules[rule].2 {
                        return Answer::Refused("ip_not_allowed".into());
                    }
                }
                self.present(now, node, of, *token, *rotate, memory)
            }
            Call::Refresh { token, .. } => match self.sessions[of].ended {
                Some((.., code)) => {
                    self.sessions[of].seen[node] = true;
                    Answer::Refused(code.into())
                }
                None => self.present(now, node, of, *token, true, false),
            },
        }
    }

    /// Whether a node may still answer as if a change had not been.
    fn still(&mut self, now: Micros, at: Micros, by: usize, node: usize, memory: bool) -> bool {
        memory && by != node && now < at + self.promises.spread && self.random.chance(70)
    }

    fn create(&mut self, now: Micros, node: usize, user: &Name, tag: &Name) -> Answer {
        let mut evicted = Vec::new();
        for (limits, own) in [(&self.promises.limits, true), (&self.promises.seats, false)] {
            let Some(limit) = limits.get(tag).copied() else { continue };
            let live: Vec<usize> = (0..self.sessions.len())
                .filter(|at| {
                    let other = &self.sessions[*at];
                    other.ended.is_none() && other.tags.contains(tag) && (!own || other.user == *user)
                })
                .collect();
            if limit.rejects && live.len() >= limit.most {
                return Answer::Refused("session_limit_reached".into());
            }
            evicted.extend(live.iter().take((live.len() + 1).saturating_sub(limit.most)));
        }
        for at in &evicted {
            self.end(now, node, *at, "session_evicted");
        }
        let evicted = evicted.into_iter().map(|at| self.sessions[at].name.clone()).collect();
        let token = self.token();
        let name: Name = format!("ses_{}", self.sessions.len()).into();
        self.sessions.push(Kept {
            name: name.clone(),
            user: user.clone(),
            tags: vec![tag.clone()],
            chain: vec![(token, None)],
            ended: None,
            seen: [false; NODES],
            known: 0,
        });
        Answer::Created { session: name, token, evicted }
    }

    fn end(&mut self, now: Micros, node: usize, at: usize, code: &'static str) {
        let session = &mut self.sessions[at];
        session.seen[node] = true;
        if session.ended.is_none() {
            session.ended = Some((now, node, code));
            self.log.push((now, Scope::One(session.name.clone())));
        }
    }

    fn present(
        &mut self,
        now: Micros,
        node: usize,
        of: usize,
        token: Token,
        rotate: bool,
        memory: bool,
    ) -> Answer {
        let grace = self.promises.grace;
        let newest = self.sessions[of].chain.len() - 1;
        let chain = &mut self.sessions[of].chain;
        let place = chain.iter().position(|(known, _)| *known == token).unwrap();
        let late =
            chain.iter().skip(place + 1).all(|(_, first)| first.is_none_or(|first| now < first + grace));
        if place < newest && !late {
            self.end(now, node, of, "token_reused");
            return Answer::Refused("token_reused".into());
        }
        if place + 1 < newest {
            return Answer::Refused("token_superseded".into());
        }
        chain[place].1.get_or_insert(now);
        if place + 1 == newest {
            return Answer::Allowed { successor: Some(chain[newest].0) };
        }
        if memory || !rotate || self.sessions[of].ended.is_some() {
            return Answer::Allowed { successor: None };
        }
        let next = self.token();
        self.sessions[of].chain.push((next, None));
        Answer::Allowed { successor: Some(next) }
    }

    fn token(&mut self) -> Token {
        self.tokens += 1;
        Token(self.tokens)
    }

    /// What the client knows from now on.
    fn told(&mut self, operation: &Operation, of: usize) {
        match &operation.answer {
            Answer::Created { session, .. } => {
                let made = self.sessions.iter_mut().find(|known| known.name == *session);
                made.unwrap().known = 1;
            }
            Answer::Allowed { successor: Some(next) } => {
                let session = &mut self.sessions[of];
                let place = session.chain.iter().position(|(token, _)| token == next).unwrap();
                session.known = session.known.max(place + 1);
            }
            _ => {}
        }
    }

    /// Somebody who follows all of it, on changing nodes.
    fn follower(&mut self) -> Follower {
        let mut heard = vec![(0, Heard::Connected(0)), (1, Heard::Reset)];
        let mut told = 0;
        for beat in 1..40_u64 {
            let now = beat * SECONDS / 4;
            while let Some((at, scope)) = self.log.get(told).filter(|(at, _)| *at < now) {
                heard.push((*at, Heard::Ended(scope.clone())));
                told += 1;
            }
            heard.push((now, Heard::AsOf(now - self.random.below(200_000))));
            if self.random.chance(10) {
                heard.push((now, Heard::Connected(self.random.index(NODES))));
                if self.random.chance(40) {
                    heard.push((now, Heard::Reset));
                    told = 0;
                }
            }
            // Told again, it is heard now.
            while let Some((_, scope)) = self.log.get(told).filter(|(at, _)| *at < now) {
                heard.push((now, Heard::Ended(scope.clone())));
                told += 1;
            }
        }
        Follower { heard }
    }
}
