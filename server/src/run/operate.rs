//! What an operator does beside a running server: a backup, and telling it to read its configuration again.
//! [`super::restore`] and [`super::doctor`] have files of their own.

pub use super::doctor::doctor;
use super::files;
use super::presence::running;
pub use super::restore::restore;
use crate::cli::{BackupDone, Failure, Progress};
use crate::config::Config;
use crate::store::sqlite::{BackupError, backup as copy};
use rustix::process::{Pid, Signal, kill_process};
use std::path::Path;

/// Copies the store, also while the server runs.
pub fn backup(config: &Config, file: &Path, progress: &dyn Progress) -> Result<BackupDone, Failure> {
    let from = files::database(config)?;
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

/// Tells the running server to read its configuration again.
pub fn reload(config: &Config) -> Result<(), Failure> {
    let path = files::database(config)?;
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
