//! Access tokens are made of a live session, freshly loaded, and read back.
//!
//! Before a token is signed, its session remembers until when it can live: that is committed first, so that an end of the session
//! is told to everybody who verifies such tokens without asking. Every second token finds that said already, and writes nothing.

use super::callers::Caller;
use super::control::Env;
use super::read::no_session;
use super::records::{Decision, Loaded, Stage, open_data};
use super::update::ended;
use super::{App, Stop};
use handstamp_core::access_token::{self, Making, Reader, Wish};
use handstamp_core::base62;
use handstamp_core::caller::Scope;
use handstamp_core::expiry;
use handstamp_core::id::{EnvironmentId, SessionId, UserId};
use handstamp_core::jose::claims::{Claims, DATA_TYPE, RULE, TYPE};
use handstamp_core::jose::jws::{self, Unverified};
use handstamp_core::jose::key::Algorithm;
use handstamp_core::refusal::{Code, Refusal};
use handstamp_core::secret::PlainToken;
use handstamp_core::session::Session;
use handstamp_core::time::{Millis, Span};
use handstamp_core::transition::Impossible;
use handstamp_core::transition::mint::{mint, minted};
use serde_json::value::RawValue;

/// What access tokens say of whoever makes them.
#[derive(Clone, Debug)]
pub struct Makers {
    /// This server's address, without a slash at its end.
    pub issuer: Option<String>,
    /// With which they are signed where nobody asks for another one.
    pub algorithm: Algorithm,
}

/// What is asked for.
#[derive(Clone, Default)]
pub struct Order {
    /// What it says, for whom, for how long.
    pub wish: Wish,
    /// With what it is signed; `None`: as the configuration says.
    pub algorithm: Option<Algorithm>,
}

/// A token.
pub struct AccessToken {
    /// The text.
    pub token: PlainToken,
    /// Until when it is good, if nobody ends its session before.
    pub expires_at: Millis,
}

/// A token in the making. Whatever could be refused has been looked at; what is left can only fail by accident.
pub struct Draft {
    claims: Claims,
    data: Option<Box<RawValue>>,
    algorithm: Algorithm,
    /// The place in the status lists that it speaks of.
    place: Option<u64>,
}

/// Whether a session that has no place in the status lists is given one.
#[derive(Clone, Copy)]
pub(super) enum Places {
    /// No: this is only to see whether a token could be made.
    Look,
    /// Yes.
    Take,
}

impl Draft {
    /// Until when it is good.
    pub(super) fn until(&self) -> Millis {
        self.claims.until()
    }
}

impl App {
    /// Makes an access token of a live session.
    ///
    /// # Errors
    /// `not_found`, why the session is over, `data_too_large`, `signing_key_missing`, `insufficient_scope`; faults.
    pub async fn mint(&self, caller: &Caller, id: SessionId, order: &Order) -> Result<AccessToken, Stop> {
        self.allow(caller, Scope::TokensMint).await?;
        self.mint_of(caller.env.record.id, id, None, order).await
    }

    /// The same; with an owner, of their session only.
    pub(super) async fn mint_of(
        &self,
        env_id: EnvironmentId,
        id: SessionId,
        owner: Option<&UserId>,
        order: &Order,
    ) -> Result<AccessToken, Stop> {
        self.have_places(env_id).await?;
        let loaded = self.owned(env_id, id, owner).await?;
        // What was ended at once is that of after the load.
        let (env, now) = (self.env(env_id)?, self.now());
        let living = self.ground(&env, now).living(&loaded.session, loaded.seen).map_err(ended)?;
        let mut draft = self.draft(&env, &loaded.session, loaded.seen, order, (now, Places::Look))?;
        if self.wants_place(&loaded.session) || mint(living, draft.until(), None).is_some() {
            draft = self.note_token(env_id, id, owner, order).await?;
        }
        self.sign(env_id, draft).await
    }

    /// A session, freshly loaded. One of somebody else than the owner is as good as none.
    async fn owned(&self, env: EnvironmentId, id: SessionId, owner: Option<&UserId>) -> Result<Loaded, Stop> {
        let loaded = self.load_session(env, id).await?;
        let owned = loaded.filter(|loaded| owner.is_none_or(|owner| loaded.session.user == *owner));
        owned.ok_or_else(|| no_session(id))
    }

    /// Has the session remember until when a token of it can live.
    async fn note_token(
        &self,
        env: EnvironmentId,
        id: SessionId,
        owner: Option<&UserId>,
        order: &Order,
    ) -> Result<Draft, Stop> {
        self.decide(id.bucket(), || async {
            let loaded = self.owned(env, id, owner).await?;
            let (env, now) = (self.env(env)?, self.now());
            let living = self.ground(&env, now).living(&loaded.session, loaded.seen).map_err(ended)?;
            let draft = self.draft(&env, &loaded.session, loaded.seen, order, (now, Places::Take))?;
            Ok(match mint(living, draft.until(), draft.place) {
                None => Decision::Answer(draft),
                Some(change) => {
                    let mut stage = Stage::new(id.bucket(), now);
                    stage.change(self, &env, &loaded, None, &change, loaded.seen);
                    Decision::Commit(stage, draft)
                }
            })
        })
        .await
    }

    /// A token of a session that lives at `now`, and the session as it must be committed before the token is signed.
    ///
    /// # Errors
    /// `data_too_large`, `signing_key_missing`; faults.
    pub(super) fn draft_beside(
        &self,
        env: &Env,
        session: &mut Session,
        seen: Millis,
        order: &Order,
        (now, places): (Millis, Places),
    ) -> Result<Draft, Stop> {
        let draft = self.draft(env, session, seen, order, (now, places))?;
        if let Some(next) = minted(session, draft.until(), draft.place, now) {
            *session = next;
        }
        Ok(draft)
    }

    /// The same of a session that is being made, where one was ordered.
    pub(super) fn ordered_beside(
        &self,
        env: &Env,
        session: &mut Session,
        order: Option<&Order>,
        (now, places): (Millis, Places),
    ) -> Result<Option<Box<Draft>>, Stop> {
        let draft = |order| self.draft_beside(env, session, now, order, (now, places));
        order.map(draft).transpose().map(|draft| draft.map(Box::new))
    }

    fn draft(
        &self,
        env: &Env,
        session: &Session,
        seen: Millis,
        order: &Order,
        (now, places): (Millis, Places),
    ) -> Result<Draft, Stop> {
        let algorithm = order.algorithm.unwrap_or(self.makers.algorithm);
        if env.tokens.signer(Some(algorithm), now).is_none() {
            return Err(Stop::refuse(
                Code::SigningKeyMissing,
                format!("the environment has no {} key that may sign by now", algorithm.text()),
            ));
        }
        let effective = env.policy.of(session);
        let (issuer, audience) = (self.issuer(env), env.record.name.to_string());
        let place = match places {
            Places::Look if self.wants_place(session) => Some(u64::MAX), // as long as any
            Places::Look => session.status_index,
            Places::Take => self.place(env, session)?,
        };
        let mut id = String::new();
        base62::encode(&self.draw_bytes::<16>()?, &mut id);
        let making = Making {
            issuer: &issuer,
            audience: &audience,
            id,
            epoch: env.ledger.counter,
            ends: expiry::ends(session, seen, &effective).earliest(),
            data: None,
            status: place.and_then(|place| self.status_claim(env, place)),
        };
        let claims = access_token::claims(session, &order.wish, making, &effective, now);
        let data = open_data(env, session)?;
        if claims.not_before >= claims.expires_at && order.wish.begins_later(now) {
            return Err(Stop::field("/not_before", "is not before the end of the session"));
        }
        access_token::fits(&claims, data.as_ref().map(|data| data.get().len()))?;
        Ok(Draft { claims, data, algorithm, place })
    }

    /// Seals the data and signs. What the session is to remember of it is committed by now.
    pub(super) async fn sign(&self, env_id: EnvironmentId, draft: Draft) -> Result<AccessToken, Stop> {
        let Draft { mut claims, data, algorithm, .. } = draft;
        if let Some(data) = data {
            let key = self.sealing_key(env_id).await?;
            let sealed = key.seal(DATA_TYPE, data.get().as_bytes(), self.draw_bytes()?);
            claims.data =
                Some(sealed.map_err(|_| Impossible("data of a session could not be sealed for a token"))?);
        }
        let (env, now) = (self.env(env_id)?, self.now());
        let key = env.tokens.signer(Some(algorithm), now).ok_or(Stop::code(Code::SigningKeyMissing))?;
        let text = jws::sign(key, TYPE, claims.write().as_bytes());
        let text = text.map_err(|_| Impossible("an access token could not be signed"))?;
        Ok(AccessToken { token: PlainToken::new(text), expires_at: claims.until() })
    }

    /// What a genuine token of this environment says that is for `audience` (`None`: the environment itself) and good at `now`.
    /// Of its session it says nothing yet.
    ///
    /// # Errors
    /// The refusal.
    pub(super) fn read_access(
        &self,
        env: &Env,
        text: &str,
        audience: Option<&str>,
        now: Millis,
    ) -> Result<Claims, Refusal> {
        let malformed = || Refusal::plain(Code::TokenMalformed, RULE);
        let token = Unverified::read(text, TYPE).map_err(|_| malformed())?;
        let key = env.tokens.verifier(token.kid(), now).ok_or_else(malformed)?;
        let payload = token.verify(key).map_err(|_| malformed())?;
        let claims = Claims::read(&payload).map_err(|_| malformed())?;
        let itself = env.record.name.to_string();
        let audience = audience.unwrap_or(&itself);
        Reader { issuer: &self.issuer(env), audience, leeway: Span(0) }.judge(&claims, now)?;
        Ok(claims)
    }

    /// Whether the key is known that a token says it is signed with; of what is no token nothing is to be known.
    pub(super) fn knows_signer(&self, env: &Env, text: &str) -> bool {
        Unverified::read(text, TYPE)
            .map_or(true, |token| env.tokens.verifier(token.kid(), self.now()).is_some())
    }

    /// Whose tokens these are, as `iss` says it.
    fn issuer(&self, env: &Env) -> String {
        match &self.makers.issuer {
            Some(address) => format!("{address}/{}", env.record.name),
            None => format!("handstamp:{}", env.record.name),
        }
    }
}
