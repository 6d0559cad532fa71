//! The store that was configured, opened in one place for everybody who needs it.

use super::migrate::course;
use super::presence::lock;
use crate::cli::Failure;
use crate::codec::kind;
use crate::codec::moving::moving_key;
use crate::config::Config;
use crate::config::store::StoreUrl;
use crate::host::clock::{Clock, StoreClock, SystemClock};
use crate::host::entropy::{Entropy, SystemEntropy};
use crate::store::postgres::{self, Address, Postgres};
use crate::store::sqlite::{self, Sqlite, directory};
use crate::store::{Store, StoreError};
use handstamp_core::time::Millis;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where records are kept.
pub enum Place {
    /// The embedded store, in this file.
    File(PathBuf),
    /// A PostgreSQL database, which other nodes may use, too.
    Postgres(Box<Address>),
}

/// A store that is open.
pub struct Opened {
    /// The store.
    pub store: Arc<dyn Store>,
    /// What it is called when somebody is told of it; no password.
    pub name: String,
    /// What works, and somebody should look at.
    pub warnings: Vec<String>,
    /// Keeps a second server off the data directory; the embedded store has a lock of its own.
    lock: Option<File>,
}

impl Opened {
    /// Whether there may be other nodes.
    const fn is_shared(&self) -> bool {
        self.lock.is_some()
    }

    /// The clock to go by. Where there may be other nodes, the store says what time it is, and the clock of this machine
    /// does not matter.
    pub fn clock(&self) -> Arc<dyn Clock> {
        if self.is_shared() { Arc::new(StoreClock::default()) } else { Arc::new(SystemClock::default()) }
    }

    /// The time by that clock.
    ///
    /// # Errors
    /// A store that does not say it.
    pub async fn now(&self) -> Result<Millis, Failure> {
        if !self.is_shared() {
            return Ok(SystemClock::default().now());
        }
        // Nobody listens to it; the answer says what time it is.
        self.store.say(&[]).await.map_err(|why| Failure::new(format!("{}: {why}", self.name)))
    }
}

impl Place {
    /// Reads the configuration.
    ///
    /// # Errors
    /// An address that is none.
    pub fn of(config: &Config) -> Result<Place, Failure> {
        match &config.store.url {
            StoreUrl::Sqlite(path) => Ok(Place::File(path.clone())),
            StoreUrl::Postgres(url) => match Address::parse(url) {
                Ok(address) => Ok(Place::Postgres(Box::new(address))),
                Err(why) => Err(Failure::new(format!("[store] url {NO_ADDRESS}: {why}"))),
            },
            StoreUrl::Redis(_) => {
                Err(Failure::new("this version keeps nothing in Redis").help("leave [store] url out"))
            }
        }
    }

    /// What it is called when somebody is told of it; no password.
    pub fn name(&self) -> String {
        match self {
            Place::File(path) => path.display().to_string(),
            Place::Postgres(address) => format!("PostgreSQL {}", address.place()),
        }
    }
}

const NO_ADDRESS: &str = "is no address of a PostgreSQL database";

/// Why the address of the store is none, for a look at the configuration that opens nothing.
pub fn objection(config: &Config) -> Option<String> {
    match &config.store.url {
        StoreUrl::Postgres(url) => Address::parse(url).err().map(|why| format!("{NO_ADDRESS}: {why}")),
        StoreUrl::Sqlite(_) | StoreUrl::Redis(_) => None,
    }
}

/// The file of the embedded store, for what can be done with a file only.
///
/// # Errors
/// The store is another one: `instead` says what to do there.
pub fn embedded(config: &Config, instead: &str) -> Result<PathBuf, Failure> {
    match Place::of(config)? {
        Place::File(path) => Ok(path),
        Place::Postgres(address) => Err(Failure::new(format!(
            "the store is PostgreSQL ({}), which has tools of its own for this",
            address.place()
        ))
        .help(instead)),
    }
}

/// The name beside which the lock of who works here lies, and the file that says who it is: the embedded store's, or one
/// in the data directory.
pub fn seat(config: &Config) -> PathBuf {
    match &config.store.url {
        StoreUrl::Sqlite(path) => path.clone(),
        StoreUrl::Postgres(_) | StoreUrl::Redis(_) => config.server.data_dir.join("handstamp"),
    }
}

/// Opens it; the data directory is there.
///
/// # Errors
/// Why not, in a sentence, and the way out. A store that has moved away, or is being filled, is not opened.
pub async fn open(config: &Config, place: &Place) -> Result<Opened, Failure> {
    checked(open_any(config, place, false).await?).await
}

/// The same, for a command that no server may work beside.
///
/// # Errors
/// As [`open`]; or one does.
pub async fn open_alone(config: &Config, place: &Place) -> Result<Opened, Failure> {
    checked(open_any(config, place, true).await?).await
}

async fn checked(opened: Opened) -> Result<Opened, Failure> {
    match not_moved(&*opened.store, &opened.name).await {
        Ok(()) => Ok(opened),
        Err(failure) => {
            opened.store.close().await;
            Err(failure)
        }
    }
}

/// How often a store that was just opened is asked again; each time it is waited for.
const TRIES: u32 = 8;

/// Whether a service may work on a store.
///
/// # Errors
/// It has moved away, or is not whole; or it does not say.
pub async fn not_moved(store: &dyn Store, name: &str) -> Result<(), Failure> {
    let mut tries = TRIES;
    let found = loop {
        match store.load(&[moving_key()]).await {
            Ok(found) => break found,
            // The first connection may be on its way.
            Err(StoreError::Unavailable(_)) if tries > 0 => tries -= 1,
            Err(why) => return Err(Failure::new(format!("{name}: {why}"))),
        }
    };
    match found.into_iter().next().flatten().and_then(|found| course::objection(name, &found)) {
        Some(failure) => Err(failure),
        None => Ok(()),
    }
}

async fn open_any(config: &Config, place: &Place, alone: bool) -> Result<Opened, Failure> {
    let name = place.name();
    match place {
        Place::File(path) => {
            let store = Sqlite::open(path, &sqlite::Options::default())
                .map_err(|why| not_opened(path, why.to_string()))?;
            Ok(Opened { store: Arc::new(store), name, warnings: Vec::new(), lock: None })
        }
        Place::Postgres(address) => {
            let seat = seat(config);
            let Some(lock) = lock(&seat)? else {
                return Err(Failure::new(format!(
                    "{} is in use: another Handstamp works with it",
                    config.server.data_dir.display()
                ))
                .help("give each node a data directory of its own"));
            };
            let mut node = [0; 16];
            if !SystemEntropy.fill(&mut node) {
                return Err(Failure::new("the operating system gave no random bytes"));
            }
            let options = postgres::Options { node, resting: vec![kind::SESSION], alone };
            let store = Postgres::open(address, &options).await.map_err(|why| {
                Failure::new(format!("PostgreSQL {why}")).help("`handstamp doctor` looks closer")
            })?;
            let warnings = warnings(address, store.facts());
            Ok(Opened { store: Arc::new(store), name, warnings, lock: Some(lock) })
        }
    }
}

/// What works with this server, and is worth a line.
pub fn warnings(address: &Address, facts: &postgres::Facts) -> Vec<String> {
    let mut warnings = Vec::new();
    if let mode @ ("off" | "local") = facts.synchronous_commit.as_str() {
        warnings.push(format!(
            "synchronous_commit is {mode} on {}: what was acknowledged, an end or a new token, can be lost {}; set it to on",
            facts.host,
            if mode == "off" { "in a crash" } else { "when a standby takes over" }
        ));
    }
    if !address.encrypted() {
        warnings.push(format!(
            "the connection to {} is not encrypted (sslmode=disable): whoever sits between can read and change everything",
            facts.host
        ));
    }
    warnings
}

/// A full disk shows in many ways when a database is opened; the disk itself says it best.
fn not_opened(path: &Path, why: String) -> Failure {
    let directory = directory(path);
    let free = rustix::fs::statvfs(directory).map(|disk| disk.f_bavail.saturating_mul(disk.f_frsize));
    if free.is_ok_and(|free| free < LEAST_ROOM) && !why.contains("space") {
        return Failure::new(format!("there is no space left to write {}: {why}", path.display()))
            .help("make room on its disk");
    }
    Failure::new(why)
}

/// A store cannot be opened with less than this free.
const LEAST_ROOM: u64 = 256 << 10;
