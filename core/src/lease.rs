//! What one node does for all of them: it says so in a record, for a while, and goes on saying so; when it is silent for
//! that long, another one takes over. The record has a version, so that two never take over at once.
//!
//! A lease saves work and prevents nothing: its holder may be frozen when it ends, wake up, and go on beside the next one. So
//! what is done under it must bear being done twice, as everything does that is committed over the versions it was
//! decided on.

use crate::time::{Millis, Span};

/// How long a lease is, from when it was taken or renewed.
pub const LENGTH: Span = Span::secs(10);
/// How much of it is left when it is renewed: several attempts fit into that.
pub const RENEWED_AT: Span = Span::secs(7);

/// A lease, as it is stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Lease {
    /// Whose it is.
    pub node: [u8; 16],
    /// It is over from then on.
    pub until: Millis,
}

/// What a node is to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Turn {
    /// It is this node's, and for long enough.
    Mine,
    /// This is to be written first, over what was read; then it is this node's.
    Take(Lease),
    /// It is another one's.
    Theirs {
        /// Until when at least.
        until: Millis,
    },
}

/// Whose turn it is, by what the store says now.
pub fn judge(stored: Option<&Lease>, node: [u8; 16], now: Millis) -> Turn {
    let mine = Turn::Take(Lease { node, until: now.plus(LENGTH) });
    match stored {
        Some(lease) if lease.node == node && now.plus(RENEWED_AT) < lease.until => Turn::Mine,
        Some(lease) if lease.node == node => mine,
        Some(lease) if is_held(stored, now) => Turn::Theirs { until: lease.until },
        Some(_) | None => mine,
    }
}

/// What is left when a node stops: anybody may take over at once.
pub const fn released(node: [u8; 16]) -> Lease {
    Lease { node, until: Millis(0) }
}

/// Whether some node held a lease a moment ago, and may go on.
pub fn is_held(stored: Option<&Lease>, now: Millis) -> bool {
    // One for longer than a lease is was written by a clock that was ahead.
    stored.is_some_and(|lease| now < lease.until && lease.until <= now.plus(Span(LENGTH.0 * 2)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: [u8; 16] = [1; 16];
    const B: [u8; 16] = [2; 16];
    const NOW: Millis = Millis(1_790_000_000_000);

    fn of(node: [u8; 16], left: i64) -> Option<Lease> {
        Some(Lease { node, until: NOW.plus(Span(left)) })
    }

    #[test]
    fn both_sides_of_every_instant() {
        let take = Turn::Take(Lease { node: A, until: NOW.plus(Span::secs(10)) });
        for (stored, said) in [
            (None, take),
            (of(A, 10_000), Turn::Mine),
            (of(A, 7_001), Turn::Mine),
            (of(A, 7_000), take),
            (of(A, 0), take),
            (of(A, -99_999), take),
            (of(B, 10_000), Turn::Theirs { until: NOW.plus(Span::secs(10)) }),
            (of(B, 1), Turn::Theirs { until: NOW.plus(Span(1)) }),
            (of(B, 0), take),
            (of(B, 20_000), Turn::Theirs { until: NOW.plus(Span::secs(20)) }),
            (of(B, 20_001), take),
            (Some(released(B)), take),
            (Some(released(A)), take),
        ] {
            assert_eq!(judge(stored.as_ref(), A, NOW), said, "{stored:?}");
        }
        assert!(is_held(of(B, 1).as_ref(), NOW) && !is_held(of(B, 0).as_ref(), NOW) && !is_held(None, NOW));
        // Nobody waits an hour for a lease that a wrong clock has written.
        assert!(is_held(of(B, 20_000).as_ref(), NOW) && !is_held(of(B, 20_001).as_ref(), NOW));
    }

    #[test]
    fn nobody_who_renews_in_time_loses_it() {
        let (mut stored, mut now) = (None, NOW);
        for _ in 0..1_000 {
            if let Turn::Take(next) = judge(stored.as_ref(), A, now) {
                stored = Some(next);
            }
            assert!(matches!(judge(stored.as_ref(), B, now), Turn::Theirs { .. }));
            now = now.plus(Span::secs(1));
            assert!(matches!(judge(stored.as_ref(), B, now), Turn::Theirs { .. }));
        }
        now = now.plus(LENGTH);
        assert!(matches!(judge(stored.as_ref(), B, now), Turn::Take(_)), "who is gone is replaced");
    }
}
