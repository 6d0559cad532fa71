//! Every start, and the first one: the store is recognised, or made ready with an environment and a first access key.

use super::access_tokens::Makers;
use super::activity::Activity;
use super::cache::Cache;
use super::control::{batch, put, stamp};
use super::master_key::{Followers, new_root};
use super::nodes::Nodes;
use super::observe::Observer;
use super::origins::FileOrigins;
use super::policies::FromFile;
use super::room::Room;
use super::seats::Era;
use super::turns::Turns;
use super::{App, Fault, Stop, callers, keeper, keys, nodes, rates, tighter, verdicts};
use crate::agents::Agents;
use crate::codec::control::{
    Root, read_root, root_key, write_access_key, write_environment, write_root, write_stamp,
};
use crate::host::clock::Clock;
use crate::host::entropy::Entropy;
use crate::schema::session_type::SessionTypes;
use crate::store::{Store, StoreError};
use handstamp_core::caller::{Home, Scope};
use handstamp_core::environment::EnvironmentName;
use handstamp_core::policy::Policy;
use handstamp_core::signing::budget::Budget;
use handstamp_core::time::{Millis, Span};
use handstamp_core::token::access_key::Parts;
use handstamp_core::token::keyring::MasterKey;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use tokio::sync::watch;

/// What the service is made of.
pub struct Setup {
    /// Where records are kept.
    pub store: Arc<dyn Store>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Draws random bytes.
    pub entropy: Arc<dyn Entropy>,
    /// The one secret.
    pub master: MasterKey,
    /// The rules of every environment, where a file says them.
    pub policy: Option<Policy>,
    /// The session types of every environment, where a file says them.
    pub types: Option<SessionTypes>,
    /// Origins that a file lists, for every environment.
    pub origins: FileOrigins,
    /// What access tokens say of whoever makes them.
    pub tokens: Makers,
    /// How many bytes the cache may hold.
    pub cache_bytes: u64,
    /// How long ended sessions stay readable.
    pub retention: Span,
}

/// Why a start is not possible.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The store was made with another master key.
    #[error("the master key is not the one this store was made with")]
    WrongMasterKey,
    /// The first access key could not be written down; who asked knows why.
    #[error("the first access key could not be written down")]
    Prepared,
    /// An accident.
    #[error(transparent)]
    Fault(#[from] Fault),
}

impl From<StoreError> for OpenError {
    fn from(error: StoreError) -> OpenError {
        OpenError::Fault(error.into())
    }
}

impl App {
    /// Opens the service on its store. `first_key` is asked for an access key when the store is empty, and is to have
    /// written it down before it returns.
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn open<F>(parts: Setup, first_key: F) -> Result<(App, bool), OpenError>
    where
        F: FnOnce() -> Result<Parts, OpenError>,
    {
        // Before anything is read: what is changed from now on is heard of.
        let changes = parts.store.changes();
        if changes.is_some() {
            // Nobody listens to it; the answer says what time it is.
            nodes::say(parts.store.as_ref(), parts.clock.as_ref(), &[]).await?;
        }
        parts.clock.raise_to(parts.store.clock_floor().await?);
        let mut process = [0; 16];
        if !parts.entropy.fill(&mut process) {
            return Err(Fault::Entropy.into());
        }
        let (root, fresh) = root_of(&parts, changes.is_some().then_some(process)).await?;
        if root.fingerprint != parts.master.fingerprint() {
            return Err(OpenError::WrongMasterKey);
        }
        let Followers { keys, pseudonyms, statements } = Followers::of(&parts.master, &root)?;
        let nodes = changes.map(|changes| Arc::new(Nodes::new(process, changes)));
        let activity = Arc::new(Activity::default());
        let app = App {
            cache: Arc::new(Cache::new(parts.cache_bytes, activity.clone())),
            store: parts.store,
            clock: parts.clock,
            entropy: parts.entropy,
            rates: Box::new(rates::Rates::new(&parts.master, nodes.is_some())),
            master: Arc::new(parts.master),
            keys: Box::new(keys),
            erasing: Box::new([pseudonyms, statements]),
            control: Arc::new(Room::new(
                FromFile {
                    policy: parts.policy.map(Arc::new),
                    types: parts.types.map(Arc::new),
                    origins: Arc::new(parts.origins),
                },
                Era::new(process),
                nodes.is_none(),
            )),
            turns: Turns::new(),
            ledgers: Turns::new(),
            agents: Agents::default(),
            activity,
            behind: Arc::default(),
            observer: Observer::default(),
            checked: tighter::Checked::default(),
            rounds: Box::default(),
            verdicts: verdicts::Verdicts::default(),
            sealings: arc_swap::ArcSwap::from_pointee(Budget::USUAL),
            drawing: Arc::default(),
            refreshes: Box::default(),
            retention: parts.retention,
            makers: parts.tokens,
            told: Arc::new(watch::Sender::new(0)),
            feeds: Arc::default(),
            status: Box::default(),
            leaving: AtomicBool::new(false),
            keeping: keeper::Keeping::default(),
            doubted: Box::default(),
            alike: Box::default(),
            looked: Box::default(),
            nodes,
        };
        let fresh = if let Fresh::Yes { lease } = fresh {
            Box::pin(app.begin(&root, &first_key()?, lease)).await?;
            true
        } else {
            Box::pin(app.have_stamp()).await?;
            Box::pin(app.control.refresh(app.store.as_ref(), &app.master, true)).await?;
            false
        };
        app.control.change(|control| {
            control.put_key(callers::root_entry(&app.master, app.keys.current()));
            // Other nodes may still act by rules of before.
            if app.nodes.is_none() {
                control.envs().iter().for_each(|env| env.seats.has_settled());
            }
        });
        Box::pin(app.recall_rules(fresh)).await?;
        Box::pin(app.complete_token_keys()).await.map_err(|stop| match stop {
            Stop::Fault(fault) => fault,
            Stop::Refused(_) => Fault::Contended,
        })?;
        Ok((app, fresh))
    }

    /// The first start: root, first environment and first key in one commit.
    async fn begin(&self, root: &Root, first: &Parts, lease: Option<u64>) -> Result<(), OpenError> {
        let name = EnvironmentName::parse("default/prd").map_err(|_| Fault::Contended)?;
        let (env, token_keys) = self.new_environment(name)?;
        let home = Home::Environment(env.record.id);
        let key = self.key_of(first, "first key".into(), home, Scope::ALL.to_vec(), self.now(), None);
        let mut ops = vec![
            put(write_root(root), 0),
            put(write_environment(&env.record), 0),
            put(token_keys, 0),
            put(write_access_key(&key, Millis(0)), 0),
            put(write_stamp(), 0),
        ];
        if let (Some(version), Some(nodes)) = (lease, &self.nodes) {
            ops.push(keeper::was_made_ready(nodes.id(), version));
        }
        self.store.commit(batch(self.now(), ops)).await?;
        self.control.change(|control| {
            control.put_env(env);
            control.put_key(keys::entry(key, 1, Millis(0)));
            control.is_stamped(1);
        });
        Ok(())
    }

    /// A store of before there were several nodes has no stamp. Others hear only of what changes, and not of what is new: so it
    /// is there before anything changes.
    async fn have_stamp(&self) -> Result<(), StoreError> {
        if self.nodes.is_none() || stamp(self.store.as_ref()).await? > 0 {
            return Ok(());
        }
        match self.store.commit(batch(self.now(), vec![put(write_stamp(), 0)])).await {
            Ok(()) | Err(StoreError::Conflict) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// Whether this node makes the store ready.
enum Fresh {
    /// It was ready.
    No,
    /// It does.
    Yes {
        /// The version of the lease that says that no other node does.
        lease: Option<u64>,
    },
}

/// What the store says of itself; of an empty one what it will say. Of several nodes that come at once one makes it ready, and
/// the others wait.
async fn root_of(parts: &Setup, node: Option<[u8; 16]>) -> Result<(Root, Fresh), OpenError> {
    let find = async || {
        let found = parts.store.load(&[root_key()]).await?.into_iter().next().flatten();
        Ok::<_, OpenError>(found.as_ref().map(read_root).transpose()?)
    };
    loop {
        if let Some(root) = find().await? {
            return Ok((root, Fresh::No));
        }
        let lease = match node {
            None => None,
            Some(node) => {
                match keeper::makes_ready(parts.store.as_ref(), parts.clock.as_ref(), node).await? {
                    None => continue,
                    lease => lease,
                }
            }
        };
        // Who had the lease before has made it ready by now, or never will.
        if let Some(root) = find().await? {
            return Ok((root, Fresh::No));
        }
        return Ok((new_root(&parts.master, parts.entropy.as_ref())?, Fresh::Yes { lease }));
    }
}
