//! The OpenAPI document of this door: one call, whose body says by its command what else it holds.

use super::sessions::LAST_PAGE;
use super::{PATH, answers, commands};
use handstamp_core::jose::claims::{AUDIENCE, LONGEST_LIFE, RESERVED};
use handstamp_core::signing::LONGEST_DELAY;
use handstamp_core::tag::Tag;
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
    commands::CreateDeviceChallenge,
    commands::RegisterDevice,
    commands::CreateStatelessToken,
    commands::RotateStatelessTokenKey,
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
    answers::Challenge,
    answers::RegisteredDevice,
    answers::StatelessToken,
    answers::Jwks<'static>,
    answers::Jwk<'static>,
    answers::KeyRotation,
)))]
struct Shapes;

/// Each command: what it is told, whether that must be there, and what it answers.
#[rustfmt::skip]
const CALLS: [(&str, &str, bool, &str); 18] = [
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
    ("CreateDeviceChallenge", "ByoCreateDeviceChallenge", false, "ByoDeviceChallenge"),
    ("RegisterDevice", "ByoRegisterDevice", true, "ByoRegisteredDevice"),
    ("CreateStatelessToken", "ByoCreateStatelessToken", true, "ByoStatelessToken"),
    ("GetJwks", "ByoNothing", false, "ByoJwks"),
    ("RotateStatelessTokenKey", "ByoRotateStatelessTokenKey", true, "ByoKeyRotation"),
];

/// Every type of failure, over all commands.
const FAILURES: [&str; 18] = [
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
    "DeviceAlreadyRegistered",
    "SessionNotFound",
    "ConflictingMetadataOptions",
    "CannotModifyOnCreateOnlyTags",
    "UpdatingTooManySessionsAtOnce",
    "TokenCreationFailed",
    "RotationFailed",
    "InvalidParameters",
];

/// Statuses of failures, and what each means.
const STATUSES: [(&str, &str); 9] = [
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
    ("503", "An accident, such as a store that does not answer. Nothing is said of any session."),
];

/// Paths and schemas.
pub fn described() -> Value {
    let mut document = serde_json::to_value(Shapes::openapi()).unwrap_or_default();
    document["tags"] = json!([{
        "name": "compatibility",
        "description": "Wire compatibility with other products' clients."
    }]);
    for schema in document["components"]["schemas"].as_object_mut().into_iter().flat_map(Map::values_mut) {
        bound(schema);
    }
    document["components"]["schemas"]["ByoFailure"] = failure();
    document["paths"] = json!({ PATH: { "post": call() } });
    document
}

/// What members may be beyond their kind, in the words of the document that this one becomes a part of.
fn bound(schema: &mut Value) {
    // Answers have nothing to bound.
    if schema["additionalProperties"] != false {
        return;
    }
    for (name, member) in schema["properties"].as_object_mut().into_iter().flatten() {
        let optional = member["type"].as_array().is_some_and(|kinds| kinds.contains(&json!("null")));
        let or_null =
            |kind: Value| if optional { json!({ "anyOf": [kind, { "type": "null" }] }) } else { kind };
        let named = |name: &str| json!({ "$ref": format!("#/components/schemas/{name}") });
        let mut narrow = match name.as_str() {
            "userId" => or_null(named("UserId")),
            "ipAddress" => or_null(named("IpAddress")),
            "requestUrl" => or_null(named("HttpUrl")),
            "requestMethod" => or_null(named("HttpMethod")),
            "page" => or_null(json!({ "type": "integer", "minimum": 0, "maximum": LAST_PAGE })),
            "lifetimeSecs" => {
                or_null(json!({ "type": "integer", "minimum": 1, "maximum": LONGEST_LIFE.as_secs() }))
            }
            "issuer" | "audience" => or_null(json!({
                "type": "string", "minLength": 1, "maxLength": AUDIENCE, "pattern": r"^[^\u0000-\u001f\u007f-\u009f]*$"
            })),
            "customClaims" => json!({ "anyOf": [
                { "type": "object", "propertyNames": { "not": { "enum": RESERVED } }, "maxProperties": 512 },
                { "type": "null" }
            ] }),
            "secsBeforeNewKeyBecomesDefault" | "secsBeforeExistingKeysAreDeactivated" => {
                json!({ "type": "integer", "minimum": 0, "maximum": LONGEST_DELAY.as_secs() })
            }
            "tags" | "sessionTags" | "requiredTags" | "tagsToAdd" | "tagsToRemove" => {
                or_null(json!({ "type": "array", "items": named("Tag"), "maxItems": Tag::MOST }))
            }
            _ => continue,
        };
        narrow["description"] = member["description"].take();
        *member = narrow;
    }
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
    responses.insert("500".to_owned(), json!({
        "description": "A mistake of the server.",
        "content": { "application/problem+json": { "schema": { "$ref": "#/components/schemas/Problem" } } }
    }));
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
        let told = json!({ "$ref": format!("#/components/schemas/{data}") });
        let (must, told) = match required {
            true => (json!(["command", "data"]), told),
            false => (json!(["command"]), json!({ "anyOf": [told, { "type": "null" }] })),
        };
        json!({
            "type": "object",
            "required": must,
            "properties": {
                "command": { "type": "string", "enum": [name] },
                "data": told
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
