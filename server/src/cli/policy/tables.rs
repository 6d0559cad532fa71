//! How answers about policies look to people: what a policy says, what holds, what each rule says, what would happen.

use super::super::table::{cell, clean, columns, member_of};
use handstamp_core::time::Span;
use serde_json::{Map, Value as Json, json};

/// Lists of networks can have thousands of entries; a line of a table cannot.
const SHOWN: usize = 8;
/// Rules whose evidence is a time, in seconds.
const TIMES: [&str; 4] = ["absolute", "idle", "rotate_every", "rotation"];

/// What a policy says, section by section.
pub(super) fn said(policy: &Json) -> String {
    let mut rows = Vec::new();
    let mut section = |name: &str, keys: Option<&Map<String, Json>>| {
        for (key, value) in keys.into_iter().flatten() {
            rows.push(json!({"section": name, "key": key, "value": short(value)}));
        }
    };
    section("default", policy.get("default").and_then(Json::as_object));
    for (tag, keys) in policy.get("tag").and_then(Json::as_object).into_iter().flatten() {
        section(&format!("tag {tag}"), keys.as_object());
    }
    if rows.is_empty() {
        return "it says nothing, so every key has its default: `handstamp policy explain` lists them"
            .to_owned();
    }
    columns(&[("SECTION", "section"), ("KEY", "key"), ("VALUE", "value")], &rows)
}

/// The names of a policy's sections.
pub(super) fn sections(policy: &Json) -> Json {
    let members = |name: &str| policy.get(name).and_then(Json::as_object).into_iter().flatten();
    let default = members("default").next().map(|_| "default".to_owned());
    default.into_iter().chain(members("tag").map(|(tag, _)| format!("tag {tag}"))).map(Json::String).collect()
}

/// The effective policy, with who said so.
pub(super) fn effective(policy: &Json) -> String {
    let mut rows = Vec::new();
    for (key, said) in policy.as_object().into_iter().flatten() {
        let each = said.as_array().map_or(std::slice::from_ref(said), Vec::as_slice);
        for one in each {
            // Of a long list the answer has the first entries, and how many there are.
            let entries = one.get("entries").and_then(Json::as_u64).and_then(|n| usize::try_from(n).ok());
            let value = shortened(one.get("value").unwrap_or(&Json::Null), entries);
            rows.push(json!({"key": key, "value": value, "origin": one.get("origin")}));
        }
    }
    columns(&[("KEY", "key"), ("VALUE", "value"), ("ORIGIN", "origin")], &rows)
}

/// What each rule says of a session.
pub(super) fn rules(rules: &[Json]) -> String {
    let rows: Vec<Json> = rules
        .iter()
        .map(|said| {
            let mut row = said.clone();
            if let Json::Object(members) = &mut row {
                members.insert("evidence".to_owned(), json!(evidence(said)));
            }
            row
        })
        .collect();
    columns(
        &[("RULE", "rule"), ("VERDICT", "verdict"), ("EVIDENCE", "evidence"), ("ORIGIN", "origin")],
        &rows,
    )
}

/// The refusals among them, in sentences.
pub(super) fn refusals(rules: &[Json]) -> Vec<String> {
    let told = |said: &Json| {
        said.get("detail")
            .and_then(Json::as_str)
            .map(|detail| format!("{}: {}", cell(said.get("verdict")), clean(detail)))
    };
    rules.iter().filter_map(told).collect()
}

/// `seen 10m, allowed 15m`.
fn evidence(said: &Json) -> Option<String> {
    let is_time = said.get("rule").and_then(Json::as_str).is_some_and(|rule| TIMES.contains(&rule));
    // The fraction of a second is nothing to a person.
    let seconds = |value: &Json| value.to_string().split('.').next().and_then(|whole| whole.parse().ok());
    let text = |value: &Json| match seconds(value) {
        Some(seconds) if is_time => Span::secs(seconds).to_string(),
        _ => cell(Some(&short(value))),
    };
    let found = said.get("evidence").and_then(Json::as_object)?;
    let mut parts: Vec<String> = Vec::new();
    for name in ["before", "after", "seen", "allowed"] {
        parts.extend(found.get(name).map(|value| format!("{name} {}", text(value))));
    }
    let others =
        found.iter().filter(|(name, _)| !["before", "after", "seen", "allowed"].contains(&name.as_str()));
    parts.extend(others.map(|(name, value)| format!("{name} {}", text(value))));
    Some(parts.join(", "))
}

/// How many sessions a policy would meet, and how.
pub(super) fn numbers(preview: &Json) -> String {
    let heads = [
        ("SESSIONS", "sessions"),
        ("WOULD END", "would_end"),
        ("WOULD BE REFUSED", "would_refuse"),
        ("REFUSALS OF THE LAST DAY LET IN", "would_allow"),
    ];
    columns(&heads, std::slice::from_ref(preview))
}

/// The sessions that a preview names; `None` when it names nobody.
pub(super) fn examples(preview: &Json) -> Option<String> {
    let named = preview.get("examples")?.as_array().filter(|named| !named.is_empty())?;
    let heads = [("SESSION", "session_id"), ("CODE", "code"), ("ORIGIN", "origin"), ("DETAIL", "detail")];
    Some(columns(&heads, named))
}

/// A number of a preview.
pub(super) fn number(preview: &Json, name: &str) -> u64 {
    member_of(preview, name).and_then(Json::as_u64).unwrap_or(0)
}

/// `1 session`, `2 sessions`.
pub(super) fn counted(n: u64) -> String {
    if n == 1 { "1 session".to_owned() } else { format!("{n} sessions") }
}

/// A value as it fits into a line.
fn short(value: &Json) -> Json {
    shortened(value, None)
}

/// The same of a list of which only the first entries are there: `entries` is how many it has.
fn shortened(value: &Json, entries: Option<usize>) -> Json {
    let Json::Array(items) = value else { return value.clone() };
    let mut shown: Vec<String> = items.iter().take(SHOWN).map(|item| cell(Some(item))).collect();
    if items.is_empty() {
        return json!("none");
    }
    if let Some(more @ 1..) = entries.unwrap_or(items.len()).checked_sub(SHOWN) {
        shown.push(format!("and {more} more"));
    }
    json!(shown.join(", "))
}
