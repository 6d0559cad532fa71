//! A secret of the configuration: it can be used, and cannot be printed or compared by accident.

use super::setting::{Given, Setting};
use handstamp_core::token::access_key::Parts;
use handstamp_core::token::{Kind, Unreadable};
use serde_json::{Value as Json, json};
use zeroize::Zeroizing;

/// A secret text. It has neither `Debug` nor `Display` nor `PartialEq`, and is wiped from memory when dropped.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Keeps `text`, without the blanks and line ends around it that editors and `echo` leave in files.
    pub fn new(text: &str) -> Secret {
        Secret(Zeroizing::new(text.trim().to_owned()))
    }

    /// The secret itself. The name is long so that every use of it is seen in a review.
    pub fn expose_secret(&self) -> &str {
        &self.0
    }

    /// Whether both hold the same text. It takes as long for every text of one length.
    pub fn same_as(&self, other: &Secret) -> bool {
        let (a, b) = (self.0.as_bytes(), other.0.as_bytes());
        a.len() == b.len() && a.iter().zip(b).fold(0, |all, (x, y)| all | (x ^ y)) == 0
    }
}

impl Setting for Secret {
    const WORD: &'static str = "secret";

    fn read(given: &Given) -> Result<Secret, String> {
        match given {
            Given::Loose(text) | Given::Text(text) if !text.trim().is_empty() => Ok(Secret::new(text)),
            Given::Loose(_) | Given::Text(_) => {
                Err("is empty: write the secret, or leave the key out".to_owned())
            }
            other => Err(format!("is {}: write a text in quotes", other.word())),
        }
    }

    fn show(&self) -> Json {
        json!("(set)")
    }

    fn schema() -> Json {
        json!({"type": "string", "writeOnly": true})
    }
}

/// A well-formed access key; `core` says what that is, its checksum finds a slip of the fingers.
#[derive(Clone)]
pub struct AccessKey(pub Secret);

impl Setting for AccessKey {
    const WORD: &'static str = "access key";

    fn read(given: &Given) -> Result<AccessKey, String> {
        let secret = Secret::read(given)?;
        match Parts::read(Kind::AccessKey, secret.expose_secret()) {
            Ok(_) => Ok(AccessKey(secret)),
            Err(Unreadable::WrongKind) => {
                Err("is a credential of another kind: an access key begins with hsk_".to_owned())
            }
            Err(Unreadable::Missing | Unreadable::Malformed) => {
                Err("is not a whole access key: `handstamp keys generate` makes one".to_owned())
            }
        }
    }

    fn show(&self) -> Json {
        self.0.show()
    }

    fn schema() -> Json {
        json!({"type": "string", "pattern": "^hsk_[0-9A-Za-z]+$", "writeOnly": true})
    }
}
