//! Whoever follows the feed hears of every end of which an access token could still live, before any `as_of` that covers
//! the acknowledgement, on whatever node and across connections; only a reset makes it begin again.

use super::{Facts, Session};
use crate::history::{Call, Follower, Heard, Micros, Name, Operation, Scope, seconds};
use std::collections::HashMap;

/// An end that has to be told.
struct Due<'a> {
    name: &'a Name,
    session: &'a Session<'a>,
    end: &'a Operation,
}

pub(super) fn check(facts: &Facts<'_>) -> Vec<String> {
    let mut due = Vec::new();
    for (name, session) in facts.sessions.iter().filter(|(_, session)| session.offline) {
        let first = facts.certain_ends(name).into_iter().min_by_key(|end| end.ended);
        due.extend(first.map(|end| Due { name, session, end }));
    }
    due.sort_by_key(|due| due.end.ended);
    let mut found = Vec::new();
    for (number, follower) in facts.history.followers.iter().enumerate() {
        follow(facts, number, follower, &due, &mut found);
    }
    found
}

/// Takes one follower through what it heard.
fn follow(facts: &Facts<'_>, number: usize, follower: &Follower, due: &[Due<'_>], found: &mut Vec<String>) {
    let promises = &facts.history.promises;
    let mut told = Told::default();
    // Those before this place are told, or were accused already.
    let mut open: Vec<&Due<'_>> = Vec::new();
    let mut next = 0;
    let mut node = 0;
    let mut covered = 0;
    for (at, heard) in &follower.heard {
        match heard {
            Heard::Connected(to) => node = *to,
            Heard::Reset => {
                told = Told::default();
                (open, next) = (Vec::new(), 0);
            }
            Heard::Ended(scope) => told.hear(*at, scope),
            Heard::AsOf(as_of) => {
                covered = covered.max(*as_of);
                while let Some(one) = due.get(next).filter(|one| one.end.ended + promises.doubt < *as_of) {
                    open.push(one);
                    next += 1;
                }
                for one in open.drain(..) {
                    // Nobody need hear of an end when no token lives any more.
                    let lives = *as_of < one.session.begun + promises.token_life;
                    if lives && !told.knows(one) {
                        found.push(format!(
                            "follower {number} was told by node {node} at {} that it knows everything before {}, and not of {}, \
                             ended by {:?} at {}",
                            seconds(*at),
                            seconds(*as_of),
                            one.name,
                            one.end.call,
                            seconds(one.end.ended)
                        ));
                    }
                }
            }
        }
    }
    let last = due.last().map_or(0, |one| one.end.ended);
    if covered < last {
        found.push(format!(
            "follower {number} knows everything before {} only; the last end was acknowledged at {}",
            seconds(covered),
            seconds(last)
        ));
    }
}

/// What a follower was told since its last reset.
#[derive(Default)]
struct Told {
    ones: HashMap<Name, Micros>,
    /// Ends of many, by when they were last heard: the same tag can be ended again.
    many: Vec<(Micros, Scope)>,
}

impl Told {
    fn hear(&mut self, at: Micros, scope: &Scope) {
        match scope {
            Scope::One(name) => {
                self.ones.insert(name.clone(), at);
            }
            many => {
                self.many.retain(|(_, known)| known != many);
                self.many.push((at, many.clone()));
            }
        }
    }

    fn knows(&self, due: &Due<'_>) -> bool {
        let named = |scope: &Scope| match scope {
            Scope::One(name) => name == due.name,
            Scope::User(user) => user == due.session.user,
            Scope::Tag(tag) => due.session.tags.contains(tag),
            Scope::All => true,
        };
        // An item of many heard before this end was asked for is about an earlier one.
        self.ones.contains_key(due.name)
            || matches!(due.end.call, Call::End(_))
                && self.many.iter().any(|(at, scope)| *at >= due.end.begun && named(scope))
    }
}
