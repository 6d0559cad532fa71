//! Several nodes on one store: what thought that it was alone, and is not.
//!
//! * [`fleet`]: nodes over handles of one store, whose ears a test can close. * [`budgets`]: rate limits.
//! * [`followers`]: ends and history, told by whichever node. * [`housekeeping`]: done by one of them. * [`starts`]: the first one.
//! * [`crowds`]: never one session too many. * [`once`]: what happens once, whoever is asked. * [`doors`]: the same over HTTP.

mod budgets;
mod crowds;
mod doors;
pub(crate) mod fleet;
mod followers;
mod housekeeping;
mod once;
mod starts;
