//! Whose budget it is, and under which name nodes know it: a keyed hash, so that no address and no id lies in memory or
//! travels between nodes.

use crate::id::{EnvironmentId, KeyId, SessionId};
use crate::secret::mac;
use crate::token::keyring::MasterKey;
use aws_lc_rs::hmac;
use std::net::{IpAddr, Ipv6Addr};

/// Whose budget it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Payer {
    /// A session's, of its environment.
    Session(EnvironmentId, SessionId),
    /// A session's cookie's, which is not sent again with every answer.
    Cookie(EnvironmentId, SessionId),
    /// An access key's.
    Key(KeyId),
    /// Of whoever comes from this address without a session, in an environment.
    Address(EnvironmentId, IpAddr),
}

/// An address as budgets know it: of IPv6 the /64, which one customer of a network has to themselves and can walk
/// through at will; what is mapped from IPv4 is IPv4.
pub fn canonical(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V4(v4) => IpAddr::V4(v4),
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64)),
    }
}

/// Names subjects in 64 bits, under a key: nobody chooses whom they share a name with, no address lies in memory, and all
/// nodes with one master key give the same names.
pub struct Names(hmac::Key);

impl Names {
    /// Under a key that is derived for this purpose.
    pub fn new(master: &MasterKey) -> Names {
        Names(hmac::Key::new(hmac::HMAC_SHA256, master.derive("rate-limits").expose()))
    }

    /// The name; never 0.
    pub fn of(&self, payer: &Payer) -> u64 {
        let name = match payer {
            Payer::Session(env, id) => mac(&self.0, &[&[0], &env.0.to_be_bytes(), &id.0]),
            Payer::Cookie(env, id) => mac(&self.0, &[&[4], &env.0.to_be_bytes(), &id.0]),
            Payer::Key(id) => mac(&self.0, &[&[1], &id.0]),
            Payer::Address(env, ip) => match canonical(*ip) {
                IpAddr::V4(v4) => mac(&self.0, &[&[2], &env.0.to_be_bytes(), &v4.octets()]),
                IpAddr::V6(v6) => mac(&self.0, &[&[3], &env.0.to_be_bytes(), &v6.octets()]),
            },
        };
        u64::from_be_bytes(name.first_chunk().copied().unwrap_or_default()).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn twenty_spellings_of_one_client_are_one_budget() {
        let names = Names::new(&MasterKey::new([1; 32]));
        let env = EnvironmentId(1);
        let name = |ip: &str| names.of(&Payer::Address(env, ip.parse().unwrap()));
        let v4 = [
            "203.0.113.7",
            "::ffff:203.0.113.7",
            "::ffff:cb00:7107",
            "0:0:0:0:0:ffff:203.0.113.7",
            "::FFFF:CB00:7107",
        ];
        assert!(v4.iter().all(|ip| name(ip) == name("203.0.113.7")));
        let v6 = [
            "2001:db8:0:1::",
            "2001:db8:0:1::1",
            "2001:0db8:0000:0001::1",
            "2001:DB8:0:1:ffff:ffff:ffff:ffff",
            "2001:db8::1:0:0:0:1",
            "2001:db8:0:1:a:b:c:d",
            "2001:db8::1:dead:beef:203.0.113.7",
        ];
        assert!(v6.iter().all(|ip| name(ip) == name("2001:db8:0:1::9")), "one /64");
        let others = ["203.0.113.8", "2001:db8:0:2::", "2001:db8:0:0::1", "2001:db8:1:1::", "::203.0.113.7"];
        let mut all: Vec<u64> =
            others.iter().map(|ip| name(ip)).chain([name("203.0.113.7"), name("2001:db8:0:1::")]).collect();
        // Another environment, another kind of subject, another master key: another budget.
        let ip = "203.0.113.7".parse().unwrap();
        all.push(names.of(&Payer::Address(EnvironmentId(2), ip)));
        all.push(Names::new(&MasterKey::new([2; 32])).of(&Payer::Address(env, ip)));
        all.push(names.of(&Payer::Session(env, SessionId([1; 16]))));
        all.push(names.of(&Payer::Session(EnvironmentId(2), SessionId([1; 16]))));
        all.push(names.of(&Payer::Session(env, SessionId([2; 16]))));
        all.push(names.of(&Payer::Key(KeyId([1; 16]))));
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count);
    }

    #[test]
    fn a_whole_network_of_one_customer_is_one_budget() {
        let prefix = u128::from(0x2001_0db8_0000_0001_u64) << 64;
        for n in 0..=u128::from(u16::MAX) {
            let ip = IpAddr::V6(Ipv6Addr::from_bits(prefix | n | n << 48));
            assert_eq!(canonical(ip), IpAddr::V6(Ipv6Addr::from_bits(prefix)));
        }
    }
}
