//! A session begins.

use super::{Change, Entropy, Ground, Impossible};
use crate::device::Registered;
use crate::device::key::PublicKey;
use crate::event::{Event, EventKind};
use crate::expiry;
use crate::id::{SessionId, UserId};
use crate::login::{self, Ahead, Pending};
use crate::policy::{Effective, Origin, Policy};
use crate::rotation::{Chain, Issued, issue};
use crate::sealing::Sealed;
use crate::secret::PlainToken;
use crate::session::{Actor, By, Client, HeldTag, Session, State};
use crate::step_up::Auth;
use crate::tag::{Group, Tag};
use crate::time::{Millis, Span};
use crate::token::Kind;
use crate::token::opaque::{Holder, Nonce, idempotent_nonce, nonce_behind};
use crate::user::User;

/// What the caller asks for. Its values were checked when they were made.
#[derive(Clone)]
pub struct NewSession {
    /// Whose it is.
    pub user: UserId,
    /// In any order; each counts once.
    pub tags: Vec<Tag>,
    /// In any order; each counts once.
    pub groups: Vec<Group>,
    /// The application's data in the clear: JSON text.
    pub data: Option<Vec<u8>>,
    /// May shorten the policy's life, never lengthen it.
    pub expires_in: Option<Span>,
    /// Whether it has a refresh token.
    pub refresh: bool,
    /// What is said of the authentication.
    pub auth: Option<Proved>,
    /// Who acts in the user's place.
    pub actor: Option<Actor>,
    /// From where.
    pub client: Client,
    /// The key that its device has proved to have (see [`crate::device::introduce`]).
    pub device: Option<PublicKey>,
    /// Who asks.
    pub by: By,
    /// A digest of access key, idempotency key and body: the same request gives the same credentials.
    pub idempotency: Option<[u8; 32]>,
    /// It is handed over by a one-time code, and not to who asks.
    pub login: Option<Ahead>,
}

/// An authentication, and when it was.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Proved {
    /// How, and how much it proves.
    pub auth: Auth,
    /// `None`: just now.
    pub at: Option<Millis>,
}

impl Proved {
    /// When it was; never after now, whatever another machine's clock says.
    pub fn when(proved: Option<&Proved>, now: Millis) -> Millis {
        proved.and_then(|proved| proved.at).map_or(now, |at| at.min(now))
    }
}

/// A session that can be committed, and its credentials.
pub struct Created {
    /// The session, its user's record, and the event.
    pub change: Change,
    /// Handed out once the change is committed; where there is a code, by its exchange alone.
    pub issued: Issued,
    /// The one-time code, and what is stored of it.
    pub code: Option<(PlainToken, Pending)>,
}

/// Makes the session. `user` is the user's record, or a new one.
///
/// # Errors
/// [`Impossible`] when the data cannot be sealed.
pub fn create(
    ground: Ground<'_>,
    new: NewSession,
    user: User,
    entropy: &Entropy,
) -> Result<Created, Impossible> {
    let id = entropy.session(ground.now, ground.keys.bucket(ground.env, &new.user));
    create_as(ground, id, new, user, entropy)
}

/// The same under a name that was chosen before, of [`Entropy::session`] with the user's bucket.
///
/// # Errors
/// [`Impossible`] when the data cannot be sealed.
pub fn create_as(
    ground: Ground<'_>,
    id: SessionId,
    new: NewSession,
    user: User,
    entropy: &Entropy,
) -> Result<Created, Impossible> {
    let now = ground.now;
    let data = new.data.as_deref().map(|plain| seal(ground, id, plain, entropy)).transpose()?;
    let holder = Holder { env: ground.env, session: id, user: new.user.as_str() };
    let set = ground.keys.current();
    let nonce = |kind, random| match &new.idempotency {
        Some(request) => idempotent_nonce(kind, holder, request, set),
        None => Nonce::new(random),
    };
    let code_nonce = || nonce(Kind::LoginCode, entropy.session_nonce());
    let handed = new.login.clone().map(|ahead| (code_nonce(), ahead));
    let first = |kind, random| match &handed {
        None => nonce(kind, random),
        Some((code, _)) => nonce_behind(kind, code, holder, set),
    };
    let session_nonce = first(Kind::Session, entropy.session_nonce());
    let refresh_nonce = new.refresh.then(|| first(Kind::Refresh, entropy.refresh_nonce()));
    let code = handed.map(|(nonce, ahead)| login::give(holder, &nonce, ahead, set, now));
    let (issued, verifiers) = issue(holder, 0, &session_nonce, refresh_nonce.as_ref(), set);

    let tags = tags_of(&new)?;
    let effective = ground.policy.of_tags(tags.iter().map(Tag::as_str));
    let expires_in = life(&new, ground.policy, &effective);
    let limits = expiry::initial(expires_in, new.refresh, &effective);
    let session = Session {
        id,
        user: new.user.clone(),
        tags: held(tags, ground.ledger.counter),
        groups: sorted(new.groups),
        data: data.map(Box::new),
        // Of its name, so that lists by time and what they show agree.
        created_at: id.made_at(),
        authenticated_at: Proved::when(new.auth.as_ref(), now),
        born: ground.ledger.counter,
        expires_in,
        limits,
        chain: Chain::new(verifiers, set.id, now, new.idempotency.is_some()),
        client: new.client.clone(),
        last_client: None,
        device: new.device.map(|key| Box::new(Registered::new(key, now))),
        auth: new.auth.map(|proved| Box::new(proved.auth)),
        actor: new.actor.map(Box::new),
        anchor: None,
        tokens_until: None,
        status_index: None,
        state: State::Live,
    };
    let user = User { live: user.live.saturating_add(1), ..user };
    let event = Event::of(&session, EventKind::Created, now, new.by, new.client);
    Ok(Created { change: Change { session, user: Some(user), events: vec![event] }, issued, code })
}

/// The credentials that a repeat of the same request is given.
pub struct Repeated {
    /// Where there is a code, handed out by its exchange alone.
    pub issued: Issued,
    /// The same code again. Whether it is still good, its record says.
    pub code: Option<PlainToken>,
}

/// The credentials of a session made under an idempotency key, for a repeat of the same request; `None` once a token of
/// it was presented or replaced, or when the session is not of that request.
pub fn repeat(
    ground: Ground<'_>,
    session: &Session,
    request: &[u8; 32],
    login: Option<&Ahead>,
) -> Option<Repeated> {
    if session.chain.generation != 0 || !session.chain.awaiting || !session.is_live() {
        return None;
    }
    let set = ground.keys.set(session.chain.key_id)?;
    let holder = Holder { env: ground.env, session: session.id, user: session.user.as_str() };
    let code = login.map(|ahead| {
        let nonce = idempotent_nonce(Kind::LoginCode, holder, request, set);
        let (code, _) = login::give(holder, &nonce, ahead.clone(), set, ground.now);
        (nonce, code)
    });
    let first = |kind| match &code {
        None => idempotent_nonce(kind, holder, request, set),
        Some((nonce, _)) => nonce_behind(kind, nonce, holder, set),
    };
    let session_nonce = first(Kind::Session);
    let refresh_nonce = session.chain.has_refresh().then(|| first(Kind::Refresh));
    let (issued, verifiers) = issue(holder, 0, &session_nonce, refresh_nonce.as_ref(), set);
    let code = code.map(|(_, code)| code);
    verifiers.session.matches(&session.chain.current.session).then_some(Repeated { issued, code })
}

pub(super) fn seal(
    ground: Ground<'_>,
    id: SessionId,
    plain: &[u8],
    entropy: &Entropy,
) -> Result<Sealed, Impossible> {
    ground
        .data_key
        .seal(ground.env, id, plain, entropy.seal())
        .map_err(|_| Impossible("session data could not be sealed"))
}

/// A session in which somebody acts in the user's place says so by a tag.
fn tags_of(new: &NewSession) -> Result<Vec<Tag>, Impossible> {
    let mut tags = new.tags.clone();
    if new.actor.is_some() {
        tags.push(Tag::parse(Actor::TAG).map_err(|_| Impossible("the tag of impersonation is no tag"))?);
    }
    Ok(tags)
}

/// What was asked for; and a session in the user's place is short, also where no policy says how short, and lasts no longer
/// than what stood when it was made: a section that goes must not leave somebody there for as long as the user may stay.
fn life(new: &NewSession, policy: &Policy, effective: &Effective) -> Option<Span> {
    if new.actor.is_none() {
        return new.expires_in;
    }
    // A rule for every kind of session says nothing of this one, and other tags of it do not hide what is said.
    let says = |pattern: &str| pattern == Actor::TAG;
    let by_policy = match &policy.of_tags([Actor::TAG]).absolute_timeout.origin {
        Origin::Tag(pattern) | Origin::Preset(_, Some(pattern)) => says(pattern),
        Origin::Preset(_, None)
        | Origin::Default
        | Origin::Creation
        | Origin::Stored
        | Origin::SessionType(_) => false,
    };
    let most = if by_policy { effective.absolute_timeout.value } else { Actor::LIFE };
    Some(new.expires_in.map_or(most, |asked| asked.min(most)))
}

fn held(mut tags: Vec<Tag>, since: u64) -> Box<[HeldTag]> {
    tags.sort_unstable();
    tags.dedup();
    tags.into_iter().map(|tag| HeldTag { tag, since }).collect()
}

fn sorted(mut groups: Vec<Group>) -> Box<[Group]> {
    groups.sort_unstable();
    groups.dedup();
    groups.into_boxed_slice()
}
