//! Stateless tokens, as these clients call access tokens: made of a session of a user, their public keys, and the next key. They
//! are signed with RS256, the one algorithm whose keys these clients can read; the environment's first key of it is made when
//! it is first needed.

use super::answers::{Jwk, Jwks, KeyRotation, StatelessToken};
use super::commands::{CreateStatelessToken, Nothing, RotateStatelessTokenKey};
use super::failure::{Failure, seconds};
use super::{plain, read};
use crate::app::access_tokens::Order;
use crate::app::callers::Caller;
use crate::app::{App, Refused, Stop};
use handstamp_core::access_token::Wish;
use handstamp_core::caller::Scope;
use handstamp_core::id::SessionId;
use handstamp_core::jose::json::{Members, read_object};
use handstamp_core::jose::key::Algorithm;
use handstamp_core::refusal::Code;
use handstamp_core::time::{Millis, Span};

/// What signs them.
const ALGORITHM: Algorithm = Algorithm::Rs256;

/// A token of a session that is named, or of the one that the user was active in last.
pub(super) async fn create(
    app: &App,
    by: &Caller,
    ask: CreateStatelessToken,
) -> Result<StatelessToken, Failure> {
    by.allow(Scope::TokensMint).map_err(plain)?;
    let user = read::user("/data/userId", &ask.user_id)?;
    let named = ask.session_id.as_deref().map(session).transpose()?;
    let order = Order { wish: wish(ask, app.now())?, algorithm: Some(ALGORITHM) };
    app.have_signing_key(by, ALGORITHM).await.map_err(plain)?;
    let made = app.mint_for(by, &user, named, &order).await;
    let made = made.map_err(|stop| Failure::of(stop, |refused| Some(not_created(refused))))?;
    Ok(StatelessToken {
        stateless_token: made.token.reveal().to_owned(),
        expires_at: seconds(made.expires_at),
    })
}

/// The public keys that verify them.
pub(super) async fn jwks(app: &App, by: &Caller, Nothing {}: Nothing) -> Result<Vec<u8>, Failure> {
    let env = app.have_signing_key(by, ALGORITHM).await.map_err(plain)?;
    let keys = env.tokens.rsa_keys(app.now());
    super::told(&Jwks { keys: keys.into_iter().map(Jwk::of).collect() })
}

/// A new key; those that there are go on verifying for a while, unless both delays are 0.
pub(super) async fn rotate(
    app: &App,
    by: &Caller,
    ask: RotateStatelessTokenKey,
) -> Result<KeyRotation, Failure> {
    let begin_in = span(ask.secs_before_new_key_becomes_default);
    let end_in = span(ask.secs_before_existing_keys_are_deactivated);
    let rotated = app.hand_over_key(by, ALGORITHM, (begin_in, end_in)).await;
    let (kid, told) = rotated.map_err(|stop| Failure::of(stop, not_rotated))?;
    Ok(KeyRotation {
        new_key_id: kid.into(),
        new_key_becomes_default_at: seconds(told.begins_at),
        // Not before the last of them is of no use.
        existing_keys_expire_at: seconds(told.others_end_at.plus(Span(999))),
    })
}

/// What the token is to say; each part in the words of this protocol where it will not do.
fn wish(ask: CreateStatelessToken, now: Millis) -> Result<Wish, Failure> {
    let custom = match ask.custom_claims {
        None => Members::default(),
        Some(raw) => read_object(raw.get().as_bytes()).ok_or_else(|| {
            wrong("/data/customClaims", "a JSON object with each member once, at most 16 deep")
        })?,
    };
    let place = |(field, message): (&'static str, String)| wrong(pointer(field), &message);
    let audience = ask.audience.into_iter().collect();
    let not_before = ask.not_before_unixtime.map(|at| Millis(at.saturating_mul(1_000)));
    let wish = Wish::new(audience, ask.lifetime_secs.map(span), not_before, custom, now).map_err(place)?;
    match ask.issuer {
        None => Ok(wish),
        Some(issuer) => wish.issued_as(issuer).map_err(place),
    }
}

/// Where this protocol has what a wish says in one field.
fn pointer(field: &str) -> &'static str {
    match field {
        "audience" => "/data/audience",
        "lifetime" => "/data/lifetimeSecs",
        "not_before" => "/data/notBeforeUnixtime",
        "claims" => "/data/customClaims",
        "issuer" => "/data/issuer",
        _ => "/data",
    }
}

const NOT_CREATED: &str = "TokenCreationFailed";

fn wrong(pointer: &str, message: &str) -> Failure {
    Failure::invalid(pointer, message).typed(NOT_CREATED)
}

fn session(text: &str) -> Result<SessionId, Failure> {
    let none = || {
        let stop = Stop::refuse(Code::NotFound, "sessionId names no session: it is such as ses_4fX...");
        Failure::of(stop, |refused| Some(not_created(refused)))
    };
    SessionId::parse(text).ok_or_else(none)
}

fn not_created(refused: &Refused) -> Failure {
    match refused.fields.as_slice() {
        [(at, message)] => wrong(pointer(at.trim_start_matches('/')), message),
        _ => Failure::text(NOT_CREATED, refused),
    }
}

fn not_rotated(refused: &Refused) -> Option<Failure> {
    match refused.refusal.code {
        Code::RotationUnderWay => Some(Failure::text("RotationFailed", refused)),
        Code::InvalidRequest => Some(Failure::text("InvalidParameters", refused)),
        _ => None,
    }
}

/// What is longer than any time is refused as too long.
const fn span(seconds: i64) -> Span {
    Span(seconds.saturating_mul(1_000))
}
