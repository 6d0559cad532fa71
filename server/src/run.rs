//! Where the rooms meet: the only part that knows the configuration, the store, the service and its doors by name.
//!
//! * [`serve`]: from a configuration to a running server and back. [`welcome`]: what a person sees first. `reread`: the
//!   configuration again.
//! * [`foreign`]: foreign APIs beside ours. [`files`]: the data directory, the master key, the first access key. [`logs`]: what the server writes of itself.
//! * [`operate`]: backup, compact and reload; [`restore`]; [`master_key`]; [`migrate`]; [`doctor`], with [`certificate`]. [`presence`]: who works on a store.
//! * [`store`]: the configured store, opened.

use crate::app::callers::root_key;
use crate::cli::{
    BackupDone, CompactDone, Failure, Finding, Hooks, MasterKeyDone, MoveDone, MoveOrder, MoveWatch,
    Progress, RestoreDone, RestoreOptions,
};
use crate::config::store::StoreUrl;
use crate::config::{Config, Secret, Sources};
use crate::host::entropy::{Entropy, SystemEntropy};
use crate::host::pages::Small;
use handstamp_core::token::Kind;
use handstamp_core::token::access_key::Parts;
use std::path::Path;

pub mod certificate;
pub mod doctor;
pub mod files;
pub mod foreign;
pub mod logs;
pub mod master_key;
pub mod migrate;
pub mod operate;
pub mod presence;
mod reread;
pub mod restore;
pub mod serve;
pub mod store;
pub mod welcome;

/// What the command line needs of the rest.
pub struct Service {
    /// Memory is in small pages, for as long as the server chooses.
    pages: Option<Small>,
}

impl Service {
    /// To be called before anything else asks for memory.
    pub fn begin() -> Service {
        Service { pages: Small::begin() }
    }
}

impl Hooks for Service {
    fn serve(&self, config: Config, sources: Sources, json: bool) -> Result<(), Failure> {
        serve::serve(config, sources, self.pages, json)
    }

    fn objection(&self, config: &Config) -> Option<String> {
        store::objection(config)
    }

    fn backup(&self, config: &Config, file: &Path, progress: &dyn Progress) -> Result<BackupDone, Failure> {
        operate::backup(config, file, progress)
    }

    fn compact(&self, config: &Config) -> Result<CompactDone, Failure> {
        operate::compact(config)
    }

    fn restore(
        &self,
        config: &Config,
        file: &Path,
        options: RestoreOptions,
        progress: &dyn Progress,
    ) -> Result<RestoreDone, Failure> {
        operate::restore(config, file, options, progress)
    }

    fn restore_in_place(&self, config: &Config, keep_sessions: bool) -> Result<String, Failure> {
        operate::restore_in_place(config, keep_sessions)
    }

    fn doctor(&self, config: &Config) -> Result<Vec<Finding>, Failure> {
        operate::doctor(config)
    }

    fn generate_key(&self) -> Result<Secret, Failure> {
        Ok(Secret::new(new_key(&SystemEntropy)?.text().reveal()))
    }

    fn operator_key(&self, config: &Config) -> Option<Secret> {
        let master = files::master_key(config, files::Store::There, &SystemEntropy).ok()?;
        Some(Secret::new(root_key(&master).text().reveal()))
    }

    fn rotate_master_key(&self, config: &Config, end_sessions: bool) -> Result<MasterKeyDone, Failure> {
        master_key::rotate(config, end_sessions)
    }

    fn migrate_store(&self, order: &MoveOrder, watch: &mut dyn MoveWatch) -> Result<MoveDone, Failure> {
        migrate::migrate_store(order, watch)
    }

    fn undo_migration(&self, store: &StoreUrl) -> Result<String, Failure> {
        migrate::undo(store)
    }

    fn reload(&self, config: &Config) -> Result<(), Failure> {
        operate::reload(config)
    }
}

/// A fresh access key that no server knows yet.
fn new_key(entropy: &dyn Entropy) -> Result<Parts, Failure> {
    let (mut id, mut secret) = ([0; 16], [0; 32]);
    if entropy.fill(&mut id) && entropy.fill(&mut secret) {
        Ok(Parts::new(Kind::AccessKey, id, secret))
    } else {
        Err(Failure::new("the operating system gave no random bytes"))
    }
}
