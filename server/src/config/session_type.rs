//! `[session_type.NAME]`: the types of sessions, where the file says them.

use super::key::{Key, Layers};
use super::problem::Problem;
use super::setting::{Given, Setting, Word};
use super::{Origin, Values};
use crate::schema::Slip;
use crate::schema::selector;
use crate::schema::session_type::{SessionType, SessionTypes};
use handstamp_core::policy::Policy;
use handstamp_core::policy::session_type::TypeName;
use handstamp_core::time::Span;
use serde_json::{Map, Value as Json, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The section in which all of them lie.
pub(super) const SECTION: &str = "session_type";
const LEAST: u64 = Policy::SHORTEST.0.unsigned_abs();
const MOST: u64 = Policy::LONGEST.0.unsigned_abs();

const fn says<T: Setting>(name: &'static str, about: &'static str) -> Key {
    Key::new::<T>(SECTION, name, "", about).only(Layers::File).live()
}

/// What a session type may say.
pub(super) const KEYS: &[Key] = &[
    says::<Span>(
        "expires_in",
        "Life of a session of the type, when that is shorter than what the policy says",
    )
    .range(LEAST, MOST),
    says::<Span>("refresh_expires_in", "The same of a session with a refresh token").range(LEAST, MOST),
    says::<Selector>("selector", "Where in the data its user is named, such as $Session{userId}"),
    says::<Schema>("schema", "JSON Schema of its data, or the short form { field = \"string\" }"),
];

/// `$Session{userId}`.
struct Selector(String);

impl Word for Selector {
    const NAME: &'static str = "a selector";
    fn parse(text: &str) -> Result<Selector, String> {
        match selector::Selector::parse(text) {
            Ok(_) => Ok(Selector(text.to_owned())),
            Err(why) => Err(format!("`{}` {why}", text.escape_debug())),
        }
    }
    fn text(&self) -> String {
        self.0.clone()
    }
}

/// A table that describes data.
struct Schema(Json);

impl Setting for Schema {
    const WORD: &'static str = "a table";
    fn read(given: &Given) -> Result<Schema, String> {
        if !matches!(given, Given::Map(_)) {
            return Err(format!("is {}: write a table such as {{ userId = \"string\" }}", given.word()));
        }
        let source = plain(given).map_err(|word| {
            format!("has {word} in it, which JSON does not have: write it as a text, or leave it out")
        })?;
        crate::schema::Schema::read(&source).map_err(|slips| sentence(&slips))?;
        Ok(Schema(source))
    }
    fn show(&self) -> Json {
        self.0.clone()
    }
    fn schema() -> Json {
        json!({"type": "object"})
    }
}

/// All that is wrong with a schema as one sentence, for one line of a file.
fn sentence(slips: &[Slip]) -> String {
    const TOLD: usize = 5;
    let said = |slip: &Slip| {
        let pointer = slip.pointer.escape_debug();
        if slip.pointer.is_empty() { slip.message.clone() } else { format!("{pointer} {}", slip.message) }
    };
    let mut all: Vec<String> = slips.iter().take(TOLD).map(said).collect();
    if slips.len() > TOLD {
        all.push(format!("and {} more", slips.len() - TOLD));
    }
    all.join("; ")
}

fn plain(given: &Given) -> Result<Json, &'static str> {
    Ok(match given {
        Given::Loose(text) | Given::Text(text) => json!(text),
        Given::Whole(n) => json!(n),
        Given::Fraction(n) if n.is_finite() => json!(n),
        Given::Fraction(_) => return Err("a number without end"),
        Given::Flag(flag) => json!(flag),
        Given::List(items) => Json::Array(items.iter().map(plain).collect::<Result<_, _>>()?),
        Given::Map(pairs) => {
            let pair = |(name, value): &(String, Given)| Ok((name.clone(), plain(value)?));
            Json::Object(pairs.iter().map(pair).collect::<Result<_, &'static str>>()?)
        }
        Given::Other(word) => return Err(word),
    })
}

/// What the file says about types of sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Types {
    types: SessionTypes,
    /// Whether the file has a `[session_type]`: then it decides, and the API may not change session types.
    pub managed_by_file: bool,
}

impl Types {
    pub(super) fn read(values: &Values, managed_by_file: bool) -> Result<Types, Problem> {
        let mut said: BTreeMap<TypeName, (Map<String, Json>, Origin, String)> = BTreeMap::new();
        for entry in values.named.iter().filter(|entry| entry.key.section == SECTION) {
            // What is no name is told already.
            let Some(Ok(name)) = entry.of.as_deref().map(TypeName::parse) else { continue };
            let known =
                said.entry(name).or_insert_with(|| (Map::new(), entry.origin.clone(), entry.path.clone()));
            known.0.insert(entry.key.name.to_owned(), entry.value.clone());
        }
        let mut types = SessionTypes::new();
        for (name, (table, origin, path)) in said {
            let read =
                SessionType::read(&table).map_err(|slips| Problem::new(origin, path, sentence(&slips)))?;
            types.insert(name, Arc::new(read));
        }
        Ok(Types { types, managed_by_file })
    }

    /// What is put in force; `None` leaves the say to the API.
    pub fn in_force(&self) -> Option<SessionTypes> {
        self.managed_by_file.then(|| self.types.clone())
    }
}

/// There is a bound on how many types there are, whoever says them.
pub(super) fn check(types: &Types) -> Option<Problem> {
    let message = format!("has more than {} session types", Policy::TYPES);
    (types.types.len() > Policy::TYPES).then(|| Problem::new(Origin::Default, SECTION, message))
}
