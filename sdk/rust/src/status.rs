//! How a verifier is: what it trusts, how old that is, and what is wrong.

use handstamp_core::offline::Ask;
use handstamp_core::time::Millis;
use std::time::Duration;

/// How a verifier is, at one moment. For a health page, a log line, a gauge.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Status {
    /// Why it does not trust itself and asks the server; `None`: it does.
    pub doubt: Option<Ask>,
    /// Whether it hears the feed.
    pub connected: bool,
    /// Up to when it knows of every revocation, by the server's clock.
    pub as_of: Option<Millis>,
    /// How long ago that was said.
    pub staleness: Option<Duration>,
    /// Where it is in the feed.
    pub position: Option<String>,
    /// How far the clock of this machine is before (positive) or behind the server's, in milliseconds. Nothing is decided by it.
    pub clock_ahead: Option<i64>,
    /// How far the server's clock was set back: for that long time stands still here, and what was over stays over.
    pub clock_held: Duration,
    /// How many revocations are held.
    pub revocations: usize,
    /// The names of the keys that are trusted.
    pub keys: Vec<String>,
    /// When the server last confirmed them, ago.
    pub keys_confirmed: Option<Duration>,
    /// How many verified signatures are kept, and how many bytes they take.
    pub signatures: (usize, usize),
    /// How many tokens the server was asked about, and how many of these questions it did not answer.
    pub asked: (u64, u64),
    /// What went wrong last, and how long ago.
    pub last_trouble: Option<(String, Duration)>,
}
