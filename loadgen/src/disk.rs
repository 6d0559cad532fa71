//! What one durable write costs on this disk, without anybody's server: append 4 KiB, fdatasync, again.
//!
//! A durable create cannot be faster than this, so its latency is judged as a multiple of it, measured in the same
//! folder and the same minute.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::Result;
use crate::stats::percentile;

/// Nanoseconds of `rounds` appends with fdatasync in `folder`: p50 and p99.
///
/// # Errors
/// When the folder is not writable.
pub(crate) fn probe(folder: &Path, rounds: usize) -> Result<(f64, f64)> {
    let path = folder.join("fdatasync.probe");
    let mut file = OpenOptions::new().create(true).truncate(true).write(true).open(&path)?;
    let page = [0x5A_u8; 4096];
    let mut spent = Vec::with_capacity(rounds);
    for _ in 0..rounds {
        let start = Instant::now();
        file.write_all(&page)?;
        file.sync_data()?;
        spent.push(nanos(start.elapsed()));
    }
    drop(file);
    fs::remove_file(&path)?;
    spent.sort_unstable();
    Ok((percentile(&spent, 500), percentile(&spent, 990)))
}

/// Nanoseconds in 32 bits; what takes longer than 4.29 s counts as that.
pub(crate) fn nanos(duration: Duration) -> u32 {
    u32::try_from(duration.as_nanos()).unwrap_or(u32::MAX)
}
