//! Logins on their way: the address of a login page, and the exchange of a one-time code for the session behind it.

use super::callers::Caller;
use super::control::Env;
use super::records::{Decision, Stage};
use super::view::View;
use super::{App, Stop};
use crate::codec::login::{login_key, read_login, write_login};
use crate::codec::session_key;
use crate::store::{Expect, Op};
use handstamp_core::caller::Scope;
use handstamp_core::id::{EnvironmentId, SessionId};
use handstamp_core::login::{self, Ahead, Challenge, Pending, Presented};
use handstamp_core::redirect::{self, ReturnTo};
use handstamp_core::refusal::{Code, Refusal};
use handstamp_core::rotation::Issued;
use handstamp_core::secret::PlainToken;
use handstamp_core::time::Millis;
use handstamp_core::token::opaque::open;
use handstamp_core::token::{Kind, Unreadable};
use handstamp_core::transition::create::Repeated;
use handstamp_core::transition::redeem::redeem;

/// The way that a session takes to the page it is for, as the caller says it.
pub struct ToLogin {
    /// An address of an origin that a login may lead back to.
    pub redirect_uri: String,
    /// What whoever exchanges the code has to answer.
    pub challenge: Option<Challenge>,
}

/// What the caller is given.
pub enum Given {
    /// The session's credentials.
    Tokens(Issued),
    /// A one-time code instead of them.
    Code(GivenCode),
}

impl Given {
    /// The session's token, where the caller is given it.
    pub fn token(&self) -> Option<&str> {
        match self {
            Given::Tokens(issued) => Some(issued.session.reveal()),
            Given::Code(_) => None,
        }
    }
}

/// A one-time code.
pub struct GivenCode {
    /// The code.
    pub code: PlainToken,
    /// Where to send the browser with it.
    pub redirect_to: String,
    /// From then on it is too late.
    pub until: Millis,
}

impl GivenCode {
    fn of(code: PlainToken, pending: &Pending) -> GivenCode {
        let redirect_to = pending.ahead.return_to.with_code(code.reveal());
        GivenCode { code, redirect_to, until: pending.until }
    }
}

/// What a new session's caller is given: where there is a code, its record goes into the same batch.
pub(super) fn hand_over(
    env: EnvironmentId,
    stage: &mut Stage,
    issued: Issued,
    code: Option<(PlainToken, Pending)>,
) -> Given {
    let Some((code, pending)) = code else { return Given::Tokens(issued) };
    stage.op(Op::Put { expect: Expect::Absent, record: write_login(env, &pending) });
    Given::Code(GivenCode::of(code, &pending))
}

/// A session that was handed over.
pub struct Exchanged {
    /// The session.
    pub view: View,
    /// Its first credentials, shown once.
    pub issued: Issued,
    /// Where the login was to lead back to, without the code.
    pub return_to: ReturnTo,
}

impl App {
    /// May a login of this environment lead back there? By the origins that are in force at this instant.
    ///
    /// # Errors
    /// `redirect_not_allowed`; the environment is gone.
    pub fn judge_return(&self, env: &Env, text: &str) -> Result<ReturnTo, Stop> {
        Ok(redirect::judge(text, &self.env(env.record.id)?.origins.redirect)?)
    }

    pub(super) async fn ahead(&self, env: &Env, to: ToLogin) -> Result<Ahead, Stop> {
        let return_to = match self.judge_return(env, &to.redirect_uri) {
            Ok(return_to) => return_to,
            // Memory says no to nobody: it may have been listed on another node a moment ago.
            Err(_) => {
                self.look_up_stranger().await?;
                self.judge_return(env, &to.redirect_uri)?
            }
        };
        Ok(Ahead { return_to, challenge: to.challenge })
    }

    /// What a repeat of the request that made a session is given; `None`, where its code was used or is too old.
    pub(super) async fn given_again(
        &self,
        env: EnvironmentId,
        session: SessionId,
        same: Repeated,
        now: Millis,
    ) -> Result<Option<Given>, Stop> {
        let Repeated { issued, code } = same;
        let Some(code) = code else { return Ok(Some(Given::Tokens(issued))) };
        let pending = self.pending(env, session).await?;
        let good = pending.filter(|(pending, _)| pending.used_at.is_none() && now < pending.until);
        Ok(good.map(|(pending, _)| Given::Code(GivenCode::of(code, &pending))))
    }

    /// Exchanges a one-time code. Of any number of exchanges of one code, one succeeds.
    ///
    /// # Errors
    /// `login_code_invalid`, `login_code_expired`, `login_code_used`, `redirect_not_allowed`, `session_ended`,
    /// `insufficient_scope`; faults.
    pub async fn exchange_login(
        &self,
        caller: &Caller,
        code: &str,
        presented: Presented<'_>,
    ) -> Result<Exchanged, Stop> {
        caller.allow(Scope::SessionsWrite)?;
        let env_id = caller.env.record.id;
        let opened = open(Kind::LoginCode, env_id, code, &self.keys).map_err(|why| match why {
            Unreadable::Missing | Unreadable::Malformed | Unreadable::WrongKind => {
                Stop::from(Refusal::plain(Code::LoginCodeInvalid, login::RULE))
            }
        })?;
        let bucket = opened.session.bucket();
        self.decide(bucket, || async {
            self.doubts().await?;
            // A genuine code without a record was forgotten long after its end.
            let forgotten = || Stop::from(Refusal::plain(Code::LoginCodeExpired, login::RULE));
            let (pending, version) = self.pending(env_id, opened.session).await?.ok_or_else(forgotten)?;
            let loaded = self.load_session(env_id, opened.session).await?.ok_or_else(forgotten)?;
            let env = self.env(env_id)?;
            let now = self.now();
            let living = self.ground(&env, now).living(&loaded.session, loaded.seen);
            let living = living.map_err(super::update::ended)?;
            let done = redeem(living, &pending, &opened, presented, &env.origins.redirect, caller.by())?;
            let mut stage = Stage::new(bucket, now);
            stage
                .op(Op::Put { expect: Expect::Version(version), record: write_login(env_id, &done.pending) });
            // Not of a session that somebody is ending or authenticating again in this instant.
            let expect = Expect::Version(loaded.version);
            stage.op(Op::Check { key: session_key(env_id, opened.session), expect });
            stage.events(&env, &[done.event]);
            let view = self.view(&env, loaded, now)?;
            let return_to = done.pending.ahead.return_to;
            Ok(Decision::Commit(stage, Exchanged { view, issued: done.issued, return_to }))
        })
        .await
    }

    /// What is stored of the code of a session, and the version of that.
    async fn pending(&self, env: EnvironmentId, session: SessionId) -> Result<Option<(Pending, u64)>, Stop> {
        let found = self.store.load(&[login_key(env, session)]).await?.into_iter().next().flatten();
        Ok(found.map(|found| read_login(&found).map(|read| (read, found.version))).transpose()?)
    }
}
