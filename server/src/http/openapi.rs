//! The OpenAPI 3.1 document: shapes and words from the handlers and the wire, refusals from the table of routes, codes
//! from the closed list. It is generated, committed as `openapi.json`, and a test fails when the two differ.

mod beside;
mod bodies;
mod texts;

use super::browser::{own, session as own_session};
use super::problem::{FieldError, ProblemDocument};
use super::routes::{Needs, Route, table};
use super::{
    access_tokens, devices, docs, environments, events, explain, forward_auth, health, keys, login, metrics,
    policies, refresh, revocations, revoke, search, session_types, sessions, settings, signing_keys,
    status_lists, users, validate,
};
use handstamp_core::caller::Scope;
use handstamp_core::refusal::Code;
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::borrow::Cow;
use std::collections::BTreeMap;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::{OpenApi, PartialSchema, ToSchema};

/// What `/livez` and `/readyz` say.
#[derive(Serialize, ToSchema)]
pub struct Status {
    /// `alive` or `ready`.
    pub(super) status: &'static str,
}

/// The closed list of codes, as a schema.
pub struct CodeList;

impl PartialSchema for CodeList {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .description(Some(
                "Every reason we ever give. The list only grows; /docs/errors/ has a page for each.",
            ))
            .enum_values(Some(Code::ALL.iter().map(|code| code.text())))
            .into()
    }
}

impl ToSchema for CodeList {
    fn name() -> Cow<'static, str> {
        "Code".into()
    }
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Handstamp",
        description = "Remembers that somebody is logged in: makes, checks and ends sessions.\n\nTimes are RFC 3339, \
            UTC, with milliseconds; lengths of time are seconds. Ids and tokens are opaque texts. Unknown members and \
            parameters are refused by name. Bodies have at most 64 KiB, batches 512 KiB. Every answer has an \
            `X-Request-Id` of ours; one that a request brings is not taken over. A method that an address does not \
            have is 405 `method_not_allowed` with `Allow`, an address that is not here 404 `not_found`.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    tags(
        (name = "tokens", description = "Access tokens that others verify without asking."),
        (name = "sessions", description = "Make, check, find, change and end sessions."),
        (name = "policies", description = "The rules of sessions, and of those with a tag."),
        (name = "session types", description = "What sessions of a type have in common: life, user and data."),
        (name = "settings", description = "Origins of pages, changed while the server runs."),
        (name = "events", description = "What happened."),
        (name = "users", description = "Who is logged in; erasing a user."),
        (name = "devices", description = "What sessions are bound to, and what users are known to have."),
        (name = "browser", description = "Calls of a session's own client: a browser with its cookie, or an app with a publishable key."),
        (name = "proxies", description = "The question of a proxy whether a request of its client may pass."),
        (name = "keys", description = "Access keys of applications; the keys behind access tokens."),
        (name = "environments", description = "Products and their environments; for operators."),
        (name = "operation", description = "Health and numbers."),
        (name = "documentation", description = "What you are reading.")
    ),
    paths(
        sessions::create, login::exchange, login::page, search::search, validate::validate, validate::validate_batch, refresh::refresh, access_tokens::mint, revoke::revoke,
        session_types::list, session_types::get, session_types::replace, session_types::delete,
        settings::cors, settings::replace_cors, settings::redirect_origins, settings::replace_redirect_origins,
        explain::session, explain::policy, explain::preview, policies::get, policies::replace, policies::versions, policies::version, policies::roll_back,
        search::bulk_update, search::count, sessions::get, sessions::update, sessions::end, search::events, events::events, revocations::revocations, status_lists::get,
        devices::challenge, devices::register, devices::list, devices::name, devices::forget,
        users::list, users::get, users::erase, users::erasure_keys,
        own_session::get, own_session::refresh, own_session::ping, own_session::post_ping, own_session::log_out,
        own::list, own::end, own::end_others, forward_auth::answer,
        keys::list, keys::create, keys::get, keys::update, keys::delete, keys::rotate,
        signing_keys::jwks, signing_keys::list, signing_keys::rotate, signing_keys::data,
        environments::list, environments::create, environments::delete,
        health::livez, health::readyz, docs::openapi, docs::calls, docs::style, docs::error, metrics::serve
    )
)]
struct Described;

/// The document, with what is served beside our own calls.
pub fn document(foreign: impl IntoIterator<Item = Value>) -> Value {
    let mut document = build();
    for other in foreign {
        beside::add(&mut document, other);
    }
    document
}

/// The document as it is served and committed.
pub fn text(document: &Value) -> String {
    let mut text = serde_json::to_string_pretty(document).unwrap_or_default();
    text.push('\n');
    text
}

fn build() -> Value {
    let mut document = serde_json::to_value(Described::openapi()).unwrap_or_default();
    for route in table() {
        let at = format!("/paths/{}/{}", route.path.replace('/', "~1"), route.method.to_lowercase());
        if let Some(Value::Object(operation)) = document.pointer_mut(&at) {
            complete(operation, &route);
            for parameter in
                operation.get_mut("parameters").and_then(Value::as_array_mut).into_iter().flatten()
            {
                bound(parameter, route.path);
            }
        }
    }
    let examples: Map<String, Value> =
        Code::ALL.iter().map(|code| (code.text().to_owned(), example(*code))).collect();
    if let Some(Value::Object(components)) = document.pointer_mut("/components") {
        if let Some(Value::Object(schemas)) = components.get_mut("schemas") {
            let mut add = |name: &str, schema: RefOr<Schema>| {
                schemas.insert(name.to_owned(), serde_json::to_value(schema).unwrap_or_default());
            };
            add("Code", CodeList::schema());
            add("Problem", ProblemDocument::schema());
            add("FieldError", FieldError::schema());
            schemas.remove("AddRemove"); // tags and groups, each with its own texts
            schemas.extend(texts::all());
            bodies::bound(schemas);
        }
        components.insert("examples".to_owned(), Value::Object(examples));
        components.insert("headers".to_owned(), headers());
        components.insert("securitySchemes".to_owned(), schemes());
        components.insert("responses".to_owned(), json!({ "Edge": edge() }));
    }
    document
}

/// Says what a parameter may be.
fn bound(parameter: &mut Value, path: &str) {
    let schema = {
        let (Some(place), Some(name)) = (parameter["in"].as_str(), parameter["name"].as_str()) else {
            return;
        };
        texts::parameter(path, place, name)
    };
    if let Some(schema) = schema {
        parameter["schema"] = schema;
        if parameter["name"] == "If-Match" {
            parameter["example"] = "\"3\"".into();
        }
    }
}

/// Adds what the table knows of a call.
fn complete(operation: &mut Map<String, Value>, route: &Route) {
    let scopes: Vec<&str> = match route.needs {
        Needs::Nothing | Needs::Client | Needs::Proxy => Vec::new(),
        Needs::Key(scope) => vec![scope.text()],
        Needs::Operator => vec!["operator"],
    };
    let security = match route.needs {
        Needs::Nothing => json!([]),
        Needs::Proxy => json!([{ "handstampKey": [], "sessionCookie": [] }, { "sessionCookie": [] }]),
        Needs::Key(_) | Needs::Operator => {
            json!([{ "accessKey": scopes }, { "accessKey": scopes, "environment": [] }])
        }
        Needs::Client => {
            let mut ways = match route.method {
                "GET" => vec![json!({ "sessionCookie": [] })],
                _ => vec![json!({ "sessionCookie": [], "csrfToken": [] })],
            };
            ways.push(json!({ "publishableKey": [], "sessionToken": [] }));
            ways.push(json!({ "sessionCookie": [], "handstampKey": [] }));
            if route.path == "/v1/auth/logout" {
                ways.push(json!({})); // who is not logged in is logged out already
            }
            Value::Array(ways)
        }
    };
    operation.insert("security".to_owned(), security);
    let responses = operation.entry("responses").or_insert_with(|| json!({}));
    let Value::Object(responses) = responses else { return };
    for good in responses.values_mut().filter_map(Value::as_object_mut) {
        let own = good.entry("headers").or_insert_with(|| json!({}));
        let budget = if route.needs == Needs::Nothing { &[][..] } else { &BUDGET };
        for name in budget.iter().copied().chain(["X-Request-Id"]) {
            own[name] = header(name);
        }
    }
    let mut by_status: BTreeMap<u16, Vec<Code>> = BTreeMap::new();
    for code in &route.refusals {
        by_status.entry(code.status()).or_default().push(*code);
    }
    for (status, codes) in by_status {
        responses.insert(status.to_string(), refusal(&codes));
    }
    responses.insert("default".to_owned(), json!({ "$ref": "#/components/responses/Edge" }));
}

/// The answer of one status, with the codes it can have.
fn refusal(codes: &[Code]) -> Value {
    let lines = codes.iter().map(|code| format!("`{}`: {}", code.text(), code.title()));
    let mut with = Map::from_iter([("X-Request-Id".to_owned(), header("X-Request-Id"))]);
    if codes.iter().any(|code| matches!(code.status(), 429 | 503)) {
        with.insert("Retry-After".to_owned(), header("Retry-After"));
    }
    if codes.contains(&Code::RateLimitExceeded) {
        with.extend(BUDGET.map(|name| (name.to_owned(), header(name))));
    }
    let texts: Vec<&str> = codes.iter().map(|code| code.text()).collect();
    let examples: Map<String, Value> = texts
        .iter()
        .map(|text| ((*text).to_owned(), json!({ "$ref": format!("#/components/examples/{text}") })))
        .collect();
    json!({
        "description": lines.collect::<Vec<_>>().join("; "),
        "headers": with,
        "content": { "application/problem+json": {
            "schema": { "allOf": [
                { "$ref": "#/components/schemas/Problem" },
                { "properties": { "code": { "enum": texts } } }
            ] },
            "examples": examples
        } }
    })
}

/// What an answer says of the budget that it was paid from.
const BUDGET: [&str; 3] = ["X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"];

fn header(name: &str) -> Value {
    json!({ "$ref": format!("#/components/headers/{name}") })
}

fn headers() -> Value {
    let text =
        |description: &str, kind: &str| json!({ "description": description, "schema": { "type": kind } });
    json!({
        "X-Request-Id": text("The name of the request, also in problems and in the log.", "string"),
        "Retry-After": text("Seconds to wait before the next try.", "integer"),
        "X-RateLimit-Limit": text("Of the budget that the request was paid from: how many requests it is. Not there when \
            nothing was spent.", "integer"),
        "X-RateLimit-Remaining": text("How many of them could be spent now.", "integer"),
        "X-RateLimit-Reset": text("When the whole budget is there again if nothing more is spent, in Unix seconds.", "integer"),
        "Allow": text("The methods that the address has, with 405.", "string")
    })
}

fn schemes() -> Value {
    let scopes = Scope::ALL.iter().map(|scope| format!("`{}`: {}", scope.text(), scope.means()));
    json!({
        "accessKey": {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "hsk_...",
            "description": format!(
                "An access key. What it may do is said by its scopes: {}. An operator's key may do everything, in any \
                 environment.",
                scopes.collect::<Vec<_>>().join("; ")
            )
        },
        "sessionCookie": in_("cookie", "__Host-handstamp", "The session's cookie, as the browser sends it by itself. Its name is `[cookie] name`."),
        "csrfToken": in_("header", "X-XSRF-TOKEN", "For requests that change something: the CSRF token, as the answer of \
            `GET /v1/auth/session` and the cookie `XSRF-TOKEN` say it. The name is `[cookie] csrf_header`."),
        "publishableKey": in_("header", "X-Publishable-Key", "The publishable key of an app without a backend, `hsp_...`: no secret."),
        "sessionToken": in_("header", "Session", "The session's token, `hst_...`, beside a publishable key."),
        "handstampKey": in_("header", "X-Handstamp-Key", "An access key of the application's own server, which passes on a browser's cookie, or of a proxy."),
        "environment": {
            "type": "apiKey",
            "in": "header",
            "name": "X-Handstamp-Env",
            "description": "`product/environment`: the environment that an operator's key works in; left out: \
                `default/prd`. With any other key it can only name the key's own."
        }
    })
}

fn in_(place: &str, name: &str, description: &str) -> Value {
    json!({ "type": "apiKey", "in": place, "name": name, "description": description })
}

fn edge() -> Value {
    let mut response = refusal(Code::EDGE);
    response["description"] = format!(
        "The network edge turned the request away before this call saw it, and ended the connection. {}",
        response["description"].as_str().unwrap_or_default()
    )
    .into();
    response
}

fn example(code: Code) -> Value {
    let detail = format!("{} {}", code.means(), code.remedy());
    let mut value = json!({
        "type": format!("/docs/errors/{}", code.text()),
        "title": code.title(),
        "status": code.status(),
        "code": code.text(),
        "detail": detail,
        "error": detail,
        "request_id": "9e3779b97f4a7c15"
    });
    if matches!(code.status(), 429 | 503) {
        value["retry_after"] = 1.into();
    }
    if code == Code::InvalidRequest {
        value["errors"] = json!([{ "pointer": "/user_id", "message": "is missing" }]);
    }
    if code == Code::DataInvalid {
        value["errors"] = json!([{ "pointer": "/data/cart/2", "message": "expected a text, not a number" }]);
    }
    json!({ "summary": code.title(), "value": value })
}
