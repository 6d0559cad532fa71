//! The rules of Handstamp, in reading order.
//!
//! Everything here is a pure function of its arguments: records, a policy, a request, `now` and entropy go in, a value
//! comes out. There is no I/O, no clock, no random source and no async in this crate, so that every security
//! decision can be read in one place and tried in a table test.
//!
//! * [`time`], [`id`]: the words everything else is said in.
//! * [`secret`], [`base62`], [`token`]: what a client holds, and what we keep to recognise it.
//! * [`policy`], [`session`], [`epoch`], [`user`]: what is remembered, and what an operator may choose.
//! * [`rotation`], [`expiry`], [`ending`], [`limit`], [`address`], [`agent`], [`whereabouts`],
//!   [`step_up`], [`judge`]: may this request pass?
//! * [`origin`]: from which page does it come? [`redirect`], [`login`]: where does a login lead back to, and how does it get there?
//! * [`device`]: is it still the device that the session was made on?
//! * [`explain`]: what each rule says; what a policy would do.
//! * [`transition`]: what becomes of the records; [`event`]: what history will say.
//! * [`refusal`]: every reason that is ever given.
//! * [`caller`], [`environment`]: who may ask, and where; [`rate`]: how often. [`csrf`]: what a page must know to change anything.
//! * [`agent`]: what a user agent says of itself, and when it has become another one.
//! * [`facet`]: by what a session can be found.
//! * [`licence`]: until when a node may answer from memory. [`store_time`]: whose time counts for several. [`lease`]: what one
//!   node does for all.
//! * [`status`]: places in status lists.
//! * [`jose`]: signed and sealed tokens as everybody reads them. [`access_token`]: what they say of a session.
//! * [`offline`]: what a verifier beside the application decides without asking.
//! * [`sealing`]: session data at rest. [`privacy`], [`erasure`]: what is not kept, or no longer.

#![deny(missing_docs)]
#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::wildcard_enum_match_arm))]

pub mod access_token;
pub mod address;
pub mod agent;
pub mod base62;
pub mod caller;
pub mod csrf;
pub mod device;
pub mod ending;
pub mod environment;
pub mod epoch;
pub mod erasure;
pub mod event;
pub mod expiry;
pub mod explain;
pub mod facet;
pub mod id;
pub mod jose;
pub mod judge;
pub mod lease;
pub mod licence;
pub mod limit;
pub mod login;
pub mod offline;
pub mod origin;
pub mod policy;
pub mod privacy;
pub mod rate;
pub mod redirect;
pub mod refusal;
pub mod rotation;
pub mod sealing;
pub mod seats;
pub mod secret;
pub mod session;
pub mod signing;
pub mod status;
pub mod step_up;
pub mod store_time;
pub mod subject;
pub mod tag;
pub mod time;
pub mod token;
pub mod transition;
pub mod user;
pub mod whereabouts;
