//! What becomes of addresses and user agents as they grow old: shortened, then erased, as an operator chooses.
//!
//! An address is as old as the use it tells of: that of a session's creation counts from then, that of its last use from the
//! last activity, that of a line of history from what the line tells of.

use crate::agent::Agent;
use crate::event::Event;
use crate::refusal::{Evidence, Value};
use crate::session::{Client, Session, State};
use crate::time::{Millis, Span};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

/// After which time what is done; `None`: never.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Privacy {
    /// Addresses lose their host part.
    pub shorten_addresses_after: Option<Span>,
    /// Addresses go.
    pub erase_addresses_after: Option<Span>,
    /// User agents lose all but the first part of each version.
    pub shorten_user_agents_after: Option<Span>,
    /// User agents go.
    pub erase_user_agents_after: Option<Span>,
}

/// What is done with something.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Fate {
    Keep,
    Shorten,
    Erase,
}

/// What is done with what is of one age.
#[derive(Clone, Copy)]
struct Fates {
    address: Fate,
    agent: Fate,
}

impl Privacy {
    /// The four switches.
    pub const fn switches(&self) -> [Option<Span>; 4] {
        [
            self.shorten_addresses_after,
            self.erase_addresses_after,
            self.shorten_user_agents_after,
            self.erase_user_agents_after,
        ]
    }

    /// The youngest that anything is when something is done with it; `None`: nothing ever is.
    pub fn earliest(&self) -> Option<Span> {
        self.switches().into_iter().flatten().min()
    }

    fn fates(&self, at: Millis, now: Millis) -> Fates {
        let past = |after: Option<Span>| after.is_some_and(|after| now.since(at) >= after);
        let fate = |shorten, erase| match (past(shorten), past(erase)) {
            (_, true) => Fate::Erase,
            (true, false) => Fate::Shorten,
            (false, false) => Fate::Keep,
        };
        Fates {
            address: fate(self.shorten_addresses_after, self.erase_addresses_after),
            agent: fate(self.shorten_user_agents_after, self.erase_user_agents_after),
        }
    }

    /// A session as it may be kept at `now`, `seen` being its last activity; `None` when it may stay as it is.
    pub fn session(&self, session: &Session, seen: Millis, now: Millis) -> Option<Session> {
        let client = treated(&session.client, self.fates(session.created_at, now));
        let last = session.last_client.as_deref().and_then(|last| treated(last, self.fates(seen, now)));
        let evidence = match &session.state {
            State::Live => None,
            State::Ended(end) => {
                evidence(end.evidence.as_ref(), end.rule.as_deref(), self.fates(end.at, now))
            }
        };
        let login = self.fates(session.authenticated_at, now);
        let anchor = session.anchor.as_deref().and_then(|anchor| treated(anchor, login));
        if client.is_none() && last.is_none() && anchor.is_none() && evidence.is_none() {
            return None;
        }
        let mut next = session.clone();
        next.client = client.unwrap_or(next.client);
        if let Some(last) = last {
            // Nothing that is known differs from nothing.
            next.last_client = Some(Box::new(last)).filter(|last| !last.is_empty());
        }
        if let Some(anchor) = anchor {
            next.anchor = Some(Box::new(anchor));
        }
        if let (State::Ended(end), Some(evidence)) = (&mut next.state, evidence) {
            end.evidence = Some(evidence);
        }
        Some(next)
    }

    /// A line of history as it may be kept at `now`; `None` when it may stay as it is.
    pub fn event(&self, event: &Event, now: Millis) -> Option<Event> {
        let fates = self.fates(event.at, now);
        let client = treated(&event.client, fates);
        let evidence = evidence(event.evidence.as_ref(), event.rule.as_deref(), fates);
        if client.is_none() && evidence.is_none() {
            return None;
        }
        Some(Event {
            client: client.unwrap_or_else(|| event.client.clone()),
            evidence: evidence.or_else(|| event.evidence.clone()),
            ..event.clone()
        })
    }
}

fn treated(client: &Client, fates: Fates) -> Option<Client> {
    let ip = client.ip.and_then(|ip| match fates.address {
        Fate::Keep => Some(ip),
        Fate::Shorten => Some(shorten_address(ip)),
        Fate::Erase => None,
    });
    let user_agent = client.user_agent.as_ref().and_then(|agent| match fates.agent {
        Fate::Keep => Some(agent.clone()),
        Fate::Shorten => Some(Arc::from(shorten_agent(agent))),
        Fate::Erase => None,
    });
    // What was read of it goes with it: of a shortened one, its version and model do.
    let agent = client.agent.as_ref().and_then(|agent| match fates.agent {
        Fate::Keep => Some(agent.clone()),
        Fate::Shorten => Some(Arc::new(Agent { os_version: None, model: None, ..Agent::clone(agent) })),
        Fate::Erase => None,
    });
    let next = Client { ip, user_agent, agent };
    (next != *client).then_some(next)
}

/// Evidence may hold addresses and agents: alone, or both as [`Client::text`] writes them. Other texts (tags, networks of
/// a policy) are nobody's.
fn evidence(evidence: Option<&Evidence>, rule: Option<&str>, fates: Fates) -> Option<Evidence> {
    let is_agent = rule.is_some_and(|rule| rule.contains("user_agent"));
    let value = |value: &Value| match value {
        Value::Text(text) => Value::Text(treated_text(text, is_agent, fates).into()),
        Value::Span(_) | Value::Time(_) | Value::Number(_) | Value::Texts(_) => value.clone(),
    };
    let next = match evidence? {
        Evidence::Limit { allowed, seen } => Evidence::Limit { allowed: value(allowed), seen: value(seen) },
        Evidence::Change { before, after } => Evidence::Change { before: value(before), after: value(after) },
    };
    (evidence != Some(&next)).then_some(next)
}

fn treated_text(text: &str, is_agent: bool, fates: Fates) -> String {
    let agent = |agent: &str| match fates.agent {
        Fate::Keep => agent.to_owned(),
        Fate::Shorten => shorten_agent(agent),
        Fate::Erase => "unknown agent".to_owned(),
    };
    if is_agent {
        return agent(text);
    }
    let (first, rest) = match text.split_once(", ") {
        Some((first, rest)) => (first, Some(rest)),
        None => (text, None),
    };
    let ip = first.parse::<IpAddr>().ok();
    if ip.is_none() && first != Client::NO_ADDRESS {
        return text.to_owned();
    }
    let address = match (ip, fates.address) {
        (Some(ip), Fate::Shorten) => shorten_address(ip).to_string(),
        (Some(_), Fate::Erase) => Client::NO_ADDRESS.to_owned(),
        (Some(_), Fate::Keep) | (None, _) => first.to_owned(),
    };
    match rest {
        None => address,
        Some(rest) => format!("{address}, {}", agent(rest)),
    }
}

/// The network of an address: /24 of IPv4, /56 of IPv6, so that a shortened address is still of the same network
/// to [`crate::address::change`].
pub fn shorten_address(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V4(v4) => IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits() & !0xff)),
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 72 << 72)),
    }
}

/// Whether an address may have been shortened: no client has one that ends like that, but for the rare IPv4 host with a
/// last byte of 0. A rule that compares addresses can compare no closer with such a one than by its network.
pub fn may_be_shortened(ip: IpAddr) -> bool {
    shorten_address(ip) == ip.to_canonical()
}

/// A user agent with the first part of each version only: `Firefox/120.0.1` becomes `Firefox/120.0.0`, as browsers that
/// reduce their agent themselves write it, so that whoever reads it finds browser, system and kind of device as before.
/// Build numbers (`Build/...`) go.
pub fn shorten_agent(agent: &str) -> String {
    let mut short = String::with_capacity(agent.len());
    let mut rest = agent;
    while let Some(at) = rest.find(" Build/") {
        let (before, build) = rest.split_at(at);
        short.push_str(before);
        let name = build.trim_start_matches(" Build/");
        rest = name.find([';', ')', ' ']).map_or("", |end| name.split_at(end).1);
    }
    short.push_str(rest);
    let mut out = String::with_capacity(short.len());
    // A number inside of a word (x86_64) is no version.
    let (mut in_word, mut in_number, mut minor) = (false, false, false);
    for c in short.chars() {
        match c {
            '0'..='9' if minor => {
                if !in_number {
                    out.push('0');
                }
                in_number = true;
            }
            '0'..='9' => {
                out.push(c);
                in_number = !in_word;
            }
            '.' | '_' if in_number => {
                out.push(c);
                (in_number, minor) = (false, true);
            }
            _ => {
                out.push(c);
                (in_word, in_number, minor) = (c.is_alphanumeric(), false, false);
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn addresses_lose_their_host() {
        for (whole, short) in [
            ("203.0.113.77", "203.0.113.0"),
            ("::ffff:203.0.113.77", "203.0.113.0"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1::"),
            ("::1", "::"),
        ] {
            let short: IpAddr = short.parse().unwrap();
            assert_eq!(shorten_address(whole.parse().unwrap()), short);
            assert_eq!(shorten_address(short), short);
            assert!(may_be_shortened(short) && !may_be_shortened(whole.parse().unwrap()));
        }
    }

    #[test]
    fn agents_lose_what_tells_one_from_another() {
        for (whole, short) in [
            (
                "Mozilla/5.0 (X11; Linux x86_64; rv:120.0) Gecko/20100101 Firefox/120.0.1",
                "Mozilla/5.0 (X11; Linux x86_64; rv:120.0) Gecko/20100101 Firefox/120.0.0",
            ),
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 17_4_1 like Mac OS X) Version/17.4.1 Safari/604.1",
                "Mozilla/5.0 (iPhone; CPU iPhone OS 17_0_0 like Mac OS X) Version/17.0.0 Safari/604.0",
            ),
            (
                "Mozilla/5.0 (Linux; Android 13; SM-S901B Build/TP1A.220624.014) Chrome/112.0.5615.136 Mobile",
                "Mozilla/5.0 (Linux; Android 13; SM-S901B) Chrome/112.0.0.0 Mobile",
            ),
            ("own Build/", "own"),
            ("", ""),
            ("...1.2_3.x.4", "...1.0_0.x.4"),
        ] {
            assert_eq!(shorten_agent(whole), short);
        }
    }

    proptest! {
        #[test]
        fn shortened_twice_is_shortened_once(agent in "[ -~é]{0,80}", bits: u128) {
            let once = shorten_agent(&agent);
            prop_assert_eq!(shorten_agent(&once), once);
            let once = shorten_address(IpAddr::V6(Ipv6Addr::from_bits(bits)));
            prop_assert_eq!(shorten_address(once), once);
        }
    }

    #[test]
    fn both_sides_of_every_age() {
        let privacy = Privacy {
            shorten_addresses_after: Some(Span(10)),
            erase_addresses_after: Some(Span(30)),
            shorten_user_agents_after: Some(Span(20)),
            erase_user_agents_after: Some(Span(20)),
        };
        assert_eq!(privacy.earliest(), Some(Span(10)));
        assert_eq!(Privacy::default().earliest(), None);
        let client = Client {
            ip: Some("203.0.113.7".parse().unwrap()),
            user_agent: Some("own/1.2".into()),
            agent: None,
        };
        for (age, ip, agent) in [
            (9, Some("203.0.113.7"), Some("own/1.2")),
            (10, Some("203.0.113.0"), Some("own/1.2")),
            (19, Some("203.0.113.0"), Some("own/1.2")),
            // Where both ages have come, the stronger counts.
            (20, Some("203.0.113.0"), None),
            (29, Some("203.0.113.0"), None),
            (30, None, None),
        ] {
            let next = treated(&client, privacy.fates(Millis(5), Millis(5 + age)));
            assert_eq!(next.is_none(), age < 10);
            let next = next.unwrap_or(client.clone());
            assert_eq!(next.ip.map(|ip| ip.to_string()).as_deref(), ip, "at {age}");
            assert_eq!(next.user_agent.as_deref(), agent, "at {age}");
        }
    }

    #[test]
    fn evidence_grows_old_too() {
        let privacy = |shorten, erase| Privacy {
            shorten_addresses_after: shorten,
            erase_addresses_after: erase,
            shorten_user_agents_after: shorten,
            erase_user_agents_after: erase,
        };
        let (shorten, erase) = (privacy(Some(Span(1)), None), privacy(None, Some(Span(1))));
        for (rule, whole, short, gone) in [
            ("reuse", "203.0.113.7, own/1.2", "203.0.113.0, own/1.0", "unknown address, unknown agent"),
            ("reuse", "203.0.113.7", "203.0.113.0", "unknown address"),
            (
                "reuse",
                "unknown address, own/1.2",
                "unknown address, own/1.0",
                "unknown address, unknown agent",
            ),
            ("ip_change", "2001:db8:1:2::7", "2001:db8:1::", "unknown address"),
            ("user_agent", "own/1.2, or so", "own/1.0, or so", "unknown agent"),
            ("required_tags", "role:admin, v:1.2", "role:admin, v:1.2", "role:admin, v:1.2"),
            ("reuse", "generation 7", "generation 7", "generation 7"),
        ] {
            for (privacy, wanted) in [(shorten, short), (erase, gone)] {
                let text = |text: &str| Value::Text(text.into());
                let before = Evidence::Change { before: text(whole), after: Value::Number(1) };
                let after = Evidence::Change { before: text(wanted), after: Value::Number(1) };
                let next = evidence(Some(&before), Some(rule), privacy.fates(Millis(0), Millis(1)));
                assert_eq!(next, (wanted != whole).then_some(after), "{whole}");
            }
        }
    }
}
