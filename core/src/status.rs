//! Status lists (Token Status List, draft-ietf-oauth-status-list): one bit for each session that has an access token, set when
//! the session has ended, for verifiers that know nothing of this service.
//!
//! A session has one place for good, and no place is given twice. Places are counted; inside of each list they are turned
//! by a permutation that only the holder of the key knows, so that neighbours in a list are not neighbours in time, and
//! whoever sees a place learns nothing of how many there are.

use crate::id::EnvironmentId;
use crate::secret::{Secret, mac};
use aws_lc_rs::hmac;

/// How many places a list has.
pub const LIST: u64 = 1 << BITS;
/// The purpose (see [`crate::token::keyring::MasterKey::derive`]) of the key that places are turned with.
pub const PLACES: &str = "status-lists";
/// The type of a signed list.
pub const TYPE: &str = "statuslist+jwt";

const BITS: u32 = 20;
const HALF: u32 = BITS / 2;
const LOW: u16 = (1 << HALF) - 1;
/// A permutation of so few values by few rounds could be told from a random one; it has more than it needs.
const ROUNDS: u8 = 10;

/// A place: in which list, and where in it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Place {
    /// The number of the list, from 0 on.
    pub list: u64,
    /// Where in it: below [`LIST`].
    pub index: u32,
}

impl Place {
    /// Of what a session keeps (see [`crate::session::Session::status_index`]).
    pub fn of(status_index: u64) -> Place {
        Place { list: status_index / LIST, index: u32::try_from(status_index % LIST).unwrap_or(0) }
    }

    /// What a session keeps of it.
    pub const fn status_index(self) -> u64 {
        self.list.saturating_mul(LIST).saturating_add(self.index as u64)
    }
}

/// Turns the places of an environment.
pub struct Turner {
    key: hmac::Key,
    env: EnvironmentId,
}

impl Turner {
    /// With a key for [`PLACES`].
    pub fn new(key: &Secret<32>, env: EnvironmentId) -> Turner {
        Turner { key: hmac::Key::new(hmac::HMAC_SHA256, key.expose()), env }
    }

    /// The place of whoever is the `count`th, from 0 on. Different counts have different places.
    pub fn place(&self, count: u64) -> Place {
        let Place { list, index } = Place::of(count);
        Place { list, index: turned(index, |round, half| self.mixed(list, round, half)) }
    }

    fn mixed(&self, list: u64, round: u8, half: u16) -> u16 {
        let parts = [&self.env.0.to_be_bytes()[..], &list.to_be_bytes(), &[round], &half.to_be_bytes()];
        let [a, b, ..] = mac(&self.key, &parts);
        u16::from_be_bytes([a, b]) & LOW
    }
}

/// A Feistel network: each round can be taken back, whatever `mixed` gives, so no two places meet.
fn turned(index: u32, mixed: impl Fn(u8, u16) -> u16) -> u32 {
    let half = |value: u32| u16::try_from(value & u32::from(LOW)).unwrap_or(0);
    let (mut left, mut right) = (half(index >> HALF), half(index));
    for round in 0..ROUNDS {
        (left, right) = (right, left ^ mixed(round, right));
    }
    u32::from(left) << HALF | u32::from(right)
}

/// The bytes of a list of `length` places, a bit each, the first in the lowest bit of the first byte; set at these places.
pub fn bits(length: u64, ended: impl Iterator<Item = u32>) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(length.div_ceil(8)).unwrap_or(0)];
    for index in ended {
        if let Some(byte) = usize::try_from(index / 8).ok().and_then(|at| bytes.get_mut(at)) {
            *byte |= 1 << (index % 8);
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turner(key: u8, env: u64) -> Turner {
        Turner::new(&Secret::new([key; 32]), EnvironmentId(env))
    }

    #[test]
    fn no_two_have_one_place_and_neighbours_are_none() {
        let turner = turner(1, 7);
        // What each round makes of each half, once.
        let halves = |round| (0..=LOW).map(|half| turner.mixed(0, round, half)).collect::<Vec<_>>();
        let rounds: Vec<_> = (0..ROUNDS).map(halves).collect();
        let of = |count| turned(count, |round, half| rounds[usize::from(round)][usize::from(half)]);
        assert_eq!([0, 1, 77].map(&of), [0_u32, 1, 77].map(|count| turner.place(u64::from(count)).index));
        let mut taken = vec![false; usize::try_from(LIST).unwrap()];
        let (mut before, mut near, mut fixed) = (0, 0, 0);
        for count in 0..1 << BITS {
            let index = of(count);
            let taken = &mut taken[usize::try_from(index).unwrap()];
            assert!(!*taken, "{count}");
            *taken = true;
            near += u32::from(index.abs_diff(before) < 64);
            fixed += u32::from(index == count);
            before = index;
        }
        assert!(taken.iter().all(|taken| *taken));
        // At random 127 of 2^20, and one.
        assert!(near < 250 && fixed < 12, "{near} {fixed}");
    }

    #[test]
    fn lists_environments_and_keys_are_turned_differently() {
        let some =
            |turner: &Turner, from: u64| (from..from + 32).map(|n| turner.place(n).index).collect::<Vec<_>>();
        let here = some(&turner(1, 7), 0);
        assert_eq!(here, some(&turner(1, 7), 0));
        for other in [some(&turner(1, 7), LIST), some(&turner(1, 8), 0), some(&turner(2, 7), 0)] {
            assert!(here.iter().zip(&other).filter(|(a, b)| a == b).count() < 3);
        }
        let place = turner(1, 7).place(3 * LIST + 5);
        assert_eq!((place.list, Place::of(place.status_index())), (3, place));
        assert!((3 * LIST..4 * LIST).contains(&place.status_index()));
    }

    /// The first example of the draft: 16 places, of which nine are set.
    #[test]
    fn the_first_place_is_the_lowest_bit() {
        let set = [0, 3, 4, 5, 7, 8, 9, 13, 15];
        assert_eq!(bits(16, set.into_iter()), [0xb9, 0xa3]);
        assert_eq!(bits(9, [8].into_iter()), [0, 1]);
        assert_eq!(bits(8, [8, u32::MAX].into_iter()), [0], "there is no such place");
    }
}
