//! Whether there is room for a session among its user's others, and who goes to make it.

use super::finish::{evict, settle};
use super::{Change, Ground};
use crate::id::SessionId;
use crate::limit::{Counted, Limit, OnLimit, Room, room};
use crate::refusal::Refusal;
use crate::session::Session;
use crate::time::Millis;
use crate::user::User;
use std::collections::{BTreeMap, BTreeSet};

/// There is room, once what is in here is committed.
pub struct Admission {
    /// What becomes of those that end, each with its place among the others: over by time and now written down, so that
    /// nothing that is on its way can bring back one that was not counted; then evicted, in the order in which they go.
    pub ended: Vec<(usize, Change)>,
    /// Those that had to go.
    pub evicted: Vec<SessionId>,
    /// The user's record as it is then.
    pub user: User,
}

/// Judges each limit in turn; what one has evicted no longer counts for the next. `others` are all sessions of the user
/// that nobody has ended, without the one that asks, each with its last activity.
///
/// # Errors
/// `session_limit_reached`: nobody ends.
pub fn admit(
    ground: Ground<'_>,
    limits: &[Limit],
    mode: OnLimit,
    others: &[(&Session, Millis)],
    user: User,
) -> Result<Admission, Refusal> {
    let mut admission = Admission { ended: Vec::new(), evicted: Vec::new(), user };
    let mut living = Vec::with_capacity(others.len());
    for (place, (session, seen)) in others.iter().enumerate() {
        match ground.living(session, *seen) {
            Ok(alive) => living.push((place, Counted { id: session.id, seen: *seen }, alive)),
            Err(_) => {
                let user = admission.user.clone();
                admission.end(settle(ground, session, *seen, user).map(|change| (place, change)));
            }
        }
    }
    for limit in limits {
        let counted: Vec<Counted> =
            living.iter().filter(|(_, _, alive)| limit.counts(alive.session)).map(|(_, c, _)| *c).collect();
        let current = u32::try_from(counted.len()).unwrap_or(u32::MAX);
        let gone = match room(&counted, limit.most, mode) {
            Room::Free => continue,
            Room::Full { current, .. } => return Err(limit.refusal(current)),
            Room::Evict(gone) => gone,
        };
        let places: BTreeMap<SessionId, usize> =
            living.iter().enumerate().map(|(n, (_, counted, _))| (counted.id, n)).collect();
        for id in &gone {
            let found = places.get(id).and_then(|n| living.get(*n));
            let user = admission.user.clone();
            admission.end(found.map(|(place, _, alive)| (*place, evict(*alive, user, limit, current))));
        }
        let going: BTreeSet<&SessionId> = gone.iter().collect();
        living.retain(|(_, counted, _)| !going.contains(&counted.id));
        admission.evicted.extend(gone);
    }
    Ok(admission)
}

impl Admission {
    fn end(&mut self, ended: Option<(usize, Change)>) {
        let Some((place, change)) = ended else { return };
        if let Some(user) = &change.user {
            self.user = user.clone();
        }
        self.ended.push((place, change));
    }
}
