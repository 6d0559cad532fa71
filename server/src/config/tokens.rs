//! `[tokens]`: what access tokens say of whoever makes them.

use super::Values;
use super::key::{Key, Section};
use super::problem::Problem;
use super::setting::Word;
use handstamp_core::jose::key::Algorithm;
use serde_json::{Value as Json, json};

pub(super) const TOKENS: Section = Section {
    name: "tokens",
    about: "Access tokens (JWT), for those who verify them without asking",
    keys: &[
        Key::new::<Option<Issuer>>(
            "tokens",
            "issuer",
            "",
            "This server's address as verifiers reach it; `iss` is this and /product/environment. Without it, `iss` is handstamp:product/environment and tokens name no status list",
        )
        .example("\"https://auth.example.org\""),
        Key::new::<Algorithm>(
            "tokens",
            "algorithm",
            "EdDSA",
            "With which access tokens are signed where nobody asks for another one: EdDSA, ES256 or RS256",
        ),
    ],
};

impl Word for Algorithm {
    const NAME: &'static str = "EdDSA, ES256 or RS256";
    fn parse(text: &str) -> Result<Algorithm, String> {
        let known = Algorithm::parse(text);
        known.ok_or_else(|| format!("`{}` is not EdDSA, ES256 or RS256", text.escape_debug()))
    }
    fn text(&self) -> String {
        Algorithm::text(*self).to_owned()
    }
    fn schema() -> Json {
        json!({"enum": Algorithm::ALL.map(Algorithm::text)})
    }
}

/// An address that tokens name.
struct Issuer(String);

impl Word for Issuer {
    const NAME: &'static str = "an address";
    fn parse(text: &str) -> Result<Issuer, String> {
        let rest = ["https://", "http://"].iter().find_map(|scheme| text.strip_prefix(scheme));
        let good =
            rest.is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/') && !rest.ends_with('/'));
        let plain = |b: u8| b.is_ascii_graphic() && !matches!(b, b'?' | b'#' | b'@' | b'\\' | b'"');
        if good && text.len() <= 200 && text.bytes().all(plain) {
            return Ok(Issuer(text.to_owned()));
        }
        Err(format!(
            "`{}` is not an address to be named by: write it such as \"https://auth.example.org\", without a slash at its end",
            text.escape_debug()
        ))
    }
    fn text(&self) -> String {
        self.0.clone()
    }
    fn schema() -> Json {
        json!({"type": "string", "pattern": "^https?://[^/?#@]+(/[^/?#@]+)*$"})
    }
}

/// `[tokens]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tokens {
    /// Without a slash at its end.
    pub issuer: Option<String>,
    /// With which tokens are signed where nobody asks for another one.
    pub algorithm: Algorithm,
}

impl Tokens {
    pub(super) fn read(values: &Values) -> Result<Tokens, Problem> {
        let at = values.section("tokens");
        let issuer: Option<Issuer> = at.get("issuer")?;
        Ok(Tokens { issuer: issuer.map(|issuer| issuer.0), algorithm: at.get("algorithm")? })
    }
}
