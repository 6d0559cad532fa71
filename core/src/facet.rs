//! By what a session can be found, as names and ordered bytes that a store indexes blindly.
//!
//! Live and ended sessions have names of their own, so that a user's live sessions are found without stepping over all
//! that ever ended.

use crate::agent::change::brand;
use crate::agent::{Agent, bounded};
use crate::refusal::Code;
use crate::session::{Client, Session, State};
use crate::time::Millis;
use std::net::IpAddr;

/// A live session's user id.
pub const USER: u8 = 1;
/// One of a live session's tags.
pub const TAG: u8 = 2;
/// An address a live session was made or last used from, as 16 bytes (v4 mapped into v6).
pub const IP: u8 = 3;
/// When housekeeping should look at a live session again: 8 bytes of milliseconds.
pub const DUE: u8 = 4;
/// Since when a successor of a live session's token is out that nobody has presented: 8 bytes of milliseconds.
pub const PENDING: u8 = 6;
/// The device a live session is bound to: its thumbprint.
pub const DEVICE: u8 = 7;
/// The browser a session was made or last used with, in small letters, by its full name and by its brand.
pub const BROWSER: u8 = 8;
/// The system it was made or last used on, in small letters.
pub const OS: u8 = 9;
/// Until when an access token of an ended session could live: 8 bytes of milliseconds. Sessions that never had one have none.
pub const TOKENS: u8 = ENDED + 10;
/// What is added to a name for an ended session.
pub const ENDED: u8 = 16;
/// An ended session's code.
pub const CODE: u8 = ENDED + 5;

/// The facets of a session; `due` is when time could end it at the earliest.
pub fn of(session: &Session, due: Millis) -> Vec<(u8, Vec<u8>)> {
    let ended = match &session.state {
        State::Live => 0,
        State::Ended(_) => ENDED,
    };
    let mut facets = Vec::with_capacity(4 + session.tags.len());
    facets.push((USER + ended, session.user.as_str().as_bytes().to_vec()));
    facets.extend(session.tags.iter().map(|held| (TAG + ended, held.tag.as_str().as_bytes().to_vec())));
    let last = session.last_client.as_ref().and_then(|client| client.ip);
    let first = session.client.ip;
    facets.extend(
        first
            .into_iter()
            .chain(last.filter(|ip| Some(*ip) != first))
            .map(|ip| (IP + ended, address(ip).to_vec())),
    );
    facets.extend(session.device.as_ref().map(|device| (DEVICE + ended, device.id.0.to_vec())));
    facets.extend(browsers(session).map(|value| (BROWSER + ended, value)));
    facets.extend(systems(session).map(|value| (OS + ended, value)));
    match &session.state {
        State::Live => {
            facets.push((DUE, instant(due).to_vec()));
            facets.extend(session.chain.pending_since().map(|since| (PENDING, instant(since).to_vec())));
        }
        State::Ended(end) => {
            facets.push((CODE, code(end.code).to_vec()));
            facets.extend(session.tokens_until.map(|until| (TOKENS, instant(until).to_vec())));
        }
    }
    facets
}

/// By which browsers a session is found.
pub fn browsers(session: &Session) -> impl Iterator<Item = Vec<u8>> {
    agents(session, |agent| {
        let family = agent.browser.as_deref();
        [family, family.map(brand)]
    })
}

/// By which systems a session is found.
pub fn systems(session: &Session) -> impl Iterator<Item = Vec<u8>> {
    agents(session, |agent| [agent.os.as_deref(), None])
}

/// Each value of the agents of creation and last use, once.
fn agents(session: &Session, told: impl Fn(&Agent) -> [Option<&str>; 2]) -> impl Iterator<Item = Vec<u8>> {
    let clients = [Some(&session.client), session.last_client.as_deref()];
    let agents = clients.into_iter().flatten().filter_map(|client: &Client| client.agent.as_deref());
    let mut values: Vec<Vec<u8>> = agents.flat_map(told).flatten().filter_map(name).collect();
    values.sort_unstable();
    values.dedup();
    values.into_iter()
}

/// A browser or system as bytes; `None` when no agent could have that name.
pub fn name(text: &str) -> Option<Vec<u8>> {
    bounded(text).filter(|bounded| *bounded == text).map(|text| text.to_lowercase().into_bytes())
}

/// An address as ordered bytes.
pub fn address(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    }
}

/// All addresses of a network, first and last. The prefix counts in the family of `ip`; `None` when it is too long.
pub fn network(ip: IpAddr, prefix: u8) -> Option<([u8; 16], [u8; 16])> {
    let bits = match ip {
        IpAddr::V4(_) => prefix.checked_add(96).filter(|bits| *bits <= 128)?,
        IpAddr::V6(_) => Some(prefix).filter(|bits| *bits <= 128)?,
    };
    let base = u128::from_be_bytes(address(ip));
    let host = if bits == 0 { u128::MAX } else { u128::MAX.checked_shr(u32::from(bits)).unwrap_or(0) };
    Some(((base & !host).to_be_bytes(), (base | host).to_be_bytes()))
}

/// An instant as ordered bytes.
pub fn instant(at: Millis) -> [u8; 8] {
    u64::try_from(at.0.max(0)).unwrap_or(0).to_be_bytes()
}

/// A code as bytes.
pub const fn code(code: Code) -> &'static [u8] {
    code.text().as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_ranges() {
        let range = |ip: &str, prefix| network(ip.parse().unwrap(), prefix);
        let holds = |r: ([u8; 16], [u8; 16]), ip: &str| {
            let a = address(ip.parse().unwrap());
            r.0 <= a && a <= r.1
        };
        let net = range("203.0.113.77", 24).unwrap();
        assert!(holds(net, "203.0.113.0") && holds(net, "203.0.113.255"));
        assert!(!holds(net, "203.0.112.255") && !holds(net, "203.0.114.0"));
        let all4 = range("0.0.0.0", 0).unwrap();
        assert!(holds(all4, "255.255.255.255") && !holds(all4, "2001:db8::"));
        let one = range("2001:db8::1", 128).unwrap();
        assert!(holds(one, "2001:db8::1") && !holds(one, "2001:db8::2"));
        let all = range("::", 0).unwrap();
        assert!(holds(all, "ffff::") && holds(all, "1.2.3.4"));
        assert!(range("1.2.3.4", 33).is_none() && range("::", 129).is_none());
    }

    #[test]
    fn instants_sort() {
        assert!(instant(Millis(5)) < instant(Millis(256)) && instant(Millis(-5)) == instant(Millis(0)));
    }
}
