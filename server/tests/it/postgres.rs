//! What is true of the PostgreSQL store alone, tried on Debian's PostgreSQL, which each test starts for itself.

mod address;
mod begins;
mod bystanders;
pub(crate) mod cluster;
mod connections;
mod fixture;
mod measure;
mod nodes;
mod notices;
mod partitions;
mod plans;
mod side_by_side;
mod tls;
mod versions;
pub(crate) mod wire;

use handstamp_server::store::postgres::Node;
use std::sync::atomic::{AtomicU64, Ordering};

/// A node that nobody else is.
pub(crate) fn node() -> Node {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let own = NUMBER.fetch_add(1, Ordering::Relaxed).to_be_bytes();
    let mut node = [0; 16];
    node[..8].copy_from_slice(&u64::from(std::process::id()).to_be_bytes());
    node[8..].copy_from_slice(&own);
    node
}
