//! What is true of the embedded store alone: its file, its plans, its faults, its speed.

mod backups;
mod full_disk;
mod kills;
mod measure;
mod opening;
mod plans;
mod syncs;

use crate::binary::eventually;
use handstamp_server::store::sqlite::{OpenError, Options, Sqlite};
use std::path::Path;

/// Opens a store that was closed just now. A child that another test starts in this moment holds a copy of its lock from
/// fork to exec, which is no second server.
fn reopened(path: &Path) -> Result<Sqlite, OpenError> {
    eventually("that the lock is free", || match Sqlite::open(path, &Options::default()) {
        Err(OpenError::InUse { .. }) => None,
        opened => Some(opened),
    })
}
