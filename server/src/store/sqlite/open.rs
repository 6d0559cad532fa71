//! Opening the file: made private, locked against a second server, of a version we know, and not visibly damaged.
//!
//! Opening does no full check, for it must be fast after a crash with a large file: it reads the file's header, the
//! schema and the ends of every tree. What each failure says names the file and the way out.

use super::backup::Unfinished;
use super::fault::WAY_OUT;
use super::readers::{self, Reader};
use super::schema::{APPLICATION_ID, MIGRATIONS, VERSION};
use super::writer::{Marks, Writer};
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension};
use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a lock of somebody else is waited for.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// How a store is opened.
#[derive(Clone, Debug)]
pub struct Options {
    /// Threads that read, 2 to 16; one of them takes loads only.
    pub readers: usize,
    /// The writer's page cache, in KiB; each reader has a quarter of it.
    pub cache_kib: u32,
    /// Pages (of 4 KiB) of the write-ahead log from which on it is moved into the database.
    pub checkpoint_pages: u32,
    /// The most pages (of 4 KiB) the file may grow to; beyond them the store behaves as on a full disk.
    pub most_pages: Option<u32>,
}

impl Default for Options {
    fn default() -> Options {
        Options { readers: 3, cache_kib: 8_192, checkpoint_pages: 8_000, most_pages: None }
    }
}

/// Why a store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it open.
    #[error("{} is in use: another Handstamp holds the lock {}; stop that one first, or give this one another data directory", path.display(), lock.display())]
    InUse {
        /// The database.
        path: PathBuf,
        /// The file that is locked.
        lock: PathBuf,
    },
    /// It was written by a later version of this program.
    #[error("{} was written by a newer Handstamp: it has schema version {found}, and this one knows up to {known}; start the newer Handstamp, or restore a backup of the older one", path.display())]
    Newer {
        /// The database.
        path: PathBuf,
        /// Its version.
        found: usize,
        /// The greatest version this program knows.
        known: usize,
    },
    /// It is a database, but not one of ours.
    #[error("{} is a database of another program; give Handstamp a data directory of its own", path.display())]
    Foreign {
        /// The database.
        path: PathBuf,
    },
    /// It has no bytes. A first start never leaves such a file: it names the file when it is whole.
    #[error("{} is empty: what was kept in it is lost; restore the last backup (handstamp restore FILE --replace), or, if nothing was ever kept in it, delete the file and start again", .0.display())]
    Empty(PathBuf),
    /// It cannot be read as what it should be.
    #[error("{} is damaged ({detail}); {WAY_OUT}", path.display())]
    Damaged {
        /// The database.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
    /// There is no space.
    #[error("there is no space left to write {}; make room on its disk", path.display())]
    Full {
        /// The database.
        path: PathBuf,
    },
    /// It may not be written.
    #[error("{} may not be written ({detail}); make the file and its directory writable for the user that runs Handstamp", path.display())]
    ReadOnly {
        /// The database, or what beside it cannot be written.
        path: PathBuf,
        /// What the system said.
        detail: String,
    },
    /// The system refused something else.
    #[error("could not {what} {}: {error}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What was tried.
        what: &'static str,
        /// What the system said.
        error: std::io::Error,
    },
    /// SQLite refused something else.
    #[error("could not open {}: {detail}", path.display())]
    Other {
        /// The database.
        path: PathBuf,
        /// What SQLite said.
        detail: String,
    },
}

/// All that an open store is made of.
pub(super) struct Opened {
    pub(super) lock: Lock,
    pub(super) writer: Writer,
    pub(super) readers: Vec<Reader>,
}

/// Opens, or makes, the database at `path`.
pub(super) fn open(path: &Path, options: &Options) -> Result<Opened, OpenError> {
    let lock = lock(path)?;
    let said = |error: rusqlite::Error| wording(path, &error);
    let conn = writer(path, options.cache_kib)?;
    if let Some(pages) = options.most_pages {
        conn.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |_| Ok(())).map_err(said)?;
    }
    let marks = first_look(path, &conn)?;
    let mut readers = Vec::new();
    for _ in 0..options.readers.clamp(2, 16) {
        let conn = connect(path).map_err(said)?;
        conn.pragma_update(None, "cache_size", -i64::from(options.cache_kib / 4)).map_err(said)?;
        conn.pragma_update(None, "query_only", true).map_err(said)?;
        readers::Statements::new(&conn).map_err(said)?;
        readers.push(Reader { conn, path: path.to_owned() });
    }
    super::apply::Statements::new(&conn).map_err(said)?;
    let writer = Writer { conn, path: path.to_owned(), marks, checkpoint_at: options.checkpoint_pages };
    Ok(Opened { lock, writer, readers })
}

/// A connection that writes to the database at `path`, which is made or lifted to our version before. To be called by who
/// holds the lock.
pub(super) fn writer(path: &Path, cache_kib: u32) -> Result<Connection, OpenError> {
    create(path)?;
    let said = |error: rusqlite::Error| wording(path, &error);
    let mut conn = connect(path).map_err(said)?;
    conn.pragma_update(None, "cache_size", -i64::from(cache_kib)).map_err(said)?;
    recognize(path, &conn)?;
    let mode: String = conn.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0)).map_err(said)?;
    if mode != "wal" {
        let detail = format!("its disk allows no write-ahead log, only `{mode}`");
        return Err(OpenError::Other { path: path.to_owned(), detail });
    }
    conn.execute_batch(
        "PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 0; PRAGMA journal_size_limit = 67108864;
         PRAGMA secure_delete = ON",
    )
    .map_err(said)?;
    migrate(&mut conn).map_err(said)?;
    Ok(conn)
}

/// A connection that reads the database at `path`, whoever works on it.
pub(super) fn onlooker(path: &Path) -> Result<Connection, OpenError> {
    let said = |error: rusqlite::Error| wording(path, &error);
    let conn = connect(path).map_err(said)?;
    conn.pragma_update(None, "query_only", true).map_err(said)?;
    recognize(path, &conn)?;
    Ok(conn)
}

/// The lock file's path: beside the database, never deleted (who deletes it lets two servers in).
fn lock_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    PathBuf::from(name)
}

/// The lock on the file, for as long as this lives.
pub(super) struct Lock(File);

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing alone is not enough: a process that is just being started has a copy of the handle until it runs its
        // own program, and would hold the lock for as long. If this fails, the end of all copies still gives it back.
        let _ = self.0.unlock();
    }
}

pub(super) fn lock(path: &Path) -> Result<Lock, OpenError> {
    let lock = lock_path(path);
    let io = |what, error| OpenError::Io { path: lock.clone(), what, error };
    let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&lock);
    let file = file.map_err(|error| match error.kind() {
        std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::ReadOnlyFilesystem => {
            OpenError::ReadOnly { path: lock.clone(), detail: error.to_string() }
        }
        std::io::ErrorKind::StorageFull => OpenError::Full { path: lock.clone() },
        _ => io("open the lock", error),
    })?;
    match file.try_lock() {
        Ok(()) => Ok(Lock(file)),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse { path: path.to_owned(), lock }),
        Err(TryLockError::Error(error)) => Err(io("lock", error)),
    }
}

/// The directory that a file lies in.
pub fn directory(path: &Path) -> &Path {
    path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Makes the store under another name and gives it its own when it is whole, so that a first start that is killed leaves
/// no store, and an empty file is always one that was lost.
fn create(path: &Path) -> Result<(), OpenError> {
    match std::fs::metadata(path) {
        Ok(found) if found.len() == 0 => return Err(OpenError::Empty(path.to_owned())),
        Ok(_) => return Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(unmade(path, error)),
    }
    let unfinished = Unfinished::new(path, ".new").map_err(|error| unmade(path, error))?;
    let said = |error: rusqlite::Error| wording(path, &error);
    let mut conn = connect(&unfinished.0).map_err(said)?;
    // The order matters: the size of pages is only heeded before the first of them is written.
    conn.pragma_update(None, "page_size", 4_096).map_err(said)?;
    migrate(&mut conn).map_err(said)?;
    conn.close().map_err(|(_, error)| said(error))?;
    std::fs::rename(&unfinished.0, path).map_err(|error| unmade(path, error))?;
    let directory = directory(path);
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(|error| unmade(path, error))
}

fn unmade(path: &Path, error: std::io::Error) -> OpenError {
    match error.kind() {
        std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::ReadOnlyFilesystem => {
            OpenError::ReadOnly { path: path.to_owned(), detail: error.to_string() }
        }
        std::io::ErrorKind::StorageFull => OpenError::Full { path: path.to_owned() },
        _ => OpenError::Io { path: path.to_owned(), what: "make", error },
    }
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    // No NO_CREATE surprises: the file is there. Each connection stays on one thread, so SQLite need not lock it.
    let conn = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    // Only a backup's first moment, or a recovery, ever locks us out.
    conn.busy_timeout(PATIENCE)?;
    Ok(conn)
}

/// Whether the file is new, or ours and of a version we know.
fn recognize(path: &Path, conn: &Connection) -> Result<(), OpenError> {
    let said = |error: rusqlite::Error| wording(path, &error);
    let number = |sql| conn.query_row(sql, [], |row| row.get::<_, i32>(0)).map_err(said);
    let (id, version) = (number("PRAGMA application_id")?, number("PRAGMA user_version")?);
    let tables = number("SELECT count(*) FROM sqlite_schema")?;
    if tables == 0 && id == 0 {
        return Ok(());
    }
    if id != APPLICATION_ID {
        return Err(OpenError::Foreign { path: path.to_owned() });
    }
    match usize::try_from(version) {
        Ok(found) if found > VERSION => {
            Err(OpenError::Newer { path: path.to_owned(), found, known: VERSION })
        }
        Ok(_) => Ok(()),
        Err(_) => {
            Err(OpenError::Damaged { path: path.to_owned(), detail: "its version is below zero".to_owned() })
        }
    }
}

/// Lifts the file to our version, each step in a transaction with the number that says so.
fn migrate(conn: &mut Connection) -> rusqlite::Result<()> {
    loop {
        let step = conn.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        let version: i32 = step.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        let Some(sql) = usize::try_from(version).ok().and_then(|version| MIGRATIONS.get(version)) else {
            return Ok(());
        };
        step.execute_batch(sql)?;
        step.pragma_update(None, "application_id", APPLICATION_ID)?;
        step.pragma_update(None, "user_version", version.saturating_add(1))?;
        step.commit()?;
    }
}

/// Reads both ends of every tree, and the marks. A file that lost its end, or a tree whose root is gone, shows here.
pub(super) fn first_look(path: &Path, conn: &Connection) -> Result<Marks, OpenError> {
    let said = |error: rusqlite::Error| wording(path, &error);
    let damaged = |detail: &str| OpenError::Damaged { path: path.to_owned(), detail: detail.to_owned() };
    for sql in [
        "SELECT n FROM records ORDER BY n LIMIT 1",
        "SELECT n FROM records ORDER BY n DESC LIMIT 1",
        "SELECT key FROM records ORDER BY key LIMIT 1",
        "SELECT key FROM records ORDER BY key DESC LIMIT 1",
        "SELECT forget_at FROM records WHERE forget_at IS NOT NULL ORDER BY forget_at DESC LIMIT 1",
        "SELECT id FROM facets ORDER BY place, value, id LIMIT 1",
        "SELECT id FROM facets ORDER BY place DESC, value DESC, id DESC LIMIT 1",
        "SELECT body FROM events ORDER BY position LIMIT 1",
        "SELECT subject FROM events ORDER BY subject DESC LIMIT 1",
        "SELECT position FROM events ORDER BY substr(subject, 2, 8) DESC LIMIT 1",
        "SELECT key FROM orphans ORDER BY at DESC, key DESC LIMIT 1",
        "SELECT position FROM hours ORDER BY hour LIMIT 1",
    ] {
        conn.query_row(sql, [], |_| Ok(())).optional().map_err(said)?;
    }
    let size =
        conn.query_row("PRAGMA page_size", [], |row| row.get::<_, i64>(0)).map_err(said)?.unsigned_abs();
    let pages: u64 =
        conn.query_row("PRAGMA page_count", [], |row| row.get::<_, i64>(0)).map_err(said)?.unsigned_abs();
    let length = |path: &Path| std::fs::metadata(path).map_or(0, |file| file.len());
    let mut wal = path.as_os_str().to_owned();
    wal.push("-wal");
    // With a log beside it the file may rightly be shorter than its header says.
    if length(Path::new(&wal)) == 0 && length(path) < pages.saturating_mul(size) {
        return Err(damaged("its end is missing"));
    }
    let mark = |name: &[u8]| {
        let sql = "SELECT value FROM counters WHERE name = ?1";
        conn.query_row(sql, [name], |row| row.get::<_, i64>(0)).optional().map_err(said)
    };
    let (floor, position) = (mark(b"floor")?.unwrap_or(0), mark(b"position")?.unwrap_or(0));
    let last: Option<i64> =
        conn.query_row("SELECT max(position) FROM events", [], |row| row.get(0)).map_err(said)?;
    if position < 0 || last.is_some_and(|last| last > position) {
        return Err(damaged("its events and their counter disagree"));
    }
    let hour: Option<i64> =
        conn.query_row("SELECT max(hour) FROM hours", [], |row| row.get(0)).map_err(said)?;
    Ok(Marks { floor, position, hour: hour.unwrap_or(i64::MIN) })
}

/// SQLite's error, in a sentence with a way out.
fn wording(path: &Path, error: &rusqlite::Error) -> OpenError {
    let path = path.to_owned();
    let detail = error.to_string();
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => OpenError::Damaged { path, detail },
        Some(ErrorCode::DiskFull) => OpenError::Full { path },
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied | ErrorCode::CannotOpen) => {
            OpenError::ReadOnly { path, detail }
        }
        _ => OpenError::Other { path, detail },
    }
}
