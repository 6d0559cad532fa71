//! Backup, restore, doctor, reload: what an operator does beside a running server.

use super::files;
use crate::cli::{BackupDone, Failure, Finding, Progress, RestoreDone, RestoreOptions};
use crate::config::Config;
use crate::store::sqlite::backup as copy;
use std::path::Path;

/// Copies the store, also while the server runs.
pub fn backup(config: &Config, file: &Path, progress: &dyn Progress) -> Result<BackupDone, Failure> {
    let from = files::database(config)?;
    copy(&from, file, |done, total| progress.at(done, total)).map_err(|why| Failure::new(why.to_string()))?;
    let bytes = std::fs::metadata(file).map_or(0, |m| m.len());
    Ok(BackupDone { bytes })
}

/// Puts a backup in the place of the store.
pub fn restore(
    _config: &Config,
    _file: &Path,
    _options: RestoreOptions,
    _progress: &dyn Progress,
) -> Result<RestoreDone, Failure> {
    Err(Failure::new("restore is being built"))
}

/// Looks at the installation.
pub fn doctor(_config: &Config) -> Result<Vec<Finding>, Failure> {
    Ok(Vec::new())
}

/// Tells the running server to read its configuration again.
pub fn reload(_config: &Config) -> Result<(), Failure> {
    Err(Failure::new("send SIGHUP to the server"))
}
