//! A backup takes the place of the store: checked, copied and prepared beside it first, and then put in its place in one
//! step, so that at every moment there is either the old store or the new one, whole.
//!
//! Or it has its place already, because a database has tools of its own for that: then it is prepared where it is.

use super::files::{self, cannot};
use super::master_key::{is_unfinished, settle};
use super::presence::{beside, lock};
use super::serve::setup;
use super::store::{self, Opened, Place};
use crate::app::keeper::is_kept;
use crate::app::open::{OpenError, Setup};
use crate::app::{App, Stop};
use crate::cli::{Failure, Progress, RestoreDone, RestoreOptions};
use crate::config::Config;
use crate::host::clock::{Clock, SystemClock};
use crate::host::entropy::SystemEntropy;
use crate::store::Store;
use crate::store::sqlite::{Options, Sqlite, directory, fold_log, verify_backup};
use handstamp_core::token::keyring::MasterKey;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Why all sessions of a backup are ended, as their history says it.
const REASON: &str = "restored from a backup";

/// Puts a backup in the place of the store.
pub fn restore(
    config: &Config,
    file: &Path,
    options: RestoreOptions,
    progress: &dyn Progress,
) -> Result<RestoreDone, Failure> {
    let path = store::embedded(
        config,
        "put a backup back with its tools (pg_restore) while no node runs; then `handstamp restore --in-place` ends what must not come back \
         with it, and then the nodes may start",
    )?;
    let made = Made::before(&config.server.data_dir, &path);
    // A directory that is not there has nothing to protect, and is made only for a restore that can be.
    let mut _lock = if made.is_needed() { None } else { Some(take(&path)?) };
    if path.exists() && !options.replace {
        return Err(Failure::new(format!("there is a store at {} already", path.display()))
            .help("with --replace it is put aside, not deleted"));
    }
    if is_unfinished(config) {
        return Err(Failure::new(
            "a change of the master key was cut short, and the store says which key is its own",
        )
        .help("start the server once, which finishes it, and stop it again; then restore"));
    }
    verify_backup(file).map_err(|why| Failure::new(why.to_string()))?;
    let master = master_key(config, file)?;
    if made.is_needed() {
        files::data_dir(config)?;
        _lock = Some(take(&path)?);
    }
    let owner = Owner::of(&path)?;
    let staged = Staged(beside(&path, ".restoring"));
    staged.remove();
    copy(file, &staged.0, &owner, progress)?;
    prepare(config, file, &staged.0, master, options.keep_sessions)?;
    sync(&staged.0).map_err(|why| cannot("write", &staged.0, &why))?;
    put_in_place(&path, &staged.0)?;
    let bytes = fs::metadata(&path).map_or(0, |m| m.len());
    Ok(RestoreDone { bytes })
}

/// The lock, which stays behind and must be the server's own: a lock that it may not open keeps it out.
fn take(path: &Path) -> Result<File, Failure> {
    let name = beside(path, ".lock");
    let fresh = !name.exists();
    let Some(lock) = lock(path)? else {
        return Err(Failure::new(format!("{} is in use: a server works on it", path.display()))
            .help("stop the server, restore, and start it again"));
    };
    if fresh && let Err(why) = Owner::of(path).and_then(|owner| owner.give(&lock, path)) {
        let _ = fs::remove_file(&name);
        return Err(why);
    }
    Ok(lock)
}

/// To whom restored files belong: to whom the store belongs that is replaced, else to whom the directory belongs. Who
/// restores is often root, and the server is not.
pub(super) struct Owner {
    user: u32,
    group: u32,
}

impl Owner {
    pub(super) fn of(path: &Path) -> Result<Owner, Failure> {
        let place = if path.exists() { path } else { directory(path) };
        let found = fs::metadata(place).map_err(|why| cannot("look at", place, &why))?;
        Ok(Owner { user: found.uid(), group: found.gid() })
    }

    /// The same of a file that was just made.
    pub(super) fn give_path(&self, path: &Path) -> Result<(), Failure> {
        let file = File::open(path).map_err(|why| cannot("look at", path, &why))?;
        self.give(&file, path)
    }

    /// Gives away what was just made for the store at `path`.
    fn give(&self, file: &File, path: &Path) -> Result<(), Failure> {
        let now = file.metadata().map_err(|why| cannot("look at", path, &why))?;
        if (now.uid(), now.gid()) == (self.user, self.group) {
            return Ok(());
        }
        fchown(file, Some(self.user), Some(self.group)).map_err(|why| {
            let Owner { user, group } = self;
            Failure::new(format!(
                "{} belongs to user {user} and group {group}, and what is restored cannot be given to them: {why}",
                path.display()
            ))
            .help("restore as that user, or as root; nothing was changed")
        })
    }
}

/// A directory that was not there before, taken away again unless a store was put into it.
struct Made {
    missing: Vec<PathBuf>,
    store: PathBuf,
}

impl Made {
    /// Which directories making `dir` for the store at `path` would make, the innermost first.
    fn before(dir: &Path, path: &Path) -> Made {
        let named = dir.ancestors().filter(|dir| !dir.as_os_str().is_empty());
        let missing = named.take_while(|dir| !dir.exists()).map(Path::to_path_buf).collect();
        Made { missing, store: path.to_owned() }
    }
    fn is_needed(&self) -> bool {
        !self.missing.is_empty()
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        if self.missing.is_empty() || self.store.exists() {
            return;
        }
        let _ = fs::remove_file(beside(&self.store, ".lock"));
        // The first that holds anything else ends it.
        let _ = self.missing.iter().try_for_each(fs::remove_dir);
    }
}

/// It is not in a backup, so it must be here.
fn master_key(config: &Config, file: &Path) -> Result<MasterKey, Failure> {
    files::master_key(config, files::Store::There, &SystemEntropy).map_err(|why| match &config.server.master_key {
        crate::config::server::MasterKey::Made(place) if !place.exists() => Failure::new(format!(
            "there is no master key at {}, and none is in a backup",
            place.display()
        ))
        .help(format!(
            "put the master.key there that {} was made with; without it no session and no access key in it can be \
             recognised. Is {} the server's directory? --data-dir names another",
            file.display(),
            config.server.data_dir.display()
        )),
        _ => why,
    })
}

/// The copy under another name, removed unless it got the store's.
struct Staged(PathBuf);

impl Staged {
    fn remove(&self) {
        for suffix in ["", "-wal", "-shm", ".lock"] {
            let _ = fs::remove_file(beside(&self.0, suffix));
        }
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        self.remove();
    }
}

fn copy(from: &Path, to: &Path, owner: &Owner, progress: &dyn Progress) -> Result<(), Failure> {
    let mut source = File::open(from).map_err(|why| cannot("read", from, &why))?;
    let total = source.metadata().map_err(|why| cannot("read", from, &why))?.len();
    let mut target = OpenOptions::new()
        .create_new(true)
        .write(true)
        .mode(0o600)
        .open(to)
        .map_err(|why| cannot("make", to, &why))?;
    // SQLite gives the files that it makes beside it to the same owner.
    owner.give(&target, to)?;
    let mut buffer = vec![0; 1 << 20];
    let mut done = 0;
    loop {
        let count = match source.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(why) if why.kind() == ErrorKind::Interrupted => continue,
            Err(why) => return Err(cannot("read", from, &why)),
        };
        let piece = buffer.get(..count).unwrap_or_default();
        target.write_all(piece).map_err(|why| match why.kind() {
            ErrorKind::StorageFull => {
                Failure::new(format!("there is no space left to write {}", to.display()))
                    .help("make room on its disk; the store is as it was")
            }
            _ => cannot("write", to, &why),
        })?;
        done += u64::try_from(count).unwrap_or(0);
        progress.at(done, total);
    }
    Ok(())
}

/// Opens the copy, which shows whether the master key is its own, and ends all of its sessions.
fn prepare(
    config: &Config,
    file: &Path,
    staged: &Path,
    master: MasterKey,
    keep_sessions: bool,
) -> Result<(), Failure> {
    let name = file.display().to_string();
    threads()?.block_on(async {
        let store = Sqlite::open(staged, &Options::default()).map_err(|why| Failure::new(why.to_string()))?;
        let store: Arc<dyn Store> = Arc::new(store);
        store::not_moved(&*store, &name).await?;
        let clock = Arc::new(SystemClock::default());
        let outcome = begin_anew(setup(config, store.clone(), clock, master), &name, keep_sessions).await;
        store.close().await;
        outcome
    })?;
    match fs::metadata(beside(staged, "-wal")) {
        Ok(log) if log.len() > 0 => Err(Failure::new(format!("{} could not be finished", staged.display()))),
        _ => Ok(()),
    }
}

/// The configured store was put back to an earlier moment by tools of its own: what must not come back with it is ended.
/// What it is called.
///
/// # Errors
/// A node is at work on it, or it is none, or does not answer.
pub fn restore_in_place(config: &Config, keep_sessions: bool) -> Result<String, Failure> {
    let place = Place::of(config)?;
    if let Place::File(path) = &place
        && !path.is_file()
    {
        return Err(Failure::new(format!("there is no store at {}", path.display()))
            .help("is --data-dir the one that the server runs with?"));
    }
    let master = files::master_key(config, files::Store::There, &SystemEntropy)?;
    // The lock of a shared store is in the data directory, and the machine at hand need not have run a node.
    let seat = store::seat(config);
    let _made = Made::before(directory(&seat), &seat);
    if matches!(place, Place::Postgres(_)) {
        files::data_dir(config)?;
    }
    threads()?.block_on(async {
        let opened = store::open_alone(config, &place)
            .await
            .map_err(|why| why.help("stop every node, put the store back, run this, and start them again"))?;
        let outcome = in_place(config, &opened, master, keep_sessions).await;
        opened.store.close().await;
        outcome.map(|()| opened.name.clone())
    })
}

async fn in_place(
    config: &Config,
    opened: &Opened,
    master: MasterKey,
    keep_sessions: bool,
) -> Result<(), Failure> {
    let (store, name) = (&opened.store, &opened.name);
    let master = settle(&**store, config, master).await?;
    // It would go on with what it remembers, and tell positions that are no longer true.
    let kept = is_kept(&**store, opened.now().await?).await;
    if kept.map_err(|why| Failure::new(format!("{name}: {why}")))? {
        return Err(Failure::new(format!("a node is at work on {name}, or was in the last ten seconds"))
            .help("stop every node first; nothing was changed"));
    }
    begin_anew(setup(config, store.clone(), opened.clock(), master), name, keep_sessions).await
}

/// No token that anybody holds is good any more, and, unless they are kept, no session.
async fn begin_anew(setup: Setup, name: &str, keep_sessions: bool) -> Result<(), Failure> {
    let done = async |app: App| {
        if !keep_sessions {
            app.end_everything(REASON).await?;
        }
        app.replace_token_keys().await
    };
    match App::open(setup, || Err(OpenError::Prepared)).await {
        Ok((app, _)) => done(app).await.map_err(|stop| match stop {
            Stop::Fault(fault) => Failure::new(format!("{name}: {fault}")),
            Stop::Refused(_) => Failure::new("the sessions of the backup could not be ended"),
        }),
        Err(OpenError::WrongMasterKey) => {
            Err(Failure::new(format!("{name} was made with another master key than the one given")).help(
                "give the master.key that belongs to this backup (after `handstamp master-key rotate`, the one before is in \
                 master.key.old); nothing was changed",
            ))
        }
        Err(OpenError::Prepared) => {
            Err(Failure::new(format!("{name} is empty: it was copied before a first start")))
        }
        Err(OpenError::Fault(why)) => Err(Failure::new(format!("{name}: {why}"))),
    }
}

fn threads() -> Result<tokio::runtime::Runtime, Failure> {
    let built = tokio::runtime::Builder::new_current_thread().enable_all().build();
    built.map_err(|why| Failure::new(format!("cannot start threads: {why}")))
}

/// The old store gets a second name, and then the new one its own.
fn put_in_place(path: &Path, staged: &Path) -> Result<(), Failure> {
    if path.exists() {
        // What the old one has in its log goes into its file, if that can be read at all.
        if let Err(why) = fold_log(path) {
            tracing::warn!(%why, "the old store is put aside as it is");
        }
        let now = SystemClock::default().now().to_string().replace([':', '.'], "-");
        let aside = beside(path, &format!(".before-restore-{now}"));
        second_name(path, &aside)?;
        let log = beside(path, "-wal");
        if fs::metadata(&log).is_ok_and(|log| log.len() > 0) {
            second_name(&log, &beside(&aside, "-wal"))?;
        }
    }
    // A log belongs to one file only.
    for suffix in ["-wal", "-shm"] {
        let name = beside(path, suffix);
        match fs::remove_file(&name) {
            Ok(()) => {}
            Err(why) if why.kind() == ErrorKind::NotFound => {}
            Err(why) => return Err(cannot("remove", &name, &why)),
        }
    }
    fs::rename(staged, path).map_err(|why| cannot("put the backup at", path, &why))?;
    let directory = directory(path);
    sync(directory).map_err(|why| cannot("write the directory", directory, &why))
}

fn second_name(from: &Path, to: &Path) -> Result<(), Failure> {
    // Some disks know no links; then it has only the new name for a moment.
    fs::hard_link(from, to).or_else(|_| fs::rename(from, to)).map_err(|why| cannot("put aside", from, &why))
}

fn sync(path: &Path) -> std::io::Result<()> {
    File::open(path)?.sync_all()
}
