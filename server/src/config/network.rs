//! A network of addresses in CIDR form, as `trusted_proxies` and the address lists of policies say it.

use super::setting::Word;
use serde_json::{Value as Json, json};
use std::net::IpAddr;

/// `10.0.0.0/8`, `2001:db8::/32`, or one address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Network {
    /// The lowest address.
    pub address: IpAddr,
    /// How many leading bits count: up to 32 or 128.
    pub bits: u8,
}

impl Network {
    /// Whether `address` is in it. An IPv4 address written as IPv6 (`::ffff:10.0.0.1`) is the IPv4 address.
    pub fn holds(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let shift = 32 - u32::from(self.bits.min(32));
                let cut = |a: u32| u64::from(a) >> shift;
                cut(own.to_bits()) == cut(other.to_bits())
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let shift = 128 - u32::from(self.bits.min(128));
                let cut = |a: u128| a.checked_shr(shift).unwrap_or(0);
                cut(own.to_bits()) == cut(other.to_bits())
            }
            _ => false,
        }
    }

    /// Whether every address of its family is in it.
    pub fn is_everything(&self) -> bool {
        self.bits == 0
    }

    fn lowest(address: IpAddr, bits: u8) -> IpAddr {
        match address {
            IpAddr::V4(a) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
                IpAddr::V4((a.to_bits() & mask).into())
            }
            IpAddr::V6(a) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
                IpAddr::V6((a.to_bits() & mask).into())
            }
        }
    }
}

impl Word for Network {
    const NAME: &'static str = "an address or a network";

    fn parse(text: &str) -> Result<Network, String> {
        let wrong = || {
            format!(
                "`{}` is not an address or a network: write it such as \"10.0.0.0/8\", \"2001:db8::/32\" or \
                 \"192.0.2.7\"",
                text.escape_debug()
            )
        };
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        if address.to_canonical() != address {
            return Err(format!("`{text}` is IPv4 written as IPv6: write it as IPv4"));
        }
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            None => most,
            Some(bits) if bits.bytes().all(|b| b.is_ascii_digit()) => bits.parse().map_err(|_| wrong())?,
            Some(_) => return Err(wrong()),
        };
        if bits > most {
            return Err(format!("`{text}` says more than {most} bits: write /0 to /{most}"));
        }
        let lowest = Network::lowest(address, bits);
        if lowest != address {
            return Err(format!("`{text}` names an address inside its network: write \"{lowest}/{bits}\""));
        }
        Ok(Network { address, bits })
    }

    fn text(&self) -> String {
        let most = if self.address.is_ipv4() { 32 } else { 128 };
        if self.bits == most { self.address.to_string() } else { format!("{}/{}", self.address, self.bits) }
    }

    fn schema() -> Json {
        json!({"type": "string", "pattern": "^[0-9A-Fa-f:.]+(/[0-9]{1,3})?$"})
    }
}
