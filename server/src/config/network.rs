//! A network of addresses as `trusted_proxies` and the address lists of policies say it: text of the configuration to a
//! network of the rules, which read it strictly.

use super::setting::Word;
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
