//! A network of addresses in CIDR form: one text for each, and no text that two programs could read in two ways.
//!
//! Refused rather than guessed: leading zeros (`010.0.0.1` is ten to one program and eight to another), an address
//! inside of its network (`10.0.0.1/8`: was it /32 that was meant?), zones, blanks, ports.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// `203.0.113.0/24`, `2001:db8::/32`, or one address. Never IPv4 written as IPv6.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Network {
    first: IpAddr,
    bits: u8,
}

/// In errors a text is shown up to here.
const SHOWN: usize = 64;

impl Network {
    /// Reads a network, strictly. IPv4 written as IPv6 is IPv4, with or without a prefix: `::ffff:203.0.113.0/120` is
    /// `203.0.113.0/24`.
    ///
    /// # Errors
    /// A sentence that says what is wrong and what would be right.
    pub fn parse(text: &str) -> Result<Network, String> {
        let (address, bits) = split(text)?;
        let network = Network::around(address, bits).ok_or_else(|| wrong(text))?;
        if network.first != address {
            return Err(format!("`{text}` names an address inside its network: write \"{network}\""));
        }
        Ok(network)
    }

    /// Reads a network by any of its addresses: `203.0.113.77/24` is `203.0.113.0/24`. As strict in everything else.
    ///
    /// # Errors
    /// As [`Network::parse`].
    pub fn holding(text: &str) -> Result<Network, String> {
        let (address, bits) = split(text)?;
        Network::around(address, bits).ok_or_else(|| wrong(text))
    }

    /// The network of so many leading bits that an address is in; `None` when its family has fewer.
    pub fn around(address: IpAddr, bits: u8) -> Option<Network> {
        let (address, bits) = folded(address, bits)?;
        let first = match address {
            IpAddr::V4(a) => Ipv4Addr::from_bits(a.to_bits() & !free4(bits)).into(),
            IpAddr::V6(a) => Ipv6Addr::from_bits(a.to_bits() & !free6(bits)).into(),
        };
        Some(Network { first, bits })
    }

    /// The lowest address.
    pub const fn first(&self) -> IpAddr {
        self.first
    }

    /// The highest address.
    pub fn last(&self) -> IpAddr {
        match self.first {
            IpAddr::V4(a) => Ipv4Addr::from_bits(a.to_bits() | free4(self.bits)).into(),
            IpAddr::V6(a) => Ipv6Addr::from_bits(a.to_bits() | free6(self.bits)).into(),
        }
    }

    /// How many leading bits all of its addresses share: up to 32 or 128.
    pub const fn bits(&self) -> u8 {
        self.bits
    }

    /// Whether `address` is in it, in whichever form it is written.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.first.is_ipv4() == address.is_ipv4() && self.first <= address && address <= self.last()
    }

    /// Whether every address of its family is in it.
    pub const fn is_everything(&self) -> bool {
        self.bits == 0
    }
}

impl From<IpAddr> for Network {
    /// The network of one address.
    fn from(address: IpAddr) -> Network {
        let first = address.to_canonical();
        Network { first, bits: most(first) }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.bits == most(self.first) {
            write!(f, "{}", self.first)
        } else {
            write!(f, "{}/{}", self.first, self.bits)
        }
    }
}

/// Address and prefix, both folded.
fn split(text: &str) -> Result<(IpAddr, u8), String> {
    let (address, bits) = match text.split_once('/') {
        Some((address, bits)) => (address, Some(bits)),
        None => (text, None),
    };
    let address: IpAddr = address.parse().map_err(|_| wrong(text))?;
    let Some(bits) = bits else {
        let canonical = address.to_canonical();
        return Ok((canonical, most(canonical)));
    };
    let digits = (1..=3).contains(&bits.len()) && bits.bytes().all(|b| b.is_ascii_digit());
    if !digits || (bits.len() > 1 && bits.starts_with('0')) {
        return Err(wrong(text));
    }
    let most = most(address);
    let bits: u8 = bits.parse().ok().filter(|bits| *bits <= most).ok_or_else(|| {
        format!("`{text}` says more than {most} bits: write /0 to /{most}", text = shown(text))
    })?;
    folded(address, bits).ok_or_else(|| wrong(text))
}

/// IPv4 written as IPv6 as what it is; its first 96 bits say only that. `None` when there are not so many bits.
fn folded(address: IpAddr, bits: u8) -> Option<(IpAddr, u8)> {
    let canonical = address.to_canonical();
    if canonical.is_ipv4() == address.is_ipv4() {
        return (bits <= most(address)).then_some((address, bits));
    }
    match bits.checked_sub(96) {
        Some(bits) => (bits <= 32).then_some((canonical, bits)),
        // Wider than all of IPv4: a network of IPv6, which holds no IPv4 address.
        None => Some((address, bits)),
    }
}

const fn most(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// The bits that are free in a network of so many.
fn free4(bits: u8) -> u32 {
    u32::MAX.checked_shr(u32::from(bits)).unwrap_or(0)
}

fn free6(bits: u8) -> u128 {
    u128::MAX.checked_shr(u32::from(bits)).unwrap_or(0)
}

fn wrong(text: &str) -> String {
    format!(
        "`{}` is not an address or a network: write it such as \"10.0.0.0/8\", \"2001:db8::/32\" or \"192.0.2.7\"",
        shown(text)
    )
}

/// A text for an error: harmless in a log, and short.
fn shown(text: &str) -> String {
    let kept = text.get(..text.floor_char_boundary(SHOWN)).unwrap_or_default();
    let more = if kept.len() < text.len() { "..." } else { "" };
    format!("{}{more}", kept.escape_debug())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_text_for_each_network() {
        for (text, shown, first, last) in [
            ("203.0.113.0/24", "203.0.113.0/24", "203.0.113.0", "203.0.113.255"),
            ("0.0.0.0/0", "0.0.0.0/0", "0.0.0.0", "255.255.255.255"),
            ("192.0.2.7", "192.0.2.7", "192.0.2.7", "192.0.2.7"),
            ("192.0.2.7/32", "192.0.2.7", "192.0.2.7", "192.0.2.7"),
            ("128.0.0.0/1", "128.0.0.0/1", "128.0.0.0", "255.255.255.255"),
            ("192.0.2.6/31", "192.0.2.6/31", "192.0.2.6", "192.0.2.7"),
            ("2001:DB8:0::/32", "2001:db8::/32", "2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"),
            ("::/0", "::/0", "::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
            ("::1", "::1", "::1", "::1"),
            ("2001:db8::1/128", "2001:db8::1", "2001:db8::1", "2001:db8::1"),
            ("::ffff:203.0.113.0/120", "203.0.113.0/24", "203.0.113.0", "203.0.113.255"),
            ("::ffff:cb00:7107", "203.0.113.7", "203.0.113.7", "203.0.113.7"),
            ("::ffff:0.0.0.0/96", "0.0.0.0/0", "0.0.0.0", "255.255.255.255"),
            ("::ffff:1.2.3.4/128", "1.2.3.4", "1.2.3.4", "1.2.3.4"),
            // Wider than what stands for IPv4: IPv6 alone.
            ("::/80", "::/80", "::", "::ffff:255.255.255.255"),
            ("::1.2.3.4", "::102:304", "::102:304", "::102:304"),
        ] {
            let network = Network::parse(text).unwrap();
            assert_eq!(network.to_string(), shown, "{text}");
            assert_eq!(
                (network.first().to_string(), network.last().to_string()),
                (first.into(), last.into())
            );
            assert_eq!(Network::parse(&network.to_string()), Ok(network));
        }
        assert!(!Network::parse("::/80").unwrap().contains("1.2.3.4".parse().unwrap()));
        assert!(!Network::parse("::/0").unwrap().contains("::ffff:1.2.3.4".parse().unwrap()));
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        for text in [
            "",
            "/",
            "/8",
            "10",
            "10.0.0/8",
            "010.0.0.1",
            "10.0.0.01",
            "0x0a.0.0.1",
            "167772161",
            "10.0.0.0/",
            "10.0.0.0/08",
            "10.0.0.0/00",
            "10.0.0.0/+8",
            "10.0.0.0/-1",
            "10.0.0.0/ 8",
            " 10.0.0.0/8",
            "10.0.0.0/8 ",
            "10.0.0.0/8/8",
            "10.0.0.0/255.0.0.0",
            "10.0.0.0/1000",
            "10.0.0.1:80",
            "[::1]",
            "fe80::1%eth0",
            "fe80::%1/64",
            "::ffff:010.0.0.1",
            "::ffff:1.2.3",
            "1::2::3",
            "12345::",
            "localhost",
            "10.0.0.0\0",
            "１0.0.0.0/8",
        ] {
            let why = Network::parse(text).unwrap_err();
            assert!(why.contains("is not an address or a network"), "{text}: {why}");
            assert!(Network::holding(text).is_err());
        }
        for (text, said) in [
            ("10.0.0.0/33", "write /0 to /32"),
            ("10.0.0.0/256", "write /0 to /32"),
            ("::/129", "write /0 to /128"),
            ("::ffff:1.2.3.4/129", "write /0 to /128"),
            ("10.0.0.1/8", "write \"10.0.0.0/8\""),
            ("203.0.113.255/31", "write \"203.0.113.254/31\""),
            ("2001:db8::1/127", "write \"2001:db8::/127\""),
            ("::ffff:203.0.113.7/120", "write \"203.0.113.0/24\""),
            ("::ffff:0:0/95", "write \"::fffe:0:0/95\""),
        ] {
            let why = Network::parse(text).unwrap_err();
            assert!(why.contains(said), "{text}: {why}");
        }
        let long = Network::parse(&"\u{1b}é".repeat(500)).unwrap_err();
        assert!(long.len() < 1_000 && !long.contains('\u{1b}'), "{long}");
    }

    #[test]
    fn both_sides_of_each_end() {
        let holds = |network: &str, ip: &str| Network::parse(network).unwrap().contains(ip.parse().unwrap());
        for (network, first, last, below, above) in [
            ("10.0.0.0/8", "10.0.0.0", "10.255.255.255", "9.255.255.255", "11.0.0.0"),
            ("192.0.2.128/25", "192.0.2.128", "192.0.2.255", "192.0.2.127", "192.0.3.0"),
            ("192.0.2.7", "192.0.2.7", "::ffff:192.0.2.7", "192.0.2.6", "192.0.2.8"),
            ("2001:db8::/33", "2001:db8::", "2001:db8:7fff:ffff::", "2001:db7:ffff::", "2001:db8:8000::"),
            ("2001:db8::4/126", "2001:db8::4", "2001:db8::7", "2001:db8::3", "2001:db8::8"),
        ] {
            assert!(holds(network, first) && holds(network, last), "{network}");
            assert!(!holds(network, below) && !holds(network, above), "{network}");
        }
        assert!(
            !holds("10.0.0.0/8", "::10.1.2.3") && !holds("0.0.0.0/0", "::1") && !holds("::/0", "1.2.3.4")
        );
    }

    #[test]
    fn around_an_address() {
        let around = |ip: &str, bits| Network::around(ip.parse().unwrap(), bits).map(|n| n.to_string());
        assert_eq!(around("203.0.113.77", 24).as_deref(), Some("203.0.113.0/24"));
        assert_eq!(around("::ffff:203.0.113.77", 120).as_deref(), Some("203.0.113.0/24"));
        assert_eq!(around("2001:db8::77", 56).as_deref(), Some("2001:db8::/56"));
        assert_eq!(Network::holding("203.0.113.77/24"), Network::parse("203.0.113.0/24"));
        assert_eq!(around("203.0.113.77", 33), None);
        assert_eq!(around("::1", 129), None);
        assert_eq!(Network::from("::ffff:1.2.3.4".parse::<IpAddr>().unwrap()).to_string(), "1.2.3.4");
    }
}
