//! Keys behind access tokens are replaced and counted: a rotation, an emergency, and blocks of sealings, after which a data
//! key gets its successor by itself. The first ones: [`first`]; a rotation in other words: [`handover`].
//!
//! All keys of an environment are in one record, so two rotations at once cannot both go through: the second finds other
//! keys than it decided about, and says so.

mod elsewhere;
mod first;
mod handover;

pub(super) use elsewhere::Looked;

use super::callers::Caller;
use super::control::{Env, put};
use super::room::Turn;
use super::token_keys::{Fresh, TokenKeys, WRAP, draw};
use super::{App, Fault, Stop};
use crate::codec::control::environment_key;
use crate::codec::new_event;
use crate::codec::token_keys::{wrapping, write_token_keys};
use crate::store::{Expect, Op, Record, StoreError};
use handstamp_core::caller::Scope;
use handstamp_core::event::Event;
use handstamp_core::id::EnvironmentId;
use handstamp_core::jose::jwe::SealingKey;
use handstamp_core::refusal::Code;
use handstamp_core::sealing::wrap_bytes;
use handstamp_core::session::By;
use handstamp_core::signing::budget::{self, Budget, Reserve};
use handstamp_core::signing::{self, Ask, Job, Plan, Refused, TokenKey, rotate};
use handstamp_core::time::{Millis, Span};
use handstamp_core::token::keyring::MasterKey;
use std::sync::Arc;

/// How often a change is decided again when another node came first.
const TRIES: usize = 8;

/// What is asked for.
#[derive(Clone, Copy)]
pub struct Rotation {
    /// Which key is to be replaced.
    pub job: Job,
    /// From publishing to the first use.
    pub activate_in: Option<Span>,
    /// From the last use of the old key to its end.
    pub retire_in: Option<Span>,
    /// The old keys are in wrong hands.
    pub emergency: bool,
}

impl App {
    /// The keys behind the access tokens of the caller's environment, as stored, and what time it is for them.
    ///
    /// # Errors
    /// `insufficient_scope`; the environment is gone.
    pub fn token_keys(&self, caller: &Caller) -> Result<(Vec<TokenKey>, Millis), Stop> {
        caller.allow(Scope::KeysWrite)?;
        Ok((self.env(caller.env.record.id)?.tokens.stored(), self.now()))
    }

    /// The data keys of the caller's environment, for whoever opens the data inside tokens without asking this server.
    ///
    /// # Errors
    /// `insufficient_scope`; the environment is gone.
    pub fn data_keys(&self, caller: &Caller) -> Result<String, Stop> {
        caller.allow(Scope::TokensOpen)?;
        Ok(self.env(caller.env.record.id)?.tokens.data_jwks(self.now()))
    }

    /// Gives a job a new key. The kid of the new key, and all keys as they are then.
    ///
    /// # Errors
    /// `rotation_under_way`, `insufficient_scope`, bad input; faults.
    pub async fn rotate_token_key(
        &self,
        caller: &Caller,
        ask: Rotation,
    ) -> Result<(Box<str>, Vec<TokenKey>), Stop> {
        caller.allow(Scope::KeysWrite)?;
        self.rotate_key_of(caller.env.record.id, caller.by(), ask).await
    }

    /// What a backup knows of keys is old: one that was removed since, because it was in wrong hands, would sign or seal again, what
    /// a key has sealed since was not counted, and of sessions that were made since nobody would tell an end. So positions of history that
    /// were told are known no longer, and every key behind access tokens is replaced, as in an emergency; who has a live session gets new tokens with the next refresh.
    ///
    /// # Errors
    /// Faults; some environments may be done by then.
    pub async fn replace_token_keys(&self) -> Result<(), Stop> {
        self.begin_line().await?;
        for env in self.all_environments() {
            let now = self.now();
            let published = env.tokens.stored().into_iter().filter(|key| key.life.is_published(now));
            let mut jobs: Vec<Job> = published.map(|key| key.job).collect();
            jobs.sort_unstable();
            jobs.dedup();
            for job in jobs {
                let ask = Rotation { job, activate_in: None, retire_in: None, emergency: true };
                self.rotate_key_of(env.record.id, By::System, ask).await?;
            }
        }
        Ok(())
    }

    async fn rotate_key_of(
        &self,
        id: EnvironmentId,
        by: By,
        ask: Rotation,
    ) -> Result<(Box<str>, Vec<TokenKey>), Stop> {
        let seen = self.env(id)?;
        self.plan(&seen, &ask)?;
        let fresh = self.fresh(ask.job).await?;
        for _ in 0..TRIES {
            let turn = self.control_turn().await?;
            let env = self.env(id)?;
            if names(&env, ask.job) != names(&seen, ask.job) {
                return Err(Stop::refuse(
                    Code::RotationUnderWay,
                    "somebody else rotated the key at the same time; look at the keys, and decide again",
                ));
            }
            let plan = self.plan(&env, &ask)?;
            let keys = self.with_new(&env, &plan, &fresh)?;
            let why = if ask.emergency { ", an emergency: the keys before it are removed" } else { "" };
            let note = note(ask.job, &fresh.kid, &plan, why);
            match self.store_keys(turn, &env, keys, Some((by.clone(), note)), None).await {
                Ok(_turn) => return Ok((fresh.kid, self.env(id)?.tokens.stored())),
                Err(Fault::Store(StoreError::Conflict)) => {}
                Err(fault) => return Err(fault.into()),
            }
        }
        Err(Fault::Contended.into())
    }

    fn plan(&self, env: &Env, ask: &Rotation) -> Result<Plan, Stop> {
        let Rotation { job, activate_in, retire_in, emergency } = *ask;
        let longest_token = env.policy.longest_access_token();
        let ask = Ask { job, activate_in, retire_in, emergency, longest_token };
        rotate(&env.tokens.stored(), self.now(), &ask).map_err(|refused| refusal(&refused, longest_token))
    }

    /// The key that seals data now, charged with one sealing.
    ///
    /// # Errors
    /// The environment is gone; faults.
    pub async fn sealing_key(&self, env: EnvironmentId) -> Result<Arc<SealingKey>, Stop> {
        for _ in 0..TRIES {
            if let Some(key) = self.env(env)?.tokens.take_sealing(self.now()) {
                return Ok(key.clone());
            }
            self.reserve_sealings(env).await?;
        }
        Err(Fault::Contended.into())
    }

    /// Takes a block of sealings for this node, durably; a data key that is spent gets its successor.
    async fn reserve_sealings(&self, id: EnvironmentId) -> Result<(), Stop> {
        let turn = self.control_turn().await?;
        let (env, now) = (self.env(id)?, self.now());
        if env.tokens.may_seal(now) {
            return Ok(());
        }
        let keys = env.tokens.stored();
        let (keys, told, taken) = match budget::reserve(&keys, now, *self.sealings.load_full()) {
            Reserve::Take { kid, sealings, rotate } => {
                let counted = budget::count(&keys, &kid, sealings);
                let (keys, note) =
                    if rotate { self.half_spent(&env, counted).await? } else { (counted, None) };
                (keys, note, Some((kid, sealings)))
            }
            Reserve::Advance => {
                let note = "the data key before it is spent: the next one is used from now on".to_owned();
                (budget::advance(&keys, now), Some(note), None)
            }
            Reserve::Replace => {
                let (fresh, plan) = (self.fresh(Job::Data).await?, budget::replace(now));
                let note = note(Job::Data, &fresh.kid, &plan, ", the one before it is spent");
                (self.with_new(&env, &plan, &fresh)?, Some(note), None)
            }
        };
        let told = told.map(|note| (By::System, note));
        match self.store_keys(turn, &env, keys, told, taken).await {
            // Another node came first: what it left is looked at next.
            Ok(_) | Err(Fault::Store(StoreError::Conflict)) => Ok(()),
            Err(fault) => Err(fault.into()),
        }
    }

    /// Half of a data key's budget is spent: the next one is published while there is time.
    async fn half_spent(
        &self,
        env: &Env,
        keys: Vec<TokenKey>,
    ) -> Result<(Vec<TokenKey>, Option<String>), Stop> {
        let ask = Rotation { job: Job::Data, activate_in: None, retire_in: None, emergency: false };
        let Ok(plan) = self.plan(env, &ask) else { return Ok((keys, None)) };
        let fresh = self.fresh(Job::Data).await?;
        let note =
            note(Job::Data, &fresh.kid, &plan, ", half of the sealings of the one before it are spent");
        Ok((
            plan.apply(&keys, fresh.kid.clone(), self.wrapped(env.record.id, Job::Data, &fresh)?),
            Some(note),
        ))
    }

    /// Lets data keys seal less often than they safely could: so that a successor comes sooner.
    pub fn limit_sealings(&self, budget: Budget) {
        let usual = Budget::USUAL;
        let less = Budget { most: budget.most.min(usual.most), block: budget.block.clamp(1, usual.block) };
        self.sealings.store(Arc::new(less));
    }

    /// Takes the secret parts of removed keys out of the store.
    pub(super) async fn forget_token_keys(&self) -> Result<(), Stop> {
        for env in self.all_environments() {
            if !signing::has_to_forget(&env.tokens.stored(), self.now()) {
                continue;
            }
            let turn = self.control_turn().await?;
            let env = self.env(env.record.id)?;
            let keys = signing::forget(env.tokens.stored(), self.now());
            match self.store_keys(turn, &env, keys, None, None).await {
                Ok(_) | Err(Fault::Store(StoreError::Conflict)) => {}
                Err(fault) => return Err(fault.into()),
            }
        }
        Ok(())
    }

    fn with_new(&self, env: &Env, plan: &Plan, fresh: &Fresh) -> Result<Vec<TokenKey>, Fault> {
        let wrapped = self.wrapped(env.record.id, plan.job(), fresh)?;
        Ok(plan.apply(&env.tokens.stored(), fresh.kid.clone(), wrapped))
    }

    fn wrapped(&self, env: EnvironmentId, job: Job, fresh: &Fresh) -> Result<Box<[u8]>, Fault> {
        let purpose = wrapping(env, &fresh.kid, job);
        let wrapped = wrap_bytes(&self.master.derive(WRAP), &purpose, &fresh.secret, self.draw_bytes()?);
        Ok(wrapped.map_err(|_| Fault::Entropy)?.into())
    }

    /// Draws a key. RSA takes its time: nobody else waits for it.
    async fn fresh(&self, job: Job) -> Result<Fresh, Fault> {
        let entropy = self.entropy.clone();
        let drawn = tokio::task::spawn_blocking(move || draw(entropy.as_ref(), job));
        drawn.await.map_err(|_| Fault::Entropy)?
    }

    /// Puts these keys in the place of those that `env` has, if it still has them and is still there. `taken` is what
    /// this node may seal with as soon as that is durable.
    async fn store_keys(
        &self,
        turn: Turn,
        env: &Env,
        keys: Vec<TokenKey>,
        told: Option<(By, String)>,
        taken: Option<(Box<str>, u64)>,
    ) -> Result<Turn, Fault> {
        let id = env.record.id;
        let version = env.tokens.version;
        let ops = vec![
            put(write_token_keys(id, &keys), version),
            Op::Check { key: environment_key(id), expect: Expect::Version(env.version) },
        ];
        let told = told.map(|(by, note)| new_event(id, &Event::keys_rotated(self.now(), by, &note)));
        let tokens = TokenKeys::ready(&self.master, id, keys, version + 1, &env.tokens)?;
        let next = Env { tokens: Arc::new(tokens), ..env.clone() };
        self.change_control_telling(turn, ops, told.into_iter().collect(), move |control| {
            if let Some((kid, sealings)) = taken {
                next.tokens.allow_sealings(&kid, sealings);
            }
            control.put_env(next);
        })
        .await
    }
}

/// The record of an environment's first keys, and the keys ready for work.
pub(super) fn with_first(
    master: &MasterKey,
    env: Env,
    keys: Vec<TokenKey>,
) -> Result<(Env, Record), StoreError> {
    let record = write_token_keys(env.record.id, &keys);
    let tokens = TokenKeys::ready(master, env.record.id, keys, 1, &TokenKeys::default())?;
    Ok((Env { tokens: Arc::new(tokens), ..env }, record))
}

/// The keys of a job that are not removed for good.
fn names(env: &Env, job: Job) -> Vec<Box<str>> {
    env.tokens.stored().into_iter().filter(|key| key.job == job).map(|key| key.kid).collect()
}

fn note(job: Job, kid: &str, plan: &Plan, why: &str) -> String {
    format!("{} {kid}, in use from {}{why}", job.algorithm(), plan.activate_at())
}

fn refusal(refused: &Refused, longest_token: Span) -> Stop {
    match refused {
        Refused::Waiting { kid, until } => Stop::refuse(
            Code::RotationUnderWay,
            format!(
                "the key {kid} is published already and is used from {until} on; rotate again after that"
            ),
        ),
        Refused::TooShort { least } => Stop::field(
            "/retire_in",
            format!(
                "at least {} seconds: under the policy in force an access token may live for {longest_token}, and would be \
                 refused before its end; if the key is in wrong hands, say `emergency`",
                least.as_secs()
            ),
        ),
        Refused::TooMany { until } => {
            let when = until.map_or(String::new(), |at| format!(" until {at}"));
            Stop::refuse(
                Code::RotationUnderWay,
                format!(
                    "{} keys of this algorithm are still verified{when}; wait, or say `emergency`",
                    signing::MOST
                ),
            )
        }
    }
}
