//! Lists of networks as somebody writes them, one a line: one text for each, and a list that holds what a look at every
//! entry finds.
#![no_main]

use handstamp_core::address::{Network, Networks, change};
use libfuzzer_sys::fuzz_target;
use std::net::IpAddr;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut listed = Vec::new();
    let mut asked: Vec<IpAddr> = Vec::new();
    for line in text.lines() {
        match Network::parse(line) {
            Ok(network) => {
                assert_eq!(Network::parse(&network.to_string()), Ok(network));
                assert_eq!(Network::around(network.last(), network.bits()), Some(network));
                asked.extend([network.first(), network.last()]);
                listed.push(network);
            }
            Err(why) => {
                assert!(why.len() < 1_024 && !why.contains(char::is_control));
                asked.extend(line.parse::<IpAddr>());
            }
        }
    }
    let networks = Networks::new(listed.clone());
    let neighbours: Vec<IpAddr> = asked.iter().flat_map(|ip| [next(*ip, 1), next(*ip, -1)]).collect();
    for ip in asked.into_iter().chain(neighbours) {
        assert_eq!(networks.contains(ip), listed.iter().any(|network| network.contains(ip)), "{ip}");
        assert_eq!(networks.contains(ip), networks.narrowest(ip).is_some());
        assert_eq!(change(ip, ip.to_canonical()), handstamp_core::address::Change::Same);
    }
    for network in listed {
        assert!(networks.covers(&Networks::from_iter([network])));
    }
});

fn next(ip: IpAddr, by: i8) -> IpAddr {
    match ip {
        IpAddr::V4(a) => IpAddr::V4(a.to_bits().wrapping_add_signed(by.into()).into()),
        IpAddr::V6(a) => IpAddr::V6(a.to_bits().wrapping_add_signed(by.into()).into()),
    }
}
