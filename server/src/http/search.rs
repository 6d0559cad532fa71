//! The calls about many sessions: search, count, history, bulk change.

use super::Web;
use super::caller::By;
use super::input::{self, At, Json, instant};
use super::problem::{Answer, Problem};
use super::query::Params;
use super::reply::json;
use super::sessions::{UpdateRequest, ids};
use super::wire::{EventBody, PageBody, SessionBody};
use crate::app::search::{Filter, Which};
use crate::app::update::Update;
use crate::json::{Object, given};
use axum::extract::State;
use handstamp_core::address::Network;
use handstamp_core::device::key::DeviceId;
use handstamp_core::facet;
use handstamp_core::refusal::Code;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use std::sync::Arc;

/// What the parameters of a search ask for, each checked.
///
/// # Errors
/// `invalid_request` or `tag_invalid`, with the name of the parameter.
pub fn filter(params: &Params) -> Result<Filter, Problem> {
    let tags: Vec<String> = params.all("tag").map(str::to_owned).collect();
    Ok(Filter {
        user: params.get("user_id")?.map(|text| input::user("user_id", text)).transpose()?,
        tags: input::tags("tag", &tags)?,
        network: params.get("ip")?.map(|text| network("ip", text)).transpose()?,
        browser: params.get("browser")?.map(|text| name("browser", text)).transpose()?,
        os: params.get("os")?.map(|text| name("os", text)).transpose()?,
        device: params.get("device_id")?.map(device).transpose()?,
        which: match params.get("state")? {
            // Only what has ended has a code.
            None if params.get("code")?.is_some() => Which::Ended,
            None | Some("live") => Which::Live,
            Some("ended") => Which::Ended,
            Some("all") => Which::All,
            Some(_) => return Err(Problem::field("state", "live, ended or all")),
        },
        code: params.get("code")?.map(code).transpose()?,
        created_after: params.get("created_after")?.map(|text| instant("created_after", text)).transpose()?,
        created_before: params
            .get("created_before")?
            .map(|text| instant("created_before", text))
            .transpose()?,
    })
}

fn code(text: &str) -> Result<Code, Problem> {
    let known = Code::ENDINGS.iter().map(|c| c.text()).collect::<Vec<_>>().join(", ");
    let found = Code::ENDINGS.iter().copied().find(|c| c.text() == text);
    found.ok_or_else(|| Problem::field("code", format!("a session ends with one of: {known}")))
}

fn device(text: &str) -> Result<DeviceId, Problem> {
    DeviceId::parse(text)
        .ok_or_else(|| Problem::field("device_id", "the id of a device: 43 letters and digits"))
}

/// The name of a browser or system.
fn name(pointer: &str, text: &str) -> Result<Vec<u8>, Problem> {
    facet::name(text)
        .ok_or_else(|| Problem::field(pointer, "a name of 1 to 64 bytes, such as Firefox or Windows"))
}

/// An address, or a network as address and prefix length. Any address of a network may name it here: who searches has
/// one at hand.
fn network(pointer: &str, text: &str) -> Result<(IpAddr, u8), Problem> {
    let wrong = |_| Problem::field(pointer, "an address or a network, such as 203.0.113.7 or 203.0.113.0/24");
    Network::holding(text).map(|network| (network.first(), network.bits())).map_err(wrong)
}

/// The filter of a mass end or change.
#[derive(Deserialize, Default, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RevokeFilter {
    /// Of this user.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = String)]
    pub(super) user_id: Option<String>,
    /// Carrying all of these.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Vec<String>)]
    pub(super) tags: Option<Vec<String>>,
    /// Made or last used from this address or network.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = String)]
    pub(super) ip: Option<String>,
    /// Made before this instant.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = String)]
    pub(super) before: Option<String>,
    /// Made at or after this instant.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = String)]
    pub(super) after: Option<String>,
}

impl RevokeFilter {
    /// Checks every value; `at` is where the filter lies in the body.
    pub(super) fn read(self, at: &str) -> Result<Filter, Problem> {
        let field = |name: &str| format!("{at}/{name}");
        if self.tags.as_ref().is_some_and(Vec::is_empty) {
            return Err(Problem::field(
                field("tags"),
                "an empty list would name everybody; leave it out or name a tag",
            ));
        }
        Ok(Filter {
            user: self.user_id.map(|text| input::user(&field("user_id"), &text)).transpose()?,
            tags: input::tags(&field("tags"), &self.tags.unwrap_or_default())?,
            network: self.ip.map(|text| network(&field("ip"), &text)).transpose()?,
            browser: None,
            os: None,
            device: None,
            which: Which::Live,
            code: None,
            created_after: self.after.map(|text| instant(&field("after"), &text)).transpose()?,
            created_before: self.before.map(|text| instant(&field("before"), &text)).transpose()?,
        })
    }
}

/// How many sessions there are.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Count {
    /// Exact up to 10,000.
    count: usize,
    /// Whether there are more than that.
    or_more: bool,
}

/// Which sessions a search or a count is about; [`filter`] reads it.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Wanted {
    /// Whose.
    pub user_id: Option<String>,
    /// Carrying all of these: `name:value`; may be given several times.
    pub tag: Option<Vec<String>>,
    /// Made or last used from this address or network.
    #[param(example = "203.0.113.0/24")]
    pub ip: Option<String>,
    /// Made or last used with this browser, whatever the case: its full name (`Mobile Safari`) or its brand (`Safari`).
    #[param(example = "Firefox")]
    pub browser: Option<String>,
    /// Made or last used on this system, whatever the case.
    #[param(example = "Windows")]
    pub os: Option<String>,
    /// Bound to this device.
    pub device_id: Option<String>,
    /// `live`, `ended` or `all`. Left out: `live`; with `code`, `ended`.
    pub state: Option<String>,
    /// Ended with this code.
    pub code: Option<String>,
    /// Made at or after this instant (RFC 3339).
    pub created_after: Option<String>,
    /// Made before this instant (RFC 3339).
    pub created_before: Option<String>,
}

/// Finds sessions, newest first.
///
/// All that is asked for must hold. A page may have fewer items than asked for and still not be the last.
#[utoipa::path(
    get, path = "/v1/sessions", tag = "sessions", operation_id = "search_sessions",
    params(
        Wanted,
        ("limit" = Option<u32>, Query, description = "1 to 200; left out: 50."),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before.")
    ),
    responses((status = 200, description = "A page of sessions.", body = PageBody<SessionBody<'static>>))
)]
pub async fn search(State(web): State<Arc<Web>>, By(caller): By, params: Params) -> Answer {
    let (filter, limit, cursor) = (filter(&params)?, params.limit()?, params.get("cursor")?);
    let found = web.app.search(&caller, &filter, limit, cursor).await;
    let found = found.map_err(|stop| Problem::from(stop).of_parameter())?;
    let items = found.items.iter().map(SessionBody::of).collect();
    Ok(json(StatusCode::OK, &PageBody { items, next_cursor: found.next }))
}

/// Counts sessions; exact up to 10,000.
#[utoipa::path(
    get, path = "/v1/sessions/count", tag = "sessions", operation_id = "count_sessions",
    params(
        Wanted
    ),
    responses((status = 200, description = "How many.", body = Count))
)]
pub async fn count(State(web): State<Arc<Web>>, By(caller): By, params: Params) -> Answer {
    let (count, or_more) = web.app.count(&caller, &filter(&params)?).await?;
    Ok(json(StatusCode::OK, &Count { count, or_more }))
}

/// The history of a session, oldest first.
#[utoipa::path(
    get, path = "/v1/sessions/{id}/events", tag = "sessions", operation_id = "session_events",
    params(
        ("id" = String, Path, description = "`ses_...`"),
        ("limit" = Option<u32>, Query, description = "1 to 200; left out: 50."),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before.")
    ),
    responses((status = 200, description = "A page of events.", body = PageBody<EventBody<'static>>))
)]
pub async fn events(
    State(web): State<Arc<Web>>,
    By(caller): By,
    At(id): At<String>,
    params: Params,
) -> Answer {
    let limit = params.limit()?;
    let wrong =
        || Problem::field("cursor", "this cursor does not belong to this list; begin again without it");
    let after = params.get("cursor")?.map(|text| text.parse::<u64>().map_err(|_| wrong())).transpose()?;
    let lines = web.app.events(&caller, input::session(&id)?, after, limit).await?;
    let full = lines.len() == usize::try_from(limit).unwrap_or(usize::MAX);
    let next_cursor = lines.last().filter(|_| full).map(|line| line.position.to_string());
    Ok(json(StatusCode::OK, &PageBody { items: lines.iter().map(EventBody::of).collect(), next_cursor }))
}

/// A bulk change.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "filter": { "user_id": "ada" }, "update": { "tags": { "add": ["beta:on"] } } }))]
pub struct BulkUpdateRequest {
    /// Which sessions: at most 1,000 live ones.
    #[schema(value_type = RevokeFilter)]
    filter: Object<RevokeFilter>,
    /// What changes in each.
    #[schema(value_type = UpdateRequest)]
    update: Object<UpdateRequest>,
}

/// What was changed.
#[derive(Serialize, utoipa::ToSchema)]
pub struct BulkUpdated {
    /// How many.
    updated: usize,
    /// The first hundred ids.
    sessions: Vec<String>,
    /// Ids of sessions that were ended to keep a limit on a tag that came: the first hundred.
    evicted: Vec<String>,
}

/// Changes all live sessions of a filter, at most 1,000.
///
/// They are counted before any is changed; more than 1,000 change nothing, nor do more than a limit has room for where the
/// policy refuses (`session_limit_reached`). Each is changed by itself: an accident on
/// the way leaves those before it changed, and the same call can be sent again.
#[utoipa::path(
    post, path = "/v1/sessions/update", tag = "sessions", operation_id = "update_sessions",
    request_body = BulkUpdateRequest,
    responses((status = 200, description = "These were changed.", body = BulkUpdated))
)]
pub async fn bulk_update(
    State(web): State<Arc<Web>>,
    By(caller): By,
    Json(ask, _): Json<BulkUpdateRequest>,
) -> Answer {
    let (filter, update) = ask.read()?;
    let done = web.app.update_all(&caller, &filter, &update).await;
    let done = done.map_err(|stop| {
        let problem = Problem::from(stop);
        if problem.is_about("/filter") { problem } else { problem.under("/update") }
    })?;
    let (sessions, evicted) = (ids(&done.sessions), ids(&done.evicted));
    Ok(json(StatusCode::OK, &BulkUpdated { updated: done.count, sessions, evicted }))
}

impl BulkUpdateRequest {
    /// Checks every value.
    ///
    /// # Errors
    /// `invalid_request` or `tag_invalid`, with a JSON pointer to the place.
    pub fn read(self) -> Result<(Filter, Update), Problem> {
        let filter = self.filter.0.read("/filter")?;
        Ok((filter, self.update.0.read("/update")?))
    }
}
