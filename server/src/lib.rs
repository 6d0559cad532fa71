//! The service.

pub mod host;
pub mod http;
