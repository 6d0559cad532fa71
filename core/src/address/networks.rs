//! A list of networks that answers at once, however long it is.
//!
//! What was listed is kept in its order, to be shown; beside it lie the same addresses as sorted ranges that neither
//! overlap nor touch. One binary search answers whether an address is in the list: ten thousand networks cost about
//! fourteen comparisons. Overlaps, doubles and the order of the list change nothing about the answer.

use super::Network;
use std::fmt;
use std::net::IpAddr;

/// A list of networks. Two lists are equal when they list the same, in the same order.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Networks {
    listed: Box<[Network]>,
    v4: Ranges<u32>,
    v6: Ranges<u128>,
}

/// First and last of each; sorted, with a gap between any two.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Ranges<T>(Box<[(T, T)]>);

impl Networks {
    /// Makes the list. It holds what any of its networks holds; an empty one holds nothing.
    pub fn new(listed: Vec<Network>) -> Networks {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for network in &listed {
            match (network.first(), network.last()) {
                (IpAddr::V4(first), IpAddr::V4(last)) => v4.push((first.to_bits(), last.to_bits())),
                (IpAddr::V6(first), IpAddr::V6(last)) => v6.push((first.to_bits(), last.to_bits())),
                // The ends of a network are of one family.
                (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => {}
            }
        }
        let (v4, v6) = (Ranges::of(v4, |n| n.checked_add(1)), Ranges::of(v6, |n| n.checked_add(1)));
        Networks { listed: listed.into(), v4, v6 }
    }

    /// Whether `address` is in it, in whichever form it is written.
    pub fn contains(&self, address: IpAddr) -> bool {
        match address.to_canonical() {
            IpAddr::V4(address) => self.v4.contain(address.to_bits(), address.to_bits()),
            IpAddr::V6(address) => self.v6.contain(address.to_bits(), address.to_bits()),
        }
    }

    /// Whether it holds every address that `other` holds.
    pub fn covers(&self, other: &Networks) -> bool {
        // Where ranges touch they are one, so what is covered at all is covered by a single one.
        other.v4.0.iter().all(|(first, last)| self.v4.contain(*first, *last))
            && other.v6.0.iter().all(|(first, last)| self.v6.contain(*first, *last))
    }

    /// The narrowest listed network that `address` is in: why it is in the list, for evidence. Looks at all of them.
    pub fn narrowest(&self, address: IpAddr) -> Option<Network> {
        self.listed
            .iter()
            .filter(|network| network.contains(address))
            .max_by_key(|network| network.bits())
            .copied()
    }

    /// What was listed, in its order.
    pub fn listed(&self) -> &[Network] {
        &self.listed
    }

    /// Whether nothing is listed.
    pub fn is_empty(&self) -> bool {
        self.listed.is_empty()
    }
}

impl FromIterator<Network> for Networks {
    fn from_iter<I: IntoIterator<Item = Network>>(networks: I) -> Networks {
        Networks::new(networks.into_iter().collect())
    }
}

impl fmt::Display for Networks {
    /// The first few, and how many more there are: a list may have ten thousand.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 8;
        for (n, network) in self.listed.iter().take(SHOWN).enumerate() {
            write!(f, "{}{network}", if n == 0 { "" } else { ", " })?;
        }
        match self.listed.len().checked_sub(SHOWN) {
            None | Some(0) => Ok(()),
            Some(more) => write!(f, " and {more} more"),
        }
    }
}

impl<T: Copy + Ord> Ranges<T> {
    /// `next` is the number after one, if there is one.
    fn of(mut ranges: Vec<(T, T)>, next: impl Fn(T) -> Option<T>) -> Ranges<T> {
        ranges.sort_unstable();
        let mut merged: Vec<(T, T)> = Vec::with_capacity(ranges.len());
        for (first, last) in ranges {
            match merged.last_mut() {
                Some((_, end)) if next(*end).is_none_or(|after| first <= after) => *end = last.max(*end),
                _ => merged.push((first, last)),
            }
        }
        Ranges(merged.into())
    }

    /// Whether one of them holds everything from `first` to `last`.
    fn contain(&self, first: T, last: T) -> bool {
        let at = self.0.partition_point(|(_, end)| *end < last);
        self.0.get(at).is_some_and(|(begin, _)| *begin <= first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(networks: &[&str]) -> Networks {
        networks.iter().map(|text| Network::parse(text).unwrap()).collect()
    }
    fn holds(networks: &[&str], ip: &str) -> bool {
        list(networks).contains(ip.parse().unwrap())
    }

    #[test]
    fn ranges_merge_where_they_overlap_or_touch() {
        for (networks, ranges) in [
            (&["10.0.0.0/9", "10.128.0.0/9"][..], 1),
            (&["10.128.0.0/9", "10.0.0.0/9", "10.1.0.0/16", "10.1.0.0/16"], 1),
            (&["192.0.2.0/25", "192.0.2.129"], 2),
            (&["192.0.2.0/25", "192.0.2.128"], 1),
            (&["0.0.0.0/0", "255.255.255.255", "1.2.3.4"], 1),
            (&[], 0),
        ] {
            assert_eq!(list(networks).v4.0.len(), ranges, "{networks:?}");
        }
        assert_eq!(list(&["::/0", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "::1"]).v6.0.len(), 1);
        assert_eq!(list(&["::/1", "8000::/1"]).v6.0.len(), 1);
        // The last IPv4 address and the first IPv6 one do not touch.
        let both = list(&["255.255.255.255", "::"]);
        assert_eq!((both.v4.0.len(), both.v6.0.len()), (1, 1));
    }

    #[test]
    fn both_sides_of_each_end() {
        let networks = ["192.0.2.16/28", "192.0.2.0/29", "2001:db8:0:100::/56", "198.51.100.7"];
        for inside in [
            "192.0.2.16",
            "192.0.2.31",
            "192.0.2.0",
            "192.0.2.7",
            "198.51.100.7",
            "::ffff:198.51.100.7",
            "2001:db8:0:100::",
            "2001:db8:0:1ff:ffff:ffff:ffff:ffff",
        ] {
            assert!(holds(&networks, inside), "{inside}");
        }
        for outside in [
            "192.0.2.15",
            "192.0.2.32",
            "192.0.1.255",
            "192.0.2.8",
            "198.51.100.6",
            "198.51.100.8",
            "2001:db8:0:ff:ffff:ffff:ffff:ffff",
            "2001:db8:0:200::",
            "::",
            "255.255.255.255",
            "::192.0.2.16",
        ] {
            assert!(!holds(&networks, outside), "{outside}");
        }
        assert!(!holds(&[], "1.2.3.4") && !holds(&[], "::1"));
    }

    #[test]
    fn covering() {
        for (outer, inner, covers) in [
            (&["10.0.0.0/8"][..], &["10.0.0.0/8"][..], true),
            (&["10.0.0.0/8"], &["10.1.0.0/16", "10.255.255.255"], true),
            (&["10.0.0.0/9", "10.128.0.0/9"], &["10.0.0.0/8"], true),
            (&["10.0.0.0/9"], &["10.0.0.0/8"], false),
            (&["10.0.0.0/8"], &["10.1.0.0/16", "11.0.0.0"], false),
            (&["10.0.0.0/8"], &[], true),
            (&[], &[], true),
            (&[], &["10.0.0.0"], false),
            (&["0.0.0.0/0"], &["::1"], false),
            (&["::/0"], &["1.2.3.4"], false),
            (&["::/0", "0.0.0.0/0"], &["1.2.3.4", "2001:db8::/32"], true),
            (&["192.0.2.0/25", "192.0.2.129"], &["192.0.2.0/24"], false),
        ] {
            assert_eq!(list(outer).covers(&list(inner)), covers, "{outer:?} {inner:?}");
        }
    }

    #[test]
    fn what_was_listed_is_shown_in_its_order() {
        let networks = list(&["10.0.0.0/8", "2001:db8::/32", "10.1.0.0/16"]);
        assert_eq!(networks.to_string(), "10.0.0.0/8, 2001:db8::/32, 10.1.0.0/16");
        let narrowest = |ip: &str| networks.narrowest(ip.parse().unwrap()).map(|network| network.to_string());
        assert_eq!(narrowest("10.1.2.3").as_deref(), Some("10.1.0.0/16"));
        assert_eq!(narrowest("10.2.2.3").as_deref(), Some("10.0.0.0/8"));
        assert_eq!(narrowest("11.2.2.3"), None);
        let many: Networks = (0..=255u8).map(|n| Network::from(IpAddr::from([10, 0, 0, n]))).collect();
        assert!(many.to_string().ends_with("10.0.0.7 and 248 more"), "{many}");
        let nine: Networks = (0..9u8).map(|n| Network::from(IpAddr::from([10, 0, 0, n]))).collect();
        assert!(nine.to_string().ends_with("10.0.0.7 and 1 more") && !nine.is_empty());
    }
}
