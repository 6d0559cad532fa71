//! Signed and sealed tokens as everybody reads them: JSON Web Signature (RFC 7515), Encryption (RFC 7516), Key (RFC 7517) and
//! Token (RFC 7519), as far as Handstamp makes them, and nothing else of it.
//!
//! A token never says how it is to be checked: its key is found by name among those that are trusted, and the key says the one
//! algorithm it is for (RFC 8725). What a header says beyond that is refused before any cryptography.
//!
//! * [`json`]: the JSON inside.
//! * [`key`]: keys that sign, keys that verify, and their names.
//! * [`jws`]: a signature around a text. [`jwe`]: a text that only key holders can read.
//! * [`claims`]: what an access token says.

pub mod claims;
mod der;
pub mod json;
pub mod jwe;
pub mod jws;
pub mod key;

pub use crate::device::base64url;

/// The most bytes of a token; longer ones are not looked at.
pub const LONGEST: usize = 8 * 1_024;

/// Why a text is no token that can be trusted. Callers are told one thing of all of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Flaw {
    /// It is longer than [`LONGEST`].
    TooLong,
    /// Not the right number of segments, or letters that are no base64url.
    Form,
    /// Its header says something that is not understood, or not what is expected here.
    Header,
    /// It was made for another purpose.
    Type,
    /// Its key is not among those that are trusted.
    Key,
    /// Its key is for another algorithm.
    Algorithm,
    /// It was not made with the key it names, or was changed since.
    Signature,
    /// What it says is no JSON object, or lacks something, or has something of a wrong kind.
    Claims,
}
