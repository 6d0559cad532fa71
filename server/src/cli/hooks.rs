//! What the command line needs of the server's own rooms, which it does not know.

use super::Failure;
use crate::config::{Config, Secret, Sources};
use std::path::{Path, PathBuf};

/// The verbs that do not speak HTTP.
pub trait Hooks {
    /// Runs the server until it is told to stop. `sources` are where the configuration came from, for reloads; with
    /// `json` it says that it is ready by one JSON object.
    ///
    /// # Errors
    /// Why it could not start, or stopped.
    fn serve(&self, config: Config, sources: Sources, json: bool) -> Result<(), Failure>;

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
