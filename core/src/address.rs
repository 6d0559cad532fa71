//! Addresses: what a network is, whether a list holds an address, whether a client has moved, and what follows.
//!
//! Every address has one form before anything is compared: IPv4 written as IPv6 (`::ffff:203.0.113.7`) is the IPv4
//! address. The two families are worlds of their own: no network holds addresses of both, `::/0` is every IPv6 address
//! and no IPv4 one.
//!
//! An address is a sign, not a proof: networks are shared, and a thief can sit in the same one. And honest clients
//! change theirs, without meaning anything by it. So what is compared is the network, never the address, and what a
//! change brings about is a ladder (see [`rule`]).

pub mod change;
pub mod network;
pub mod networks;
pub mod rule;

pub use change::{Change, change};
pub use network::Network;
pub use networks::Networks;
pub use rule::{AddressRules, Outcome, judge};
