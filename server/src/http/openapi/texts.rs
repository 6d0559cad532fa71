//! What a text of a request must look like, as schemas that everybody who reads the document can check against: tags,
//! addresses, durations, names. The rules themselves are in `core`; a test holds the two together.
//!
//! JSON Schema counts characters where some rules count bytes: a text of other letters than ASCII may be refused though
//! it fits. Where that is so, the description says it.

use handstamp_core::caller::Scope;
use handstamp_core::event::EventKind;
use handstamp_core::policy::Policy;
use handstamp_core::policy::modes::{Assurance, DeviceMode, OnAddress, OnAgent, OnLimit};
use handstamp_core::refusal::Code;
use serde_json::{Map, Value, json};

/// Control characters, as they are left out of a set.
const CONTROL: &str = r"\u0000-\u001f\u007f-\u009f";
/// Ports, but 0.
const PORT: &str = "(6553[0-5]|655[0-2][0-9]|65[0-4][0-9]{2}|6[0-4][0-9]{3}|[1-5][0-9]{4}|[1-9][0-9]{0,3})";
/// base64url of 32 bytes.
const HASH: &str = "^[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]$";
/// A duration: falling units, each at most once, one of them at least, and not nothing.
fn span() -> String {
    let units = ["d", "h", "m", "s", "ms"];
    let from = |first: usize| {
        let (unit, rest) = (units.iter().skip(first).take(1), units.iter().skip(first + 1));
        let first = unit.map(|unit| format!("[1-9][0-9]{{0,11}}{unit}"));
        first.chain(rest.map(|unit| format!("([0-9]{{1,12}}{unit})?"))).collect::<String>()
    };
    let ways: Vec<String> = (0..units.len()).map(from).collect();
    format!("({})", ways.join("|"))
}

/// The value of a tag.
fn value() -> String {
    format!(r"([^,*{CONTROL}][^,{CONTROL}]{{0,127}}|\*[^,{CONTROL}]{{1,127}})")
}

fn text(about: &str, pattern: &str) -> Value {
    json!({ "type": "string", "description": about, "pattern": pattern })
}

fn named(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

/// Each text with its name among the schemas.
pub(super) fn all() -> Map<String, Value> {
    let mut all = Map::new();
    let mut add = |name: &str, schema: Value| drop(all.insert(name.to_owned(), schema));
    add(
        "UserId",
        json!({
            "type": "string", "minLength": 1, "maxLength": 256, "pattern": format!("^[^{CONTROL}]+$"),
            "description": "Whatever the application calls its user: 1 to 256 bytes of UTF-8 without control characters.",
            "example": "ada"
        }),
    );
    add(
        "Tag",
        text(
            "`name:value`. The name is 1 to 64 of `a-z 0-9 _ - .` and begins with a letter; the value has 1 to 128 bytes of \
             UTF-8 without control characters and commas, and is not `*`.",
            &format!("^[a-z][a-z0-9_.-]{{0,63}}:{}$", value()),
        ),
    );
    add(
        "TagPattern",
        text(
            "A tag, `name:value`, or `name:*` for every value; `*` stands for nothing less than a whole value.",
            &format!(r"^[a-z][a-z0-9_.-]{{0,63}}:(\*|[^,{CONTROL}]{{0,127}}[^,*{CONTROL}])$"),
        ),
    );
    add("TagName", text("The part of a tag before its colon.", "^[a-z][a-z0-9_.-]{0,63}$"));
    add(
        "AccessGroup",
        text(
            "1 to 128 bytes of UTF-8 without control characters and commas.",
            &format!("^[^,{CONTROL}]{{1,128}}$"),
        ),
    );
    add(
        "IpAddress",
        json!({
            "type": "string", "anyOf": [{ "format": "ipv4" }, { "format": "ipv6" }],
            "description": "An address, IPv4 or IPv6.", "example": "203.0.113.7"
        }),
    );
    add(
        "Network",
        json!({
            "type": "string",
            "anyOf": [{ "format": "ipv4" }, { "format": "ipv6" }, { "pattern": prefixed() }],
            "description": "An address, or a network as an address and the length of its prefix.",
            "example": "203.0.113.0/24"
        }),
    );
    add(
        "NetworkStart",
        json!({
            "type": "string", "format": "handstamp-network",
            "anyOf": [{ "format": "ipv4" }, { "format": "ipv6" }, { "pattern": prefixed() }],
            "description": "An address, or a network as its first address and the length of its prefix.",
            "example": "203.0.113.0/24"
        }),
    );
    add(
        "Instant",
        json!({
            "type": "string", "format": "date-time", "description": "An instant (RFC 3339).",
            "example": "2026-01-31T13:45:00Z"
        }),
    );
    add(
        "Duration",
        json!({
            "type": "string", "format": "handstamp-duration", "pattern": format!("^{}$", span()),
            "description": "Days, hours, minutes, seconds and milliseconds, in this order: `30d`, `1h30m`, `90s`. From \
                `1s` to `3660d`, where nothing else is said."
        }),
    );
    add(
        "RateLimit",
        json!({
            "type": "string", "description": "Requests in a time from `1s` to `1d`: `15000/1h`.",
            "format": "handstamp-rate", "pattern": format!("^[1-9][0-9]{{0,8}}/{}$", span())
        }),
    );
    add(
        "Label",
        json!({
            "type": "string", "minLength": 1, "maxLength": 100, "pattern": format!("^[^{CONTROL}]+$"),
            "description": "A name for people: 1 to 100 characters, no control characters."
        }),
    );
    add(
        "Reason",
        json!({
            "type": "string", "maxLength": 500, "pattern": format!("^[^{CONTROL}]*$"),
            "description": "For history: at most 500 characters, no control characters."
        }),
    );
    add(
        "WebOrigin",
        json!({
            "type": "string", "pattern": origin(), "maxLength": 267, "example": "https://app.example.org",
            "description": "An origin as browsers write it: scheme, host and port in lower case, without the usual port."
        }),
    );
    add("CodeChallenge", text("base64url of the SHA-256 of a secret (RFC 7636, S256).", HASH));
    add("CodeVerifier", text("The secret behind a code challenge (RFC 7636).", "^[A-Za-z0-9._~-]{43,128}$"));
    add(
        "HttpMethod",
        text("A method of HTTP, in the case that the client sent.", "^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,32}$"),
    );
    add(
        "HttpUrl",
        json!({
            "type": "string", "maxLength": 4096, "pattern": url(),
            "description": "An `http` or `https` URL with its host, without user and password."
        }),
    );
    add("AuthMethod", text("How somebody authenticated: a word such as `otp`.", "^[a-z][a-z0-9_.-]{0,31}$"));
    add(
        "EnvironmentPart",
        text("1 to 40 of `a-z 0-9 - _`, beginning with a letter or digit.", "^[a-z0-9][a-z0-9_-]{0,39}$"),
    );
    add("Scope", words("What a key may do.", Scope::ALL.iter().map(|scope| scope.text())));
    add("EventType", words("What happens.", EventKind::ALL.iter().map(|kind| kind.text())));
    add("EndCode", words("Why a session ends.", Code::ENDINGS.iter().map(|code| code.text())));
    for (changes, of) in [("TagChanges", "Tag"), ("AccessGroupChanges", "AccessGroup")] {
        let list =
            json!({ "type": "array", "items": named(of), "maxItems": if of == "Tag" { 32 } else { 64 } });
        add(
            changes,
            json!({
                "type": "object", "description": "What comes and what goes.",
                "properties": { "add": list, "remove": list }, "additionalProperties": false
            }),
        );
    }
    add("PolicySection", section(false));
    add("TagSection", section(true));
    all
}

fn words(about: &str, words: impl Iterator<Item = &'static str>) -> Value {
    json!({ "type": "string", "description": about, "enum": words.collect::<Vec<_>>() })
}

/// IPv6 addresses whose groups look like this, without those that end in IPv4.
fn v6(h: &str) -> Vec<String> {
    let mut v6 = vec![format!("({h}:){{7}}{h}"), format!("({h}:){{1,7}}:")];
    for before in 1..=6 {
        v6.push(format!("({h}:){{1,{before}}}(:{h}){{1,{}}}", 7 - before));
    }
    v6.push(format!(":(:{h}){{1,7}}"));
    v6.push("::".to_owned());
    v6
}

/// An origin as browsers write it. That they leave the usual port out is not said here.
fn origin() -> String {
    let name = r"[a-z0-9_-]+(\.[a-z0-9_-]+)*\.?";
    let v6 = v6("[0-9a-f]{1,4}").join("|");
    format!(r"^https?://({name}|\[({v6})\])(:{PORT})?$")
}

/// An address and the length of a prefix.
fn prefixed() -> String {
    let byte = "(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])";
    let v4 = format!(r"({byte}\.){{3}}{byte}");
    let h = "[0-9A-Fa-f]{1,4}";
    let mut v6 = v6(h);
    v6.push(format!("(::([Ff]{{4}}(:0{{1,4}})?:)?|({h}:){{1,4}}:|({h}:){{6}}){v4}"));
    format!("^({v4}/(3[0-2]|[12]?[0-9])|({})/(12[0-8]|1[01][0-9]|[1-9]?[0-9]))$", v6.join("|"))
}

/// What `core` takes for the URL of a request.
fn url() -> String {
    let label = "[A-Za-z0-9_~-]+";
    let port = format!("(:{PORT}?)?");
    let path = r"(/([A-Za-z0-9._~!$&'()*+,;=:@/-]|%[0-9A-Fa-f]{2})*)?";
    format!(r"^[Hh][Tt][Tt][Pp][Ss]?://{label}(\.{label})*\.?{port}{path}([?#][!-~]*)?$")
}

/// One section of a policy.
fn section(of_a_tag: bool) -> Value {
    let mode = |texts: Vec<&'static str>| json!({ "enum": texts });
    let count = json!({ "type": "integer", "minimum": 1, "maximum": 1_000_000_000 });
    // Of a network of many addresses, its first one: what JSON Schema cannot say.
    let networks = json!({ "type": "array", "items": named("NetworkStart") });
    let day = json!({
        "type": "string", "format": "handstamp-duration-of-a-day", "pattern": format!("^{}$", span()),
        "description": "A duration of at most `1d`."
    });
    let mut keys = json!({
        "absolute_timeout": named("Duration"),
        "idle_timeout": named("Duration"),
        "refresh_timeout": named("Duration"),
        "rotate_every": { "anyOf": [named("Duration"), { "const": "never" }] },
        "rotation_grace": { "anyOf": [{ "const": "0s" }, day] },
        "max_sessions": count,
        "on_limit": mode(OnLimit::ALL.iter().map(|mode| mode.text()).collect()),
        "user_agent": mode(OnAgent::ALL.iter().map(|mode| mode.text()).collect()),
        "ip_allow": networks,
        "ip_block": networks,
        "ip_change": mode(OnAddress::ALL.iter().map(|mode| mode.text()).collect()),
        "device": mode(DeviceMode::ALL.iter().map(|mode| mode.text()).collect()),
        "access_token_ttl": day,
        "rate_limit": named("RateLimit"),
        "create_only_tags": { "type": "array", "items": named("TagName") },
        "preset": mode(Assurance::ALL.iter().map(|level| level.text()).collect()),
        "justification": {
            "type": "string", "maxLength": 500, "description": "Why a time is longer than the preset recommends.",
            "pattern": format!(r"^[^{CONTROL}]*[^\s{CONTROL}][^{CONTROL}]*$")
        }
    });
    let about = if of_a_tag {
        keys["seats"] = count;
        "The rules of sessions with a tag; at least one."
    } else {
        "Rules; the keys are those of `[policy.default]` in the configuration."
    };
    json!({
        "type": "object", "description": about, "properties": keys, "additionalProperties": false,
        "minProperties": u8::from(of_a_tag)
    })
}

/// What a parameter may be, by its name and where it is; `path` is that of the call.
pub(super) fn parameter(path: &str, place: &str, name: &str) -> Option<Value> {
    let group = format!("[^,{CONTROL}]{{1,128}}");
    let tag = format!("[a-z][a-z0-9_.-]{{0,63}}:{}", value());
    let id = |prefix: &str| json!({ "type": "string", "pattern": format!("^{prefix}_[0-9A-Za-z]{{22}}$") });
    let thumbprint = || json!({ "type": "string", "pattern": HASH });
    Some(match (place, name) {
        ("query", "user_id") => named("UserId"),
        ("query", "tag") => json!({ "type": "array", "items": named("Tag"), "maxItems": 32 }),
        ("query", "ip") => named("Network"),
        ("query", "browser" | "os") => json!({
            "type": "string", "maxLength": 64, "pattern": format!(r"^[^\s{CONTROL}]([^{CONTROL}]*[^\s{CONTROL}])?$")
        }),
        ("query", "device_id") => thumbprint(),
        ("query", "state") => json!({ "type": "string", "enum": ["live", "ended", "all"] }),
        ("query", "code") if path == "/v1/events" => named("Code"),
        ("query", "code") => named("EndCode"),
        ("query", "type") => named("EventType"),
        ("query", "created_after" | "created_before") => named("Instant"),
        ("query", "code_challenge") => named("CodeChallenge"),
        ("query", "tags") => text("Tags, separated by commas.", &format!("^{tag}(,{tag}){{0,31}}$")),
        ("query", "access_groups") => {
            text("Groups, separated by commas.", &format!("^{group}(,{group}){{0,63}}$"))
        }
        ("query", "max_auth_age") => {
            json!({ "type": "integer", "minimum": 0, "maximum": Policy::LONGEST.as_secs() })
        }
        ("query", "min_level") => json!({ "type": "integer", "minimum": 1, "maximum": 3 }),
        ("query", "rotate") => json!({ "type": "string", "enum": ["never", "auto"] }),
        ("query", "data" | "csrf") => json!({ "type": "integer", "enum": [0, 1] }),
        ("query", "login") => json!({ "type": "integer", "enum": [302, 401] }),
        ("query", "limit") => json!({ "type": "integer", "minimum": 1, "maximum": 200 }),
        ("query", "after") if path == "/v1/revocations" => {
            json!({ "type": "string", "pattern": "^(0|[0-9]{1,19}-[0-9a-f]{16})$" })
        }
        ("query", "after") => json!({ "type": "string", "pattern": "^[0-9]{1,19}$" }),
        ("query", "reason") => named("Reason"),
        ("header", "Idempotency-Key") => {
            json!({ "type": "string", "pattern": "^[!-~]([ -~]{0,253}[!-~])?$" })
        }
        ("header", "If-Match") if path.starts_with("/v1/policies") || path.starts_with("/v1/settings") => {
            json!({ "type": "string", "pattern": r#"^(\*|"[0-9]{1,19}")$"# })
        }
        ("header", "If-Match") => json!({ "type": "string", "pattern": r#"^(\*|"[ !#-~]*")$"# }),
        // Of what is only asked for, anything else is no tag that is known.
        ("header", "If-None-Match")
            if path.ends_with("jwks.json") || path.starts_with("/v1/status-lists") =>
        {
            json!({ "type": "string" })
        }
        ("query", "environment") => {
            json!({ "type": "string", "pattern": "^[a-z0-9][a-z0-9_-]{0,39}/[a-z0-9][a-z0-9_-]{0,39}$" })
        }
        ("header", "If-None-Match") => json!({ "type": "string", "enum": ["*"] }),
        ("path", "id") if path.starts_with("/v1/sessions/") || path.starts_with("/v1/auth/") => id("ses"),
        ("path", "id") if path.starts_with("/v1/keys/") => id("key"),
        ("path", "id") if path.starts_with("/v1/devices/") => thumbprint(),
        ("path", "id") if path.starts_with("/v1/users/") => named("UserId"),
        ("path", "name") if path.starts_with("/v1/session-types/") => {
            json!({ "type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$" })
        }
        ("path", "number") => json!({ "type": "integer", "minimum": 0, "maximum": i64::MAX }),
        ("path", "product" | "environment") => named("EnvironmentPart"),
        ("path", "code") if path.starts_with("/docs/errors/") => named("Code"),
        _ => return None,
    })
}
