//! A one-time code is exchanged: the session that a login made reaches the page it was for.

use super::Living;
use crate::event::{Event, EventKind};
use crate::login::{self, Pending, Presented};
use crate::origin::Allowed;
use crate::refusal::{Code, Refusal};
use crate::rotation::{Issued, issue};
use crate::session::{By, Client};
use crate::token::Kind;
use crate::token::opaque::{Holder, Opened, nonce_behind};

/// What to commit before the answer is given, and what is handed out then.
pub struct Redeemed {
    /// The code, as one that was used.
    pub pending: Pending,
    /// What history says of it.
    pub event: Event,
    /// The session's first credentials, which nobody has had before.
    pub issued: Issued,
}

/// Exchanges a genuine code for the session that stands behind it. The session itself does not change: its token was in
/// force, and unknown to everybody, since the login.
///
/// # Errors
/// Those of [`login::judge`]; `login_code_used` when the session's credentials have been replaced since.
pub fn redeem(
    living: Living<'_>,
    pending: &Pending,
    code: &Opened,
    presented: Presented<'_>,
    allowed: &Allowed,
    by: By,
) -> Result<Redeemed, Refusal> {
    let Living { ground, session } = living;
    let holder = Holder { env: ground.env, session: session.id, user: session.user.as_str() };
    login::judge(holder, pending, code, presented, allowed, ground.keys, ground.now)?;
    let gone = || Refusal::plain(Code::LoginCodeUsed, login::RULE);
    let set = ground.keys.set(code.key_id).ok_or_else(gone)?;
    let first = |kind| nonce_behind(kind, &code.nonce, holder, set);
    let chain = &session.chain;
    let refresh = chain.has_refresh().then(|| first(Kind::Refresh));
    let (issued, verifiers) = issue(holder, 0, &first(Kind::Session), refresh.as_ref(), set);
    if chain.generation != 0 || !verifiers.session.matches(&chain.current.session) {
        return Err(gone());
    }
    let event = Event {
        note: Some(pending.ahead.return_to.origin().into()),
        ..Event::of(session, EventKind::LoginExchanged, ground.now, by, Client::default())
    };
    Ok(Redeemed { pending: Pending { used_at: Some(ground.now), ..pending.clone() }, event, issued })
}
