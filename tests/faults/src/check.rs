//! Judges a history. A pure function: what the clients saw goes in, the promises that were broken come out.
//!
//! | promise | what it says |
//! | --- | --- |
//! | `ended` | what has ended, stays ended: at once on the same node and for strong reads, elsewhere after [`spread`] |
//! | `chain` | a token has one successor, and whoever holds the newest one is neither lost nor called a thief |
//! | `limit` | never more sessions than a limit or the seats allow, and nobody is refused who had room |
//! | `kept` | an acknowledged session lives until something ended it that could, and the code names that |
//! | `control` | an acknowledged rule or deleted key holds everywhere after [`spread`], and not before it was asked for |
//! | `feed` | every follower hears of every end, before any `as_of` that covers it |
//! | `knows` | a node without its store says that it does not know, and nothing else |
//! | `answers` | every answer is one of the contract; a repeated creation makes one session |
//!
//! Everything is judged by intervals: a call takes effect at some moment between its beginning and its end, and one
//! without an answer at any moment after its beginning, or never. So a good history is never accused; what cannot be
//! decided from outside is not judged.
//!
//! [`spread`]: crate::history::Promises::spread

mod answers;
mod chain;
mod control;
mod ended;
mod feed;
mod kept;
mod limit;
#[cfg(test)]
mod simulated;
#[cfg(test)]
mod tests;

use crate::history::{Answer, Call, History, Micros, Name, Operation, Scope, Token, Violation};
use std::collections::HashMap;

/// How many violations of one promise are told; the rest is counted.
const TOLD: usize = 5;

/// Every broken promise, at most [`TOLD`] of each kind, and a line with the number of the others.
pub(crate) fn check(history: &History) -> Vec<Violation> {
    let facts = Facts::of(history);
    let all: [(&'static str, Vec<String>); 8] = [
        ("ended", ended::check(&facts)),
        ("chain", chain::check(&facts)),
        ("limit", limit::check(&facts)),
        ("kept", kept::check(&facts)),
        ("control", control::check(&facts)),
        ("feed", feed::check(&facts)),
        ("knows", answers::knows(&facts)),
        ("answers", answers::check(&facts)),
    ];
    let mut found = Vec::new();
    for (promise, mut texts) in all {
        let more = texts.len().saturating_sub(TOLD);
        texts.truncate(TOLD);
        found.extend(texts.into_iter().map(|what| Violation { promise, what }));
        if more > 0 {
            found.push(Violation { promise, what: format!("and {more} more") });
        }
    }
    found
}

/// A session as its creation told it.
struct Session<'a> {
    user: &'a Name,
    tags: &'a [Name],
    offline: bool,
    /// The creation.
    begun: Micros,
    ended: Micros,
}

/// The history, looked up in the ways in which the rules need it.
struct Facts<'a> {
    history: &'a History,
    sessions: HashMap<&'a Name, Session<'a>>,
    /// What could have ended each session, acknowledged or not.
    ends: HashMap<&'a Name, Vec<&'a Operation>>,
    /// Creations, by user.
    creations: HashMap<&'a Name, Vec<&'a Operation>>,
    /// Ends of many: tags, users, everybody.
    mass: Vec<&'a Operation>,
    /// Who presented a token.
    presented: HashMap<Token, Vec<&'a Operation>>,
    /// The first successor that was told of a token.
    successor: HashMap<Token, Token>,
    /// Verdicts and refreshes, by session.
    verdicts: HashMap<&'a Name, Vec<&'a Operation>>,
}

impl<'a> Facts<'a> {
    fn of(history: &'a History) -> Self {
        let mut facts = Self {
            history,
            sessions: HashMap::new(),
            ends: HashMap::new(),
            creations: HashMap::new(),
            mass: Vec::new(),
            presented: HashMap::new(),
            successor: HashMap::new(),
            verdicts: HashMap::new(),
        };
        for operation in &history.operations {
            if let Call::Create { user, .. } = &operation.call {
                facts.creations.entry(user).or_default().push(operation);
            }
            match (&operation.call, &operation.answer) {
                (Call::Create { user, tags, offline, .. }, Answer::Created { session, evicted, .. }) => {
                    let made = Session {
                        user,
                        tags,
                        offline: *offline,
                        begun: operation.begun,
                        ended: operation.ended,
                    };
                    // A repeated creation tells it again; it was there from the first acknowledgement on.
                    let known = facts.sessions.entry(session).or_insert(made);
                    known.begun = known.begun.min(operation.begun);
                    known.ended = known.ended.min(operation.ended);
                    for gone in evicted {
                        facts.ends.entry(gone).or_default().push(operation);
                    }
                }
                (Call::End(Scope::One(session)), _) => facts.ends.entry(session).or_default().push(operation),
                (Call::End(_), _) => facts.mass.push(operation),
                (Call::Validate { session, token, .. } | Call::Refresh { session, token }, answer) => {
                    facts.verdicts.entry(session).or_default().push(operation);
                    facts.presented.entry(*token).or_default().push(operation);
                    if let Answer::Allowed { successor: Some(next) } = answer {
                        facts.successor.entry(*token).or_insert(*next);
                    }
                }
                _ => {}
            }
        }
        facts
    }

    /// Whether an end of many names this session; whether it came early or late is another question.
    fn names(end: &Operation, session: &Session<'_>) -> bool {
        match &end.call {
            Call::End(Scope::User(user)) => user == session.user,
            Call::End(Scope::Tag(tag)) => session.tags.contains(tag),
            Call::End(Scope::All) => true,
            _ => false,
        }
    }

    /// Acknowledged operations after which the session has certainly ended.
    fn certain_ends(&self, name: &Name) -> Vec<&'a Operation> {
        let done =
            |operation: &&&Operation| matches!(operation.answer, Answer::Done | Answer::Created { .. });
        let mut found: Vec<&Operation> =
            self.ends.get(name).into_iter().flatten().filter(done).copied().collect();
        if let Some(session) = self.sessions.get(name) {
            // Who was acknowledged before the end of many was asked for, is among them.
            let meant = |end: &&&Operation| session.ended <= end.begun && Self::names(end, session);
            found.extend(self.mass.iter().filter(done).filter(meant));
        }
        found
    }
}

/// Codes that say: it has ended, for good.
fn is_end(code: &str) -> bool {
    matches!(
        code,
        "session_revoked" | "session_evicted" | "token_reused" | "session_expired" | "session_idle"
    )
}
