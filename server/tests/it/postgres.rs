//! What is true of the PostgreSQL store alone, tried on Debian's PostgreSQL, which each test starts for itself.

pub(crate) mod cluster;
mod fixture;
