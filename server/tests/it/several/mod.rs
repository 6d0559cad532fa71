//! Several nodes on one store: what thought that it was alone, and is not.
//!
//! * [`fleet`]: nodes over handles of one store, whose ears a test can close. * [`budgets`]: rate limits.

mod budgets;
pub(crate) mod fleet;
