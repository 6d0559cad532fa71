//! Copying the database while it is used, also from another process: a consistent snapshot in one private file.
//!
//! The copy holds one read transaction from first page to last. Without it SQLite would begin anew whenever the server
//! writes, and under load never end. The server's write-ahead log grows for as long as the copy takes, and shrinks
//! afterwards.

use super::fault::{WAY_OUT, fault, sentence};
use super::schema::{APPLICATION_ID, VERSION};
use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, ErrorCode, OpenFlags};
use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How many pages (of 4 KiB) are copied between two calls of `progress`.
const STEP: i32 = 1_024;

/// Why a backup was not made, or is not good.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// There is a file of that name.
    #[error("{} exists; a backup never overwrites: choose another name", .0.display())]
    Exists(PathBuf),
    /// There is no database to copy.
    #[error("there is no database at {}", .0.display())]
    Missing(PathBuf),
    /// It is no backup of ours.
    #[error("{} is not a backup of Handstamp: {detail}", path.display())]
    Foreign {
        /// Which file.
        path: PathBuf,
        /// What it is instead.
        detail: String,
    },
    /// It is damaged.
    #[error("{} is damaged ({detail}); use another backup", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
    /// The system refused something.
    #[error("could not {what} {}: {error}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What was tried.
        what: &'static str,
        /// What the system said.
        error: std::io::Error,
    },
    /// It could not be read, and so nothing is known of it.
    #[error("{0}")]
    Unread(String),
    /// SQLite refused something.
    #[error("{0}")]
    Store(String),
}

/// Copies the database at `from` into the new file `to` (mode 0600). Works while a server uses it, from any process that
/// may read and write its files. `progress` hears pages done and pages in all.
///
/// A restore is the same the other way: the verified backup is copied to where no database is.
///
/// What is there under the name `to` is complete and on disk, or is not there at all.
///
/// # Errors
/// A sentence that names the file.
pub fn backup(from: &Path, to: &Path, mut progress: impl FnMut(u64, u64)) -> Result<(), BackupError> {
    if !from.is_file() {
        return Err(BackupError::Missing(from.to_owned()));
    }
    // The log of another database under that name would be taken for a part of the copy.
    for end in ["", "-wal", "-shm", "-journal"] {
        let mut name = to.as_os_str().to_owned();
        name.push(end);
        if Path::new(&name).symlink_metadata().is_ok() {
            return Err(BackupError::Exists(name.into()));
        }
    }
    let unfinished = Unfinished::new(to, ".unfinished").map_err(|error| BackupError::Io {
        path: to.to_owned(),
        what: "make",
        error,
    })?;
    copy(from, &unfinished.0, &mut progress)?;
    let io = |what| move |error| BackupError::Io { path: to.to_owned(), what, error };
    File::open(&unfinished.0).and_then(|file| file.sync_all()).map_err(io("write"))?;
    // A link, not a rename: it fails when somebody made a file of that name meanwhile.
    match std::fs::hard_link(&unfinished.0, to) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            return Err(BackupError::Exists(to.to_owned()));
        }
        // Some disks know no links.
        Err(_) if to.symlink_metadata().is_err() => std::fs::rename(&unfinished.0, to).map_err(io("name"))?,
        Err(_) => return Err(BackupError::Exists(to.to_owned())),
    }
    drop(unfinished);
    let directory = to.parent().filter(|path| !path.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(io("write the directory of"))
}

/// Reads a backup from end to end and compares every index with its table. Takes long for a large file.
///
/// # Errors
/// What is wrong with it.
pub fn verify_backup(path: &Path) -> Result<(), BackupError> {
    match std::fs::metadata(path) {
        // SQLite takes no bytes for a new database.
        Ok(found) if found.is_file() && found.len() == 0 => {
            return Err(BackupError::Damaged { path: path.to_owned(), detail: "it is empty".to_owned() });
        }
        Ok(found) if found.is_file() => {}
        Err(error) if error.kind() != ErrorKind::NotFound => {
            return Err(BackupError::Io { path: path.to_owned(), what: "look at", error });
        }
        _ => return Err(BackupError::Missing(path.to_owned())),
    }
    let damaged = |detail: String| BackupError::Damaged { path: path.to_owned(), detail };
    // What keeps SQLite from reading is no damage: a file that may not be read is whole, for all that is known of it.
    let said = |error: rusqlite::Error| match error.sqlite_error_code() {
        Some(
            ErrorCode::CannotOpen
            | ErrorCode::ReadOnly
            | ErrorCode::PermissionDenied
            | ErrorCode::SystemIoFailure
            | ErrorCode::DiskFull
            | ErrorCode::DatabaseBusy
            | ErrorCode::DatabaseLocked
            | ErrorCode::OutOfMemory,
        ) => BackupError::Unread(sentence(path, &error)),
        _ => damaged(error.to_string()),
    };
    // SQLite would only say that it cannot open it; the system says why.
    File::open(path).map_err(|error| BackupError::Io { path: path.to_owned(), what: "read", error })?;
    let conn = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).map_err(said)?;
    let number = |sql| conn.query_row(sql, [], |row| row.get::<_, i64>(0)).map_err(said);
    if number("PRAGMA application_id")? != i64::from(APPLICATION_ID) {
        let detail = "it is a database of another program".to_owned();
        return Err(BackupError::Foreign { path: path.to_owned(), detail });
    }
    let version = number("PRAGMA user_version")?;
    if usize::try_from(version).is_ok_and(|version| version > VERSION) {
        let detail = format!("it has schema version {version}, and this program knows up to {VERSION}");
        return Err(BackupError::Foreign { path: path.to_owned(), detail });
    }
    let found: String = conn.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0)).map_err(said)?;
    if found != "ok" {
        return Err(damaged(found));
    }
    // What SQLite cannot know: every facet in the index has its record.
    let lost = "SELECT count(*) FROM (SELECT 1 FROM facets WHERE NOT EXISTS
        (SELECT 1 FROM records WHERE key = CAST(substr(place, 1, 9) || id AS BLOB)) LIMIT 1)";
    if number(lost)? != 0 {
        Err(damaged(format!("an index names a record that is not there; {WAY_OUT}")))
    } else {
        Ok(())
    }
}

fn copy(from: &Path, to: &Path, progress: &mut impl FnMut(u64, u64)) -> Result<(), BackupError> {
    let reading = |error: rusqlite::Error| BackupError::Store(fault(from, &error).to_string());
    let writing = |error: rusqlite::Error| BackupError::Store(fault(to, &error).to_string());
    let source = Connection::open_with_flags(from, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(reading)?;
    source.busy_timeout(Duration::from_secs(5)).map_err(reading)?;
    source.execute_batch("BEGIN").map_err(reading)?;
    source.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(())).map_err(reading)?;
    let mut target = Connection::open_with_flags(to, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(writing)?;
    // It is synced once, whole, before it gets its name.
    target.execute_batch("PRAGMA synchronous = OFF").map_err(writing)?;
    {
        let copy = Backup::new(&source, &mut target).map_err(writing)?;
        loop {
            let step = copy.step(STEP).map_err(writing)?;
            let now = copy.progress();
            let pages = |n: i32| u64::try_from(n).unwrap_or(0);
            progress(pages(now.pagecount.saturating_sub(now.remaining)), pages(now.pagecount));
            match step {
                StepResult::Done => break,
                StepResult::More => {}
                _ => {
                    return Err(BackupError::Store(format!(
                        "another program holds a lock on {}",
                        from.display()
                    )));
                }
            }
        }
    }
    // One file without a log beside it.
    target.query_row("PRAGMA journal_mode = DELETE", [], |_| Ok(())).map_err(writing)?;
    target.close().map_err(|(_, error)| writing(error))
}

/// A file under a temporary name, removed unless it got its own. It is made before SQLite opens it, so that it is private
/// from its first moment; SQLite gives the files beside it the same mode.
pub(super) struct Unfinished(pub(super) PathBuf);

impl Unfinished {
    pub(super) fn new(to: &Path, suffix: &str) -> std::io::Result<Unfinished> {
        let mut name = to.as_os_str().to_owned();
        name.push(suffix);
        let unfinished = Unfinished(name.into());
        // What a crash left behind is nobody's.
        unfinished.remove();
        OpenOptions::new().create_new(true).write(true).mode(0o600).open(&unfinished.0)?;
        Ok(unfinished)
    }

    fn remove(&self) {
        for suffix in ["", "-journal", "-wal", "-shm"] {
            let mut name = self.0.as_os_str().to_owned();
            name.push(suffix);
            let _ = std::fs::remove_file(name);
        }
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        // After success this is only the second name.
        self.remove();
    }
}
