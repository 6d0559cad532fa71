//! Rules about addresses: every refusal with both sides of its boundary, and generated lists against an oracle that
//! knows nothing of ranges: it writes addresses as zeros and ones and compares how they begin.

use handstamp_core::address::rule::{ALLOW, BLOCK, CHANGE};
use handstamp_core::address::{AddressRules, Change, Network, Networks, Outcome, change, judge};
use handstamp_core::policy::modes::OnAddress;
use handstamp_core::policy::{Origin, Sourced};
use handstamp_core::refusal::{Code, Evidence, Refusal, Value};
use proptest::prelude::*;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

fn tag() -> Origin {
    Origin::Tag("org:acme".into())
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn list(networks: &[&str], origin: Origin) -> Sourced<Arc<Networks>> {
    let networks = networks.iter().map(|text| Network::parse(text).unwrap()).collect();
    Sourced { value: Arc::new(networks), origin }
}

/// Lists of the default and of a tag, and a mode.
fn rules(allow: [&[&str]; 2], block: [&[&str]; 2], mode: OnAddress) -> AddressRules {
    let both = |lists: [&[&str]; 2]| vec![list(lists[0], Origin::Default), list(lists[1], tag())];
    AddressRules {
        allow: both(allow),
        block: both(block),
        change: Sourced { value: mode, origin: Origin::Creation },
    }
}

fn said(outcome: Outcome) -> Option<Refusal> {
    match outcome {
        Outcome::Allowed => None,
        Outcome::Logged(refusal) | Outcome::Refused(refusal) | Outcome::Ended(refusal) => Some(refusal),
    }
}

#[test]
fn lists_say_which_of_them_spoke() {
    let none: [&[&str]; 2] = [&[], &[]];
    let office: &[&str] = &["203.0.113.0/24", "2001:db8::/32"];
    let vpn: &[&str] = &["203.0.113.128/25"];
    let bad: &[&str] = &["198.51.100.0/24", "198.51.100.7"];
    // allow, block, address; code, rule, origin, allowed
    for (allow, block, now, expected) in [
        (none, none, "198.51.100.7", None),
        ([office, &[]], none, "203.0.113.0", None),
        ([office, &[]], none, "::ffff:203.0.113.255", None),
        ([office, &[]], none, "2001:db8:ffff::1", None),
        (
            [office, &[]],
            none,
            "203.0.112.255",
            Some((Code::IpNotAllowed, ALLOW, Origin::Default, "203.0.113.0/24, 2001:db8::/32")),
        ),
        (
            [office, &[]],
            none,
            "2001:db9::",
            Some((Code::IpNotAllowed, ALLOW, Origin::Default, "203.0.113.0/24, 2001:db8::/32")),
        ),
        // Every list must hold it; the one that does not is named.
        ([office, vpn], none, "203.0.113.128", None),
        ([office, vpn], none, "203.0.113.127", Some((Code::IpNotAllowed, ALLOW, tag(), "203.0.113.128/25"))),
        (
            [vpn, office],
            none,
            "203.0.113.127",
            Some((Code::IpNotAllowed, ALLOW, Origin::Default, "203.0.113.128/25")),
        ),
        // Two lists that have nothing in common let nobody in.
        (
            [office, &["192.0.2.0/24"]],
            none,
            "203.0.113.7",
            Some((Code::IpNotAllowed, ALLOW, tag(), "192.0.2.0/24")),
        ),
        // A block list wins, and the network that spoke is the narrowest.
        (
            [&["0.0.0.0/0"], &[]],
            [&[], bad],
            "198.51.100.8",
            Some((Code::IpBlocked, BLOCK, tag(), "all but 198.51.100.0/24")),
        ),
        (
            [bad, &[]],
            [bad, &[]],
            "198.51.100.7",
            Some((Code::IpBlocked, BLOCK, Origin::Default, "all but 198.51.100.7")),
        ),
        (
            none,
            [bad, bad],
            "::ffff:198.51.100.7",
            Some((Code::IpBlocked, BLOCK, Origin::Default, "all but 198.51.100.7")),
        ),
        (none, [bad, &[]], "198.51.101.0", None),
        // Blocked is said before not allowed.
        (
            [office, &[]],
            [bad, &[]],
            "198.51.100.8",
            Some((Code::IpBlocked, BLOCK, Origin::Default, "all but 198.51.100.0/24")),
        ),
        // The families are worlds of their own.
        (none, [&["::/0"], &[]], "198.51.100.7", None),
        (none, [&["0.0.0.0/0"], &[]], "2001:db8::1", None),
        (
            [&["0.0.0.0/0"], &[]],
            none,
            "2001:db8::1",
            Some((Code::IpNotAllowed, ALLOW, Origin::Default, "0.0.0.0/0")),
        ),
    ] {
        let rules = rules(allow, block, OnAddress::Ignore);
        // Lists do not care from where the user logged in.
        for known in [None, Some(ip(now)), Some(ip("192.0.2.1"))] {
            let outcome = judge(&rules, known, Some(ip(now)));
            let Some((code, rule, origin, allowed)) = expected.clone() else {
                assert_eq!(outcome, Outcome::Allowed, "{allow:?} {block:?} {now}");
                continue;
            };
            let text = |text: String| Value::Text(text.into());
            let seen = text(ip(now).to_canonical().to_string());
            let evidence = Some(Evidence::Limit { allowed: text(allowed.to_owned()), seen });
            let refusal = Refusal { code, rule, origin: Some(origin), evidence };
            assert_eq!(code.status(), 403);
            assert_eq!(outcome, Outcome::Refused(refusal), "{allow:?} {block:?} {now}");
        }
    }
}

#[test]
fn an_address_is_required_as_soon_as_a_rule_looks_at_it() {
    let (one, none): (&[&str], &[&str]) = (&["192.0.2.0/24"], &[]);
    for (allow, block, mode, expected) in [
        ([none, none], [none, none], OnAddress::Ignore, None),
        ([one, none], [none, none], OnAddress::Ignore, Some((ALLOW, Origin::Default))),
        ([none, one], [none, none], OnAddress::Ignore, Some((ALLOW, tag()))),
        ([one, one], [none, one], OnAddress::End, Some((BLOCK, tag()))),
        ([one, none], [none, none], OnAddress::End, Some((ALLOW, Origin::Default))),
        ([none, none], [none, none], OnAddress::Log, Some((CHANGE, Origin::Creation))),
        ([none, none], [none, none], OnAddress::End, Some((CHANGE, Origin::Creation))),
    ] {
        let rules = rules(allow, block, mode);
        for known in [None, Some(ip("192.0.2.1"))] {
            let outcome = judge(&rules, known, None);
            match expected.clone() {
                None => assert_eq!(outcome, Outcome::Allowed),
                Some((rule, origin)) => {
                    let detail =
                        format!("{rule} by {} looks at the client's address, and none came", origin.text());
                    let refusal =
                        Refusal { code: Code::IpMissing, rule, origin: Some(origin), evidence: None };
                    assert_eq!(refusal.detail(), detail);
                    assert_eq!(outcome, Outcome::Refused(refusal));
                }
            }
        }
    }
}

#[test]
fn the_ladder() {
    let (home, near, moved, six) = ("203.0.113.7", "203.0.113.250", "203.0.114.7", "2001:db8::7");
    for mode in OnAddress::ALL.iter().copied() {
        let rules = rules([&[], &[]], [&[], &[]], mode);
        let outcome = |known: &str, now: &str| judge(&rules, Some(ip(known)), Some(ip(now)));
        // What has not moved is never a word, in either order.
        for (known, now) in
            [(home, home), (home, near), (near, home), ("192.168.1.1", "10.0.0.1"), (six, "2001:db8:0:ff::1")]
        {
            assert_eq!(outcome(known, now), Outcome::Allowed, "{mode} {known} {now}");
        }
        // Nothing to compare with.
        assert_eq!(judge(&rules, None, Some(ip(moved))), Outcome::Allowed, "{mode}");
        let refusal = |code, before: &str, after: &str| Refusal {
            code,
            rule: CHANGE,
            origin: Some(Origin::Creation),
            evidence: Some(Evidence::Change {
                before: Value::Text(before.into()),
                after: Value::Text(after.into()),
            }),
        };
        let changed = refusal(Code::IpChanged, home, moved);
        let expected = match mode {
            OnAddress::Ignore => Outcome::Allowed,
            OnAddress::Log => Outcome::Logged(changed),
            OnAddress::Reauthenticate => {
                Outcome::Refused(refusal(Code::ReauthenticationRequired, home, moved))
            }
            OnAddress::Refuse => Outcome::Refused(changed),
            OnAddress::End => Outcome::Ended(changed),
        };
        assert_eq!(outcome(home, moved), expected, "{mode}");
        assert_eq!(outcome("::ffff:203.0.113.7", "::ffff:203.0.114.7"), expected, "{mode}");
        // The other family is logged at the most.
        let expected = match mode {
            OnAddress::Ignore => Outcome::Allowed,
            OnAddress::Log | OnAddress::Reauthenticate | OnAddress::Refuse | OnAddress::End => {
                Outcome::Logged(refusal(Code::IpChanged, home, six))
            }
        };
        assert_eq!(outcome(home, six), expected, "{mode}");
    }
    let ended = judge(&rules([&[], &[]], [&[], &[]], OnAddress::End), Some(ip(home)), Some(ip(moved)));
    assert_eq!(
        said(ended).unwrap().detail(),
        "the address changed from 203.0.113.7 to 203.0.114.7; ip_change by creation"
    );
    assert!(Code::ENDINGS.contains(&Code::IpChanged));
}

#[test]
fn lists_come_before_changes() {
    let rules = rules([&["203.0.113.0/24"], &[]], [&["203.0.113.9"], &[]], OnAddress::End);
    let code = |known: &str, now: &str| said(judge(&rules, Some(ip(known)), Some(ip(now)))).map(|r| r.code);
    assert_eq!(code("203.0.113.7", "203.0.113.8"), None);
    assert_eq!(code("203.0.113.7", "203.0.113.9"), Some(Code::IpBlocked));
    // From a foreign network with a stolen token: refused by the list, and nobody's session ends.
    assert!(
        matches!(judge(&rules, Some(ip("203.0.113.7")), Some(ip("198.51.100.1"))), Outcome::Refused(r) if r.code == Code::IpNotAllowed)
    );
    assert_eq!(code("198.51.100.1", "203.0.113.7"), Some(Code::IpChanged));
}

/// An address as text of its family and its bits.
fn digits(ip: IpAddr) -> String {
    match ip.to_canonical() {
        IpAddr::V4(a) => format!("4:{:032b}", a.to_bits()),
        IpAddr::V6(a) => format!("6:{:0128b}", a.to_bits()),
    }
}

/// A network as the text that its addresses begin with.
fn beginning(network: &Network) -> String {
    digits(network.first())[..2 + usize::from(network.bits())].to_owned()
}

/// Addresses that are close to each other often, and at the ends of everything sometimes.
fn addresses() -> impl Strategy<Value = IpAddr> {
    let near =
        prop_oneof![Just(0u32), Just(u32::MAX), Just(0xcb00_7100), Just(0x0a00_0000), Just(0x6440_0000)];
    let four = (near, any::<u32>(), 0u32..=32)
        .prop_map(|(base, noise, bits)| Ipv4Addr::from_bits(base ^ noise.checked_shr(bits).unwrap_or(0)));
    let far = prop_oneof![Just(0u128), Just(u128::MAX), Just(0x2001_0db8 << 96), Just(0xfd << 120)];
    let six = (far, any::<u128>(), 0u32..=128)
        .prop_map(|(base, noise, bits)| Ipv6Addr::from_bits(base ^ noise.checked_shr(bits).unwrap_or(0)));
    prop_oneof![
        four.clone().prop_map(IpAddr::V4),
        six.prop_map(IpAddr::V6),
        four.prop_map(|ip| IpAddr::V6(ip.to_ipv6_mapped()))
    ]
}

fn networks() -> impl Strategy<Value = Network> {
    (addresses(), 0u8..=128)
        .prop_map(|(ip, bits)| Network::around(ip, bits).unwrap_or_else(|| Network::from(ip)))
}

fn lists() -> impl Strategy<Value = Vec<Vec<Network>>> {
    prop::collection::vec(prop::collection::vec(networks(), 0..6), 0..4)
}

proptest! {
    #[test]
    fn lists_agree_with_the_oracle(listed in prop::collection::vec(networks(), 0..24), asked in prop::collection::vec(addresses(), 1..24)) {
        let networks = Networks::new(listed.clone());
        prop_assert_eq!(networks.listed(), &listed[..]);
        let ends = listed.iter().flat_map(|network| [network.first(), network.last()]);
        for ip in asked.into_iter().chain(ends) {
            let begins = |network: &&Network| digits(ip).starts_with(&beginning(network));
            prop_assert_eq!(networks.contains(ip), listed.iter().any(|network| begins(&network)), "{} {:?}", ip, &listed);
            let narrowest = listed.iter().filter(begins).map(Network::bits).max();
            prop_assert_eq!(networks.narrowest(ip).map(|network| network.bits()), narrowest);
        }
        for network in listed {
            prop_assert_eq!(Network::parse(&network.to_string()), Ok(network));
        }
    }

    /// What covers a list holds whatever it holds; what does not, misses one of the ends or the neighbours of an end.
    #[test]
    fn covering_agrees_with_the_oracle(outer in prop::collection::vec(networks(), 0..12), inner in prop::collection::vec(networks(), 0..6)) {
        let (outer, inner) = (Networks::new(outer), Networks::new(inner));
        let step = |ip: IpAddr, by: i8| match ip {
            IpAddr::V4(a) => IpAddr::from(Ipv4Addr::from_bits(a.to_bits().saturating_add_signed(by.into()))),
            IpAddr::V6(a) => IpAddr::from(Ipv6Addr::from_bits(a.to_bits().saturating_add_signed(by.into()))),
        };
        let ends = outer.listed().iter().chain(inner.listed()).flat_map(|network| [network.first(), network.last()]);
        let telling: Vec<IpAddr> = ends.flat_map(|ip| [step(ip, -1), ip, step(ip, 1)]).collect();
        let missed = telling.iter().any(|ip| inner.contains(*ip) && !outer.contains(*ip));
        prop_assert_eq!(outer.covers(&inner), !missed, "{} / {}", &outer, &inner);
        prop_assert!(outer.covers(&outer));
    }

    #[test]
    fn changes_agree_with_the_oracle(before in addresses(), after in addresses()) {
        const LOCAL: &[&str] = &["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "127.0.0.0/8", "169.254.0.0/16",
            "100.64.0.0/10", "::1", "fe80::/10", "fc00::/7"];
        let (a, b) = (digits(before), digits(after));
        let local = |bits: &str| LOCAL.iter().any(|text| bits.starts_with(&beginning(&Network::parse(text).unwrap())));
        let prefix = |bits: &str| bits[..if bits.starts_with('4') { 2 + 24 } else { 2 + 56 }].to_owned();
        let expected = if a == b {
            Change::Same
        } else if prefix(&a) == prefix(&b) || (local(&a) && local(&b)) {
            Change::Near
        } else if a[..1] != b[..1] || local(&a) != local(&b) {
            Change::Unlike
        } else {
            Change::Moved
        };
        prop_assert_eq!(change(before, after), expected);
        prop_assert_eq!(change(after, before), expected);
    }

    #[test]
    fn the_rule_agrees_with_the_oracle(
        (allow, block) in (lists(), lists()),
        mode in prop::sample::select(OnAddress::ALL),
        known in prop::option::of(addresses()),
        now in prop::option::of(addresses()),
    ) {
        let sourced = |lists: &[Vec<Network>]| lists.iter()
            .map(|list| Sourced { value: Arc::new(Networks::new(list.clone())), origin: Origin::Default })
            .collect();
        let rules = AddressRules {
            allow: sourced(&allow),
            block: sourced(&block),
            change: Sourced { value: mode, origin: Origin::Default },
        };
        let within = |ip: IpAddr, list: &[Network]| list.iter().any(|network| digits(ip).starts_with(&beginning(network)));
        let listed = allow.iter().chain(&block).any(|list| !list.is_empty());
        let moved = known.zip(now).map(|(known, now)| change(known, now));
        // (code, the session ends, the request is refused)
        let expected = match now {
            None if listed || mode != OnAddress::Ignore => Some((Code::IpMissing, false, true)),
            None => None,
            Some(now) if block.iter().any(|list| within(now, list)) => Some((Code::IpBlocked, false, true)),
            Some(now) if allow.iter().any(|list| !list.is_empty() && !within(now, list)) => {
                Some((Code::IpNotAllowed, false, true))
            }
            Some(_) => match (moved, mode) {
                (None | Some(Change::Same | Change::Near), _) | (_, OnAddress::Ignore) => None,
                (Some(Change::Unlike), _) | (_, OnAddress::Log) => Some((Code::IpChanged, false, false)),
                (_, OnAddress::Reauthenticate) => Some((Code::ReauthenticationRequired, false, true)),
                (_, OnAddress::Refuse) => Some((Code::IpChanged, false, true)),
                (_, OnAddress::End) => Some((Code::IpChanged, true, true)),
            },
        };
        let outcome = judge(&rules, known, now);
        let got = match &outcome {
            Outcome::Allowed => None,
            Outcome::Logged(r) => Some((r.code, false, false)),
            Outcome::Refused(r) => Some((r.code, false, true)),
            Outcome::Ended(r) => Some((r.code, true, true)),
        };
        prop_assert_eq!(got, expected);
        // Without an origin nobody can find the line of the policy.
        prop_assert!(said(outcome).is_none_or(|refusal| refusal.origin.is_some() && refusal.detail().contains("default")));
    }
}
