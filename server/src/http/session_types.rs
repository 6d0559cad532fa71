//! The calls about session types: list, read, make or replace, delete.

use super::Web;
use super::caller::By;
use super::input::{self, At, Json};
use super::problem::{Answer, Problem};
use super::reply::json;
use super::wire::{PageBody, Time, by};
use crate::app::types::{Seen, Told};
use crate::json::sound;
use crate::schema::session_type::SessionType;
use axum::body::Body;
use axum::extract::State;
use handstamp_core::policy::session_type::TypeName;
use handstamp_core::refusal::Code;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use std::sync::Arc;

/// What a session type says; it says at least one thing.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = SessionType, example = json!({
    "expires_in": "1h", "selector": "$Session{userId}", "schema": { "userId": "string", "cart": "string[]" }
}))]
pub struct SessionTypeRequest {
    /// How long its sessions last at most, such as `"1h"`; it may shorten the policy's life, never lengthen it.
    #[schema(value_type = Option<String>)]
    expires_in: Option<Value>,
    /// The same of sessions with a refresh token.
    #[schema(value_type = Option<String>)]
    refresh_expires_in: Option<Value>,
    /// Where in the data the user is named, such as `"$Session{userId}"` or `"$Session{user}{id}"`: a session that is made
    /// without a `user_id` belongs to whom it finds.
    #[schema(value_type = Option<String>)]
    selector: Option<Value>,
    /// What the data must look like: JSON Schema (2020-12), or the short form `{"field": "string"}`; at most 16 KiB.
    #[schema(value_type = Option<std::collections::BTreeMap<String, Value>>)]
    schema: Option<Box<RawValue>>,
}

/// A session type. A session is of this type by the tag `type:NAME`.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = NamedSessionType)]
pub struct SessionTypeBody {
    /// 1 to 64 of `A-Z a-z 0-9 _ - .`, beginning with a letter or a digit.
    name: String,
    /// Rises with every change; 0 when the configuration says it.
    version: u64,
    /// `api`, or `file` when the configuration has a `[session_type]`: then nothing can be changed over the API.
    managed_by: &'static str,
    /// When it was last changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    at: Option<Time>,
    /// The key that changed it.
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<String>,
    /// What it says, as it was written.
    #[schema(value_type = SessionTypeRequest)]
    session_type: Value,
}

/// What was deleted.
#[derive(Serialize, utoipa::ToSchema)]
pub struct DeletedSessionType {
    /// Always 1.
    deleted: u8,
}

/// Lists the session types by name; there are at most 100.
#[utoipa::path(
    get, path = "/v1/session-types", tag = "session types", operation_id = "list_session_types",
    responses((status = 200, description = "All of them, on one page.", body = PageBody<SessionTypeBody>))
)]
pub async fn list(State(web): State<Arc<Web>>, By(caller): By) -> Answer {
    let items = web.app.session_types(&caller)?.iter().map(body).collect();
    Ok(json(StatusCode::OK, &PageBody { items, next_cursor: None }))
}

/// Reads a session type.
#[utoipa::path(
    get, path = "/v1/session-types/{name}", tag = "session types", operation_id = "get_session_type",
    params(("name" = String, Path, description = "NAME of the tag `type:NAME`.")),
    responses((status = 200, description = "The type; `ETag` names its version.", body = SessionTypeBody))
)]
pub async fn get(State(web): State<Arc<Web>>, By(caller): By, At(named): At<String>) -> Answer {
    answer(&web.app.session_type(&caller, &known(&named)?)?)
}

/// Makes or replaces a session type.
///
/// Its life acts on live sessions from the next request on. Its schema is asked of sessions that are made, and of those
/// whose data or type changes. Everything that is wrong is told at once, and nothing is changed then.
#[utoipa::path(
    put, path = "/v1/session-types/{name}", tag = "session types", operation_id = "put_session_type",
    params(
        ("name" = String, Path, description = "NAME of the tag `type:NAME`."),
        ("If-Match" = Option<String>, Header, description = "The `ETag` of the version to replace."),
        ("If-None-Match" = Option<String>, Header, description = "`*`: only if there is none yet.")
    ),
    request_body = SessionTypeRequest,
    responses((status = 200, description = "The type as it is now.", body = SessionTypeBody))
)]
pub async fn replace(
    State(web): State<Arc<Web>>,
    By(caller): By,
    At(named): At<String>,
    headers: HeaderMap,
    Json(ask, _): Json<SessionTypeRequest>,
) -> Answer {
    let name = TypeName::parse(&named).map_err(|why| Problem::field("name", why))?;
    let seen = seen(&headers)?;
    answer(&web.app.put_session_type(&caller, name, seen, ask.read()?).await?)
}

/// Deletes a session type.
///
/// Its sessions stay, and keep their tag; it means nothing to them any more.
#[utoipa::path(
    delete, path = "/v1/session-types/{name}", tag = "session types", operation_id = "delete_session_type",
    params(
        ("name" = String, Path, description = "NAME of the tag `type:NAME`."),
        ("If-Match" = Option<String>, Header, description = "The `ETag` of the version to delete.")
    ),
    responses((status = 200, description = "It is gone.", body = DeletedSessionType))
)]
pub async fn delete(
    State(web): State<Arc<Web>>,
    By(caller): By,
    At(named): At<String>,
    headers: HeaderMap,
) -> Answer {
    web.app.delete_session_type(&caller, &known(&named)?, seen(&headers)?).await?;
    Ok(json(StatusCode::OK, &DeletedSessionType { deleted: 1 }))
}

impl SessionTypeRequest {
    /// Checks it as a whole.
    ///
    /// # Errors
    /// `invalid_request`, with every slip.
    pub fn read(self) -> Result<SessionType, Problem> {
        let mut table = Map::new();
        let plain = [
            ("expires_in", self.expires_in),
            ("refresh_expires_in", self.refresh_expires_in),
            ("selector", self.selector),
        ];
        table.extend(plain.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))));
        if let Some(raw) = &self.schema {
            sound("/schema", raw)?;
            let value = serde_json::from_str(raw.get());
            let value =
                value.map_err(|_| Problem::field("/schema", "is no JSON that this server can read"))?;
            table.insert("schema".to_owned(), value);
        }
        SessionType::read(&table).map_err(|slips| {
            Problem::fields(slips.into_iter().map(|slip| (slip.pointer, slip.message)).collect())
        })
    }
}

/// A name under which there could be something.
fn known(named: &str) -> Result<TypeName, Problem> {
    TypeName::parse(named).map_err(|_| Problem::new(Code::NotFound, "there is no session type of this name"))
}

fn answer(found: &Told) -> Result<Response<Body>, Problem> {
    let mut answer = json(StatusCode::OK, &body(found));
    let tag =
        found.record.as_ref().and_then(|record| HeaderValue::from_str(&format!("\"{}\"", record.tag())).ok());
    if let Some(tag) = tag {
        answer.headers_mut().insert(header::ETAG, tag);
    }
    Ok(answer)
}

fn body(found: &Told) -> SessionTypeBody {
    let record = found.record.as_deref();
    SessionTypeBody {
        name: found.name.as_str().to_owned(),
        version: record.map_or(0, |record| record.number),
        managed_by: if record.is_some() { "api" } else { "file" },
        at: record.map(|record| Time(record.at)),
        by: record.map(|record| by(&record.by)),
        session_type: found.said.show(),
    }
}

/// What the caller has seen of it.
fn seen(headers: &HeaderMap) -> Result<Seen, Problem> {
    let once = |name: &'static str, called| {
        Ok::<_, Problem>(input::header_once(headers, name, called)?.map(|text| text.trim().to_owned()))
    };
    match (once("if-match", "If-Match")?, once("if-none-match", "If-None-Match")?) {
        (Some(_), Some(_)) => {
            Err(Problem::field("If-None-Match", "says the opposite of `If-Match`: send one"))
        }
        (None, None) => Ok(Seen::Anything),
        (None, Some(any)) if any == "*" => Ok(Seen::Nothing),
        (None, Some(_)) => Err(Problem::field("If-None-Match", "`*`, for what must not be there yet")),
        (Some(any), None) if any == "*" => Ok(Seen::Something),
        (Some(text), None) => {
            let tag = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
            let tag = tag.filter(|tag| !tag.contains('"'));
            tag.map(|tag| Seen::Tag(tag.to_owned())).ok_or_else(|| {
                Problem::field("If-Match", "the `ETag` of the type that was read, such as \"3-0a1b2c3d\"")
            })
        }
    }
}
