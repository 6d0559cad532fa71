//! Products and environments: the walls between which everything lives. Nothing crosses.

use crate::id::EnvironmentId;
use crate::time::Millis;
use std::collections::BTreeMap;

/// An environment of a product, such as `shop/prd`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Environment {
    /// Random, never reused: an environment made again under an old name is another one.
    pub id: EnvironmentId,
    /// Its product and its own name.
    pub name: EnvironmentName,
    /// When it was made.
    pub created_at: Millis,
    /// Data keys, wrapped under the master key; the last one seals.
    pub data_keys: Vec<(u8, Vec<u8>)>,
}

/// `product/environment`, each 1 to 40 of `a-z 0-9 - _`, beginning with a letter or digit.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct EnvironmentName {
    product: Box<str>,
    environment: Box<str>,
}

impl EnvironmentName {
    /// The product whose keys are operators'.
    pub const RESERVED: &'static str = "handstamp";

    /// The one that the first start makes: `default/prd`.
    pub fn usual() -> EnvironmentName {
        EnvironmentName { product: "default".into(), environment: "prd".into() }
    }

    /// Checks both names.
    ///
    /// # Errors
    /// A sentence that says what would be right.
    pub fn new(product: &str, environment: &str) -> Result<EnvironmentName, String> {
        for (what, name) in [("product", product), ("environment", environment)] {
            let starts = name.bytes().next().is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
            let good =
                name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_');
            if !starts || !good || name.len() > 40 {
                return Err(format!(
                    "the name of a {what} is 1 to 40 of a-z 0-9 - _ beginning with a letter or digit"
                ));
            }
        }
        Ok(EnvironmentName { product: product.into(), environment: environment.into() })
    }

    /// Reads `product/environment`.
    ///
    /// # Errors
    /// A sentence that says what would be right.
    pub fn parse(text: &str) -> Result<EnvironmentName, String> {
        let (product, environment) =
            text.split_once('/').ok_or("write product/environment, such as default/prd")?;
        EnvironmentName::new(product, environment)
    }
    /// The product.
    pub fn product(&self) -> &str {
        &self.product
    }
    /// The environment in it.
    pub fn environment(&self) -> &str {
        &self.environment
    }
}

impl std::fmt::Display for EnvironmentName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.product, self.environment)
    }
}

/// Which environment a request belongs to that brings no key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Environments {
    /// One for all.
    One(EnvironmentName),
    /// By the request's host, in lower case and without a port; no other host is served.
    ByHost(BTreeMap<String, EnvironmentName>),
}

impl Environments {
    /// The environment of requests to `host` (without a port, in any case).
    pub fn of(&self, host: &str) -> Option<&EnvironmentName> {
        match self {
            Environments::One(name) => Some(name),
            Environments::ByHost(map) => map.get(&host.to_ascii_lowercase()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        assert_eq!(EnvironmentName::parse("shop/prd").unwrap().to_string(), "shop/prd");
        for bad in [
            "shop",
            "/prd",
            "shop/",
            "Shop/prd",
            "shop/p d",
            "-a/b",
            "a/b/c",
            &format!("{}/b", "a".repeat(41)),
        ] {
            assert!(EnvironmentName::parse(bad).is_err(), "{bad}");
        }
    }
}
