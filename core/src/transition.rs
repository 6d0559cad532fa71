//! What becomes of the records: pure functions from (records, command, policy, now, entropy) to (next records, events)
//! or a refusal. The caller loads, calls one of these, and commits; if something changed in between, it does so again.
//!
//! * [`create`]: a session begins. [`admit`]: whether there is room for it.
//! * [`present`]: what a judgement of a presented token brings about; and the exchange of a refresh token.
//! * [`update`]: tags, groups, data and times of a live session; authentication again.
//! * [`mint`]: an access token is made of a live session.
//! * [`bind`]: a live session gets its device.
//! * [`redeem`]: a one-time code is exchanged for the session behind it.
//! * [`finish`]: a session ends: by a caller, by its client, by time, by an epoch.

use crate::epoch::Ledger;
use crate::event::Event;
use crate::id::{Bucket, EnvironmentId, SessionId};
use crate::judge::{Bench, over};
use crate::policy::Policy;
use crate::refusal::Refusal;
use crate::sealing::DataKey;
use crate::session::Session;
use crate::time::Millis;
use crate::token::keyring::Keyring;
use crate::user::User;

pub mod admit;
pub mod bind;
pub mod create;
pub mod finish;
pub mod mint;
pub mod present;
pub mod redeem;
pub mod update;

/// What every transition stands on.
#[derive(Clone, Copy)]
pub struct Ground<'a> {
    /// The environment.
    pub env: EnvironmentId,
    /// Its rules.
    pub policy: &'a Policy,
    /// What was ended at once.
    pub ledger: &'a Ledger,
    /// What makes and recognises tokens.
    pub keys: &'a Keyring,
    /// What seals session data.
    pub data_key: &'a DataKey,
    /// Read once, at the edge.
    pub now: Millis,
}

impl<'a> Ground<'a> {
    /// What a judgement needs of it.
    pub const fn bench(&self) -> Bench<'a> {
        Bench { env: self.env, ledger: self.ledger, keys: self.keys }
    }

    /// Finds the session alive, `seen` being its last activity.
    ///
    /// # Errors
    /// Why it is over.
    pub fn living(self, session: &'a Session, seen: Millis) -> Result<Living<'a>, Refusal> {
        let effective = self.policy.of(session);
        match over(session, seen, self.ledger, &effective, self.now) {
            None => Ok(Living { ground: self, session }),
            Some(refusal) => Err(refusal),
        }
    }
}

/// A session that was found alive, and where and when it was. Only such a one can be changed: whatever time or an epoch
/// has ended does not come back because its record was not written down yet and somebody took the tag off it, or
/// authenticated again. Made by [`Ground::living`].
#[derive(Clone, Copy)]
pub struct Living<'a> {
    ground: Ground<'a>,
    session: &'a Session,
}

/// Random bytes for one transition, drawn once at the edge. Each use has bytes of its own.
pub struct Entropy([u8; 96]);

impl Entropy {
    /// Keeps 96 random bytes.
    pub const fn new(bytes: [u8; 96]) -> Entropy {
        Entropy(bytes)
    }
    fn part<const AT: usize, const N: usize>(&self) -> [u8; N] {
        let mut out = [0; N];
        out.iter_mut().zip(self.0.iter().skip(AT)).for_each(|(to, from)| *to = *from);
        out
    }
    /// A session's name, for who must know it before the session is made.
    pub fn session(&self, now: Millis, bucket: Bucket) -> SessionId {
        SessionId::new(now, bucket, self.session_id())
    }
    fn session_id(&self) -> [u8; 9] {
        self.part::<0, 9>()
    }
    fn seal(&self) -> [u8; 12] {
        self.part::<9, 12>()
    }
    fn session_nonce(&self) -> [u8; 32] {
        self.part::<21, 32>()
    }
    fn refresh_nonce(&self) -> [u8; 32] {
        self.part::<53, 32>()
    }
}

impl Drop for Entropy {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.0);
    }
}

/// The next state of one session and, where its number of live sessions changes, of its user.
#[derive(Clone)]
pub struct Change {
    /// The session as it is afterwards.
    pub session: Session,
    /// The user's record as it is afterwards.
    pub user: Option<User>,
    /// What history says of it.
    pub events: Vec<Event>,
}

/// Something that cannot be, such as a generation beyond the last number. An accident, answered as one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("cannot be: {0}")]
pub struct Impossible(pub &'static str);
