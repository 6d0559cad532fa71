//! How surely is it the user? What was proved when they authenticated, how long ago, and what a request demands.
//!
//! A level is what the application says of an authentication; it is never raised but by another one (NIST SP 800-63B-4,
//! 5.1). What nobody has said anything about counts as the weakest (ASVS 6.8.4).

use crate::refusal::{Code, Evidence, Refusal, Value};
use crate::subject::Subject;
use crate::time::{Millis, Span};

/// The rule's name where the level is too low.
pub const LEVEL: &str = "min_level";
/// The rule's name where the authentication is too long ago.
pub const AGE: &str = "max_auth_age";

/// How much an authentication proves: 1, 2 or 3, as in NIST SP 800-63B-4.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Level(u8);

impl Level {
    /// What nobody has said anything about.
    pub const WEAKEST: Level = Level(1);

    /// From 1 to 3.
    pub const fn new(level: u8) -> Option<Level> {
        if level >= 1 && level <= 3 { Some(Level(level)) } else { None }
    }
    /// The number.
    pub const fn get(self) -> u8 {
        self.0
    }
}

/// What the application says of an authentication.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Auth {
    /// How: `password`, `otp`, `passkey`; the application's own words, in the order they were given.
    pub methods: Box<[Box<str>]>,
    /// How much it proves.
    pub level: Level,
}

impl Auth {
    /// The most methods of one authentication.
    pub const METHODS: usize = 8;

    /// Checks the name of a method: 1 to 32 of `a-z 0-9 _ - .`, beginning with a letter.
    ///
    /// # Errors
    /// A sentence that says what would be right.
    pub fn method(text: &str) -> Result<Box<str>, String> {
        let good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'-' | b'.');
        let starts = text.bytes().next().is_some_and(|b| b.is_ascii_lowercase());
        if starts && text.len() <= 32 && text.bytes().all(good) {
            return Ok(text.into());
        }
        Err("the name of a method has 1 to 32 of a-z 0-9 _ - . and begins with a letter".to_owned())
    }
}

/// What a request demands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Assured {
    /// The authentication may be this old and no older; 0 is "in this very millisecond".
    pub max_age: Option<Span>,
    /// At least this level.
    pub level: Option<Level>,
}

/// What is missing of it. The level comes first: a new authentication of the same kind would not help.
pub fn missing(session: &impl Subject, demand: Assured, now: Millis) -> Option<Refusal> {
    missing_of(session.level(), session.times().authenticated_at, demand, now)
}

/// The same of what an access token says of them.
pub(crate) fn missing_of(
    level: Option<Level>,
    authenticated_at: Millis,
    demand: Assured,
    now: Millis,
) -> Option<Refusal> {
    let held = level.unwrap_or(Level::WEAKEST);
    let refuse = |rule, allowed, seen| Refusal {
        code: Code::ReauthenticationRequired,
        rule,
        origin: None,
        evidence: Some(Evidence::Limit { allowed, seen }),
    };
    if let Some(level) = demand.level.filter(|level| held < *level) {
        let number = |level: Level| Value::Number(u64::from(level.get()));
        return Some(refuse(LEVEL, number(level), number(held)));
    }
    let age = now.since(authenticated_at);
    let most = demand.max_age.filter(|most| age > *most)?;
    Some(refuse(AGE, Value::Span(most), Value::Span(age)))
}

/// The challenge that tells a client what is missing, as the value of `WWW-Authenticate` (RFC 9470, section 3).
pub fn challenge(demand: Assured) -> String {
    let mut said =
        "Bearer error=\"insufficient_user_authentication\", error_description=\"authenticate again\""
            .to_owned();
    if let Some(level) = demand.level {
        said.push_str(&format!(", acr_values=\"{}\"", level.get()));
    }
    if let Some(age) = demand.max_age {
        said.push_str(&format!(", max_age=\"{}\"", age.as_secs()));
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_and_methods() {
        assert_eq!((0..=4).filter_map(Level::new).map(Level::get).collect::<Vec<_>>(), [1, 2, 3]);
        for good in ["pwd", "a", "web-authn.2_x", &"m".repeat(32)] {
            assert_eq!(Auth::method(good).as_deref(), Ok(good));
        }
        for bad in ["", "Pwd", "1x", "a b", "ä", "a\"", &"m".repeat(33)] {
            assert!(Auth::method(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_challenge_says_what_is_missing() {
        let start =
            "Bearer error=\"insufficient_user_authentication\", error_description=\"authenticate again\"";
        let both = Assured { max_age: Some(Span::minutes(5)), level: Level::new(2) };
        assert_eq!(challenge(both), format!("{start}, acr_values=\"2\", max_age=\"300\""));
        assert_eq!(challenge(Assured::default()), start);
    }
}
