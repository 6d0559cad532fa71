//! Networks of addresses, as `trusted_proxies` and the lists of policies say them (the rules read them, strictly); and
//! where trusted ones say who their client is.

use super::setting::{Word, choices};
use serde_json::{Value as Json, json};

pub use handstamp_core::address::Network;

impl Word for Network {
    const NAME: &'static str = "an address or a network";

    fn parse(text: &str) -> Result<Network, String> {
        Network::parse(text)
    }

    fn text(&self) -> String {
        self.to_string()
    }

    fn schema() -> Json {
        json!({"type": "string", "pattern": "^[0-9A-Fa-f:.]+(/[0-9]{1,3})?$"})
    }
}

choices! {
    /// The header in which trusted proxies say who their peer is.
    ForwardedHeader {
        /// What nearly all of them write.
        XForwardedFor = "x-forwarded-for",
        /// RFC 7239.
        Forwarded = "forwarded",
    }
}
