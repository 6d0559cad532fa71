//! The calls about policies: read, replace as a whole, the versions, an earlier one again.

use super::Web;
use super::caller::By;
use super::input::{self, At, BATCH, Json};
use super::problem::{Answer, Problem};
use super::query::Params;
use super::reply::json;
use super::wire::{PageBody, Time, by};
use crate::app::policies::{InForce, PolicyVersion};
use crate::sections::{self, Section};
use axum::body::Body;
use axum::extract::State;
use handstamp_core::policy::Policy;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use serde::de::{Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

/// A policy: the rules of every session, and those of sessions with a tag.
///
/// What a section leaves out is said by others: a tag's section lays itself over the default's, and of several tags the
/// strictest holds. The keys are those of `[policy.default]` in the configuration; durations are texts such as `"30d"`.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Policy, example = json!({
    "default": { "absolute_timeout": "30d", "idle_timeout": "24h" },
    "tag": { "role:admin": { "preset": "aal2", "max_sessions": 1 }, "org:*": { "idle_timeout": "8h" } }
}))]
pub struct PolicyRequest {
    /// The rules of every session.
    #[schema(value_type = Option<std::collections::BTreeMap<String, Value>>)]
    default: Option<Pairs<Value>>,
    /// By `name:value`, or `name:*` for every value of a tag.
    #[schema(value_type = Option<std::collections::BTreeMap<String, std::collections::BTreeMap<String, Value>>>)]
    tag: Option<Pairs<Pairs<Value>>>,
}

/// The policy in force.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = PolicyInForce)]
pub struct InForceBody {
    /// Rises with every change; 0 while nobody has said anything. Also the `ETag`.
    version: u64,
    /// `api`, or `file` when the configuration has a `[policy]`: then nothing can be changed over the API.
    managed_by: &'static str,
    /// What it says, and nothing that it leaves out.
    #[schema(value_type = PolicyRequest)]
    policy: Value,
}

/// A version of a policy.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = PolicyVersion)]
pub struct VersionBody {
    /// Begins at 1.
    version: u64,
    /// Since when it was in force.
    #[schema(value_type = String, format = DateTime)]
    at: Time,
    /// The key that said so.
    by: String,
    /// The version that it took up again.
    #[serde(skip_serializing_if = "Option::is_none")]
    restored: Option<u64>,
    /// What it says.
    #[schema(value_type = PolicyRequest)]
    policy: Value,
}

/// Which version to take up again.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "version": 3 }))]
pub struct RollbackRequest {
    /// As the list of versions names it.
    version: u64,
}

/// Reads the policy in force.
#[utoipa::path(
    get, path = "/v1/policies", tag = "policies", operation_id = "get_policy",
    responses((status = 200, description = "The policy; `ETag` names its version.", body = InForceBody))
)]
pub async fn get(State(web): State<Arc<Web>>, By(caller): By) -> Answer {
    in_force(&web.app.read_policy(&caller)?)
}

/// Replaces the policy as a whole.
///
/// It acts on live sessions from the next request on. Everything that is wrong with it is told at once, and nothing is
/// replaced then. Send `If-Match` with the `ETag` that was read, and nobody's change is overwritten unseen.
#[utoipa::path(
    put, path = "/v1/policies", tag = "policies", operation_id = "replace_policy",
    params(("If-Match" = Option<String>, Header, description = "The `ETag` of the version to replace.")),
    request_body = PolicyRequest,
    responses((status = 200, description = "The policy as it is now.", body = InForceBody))
)]
pub async fn replace(
    State(web): State<Arc<Web>>,
    By(caller): By,
    headers: HeaderMap,
    Json(ask, _): Json<PolicyRequest, BATCH>,
) -> Answer {
    let seen = seen(&headers)?;
    in_force(&web.app.replace_policy(&caller, seen, ask.read("")?).await?)
}

/// Lists the versions of the policy, the newest first.
#[utoipa::path(
    get, path = "/v1/policies/versions", tag = "policies", operation_id = "list_policy_versions",
    params(
        ("limit" = Option<u32>, Query, description = "At most so many: 1 to 200, 50 when left out."),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before.")
    ),
    responses((status = 200, description = "A page.", body = PageBody<VersionBody>))
)]
pub async fn versions(State(web): State<Arc<Web>>, By(caller): By, params: Params) -> Answer {
    let wrong =
        |_| Problem::field("cursor", "this cursor does not belong to this list; begin again without it");
    let before = params.get("cursor")?.map(|text| text.parse::<u64>().map_err(wrong)).transpose()?;
    let limit = usize::try_from(params.limit()?).unwrap_or(1);
    let (found, more) = web.app.policy_versions(&caller, before, limit).await?;
    let next_cursor = found.last().filter(|_| more).map(|last| last.number.to_string());
    Ok(json(StatusCode::OK, &PageBody { items: found.iter().map(version_body).collect(), next_cursor }))
}

/// Reads a version of the policy.
#[utoipa::path(
    get, path = "/v1/policies/versions/{number}", tag = "policies", operation_id = "get_policy_version",
    params(("number" = u64, Path, description = "As the list of versions names it.")),
    responses((status = 200, description = "The version.", body = VersionBody))
)]
pub async fn version(State(web): State<Arc<Web>>, By(caller): By, At(number): At<String>) -> Answer {
    let number = number.parse().map_err(|_| Problem::code(handstamp_core::refusal::Code::NotFound))?;
    Ok(json(StatusCode::OK, &version_body(&web.app.policy_version(&caller, number).await?)))
}

/// Takes up an earlier version again, as a new one.
#[utoipa::path(
    post, path = "/v1/policies/rollback", tag = "policies", operation_id = "roll_back_policy",
    params(("If-Match" = Option<String>, Header, description = "The `ETag` of the version to replace.")),
    request_body = RollbackRequest,
    responses((status = 200, description = "The policy as it is now.", body = InForceBody))
)]
pub async fn roll_back(
    State(web): State<Arc<Web>>,
    By(caller): By,
    headers: HeaderMap,
    Json(ask, _): Json<RollbackRequest>,
) -> Answer {
    let seen = seen(&headers)?;
    in_force(&web.app.roll_back_policy(&caller, seen, ask.version).await?)
}

impl PolicyRequest {
    /// Checks it as a whole; `at` is where it lies in the body.
    ///
    /// # Errors
    /// `invalid_request`, with every slip.
    pub fn read(self, at: &str) -> Result<Policy, Problem> {
        let Pairs(default) = self.default.unwrap_or_default();
        let Pairs(tags) = self.tag.unwrap_or_default();
        let tags: Vec<(String, Section)> = tags.into_iter().map(|(name, Pairs(keys))| (name, keys)).collect();
        sections::read(&default, &tags).map_err(|slips| {
            Problem::fields(
                slips.into_iter().map(|slip| (format!("{at}{}", slip.pointer), slip.message)).collect(),
            )
        })
    }
}

fn in_force(found: &InForce) -> Result<Response<Body>, Problem> {
    let body = InForceBody {
        version: found.version,
        managed_by: if found.managed_by_file { "file" } else { "api" },
        policy: sections::show(&found.policy),
    };
    Ok(tagged(json(StatusCode::OK, &body), found.version))
}

/// An answer whose `ETag` names a version.
pub(super) fn tagged(mut answer: Response<Body>, version: u64) -> Response<Body> {
    if let Ok(tag) = HeaderValue::from_str(&format!("\"{version}\"")) {
        answer.headers_mut().insert(header::ETAG, tag);
    }
    answer
}

fn version_body(version: &PolicyVersion) -> VersionBody {
    VersionBody {
        version: version.number,
        at: Time(version.at),
        by: by(&version.by),
        restored: version.restored,
        policy: sections::show(&version.policy),
    }
}

/// The version that the caller saw.
pub(super) fn seen(headers: &HeaderMap) -> Result<Option<u64>, Problem> {
    const NAME: &str = "If-Match";
    let Some(text) = input::header_once(headers, "if-match", NAME)? else { return Ok(None) };
    if text.trim() == "*" {
        return Ok(None);
    }
    let number = text.trim().strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    let number = number.and_then(|digits| digits.parse().ok());
    number.map(Some).ok_or_else(|| Problem::field(NAME, "the `ETag` of what was read, such as \"3\""))
}

/// An object whose names are not known beforehand, in the order in which they came. One that comes twice is an error,
/// because nobody can say which of the two was meant.
pub struct Pairs<T>(Vec<(String, T)>);

impl<T> Default for Pairs<T> {
    fn default() -> Pairs<T> {
        Pairs(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Pairs<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Pairs<T>, D::Error> {
        struct Names<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Names<T> {
            type Value = Pairs<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Pairs<T>, M::Error> {
                let mut known = std::collections::BTreeSet::new();
                let mut pairs = Vec::new();
                while let Some(name) = map.next_key::<String>()? {
                    if !known.insert(name.clone()) {
                        return Err(serde::de::Error::custom(format!("duplicate field `{name}`")));
                    }
                    pairs.push((name, map.next_value()?));
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(Names(PhantomData))
    }
}
