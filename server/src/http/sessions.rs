//! The calls about one session: create, read, change, end.

use super::Web;
use super::caller::By;
use super::input::{self, AddRemove, At, Json};
use super::parse::{Object, given, present};
use super::problem::{Answer, Problem};
use super::query::Params;
use super::reply::json;
use super::wire::SessionBody;
use crate::app::create::Create;
use crate::app::update::{DataChange, Update};
use axum::extract::State;
use handstamp_core::policy::Policy;
use handstamp_core::time::Span;
use handstamp_core::transition::update::Patch;
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::sync::Arc;

/// A new session.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "user_id": "ada", "tags": ["role:admin"], "data": { "theme": "dark" }, "ip": "203.0.113.7",
    "user_agent": "Mozilla/5.0"
}))]
pub struct CreateRequest {
    /// Whatever the application calls its user: 1 to 256 bytes. It may be left out for a session of a type whose selector
    /// finds it in the data.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = String, required = false)]
    user_id: Option<String>,
    /// `name:value`, at most 32.
    #[serde(default)]
    tags: Vec<String>,
    /// Any JSON up to 16 KiB, in which each object has each member once, and that fits the session's type if it has one;
    /// encrypted at rest.
    #[schema(value_type = Option<serde_json::Value>)]
    data: Option<Box<RawValue>>,
    /// Names, at most 64.
    #[serde(default)]
    access_groups: Vec<String>,
    /// Seconds; may shorten the policy's life, never lengthen it.
    expires_in: Option<u64>,
    /// The client's address.
    ip: Option<String>,
    /// The client's user agent.
    user_agent: Option<String>,
}

/// A session and its credentials.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Created<'a> {
    /// The session.
    session: SessionBody<'a>,
    /// `hst_...`: give it to the client; it is not shown again.
    token: &'a str,
    /// Ready `Set-Cookie` values.
    set_cookie: Vec<String>,
    /// Ids of sessions that were ended to keep a limit.
    evicted: Vec<String>,
}

/// What changes.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "tags": { "add": ["role:admin"] }, "data_patch": { "theme": null }, "extend": true }))]
pub struct UpdateRequest {
    /// Tags to add and remove.
    #[schema(value_type = Option<AddRemove>)]
    tags: Option<Object<AddRemove>>,
    /// New data.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<serde_json::Value>)]
    data: Option<Box<RawValue>>,
    /// Changes to the data: a merge patch (RFC 7396).
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<serde_json::Value>)]
    data_patch: Option<Box<RawValue>>,
    /// Groups to add and remove.
    #[schema(value_type = Option<AddRemove>)]
    access_groups: Option<Object<AddRemove>>,
    /// Restart the idle time.
    extend: Option<bool>,
}

/// A session that was changed.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Updated<'a> {
    /// As it is now.
    session: SessionBody<'a>,
}

/// What was ended.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Ended {
    /// 1, or 0 when it had ended before.
    ended: u8,
}

/// Makes a session.
///
/// Call it once the application has checked who it is. With an `Idempotency-Key`, the same request sent again within 24
/// hours gives the same session and the same token, as long as nobody has presented it.
#[utoipa::path(
    post, path = "/v1/sessions", tag = "sessions", operation_id = "create_session",
    request_body = CreateRequest,
    params(("Idempotency-Key" = Option<String>, Header, description =
        "1 to 255 visible characters: makes it safe to send the same request again, for 24 hours.")),
    responses((status = 201, description = "The session and its token.", body = Created<'static>))
)]
pub async fn create(
    State(web): State<Arc<Web>>,
    By(caller): By,
    headers: HeaderMap,
    Json(ask, bytes): Json<CreateRequest>,
) -> Answer {
    let mut ask = ask.read()?;
    ask.idempotency = idempotency(&headers)?.map(|text| (text, bytes));
    let made = web.app.create(&caller, ask).await?;
    let set_cookie =
        vec![web.cookie.session(made.issued.session.reveal(), made.view.ends.earliest(), web.app.now())];
    let body = Created {
        session: SessionBody::of(&made.view),
        token: made.issued.session.reveal(),
        set_cookie,
        evicted: Vec::new(),
    };
    Ok(json(StatusCode::CREATED, &body))
}

/// Reads a session, live or ended.
#[utoipa::path(
    get, path = "/v1/sessions/{id}", tag = "sessions", operation_id = "get_session",
    params(("id" = String, Path, description = "`ses_...`")),
    responses((status = 200, description = "The session.", body = SessionBody<'static>))
)]
pub async fn get(State(web): State<Arc<Web>>, By(caller): By, At(id): At<String>) -> Answer {
    let view = web.app.get(&caller, input::session(&id)?).await?;
    Ok(json(StatusCode::OK, &SessionBody::of(&view)))
}

/// Changes a live session.
///
/// Tags, groups, data, or a new beginning of its idle time (`extend`).
#[utoipa::path(
    patch, path = "/v1/sessions/{id}", tag = "sessions", operation_id = "update_session",
    params(("id" = String, Path, description = "`ses_...`")),
    request_body = UpdateRequest,
    responses((status = 200, description = "The session as it is now.", body = Updated<'static>))
)]
pub async fn update(
    State(web): State<Arc<Web>>,
    By(caller): By,
    At(id): At<String>,
    Json(ask, _): Json<UpdateRequest>,
) -> Answer {
    let view = web.app.update(&caller, input::session(&id)?, &ask.read("")?).await?;
    Ok(json(StatusCode::OK, &Updated { session: SessionBody::of(&view) }))
}

impl CreateRequest {
    /// Checks every value.
    ///
    /// # Errors
    /// `invalid_request` or `tag_invalid`, with a JSON pointer to the place.
    pub fn read(self) -> Result<Create, Problem> {
        let expires_in = self.expires_in.map(seconds).transpose()?;
        Ok(Create {
            user: self.user_id.map(|text| input::user("/user_id", &text)).transpose()?,
            tags: input::tags("/tags", &self.tags)?,
            groups: input::groups("/access_groups", &self.access_groups)?,
            data: input::data("/data", self.data)?.map(|raw| raw.get().to_owned()),
            expires_in,
            client: input::client("", self.ip.as_deref(), self.user_agent.as_deref())?,
            idempotency: None,
        })
    }
}

impl UpdateRequest {
    /// Checks every value; `at` is where the patch lies in the body.
    ///
    /// # Errors
    /// `invalid_request` or `tag_invalid`, with a JSON pointer to the place.
    pub fn read(self, at: &str) -> Result<Update, Problem> {
        let Object(tags) = self.tags.unwrap_or_default();
        let Object(groups) = self.access_groups.unwrap_or_default();
        let data = input::data(&format!("{at}/data"), self.data)?;
        let data = match (data, input::data(&format!("{at}/data_patch"), self.data_patch)?) {
            (Some(_), Some(_)) => {
                return Err(Problem::field(
                    format!("{at}/data_patch"),
                    "send either `data` or `data_patch`, not both",
                ));
            }
            (Some(raw), None) => DataChange::Replace(raw.get().to_owned()),
            (None, Some(patch)) => DataChange::Merge(patch),
            (None, None) => DataChange::Keep,
        };
        let patch = Patch {
            add_tags: input::tags(&format!("{at}/tags/add"), &tags.add)?,
            remove_tags: input::tags(&format!("{at}/tags/remove"), &tags.remove)?,
            add_groups: input::groups(&format!("{at}/access_groups/add"), &groups.add)?,
            remove_groups: input::groups(&format!("{at}/access_groups/remove"), &groups.remove)?,
            data: None,
            extend: self.extend.unwrap_or(false),
        };
        if patch.is_empty() && matches!(data, DataChange::Keep) {
            return Err(Problem::field(
                at,
                "nothing to change: send tags, data, data_patch, access_groups or extend",
            ));
        }
        Ok(Update { patch, data })
    }
}

/// Ends a session.
///
/// Ended is final; the session stays readable for its retention. Ended again, it answers `{"ended": 0}`.
#[utoipa::path(
    delete, path = "/v1/sessions/{id}", tag = "sessions", operation_id = "end_session",
    params(
        ("id" = String, Path, description = "`ses_...`"),
        ("user_id" = Option<String>, Query, description = "A guard: another user's session is not found."),
        ("reason" = Option<String>, Query, description = "For history: at most 500 characters.")
    ),
    responses((status = 200, description = "Whether this call ended it.", body = Ended))
)]
pub async fn end(State(web): State<Arc<Web>>, By(caller): By, At(id): At<String>, query: Params) -> Answer {
    let guard = query.get("user_id")?.map(|text| input::user("user_id", text)).transpose()?;
    let reason = input::reason("reason", query.get("reason")?)?;
    let ended = web.app.end(&caller, input::session(&id)?, guard.as_ref(), reason).await?;
    Ok(json(StatusCode::OK, &Ended { ended: u8::from(ended) }))
}

fn seconds(n: u64) -> Result<Span, Problem> {
    let span = i64::try_from(n)
        .ok()
        .map(Span::secs)
        .filter(|span| *span >= Policy::SHORTEST && *span <= Policy::LONGEST);
    span.ok_or_else(|| Problem::field("/expires_in", "seconds, between 1 and 316224000 (3660 days)"))
}

fn idempotency(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    const NAME: &str = "Idempotency-Key";
    let Some(text) = input::header_once(headers, "idempotency-key", NAME)? else { return Ok(None) };
    if text.is_empty() || text.len() > 255 {
        return Err(Problem::field(NAME, "1 to 255 visible characters"));
    }
    Ok(Some(text.to_owned()))
}
