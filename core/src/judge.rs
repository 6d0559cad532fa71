//! May this request pass? The order of the rules, and nothing else; each rule is in a file of its own.
//!
//! Genuine -> not ended -> not ended by an epoch -> not over by time -> not stolen or late -> from where it may come ->
//! carries what is required -> authenticated well enough. The first refusal is the answer.

use crate::ending::{Ending, ending};
use crate::epoch::Ledger;
use crate::expiry;
use crate::id::{EnvironmentId, SessionId};
use crate::jose::claims::{self, Claims};
use crate::policy::{Effective, Origin};
use crate::refusal::{Code, Evidence, Refusal, Value};
use crate::rotation::{self, Place};
use crate::step_up::{self, Assured};
use crate::subject::Subject;
use crate::tag::{Group, Tag};
use crate::time::Millis;
use crate::token::Kind;
use crate::token::keyring::Keyring;
use crate::token::opaque::{Holder, Opened};
use crate::whereabouts::{self, Came, Whereabouts};

/// What stands behind every judgement of one environment.
#[derive(Clone, Copy)]
pub struct Bench<'a> {
    /// The environment.
    pub env: EnvironmentId,
    /// What was ended at once.
    pub ledger: &'a Ledger,
    /// What recognises tokens.
    pub keys: &'a Keyring,
}

/// What a request demands.
#[derive(Clone, Copy, Default)]
pub struct Demand<'a> {
    /// Tags that the session must carry, all of them.
    pub tags: &'a [Tag],
    /// Groups that the session must be in, all of them.
    pub groups: &'a [Group],
    /// Whether the caller can deliver a successor to the client.
    pub can_deliver: bool,
    /// Where the request comes from.
    pub from: Whereabouts<'a>,
    /// How surely it must be the user.
    pub assured: Assured,
}

/// The answer to "may this request pass?", and what must become of the session before it is given.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Verdict {
    /// `None`: allowed.
    pub refusal: Option<Refusal>,
    /// What is to be done first.
    pub effect: Effect,
    /// Today's policy is looser than what the session has: it takes it over.
    pub adopt: bool,
    /// What history should know of a request that passes.
    pub noticed: Option<Refusal>,
}

impl Verdict {
    /// Nothing stands in the way, and nothing is to be done: the only verdict that a cache gives.
    pub const PASS: Verdict = Verdict { refusal: None, effect: Effect::Nothing, adopt: false, noticed: None };
}

/// What a judgement brings about. Everything but [`Effect::Nothing`] is decided on a fresh load.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Effect {
    /// The session stays as it is.
    Nothing,
    /// A first presentation that the chain must know of: commit that.
    Note,
    /// Its time has come: make the next generation, and give it out.
    Rotate,
    /// Give the same successor again.
    Again,
    /// A stolen token: end the session.
    EndStolen,
    /// Another client than the session's: end it, as the refusal says.
    End,
    /// Time or an epoch has ended the session, and its record does not say so yet: write that down, so that no later
    /// policy can say otherwise.
    Settle,
    /// A genuine token that the record does not know: the store is behind, which history should say.
    StoreBehind,
}

/// What a client presents.
#[derive(Clone, Copy)]
pub enum Shown<'a> {
    /// A session token or a refresh token, whose MAC was checked.
    Token(&'a Opened),
    /// An access token whose signature was checked, and that is for this reader.
    Access(&'a Claims),
}

impl<'a> From<&'a Opened> for Shown<'a> {
    fn from(token: &'a Opened) -> Shown<'a> {
        Shown::Token(token)
    }
}

impl Shown<'_> {
    /// Its session.
    pub const fn session(self) -> SessionId {
        match self {
            Shown::Token(token) => token.session,
            Shown::Access(claims) => claims.session,
        }
    }

    /// Whether presenting it is activity of the user. An access token is verified as often as anybody likes, also by those who
    /// never ask; whoever wants to be seen refreshes.
    pub const fn is_activity(self) -> bool {
        matches!(self, Shown::Token(_))
    }
}

/// Judges what was presented, by the rules of its kind.
pub fn judge_shown(
    session: &impl Subject,
    seen: Millis,
    shown: Shown<'_>,
    bench: Bench<'_>,
    policy: &Effective,
    demand: Demand<'_>,
    now: Millis,
) -> Verdict {
    match shown {
        Shown::Token(token) if token.kind == Kind::Refresh => {
            judge_refresh(session, seen, token, bench, policy, demand, now)
        }
        Shown::Token(token) => judge(session, seen, token, bench, policy, demand, now),
        Shown::Access(claims) => judge_access(session, seen, claims, bench.ledger, policy, demand, now),
    }
}

/// Judges a session token. `seen` is the session's last activity.
pub fn judge(
    session: &impl Subject,
    seen: Millis,
    token: &Opened,
    bench: Bench<'_>,
    policy: &Effective,
    demand: Demand<'_>,
    now: Millis,
) -> Verdict {
    let place = place(Kind::Session, session, token, bench, policy, now);
    if let Some(verdict) = standing(session, seen, token, place, bench, policy, now) {
        return verdict;
    }
    let (missing, noticed) = match demanded(session, policy, demand, now) {
        Ok(said) => said,
        Err(ends) => return *ends,
    };
    let effect = match place {
        Place::Again if missing.is_none() && demand.can_deliver => Effect::Again,
        Place::Current if missing.is_none() && demand.can_deliver && rotation_due(session, policy, now) => {
            Effect::Rotate
        }
        Place::Current if session.chain().awaiting => Effect::Note,
        Place::Again | Place::Current | Place::Late | Place::Stolen | Place::Unknown => Effect::Nothing,
    };
    // A request that is refused is a line of its own.
    let noticed = noticed.filter(|_| missing.is_none());
    Verdict { refusal: missing, effect, adopt: expiry::adopt(session, policy).is_some(), noticed }
}

/// Judges a refresh token. Of what is demanded only where it comes from and whether the successor may be handed out count:
/// allowed is either [`Effect::Rotate`] or [`Effect::Again`] then. One that a rule refuses changes nothing, and is no
/// presentation: nobody has got any further by it.
pub fn judge_refresh(
    session: &impl Subject,
    seen: Millis,
    token: &Opened,
    bench: Bench<'_>,
    policy: &Effective,
    demand: Demand<'_>,
    now: Millis,
) -> Verdict {
    let place = place(Kind::Refresh, session, token, bench, policy, now);
    if let Some(verdict) = standing(session, seen, token, place, bench, policy, now) {
        return verdict;
    }
    let successor = match place {
        Place::Current if demand.can_deliver => Effect::Rotate,
        Place::Again if demand.can_deliver => Effect::Again,
        Place::Current | Place::Again | Place::Late | Place::Stolen | Place::Unknown => Effect::Nothing,
    };
    let (refusal, effect, noticed) = match whereabouts::judge(session, policy, demand.from) {
        Came::Ends(refusal) => (Some(refusal), Effect::End, None),
        Came::Refused(refusal) => (Some(refusal), Effect::Nothing, None),
        Came::Noticed(what) => (None, successor, Some(what)),
        Came::Fine => (None, successor, None),
    };
    let adopt = refusal.is_none() && expiry::adopt(session, policy).is_some();
    Verdict { refusal, effect, adopt, noticed }
}

/// Judges an access token: genuine, and for this reader (see [`crate::access_token::Reader`]). Of its session that is freshly
/// read: what the session is by now counts, not what the token says it was. Nothing rotates, and it is no activity.
pub fn judge_access(
    session: &impl Subject,
    seen: Millis,
    claims: &Claims,
    ledger: &Ledger,
    policy: &Effective,
    demand: Demand<'_>,
    now: Millis,
) -> Verdict {
    let refuse = |refusal, effect| Verdict { refusal: Some(refusal), effect, adopt: false, noticed: None };
    if claims.session != session.id() || claims.subject != session.user() {
        return refuse(Refusal::plain(Code::SessionNotFound, claims::RULE), Effect::Nothing);
    }
    if let Some(ending) = ending(session, seen, ledger, policy, now) {
        let written = matches!(ending, Ending::Recorded(_));
        return refuse(ending.refusal(), if written { Effect::Nothing } else { Effect::Settle });
    }
    // Who held a token before the user authenticated again does not get what that brought.
    if claims.authenticated_at != session.times().authenticated_at {
        return refuse(Refusal::plain(Code::TokenSuperseded, claims::RULE), Effect::Nothing);
    }
    match demanded(session, policy, demand, now) {
        Ok((refusal, noticed)) => {
            let noticed = noticed.filter(|_| refusal.is_none());
            Verdict { refusal, effect: Effect::Nothing, adopt: false, noticed }
        }
        Err(ends) => *ends,
    }
}

/// Whether the session itself stands at `now`, whatever is presented: the part that lists, counts and limits share.
pub fn over(
    session: &impl Subject,
    seen: Millis,
    ledger: &Ledger,
    policy: &Effective,
    now: Millis,
) -> Option<Refusal> {
    ending(session, seen, ledger, policy, now).map(Ending::refusal)
}

/// Whether a session token is one that its holder may still be using: the newest, or a late one. Whose budget pays hangs on
/// that: who presents a token of long ago does not use up the budget of whoever holds its successor.
pub fn is_in_use(
    session: &impl Subject,
    token: &Opened,
    bench: Bench<'_>,
    policy: &Effective,
    now: Millis,
) -> bool {
    match place(Kind::Session, session, token, bench, policy, now) {
        Place::Current | Place::Again | Place::Late => true,
        Place::Stolen | Place::Unknown => false,
    }
}

/// `kind` is what this place takes: no kind is accepted where another is expected.
fn place(
    kind: Kind,
    session: &impl Subject,
    token: &Opened,
    bench: Bench<'_>,
    policy: &Effective,
    now: Millis,
) -> Place {
    if token.kind != kind || token.session != session.id() {
        return Place::Unknown;
    }
    let holder = Holder { env: bench.env, session: session.id(), user: session.user() };
    session.chain().place(token, holder, bench.keys, policy.rotation_grace.value, now)
}

/// What the request is refused with, and what is noticed of it: from where it comes, then what it must carry, then how surely
/// it must be the user.
///
/// # Errors
/// The verdict that ends the session.
fn demanded(
    session: &impl Subject,
    policy: &Effective,
    demand: Demand<'_>,
    now: Millis,
) -> Result<(Option<Refusal>, Option<Refusal>), Box<Verdict>> {
    let (elsewhere, noticed) = match whereabouts::judge(session, policy, demand.from) {
        Came::Ends(refusal) => {
            let refusal = Some(refusal);
            return Err(Box::new(Verdict { refusal, effect: Effect::End, adopt: false, noticed: None }));
        }
        Came::Refused(refusal) => (Some(refusal), None),
        Came::Noticed(what) => (None, Some(what)),
        Came::Fine => (None, None),
    };
    let missing = elsewhere
        .or_else(|| missing_tags(session, demand.tags))
        .or_else(|| missing_groups(session, demand.groups))
        .or_else(|| step_up::missing(session, demand.assured, now));
    Ok((missing, noticed))
}

/// The refusals that do not depend on what the request demands.
fn standing(
    session: &impl Subject,
    seen: Millis,
    token: &Opened,
    place: Place,
    bench: Bench<'_>,
    policy: &Effective,
    now: Millis,
) -> Option<Verdict> {
    let refuse =
        |refusal, effect| Some(Verdict { refusal: Some(refusal), effect, adopt: false, noticed: None });
    if place == Place::Unknown {
        return refuse(Refusal::plain(Code::SessionNotFound, "token"), Effect::StoreBehind);
    }
    if let Some(ending) = ending(session, seen, bench.ledger, policy, now) {
        let written = matches!(ending, Ending::Recorded(_));
        return refuse(ending.refusal(), if written { Effect::Nothing } else { Effect::Settle });
    }
    match place {
        Place::Stolen => refuse(stolen(session, token, policy), Effect::EndStolen),
        Place::Late => {
            let news = session.chain().is_news(token.generation);
            let effect = if news { Effect::Note } else { Effect::Nothing };
            refuse(Refusal::plain(Code::TokenSuperseded, rotation::RULE), effect)
        }
        Place::Current | Place::Again | Place::Unknown => None,
    }
}

fn stolen(session: &impl Subject, token: &Opened, policy: &Effective) -> Refusal {
    let origin: Origin = policy.rotation_grace.origin.clone();
    let current = u64::from(session.chain().generation);
    Refusal {
        code: Code::TokenReused,
        rule: rotation::RULE,
        origin: Some(origin),
        evidence: Some(Evidence::Limit {
            allowed: Value::Text(format!("generation {current}").into()),
            seen: Value::Text(format!("generation {}", token.generation).into()),
        }),
    }
}

fn rotation_due(session: &impl Subject, policy: &Effective, now: Millis) -> bool {
    !session.chain().has_refresh()
        && policy.rotate_every.value.0.is_some_and(|every| now.since(session.chain().made_at) >= every)
}

fn missing_tags(session: &impl Subject, required: &[Tag]) -> Option<Refusal> {
    lacks_tags(required, || session.tags().map(|(tag, _)| tag))
}

fn missing_groups(session: &impl Subject, required: &[Group]) -> Option<Refusal> {
    lacks_groups(required, || session.groups())
}

/// What is required of tags, and not among those that are held.
pub(crate) fn lacks_tags<'a, H: Iterator<Item = &'a str>>(
    required: &[Tag],
    held: impl Fn() -> H,
) -> Option<Refusal> {
    lacks((Code::TagMissing, "required_tags"), required.iter().map(Tag::as_str), held)
}

/// What is required of groups, and not among those that are held.
pub(crate) fn lacks_groups<'a, H: Iterator<Item = &'a str>>(
    required: &[Group],
    held: impl Fn() -> H,
) -> Option<Refusal> {
    lacks((Code::AccessGroupMissing, "required_access_groups"), required.iter().map(Group::as_str), held)
}

fn lacks<'a, 'b, H: Iterator<Item = &'b str>>(
    (code, rule): (Code, &'static str),
    required: impl Iterator<Item = &'a str>,
    held: impl Fn() -> H,
) -> Option<Refusal> {
    let missing: Vec<Box<str>> =
        required.filter(|one| !held().any(|has| has == *one)).map(Into::into).collect();
    (!missing.is_empty()).then(|| Refusal {
        code,
        rule,
        origin: None,
        evidence: Some(Evidence::Limit {
            allowed: Value::Texts(missing),
            seen: Value::Texts(held().map(Into::into).collect()),
        }),
    })
}
