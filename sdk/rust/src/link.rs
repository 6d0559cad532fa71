//! What is known of the server at this moment, in one value that is replaced as a whole: who looks takes no lock.

use crate::verdict::Trouble;
use handstamp_core::offline::clock::{Reading, ServerTime, Tick};

/// The state of the feed.
#[derive(Clone, Default)]
pub(crate) struct Link {
    /// The server's time, once it was heard of.
    pub(crate) time: Option<ServerTime>,
    /// Both clocks of this machine when it was heard of last.
    pub(crate) read: Option<Reading>,
    /// Whether every revocation up to then is held.
    pub(crate) whole: bool,
    /// Whether the stream is open and has told where it is.
    pub(crate) connected: bool,
    /// From where to go on; `None`: from the beginning.
    pub(crate) position: Option<String>,
    /// What went wrong last, and when.
    pub(crate) trouble: Option<(Trouble, Tick)>,
}
