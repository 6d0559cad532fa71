//! What the members of bodies may be, and what an object may not say at once. The types of requests know names and kinds;
//! here are the bounds that their reading adds.

use handstamp_core::jose::claims::{AUDIENCE, AUDIENCES, LONGEST_LIFE, RESERVED};
use handstamp_core::policy::Policy;
use handstamp_core::signing::LONGEST_DELAY;
use serde_json::{Map, Value, json};

/// What one member of a body is.
enum Member {
    /// A text of this name.
    Text(&'static str),
    /// At most so many of them; at least the first number.
    Texts(u32, Option<u32>, &'static str),
    /// A whole number in these bounds.
    Number(i64, i64),
    /// A text with this pattern and at most so many characters.
    Pattern(String, u32),
    /// As this schema says.
    As(Value),
}

use Member::{As, Number, Pattern, Text, Texts};

/// A string of a structured field (RFC 8941), with blanks around it.
const QUOTED: &str = r#""([ !#-\[\]-~]|\\["\\])*""#;

/// By the name of the schema and of its member.
fn members() -> Vec<(&'static str, &'static str, Member)> {
    let longest = Policy::LONGEST.as_secs();
    let brand = format!(r"{QUOTED}(; *v={QUOTED})?");
    let brands = format!("^ *({brand}([ \\t]*,[ \\t]*{brand}){{0,15}}[ \\t]*)?$");
    let string = format!("^ *{QUOTED} *$");
    let id = || Pattern("^ses_[0-9A-Za-z]{22}$".to_owned(), 26);
    let audience = json!({ "type": "string", "minLength": 1, "maxLength": AUDIENCE, "pattern": r"^[^\u0000-\u001f\u007f-\u009f]*$" });
    vec![
        ("AccessTokenRequest", "audience", As(json!({
            "oneOf": [audience, { "type": "array", "items": audience, "minItems": 1, "maxItems": AUDIENCES }]
        }))),
        ("AccessTokenRequest", "lifetime", Number(1, LONGEST_LIFE.as_secs())),
        ("AccessTokenRequest", "not_before", Text("Instant")),
        ("AccessTokenRequest", "algorithm", As(json!({ "enum": ["EdDSA", "ES256", "RS256"] }))),
        ("AccessTokenRequest", "claims", As(json!({
            "type": "object", "propertyNames": { "not": { "enum": RESERVED } }, "maxProperties": 512
        }))),
        ("ActorRequest", "id", Text("UserId")),
        ("ActorRequest", "reason", Pattern(r"^[^\u0000-\u001f\u007f-\u009f]*[^\s\u0000-\u001f\u007f-\u009f][^\u0000-\u001f\u007f-\u009f]*$".to_owned(), 500)),
        ("AuthRequest", "methods", Texts(0, Some(8), "AuthMethod")),
        ("AuthRequest", "level", Number(1, 3)),
        ("AuthRequest", "at", Text("Instant")),
        ("ChallengeRequest", "session_id", id()),
        ("ChallengeRequest", "user_id", Text("UserId")),
        ("ChallengeRequest", "ip", Text("IpAddress")),
        ("ClientHints", "sec-ch-ua", Pattern(brands.clone(), 512)),
        ("ClientHints", "ua", Pattern(brands, 512)),
        ("ClientHints", "sec-ch-ua-mobile", Pattern(r"^ *\?[01] *$".to_owned(), 512)),
        ("ClientHints", "sec-ch-ua-platform", Pattern(string.clone(), 512)),
        ("ClientHints", "sec-ch-ua-platform-version", Pattern(string.clone(), 512)),
        ("ClientHints", "sec-ch-ua-model", Pattern(string, 512)),
        ("ClientHints", "platform", Pattern(String::new(), 512)),
        ("ClientHints", "platform_version", Pattern(String::new(), 512)),
        ("ClientHints", "model", Pattern(String::new(), 512)),
        ("CreateEnvironmentRequest", "product", Text("EnvironmentPart")),
        ("CreateEnvironmentRequest", "environment", Text("EnvironmentPart")),
        ("CreateKeyRequest", "name", Text("Label")),
        ("CreateKeyRequest", "scopes", Texts(1, None, "Scope")),
        ("CreateKeyRequest", "expires_in", Number(1, longest)),
        ("CreateKeyRequest", "rate_limit", Text("RateLimit")),
        ("CreateRequest", "user_id", Text("UserId")),
        ("CreateRequest", "tags", Texts(0, Some(32), "Tag")),
        ("CreateRequest", "access_groups", Texts(0, Some(64), "AccessGroup")),
        ("CreateRequest", "expires_in", Number(1, longest)),
        ("CreateRequest", "ip", Text("IpAddress")),
        ("ExplainRequest", "tags", Texts(0, Some(32), "Tag")),
        ("ExplainRequest", "user_id", Text("UserId")),
        ("NameDeviceRequest", "name", Text("Label")),
        ("ExchangeRequest", "origin", Text("WebOrigin")),
        ("ExchangeRequest", "code_verifier", Text("CodeVerifier")),
        ("LoginRequest", "code_challenge", Text("CodeChallenge")),
        ("OriginsRequest", "origins", As(json!({
            "type": "array", "items": { "$ref": "#/components/schemas/WebOrigin" }, "maxItems": 200, "uniqueItems": true
        }))),
        ("Policy", "default", As(json!({ "$ref": "#/components/schemas/PolicySection" }))),
        ("Policy", "tag", As(json!({
            "type": "object", "propertyNames": { "$ref": "#/components/schemas/TagPattern" },
            "additionalProperties": { "$ref": "#/components/schemas/TagSection" }, "maxProperties": Policy::SECTIONS
        }))),
        ("RefreshRequest", "ip", Text("IpAddress")),
        ("RegisterRequest", "session_id", id()),
        ("RegisterRequest", "ip", Text("IpAddress")),
        ("RevokeFilter", "user_id", Text("UserId")),
        ("RevokeFilter", "tags", Texts(1, Some(32), "Tag")),
        ("RevokeFilter", "ip", Text("Network")),
        ("RevokeFilter", "before", Text("Instant")),
        ("RevokeFilter", "after", Text("Instant")),
        ("RevokeRequest", "user_id", Text("UserId")),
        ("RevokeRequest", "tags", Texts(1, Some(32), "Tag")),
        ("RevokeRequest", "ip", Text("Network")),
        ("RevokeRequest", "before", Text("Instant")),
        ("RevokeRequest", "after", Text("Instant")),
        ("RevokeRequest", "reason", Text("Reason")),
        ("RotateKeyRequest", "overlap", Number(0, longest)),
        ("RotateSigningKeyRequest", "activate_in", Number(0, LONGEST_DELAY.as_secs())),
        ("RotateSigningKeyRequest", "retire_in", Number(0, LONGEST_DELAY.as_secs())),
        ("SessionType", "expires_in", Text("Duration")),
        ("SessionType", "refresh_expires_in", Text("Duration")),
        ("SessionType", "selector", Pattern(r"^\$Session(\{[^{}.\u0000-\u001f\u007f-\u009f]+(\.[^{}.\u0000-\u001f\u007f-\u009f]+)*\})+$".to_owned(), 200)),
        ("SessionType", "schema", As(json!({ "type": "object", "minProperties": 1 }))),
        ("UpdateKeyRequest", "name", Text("Label")),
        ("UpdateKeyRequest", "scopes", Texts(1, None, "Scope")),
        ("UpdateKeyRequest", "rate_limit", Text("RateLimit")),
        ("UpdateRequest", "ip", Text("IpAddress")),
        ("UpdateRequest", "tags", Text("TagChanges")),
        ("UpdateRequest", "access_groups", Text("AccessGroupChanges")),
        ("ValidateRequest", "ip", Text("IpAddress")),
        ("ValidateRequest", "required_tags", Texts(0, Some(32), "Tag")),
        ("ValidateRequest", "required_access_groups", Texts(0, Some(64), "AccessGroup")),
        ("ValidateRequest", "max_auth_age", Number(0, longest)),
        ("ValidateRequest", "min_level", Number(1, 3)),
    ]
}

/// What an object may not say at once, or has to say together, by the name of its schema.
fn together() -> Vec<(&'static str, Value)> {
    let is = |name: &str, kind: &str| json!({ "required": [name], "properties": { name: { "type": kind } } });
    let silent = |names: &[&str]| -> Value {
        json!({ "properties": names.iter().map(|name| ((*name).to_owned(), json!({ "type": "null" }))).collect::<Map<_, _>>() })
    };
    let without = |names: &[&str]| json!({ "not": { "anyOf": names.iter().map(|name| json!({ "required": [name] })).collect::<Vec<_>>() } });
    let proved = json!({
        "anyOf": [
            silent(&["device"]),
            { "required": ["device", "method", "url"], "properties": {
                "method": { "$ref": "#/components/schemas/HttpMethod" },
                "url": { "$ref": "#/components/schemas/HttpUrl" }
            } }
        ]
    });
    let filter = ["user_id", "tags", "ip", "before", "after"];
    let filtered: Vec<Value> = filter.iter().map(|name| json!({ "required": [name] })).collect();
    let some = |list: &str| json!({ "required": [list], "properties": { list: { "minItems": 1 } } });
    let listed = |name: &str| json!({ "required": [name], "properties": { name: { "type": "object", "anyOf": [some("add"), some("remove")] } } });
    let change = json!({
        "not": { "required": ["data", "data_patch"] },
        "anyOf": [
            { "required": ["data"] }, { "required": ["data_patch"] }, listed("tags"), listed("access_groups"),
            { "required": ["extend"], "properties": { "extend": { "const": true } } }, is("auth", "object")
        ]
    });
    let alone = json!({ "anyOf": [is("auth", "object"), silent(&["ip", "user_agent"])] });
    let hints = [
        ["sec-ch-ua", "ua"],
        ["sec-ch-ua-mobile", "mobile"],
        ["sec-ch-ua-platform", "platform"],
        ["sec-ch-ua-platform-version", "platform_version"],
        ["sec-ch-ua-model", "model"],
    ];
    let once: Vec<Value> =
        hints.iter().map(|[long, short]| json!({ "anyOf": [silent(&[long]), silent(&[short])] })).collect();
    vec![
        (
            "BulkUpdateRequest",
            json!({ "properties": {
            "filter": { "minProperties": 1 }, "update": silent(&["auth", "ip", "user_agent"])
        } }),
        ),
        (
            "ChallengeRequest",
            json!({ "oneOf": [
            { "allOf": [{ "required": ["token"] }, without(&["session_id"]), silent(&["user_id", "ip", "user_agent"])] },
            { "allOf": [{ "required": ["session_id"] }, without(&["token"]), silent(&["user_id", "ip", "user_agent"])] },
            without(&["token", "session_id"])
        ] }),
        ),
        ("ClientHints", json!({ "allOf": once })),
        (
            "CreateKeyRequest",
            json!({ "anyOf": [
                { "properties": { "kind": { "enum": ["access", null] } } },
                { "allOf": [silent(&["scopes", "rate_limit"]), { "properties": { "operator": { "enum": [false, null] } } }] }
            ] }),
        ),
        ("CreateRequest", proved.clone()),
        (
            "ExplainRequest",
            json!({ "oneOf": [
            { "allOf": [is("tags", "array"), silent(&["user_id"])] },
            { "allOf": [is("user_id", "string"), silent(&["tags"])] }
        ] }),
        ),
        ("RefreshRequest", proved.clone()),
        (
            "RegisterRequest",
            json!({
                "required": ["device", "method", "url"],
                "properties": {
                    "method": { "$ref": "#/components/schemas/HttpMethod" },
                    "url": { "$ref": "#/components/schemas/HttpUrl" }
                },
                "oneOf": [{ "required": ["token"] }, { "required": ["session_id"] }]
            }),
        ),
        (
            "RevokeRequest",
            json!({ "oneOf": [
            { "allOf": [{ "required": ["token"], "properties": { "all": { "const": false } } }, without(&filter)] },
            { "allOf": [{ "required": ["all"], "properties": { "all": { "const": true } } }, without(&["token"]), without(&filter)] },
            { "allOf": [{ "anyOf": filtered, "properties": { "all": { "const": false } } }, without(&["token"])] }
        ] }),
        ),
        (
            "SessionType",
            json!({ "anyOf": [
            is("expires_in", "string"), is("refresh_expires_in", "string"), is("selector", "string"), is("schema", "object")
        ] }),
        ),
        (
            "UpdateKeyRequest",
            json!({ "anyOf": [is("name", "string"), is("state", "string"), is("scopes", "array"), { "required": ["rate_limit"] }] }),
        ),
        ("UpdateRequest", json!({ "allOf": [change, alone] })),
        ("ValidateRequest", proved),
    ]
}

/// Writes all of it into the schemas of the document.
pub(super) fn bound(schemas: &mut Map<String, Value>) {
    for (schema, member, what) in members() {
        let Some(found) =
            schemas.get_mut(schema).and_then(|schema| schema.pointer_mut(&format!("/properties/{member}")))
        else {
            continue;
        };
        if let Some(found) = found.as_object_mut() {
            narrow(found, what);
        }
    }
    for (schema, more) in together() {
        if let (Some(found), Value::Object(more)) = (schemas.get_mut(schema), more) {
            merge(found, more);
        }
    }
}

/// Puts a bound on a member, which may go on being `null` if it could.
fn narrow(member: &mut Map<String, Value>, what: Member) {
    let null = member
        .get("type")
        .and_then(Value::as_array)
        .is_some_and(|kinds| kinds.iter().any(|kind| kind == "null"))
        || member
            .get("oneOf")
            .and_then(Value::as_array)
            .is_some_and(|ways| ways.iter().any(|way| way["type"] == "null"));
    let mut schema = match what {
        Text(name) => json!({ "$ref": format!("#/components/schemas/{name}") }),
        Texts(least, most, name) => {
            let mut list =
                json!({ "type": "array", "items": { "$ref": format!("#/components/schemas/{name}") } });
            if least > 0 {
                list["minItems"] = least.into();
            }
            if let Some(most) = most {
                list["maxItems"] = most.into();
            }
            list
        }
        Number(least, most) => {
            json!({ "type": "integer", "format": "int64", "minimum": least, "maximum": most })
        }
        Pattern(pattern, most) if pattern.is_empty() => json!({ "type": "string", "maxLength": most }),
        Pattern(pattern, most) => json!({ "type": "string", "maxLength": most, "pattern": pattern }),
        As(schema) => schema,
    };
    if null {
        schema = json!({ "oneOf": [{ "type": "null" }, schema] });
    }
    member.retain(|key, _| matches!(key.as_str(), "description" | "example"));
    if let Value::Object(schema) = schema {
        member.extend(schema);
    }
}

/// Adds keywords; objects in objects, lists behind lists.
fn merge(into: &mut Value, more: Map<String, Value>) {
    let Some(into) = into.as_object_mut() else { return };
    for (key, value) in more {
        match (into.get_mut(&key), value) {
            (Some(Value::Array(old)), Value::Array(new)) => {
                for one in new {
                    if !old.contains(&one) {
                        old.push(one);
                    }
                }
            }
            (Some(old @ Value::Object(_)), Value::Object(new)) => merge(old, new),
            (_, value) => drop(into.insert(key, value)),
        }
    }
}
