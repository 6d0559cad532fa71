//! A policy as JSON says it: the default's section and those of tags, each a table of keys. Read as a whole, so that
//! whoever wrote it learns of everything that is wrong at once; and shown again in the same words.

use handstamp_core::policy::rules::Unfit;
use handstamp_core::policy::setting::Given;
use handstamp_core::policy::{Pattern, Policy, Rules};
use handstamp_core::refusal::Value;
use serde_json::{Map, Value as Json, json};
use std::collections::BTreeMap;

/// One section: its keys in the order in which they were written.
pub type Section = Vec<(String, Json)>;

/// Something wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Slip {
    /// A JSON pointer from the policy on.
    pub pointer: String,
    /// What would be right.
    pub message: String,
}

/// Puts a policy together.
///
/// # Errors
/// Everything that is wrong with it.
pub fn read(default: &Section, tags: &[(String, Section)]) -> Result<Policy, Vec<Slip>> {
    let mut slips = Vec::new();
    let mut of_tags = BTreeMap::new();
    let base = rules("/default", default, &mut slips);
    for (name, section) in tags {
        let place = format!("/tag/{}", escaped(name));
        let said = rules(&place, section, &mut slips);
        match Pattern::parse(name) {
            Ok(pattern) => drop(of_tags.insert(pattern, said)),
            Err(message) => slips.push(Slip { pointer: place, message }),
        }
    }
    if of_tags.len() > Policy::SECTIONS {
        let message = format!("has more than {} sections", Policy::SECTIONS);
        slips.push(Slip { pointer: "/tag".to_owned(), message });
    }
    let policy = Policy::new(base, of_tags);
    slips.extend(policy.check().into_iter().map(|wrong| {
        let place = match wrong.of {
            None => "/default".to_owned(),
            Some(pattern) => format!("/tag/{}", escaped(&pattern.to_string())),
        };
        let pointer = if wrong.key.is_empty() { place } else { format!("{place}/{}", wrong.key) };
        Slip { pointer, message: wrong.message }
    }));
    if slips.is_empty() { Ok(policy) } else { Err(slips) }
}

fn rules(place: &str, section: &Section, slips: &mut Vec<Slip>) -> Rules {
    let mut rules = Rules::default();
    for (key, value) in section {
        let message = match rules.set(key, &given(value)) {
            Ok(()) => continue,
            Err(Unfit::Wrong(message)) => message,
            Err(Unfit::Unknown) => format!("unknown key; the known ones are {}", Rules::KEYS.join(", ")),
        };
        slips.push(Slip { pointer: format!("{place}/{}", escaped(key)), message });
    }
    rules
}

/// What JSON says, for a rule.
pub fn given(json: &Json) -> Given<'_> {
    match json {
        Json::String(text) => Given::Text(text),
        Json::Number(n) => n.as_i64().map_or(Given::Other("a number that is not whole"), Given::Number),
        Json::Array(items) => items
            .iter()
            .map(Json::as_str)
            .collect::<Option<Vec<_>>>()
            .map_or(Given::Other("a list of other things than texts"), Given::Texts),
        Json::Bool(_) => Given::Other("true or false"),
        Json::Null => Given::Other("null"),
        Json::Object(_) => Given::Other("a table"),
    }
}

/// A value of a rule as JSON.
pub fn value(value: &Value) -> Json {
    match value {
        Value::Number(n) => json!(n),
        Value::Texts(texts) => json!(texts),
        Value::Text(_) | Value::Span(_) | Value::Time(_) => json!(value.to_string()),
    }
}

/// The whole policy: what it says, and nothing that it leaves out.
pub fn show(policy: &Policy) -> Json {
    let section = |rules: &Rules| -> Json {
        rules
            .list()
            .into_iter()
            .map(|(key, said)| (key.to_owned(), value(&said)))
            .collect::<Map<_, _>>()
            .into()
    };
    let tags: Map<String, Json> =
        policy.tag_rules().map(|(of, rules)| (of.to_string(), section(rules))).collect();
    json!({ "default": section(policy.default_rules()), "tag": tags })
}

/// As RFC 6901 writes a name in a pointer.
fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}
