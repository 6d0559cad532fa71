//! The rules of Handstamp, in reading order.
//!
//! Everything here is a pure function of its arguments: records, a policy, a request, `now` and entropy go in, a value
//! comes out. There is no I/O, no clock, no random source and no async in this crate, so that every security
//! decision can be read in one place and tried in a table test.
//!
//! * [`time`], [`id`]: the words everything else is said in.
//! * [`secret`], [`base62`], [`token`]: what a client holds, and what we keep to recognise it.
//! * [`policy`], [`session`], [`epoch`], [`user`]: what is remembered, and what an operator may choose.
//! * [`rotation`], [`expiry`], [`ending`], [`limit`], [`address`], [`judge`]: may this request pass?
//! * [`device`]: is it still the device that the session was made on?
//! * [`transition`]: what becomes of the records; [`event`]: what history will say.
//! * [`refusal`]: every reason that is ever given.
//! * [`caller`], [`environment`]: who may ask, and where.
//! * [`facet`]: by what a session can be found.
//! * [`sealing`]: session data at rest.

#![deny(missing_docs)]
#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::wildcard_enum_match_arm))]

pub mod address;
pub mod base62;
pub mod caller;
pub mod device;
pub mod ending;
pub mod environment;
pub mod epoch;
pub mod event;
pub mod expiry;
pub mod facet;
pub mod id;
pub mod judge;
pub mod limit;
pub mod policy;
pub mod refusal;
pub mod rotation;
pub mod sealing;
pub mod seats;
pub mod secret;
pub mod session;
pub mod subject;
pub mod tag;
pub mod time;
pub mod token;
pub mod transition;
pub mod user;
