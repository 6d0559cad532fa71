//! The first key of a job: with its environment, at the next start where an older store lacks one, and of an algorithm that
//! nobody has signed with when somebody first needs it. Nobody verifies yet, so it is published and used in the same commit.

use super::super::callers::Caller;
use super::super::control::Env;
use super::super::token_keys::{Fresh, draw};
use super::super::{App, Fault, Stop};
use super::TRIES;
use crate::store::StoreError;
use handstamp_core::id::EnvironmentId;
use handstamp_core::jose::key::Algorithm;
use handstamp_core::session::By;
use handstamp_core::signing::{self, Job, Life, TokenKey};
use std::sync::Arc;

impl App {
    /// Makes the environment's first key of an algorithm, if none is published: not even one that waits for its time. Many who
    /// ask at once, on one node or several, get the same one. The environment as it is then.
    ///
    /// What the caller may do is not asked: with a key alone nobody can do anything.
    ///
    /// # Errors
    /// The environment is gone; faults.
    pub async fn have_signing_key(&self, caller: &Caller, algorithm: Algorithm) -> Result<Arc<Env>, Stop> {
        let (id, job) = (caller.env.record.id, Job::from(algorithm));
        let seen = self.env(id)?;
        if seen.tokens.publishes(job, self.now()) {
            return Ok(seen);
        }
        // One draws, and the others find its key.
        let drawing = self.drawing.clone().lock_owned().await;
        let seen = self.env(id)?;
        if seen.tokens.publishes(job, self.now()) {
            return Ok(seen);
        }
        let entropy = self.entropy.clone();
        // Who goes away meanwhile does not let the next one draw beside it.
        let drawn = tokio::task::spawn_blocking(move || (draw(entropy.as_ref(), job), drawing));
        let (fresh, _drawing) = drawn.await.map_err(|_| Fault::Entropy)?;
        let fresh = fresh?;
        for _ in 0..TRIES {
            let turn = self.control_turn().await?;
            let env = self.env(id)?;
            if env.tokens.publishes(job, self.now()) {
                return Ok(env);
            }
            let first = self.first_of(id, job, &fresh)?;
            let note = format!(
                "{} {}, in use from {}, the first of its algorithm",
                job.algorithm(),
                first.kid,
                first.life.activate_at
            );
            let keys = env.tokens.stored().into_iter().chain([first]).collect();
            match self.store_keys(turn, &env, keys, Some((By::System, note)), None).await {
                Ok(_turn) => return self.env(id),
                // Another node came first: what it left is looked at next.
                Err(Fault::Store(StoreError::Conflict)) => {}
                Err(fault) => return Err(fault.into()),
            }
        }
        Err(Fault::Contended.into())
    }

    /// Makes sure that every environment has a key to sign with and one to seal with: those of stores that were made
    /// before there were any.
    pub(in crate::app) async fn complete_token_keys(&self) -> Result<(), Stop> {
        for env in self.all_environments() {
            if self.missing(&env.tokens.stored()).is_empty() {
                continue;
            }
            self.while_overtaken(|| self.complete_keys_of(env.record.id)).await?;
        }
        Ok(())
    }

    async fn complete_keys_of(&self, id: EnvironmentId) -> Result<(), Stop> {
        let turn = self.control_turn().await?;
        let env = self.env(id)?;
        let mut keys = env.tokens.stored();
        let missing = self.missing(&keys);
        if missing.is_empty() {
            return Ok(());
        }
        for job in missing {
            keys.push(self.first_key(id, job)?);
        }
        self.store_keys(turn, &env, keys, None, None).await?;
        Ok(())
    }

    /// Jobs that need a key and have none: what signs where nobody says with what, and what seals.
    fn missing(&self, keys: &[TokenKey]) -> Vec<Job> {
        let mut jobs = vec![Job::EdDsa, Job::Data, Job::from(self.makers.algorithm)];
        jobs.sort_unstable();
        jobs.dedup();
        let now = self.now();
        jobs.retain(|job| !signing::is_published(keys, *job, now));
        jobs
    }

    /// The first keys of an environment. Nobody verifies yet, so they begin at once.
    pub(in crate::app) fn first_token_keys(&self, env: EnvironmentId) -> Result<Vec<TokenKey>, Fault> {
        self.missing(&[]).into_iter().map(|job| self.first_key(env, job)).collect()
    }

    fn first_key(&self, env: EnvironmentId, job: Job) -> Result<TokenKey, Fault> {
        self.first_of(env, job, &draw(self.entropy.as_ref(), job)?)
    }

    fn first_of(&self, env: EnvironmentId, job: Job, fresh: &Fresh) -> Result<TokenKey, Fault> {
        let now = self.now();
        let wrapped = self.wrapped(env, job, fresh)?;
        Ok(TokenKey { kid: fresh.kid.clone(), job, life: Life::new(now, now), sealings: 0, wrapped })
    }
}
