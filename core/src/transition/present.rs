//! What a judgement of a presented token brings about.

use super::{Change, Ground, Impossible};
use crate::expiry;
use crate::judge::{Effect, Shown, Verdict};
use crate::refusal::{Code, Evidence, Refusal, Value};
use crate::rotation::{self, Issued, MadeBy, Verifiers, issue_successor};
use crate::session::{By, Client, End, Session};
use crate::time::Millis;
use crate::token::Kind;
use crate::token::opaque::{Holder, Opened};
use crate::transition::finish;
use crate::user::User;

/// The change to commit before the answer is given, and the credentials that go with it.
pub struct Presented {
    /// `None`: nothing changes.
    pub change: Option<Change>,
    /// The successor to hand out.
    pub issued: Option<Issued>,
}

/// Carries out a verdict on the freshly loaded session it was given on; `seen` is its last activity, `user` its user's
/// record, needed where the session ends.
///
/// # Errors
/// [`Impossible`].
pub fn present<'s>(
    ground: Ground<'_>,
    session: &Session,
    seen: Millis,
    user: User,
    shown: impl Into<Shown<'s>>,
    verdict: &Verdict,
    client: &Client,
) -> Result<Presented, Impossible> {
    if verdict.effect != Effect::Nothing && verdict.effect != Effect::StoreBehind && !session.is_live() {
        return Err(Impossible("a verdict on a live session meets an ended one"));
    }
    let shown = shown.into();
    let token = || match shown {
        Shown::Token(token) => Ok(token),
        Shown::Access(_) => Err(Impossible("an access token has no place in the chain")),
    };
    let effective = ground.policy.of(session);
    let mut next = session.clone();
    let mut issued = None;
    match verdict.effect {
        Effect::Nothing | Effect::StoreBehind => {}
        Effect::Note => next.chain.note(token()?.generation, effective.rotation_grace.value, ground.now),
        Effect::Again => issued = Some(successor(ground, session, token()?, true)?),
        Effect::Rotate => {
            let token = token()?;
            let made_by = if token.kind == Kind::Refresh { MadeBy::Refresh } else { MadeBy::Timer };
            let (credentials, verifiers) = derive(ground, session, token, false)?;
            next.chain.note(token.generation, effective.rotation_grace.value, ground.now);
            next.chain.advance(verifiers, made_by, ground.keys.current().id, ground.now);
            issued = Some(credentials);
        }
        Effect::Settle => {
            return Ok(Presented { change: finish::settle(ground, session, seen, user), issued: None });
        }
        Effect::End => {
            let end = verdict.refusal.clone().map(|refusal| ends(ground, refusal));
            let end = end.ok_or(Impossible("a session ends without a reason"))?;
            let change = finish::finish(session, user, end, client.clone());
            return Ok(Presented { change: Some(change), issued: None });
        }
        Effect::EndStolen => {
            return Ok(Presented {
                change: Some(end_stolen(ground, session, user, verdict, client)),
                issued: None,
            });
        }
    }
    let mut changed = matches!(verdict.effect, Effect::Note | Effect::Rotate);
    if verdict.adopt
        && let Some(limits) = expiry::adopt(session, &effective)
    {
        next.limits = limits;
        changed = true;
    }
    let change = changed.then_some(Change { session: next, user: None, events: Vec::new() });
    Ok(Presented { change, issued })
}

fn successor(
    ground: Ground<'_>,
    session: &Session,
    token: &Opened,
    again: bool,
) -> Result<Issued, Impossible> {
    derive(ground, session, token, again).map(|(issued, _)| issued)
}

/// Derives generation g+1 of the presented one. `again`: with the key set that made it the first time, and it must be
/// the one on record.
fn derive(
    ground: Ground<'_>,
    session: &Session,
    token: &Opened,
    again: bool,
) -> Result<(Issued, Verifiers), Impossible> {
    let holder = Holder { env: ground.env, session: session.id, user: session.user.as_str() };
    let set = if again { ground.keys.set(session.chain.key_id) } else { Some(ground.keys.current()) };
    let set = set.ok_or(Impossible("a live session names a key set that is gone"))?;
    let (issued, verifiers) = issue_successor(token, holder, set, ground.keys)
        .ok_or(Impossible("no generation follows the last"))?;
    let known = &session.chain.current;
    let same_refresh = match (&verifiers.refresh, &known.refresh) {
        (Some(derived), Some(known)) => derived.matches(known),
        // Of a session without one, or the successor of a session token alone.
        (None, _) => true,
        (Some(_), None) => false,
    };
    if again && !(same_refresh && verifiers.session.matches(&known.session)) {
        return Err(Impossible("a derived successor is not the one on record"));
    }
    Ok((issued, verifiers))
}

/// The end that a refusal brings.
fn ends(ground: Ground<'_>, refusal: Refusal) -> End {
    let Refusal { code, rule, origin, evidence } = refusal;
    End { at: ground.now, code, by: By::System, rule: Some(rule.into()), origin, evidence, reason: None }
}

/// Ends a session of which a stolen token was presented; the event has both contexts.
fn end_stolen(
    ground: Ground<'_>,
    session: &Session,
    user: User,
    verdict: &Verdict,
    client: &Client,
) -> Change {
    let refusal = verdict.refusal.as_ref();
    let known = session.last_client.as_deref().unwrap_or(&session.client);
    let end = End {
        at: ground.now,
        code: Code::TokenReused,
        by: By::System,
        rule: Some(rotation::RULE.into()),
        origin: refusal.and_then(|r| r.origin.clone()),
        evidence: Some(Evidence::Change {
            before: Value::Text(known.text().into()),
            after: Value::Text(client.text().into()),
        }),
        reason: None,
    };
    finish::finish(session, user, end, client.clone())
}
