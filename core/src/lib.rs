//! The rules of Handstamp, in reading order.
//!
//! Everything here is a pure function of its arguments: records, a policy, a request, `now` and entropy go in, a value
//! comes out. There is no I/O, no clock, no random source and no async in this crate, so that every security
//! decision can be read in one place and tried in a table test.
//!
//! * `time`, `id`: the words everything else is said in.
//! * `secret`, `base62`, `token`: what a client holds, and what we keep to recognise it.
//! * `policy`, `session`, `epoch`, `user`: what is remembered, and what an operator may choose.
//! * `rotation`, `expiry`, `judge`: may this request pass?
//! * `transition`: what becomes of the records; `event`: what history will say.
//! * `refusal`: every reason that is ever given.
//! * `caller`, `environment`: who may ask, and where.
//! * `facet`: by what a session can be found.
//! * `sealing`: session data at rest.

pub mod base62;
pub mod id;
pub mod policy;
pub mod tag;
pub mod time;
