//! The engine: what must stay true of the service whatever its store, its clock and its callers do.
//!
//! * [`accidents`]: one accident each, staged: an answer that is lost, a caller that goes away, a change between a load
//!   and its answer. * [`activity`]: idle times are exact. * [`background`]: housekeeping. * [`aging`]: what grows old. * [`following`]: history as it grows.
//! * [`limits`], [`seats`], [`leases`]: never one session too many. [`debts`]: nor one request. [`sealings`]: nor one sealing. [`token_keys`], [`first_keys`], [`handovers`]: who signs, what verifies. [`users_tokens`]: of which session. * [`rotations`]: honest clients on a bad network.
//! * [`many`]: what is said of changes and ends of many. [`refreshes`]: what refresh tokens race with. [`tabs`]: browsers that share one, and thieves.
//! * [`sim`]: all of it at once, from a seed, against [`model`].

mod accidents;
mod activity;
mod aging;
mod background;
mod debts;
mod first_keys;
mod following;
mod handovers;
pub(crate) mod house;
mod leases;
pub(crate) mod limits;
mod many;
mod memory;
pub(crate) mod model;
mod refreshes;
mod rotations;
mod sealings;
pub(crate) mod seats;
pub(crate) mod sim;
mod table;
mod tabs;
mod token_keys;
mod users_tokens;

/// The long campaigns are run with `HANDSTAMP_TEST_FULL=1`.
pub(crate) fn full() -> bool {
    #[expect(clippy::disallowed_methods, reason = "a test is told by its environment how long to run")]
    std::env::var_os("HANDSTAMP_TEST_FULL").is_some_and(|text| text == "1")
}

/// A number that the environment gives.
pub(crate) fn number(name: &str) -> Option<u64> {
    #[expect(clippy::disallowed_methods, reason = "a test is told by its environment what to run")]
    std::env::var_os(name)?.to_str()?.parse().ok()
}
