//! What can be asked: the commands, and what each of them is told.

use super::failure::Failure;
use crate::json::{self, Object};
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::collections::HashMap;
use std::fmt;

/// Every command that is answered here.
pub const NAMES: [&str; 18] = [
    "Ping",
    "CreateSession",
    "ValidateSession",
    "ValidateAndRefreshSession",
    "FetchAllSessionsForUser",
    "FetchAllSessions",
    "FetchSessionById",
    "UpdateSession",
    "UpdateSessions",
    "InvalidateSessionByToken",
    "InvalidateSessionById",
    "InvalidateAllSessionsForUser",
    "InvalidateAllSessionsForUserExceptOne",
    "CreateDeviceChallenge",
    "RegisterDevice",
    "CreateStatelessToken",
    "GetJwks",
    "RotateStatelessTokenKey",
];

/// Members that are objects of the protocol: in them, too, `null` is the same as left out. Whatever else is an object
/// belongs to the application, whose nulls mean something.
const OBJECTS: [&str; 3] = ["deviceRegistration", "deviceVerification", "filter"];

/// A call: `command` and `data`, in either order.
pub struct Envelope {
    /// Which.
    pub command: String,
    /// What it is told, as it was written.
    pub data: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Call {
    command: String,
    data: Option<Box<RawValue>>,
}

/// Reads a call.
///
/// # Errors
/// `invalid_request`, with the place.
pub fn envelope(body: &[u8]) -> Result<Envelope, Failure> {
    let Call { command, data } = json::parse(body).map_err(|wrong| Failure::wrong(&wrong, ""))?;
    Ok(Envelope { command, data: data.map(|data| data.get().to_owned()) })
}

/// The same data without members that are `null`. Everything else stays as it was written, so that what reads it next sees
/// what is wrong with it where it is.
///
/// # Errors
/// `invalid_request`, when it is no object.
pub fn lean(data: Option<&str>) -> Result<String, Failure> {
    let Some(data) = data else { return Ok("{}".to_owned()) };
    if !data.starts_with('{') {
        return Err(Failure::invalid("/data", "expected an object"));
    }
    without_nulls(data, &OBJECTS).ok_or_else(|| Failure::invalid("/data", "expected an object"))
}

/// `own`: members that are objects of the protocol. None of them has another one in it: however deep they lie in each
/// other, nothing is read more than twice.
fn without_nulls(object: &str, own: &[&str]) -> Option<String> {
    let Members(members) = serde_json::from_str(object).ok()?;
    let mut text = String::with_capacity(object.len());
    text.push('{');
    let mut seen = HashMap::new();
    members.iter().for_each(|(name, _)| *seen.entry(name.as_str()).or_insert(0_u32) += 1);
    // A member that is there twice stays so, and is refused by who reads it.
    let said = |(name, value): &&(String, Box<RawValue>)| {
        value.get() != "null" || seen.get(name.as_str()) != Some(&1)
    };
    for (name, value) in members.iter().filter(said) {
        if text.len() > 1 {
            text.push(',');
        }
        text.push_str(&serde_json::to_string(name).ok()?);
        text.push(':');
        let value = value.get();
        match own.contains(&name.as_str()) && value.starts_with('{') {
            true => text.push_str(&without_nulls(value, &[])?),
            false => text.push_str(value),
        }
    }
    text.push('}');
    Some(text)
}

/// The members of an object in their order, also those that are there twice.
struct Members(Vec<(String, Box<RawValue>)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Members, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Members;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Reader)
    }
}

/// `Ping`: nothing.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ByoNothing)]
pub struct Nothing {}

/// `CreateSession`.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schema(as = ByoCreateSession)]
pub struct CreateSession {
    /// Whose session it is.
    pub user_id: String,
    /// `name:value`.
    pub tags: Option<Vec<String>>,
    /// The client's user agent.
    pub user_agent: Option<String>,
    /// The client's address.
    pub ip_address: Option<String>,
    /// The application's own data.
    #[schema(value_type = Option<serde_json::Value>)]
    pub metadata: Option<Box<RawValue>>,
    /// The device that logs in.
    #[schema(value_type = Option<DeviceRegistration>)]
    pub device_registration: Option<Object<DeviceRegistration>>,
}

/// `ValidateSession` and `ValidateAndRefreshSession`.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schema(as = ByoValidateSession)]
pub struct ValidateSession {
    /// What the client presented. Left out, it is refused like any other that is no token.
    pub session_token: Option<String>,
    /// The client's user agent.
    pub user_agent: Option<String>,
    /// The client's address.
    pub ip_address: Option<String>,
    /// Tags that the session must carry.
    pub required_tags: Option<Vec<String>>,
    /// The proof by the session's device.
    #[schema(value_type = Option<DeviceVerification>)]
    pub device_verification: Option<Object<DeviceVerification>>,
    /// The request cannot carry a proof: none is asked for.
    pub ignore_device_for_verification: Option<bool>,
}

/// A device that logs in.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schema(as = ByoDeviceRegistration)]
pub struct DeviceRegistration {
    /// The proof, with its key.
    pub signed_device_challenge: String,
    /// Whether the user is to be known to have the device.
    pub remember_device: Option<bool>,
    /// The URL of the client's request; left out, it is not compared.
    pub request_url: Option<String>,
    /// Its method; left out, it is not compared.
    pub request_method: Option<String>,
}

/// A proof by the device that a session has.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schema(as = ByoDeviceVerification)]
pub struct DeviceVerification {
    /// The proof.
    pub signed_device_challenge: String,
    /// The URL of the client's request; left out, it is not compared.
    pub request_url: Option<String>,
    /// Its method; left out, it is not compared.
    pub request_method: Option<String>,
}

/// `FetchAllSessionsForUser`, `InvalidateAllSessionsForUser`.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schema(as = ByoSessionsOfUser)]
pub struct OfUser {
    /// Whose.
    pub user_id: String,
    /// Those that carry all of these.
    pub session_tags: Option<Vec<String>>,
}

/// `FetchAllSessions`.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schema(as = ByoFetchAllSessions)]
pub struct FetchAllSessions {
    /// Whose.
    pub user_id: Option<String>,
    /// Those that carry all of these.
    pub session_tags: Option<Vec<String>>,
    /// From 0.
    pub page: Option<u32>,
}

/// `FetchSessionById`.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schema(as = ByoFetchSessionById)]
pub struct FetchSessionById {
    /// Which.
    pub session_id: String,
}

/// `UpdateSession`.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schema(as = ByoUpdateSession)]
pub struct UpdateSession {
    /// Which.
    pub session_id: String,
    /// Tags that go.
    pub tags_to_remove: Option<Vec<String>>,
    /// Tags that come.
    pub tags_to_add: Option<Vec<String>>,
    /// Data in the place of what there is.
    #[schema(value_type = Option<serde_json::Value>)]
    pub new_metadata: Option<Box<RawValue>>,
    /// Changes to it: a merge patch (RFC 7396).
    #[schema(value_type = Option<serde_json::Value>)]
    pub patch_metadata: Option<Box<RawValue>>,
}

/// `UpdateSessions`.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schema(as = ByoUpdateSessions)]
pub struct UpdateSessions {
    /// Which: an empty filter is refused.
    #[schema(value_type = SessionFilter)]
    pub filter: Object<SessionFilter>,
    /// Tags that go.
    pub tags_to_remove: Option<Vec<String>>,
    /// Tags that come.
    pub tags_to_add: Option<Vec<String>>,
    /// Data in the place of what there is.
    #[schema(value_type = Option<serde_json::Value>)]
    pub new_metadata: Option<Box<RawValue>>,
    /// Changes to it: a merge patch (RFC 7396).
    #[schema(value_type = Option<serde_json::Value>)]
    pub patch_metadata: Option<Box<RawValue>>,
}

/// Which sessions.
#[derive(Deserialize, Default, utoipa::ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schema(as = ByoSessionFilter)]
pub struct SessionFilter {
    /// Whose.
    pub user_id: Option<String>,
    /// Those that carry all of these.
    pub session_tags: Option<Vec<String>>,
}

/// `InvalidateSessionByToken`.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schema(as = ByoInvalidateSessionByToken)]
pub struct InvalidateSessionByToken {
    /// What the client presented. Left out, or no token of a live session, nothing is done.
    pub session_token: Option<String>,
}

/// `InvalidateSessionById`.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schema(as = ByoInvalidateSessionById)]
pub struct InvalidateSessionById {
    /// Which.
    pub session_id: String,
    /// A guard: another user's session is not found.
    pub user_id: Option<String>,
}

/// `InvalidateAllSessionsForUserExceptOne`.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schema(as = ByoInvalidateOthers)]
pub struct InvalidateOthers {
    /// Whose.
    pub user_id: String,
    /// The token of the session to keep, which must be a live one of the user.
    pub session_token_to_keep: String,
    /// Those that carry all of these.
    pub session_tags: Option<Vec<String>>,
}

/// `CreateDeviceChallenge`.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schema(as = ByoCreateDeviceChallenge)]
pub struct CreateDeviceChallenge {
    /// The client's user agent, as the command that answers will name it.
    pub user_agent: Option<String>,
    /// The client's address, as the command that answers will name it.
    pub ip_address: Option<String>,
}

/// `RegisterDevice`.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schema(as = ByoRegisterDevice)]
pub struct RegisterDevice {
    /// The proof, with its key.
    pub signed_device_challenge: String,
    /// Whether the user is to be known to have the device.
    pub remember_device: bool,
    /// The session's token.
    pub session_token: Option<String>,
    /// The session's id, instead of its token; or beside it, and then it must be that session's.
    pub session_id: Option<String>,
    /// The URL of the client's request; left out, it is not compared.
    pub request_url: Option<String>,
    /// Its method; left out, it is not compared.
    pub request_method: Option<String>,
    /// The client's user agent.
    pub user_agent: Option<String>,
    /// The client's address.
    pub ip_address: Option<String>,
}

/// `CreateStatelessToken`.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schema(as = ByoCreateStatelessToken)]
pub struct CreateStatelessToken {
    /// Of a session of whom.
    pub user_id: String,
    /// Of which. Left out: of the live one that the user was active in last, and in which nobody acts in their place.
    pub session_id: Option<String>,
    /// Members to add to what the token says: an object, without any of its own names. At most 2 KiB.
    #[schema(value_type = Option<serde_json::Value>)]
    pub custom_claims: Option<Box<RawValue>>,
    /// What `iss` says; the server itself takes no token with another name than its own. Left out: that one.
    pub issuer: Option<String>,
    /// For whom. Left out: `product/environment`.
    pub audience: Option<String>,
    /// From when on it is good, at most a day ahead. Left out or past: now.
    pub not_before_unixtime: Option<i64>,
    /// Never longer than the policy's `access_token_ttl`, and never beyond the end of the session.
    pub lifetime_secs: Option<i64>,
}

/// `RotateStatelessTokenKey`.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schema(as = ByoRotateStatelessTokenKey)]
pub struct RotateStatelessTokenKey {
    /// From now, when the new key is published, to its first signature.
    pub secs_before_new_key_becomes_default: i64,
    /// From now to the end of the keys that there are. Both 0: these are in wrong hands, and end at once.
    pub secs_before_existing_keys_are_deactivated: i64,
}
