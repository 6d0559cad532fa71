//! All that a session type says, as files and bodies say it: how long its sessions last, where in their data the user is
//! named, and what the data must look like.

use super::selector::Selector;
use super::{Schema, Slip, escaped};
use handstamp_core::policy::Policy;
use handstamp_core::policy::session_type::{Life, TypeName};
use handstamp_core::time::Span;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The types of an environment, by name.
pub type SessionTypes = BTreeMap<TypeName, Arc<SessionType>>;

/// One type.
#[derive(PartialEq, Eq, Debug, Default)]
pub struct SessionType {
    /// How long its sessions last.
    pub life: Life,
    /// Where in the data the user is named.
    pub selector: Option<Selector>,
    /// What the data must look like.
    pub schema: Option<Schema>,
}

impl SessionType {
    /// What it may say.
    pub const KEYS: [&'static str; 4] = ["expires_in", "refresh_expires_in", "selector", "schema"];

    /// Reads a type; what is `null` is not said.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn read(table: &Map<String, Value>) -> Result<SessionType, Vec<Slip>> {
        let mut slips = Vec::new();
        let mut read = SessionType::default();
        for (key, value) in table.iter().filter(|(_, value)| !value.is_null()) {
            let told = read.set(key, value).err().into_iter().flatten();
            let place = format!("/{}", escaped(key));
            slips.extend(told.map(|slip| Slip::new(format!("{place}{}", slip.pointer), slip.message)));
        }
        if slips.is_empty() && read == SessionType::default() {
            slips.push(Slip::new(
                "",
                format!("says nothing: give it one of {}", SessionType::KEYS.join(", ")),
            ));
        }
        if slips.is_empty() { Ok(read) } else { Err(slips) }
    }

    /// Takes one key over.
    ///
    /// # Errors
    /// Everything that is wrong with its value; pointers begin at the value.
    pub fn set(&mut self, key: &str, value: &Value) -> Result<(), Vec<Slip>> {
        let text = || value.as_str().ok_or_else(|| "expected a text".to_owned());
        let alone = |message| vec![Slip::new("", message)];
        match key {
            "expires_in" => {
                self.life.expires_in = Some(text().and_then(span).map_err(alone)?);
            }
            "refresh_expires_in" => {
                self.life.refresh_expires_in = Some(text().and_then(span).map_err(alone)?);
            }
            "selector" => self.selector = Some(text().and_then(Selector::parse).map_err(alone)?),
            "schema" => self.schema = Some(Schema::read(value)?),
            _ => {
                let known = SessionType::KEYS.join(", ");
                return Err(alone(format!("unknown key; the known ones are {known}")));
            }
        }
        Ok(())
    }

    /// What it says, and nothing that it leaves out.
    pub fn show(&self) -> Value {
        let mut said = Map::new();
        let lives =
            [("expires_in", self.life.expires_in), ("refresh_expires_in", self.life.refresh_expires_in)];
        said.extend(
            lives.into_iter().filter_map(|(key, life)| Some((key.to_owned(), json!(life?.to_string())))),
        );
        if let Some(selector) = &self.selector {
            said.insert("selector".to_owned(), json!(selector.text()));
        }
        if let Some(schema) = &self.schema {
            said.insert("schema".to_owned(), schema.source().clone());
        }
        Value::Object(said)
    }

    /// Everything in which data does not fit; `None` is a session without data.
    pub fn check(&self, data: Option<&Value>) -> Vec<Slip> {
        let Some(schema) = &self.schema else { return Vec::new() };
        match data {
            Some(data) => schema.check(data),
            None if schema.check(&Value::Null).is_empty() => Vec::new(),
            None => vec![Slip::new("", "is missing, and the session type says what it must look like")],
        }
    }
}

fn span(text: &str) -> Result<Span, String> {
    // The core's own sentence repeats the text, which may be a secret in the wrong place.
    let span = Span::parse(text).map_err(|_| {
        "is not a duration: write a number and a unit, such as \"30d\", \"24h\", \"15m\", \"90s\"".to_owned()
    })?;
    if span < Policy::SHORTEST || span > Policy::LONGEST {
        return Err(format!(
            "{span} is out of range: choose between {} and {}",
            Policy::SHORTEST,
            Policy::LONGEST
        ));
    }
    Ok(span)
}

/// The lives of types, for the policy.
pub fn lives(types: &SessionTypes) -> BTreeMap<TypeName, Life> {
    types.iter().map(|(name, said)| (name.clone(), said.life)).collect()
}
