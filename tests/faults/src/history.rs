//! What happened, as the clients saw it: every call with the moments of asking and of the answer, and everything that
//! followers of the revocation feed heard. The checker reads nothing else; it knows no server.

use std::collections::HashMap;
use std::sync::Arc;

/// Microseconds of one clock: that of the process in which all clients live.
pub(crate) type Micros = u64;

/// A name of something: a session's id, a user, a tag. Texts, so that a violation can be looked up in a server's log.
pub(crate) type Name = Arc<str>;

/// A credential, by a digest: two are equal when the texts were.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub(crate) struct Token(pub(crate) u64);

/// One call.
#[derive(Clone, Debug)]
pub(crate) struct Operation {
    pub(crate) node: usize,
    pub(crate) begun: Micros,
    /// When the answer was there, or nobody waited for it any longer.
    pub(crate) ended: Micros,
    pub(crate) call: Call,
    pub(crate) answer: Answer,
}

/// What was asked.
#[derive(Clone, Debug)]
pub(crate) enum Call {
    Create {
        user: Name,
        tags: Vec<Name>,
        idempotency: Option<u64>,
        /// With an access token: verifiers elsewhere must hear of its end.
        offline: bool,
    },
    /// `watched`: the request is one that the watched rule (see [`Call::Rule`]) decides.
    Validate {
        session: Name,
        token: Token,
        strong: bool,
        rotate: bool,
        watched: bool,
    },
    Refresh {
        session: Name,
        token: Token,
    },
    End(Scope),
    /// The policy now has this value of the watched rule: whether it lets the watched requests pass.
    Rule {
        value: u64,
        allows: bool,
    },
    /// An access key was deleted.
    DeleteKey(u32),
    /// Something small was asked with an access key.
    UseKey(u32),
}

/// Who ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    One(Name),
    User(Name),
    Tag(Name),
    All,
}

/// What was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Created {
        session: Name,
        token: Token,
        evicted: Vec<Name>,
    },
    /// The verdict is: it may pass. `successor`: the token that takes the place of the presented one.
    Allowed {
        successor: Option<Token>,
    },
    /// The verdict, or the call itself, was refused with this code.
    Refused(Name),
    Done,
    /// 503: the node does not know.
    NotKnown,
    /// No answer: a lost connection, or a client that did not wait. It may have happened, or happen later.
    Lost,
    /// An answer that none of the contracts has.
    Wrong(Name),
}

impl Answer {
    pub(crate) fn refused(&self) -> Option<&str> {
        if let Self::Refused(code) = self { Some(code) } else { None }
    }

    /// Whether it says what happened; [`Answer::NotKnown`] and [`Answer::Lost`] leave that open.
    pub(crate) fn open(&self) -> bool {
        matches!(self, Self::NotKnown | Self::Lost)
    }
}

/// What one follower of the feed heard, in order, also across connections.
#[derive(Clone, Debug, Default)]
pub(crate) struct Follower {
    pub(crate) heard: Vec<(Micros, Heard)>,
}

/// One event of the feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// A connection to this node began; before the first event of it.
    Connected(usize),
    /// Forget everything.
    Reset,
    /// These have ended.
    Ended(Scope),
    /// Everything committed before this instant has been told. Of the store's clock, brought to ours.
    AsOf(Micros),
}

/// A time in which a node certainly had no store.
#[derive(Clone, Debug)]
pub(crate) struct Cut {
    pub(crate) node: usize,
    pub(crate) from: Micros,
    pub(crate) to: Micros,
}

/// Everything, and what was promised about it.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    pub(crate) operations: Vec<Operation>,
    pub(crate) followers: Vec<Follower>,
    pub(crate) cuts: Vec<Cut>,
    pub(crate) promises: Promises,
}

/// What the service promises, in numbers.
#[derive(Clone, Debug)]
pub(crate) struct Promises {
    /// A change acknowledged on one node holds on every other one after this long.
    pub(crate) spread: Micros,
    /// `rotation_grace` of the policy.
    pub(crate) grace: Micros,
    /// How exactly an `as_of` can be brought to our clock.
    pub(crate) doubt: Micros,
    /// The shortest life of an access token.
    pub(crate) token_life: Micros,
    /// Sessions that one user may have with this tag.
    pub(crate) limits: HashMap<Name, Limit>,
    /// Sessions that all users together may have with this tag.
    pub(crate) seats: HashMap<Name, Limit>,
}

/// A bound, and what happens at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limit {
    pub(crate) most: usize,
    /// The newcomer is refused; otherwise somebody else ends.
    pub(crate) rejects: bool,
}

impl Default for Promises {
    fn default() -> Self {
        Self {
            spread: 1_000_000,
            grace: 60_000_000,
            doubt: 20_000,
            token_life: 300_000_000,
            limits: HashMap::new(),
            seats: HashMap::new(),
        }
    }
}

/// A promise that was not kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Violation {
    /// Which promise: a name of the list in [`crate::check`].
    pub(crate) promise: &'static str,
    /// What was seen, with its times in seconds.
    pub(crate) what: String,
}

/// For texts of violations: seconds with their thousandths.
pub(crate) fn seconds(at: Micros) -> String {
    format!("{}.{:03}", at / 1_000_000, at / 1_000 % 1_000)
}
