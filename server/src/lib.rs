//! The service.

pub mod cli;
pub mod config;
