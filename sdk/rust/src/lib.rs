//! Verifies Handstamp's access tokens inside of your application, and knows within a second what was revoked.
//!
#![doc = include_str!("../README.md")]
//!
//! # How it is made
//!
//! Rules and formats are those of the server: the crate `handstamp-core` holds them once for both. Here is what a
//! verifier needs around them, in reading order: [`verifier`] (the questions), [`verdict`] (the answers), [`builder`]; then what
//! runs behind: the feed of revocations, the keys, the cache of signatures, the client.

#![deny(missing_docs)]
#![cfg_attr(not(test), deny(clippy::indexing_slicing))]

pub mod builder;
mod feed;
mod fetch;
mod held;
mod host;
mod keys;
mod link;
mod server;
mod signatures;
mod sse;
pub mod status;
mod trust;
pub mod verdict;
pub mod verifier;

pub use builder::{BuildError, Builder};
pub use handstamp_core::jose::claims::Claims;
pub use handstamp_core::jose::json::{Json, Members};
pub use handstamp_core::offline::{Ask, Demand};
pub use handstamp_core::refusal::Code;
pub use handstamp_core::step_up::{Assured, Level};
pub use handstamp_core::tag::{Group, Tag};
pub use handstamp_core::time::{Millis, Span};
pub use status::Status;
pub use verdict::{By, CannotTell, Local, Refused, Stop, Trouble, Verified};
pub use verifier::Verifier;
