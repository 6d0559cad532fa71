//! Networks as ranges of addresses: the address is inside, a longer prefix is a part, ends belong to the range.
#![no_main]

use handstamp_core::facet::{address, network};
use handstamp_core::session::canonical;
use libfuzzer_sys::fuzz_target;
use std::net::IpAddr;

fuzz_target!(|data: &[u8]| {
    let Some((prefix, rest)) = data.split_first() else { return };
    let ip: IpAddr = match *rest {
        [a, b, c, d] => [a, b, c, d].into(),
        _ => {
            let Ok(sixteen) = <[u8; 16]>::try_from(rest) else { return };
            sixteen.into()
        }
    };
    assert_eq!(canonical(canonical(ip)), canonical(ip));
    let longest = if ip.is_ipv4() { 32 } else { 128 };
    let Some((low, high)) = network(ip, *prefix) else {
        assert!(*prefix > longest);
        return;
    };
    assert!(*prefix <= longest);
    let own = address(ip);
    assert!(low <= own && own <= high);
    let size = u128::from_be_bytes(high) ^ u128::from_be_bytes(low);
    let free = u32::from(longest - prefix);
    assert_eq!(size, if free == 128 { u128::MAX } else { (1 << free) - 1 });
    if let Some(longer) = prefix.checked_add(1).and_then(|prefix| network(ip, prefix)) {
        assert!(low <= longer.0 && longer.1 <= high);
    }
});
