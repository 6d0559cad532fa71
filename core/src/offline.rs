//! What a verifier beside the application decides without asking the server, and when it has to ask.
//!
//! It holds public keys, what was revoked, and an idea of the server's time. Two kinds of answers come of that:
//!
//! * **No** needs no fresh knowledge: a token that was revoked, that is over, that is for somebody else stays so. It is
//!   given at any time.
//! * **Yes** needs all of it: keys that were confirmed, and a feed that spoke within the bound. Where something is missing, the
//!   answer is to ask, and [`Ask`] says why. Never yes for want of knowing better.
//!
//! [`revoked`]: what ends a token. [`clock`]: whose time counts, and how old what is known of the server is.

pub mod clock;
pub mod revoked;

use crate::access_token::Reader;
use crate::jose::claims::{self, Claims};
use crate::judge::{lacks_groups, lacks_tags};
use crate::offline::clock::Tick;
use crate::refusal::{Code, Refusal};
use crate::step_up::{self, Assured, Level};
use crate::tag::{Group, Tag};
use crate::time::{Millis, Span};
use std::fmt;
use std::net::IpAddr;

/// The rule's name in refusals of what the feed ended.
pub const RULE: &str = "revocations";

/// What a request demands of the session behind a token.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Demand {
    /// Tags that it must carry, all of them.
    pub tags: Vec<Tag>,
    /// Groups that it must be in, all of them.
    pub groups: Vec<Group>,
    /// How surely it must be the user.
    pub assured: Assured,
    /// The address of the user's client, for the server's rules when it is asked. Nothing is judged by it here: a token does not
    /// say where its session may be used.
    pub ip: Option<IpAddr>,
    /// What the user's client calls itself, for the same.
    pub user_agent: Option<String>,
}

/// Why a verifier cannot say yes by itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ask {
    /// The server was not heard of yet.
    NotHeard,
    /// What was last heard of it is older than the bound.
    Stale {
        /// How old.
        age: Span,
        /// The bound.
        bound: Span,
    },
    /// What was revoked is not known whole: there was more of it than is held, or it could not be read.
    Incomplete,
    /// The token names a key that is not among those that were fetched.
    UnknownKey,
    /// The keys were not fetched yet.
    NoKeys,
    /// The keys could not be confirmed for too long.
    OldKeys {
        /// When they were last confirmed, ago.
        age: Span,
        /// How long that may be.
        bound: Span,
    },
}

impl fmt::Display for Ask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ask::NotHeard => f.write_str("the feed of revocations was not heard of yet"),
            Ask::Stale { age, bound } => {
                write!(f, "the feed of revocations is {age} old, and {bound} is allowed")
            }
            Ask::Incomplete => f.write_str("what was revoked is not known whole"),
            Ask::UnknownKey => f.write_str("the token names a key that was not fetched yet"),
            Ask::NoKeys => f.write_str("the keys were not fetched yet"),
            Ask::OldKeys { age, bound } => {
                write!(f, "the keys were last confirmed {age} ago, and {bound} is allowed")
            }
        }
    }
}

/// What a verifier knows of the server at the moment it judges.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Known {
    /// The server's time; `None` until it was heard of.
    pub now: Option<Millis>,
    /// How old that is; `None` until it was heard of, and again for as long as nothing shows that the server's word moves.
    pub age: Option<Span>,
    /// How old it may be.
    pub bound: Span,
    /// Whether every revocation is held.
    pub whole: bool,
    /// When the keys were last confirmed, ago; [`Span::FOREVER`]: never.
    pub keys_age: Span,
    /// How long that may be.
    pub keys_bound: Span,
}

impl Known {
    /// What stands against saying yes.
    pub fn doubt(&self) -> Option<Ask> {
        let (Some(age), Some(_)) = (self.age, self.now) else { return Some(Ask::NotHeard) };
        if age > self.bound {
            return Some(Ask::Stale { age, bound: self.bound });
        }
        if !self.whole {
            return Some(Ask::Incomplete);
        }
        if self.keys_age == Span::FOREVER {
            return Some(Ask::NoKeys);
        }
        (self.keys_age > self.keys_bound)
            .then_some(Ask::OldKeys { age: self.keys_age, bound: self.keys_bound })
    }
}

/// What a verifier says of a token whose signature is good.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Said {
    /// It passes.
    Yes,
    /// It does not, and the server would say the same.
    No(Refusal),
    /// Only the server can say.
    Ask(Ask),
}

/// Judges a token whose signature is good. Issuer, audience and times come first, then revocation, then what is demanded;
/// last whether enough is known to say yes.
pub fn judge(claims: &Claims, reader: Reader<'_>, ended: bool, demand: &Demand, known: &Known) -> Said {
    // Without a time nothing can be over; whose token it is, and for whom, can be said all the same.
    let now = known.now.unwrap_or_else(|| middle(claims));
    // The feed tells of an end for as long as tokens say that they live, and not for a leeway more: there is none at the end.
    match (Reader { leeway: Span(0), ..reader }).judge(claims, now) {
        Ok(()) => {}
        Err(Refusal { code: Code::TokenNotYetValid, .. }) if claims.since().minus(reader.leeway) <= now => {}
        // That it begins later is the one refusal that more knowledge can lift: with the server's newest time.
        Err(Refusal { code: Code::TokenNotYetValid, .. }) if known.doubt().is_some() => {
            return known.doubt().map_or(Said::Yes, Said::Ask);
        }
        Err(refusal) => return Said::No(refusal),
    }
    if ended {
        return Said::No(Refusal::plain(Code::SessionRevoked, RULE));
    }
    if let Some(doubt) = known.doubt() {
        return Said::Ask(doubt);
    }
    missing(claims, demand, now).map_or(Said::Yes, Said::No)
}

/// What is demanded, and the token does not say. Tags and groups are those of the moment it was made.
pub fn missing(claims: &Claims, demand: &Demand, now: Millis) -> Option<Refusal> {
    lacks_tags(&demand.tags, || claims.tags.iter().map(String::as_str))
        .or_else(|| lacks_groups(&demand.groups, || claims.groups.iter().map(String::as_str)))
        .or_else(|| {
            let level = claims.level.and_then(Level::new);
            step_up::missing_of(level, claims.authenticated_at, demand.assured, now)
        })
}

/// Whether a refusal of the server, which was asked because a verifier could not say, says something about the user. It does not
/// where a rule looks at what the question did not carry: an address, or a proof by the device. The same request would have
/// passed a verifier that did not have to ask, so an outage must not turn it into a refusal.
pub const fn speaks_of_the_user(code: Code) -> bool {
    !matches!(
        code,
        Code::IpMissing | Code::DeviceProofMissing | Code::DeviceProofStale | Code::DeviceProofInvalid
    )
}

/// What is said of a token whose key is not known, after the keys were asked for: they were last `confirmed` by an answer that was
/// said then, and the token came at `came`. Keys that are newer than the token would have its key, so there is no such key;
/// otherwise it may have been made since.
pub fn unknown_key(confirmed: Option<Tick>, came: Tick) -> Said {
    if confirmed.is_some_and(|confirmed| confirmed > came) {
        Said::No(Refusal::plain(Code::TokenMalformed, claims::RULE))
    } else {
        Said::Ask(Ask::UnknownKey)
    }
}

/// How long ago an answer was said that caches on the way gave, by its header fields `Age` (RFC 9111, section 5.1): the oldest
/// counts, at most 2^31 seconds; what is no number says nothing.
pub fn said_ago<'a>(ages: impl Iterator<Item = &'a str>) -> Span {
    const MOST: i64 = 1 << 31;
    let all = ages.flat_map(|age| age.split(',')).map(str::trim);
    let numbers = all.filter(|age| !age.is_empty() && age.bytes().all(|byte| byte.is_ascii_digit()));
    Span::secs(numbers.map(|age| age.parse().unwrap_or(MOST).min(MOST)).max().unwrap_or(0))
}

/// An instant at which the token is neither early nor over.
fn middle(claims: &Claims) -> Millis {
    Millis(claims.since().0.min(claims.until().0.saturating_sub(1)))
}
