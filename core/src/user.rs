//! A user's record: the fence that creations and mass ends of one user meet at, and a bound on their live sessions.

use crate::id::UserId;

/// What is remembered of a user beside the sessions: nothing of a profile. It exists while `live` is not zero.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct User {
    /// The application's name for them.
    pub id: UserId,
    /// Never less than the number of live sessions; time may have ended some of these.
    pub live: u32,
}

impl User {
    /// Somebody without a session.
    pub const fn new(id: UserId) -> User {
        User { id, live: 0 }
    }

    /// Whether there is anything to remember.
    pub const fn is_needed(&self) -> bool {
        self.live > 0
    }
}
