//! Who works on a store: the lock beside it says whether anybody does, and a small file beside that who and where.
//!
//! The file alone proves nothing, for a process that was killed leaves it behind; it counts only while the lock is held.

use super::files::cannot;
use crate::cli::Failure;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// A server that works on a store.
pub struct Running {
    /// Its process, when it said so.
    pub pid: Option<i32>,
    /// Where it listens, when it said so.
    pub url: Option<String>,
}

/// A file's path with something added to its name.
pub fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Takes the lock that a server holds while it works on the store at `path`; `None` while one does.
pub fn lock(path: &Path) -> Result<Option<File>, Failure> {
    let name = beside(path, ".lock");
    let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&name);
    let file = file.map_err(|why| cannot("open the lock", &name, &why))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(why)) => Err(cannot("lock", &name, &why)),
    }
}

/// The server that works on the store at `path`. Changes nothing.
pub fn running(path: &Path) -> Option<Running> {
    let lock = File::open(beside(path, ".lock")).ok()?;
    match lock.try_lock_shared() {
        Err(TryLockError::WouldBlock) => {}
        Ok(()) | Err(TryLockError::Error(_)) => return None,
    }
    let text = std::fs::read_to_string(beside(path, ".run")).unwrap_or_default();
    let mut lines = text.lines();
    let pid = lines.next().and_then(|line| line.parse().ok()).filter(|pid| *pid > 1);
    Some(Running { pid, url: lines.next().map(str::to_owned) })
}

/// Says who works on the store; taken back when it is dropped.
pub struct Announced(PathBuf);

impl Announced {
    /// To be called by who holds the lock.
    ///
    /// # Errors
    /// Of the file system.
    pub fn new(path: &Path, url: &str) -> std::io::Result<Announced> {
        let (name, new) = (beside(path, ".run"), beside(path, ".run.new"));
        let _ = std::fs::remove_file(&new);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
        writeln!(file, "{}\n{url}", std::process::id())?;
        std::fs::rename(&new, &name)?;
        Ok(Announced(name))
    }
}

impl Drop for Announced {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
