//! How many sessions one user may have, and what happens at the limit.
//!
//! The user's record bounds the number of live sessions from above. Only at the limit are the sessions themselves looked
//! at again, because time may have ended some of them.

use crate::id::SessionId;
pub use crate::policy::modes::OnLimit;
use crate::time::Millis;

/// The rule's name in events.
pub const RULE: &str = "max_sessions";

/// A session that counts, judged live at this instant.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Counted {
    /// Which.
    pub id: SessionId,
    /// Its last activity.
    pub seen: Millis,
}

/// The answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Room {
    /// There is room.
    Free,
    /// There is, once these have ended.
    Evict(Vec<SessionId>),
    /// There is none.
    Full {
        /// Live sessions.
        current: u32,
        /// Allowed.
        maximum: u32,
    },
}

/// Whether one more session fits beside `live`.
pub fn room(live: &[Counted], maximum: u32, mode: OnLimit) -> Room {
    let current = u32::try_from(live.len()).unwrap_or(u32::MAX);
    if current < maximum {
        return Room::Free;
    }
    if maximum == 0 {
        return Room::Full { current, maximum };
    }
    let mut order = live.to_vec();
    match mode {
        OnLimit::Reject => return Room::Full { current, maximum },
        OnLimit::EndOldest => order.sort_by_key(|s| s.id),
        OnLimit::EndLeastRecent => order.sort_by_key(|s| (s.seen, s.id)),
    }
    let surplus = live.len() - usize::try_from(maximum - 1).unwrap_or(usize::MAX).min(live.len());
    Room::Evict(order.iter().take(surplus).map(|s| s.id).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Bucket;

    fn live(seen: &[i64]) -> Vec<Counted> {
        (0..).zip(seen).map(|(n, seen)| Counted { id: id(n), seen: Millis(*seen) }).collect()
    }
    fn id(n: i64) -> SessionId {
        SessionId::new(Millis(n), Bucket::new(0), [0; 9])
    }

    #[test]
    fn both_sides_of_the_limit_in_each_mode() {
        let three = live(&[30, 10, 20]);
        for mode in [OnLimit::Reject, OnLimit::EndOldest, OnLimit::EndLeastRecent] {
            assert_eq!(room(&three, 4, mode), Room::Free);
            assert_eq!(room(&three, 0, mode), Room::Full { current: 3, maximum: 0 });
        }
        assert_eq!(room(&three, 3, OnLimit::Reject), Room::Full { current: 3, maximum: 3 });
        assert_eq!(room(&three, 3, OnLimit::EndOldest), Room::Evict(vec![id(0)]));
        assert_eq!(room(&three, 3, OnLimit::EndLeastRecent), Room::Evict(vec![id(1)]));
        assert_eq!(room(&three, 1, OnLimit::EndLeastRecent), Room::Evict(vec![id(1), id(2), id(0)]));
        assert_eq!(room(&three, 2, OnLimit::EndOldest), Room::Evict(vec![id(0), id(1)]));
        assert_eq!(room(&[], 1, OnLimit::Reject), Room::Free);
    }
}
