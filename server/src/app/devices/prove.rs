//! What the verbs share that meet a proof: find what its challenge is worth, have it judged, and note that the challenge
//! was used in the batch that depends on it.

use crate::app::control::Env;
use crate::app::records::{Loaded, Stage};
use crate::app::{App, Fault, Stop};
use crate::codec::device::{challenge_key, challenge_record, device_key, device_record, read_device};
use crate::store::{Expect, Op, StoreError, Versioned};
use handstamp_core::device::challenge::{self, Answerer, Challenge, Client as For, Given};
use handstamp_core::device::key::PublicKey;
use handstamp_core::device::known::{self, Known};
use handstamp_core::device::proof::{Brings, Proof, session_hash};
use handstamp_core::device::{self, Asked, Demand, Passed, Shown, Standing, Target};
use handstamp_core::id::{Bucket, EnvironmentId, UserId};
use handstamp_core::policy::Effective;
use handstamp_core::refusal::{Code, Refusal};
use handstamp_core::session::Client;
use handstamp_core::subject::Endpoint;
use handstamp_core::time::Millis;

/// A proof, and the request that the caller got it with. The door has checked method and URL.
#[derive(Clone, Default)]
pub struct Sent {
    /// As it came.
    pub proof: String,
    /// See [`device::target::method`]; `None`: not compared.
    pub method: Option<String>,
    /// In the form of [`device::target::url`]; `None`: not compared.
    pub url: Option<String>,
}

/// A proof that brings its key.
pub struct Introduction {
    /// The proof.
    pub sent: Sent,
    /// Whether the user is to be known to have the device.
    pub remember: bool,
}

/// What a validation is told of the device.
#[derive(Clone, Default)]
pub enum Device {
    /// Nothing came.
    #[default]
    Unsent,
    /// The rule is left out for this call: it is about the device itself, or cannot carry a proof.
    Ignored,
    /// A proof.
    Sent(Box<Sent>),
}

impl App {
    /// A fresh challenge.
    pub(in crate::app) fn give_challenge(&self, env: EnvironmentId, to: For<'_>) -> Result<Given, Fault> {
        Ok(challenge::give(env, to, self.draw_bytes()?, self.now(), &self.keys))
    }

    /// What goes with a refusal of this code: who only lacks a fresh signature gets a challenge for it.
    pub(in crate::app) fn challenge_with(
        &self,
        code: Code,
        env: EnvironmentId,
        to: For<'_>,
    ) -> Result<Option<Given>, Fault> {
        let helps = matches!(code, Code::DeviceProofMissing | Code::DeviceProofStale);
        helps.then(|| self.give_challenge(env, to)).transpose()
    }

    /// Judges the device of a freshly loaded session that is good otherwise.
    pub(in crate::app) async fn judge_device(
        &self,
        env: &Env,
        policy: &Effective,
        loaded: &Loaded,
        (came, demand, from): (&Device, Demand, Endpoint<'_>),
        now: Millis,
    ) -> Result<Result<Passed, Refusal>, StoreError> {
        let asked = Asked::of(&policy.device, demand);
        let session = &loaded.session;
        let registered = session.device.as_deref();
        match came {
            Device::Ignored => Ok(Ok(asked.excused(registered.is_some()))),
            Device::Sent(sent) if asked.asks(registered.is_some()) => {
                let by = Answerer::Session(session.id, from);
                let judge = |shown: &Shown<'_>| device::judge(asked, registered, Some(shown), now);
                self.show(env, sent, by, Brings::NoKey, judge).await
            }
            Device::Sent(_) | Device::Unsent => Ok(device::judge(asked, registered, None, now)),
        }
    }

    /// The key that a proof brings, and the challenge that is used up by it.
    pub(in crate::app) async fn introduced(
        &self,
        env: &Env,
        device: &Introduction,
        by: Answerer<'_>,
        now: Millis,
    ) -> Result<(PublicKey, Challenge), Stop> {
        let introduce = |shown: &Shown<'_>| device::introduce(shown, now);
        match self.show(env, &device.sent, by, Brings::Key, introduce).await? {
            Ok(introduced) => Ok(introduced),
            Err(refusal) => {
                let fresh = self.challenge_with(refusal.code, env.record.id, by.own())?;
                Err(Stop::from(refusal).with_challenge(fresh))
            }
        }
    }

    /// Reads a proof and finds what its challenge is worth. The store is asked only for challenges that are ours.
    async fn show<T>(
        &self,
        env: &Env,
        sent: &Sent,
        by: Answerer<'_>,
        brings: Brings,
        ask: impl FnOnce(&Shown<'_>) -> T,
    ) -> Result<T, StoreError> {
        let proof = Proof::read(&sent.proof, brings);
        let env = env.record.id;
        let found =
            proof.as_ref().ok().and_then(|p| challenge::recognise(env, p.challenge(), by, &self.keys));
        let standing = match found {
            None => Standing::Foreign,
            Some(challenge) => {
                let known = self.store.load(&[challenge_key(env, &challenge)]).await?;
                Standing::Ours { challenge, used: known.iter().any(Option::is_some) }
            }
        };
        let target = Target {
            method: sent.method.as_deref(),
            url: sent.url.as_deref(),
            session: by.session().map(session_hash),
        };
        Ok(ask(&Shown { proof: proof.as_ref().map_err(|flaw| *flaw), target, standing }))
    }

    /// A user's device was seen: whether it is new to them. What is known of it from now on goes into the stage.
    pub(in crate::app) async fn see_device(
        &self,
        env: &Env,
        (user, key, remember, client): (&UserId, PublicKey, bool, &Client),
        stage: &mut Stage,
        now: Millis,
    ) -> Result<bool, Stop> {
        let env = env.record.id;
        let bucket = self.keys.bucket(env, user);
        let found = self.store.load(&[device_key(env, user, key.id())]).await?.into_iter().next().flatten();
        let before = found.as_ref().map(read_device).transpose()?;
        let seen = known::see(before, user, key, remember, client, now);
        if let Some(known) = &seen.record {
            let expect = found.as_ref().map_or(Expect::Absent, |found| Expect::Version(found.version));
            stage.op(Op::Put { expect, record: device_record(env, bucket, known) });
            if found.is_none() {
                self.make_room(env, user, stage).await?;
            }
        }
        Ok(seen.new)
    }

    /// Forgets the devices that were not seen for the longest time, so that with one more there are not too many.
    async fn make_room(&self, env: EnvironmentId, user: &UserId, stage: &mut Stage) -> Result<(), Stop> {
        let found = self.find_devices(env, user).await?;
        let mut known: Vec<(Known, &Versioned)> =
            found.iter().map(|found| Ok((read_device(found)?, found))).collect::<Result<_, StoreError>>()?;
        known.sort_by_key(|(known, _)| known.last_seen);
        let many = (known.len() + 1).saturating_sub(known::MOST);
        for (_, found) in known.iter().take(many) {
            let (key, expect) = (found.record.key.clone(), Expect::Version(found.version));
            stage.op(Op::Delete { key, expect });
        }
        Ok(())
    }

    /// Whether a device was new to its user when it was seen at `at`.
    pub(in crate::app) async fn was_new(
        &self,
        env: EnvironmentId,
        user: &UserId,
        key: PublicKey,
        at: Millis,
    ) -> Result<bool, StoreError> {
        let found = self.store.load(&[device_key(env, user, key.id())]).await?.into_iter().next().flatten();
        Ok(found.as_ref().map(read_device).transpose()?.is_none_or(|known| known.first_seen >= at))
    }
}

/// That a challenge was used. It must not have been: of many batches that say so, one goes through.
pub(in crate::app) fn used(env: EnvironmentId, bucket: Bucket, challenge: &Challenge) -> Op {
    Op::Put { expect: Expect::Absent, record: challenge_record(env, bucket, challenge) }
}
