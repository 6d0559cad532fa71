//! One verdict as it is told, and many; and whether what memory said is still to be told when the answer leaves.
//!
//! Where other nodes write to the same store, what memory knows is worth nothing once the licence that it was read under is
//! over: a process may have been stopped between two lines. Then it is judged again, on a fresh load.

use super::super::problem::Problem;
use super::super::wire::{ChallengeBody, EvidenceBody};
use super::super::{Web, render};
use super::ValidateResponse;
use crate::app::callers::Caller;
use crate::app::nodes::Good;
use crate::app::validate::{Ask, Validated};
use crate::app::view::View;
use handstamp_core::caller::Scope;
use handstamp_core::refusal::Code;
use handstamp_core::rotation::Issued;
use handstamp_core::step_up;
use serde::Serialize;

/// How often an answer is made that could not leave in time.
const TRIES: u32 = 3;

/// The answer to one.
pub(super) async fn one(web: &Web, caller: &Caller, asked: Ask<'_>) -> Result<Vec<u8>, Problem> {
    let mut out = Vec::with_capacity(1_024);
    let again = web.app.has_others().then(|| asked.clone());
    let mut good = judge(web, caller, asked, &mut out).await?;
    let Some(again) = again else { return Ok(out) };
    for _ in 0..TRIES {
        if web.app.is_good(good) {
            return Ok(out);
        }
        out.clear();
        good = judge_again(web, caller, &again, &mut out).await?;
    }
    Err(Problem::too_slow())
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

async fn together(web: &Web, caller: &Caller, asked: Vec<Ask<'_>>) -> Result<Vec<Vec<u8>>, Problem> {
    let mut told = Vec::with_capacity(asked.len());
    for one in &asked {
        let mut out = Vec::with_capacity(1_024);
        let good = judge(web, caller, one.clone(), &mut out).await?;
        told.push((out, good));
    }
    for _ in 0..TRIES {
        let mut late = 0;
        for (one, (out, good)) in asked.iter().zip(&mut told) {
            if !web.app.is_good(*good) {
                late += 1;
                out.clear();
                *good = judge_again(web, caller, one, out).await?;
            }
        }
        if late == 0 {
            return Ok(told.into_iter().map(|(out, _)| out).collect());
        }
    }
    Err(Problem::too_slow())
}

/// The same on a fresh load, if whoever asked may still ask.
async fn judge_again(
    web: &Web,
    caller: &Caller,
    asked: &Ask<'_>,
    out: &mut Vec<u8>,
) -> Result<Good, Problem> {
    web.app.look_up_newest().await.map_err(|error| Problem::accident(Code::StoreUnavailable, &error))?;
    if !web.app.still_may(caller, Scope::SessionsRead) {
        return Err(Problem::code(Code::AccessKeyInvalid));
    }
    judge(web, caller, Ask { strong: true, ..asked.clone() }, out).await
}

/// Judges one token, and appends the answer to `out`. How long that may be told.
async fn judge(web: &Web, caller: &Caller, asked: Ask<'_>, out: &mut Vec<u8>) -> Result<Good, Problem> {
    let (assured, ip) = (asked.assured, asked.ip);
    match web.app.validate(&caller.env, asked).await? {
        Validated::Current(current) => {
            out.extend_from_slice(b"{\"valid\":true,\"session\":");
            render::current(out, &current);
            out.push(b'}');
            Ok(current.good)
        }
        Validated::Allowed { view, issued, challenge, draft: _ } => {
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
            Ok(Good::ALWAYS)
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
            Ok(Good::ALWAYS)
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
