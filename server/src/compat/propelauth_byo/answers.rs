//! What is told. Optional members are left out when there is nothing to tell; times are whole seconds since 1970.

use super::failure::seconds;
use crate::app::token_keys::RsaKey;
use crate::app::view::View;
use handstamp_core::agent::{Agent, Device};
use handstamp_core::session::HeldTag;
use serde::Serialize;
use serde_json::value::RawValue;

/// The answer to `Ping`.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = ByoPong)]
pub struct Pong {
    /// Now.
    pub timestamp: i64,
}

/// Done; there is nothing to tell.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = ByoDone)]
pub struct Done {}

/// A new session and its token.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ByoCreatedSession)]
pub struct Created {
    /// `ses_...`.
    pub session_id: String,
    /// `hst_...`: for the client; it is not shown again.
    pub session_token: String,
    /// When it ends, whatever happens.
    pub expires_at: i64,
    /// With a device: whether the user is not known to have it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub new_device_detected: Option<bool>,
}

/// A session that may pass.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ByoValidSession)]
pub struct Valid {
    /// `ses_...`.
    pub session_id: String,
    /// Whose it is.
    pub user_id: String,
    /// When it was made.
    pub created_at: i64,
    /// When it ends, whatever happens.
    pub expires_at: i64,
    /// `name:value`.
    pub tags: Vec<String>,
    /// The application's own data.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<serde_json::Value>)]
    pub metadata: Option<Box<RawValue>>,
    /// Whether it is bound to a device.
    pub has_device_registered: bool,
    /// The token to give to the client in the place of the one it has, when it was rotated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub new_session_token: Option<String>,
}

/// A session, as it is listed.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ByoSessionInfo)]
pub struct SessionInfo<'a> {
    session_id: String,
    /// When it was made.
    created_at: i64,
    /// When it ends, whatever happens.
    expires_at: i64,
    /// When it was last used.
    last_activity_at: i64,
    /// What its user agent says.
    device: DeviceInfo<'a>,
    /// The client's address when it was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    ip_address: Option<String>,
    /// `name:value`.
    session_tags: Vec<&'a str>,
    /// The application's own data.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<serde_json::Value>)]
    metadata: Option<&'a RawValue>,
}

/// What a user agent says.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ByoDeviceInfo)]
pub struct DeviceInfo<'a> {
    /// `Firefox 128 on Windows`.
    display_name: String,
    /// What kind it is.
    device_type: Kind,
    /// The family of the browser.
    #[serde(skip_serializing_if = "Option::is_none")]
    browser: Option<&'a str>,
    /// Its major version.
    #[serde(skip_serializing_if = "Option::is_none")]
    browser_version: Option<String>,
    /// The family of the system.
    #[serde(skip_serializing_if = "Option::is_none")]
    os: Option<&'a str>,
    /// Its version, where it can be believed.
    #[serde(skip_serializing_if = "Option::is_none")]
    os_version: Option<&'a str>,
}

/// The kinds of devices that the clients know.
#[derive(Clone, Copy, Serialize, utoipa::ToSchema)]
#[schema(as = ByoDeviceType)]
pub enum Kind {
    /// A computer.
    Desktop,
    /// A telephone.
    Mobile,
    /// A tablet.
    Tablet,
    /// Anything else.
    Unknown,
}

/// The sessions of a user.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = ByoSessionsOfUserAnswer)]
pub struct Sessions<'a> {
    /// Newest first.
    pub sessions: Vec<SessionInfo<'a>>,
}

/// A page of sessions.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ByoSessionPage)]
pub struct Page<'a> {
    /// Newest first.
    pub items: Vec<SessionInfo<'a>>,
    /// From 0.
    pub page: u32,
    /// How many a full page has.
    pub page_size: usize,
    /// How many there are: exact up to 10,000, and then at least so many.
    pub total_count: usize,
    /// Whether there is a next page.
    pub has_more_results: bool,
}

/// How many were changed.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ByoUpdatedCount)]
pub struct Updated {
    /// How many.
    pub updated_count: usize,
}

/// How many were ended.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ByoInvalidatedCount)]
pub struct Invalidated {
    /// How many.
    pub sessions_invalidated: u64,
}

/// A challenge for a device to sign.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ByoDeviceChallenge)]
pub struct Challenge {
    /// `dch_...`.
    pub device_challenge: String,
    /// From then on it is stale.
    pub expires_at: i64,
}

/// A session has got its device.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ByoRegisteredDevice)]
pub struct RegisteredDevice {
    /// Whether the user is not known to have it.
    pub new_device_detected: bool,
}

/// A token that is verified without asking.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ByoStatelessToken)]
pub struct StatelessToken {
    /// A JSON Web Token: for whoever the audience is; it is not shown again.
    pub stateless_token: String,
    /// Until when it is good, if nobody ends its session before.
    pub expires_at: i64,
}

/// Public keys.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = ByoJwks)]
pub struct Jwks<'a> {
    /// RSA keys only: those that sign, that will and that did.
    pub keys: Vec<Jwk<'a>>,
}

/// A public RSA key (RFC 7517).
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = ByoJwk)]
pub struct Jwk<'a> {
    /// Always `RSA`.
    kty: &'static str,
    /// Its name in the header of tokens.
    kid: &'a str,
    /// Always `sig`.
    r#use: &'static str,
    /// Always `RS256`.
    alg: &'static str,
    /// The modulus.
    n: &'a str,
    /// The exponent.
    e: &'a str,
}

/// A new key.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ByoKeyRotation)]
pub struct KeyRotation {
    /// Its name in the header of tokens.
    pub new_key_id: String,
    /// From then on it signs.
    pub new_key_becomes_default_at: i64,
    /// From then on no key that was there before verifies anything: the end of the last of them, which may be one
    /// that an earlier rotation left a later end.
    pub existing_keys_expire_at: i64,
}

impl<'a> Jwk<'a> {
    /// A public key.
    pub const fn of(key: RsaKey<'a>) -> Jwk<'a> {
        let RsaKey { kid, modulus: n, exponent: e } = key;
        Jwk { kty: "RSA", kid, r#use: "sig", alg: "RS256", n, e }
    }
}

impl<'a> SessionInfo<'a> {
    /// A session as it stands at an instant.
    pub fn of(view: &'a View) -> SessionInfo<'a> {
        let session = view.session();
        SessionInfo {
            session_id: session.id.to_string(),
            created_at: seconds(session.created_at),
            expires_at: seconds(view.ends.absolute),
            last_activity_at: seconds(view.seen),
            device: DeviceInfo::of(session.client.agent.as_deref()),
            ip_address: session.client.ip.map(|ip| ip.to_string()),
            session_tags: session.tags.iter().map(tag).collect(),
            metadata: view.held.data.as_deref(),
        }
    }
}

impl<'a> DeviceInfo<'a> {
    fn of(agent: Option<&'a Agent>) -> DeviceInfo<'a> {
        let agent = agent.map(Agent::view).unwrap_or_default();
        DeviceInfo {
            display_name: agent.display_name(),
            device_type: match agent.device {
                Device::Desktop => Kind::Desktop,
                Device::Mobile => Kind::Mobile,
                Device::Tablet => Kind::Tablet,
                Device::Tv | Device::Bot | Device::Other => Kind::Unknown,
            },
            browser: agent.browser,
            browser_version: agent.major.map(|major| major.to_string()),
            os: agent.os,
            os_version: agent.os_version,
        }
    }
}

fn tag(held: &HeldTag) -> &str {
    held.tag.as_str()
}
