//! How large the pages of memory are. Large ones make it quick to find one of a million sessions, and a server with a few
//! sessions take twice the memory that it needs; so they are left until there is much to keep.

#[cfg(target_os = "linux")]
use rustix::thread::{disable_transparent_huge_pages, transparent_huge_pages_are_disabled};

/// From this many bytes of sessions in memory on, large pages are worth it.
pub const MANY: u64 = 64 << 20;

/// The system gives the process small pages only, until this is ended.
#[derive(Clone, Copy)]
#[must_use]
pub struct Small(());

impl Small {
    /// Asks for small pages. `None` where the system does not know of others, or somebody has ruled them out for good.
    pub fn begin() -> Option<Small> {
        #[cfg(target_os = "linux")]
        if transparent_huge_pages_are_disabled() == Ok(false) {
            return disable_transparent_huge_pages(true).ok().map(Small);
        }
        None
    }

    /// Whatever is asked for from here on may lie in large pages again.
    pub fn end(self) {
        #[cfg(target_os = "linux")]
        if let Err(error) = disable_transparent_huge_pages(false) {
            tracing::debug!(%error, "memory stays in small pages");
        }
    }
}
