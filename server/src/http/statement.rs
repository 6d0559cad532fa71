//! The signed statement of what was erased, as a JSON Web Signature (RFC 7515) that any library verifies, and the key
//! for that (RFC 8037).

use super::problem::Problem;
use super::wire::{Time, by};
use crate::app::App;
use crate::app::Stop;
use crate::app::erase::{Erased, sha256};
use handstamp_core::jose::base64url;
use serde::Serialize;

/// What was erased.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = ErasureStatement)]
pub struct StatementBody<'a> {
    /// Always `user.erased`.
    #[serde(rename = "type")]
    kind: &'static str,
    /// `product/environment`.
    environment: &'a str,
    /// What the user is called from now on: `erased_` and a digest of their id under a key that never leaves the server.
    pseudonym: &'a str,
    /// Sessions that were made until then are erased.
    #[schema(value_type = String, format = DateTime)]
    erased_at: Time,
    /// The id of the access key that asked for it.
    by: String,
    /// Live sessions that this call ended.
    sessions_ended: u64,
    /// Records of sessions that held something. 0: an earlier call has erased all.
    sessions_erased: u64,
    /// Lines of history that held something.
    events_erased: u64,
    /// What is gone.
    erased: [&'static str; 8],
    /// What stays. `who_acted_for_the_user`: the ids of those who acted in the user's place, without what they said.
    /// `where_the_user_acted_for_others`: in the sessions and the history of other users, the id and the reason under which
    /// this user acted in their place; that history is about those others, and says who was there in their name.
    kept: [&'static str; 7],
}

const ERASED: [&str; 8] =
    ["user_id", "addresses", "user_agents", "data", "tags", "access_groups", "notes_and_reasons", "devices"];
const KEPT: [&str; 7] = [
    "pseudonym",
    "session_ids",
    "times",
    "codes_and_rules",
    "access_key_ids",
    "who_acted_for_the_user",
    "where_the_user_acted_for_others",
];

/// The statement, signed.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = Erasure)]
pub struct ErasureBody<'a> {
    /// For people.
    statement: StatementBody<'a>,
    /// The same as a compact JSON Web Signature (EdDSA, `typ` is `erasure-statement+jws`): keep this one.
    jws: String,
    /// What verifies it; also at `/.well-known/handstamp-erasure-keys.json`.
    public_key: KeyBody,
}

/// A public key as a JSON Web Key.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = StatementKey)]
pub struct KeyBody {
    /// `OKP`
    kty: &'static str,
    /// `Ed25519`
    crv: &'static str,
    /// The key, in base64url.
    x: String,
    /// Its name: the thumbprint of RFC 7638.
    kid: String,
    /// `EdDSA`
    alg: &'static str,
    /// `sig`
    #[serde(rename = "use")]
    purpose: &'static str,
}

/// All keys that statements are signed with.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = StatementKeys)]
pub struct KeysBody {
    /// One, in this version.
    pub(super) keys: [KeyBody; 1],
}

impl KeyBody {
    /// The one of this server.
    pub(super) fn of(app: &App) -> Result<KeyBody, Problem> {
        let x = base64url::encode(&app.statement_key().map_err(Stop::from)?);
        // The members in their order, and nothing else (RFC 7638, 3.2; RFC 8037, 2).
        let print = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#);
        let kid = base64url::encode(&sha256(print.as_bytes()));
        Ok(KeyBody { kty: "OKP", crv: "Ed25519", x, kid, alg: "EdDSA", purpose: "sig" })
    }
}

impl<'a> ErasureBody<'a> {
    /// Signs what was erased.
    pub(super) fn of(app: &App, erased: &'a Erased) -> Result<ErasureBody<'a>, Problem> {
        let statement = StatementBody {
            kind: "user.erased",
            environment: &erased.environment,
            pseudonym: erased.pseudonym.as_str(),
            erased_at: Time(erased.at),
            by: by(&erased.by),
            sessions_ended: erased.ended,
            sessions_erased: erased.sessions,
            events_erased: erased.events,
            erased: ERASED,
            kept: KEPT,
        };
        let public_key = KeyBody::of(app)?;
        let header = format!(r#"{{"alg":"EdDSA","kid":"{}","typ":"erasure-statement+jws"}}"#, public_key.kid);
        let payload = serde_json::to_vec(&statement)
            .map_err(|why| Problem::accident(handstamp_core::refusal::Code::InternalError, &why))?;
        let signed = format!("{}.{}", base64url::encode(header.as_bytes()), base64url::encode(&payload));
        let signature = app.sign_statement(signed.as_bytes()).map_err(Stop::from)?;
        let jws = format!("{signed}.{}", base64url::encode(&signature));
        Ok(ErasureBody { statement, jws, public_key })
    }
}
