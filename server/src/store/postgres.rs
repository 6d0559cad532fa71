//! The store in a PostgreSQL database that several nodes share.

mod address;
mod connect;
mod fault;
mod notices;
mod pool;
mod schema;
mod tls;

pub use address::{Address, AddressError};
pub use connect::Facts;
