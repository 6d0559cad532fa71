//! The devices that a user is known to have: what makes a login one from a new device.
//!
//! A key is known once a login (or a registration) asked to remember it. It is no authentication, and no session depends
//! on it: who forgets a device signs nobody out, and a session stays bound to its key whether that is known or not.

use super::key::{DeviceId, PublicKey};
use crate::id::UserId;
use crate::session::Client;
use crate::time::{Millis, Span};

/// How many devices of a user are known; the one that was not seen for the longest time makes room.
pub const MOST: usize = 50;
/// A device that was not seen for so long is forgotten. (Browsers forget keys after the same time.)
pub const KEPT: Span = Span::days(400);
/// The most characters of a name.
pub const LONGEST_NAME: usize = 100;

/// A device that a user is known to have.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Known {
    /// Whose.
    pub user: UserId,
    /// Its key.
    pub key: PublicKey,
    /// Its name: the key's thumbprint.
    pub id: DeviceId,
    /// What the user calls it.
    pub name: Option<Box<str>>,
    /// When it was remembered.
    pub first_seen: Millis,
    /// The last login or registration with it.
    pub last_seen: Millis,
    /// From where that was.
    pub client: Client,
}

impl Known {
    /// From then on it is not known any more.
    pub const fn forget_at(&self) -> Millis {
        self.last_seen.plus(KEPT)
    }
}

/// A device that has just proved to have its key.
pub struct Seen {
    /// Whether its user is not known to have it.
    pub new: bool,
    /// What is known of it from now on; `None` when it is not to be remembered.
    pub record: Option<Known>,
}

/// A device is seen. `known` is what was known of it.
pub fn see(
    known: Option<Known>,
    user: &UserId,
    key: PublicKey,
    remember: bool,
    client: &Client,
    now: Millis,
) -> Seen {
    let client = client.clone();
    match known.filter(|known| now < known.forget_at()) {
        Some(known) => {
            let last_seen = known.last_seen.max(now);
            Seen { new: false, record: Some(Known { last_seen, client, ..known }) }
        }
        None => {
            let (user, id) = (user.clone(), key.id());
            let record = Known { user, key, id, name: None, first_seen: now, last_seen: now, client };
            Seen { new: true, record: remember.then_some(record) }
        }
    }
}

/// A name that a user gives a device.
///
/// # Errors
/// A sentence that says what would be right.
pub fn name(text: &str) -> Result<Box<str>, String> {
    let text = text.trim();
    if text.is_empty() || text.chars().count() > LONGEST_NAME || text.chars().any(char::is_control) {
        return Err(format!("a device's name has 1 to {LONGEST_NAME} characters without control characters"));
    }
    Ok(text.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Millis = Millis(1_700_000_000_000);

    fn key() -> PublicKey {
        PublicKey::from_bytes(
            &super::super::base64url::decode("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo").unwrap(),
        )
        .unwrap()
    }
    fn seen(known: Option<Known>, remember: bool, now: Millis) -> Seen {
        see(known, &UserId::new("ada").unwrap(), key(), remember, &Client::default(), now)
    }

    #[test]
    fn a_device_is_new_until_it_is_remembered() {
        let first = seen(None, false, NOW);
        assert!(first.new && first.record.is_none());
        let first = seen(None, true, NOW);
        assert!(first.new);
        let known = first.record.unwrap();
        assert_eq!((known.first_seen, known.last_seen, known.id), (NOW, NOW, key().id()));
        for remember in [false, true] {
            let later = seen(Some(known.clone()), remember, NOW.plus(Span::days(1)));
            let record = later.record.unwrap();
            assert!(!later.new && record.first_seen == NOW && record.last_seen == NOW.plus(Span::days(1)));
        }
    }

    #[test]
    fn a_device_is_forgotten_when_it_is_not_seen() {
        let known = Known { name: Some("laptop".into()), ..seen(None, true, NOW).record.unwrap() };
        let last = NOW.plus(Span(KEPT.0 - 1));
        assert!(!seen(Some(known.clone()), true, last).new);
        let again = seen(Some(known), true, NOW.plus(KEPT));
        assert!(again.new && again.record.is_some_and(|record| record.name.is_none()));
    }

    #[test]
    fn names() {
        assert_eq!(name("  Ada's laptop ").as_deref(), Ok("Ada's laptop"));
        assert!(name(&"x".repeat(100)).is_ok() && name(&"x".repeat(101)).is_err());
        assert!(name("").is_err() && name(" ").is_err() && name("a\nb").is_err());
    }
}
