//! What the command line needs of the server's own rooms, which it does not know.

use super::Failure;
use crate::config::store::StoreUrl;
use crate::config::{Config, Secret, Sources};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The verbs that do not speak HTTP.
pub trait Hooks {
    /// Runs the server until it is told to stop. `sources` are where the configuration came from, for reloads; with
    /// `json` it says that it is ready by one JSON object.
    ///
    /// # Errors
    /// Why it could not start, or stopped.
    fn serve(&self, config: Config, sources: Sources, json: bool) -> Result<(), Failure>;

    /// Why the address of the store is none, in words that go on after the name of the key and repeat nothing of it. How an
    /// address is read is the store's affair.
    fn objection(&self, config: &Config) -> Option<String>;

    /// Copies the store into `file`, which is not there yet.
    ///
    /// # Errors
    /// Nothing half-written is left behind.
    fn backup(&self, config: &Config, file: &Path, progress: &dyn Progress) -> Result<BackupDone, Failure>;

    /// Rewrites the store's file without what was deleted.
    ///
    /// # Errors
    /// A server works on it, or there is no room; the store is as it was.
    fn compact(&self, config: &Config) -> Result<CompactDone, Failure>;

    /// Puts the backup in `file` in the place of the store.
    ///
    /// # Errors
    /// The store is as it was.
    fn restore(
        &self,
        config: &Config,
        file: &Path,
        options: RestoreOptions,
        progress: &dyn Progress,
    ) -> Result<RestoreDone, Failure>;

    /// Ends what must not come back in a store that was put back by tools of its own. What that store is called.
    ///
    /// # Errors
    /// Why not; nothing was changed, unless it says otherwise.
    fn restore_in_place(&self, config: &Config, keep_sessions: bool) -> Result<String, Failure>;

    /// Looks at the installation.
    ///
    /// # Errors
    /// It could not be looked at.
    fn doctor(&self, config: &Config) -> Result<Vec<Finding>, Failure>;

    /// A fresh, well-formed access key that no server knows yet.
    ///
    /// # Errors
    /// The system gave no random bytes.
    fn generate_key(&self) -> Result<Secret, Failure>;

    /// The operator's key that whoever can read the master key can make; `None` where it cannot be read.
    fn operator_key(&self, config: &Config) -> Option<Secret>;

    /// Puts a new master key in the place of the old one; with `end_sessions` nothing of the old one stays good.
    ///
    /// # Errors
    /// A server works on the store, or the key cannot be replaced.
    fn rotate_master_key(&self, config: &Config, end_sessions: bool) -> Result<MasterKeyDone, Failure>;

    /// Moves everything from one store to another.
    ///
    /// # Errors
    /// What was brought over stays, and the old store is what it was; it can be tried again.
    fn migrate_store(&self, order: &MoveOrder, watch: &mut dyn MoveWatch) -> Result<MoveDone, Failure>;

    /// Takes back that a store has moved away, and says to where.
    ///
    /// # Errors
    /// It has not, or a server works on it.
    fn undo_migration(&self, store: &StoreUrl) -> Result<String, Failure>;

    /// Tells the server that runs on this data directory to read its configuration again.
    ///
    /// # Errors
    /// No server runs there, or it cannot be told.
    fn reload(&self, config: &Config) -> Result<(), Failure>;
}

/// How far something is that takes its time.
pub trait Progress: Send + Sync {
    /// `done` of `total`, in any unit. Cheap enough to be called for every step.
    fn at(&self, done: u64, total: u64);
}

/// What is to be moved, and how.
#[derive(Clone)]
pub struct MoveOrder {
    /// Where everything is.
    pub from: StoreUrl,
    /// Where it is to be.
    pub to: StoreUrl,
    /// The end of the service is waited for; otherwise it is left at that when only the last round is missing.
    pub wait: bool,
    /// What was brought to `to` from anywhere, and not whole, is thrown away first.
    pub anew: bool,
    /// Nothing is changed.
    pub dry_run: bool,
}

/// What whoever watches a move hears.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MoveNews {
    /// So much is to be moved; `again`: some of it is there already.
    Began {
        /// Whether it goes on from before.
        again: bool,
        /// About how many records.
        records: u64,
        /// About how many lines of history.
        lines: u64,
    },
    /// A round beside the running service begins.
    Round {
        /// From 1 on.
        number: u32,
    },
    /// How far a round, or the comparison, is.
    Went {
        /// Gone through, of `of`.
        seen: u64,
        /// Records and lines of history.
        of: u64,
        /// Of them, records.
        records: u64,
        /// Of them, lines of history.
        lines: u64,
        /// How many were brought over.
        brought: u64,
    },
    /// A round has ended.
    RoundDone {
        /// Which.
        number: u32,
        /// Written.
        brought: u64,
        /// Taken away, because it was gone.
        removed: u64,
    },
    /// Only the last round is missing: the service can be stopped now.
    StopTheService {
        /// How long the last round took.
        round: Duration,
    },
    /// No service works on it, but one may only have lost its connections: that is waited for.
    Lingers,
    /// The service has stopped; the last round begins.
    LastRound,
    /// Everything is compared once more.
    Comparing,
}

/// Watches a move.
pub trait MoveWatch {
    /// Something new. Cheap.
    fn tell(&mut self, news: &MoveNews);
}

/// How a move ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum MoveDone {
    /// Everything is there, and was compared.
    Done {
        /// Records.
        records: u64,
        /// Lines of history.
        lines: u64,
        /// One digest of all of it, in hexadecimal digits: both stores have the same.
        digest: String,
    },
    /// It was made before.
    Already,
    /// Only the last round is missing, for which the service has to be stopped.
    NotYet {
        /// How long the last round took.
        round: Duration,
        /// No service works on it, but one may only have lost its connections.
        lingers: bool,
    },
    /// What would be done.
    Would {
        /// Records in the old store.
        records: u64,
        /// Lines of history in it.
        lines: u64,
        /// What is not, or not so, in the new one.
        differ: u64,
    },
}

/// What a backup holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackupDone {
    /// Size of the file.
    pub bytes: u64,
}

/// How large the store's file was, and is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompactDone {
    /// Bytes before.
    pub before: u64,
    /// Bytes after.
    pub after: u64,
}

/// How a backup is put back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RestoreOptions {
    /// Sessions stay as the backup has them. Otherwise the epoch of every environment is raised, so that none that was
    /// ended since comes back to life.
    pub keep_sessions: bool,
    /// A store that is there may be replaced.
    pub replace: bool,
}

/// What a new master key brought about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MasterKeyDone {
    /// Where it is.
    pub file: PathBuf,
    /// Where the old one is.
    pub aside: PathBuf,
    /// How many keys are wrapped under it.
    pub keys: usize,
    /// How many environments there are.
    pub environments: usize,
    /// How many access keys are gone.
    pub access_keys: usize,
}

/// What was put back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RestoreDone {
    /// Size of the store.
    pub bytes: u64,
}

/// One thing that the doctor looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub level: Level,
    /// What was looked at, in a word or two.
    pub what: String,
    /// What was found, and what to do about it.
    pub detail: String,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// As it should be.
    Fine,
    /// Works, and somebody should look.
    Warning,
    /// Does not work.
    Problem,
}

impl Level {
    /// The word that is printed.
    pub const fn word(self) -> &'static str {
        match self {
            Level::Fine => "ok",
            Level::Warning => "warning",
            Level::Problem => "problem",
        }
    }
}
