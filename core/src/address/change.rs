//! Whether a client has moved to another network.
//!
//! Honest clients change their address all the time: IPv6 hosts make themselves a new one every day (temporary
//! addresses, RFC 8981), a router is given another one of the same block, a laptop goes from cable to wireless behind the
//! same company's network, and one with both families takes whichever answers first. None of these may end a session.
//! What is left, a login in one network and a request from another, is worth a word.
//!
//! | before | after | |
//! | --- | --- | --- |
//! | an address | the same | [`Change::Same`] |
//! | any | one of the same /24 (IPv4) or /56 (IPv6) | [`Change::Near`] |
//! | local | local, of either family | [`Change::Near`]: nobody outside has such an address |
//! | IPv4 | IPv6, or the other way round | [`Change::Unlike`]: there is nothing to compare |
//! | local | public, or the other way round | [`Change::Unlike`]: which of the two is seen depends on the way in |
//! | public | public, of the same family and another prefix | [`Change::Moved`] |

use super::Network;
use std::net::{IpAddr, Ipv4Addr};

/// IPv4 addresses that share so many bits are one network: the smallest block that is routed on its own.
pub const PREFIX_V4: u8 = 24;
/// IPv6 addresses that share so many bits are one network: what providers give to a household.
pub const PREFIX_V6: u8 = 56;

/// What became of a client's address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change {
    /// Nothing.
    Same,
    /// Another address of the same network, or another one inside of somebody's own network.
    Near,
    /// From IPv4 to IPv6, or from inside of somebody's own network to the outside, or back. A client with both uses them in
    /// turn, so this is no move; nor can it be told that it is none.
    Unlike,
    /// Another network.
    Moved,
}

/// Compares two addresses. The order of the two does not matter.
pub fn change(before: IpAddr, after: IpAddr) -> Change {
    let (before, after) = (before.to_canonical(), after.to_canonical());
    if before == after {
        Change::Same
    } else if network(before) == network(after) || (is_local(before) && is_local(after)) {
        Change::Near
    } else if before.is_ipv4() != after.is_ipv4() || is_local(before) != is_local(after) {
        Change::Unlike
    } else {
        Change::Moved
    }
}

/// The network that stands for an address in comparisons.
pub fn network(address: IpAddr) -> Network {
    let address = address.to_canonical();
    let bits = if address.is_ipv4() { PREFIX_V4 } else { PREFIX_V6 };
    Network::around(address, bits).unwrap_or_else(|| Network::from(address))
}

/// Whether an address has a meaning only inside of somebody's own network: private (RFC 1918), loopback, link-local,
/// shared by a provider (CGNAT, RFC 6598), or unique local (RFC 4193).
pub fn is_local(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(a) => a.is_private() || a.is_loopback() || a.is_link_local() || is_shared(a),
        IpAddr::V6(a) => a.is_loopback() || a.is_unicast_link_local() || a.is_unique_local(),
    }
}

/// 100.64.0.0/10.
const fn is_shared(address: Ipv4Addr) -> bool {
    let [first, second, _, _] = address.octets();
    first == 100 && second & 0b1100_0000 == 64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn both_ways(before: &str, after: &str, expected: Change) {
        let (a, b) = (before.parse().unwrap(), after.parse().unwrap());
        assert_eq!((change(a, b), change(b, a)), (expected, expected), "{before} {after}");
    }

    #[test]
    fn the_table() {
        for (before, after, expected) in [
            ("203.0.113.7", "203.0.113.7", Change::Same),
            ("203.0.113.7", "::ffff:203.0.113.7", Change::Same),
            ("2001:db8::1", "2001:0db8:0:0::1", Change::Same),
            ("192.168.1.5", "192.168.1.5", Change::Same),
            // Both sides of /24.
            ("203.0.113.0", "203.0.113.255", Change::Near),
            ("203.0.113.255", "203.0.114.0", Change::Moved),
            ("203.0.113.0", "203.0.112.255", Change::Moved),
            ("::ffff:203.0.113.7", "203.0.113.8", Change::Near),
            // Both sides of /56: temporary addresses, and other subnets of one household.
            ("2001:db8:0:100::1", "2001:db8:0:100:9c3b:1d2e:77aa:4f01", Change::Near),
            ("2001:db8:0:100::", "2001:db8:0:1ff:ffff:ffff:ffff:ffff", Change::Near),
            ("2001:db8:0:1ff:ffff:ffff:ffff:ffff", "2001:db8:0:200::", Change::Moved),
            ("2001:db8:0:100::", "2001:db8:0:ff:ffff:ffff:ffff:ffff", Change::Moved),
            // Between local addresses, of either family.
            ("192.168.1.5", "10.200.3.4", Change::Near),
            ("172.16.0.1", "100.64.0.1", Change::Near),
            ("127.0.0.1", "192.168.1.5", Change::Near),
            ("169.254.1.1", "10.0.0.1", Change::Near),
            ("127.0.0.1", "::1", Change::Near),
            ("fe80::1", "fd12:3456::1", Change::Near),
            ("fd12::1", "fdff::1", Change::Near),
            ("192.168.1.5", "fd12::1", Change::Near),
            // From inside to outside.
            ("192.168.1.5", "203.0.113.7", Change::Unlike),
            ("100.64.0.1", "203.0.113.7", Change::Unlike),
            ("fd12::1", "2001:db8::1", Change::Unlike),
            ("::1", "2001:db8::1", Change::Unlike),
            // Between the families. A host in a private IPv4 network commonly has a public IPv6 address as well.
            ("203.0.113.7", "2001:db8::1", Change::Unlike),
            ("192.168.1.5", "2001:db8::1", Change::Unlike),
            ("fd12::1", "203.0.113.7", Change::Unlike),
        ] {
            both_ways(before, after, expected);
        }
    }

    #[test]
    fn both_sides_of_what_is_local() {
        for (first, last, below, above) in [
            ("10.0.0.0", "10.255.255.255", "9.255.255.255", "11.0.0.0"),
            ("172.16.0.0", "172.31.255.255", "172.15.255.255", "172.32.0.0"),
            ("192.168.0.0", "192.168.255.255", "192.167.255.255", "192.169.0.0"),
            ("127.0.0.0", "127.255.255.255", "126.255.255.255", "128.0.0.0"),
            ("169.254.0.0", "169.254.255.255", "169.253.255.255", "169.255.0.0"),
            ("100.64.0.0", "100.127.255.255", "100.63.255.255", "100.128.0.0"),
            ("::1", "::1", "::", "::2"),
            ("fe80::", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "fe7f:ffff::", "fec0::"),
            ("fc00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "fbff:ffff::", "fe00::"),
        ] {
            for inside in [first, last] {
                assert!(is_local(inside.parse().unwrap()), "{inside}");
                both_ways(
                    inside,
                    if inside.contains(':') { "fd00:9::1" } else { "10.99.99.99" },
                    Change::Near,
                );
            }
            for outside in [below, above] {
                assert!(!is_local(outside.parse().unwrap()), "{outside}");
            }
        }
        assert!(is_local("::ffff:10.0.0.1".parse().unwrap()));
    }
}
