//! What the operating system says of this process: memory, processor time, open files.

use std::fs;

/// What a process uses.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Usage {
    /// Bytes of memory that are really there.
    pub resident_bytes: u64,
    /// Seconds of processor time, user and system together.
    pub cpu_seconds: f64,
    /// Open files and sockets.
    pub open_files: u64,
}

/// Linux counts processor time in these for everybody, whatever its own clock.
const TICKS_A_SECOND: f64 = 100.0;

/// Reads it; `None` where there is no `/proc`.
pub fn usage() -> Option<Usage> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = resident.trim().trim_end_matches("kB").trim().parse().ok()?;
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The name of the program is in brackets and may have spaces; the fields are counted from behind it.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|text| text.parse::<u32>().ok()).map(f64::from);
    Some(Usage {
        resident_bytes: kib * 1_024,
        cpu_seconds: (ticks(11)? + ticks(12)?) / TICKS_A_SECOND,
        open_files: u64::try_from(fs::read_dir("/proc/self/fd").ok()?.count()).unwrap_or(u64::MAX),
    })
}
