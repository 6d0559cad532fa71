//! Another master key, while no server runs: its file beside the old one, then the store's one commit, then the old key is
//! put aside and the new one gets its name.
//!
//! Whoever is killed in between leaves one of two states behind, and which one is what the store says: its root names the
//! master key that it belongs to. Every start looks first ([`settle`]), under the store's lock, so that no start takes the
//! new key away from somebody who is about to need it.

use super::files::{self, cannot};
use super::presence::beside;
use super::restore::Owner;
use super::store::{self, Opened, Place};
use crate::app::master_key::{Changed, change};
use crate::cli::{Failure, MasterKeyDone};
use crate::codec::control::{Root, read_root, root_key};
use crate::config::Config;
use crate::config::server::MasterKey as Where;
use crate::host::entropy::{Entropy, SystemEntropy};
use crate::store::Store;
use crate::store::sqlite::directory;
use handstamp_core::token::keyring::MasterKey;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// A moment in a change at which it may be cut short.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// The new key is in a file beside the old one.
    Prepared,
    /// The store belongs to the new key.
    Committed,
    /// The old key is put aside.
    PutAside,
    /// The new key has its name.
    Done,
}

/// Puts a new master key in the place of the old one.
///
/// # Errors
/// Why not. Unless the store was changed already, everything is as it was; else the next start goes on from there.
pub fn rotate(config: &Config, end_sessions: bool) -> Result<MasterKeyDone, Failure> {
    rotate_watched(config, end_sessions, &mut |_| Ok(()))
}

/// The same, for tests: `reached` hears of each step, and cuts it short there with an error.
///
/// # Errors
/// Those of [`rotate`], and what `reached` says.
pub fn rotate_watched(
    config: &Config,
    end_sessions: bool,
    reached: &mut dyn FnMut(Step) -> Result<(), Failure>,
) -> Result<MasterKeyDone, Failure> {
    let place = Place::of(config)?;
    if let Place::File(path) = &place
        && !path.is_file()
    {
        return Err(Failure::new(format!("there is no store at {}", path.display()))
            .help("is --data-dir the one that the server runs with?"));
    }
    let file = key_file(config)?;
    let before = files::master_key(config, files::Store::There, &SystemEntropy)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|why| Failure::new(format!("cannot start threads: {why}")))?;
    runtime.block_on(async {
        let opened = store::open_alone(config, &place)
            .await
            .map_err(|why| why.help("stop the server, change the master key, and start it again"))?;
        let outcome = with_store(&opened, (config, &file), before, end_sessions, reached).await;
        opened.store.close().await;
        outcome
    })
}

async fn with_store(
    opened: &Opened,
    (config, file): (&Config, &Path),
    before: MasterKey,
    end_sessions: bool,
    reached: &mut dyn FnMut(Step) -> Result<(), Failure>,
) -> Result<MasterKeyDone, Failure> {
    let (store, name) = (&*opened.store, &opened.name);
    let before = settle(store, config, before).await?;
    let root = root(store).await?.ok_or_else(|| Failure::new(format!("{name} is empty")))?;
    if root.fingerprint != before.fingerprint() {
        return Err(Failure::new(format!("{name} was made with another master key than {}", file.display()))
            .help("give the master key that belongs to this store; nothing was changed"));
    }
    let mut bytes = [0; 32];
    if !SystemEntropy.fill(&mut bytes) {
        return Err(Failure::new("the operating system gave no random bytes"));
    }
    let names = Names::of(file);
    let owner = Owner::of(file)?;
    files::write_master(&names.next, &bytes)?;
    owner.give_path(&names.next)?;
    reached(Step::Prepared)?;
    let after = MasterKey::new(bytes);
    let now = opened.now().await?;
    let changed = change(store, &SystemEntropy, (&before, &after), now, end_sessions).await;
    let Changed { wrapped, environments, access_keys } = changed.map_err(|why| {
        Failure::new(format!("{name}: {why}"))
            .help("the next start finds out whether it was changed; `handstamp doctor` looks closer")
    })?;
    reached(Step::Committed)?;
    names.put_in_place(&owner, reached)?;
    Ok(MasterKeyDone { file: file.to_owned(), aside: names.aside, keys: wrapped, environments, access_keys })
}

/// The master key that the store belongs to, after a change of it that was cut short: then the new one gets its name, or is
/// taken away, whichever the store says. To be asked under the store's lock.
///
/// # Errors
/// A file that cannot be read or written.
pub async fn settle(store: &dyn Store, config: &Config, found: MasterKey) -> Result<MasterKey, Failure> {
    let Ok(file) = key_file(config) else { return Ok(found) };
    let names = Names::of(&file);
    if !names.next.exists() {
        return Ok(found);
    }
    let Some(root) = root(store).await? else { return Ok(found) };
    names.settle(&root, found)
}

async fn root(store: &dyn Store) -> Result<Option<Root>, Failure> {
    let failed = |why: &dyn std::fmt::Display| Failure::new(why.to_string());
    let found = store.load(&[root_key()]).await.map_err(|why| failed(&why))?;
    let found = found.into_iter().next().flatten();
    found.map(|found| read_root(&found)).transpose().map_err(|why| failed(&why))
}

/// Whether a change of the master key was cut short.
pub fn is_unfinished(config: &Config) -> bool {
    key_file(config).is_ok_and(|file| Names::of(&file).next.exists())
}

/// The file of the master key.
fn key_file(config: &Config) -> Result<PathBuf, Failure> {
    match &config.server.master_key {
        Where::File(file) | Where::Made(file) => Ok(file.clone()),
        Where::Given(_) => Err(Failure::new("the master key is given by HANDSTAMP_SERVER__MASTER_KEY, which cannot be changed from here")
            .help("write it into a file of mode 0600, name that in HANDSTAMP_SERVER__MASTER_KEY_FILE, and rotate it there")),
    }
}

/// The files that a change goes through.
struct Names {
    file: PathBuf,
    next: PathBuf,
    aside: PathBuf,
}

impl Names {
    fn of(file: &Path) -> Names {
        Names { file: file.to_owned(), next: beside(file, ".next"), aside: beside(file, ".old") }
    }

    fn settle(&self, root: &Root, found: MasterKey) -> Result<MasterKey, Failure> {
        let next = files::read_master(&self.next)?;
        if next.fingerprint() == root.fingerprint {
            self.put_in_place(&Owner::of(&self.file)?, &mut |_| Ok(()))?;
            tracing::info!("a change of the master key that was cut short is finished");
            return Ok(next);
        }
        if found.fingerprint() == root.fingerprint {
            fs::remove_file(&self.next).map_err(|why| cannot("remove", &self.next, &why))?;
            tracing::info!("a change of the master key was cut short before it changed anything");
        }
        Ok(found)
    }

    /// The old key stays: older backups belong to it.
    fn put_in_place(
        &self,
        owner: &Owner,
        reached: &mut dyn FnMut(Step) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let old = fs::read_to_string(&self.file).map_err(|why| cannot("read", &self.file, &why))?;
        self.keep_older(old.trim())?;
        files::write_secret(&self.aside, old.trim()).map_err(|why| cannot("write", &self.aside, &why))?;
        owner.give_path(&self.aside)?;
        reached(Step::PutAside)?;
        fs::rename(&self.next, &self.file).map_err(|why| cannot("replace", &self.file, &why))?;
        let dir = directory(&self.file);
        File::open(dir).and_then(|dir| dir.sync_all()).map_err(|why| cannot("write", dir, &why))?;
        reached(Step::Done)
    }

    /// A key that was put aside by an earlier change keeps a name: backups of its time need it.
    fn keep_older(&self, old: &str) -> Result<(), Failure> {
        match fs::read_to_string(&self.aside) {
            // Of this change, which was cut short.
            Ok(aside) if aside.trim() == old => Ok(()),
            Ok(_) => {
                let free =
                    (1_u32..).map(|n| beside(&self.aside, &format!(".{n}"))).find(|name| !name.exists());
                let free = free.unwrap_or_else(|| beside(&self.aside, ".more"));
                fs::rename(&self.aside, &free).map_err(|why| cannot("rename", &self.aside, &why))
            }
            Err(why) if why.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(why) => Err(cannot("read", &self.aside, &why)),
        }
    }
}
