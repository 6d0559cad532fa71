//! One-time codes: how a login that was made at one place reaches the page that it was for.
//!
//! Whoever checked the password makes a session and gets a code instead of a token; the browser carries the code, in an
//! address, to the application's backend, which exchanges it with its access key. It works once and for a minute, and is
//! bound to its session, to the origin that the login leads back to, and to a secret in the browser that began the login
//! (PKCE, RFC 7636), where the application sent a challenge: without one, whoever loads the address first is logged in.
//!
//! A code is written like a session token and proves itself in the same way; what is stored is its verifier. The session's
//! first token is derived from it, so that nobody has that token before the exchange, and nothing secret is kept for it.

use crate::device::base64url;
use crate::id::SessionId;
use crate::origin::Allowed;
use crate::redirect::ReturnTo;
use crate::refusal::{Code, Evidence, Refusal, Value};
use crate::secret::{PlainToken, Verifier};
use crate::time::{Millis, Span};
use crate::token::Kind;
use crate::token::keyring::{KeySet, Keyring};
use crate::token::opaque::{Holder, Nonce, Opened, mint, verifier};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};

/// The rule's name in refusals.
pub const RULE: &str = "login_code";

/// How long a code can be exchanged: a redirect takes a second, a slow one ten.
pub const LIFE: Span = Span::minutes(1);
/// How long after its end it is known what a code was: longer than a user looks at a page that says "try again".
pub const KEPT: Span = Span::minutes(10);

/// A code has the form of a token of the first generation: it is exchanged before there is another.
const GENERATION: u32 = 0;

/// What the application will prove to know: SHA-256 of the secret that it left in the browser (RFC 7636, `S256`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Challenge([u8; 32]);

impl Challenge {
    /// 43 characters of base64url, each challenge in one way only.
    pub fn parse(text: &str) -> Option<Challenge> {
        base64url::decode_to(text).map(Challenge)
    }
    /// As it is stored.
    pub const fn from_bytes(bytes: [u8; 32]) -> Challenge {
        Challenge(bytes)
    }
    /// To store it.
    pub const fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
    /// As it is written.
    pub fn text(&self) -> String {
        base64url::encode(&self.0)
    }

    fn is_of(&self, secret: &str) -> bool {
        verify_slices_are_equal(digest(&SHA256, secret.as_bytes()).as_ref(), &self.0).is_ok()
    }
}

/// Whether a text can be the secret behind a challenge: 43 to 128 unreserved characters (RFC 7636, 4.1).
pub fn is_secret(text: &str) -> bool {
    (43..=128).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~'))
}

/// What a login is for, as whoever made it says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ahead {
    /// Where it leads back to.
    pub return_to: ReturnTo,
    /// What whoever exchanges the code has to answer.
    pub challenge: Option<Challenge>,
}

/// A code that was given out, as it is stored. Nobody can exchange anything with what stands here.
#[derive(Clone)]
pub struct Pending {
    /// The session behind it.
    pub session: SessionId,
    /// What recognises the code.
    pub verifier: Verifier,
    /// What it is bound to.
    pub ahead: Ahead,
    /// From then on it is too late.
    pub until: Millis,
    /// When it was exchanged.
    pub used_at: Option<Millis>,
}

impl Pending {
    /// From then on nobody needs to know what became of it.
    pub const fn forget_at(&self) -> Millis {
        self.until.plus(KEPT)
    }
}

/// A code for a session of `holder` that is made now, and what is stored of it.
pub fn give(
    holder: Holder<'_>,
    nonce: &Nonce,
    ahead: Ahead,
    set: &KeySet,
    now: Millis,
) -> (PlainToken, Pending) {
    let code = mint(Kind::LoginCode, holder, GENERATION, nonce, set);
    let verifier = verifier(Kind::LoginCode, holder, GENERATION, nonce, set);
    let pending = Pending { session: holder.session, verifier, ahead, until: now.plus(LIFE), used_at: None };
    (code, pending)
}

/// What the application's backend says with a code.
#[derive(Clone, Copy)]
pub struct Presented<'a> {
    /// The origin of the page to which the code came.
    pub origin: &'a str,
    /// The secret behind the challenge.
    pub secret: Option<&'a str>,
}

/// May this code be exchanged? `code` is genuine: its MAC was checked. `pending` is what is stored under its session.
/// A refusal leaves the code as it was: who has it and not the secret cannot take it from who has both.
///
/// # Errors
/// `login_code_invalid`, `login_code_used`, `login_code_expired`, `redirect_not_allowed`.
pub fn judge(
    holder: Holder<'_>,
    pending: &Pending,
    code: &Opened,
    presented: Presented<'_>,
    allowed: &Allowed,
    keys: &Keyring,
    now: Millis,
) -> Result<(), Refusal> {
    let known = code.kind == Kind::LoginCode
        && code.generation == GENERATION
        && pending.session == code.session
        && code.verifier(holder, keys).is_some_and(|verifier| pending.verifier.matches(&verifier));
    if !known {
        return Err(Refusal::plain(Code::LoginCodeInvalid, RULE));
    }
    if let Some(used_at) = pending.used_at {
        return Err(evidence(Code::LoginCodeUsed, "once", Value::Time(used_at)));
    }
    if now >= pending.until {
        return Err(Refusal {
            evidence: Some(Evidence::Limit {
                allowed: Value::Span(LIFE),
                seen: Value::Span(now.since(pending.until.minus(LIFE))),
            }),
            ..Refusal::plain(Code::LoginCodeExpired, RULE)
        });
    }
    let Ahead { return_to, challenge } = &pending.ahead;
    if return_to.origin() != presented.origin {
        return Err(evidence(
            Code::LoginCodeInvalid,
            return_to.origin(),
            Value::Text(presented.origin.into()),
        ));
    }
    // One without a challenge and a secret all the same: the code was slipped to the application by somebody who logged in
    // without it (RFC 9700, 2.1.1 and 4.8.2).
    let answered = match (challenge, presented.secret) {
        (None, None) => true,
        (Some(challenge), Some(secret)) => challenge.is_of(secret),
        (None, Some(_)) | (Some(_), None) => false,
    };
    if !answered {
        let seen = if presented.secret.is_some() { "another one" } else { "none" };
        let needed =
            if challenge.is_some() { "the code_verifier of its challenge" } else { "no code_verifier" };
        return Err(evidence(Code::LoginCodeInvalid, needed, Value::Text(seen.into())));
    }
    // Taken off the list since the login: from then on nothing leads there.
    if !allowed.has(return_to.origin()) {
        let seen = Value::Text(return_to.origin().into());
        return Err(evidence(Code::RedirectNotAllowed, "the origins that are listed", seen));
    }
    Ok(())
}

fn evidence(code: Code, allowed: &str, seen: Value) -> Refusal {
    let evidence = Some(Evidence::Limit { allowed: Value::Text(allowed.into()), seen });
    Refusal { evidence, ..Refusal::plain(code, RULE) }
}
