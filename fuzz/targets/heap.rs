//! How much a reader may take of the memory: a body of a few bytes that names a huge number must not be believed.

use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use std::alloc::System;

#[global_allocator]
static HEAP: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Runs `read` on `body`. All that it ever asked for, growing included, is in proportion to the body: the worst is a
/// list, of which one byte can become a value of 16 bytes or more.
pub fn bounded<T>(body: &[u8], read: impl FnOnce(&[u8]) -> T) -> T {
    bounded_by(4_096, 64, body, read)
}

/// The same where a value is larger whatever it says: at most `fixed` bytes, and `each` for each byte of the body.
pub fn bounded_by<T>(fixed: usize, each: usize, body: &[u8], read: impl FnOnce(&[u8]) -> T) -> T {
    let region = Region::new(HEAP);
    let value = read(body);
    let taken = region.change().bytes_allocated;
    assert!(taken <= fixed + each * body.len(), "{taken} bytes for a body of {}", body.len());
    value
}
