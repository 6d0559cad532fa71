//! The store in a PostgreSQL database that several nodes share.

mod address;
mod apply;
mod changes;
mod chores;
mod connect;
mod days;
mod fault;
mod group;
mod lane;
mod migrate;
mod notices;
mod parts;
mod pool;
mod queue;
mod schema;
mod statements;
mod sweep;
mod tls;
mod writer;

pub use address::{Address, AddressError};
pub use connect::Facts;
