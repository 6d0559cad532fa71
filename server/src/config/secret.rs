//! A secret of the configuration: it can be used, and cannot be printed or compared by accident.

use super::setting::{Given, Setting};
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

/// A well-formed access key: `hsk_` and letters and digits. The checksum is looked at where keys are made.
#[derive(Clone)]
pub struct AccessKey(pub Secret);

impl Setting for AccessKey {
    const WORD: &'static str = "access key";

    fn read(given: &Given) -> Result<AccessKey, String> {
        let secret = Secret::read(given)?;
        let text = secret.expose_secret();
        let body = text.strip_prefix("hsk_");
        if body
            .is_some_and(|b| b.len() >= 22 && b.len() <= 200 && b.bytes().all(|c| c.is_ascii_alphanumeric()))
        {
            Ok(AccessKey(secret))
        } else {
            Err("is not an access key: it begins with hsk_; `handstamp keys generate` makes one".to_owned())
        }
    }

    fn show(&self) -> Json {
        self.0.show()
    }

    fn schema() -> Json {
        json!({"type": "string", "pattern": "^hsk_[0-9A-Za-z]{22,200}$", "writeOnly": true})
    }
}
