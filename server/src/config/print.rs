//! The configuration for people: a sample file, a JSON Schema, and the listing of what stands and why.
//!
//! All three are made from the table of keys, so that none of them can fall behind it.

use super::key::{Key, Layers, SECTIONS};
use super::setting::Given;
use super::{Config, Entry};
use super::{policy, session_type};
use serde_json::{Map, Value as Json, json};
use std::fmt::Write;

const HEAD: &str = "\
# The configuration of Handstamp. Every key stands here with its default, or with an example where it has none: remove
# the number sign before a key to set it. `handstamp config check` says whether the file is right, `handstamp config
# show --origin` what stands and who said so.
#
# In rising order: defaults, this file, environment variables (HANDSTAMP_SERVER__LISTEN for listen in [server]; lists
# are separated by commas; secrets also from a file, HANDSTAMP_BOOTSTRAP__ACCESS_KEY_FILE), flags (--listen, --data-dir,
# --store, --control). Keys marked (reload) change in the running server on `handstamp config reload`; all others need
# a restart. Paths are relative to the directory the server is started in.
";

const TAIL: &str = "
# Rules of sessions with a tag override the default; where several tags of a session say something, the strictest
# wins; \"name:*\" is every value. All keys of [policy.default] and seats.
#[policy.tag.\"role:admin\"]
#idle_timeout = \"15m\"
#absolute_timeout = \"12h\"

# Types of sessions: those with the tag type:NAME. When there is one here, the file decides, not the API. All keys
# change on reload.
#[session_type.\"checkout-session\"]
#expires_in = \"1h\"
#refresh_expires_in = \"7d\"
#selector = \"$Session{userId}\"
#schema = { userId = \"string\" }
";

/// A commented `handstamp.toml` that changes nothing.
pub fn sample() -> String {
    let mut out = HEAD.to_owned();
    for section in SECTIONS {
        // An empty [policy.default] would already mean that the file decides.
        let mark = if section.name.starts_with("policy.") { "#" } else { "" };
        let _ = write!(out, "\n# {}.\n{mark}[{}]\n", section.about, section.name);
        for key in section.keys {
            let _ = write!(out, "# {}{}.\n{}\n", key.about, notes(key), sample_line(key));
        }
    }
    out.push_str(TAIL);
    out
}

fn sample_line(key: &Key) -> String {
    if key.layers == Layers::Environment {
        return format!("#   {0}=... or {0}_FILE=/path", key.variable().unwrap_or_default());
    }
    let default = default_of(key);
    match (&default, key.example) {
        (Json::Null, "") => format!("#{} = \"...\"", key.name),
        // As it is documented: 24h, not the 1d that it is shown as.
        (Json::String(_), "") => format!("#{} = {}", key.name, json!(key.default)),
        (_, "") => format!("#{} = {}", key.name, toml_text(&default)),
        (_, example) => format!("#{} = {example}", key.name),
    }
}

fn notes(key: &Key) -> String {
    if key.live { " (reload)".to_owned() } else { String::new() }
}

/// The default as it is shown; null when there is none.
fn default_of(key: &Key) -> Json {
    key.look(&Given::Loose(key.default.to_owned())).unwrap_or(Json::Null)
}

/// JSON is TOML but for tables and nothing.
fn toml_text(value: &Json) -> String {
    match value {
        Json::Null => "(not set)".to_owned(),
        Json::Array(items) => format!("[{}]", items.iter().map(toml_text).collect::<Vec<_>>().join(", ")),
        Json::Object(map) => {
            let pair = |(name, value): (&String, &Json)| format!("{} = {}", json!(name), toml_text(value));
            format!("{{ {} }}", map.iter().map(pair).collect::<Vec<_>>().join(", "))
        }
        plain => plain.to_string(),
    }
}

/// JSON Schema (2020-12) of `handstamp.toml`, for editors.
pub fn schema() -> Json {
    let mut sections = Map::new();
    for section in SECTIONS.iter().filter(|section| !section.name.contains('.')) {
        sections.insert(section.name.to_owned(), object(section.about, section.keys.iter(), true));
    }
    let default = SECTIONS.iter().find(|section| section.name == "policy.default");
    let (about, keys) = default.map_or(("", &[][..]), |section| (section.about, section.keys));
    sections.insert(
        "policy".to_owned(),
        json!({
            "type": "object",
            "additionalProperties": false,
            "properties": {
                "default": object(about, keys.iter(), true),
                "tag": {
                    "type": "object",
                    "additionalProperties": object("Overrides for sessions with this tag", policy::of_a_tag(), false),
                },
            },
        }),
    );
    sections.insert(
        "session_type".to_owned(),
        json!({
            "type": "object",
            "additionalProperties": object("A type of session", session_type::KEYS.iter(), false),
        }),
    );
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "The configuration of Handstamp",
        "type": "object",
        "additionalProperties": false,
        "properties": sections,
    })
}

fn object(about: &str, keys: impl Iterator<Item = &'static Key>, defaults: bool) -> Json {
    let in_the_file = keys.filter(|key| key.layers != Layers::Environment);
    let properties: Map<String, Json> =
        in_the_file.map(|key| (key.name.to_owned(), property(key, defaults))).collect();
    json!({"description": about, "type": "object", "additionalProperties": false, "properties": properties})
}

fn property(key: &Key, defaults: bool) -> Json {
    let mut schema = (key.schema)();
    let default = default_of(key);
    if let Json::Object(members) = &mut schema {
        members.insert("description".to_owned(), json!(format!("{}{}", key.about, notes(key))));
        if defaults && !default.is_null() {
            members.insert("default".to_owned(), default);
        }
        // Other sizes are texts with a unit, whose range a schema cannot say.
        if let (Some((least, most)), Some("integer")) =
            (key.range, members.get("type").and_then(Json::as_str))
        {
            members.insert("minimum".to_owned(), json!(least));
            members.insert("maximum".to_owned(), json!(most));
        }
    }
    schema
}

/// Every key with its value, as lines of TOML with dotted names; with `origins` also who said so.
pub fn listing(config: &Config, origins: bool) -> String {
    let lines: Vec<(String, &Entry)> = config
        .entries
        .iter()
        .map(|entry| (format!("{} = {}", entry.path, toml_text(&entry.value)), entry))
        .collect();
    let width = lines.iter().map(|(line, _)| line.chars().count()).filter(|n| *n < 72).max().unwrap_or(0);
    let mut out = String::new();
    for (line, entry) in lines {
        let _ = if origins {
            writeln!(out, "{line:width$}  # {}", entry.origin)
        } else {
            writeln!(out, "{line}")
        };
    }
    out
}

/// The same for programs: `{"server.listen": {"value", "origin"}}`; without `origins` the values alone.
pub fn listing_json(config: &Config, origins: bool) -> Json {
    let one = |entry: &Entry| {
        if origins {
            json!({"value": entry.value, "origin": entry.origin.to_string()})
        } else {
            entry.value.clone()
        }
    };
    config.entries.iter().map(|entry| (entry.path.clone(), one(entry))).collect()
}
