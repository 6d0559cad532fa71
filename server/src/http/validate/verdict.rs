//! One verdict as it is told, and many; and whether what memory said is still to be told when the answer leaves.
//!
//! Where other nodes write to the same store, what memory knows is worth nothing once the licence that it was read under is
//! over: a process may have been stopped between two lines. The same goes for what was just loaded. Then it is judged again, on a
//! fresh load.

use super::super::problem::Problem;
use super::super::wire::{ChallengeBody, EvidenceBody};
use super::super::{Web, render};
use super::ValidateResponse;
use crate::app::callers::Caller;
use crate::app::nodes::{Good, Late};
use crate::app::validate::{Ask, Validated};
use crate::app::view::View;
use handstamp_core::caller::Scope;
use handstamp_core::refusal::Code;
use handstamp_core::rotation::Issued;
use handstamp_core::step_up;
use serde::Serialize;

/// The answer to one.
pub(super) async fn one(web: &Web, caller: &Caller, asked: Ask<'_>) -> Result<Vec<u8>, Problem> {
    let mut out = Vec::with_capacity(1_024);
    let again = web.app.has_others().then(|| asked.clone());
    let mut told = judge(web, caller, asked, &mut out).await?;
    let Some(mut again) = again else { return Ok(out) };
    let mut late = Late::default();
    while !web.app.may_leave(told.good, &mut late)? {
        out.clear();
        again = again.again(told.proved);
        // Whoever asked may perhaps not ask any more.
        web.app.look_again(caller, Scope::SessionsRead).await?;
        told = judge(web, caller, again.clone(), &mut out).await?;
    }
    Ok(out)
}

/// The answer to a batch, in the order of the requests.
pub(super) async fn all(web: &Web, caller: &Caller, asked: Vec<Ask<'_>>) -> Result<Vec<u8>, Problem> {
    let mut out = Vec::with_capacity(asked.len() * 1_024);
    out.extend_from_slice(b"{\"results\":[");
    if web.app.has_others() {
        // The answer leaves when the last of them is judged, and then all of it must be true.
        for (at, verdict) in together(web, caller, asked).await?.into_iter().enumerate() {
            comma(at, &mut out);
            out.extend_from_slice(&verdict);
        }
    } else {
        for (at, one) in asked.into_iter().enumerate() {
            comma(at, &mut out);
            judge(web, caller, one, &mut out).await?;
        }
    }
    out.extend_from_slice(b"]}");
    Ok(out)
}

fn comma(at: usize, out: &mut Vec<u8>) {
    if at > 0 {
        out.push(b',');
    }
}

async fn together(web: &Web, caller: &Caller, mut asked: Vec<Ask<'_>>) -> Result<Vec<Vec<u8>>, Problem> {
    let mut told = Vec::with_capacity(asked.len());
    for one in &asked {
        let mut out = Vec::with_capacity(1_024);
        let how = judge(web, caller, one.clone(), &mut out).await?;
        told.push((out, how));
    }
    let mut late = Late::default();
    // All of it leaves with the first that must: the others are looked at when that one is.
    while let Some((_, how)) = told.iter().find(|(_, how)| !web.app.is_good(how.good))
        && !web.app.may_leave(how.good, &mut late)?
    {
        web.app.look_again(caller, Scope::SessionsRead).await?;
        for (one, (out, how)) in asked.iter_mut().zip(&mut told) {
            if !web.app.is_good(how.good) {
                out.clear();
                *one = one.once_more(how.proved);
                *how = judge(web, caller, one.clone(), out).await?;
            }
        }
    }
    Ok(told.into_iter().map(|(out, _)| out).collect())
}

/// How long an answer may be told, and whether a proof was used up for it.
struct Judged {
    good: Good,
    proved: bool,
}

/// Judges one token, and appends the answer to `out`.
async fn judge(web: &Web, caller: &Caller, asked: Ask<'_>, out: &mut Vec<u8>) -> Result<Judged, Problem> {
    let (assured, ip) = (asked.assured, asked.ip);
    match web.app.validate(&caller.env, asked).await? {
        Validated::Current(current) => {
            out.extend_from_slice(b"{\"valid\":true,\"session\":");
            render::current(out, &current);
            out.push(b'}');
            Ok(Judged { good: current.good, proved: false })
        }
        Validated::Allowed { view, issued, challenge, good, draft: _ } => {
            let proved = challenge.is_some();
            out.extend_from_slice(b"{\"valid\":true,\"session\":");
            render::session(out, &view);
            if let Some(issued) = &issued {
                rotated(web, out, &view, issued)?;
            }
            if let Some(challenge) = challenge {
                out.extend_from_slice(b",\"device_challenge\":");
                write(out, &ChallengeBody::from(*challenge))?;
            }
            out.push(b'}');
            Ok(Judged { good, proved })
        }
        Validated::Refused { refusal, session, challenge } => {
            web.app.spend_refusal(&caller.env, &refusal, ip);
            let body = ValidateResponse::Invalid {
                valid: false,
                code: refusal.code.text(),
                detail: refusal.detail(),
                evidence: EvidenceBody::of_refusal(&refusal),
                status: refusal.code.status(),
                session_id: session.map(|id| id.to_string()),
                www_authenticate: (refusal.code == Code::ReauthenticationRequired)
                    .then(|| step_up::challenge(assured)),
                device_challenge: challenge.map(|challenge| ChallengeBody::from(*challenge)),
            };
            write(out, &body)?;
            Ok(Judged { good: Good::ALWAYS, proved: false })
        }
    }
}

/// Appends the successor that is to be delivered.
fn rotated(web: &Web, out: &mut Vec<u8>, view: &View, issued: &Issued) -> Result<(), Problem> {
    let token = issued.session.reveal();
    out.extend_from_slice(b",\"rotated_token\":");
    write(out, &token)?;
    out.extend_from_slice(b",\"set_cookie\":");
    write(out, &[web.cookie.session(token, view.ends.earliest(), web.app.now())])
}

fn write<T: Serialize>(out: &mut Vec<u8>, body: &T) -> Result<(), Problem> {
    serde_json::to_writer(out, body).map_err(|error| Problem::accident(Code::InternalError, &error))
}
