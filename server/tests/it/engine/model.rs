//! What the simulation knows of each session: who may be alive, who must be dead, and since when.

use super::sim::{ABSOLUTE, Dice, GRACE, IDLE};
use handstamp_core::id::SessionId;
use handstamp_core::refusal::Code;
use handstamp_core::time::{Millis, Span};
use std::fmt;

/// All that is known, and how much of everything happened.
#[derive(Default, Clone)]
pub(crate) struct Model {
    pub(crate) clients: Vec<Client>,
    /// How many ends of many have begun, and how many of them are under way.
    ends: (u64, u64),
    pub(crate) faults: u64,
    pub(crate) allowed: u64,
    pub(crate) refused: u64,
    pub(crate) rotated: u64,
    pub(crate) stolen: u64,
    /// How long other nodes than the one that acknowledged an end may still allow what they remember.
    pub(crate) lag: Span,
    /// By how much a session may look idle too early, to a node that does not hear of others.
    pub(crate) slack: Span,
}

/// One client and its session.
#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) id: SessionId,
    pub(crate) user: String,
    pub(crate) tag: String,
    /// The newest it was given.
    pub(crate) token: String,
    made: Millis,
    /// Every token of the session that anybody was given, by generation, with when it was first presented.
    chain: Vec<(String, Option<Millis>)>,
    /// Its last activity lies between these.
    seen: (Millis, Millis),
    /// Somebody has begun to end it: it may be dead.
    endangered: bool,
    /// An end was acknowledged: it is dead.
    pub(crate) ended: bool,
    /// When that was, and by which node.
    pub(crate) ended_at: (Millis, usize),
    robbed: bool,
}

/// What was known when a request began.
pub(crate) struct Before {
    token: String,
    ended: bool,
    at: Millis,
    surely_over: bool,
}

pub(crate) enum Verdict {
    Allowed(Option<String>),
    Refused(Code),
    Fault,
}

impl Client {
    fn is_over(&mut self, at: Millis, node: usize) {
        self.ended = true;
        self.ended_at = (at, node);
    }
}

impl Model {
    /// Of several nodes.
    pub(crate) fn of_several(lag: Span, slack: Span) -> Model {
        Model { lag, slack, ..Model::default() }
    }

    /// A creation begins: what may meet it unseen.
    pub(crate) fn begin(&self) -> (u64, u64) {
        self.ends
    }

    pub(crate) fn created(
        &mut self,
        id: SessionId,
        (user, tag): (&str, &str),
        token: String,
        (begun, running): (u64, u64),
    ) {
        assert!(self.clients.iter().all(|known| known.id != id), "an id was given twice");
        // An end that ran at the same time may or may not have met it.
        let endangered = running > 0 || begun != self.ends.0;
        let made = id.made_at();
        self.clients.push(Client {
            id,
            user: user.to_owned(),
            tag: tag.to_owned(),
            chain: vec![(token.clone(), None)],
            token,
            made,
            seen: (made, made),
            endangered,
            ended: false,
            ended_at: (Millis(0), 0),
            robbed: false,
        });
    }

    /// Marks whom an end is about to meet.
    pub(crate) fn ending(&mut self, whom: impl Fn(&Client, usize) -> bool) -> Vec<usize> {
        let hit: Vec<usize> = (0..self.clients.len()).filter(|n| whom(&self.clients[*n], *n)).collect();
        for n in &hit {
            self.clients[*n].endangered = true;
        }
        hit
    }

    /// An end of many begins.
    pub(crate) fn end_begins(&mut self) {
        self.ends = (self.ends.0 + 1, self.ends.1 + 1);
    }

    /// It was answered.
    pub(crate) fn end_is_over(&mut self) {
        self.ends.1 -= 1;
    }

    /// An end was acknowledged by a node.
    pub(crate) fn ended(&mut self, whom: &[usize], at: Millis, node: usize) {
        for n in whom {
            self.clients[*n].is_over(at, node);
        }
    }

    /// A token is presented to a node; `strong`: which must not answer from memory.
    pub(crate) fn presenting(
        &mut self,
        client: usize,
        now: Millis,
        node: usize,
        strong: bool,
    ) -> (String, Before) {
        let lag = self.lag;
        let known = &mut self.clients[client];
        // It may count as activity from here on, whatever is answered.
        let surely_over = now >= known.seen.1.plus(IDLE) || now >= known.made.plus(ABSOLUTE);
        if !surely_over {
            known.seen.1 = known.seen.1.max(now);
        }
        let token = known.token.clone();
        let (at, by) = known.ended_at;
        let ended = known.ended && (strong || by == node || now >= at.plus(lag));
        (token.clone(), Before { token, ended, at: now, surely_over })
    }

    pub(crate) fn presented(
        &mut self,
        client: usize,
        before: &Before,
        verdict: Verdict,
        lost: bool,
        now: Millis,
    ) {
        let slack = self.slack;
        let known = &mut self.clients[client];
        match verdict {
            Verdict::Fault => {
                self.faults += 1;
                if !before.surely_over {
                    known.seen.1 = known.seen.1.max(now);
                }
            }
            Verdict::Allowed(next) => {
                assert!(!before.ended, "{} had ended and was allowed", known.id);
                assert!(!before.surely_over, "{} was over and was allowed", known.id);
                self.allowed += 1;
                known.seen = (known.seen.0.max(before.at), known.seen.1.max(now));
                let place = known.chain.iter().position(|(token, _)| *token == before.token).unwrap();
                let first = &mut known.chain[place].1;
                *first = Some(first.unwrap_or(now).min(now));
                if let Some(next) = next {
                    match known.chain.get(place + 1) {
                        Some((known, _)) => assert_eq!(*known, next, "the chain forked"),
                        None => known.chain.push((next.clone(), None)),
                    }
                    self.rotated += 1;
                    if !lost && known.token == before.token {
                        known.token = next;
                    }
                }
            }
            Verdict::Refused(code) => {
                self.refused += 1;
                let thief = code == Code::TokenReused && !known.robbed;
                assert!(!thief, "an honest client was called a thief: {}", known.id);
                assert_ne!(code, Code::SessionNotFound, "an acknowledged session is not there: {}", known.id);
                match code {
                    Code::SessionIdle => {
                        assert!(now.plus(slack) >= known.seen.0.plus(IDLE), "not idle yet");
                    }
                    Code::SessionExpired => assert!(now >= known.made.plus(ABSOLUTE), "not expired yet"),
                    Code::SessionRevoked => assert!(known.endangered, "{} was ended by nobody", known.id),
                    // Several requests at once: one of them brought the successor.
                    Code::TokenSuperseded => assert!(known.chain.len() > 1),
                    Code::TokenReused => {}
                    other => panic!("{other:?}"),
                }
            }
        }
    }

    /// Nothing runs: whether it is alive must be what is known.
    pub(crate) fn at_rest(
        &mut self,
        client: usize,
        end: Option<String>,
        seen: Millis,
        generation: u32,
        now: Millis,
        node: usize,
    ) {
        let slack = self.slack;
        let known = &mut self.clients[client];
        assert!(generation as usize + 1 >= known.chain.len(), "a generation was lost");
        let live = end.is_none();
        if live {
            assert!(!known.ended, "{} had ended and lives", known.id);
            let (least, most) = known.seen;
            assert!(seen >= least && seen <= most, "{}: {seen:?} is not in {least:?} to {most:?}", known.id);
            known.endangered = false;
        } else {
            let over = now.plus(slack) >= known.seen.0.plus(IDLE) || now >= known.made.plus(ABSOLUTE);
            assert!(
                over || known.endangered || known.ended,
                "{} was lost: {end:?}; made {:?}, last active {seen:?}, between {:?}, now {now:?}",
                known.id,
                known.made,
                known.seen
            );
            if !known.ended {
                known.is_over(now, node);
            }
        }
    }

    pub(crate) fn touched(&mut self, client: usize, now: Millis) {
        let known = &mut self.clients[client];
        known.seen = (now, now);
        let token = known.token.clone();
        let place = known.chain.iter().position(|(text, _)| *text == token).unwrap();
        known.chain[place].1.get_or_insert(now);
    }

    /// The process died: what of the last activity was not due to be written is forgotten.
    pub(crate) fn crashed(&mut self) {
        for known in &mut self.clients {
            known.seen.0 = Millis(known.seen.0.0 - IDLE.0 / 2);
        }
    }

    /// A token that was replaced, and its successor presented more than a grace ago, of a session that lives.
    pub(crate) fn loot(&self, dice: &mut Dice, now: Millis) -> Option<(usize, String)> {
        let mut all = Vec::new();
        for (n, known) in self.clients.iter().enumerate().filter(|(_, known)| !known.ended) {
            for (k, (token, _)) in known.chain.iter().enumerate() {
                let later = known.chain[k + 1..].iter().filter_map(|(_, first)| *first).min();
                if later.is_some_and(|first| now.since(first) >= GRACE) {
                    all.push((n, token.clone()));
                }
            }
        }
        (!all.is_empty()).then(|| all.swap_remove(usize::try_from(dice.roll(all.len() as u64)).unwrap()))
    }

    pub(crate) fn robbed(&mut self, client: usize, at: Millis, node: usize) {
        self.clients[client].is_over(at, node);
        self.clients[client].robbed = true;
        self.stolen += 1;
    }

    pub(crate) fn add(&mut self, other: &Model) {
        self.faults += other.faults;
        self.allowed += other.allowed;
        self.refused += other.refused;
        self.rotated += other.rotated;
        self.stolen += other.stolen;
        self.clients.extend(other.clients.iter().cloned());
    }
}

impl fmt::Display for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Model { clients, faults, allowed, refused, rotated, stolen, .. } = self;
        let dead = clients.iter().filter(|known| known.ended).count();
        write!(
            f,
            "{} sessions, {dead} of them ended; {allowed} allowed, {refused} refused, {rotated} successors given out, \
             {stolen} thefts found, {faults} faults",
            clients.len()
        )
    }
}
