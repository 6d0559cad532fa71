//! Status lists: which sessions have ended of which a token could still live, a bit each, signed, for verifiers that know
//! nothing of this service.
//!
//! A place is given to a session for good, and never again: they are taken from the store in blocks, and what is left of a
//! block when the process ends is lost.

use super::control::{Env, batch, expecting};
use super::{App, Fault, Stop};
use crate::codec::status::{places_key, read_places, write_places};
use crate::store::{Op, StoreError};
use handstamp_core::environment::EnvironmentName;
use handstamp_core::id::EnvironmentId;
use handstamp_core::jose::{base64url, jws};
use handstamp_core::offline::clock::Tick;
use handstamp_core::refusal::Code;
use handstamp_core::session::Session;
use handstamp_core::status::{LIST, PLACES, Place, TYPE, Turner};
use handstamp_core::time::{Millis, Span};
use handstamp_core::transition::Impossible;
use serde_json::json;
use std::collections::HashMap;
use std::sync::{Arc, MutexGuard, PoisonError};
use tokio::sync::Mutex;

/// How many places are taken from the store at once.
const BLOCK: u64 = 8_192;
/// How often that is tried while others come first.
const TRIES: u32 = 40;
/// A list is signed at most so often.
const SIGNED: Span = Span::secs(1);
/// After this time a verifier asks again.
pub const TTL: Span = Span::secs(15);
/// After this time a list is not to be believed any more.
const LIFE: Span = Span::secs(60);

/// A signed list.
#[derive(Clone)]
pub struct SignedList {
    /// The JSON Web Token.
    pub token: Arc<str>,
    /// When it was signed.
    pub at: Millis,
}

/// Places that were taken and not given yet, from and up to which count; and lists that were just signed.
#[derive(Default)]
pub(super) struct StatusLists {
    blocks: std::sync::Mutex<HashMap<EnvironmentId, (u64, u64)>>,
    turn: Mutex<()>,
    /// With when that was, by a clock that never stands still.
    signed: Mutex<HashMap<(EnvironmentId, u64), (Tick, SignedList)>>,
}

impl StatusLists {
    fn blocks(&self) -> MutexGuard<'_, HashMap<EnvironmentId, (u64, u64)>> {
        self.blocks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn left(&self, env: EnvironmentId) -> u64 {
        self.blocks().get(&env).map_or(0, |(next, end)| end - next)
    }
}

impl App {
    /// There are places at hand for sessions of which tokens are to be made.
    ///
    /// # Errors
    /// Faults.
    pub(super) async fn have_places(&self, env: EnvironmentId) -> Result<(), Stop> {
        if self.makers.issuer.is_none() || self.status.left(env) >= BLOCK / 2 {
            return Ok(());
        }
        let _turn = self.status.turn.lock().await;
        if self.status.left(env) < BLOCK / 2 {
            let (from, to) = self.take_block(env).await?;
            let mut blocks = self.status.blocks();
            let held = blocks.entry(env).or_insert((from, from));
            *held = if held.1 == from { (held.0, to) } else { (from, to) };
        }
        Ok(())
    }

    /// Whether a session is to have a place and has none.
    pub(super) fn wants_place(&self, session: &Session) -> bool {
        self.makers.issuer.is_some() && session.status_index.is_none()
    }

    /// The place of a session of which a token is made: its own, or one of those at hand. `None` where nobody could find the
    /// list, because this server does not know its own address.
    ///
    /// # Errors
    /// None is at hand.
    pub(super) fn place(&self, env: &Env, session: &Session) -> Result<Option<u64>, Stop> {
        if !self.wants_place(session) {
            return Ok(session.status_index);
        }
        let id = env.record.id;
        let mut blocks = self.status.blocks();
        let (next, _) = blocks.get_mut(&id).filter(|(next, end)| next < end).ok_or(Fault::Contended)?;
        let count = *next;
        *next += 1;
        Ok(Some(Turner::new(&self.master.derive(PLACES), id).place(count).status_index()))
    }

    /// What a token says of a place: where in the list, and which list.
    pub(super) fn status_claim(&self, env: &Env, status_index: u64) -> Option<(u64, String)> {
        let place = Place::of(status_index);
        Some((u64::from(place.index), self.list_uri(env, place.list)?))
    }

    /// A list, signed.
    ///
    /// # Errors
    /// `not_found`, `signing_key_missing`; faults.
    pub async fn status_list(&self, name: &EnvironmentName, list: u64) -> Result<SignedList, Stop> {
        let env = self.env_of_visitors(name)?;
        let no = |why: &str| Stop::refuse(Code::NotFound, why);
        let uri =
            self.list_uri(&env, list).ok_or_else(|| no("the configuration names no `[tokens] issuer`"))?;
        // Those who ask meanwhile wait for the one signature.
        let mut signed = self.status.signed.lock().await;
        let known = signed.get(&(env.record.id, list));
        if let Some((_, known)) = known.filter(|(signed, _)| self.clock.ticks().since(*signed) < SIGNED) {
            return Ok(known.clone());
        }
        let began = self.clock.ticks();
        let (given, _) = self.places_given(env.record.id).await?;
        if list >= given.div_ceil(LIST) {
            return Err(no("there is no such list"));
        }
        let bytes = self.ended_places(env.record.id, list).await?;
        let at = self.now();
        let key =
            env.tokens.signer(Some(self.makers.algorithm), at).ok_or(Stop::code(Code::SigningKeyMissing))?;
        let packed = base64url::encode(&miniz_oxide::deflate::compress_to_vec_zlib(&bytes, 6));
        let iat = at.0.div_euclid(1_000);
        let claims = json!({
            "sub": uri,
            "iat": iat,
            "exp": iat + LIFE.as_secs(),
            "ttl": TTL.as_secs(),
            "status_list": { "bits": 1, "lst": packed },
        });
        let token = jws::sign(key, TYPE, claims.to_string().as_bytes());
        let token = token.map_err(|_| Impossible("a status list could not be signed"))?.into();
        let list_of = SignedList { token, at };
        signed.retain(|_, (signed, _)| began.since(*signed) < LIFE);
        signed.insert((env.record.id, list), (began, list_of.clone()));
        Ok(list_of)
    }

    fn list_uri(&self, env: &Env, list: u64) -> Option<String> {
        let issuer = self.makers.issuer.as_ref()?;
        Some(format!("{issuer}/v1/status-lists/{list}?environment={}", env.record.name))
    }

    /// How many places were taken, and the version of the record that says so.
    async fn places_given(&self, env: EnvironmentId) -> Result<(u64, u64), StoreError> {
        match self.store.load(&[places_key(env)]).await?.into_iter().next().flatten() {
            None => Ok((0, 0)),
            Some(found) => Ok((read_places(&found)?, found.version)),
        }
    }

    async fn take_block(&self, env: EnvironmentId) -> Result<(u64, u64), Stop> {
        for _ in 0..TRIES {
            let (given, version) = self.places_given(env).await?;
            let record = write_places(env, given + BLOCK);
            let op = Op::Put { expect: expecting(version), record };
            match self.store.commit(batch(self.now(), vec![op])).await {
                Ok(()) => return Ok((given, given + BLOCK)),
                Err(StoreError::Conflict) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(Fault::Contended.into())
    }
}
