//! What an operator does beside a running server: a backup, a rewrite of its file, and telling it to read its configuration again.
//! [`super::restore`] and [`super::doctor`] have files of their own.

pub use super::doctor::doctor;
use super::presence::{lock, running};
pub use super::restore::{restore, restore_in_place};
use super::store;
use crate::cli::{BackupDone, CompactDone, Failure, Progress};
use crate::config::Config;
use crate::store::sqlite::{BackupError, backup as copy, compact as rewrite};
use rustix::process::{Pid, Signal, kill_process};
use std::path::Path;

/// Copies the store, also while the server runs.
pub fn backup(config: &Config, file: &Path, progress: &dyn Progress) -> Result<BackupDone, Failure> {
    let from = store::embedded(
        config,
        "use pg_dump, or pg_basebackup with archived logs to go back to any moment; the master key goes into neither",
    )?;
    copy(&from, file, |done, total| progress.at(done, total)).map_err(|why| {
        let failure = Failure::new(why.to_string());
        match why {
            BackupError::Missing(_) => failure.help("is --data-dir the one that the server runs with?"),
            _ => failure,
        }
    })?;
    let bytes = std::fs::metadata(file).map_or(0, |m| m.len());
    Ok(BackupDone { bytes })
}

/// Rewrites the store without what was deleted, while no server runs.
pub fn compact(config: &Config) -> Result<CompactDone, Failure> {
    let path = store::embedded(
        config,
        "autovacuum frees the room of what was deleted; VACUUM FULL gives it back to the disk",
    )?;
    let size = || std::fs::metadata(&path).map_or(0, |found| found.len());
    if !path.is_file() {
        return Err(Failure::new(format!("there is no store at {}", path.display()))
            .help("is --data-dir the one that the server runs with?"));
    }
    let Some(_lock) = lock(&path)? else {
        return Err(Failure::new(format!("{} is in use: a server works on it", path.display()))
            .help("stop the server, compact, and start it again"));
    };
    let before = size();
    rewrite(&path).map_err(|why| {
        Failure::new(why.to_string()).help(
            "it takes room for two copies: beside the store, and where temporary files are made (SQLITE_TMPDIR names another place)",
        )
    })?;
    Ok(CompactDone { before, after: size() })
}

/// Tells the running server to read its configuration again.
pub fn reload(config: &Config) -> Result<(), Failure> {
    let path = store::seat(config);
    let Some(running) = running(&path) else {
        return Err(Failure::new(format!("no server works on {}", path.display()))
            .help("a server reads its configuration when it starts; is --data-dir the one it runs with?"));
    };
    let pid = running.pid.and_then(Pid::from_raw).ok_or_else(|| {
        Failure::new(format!("a server works on {}, but it is not known which process it is", path.display()))
            .help("send SIGHUP to it")
    })?;
    // In another container the number would be somebody else's.
    let name = std::fs::read_to_string(format!("/proc/{}/comm", pid.as_raw_nonzero()));
    if name.as_ref().is_ok_and(|name| name.trim() != "handstamp") || !alive(pid) {
        return Err(Failure::new(format!(
            "process {} is not the server, as far as can be seen from here",
            pid.as_raw_nonzero()
        ))
        .help("if it runs in a container of its own, send SIGHUP to it from there"));
    }
    kill_process(pid, Signal::HUP)
        .map_err(|why| Failure::new(format!("cannot send SIGHUP to process {}: {why}", pid.as_raw_nonzero())))
}

fn alive(pid: Pid) -> bool {
    !matches!(rustix::process::test_kill_process(pid), Err(rustix::io::Errno::SRCH))
}
