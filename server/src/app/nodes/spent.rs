//! What a node says of budgets: who spent how much with it.

use crate::codec::Unreadable;
use crate::codec::bytes::{Reader, Writer};
use handstamp_core::rate::Due;
use handstamp_core::rate::shared::Told;
use handstamp_core::time::Millis;

/// The most payers of one message: 29 bytes each at the most, so that it is never too long.
pub const TOGETHER: usize = 136;

/// What one payer spent, of a kind of payers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Spent {
    /// Which kind of payers.
    pub kind: u8,
    /// Who, as a number that all nodes have for it; never 0.
    pub name: u64,
    /// How much, and since when.
    pub told: Told,
}

/// As it is said at `now`.
pub fn write(now: Millis, all: &[Spent]) -> Vec<u8> {
    let mut w = Writer::new(1);
    w.signed(now.0);
    w.list(all.iter(), |w, Spent { kind, name, told }| {
        w.byte(*kind);
        w.fixed(&name.to_be_bytes());
        w.number(told.spent);
        w.number(Due::at(now).0.saturating_sub(told.began.0));
    });
    w.finish()
}

/// Reads it.
///
/// # Errors
/// Nobody says that.
pub fn read(bytes: &[u8]) -> Result<Vec<Spent>, Unreadable> {
    let mut r = Reader::new(bytes, &[1])?;
    let said_at = Due::at(Millis(r.signed()?));
    let all = r.list(|r| {
        let (kind, name) = (r.byte()?, u64::from_be_bytes(r.fixed()?));
        let (spent, ago) = (r.number()?, r.number()?);
        Ok(Spent { kind, name: name.max(1), told: Told { spent, began: Due(said_at.0.saturating_sub(ago)) } })
    })?;
    r.end()?;
    if all.len() > TOGETHER { Err(Unreadable) } else { Ok(all) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Millis = Millis(1_790_000_000_000);

    fn told(spent: u64) -> Told {
        Told { spent, began: Due(Due::at(NOW).0 - 900_000_000) }
    }

    #[test]
    fn the_longest_message_fits_and_is_read_as_it_was_written() {
        let one = |n: usize| Spent {
            kind: 2,
            name: u64::MAX - u64::try_from(n).unwrap(),
            told: Told { spent: u64::MAX, began: Due(0) },
        };
        let all: Vec<Spent> = (0..TOGETHER).map(one).collect();
        let bytes = write(NOW, &all);
        assert!(bytes.len() <= super::super::message::ROOM, "{}", bytes.len());
        assert_eq!(read(&bytes), Ok(all));
        assert_eq!(read(&bytes[..bytes.len() - 1]), Err(Unreadable));
        assert_eq!(read(&[]), Err(Unreadable));
        let small = [Spent { kind: 0, name: 7, told: told(5) }];
        assert_eq!(read(&write(NOW, &small)).as_deref(), Ok(&small[..]));
        let many: Vec<Spent> = (0..=TOGETHER).map(one).collect();
        assert_eq!(read(&write(NOW, &many)), Err(Unreadable), "more than anybody may say at once");
    }
}
