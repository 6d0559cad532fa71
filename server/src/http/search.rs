//! The calls about many sessions: search, count, history, bulk change.

use super::Web;
use super::caller::By;
use super::input::{self, Json};
use super::problem::{Answer, Problem};
use super::sessions::{UpdateRequest, instant, json};
use super::wire::{EventBody, SessionBody};
use crate::app::search::{Filter, Which};
use axum::extract::{FromRequestParts, Path, State};
use handstamp_core::refusal::Code;
use http::StatusCode;
use http::request::Parts;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use std::sync::Arc;

/// The parameters of an address, each at most once but `tag`.
pub struct Params(Vec<(String, String)>);

impl<S: Send + Sync> FromRequestParts<S> for Params {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Params, Problem> {
        let query = parts.uri.query().unwrap_or_default();
        serde_urlencoded::from_str(query)
            .map(Params)
            .map_err(|_| Problem::field("", "the query of the address is not well formed"))
    }
}

impl Params {
    /// The value of a parameter.
    pub(super) fn get(&self, name: &str) -> Result<Option<&str>, Problem> {
        let mut values = self.0.iter().filter(|(n, _)| n == name).map(|(_, v)| v.as_str());
        let first = values.next();
        if values.next().is_some() {
            return Err(Problem::field(name, "may be given once"));
        }
        Ok(first)
    }
    /// All values of a parameter.
    fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(n, _)| n == name).map(|(_, v)| v.as_str())
    }
    /// Refuses others by name.
    pub(super) fn only(&self, known: &[&str]) -> Result<(), Problem> {
        match self.0.iter().find(|(name, _)| !known.contains(&name.as_str())) {
            None => Ok(()),
            Some((name, _)) => {
                Err(Problem::field(name.clone(), format!("unknown parameter; known: {}", known.join(", "))))
            }
        }
    }
    fn limit(&self) -> Result<u32, Problem> {
        let Some(text) = self.get("limit")? else { return Ok(50) };
        let limit = text.parse::<u32>().ok().filter(|n| (1..=200).contains(n));
        limit.ok_or_else(|| Problem::field("limit", "a number from 1 to 200"))
    }
}

const FILTERS: [&str; 7] = ["user_id", "tag", "ip", "state", "code", "created_after", "created_before"];

fn filter(params: &Params) -> Result<Filter, Problem> {
    let tags: Vec<String> = params.all("tag").map(str::to_owned).collect();
    Ok(Filter {
        user: params.get("user_id")?.map(|text| input::user("user_id", text)).transpose()?,
        tags: input::tags("tag", &tags)?,
        network: params.get("ip")?.map(|text| network("ip", text)).transpose()?,
        which: match params.get("state")? {
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

/// An address, or a network as address and prefix length.
fn network(pointer: &str, text: &str) -> Result<(IpAddr, u8), Problem> {
    let wrong = || Problem::field(pointer, "an address or a network, such as 203.0.113.7 or 203.0.113.0/24");
    let (ip, prefix) = match text.split_once('/') {
        None => (text, None),
        Some((ip, prefix)) => (ip, Some(prefix)),
    };
    let parsed: IpAddr = ip.parse().map_err(|_| wrong())?;
    let ip = parsed.to_canonical();
    let most = if ip.is_ipv4() { 32 } else { 128 };
    let prefix = match prefix {
        None => most,
        Some(text) => {
            let digits = text.len() <= 3 && text.bytes().all(|b| b.is_ascii_digit());
            let n = text.parse::<u8>().ok().filter(|_| digits).ok_or_else(wrong)?;
            // ::ffff:203.0.113.0/120 is 203.0.113.0/24
            let n = if parsed.is_ipv6() && ip.is_ipv4() { n.checked_sub(96).ok_or_else(wrong)? } else { n };
            if n > most {
                return Err(wrong());
            }
            n
        }
    };
    Ok((ip, prefix))
}

/// The filter of a mass end or change.
#[derive(Deserialize, Default, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RevokeFilter {
    /// Of this user.
    pub(super) user_id: Option<String>,
    /// Carrying all of these.
    pub(super) tags: Option<Vec<String>>,
    /// Made or last used from this address or network.
    pub(super) ip: Option<String>,
    /// Made before this instant.
    pub(super) before: Option<String>,
    /// Made at or after this instant.
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
            which: Which::Live,
            code: None,
            created_after: self.after.map(|text| instant(&field("after"), &text)).transpose()?,
            created_before: self.before.map(|text| instant(&field("before"), &text)).transpose()?,
        })
    }
}

/// A page of a list.
#[derive(Serialize, utoipa::ToSchema)]
pub struct PageBody<T> {
    /// The items of this page. It may have fewer than asked for and still not be the last.
    pub(super) items: Vec<T>,
    /// To be sent as `cursor` for the next page; `null` on the last.
    pub(super) next_cursor: Option<String>,
}

/// `GET /v1/sessions`
pub async fn search(State(web): State<Arc<Web>>, By(caller): By, params: Params) -> Answer {
    params.only(&[&FILTERS[..], &["limit", "cursor"]].concat())?;
    let found = web.app.search(&caller, &filter(&params)?, params.limit()?, params.get("cursor")?).await?;
    let items = found.items.iter().map(SessionBody::of).collect();
    Ok(json(StatusCode::OK, &PageBody { items, next_cursor: found.next }))
}

/// `GET /v1/sessions/count`
pub async fn count(State(web): State<Arc<Web>>, By(caller): By, params: Params) -> Answer {
    params.only(&FILTERS)?;
    let (count, or_more) = web.app.count(&caller, &filter(&params)?).await?;
    Ok(json(StatusCode::OK, &serde_json::json!({ "count": count, "or_more": or_more })))
}

/// `GET /v1/sessions/{id}/events`
pub async fn events(
    State(web): State<Arc<Web>>,
    By(caller): By,
    Path(id): Path<String>,
    params: Params,
) -> Answer {
    params.only(&["limit", "cursor"])?;
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
pub struct BulkUpdateRequest {
    /// Which sessions: at most 1,000 live ones.
    filter: RevokeFilter,
    /// What changes in each.
    update: UpdateRequest,
}

/// `POST /v1/sessions/update`
pub async fn bulk_update(
    State(web): State<Arc<Web>>,
    By(caller): By,
    Json(ask, _): Json<BulkUpdateRequest>,
) -> Answer {
    let filter = ask.filter.read("/filter")?;
    if filter.is_empty() {
        return Err(Problem::field("/filter", "say which sessions: user_id, tags, ip, before or after"));
    }
    let (updated, sessions) = web.app.update_all(&caller, &filter, &ask.update.read("/update")?).await?;
    let sessions: Vec<String> = sessions.iter().map(ToString::to_string).collect();
    Ok(json(StatusCode::OK, &serde_json::json!({ "updated": updated, "sessions": sessions })))
}
