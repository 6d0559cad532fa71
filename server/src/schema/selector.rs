//! `$Session{userId}`: where in the data of a session its user is named.

use super::{Slip, escaped};
use serde_json::Value;

/// A way through objects: `$Session{user}{id}`, or the same as `$Session{user.id}`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Selector {
    text: Box<str>,
    steps: Box<[Box<str>]>,
}

impl Selector {
    /// The most bytes.
    pub const LONGEST: usize = 200;

    /// Reads it.
    ///
    /// # Errors
    /// A sentence that says what would be right.
    pub fn parse(text: &str) -> Result<Selector, String> {
        let inside = text.strip_prefix("$Session{").and_then(|rest| rest.strip_suffix('}'));
        let steps: Option<Vec<Box<str>>> = inside
            .filter(|_| text.len() <= Selector::LONGEST)
            .map(|inside| inside.split("}{").flat_map(|part| part.split('.')).map(Into::into).collect());
        let wrong =
            |step: &str| step.is_empty() || step.contains(['{', '}']) || step.contains(char::is_control);
        match steps {
            Some(steps) if !steps.iter().any(|step| wrong(step)) => {
                Ok(Selector { text: text.into(), steps: steps.into() })
            }
            _ => Err(format!(
                "is not a selector: write it such as \"$Session{{userId}}\" or \"$Session{{user}}{{id}}\", in at most \
                 {} bytes",
                Selector::LONGEST
            )),
        }
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Where it looks.
    pub fn pointer(&self) -> String {
        self.steps.iter().map(|step| format!("/{}", escaped(step))).collect()
    }

    /// What it finds: a text, or a whole number in its digits.
    ///
    /// # Errors
    /// Where it does not find one.
    pub fn find(&self, data: &Value) -> Result<String, Slip> {
        let mut at = String::new();
        let mut value = data;
        for step in &self.steps {
            at.push('/');
            at.push_str(&escaped(step));
            value = value.get(&**step).ok_or_else(|| {
                Slip::new(&*at, format!("is missing: the selector {} finds the user here", self.text))
            })?;
        }
        match value {
            Value::String(text) => Ok(text.clone()),
            // Others have more than one form, and two users must not become one.
            Value::Number(number) if number.is_i64() || number.is_u64() => Ok(number.to_string()),
            _ => Err(Slip::new(
                at,
                format!(
                    "expected a text or a whole number of at most 64 bits: the selector {} finds the user here",
                    self.text
                ),
            )),
        }
    }
}
