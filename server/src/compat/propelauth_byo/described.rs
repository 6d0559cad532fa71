//! The OpenAPI document of this door: one call, whose body says by its command what else it holds.

use super::{PATH, answers, commands};
use serde_json::{Map, Value, json};
use utoipa::OpenApi;

#[derive(OpenApi)]
#[openapi(components(schemas(
    commands::Nothing,
    commands::CreateSession,
    commands::ValidateSession,
    commands::DeviceRegistration,
    commands::DeviceVerification,
    commands::OfUser,
    commands::FetchAllSessions,
    commands::FetchSessionById,
    commands::UpdateSession,
    commands::UpdateSessions,
    commands::SessionFilter,
    commands::InvalidateSessionByToken,
    commands::InvalidateSessionById,
    commands::InvalidateOthers,
    answers::Pong,
    answers::Done,
    answers::Created,
    answers::Valid,
    answers::SessionInfo<'static>,
    answers::DeviceInfo<'static>,
    answers::Kind,
    answers::Sessions<'static>,
    answers::Page<'static>,
    answers::Updated,
    answers::Invalidated,
)))]
struct Shapes;

/// Each command: what it is told, whether that must be there, and what it answers.
#[rustfmt::skip]
const CALLS: [(&str, &str, bool, &str); 13] = [
    ("Ping", "ByoNothing", false, "ByoPong"),
    ("CreateSession", "ByoCreateSession", true, "ByoCreatedSession"),
    ("ValidateSession", "ByoValidateSession", false, "ByoValidSession"),
    ("ValidateAndRefreshSession", "ByoValidateSession", false, "ByoValidSession"),
    ("FetchAllSessionsForUser", "ByoSessionsOfUser", true, "ByoSessionsOfUserAnswer"),
    ("FetchAllSessions", "ByoFetchAllSessions", false, "ByoSessionPage"),
    ("FetchSessionById", "ByoFetchSessionById", true, "ByoSessionInfo"),
    ("UpdateSession", "ByoUpdateSession", true, "ByoDone"),
    ("UpdateSessions", "ByoUpdateSessions", true, "ByoUpdatedCount"),
    ("InvalidateSessionByToken", "ByoInvalidateSessionByToken", false, "ByoDone"),
    ("InvalidateSessionById", "ByoInvalidateSessionById", true, "ByoDone"),
    ("InvalidateAllSessionsForUser", "ByoSessionsOfUser", true, "ByoInvalidatedCount"),
    ("InvalidateAllSessionsForUserExceptOne", "ByoInvalidateOthers", true, "ByoInvalidatedCount"),
];

/// Every type of failure, over all commands.
const FAILURES: [&str; 14] = [
    "UnexpectedError",
    "SessionLimitExceeded",
    "IpAddressError",
    "TagParseError",
    "InvalidTagFormat",
    "InvalidDeviceRegistration",
    "InvalidSessionToken",
    "NewDeviceChallengeRequired",
    "DeviceVerificationRequired",
    "DeviceVerificationFailed",
    "SessionNotFound",
    "ConflictingMetadataOptions",
    "CannotModifyOnCreateOnlyTags",
    "UpdatingTooManySessionsAtOnce",
];

/// Statuses of failures, and what each means.
const STATUSES: [(&str, &str); 10] = [
    ("400", "The request is not right, in a command's own type where it has one."),
    ("401", "The session token or the access key will not do."),
    (
        "403",
        "The session is good, but may not be used like this; or the key's scopes do not cover the command.",
    ),
    ("404", "There is no such session."),
    ("409", "It does not go together with what there is: a limit, a fixed tag, another rotation."),
    ("413", "The body is longer than 64 KiB."),
    ("415", "The body is not said to be JSON."),
    ("429", "The key's budget is spent."),
    ("500", "An accident of the server."),
    ("503", "The store does not answer. Nothing is said of any session."),
];

/// Paths and schemas.
pub fn described() -> Value {
    let mut document = serde_json::to_value(Shapes::openapi()).unwrap_or_default();
    document["tags"] = json!([{
        "name": "compatibility",
        "description": "Wire compatibility with other products' clients."
    }]);
    document["components"]["schemas"]["ByoFailure"] = failure();
    document["paths"] = json!({ PATH: { "post": call() } });
    document
}

fn call() -> Value {
    let mut responses = Map::new();
    responses.insert(
        "200".to_owned(),
        json!({
            "description": "What the command answers.",
            "content": { "application/json": { "schema": { "anyOf": answers() } } }
        }),
    );
    for (status, means) in STATUSES {
        let body = json!({ "schema": { "$ref": "#/components/schemas/ByoFailure" } });
        let mut content = json!({ "application/json": body });
        if status == "400" {
            // An address with parameters never reaches this door.
            content["application/problem+json"] =
                json!({ "schema": { "$ref": "#/components/schemas/Problem" } });
        }
        responses.insert(status.to_owned(), json!({ "description": means, "content": content }));
    }
    json!({
        "tags": ["compatibility"],
        "operationId": "run_command",
        "summary": "Runs a command of a PropelAuth BYO client.",
        "description": "For the published clients, unmodified: their integration key is an access key of this server, whose \
            scopes say which commands it may run. In `data`, `null` is the same as left out. A failure has a type out of the \
            command's own list; where its details are a text, that is a code and a sentence of this server.",
        "requestBody": { "required": true, "content": { "application/json": {
            "schema": { "oneOf": requests() },
            "example": { "command": "CreateSession", "data": { "userId": "ada", "tags": ["role:admin"] } }
        } } },
        "responses": responses
    })
}

fn requests() -> Vec<Value> {
    let one = |(name, data, required, _): &(&str, &str, bool, &str)| {
        let must = if *required { json!(["command", "data"]) } else { json!(["command"]) };
        json!({
            "type": "object",
            "required": must,
            "properties": {
                "command": { "type": "string", "enum": [name] },
                "data": { "$ref": format!("#/components/schemas/{data}") }
            },
            "additionalProperties": false
        })
    };
    CALLS.iter().map(one).collect()
}

/// Each shape once.
fn answers() -> Vec<Value> {
    let mut names: Vec<&str> = CALLS.iter().map(|(_, _, _, answer)| *answer).collect();
    names.sort_unstable();
    names.dedup();
    names.iter().map(|name| json!({ "$ref": format!("#/components/schemas/{name}") })).collect()
}

fn failure() -> Value {
    json!({
        "type": "object",
        "description": "Why a command failed.",
        "required": ["type"],
        "properties": {
            "type": { "type": "string", "enum": FAILURES, "description": "Out of the command's own list." },
            "details": {
                "description": "A text, `code: sentence`, or what the type is about. Types that say it all have none.",
                "oneOf": [
                    { "type": "string" },
                    { "type": "object" }
                ]
            }
        },
        "additionalProperties": false
    })
}
