//! Making one store equal to another, round by round, and seeing that it is.
//!
//! A round goes through both and brings over what differs. While somebody writes to the first one, a round leaves behind
//! what was written during it, which is less with every round; one round in which nobody writes leaves nothing. A round
//! that was cut short is simply begun again: what it had brought over is no difference any more.

use super::merge::{Lines, Merge, Orphans, Records};
use super::{Difference, Digest, Key, Marks, Transfer};
use crate::store::StoreError;
use aws_lc_rs::digest::{Context, SHA256};

/// The most things that are read, or written, at once.
const MOST: usize = 1_000;
/// From so many bytes on, what was read is written before more is.
const HEAVY: usize = 4 << 20;

/// What a store consists of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Part {
    /// Its records.
    Records,
    /// Its history.
    History,
    /// Records that are gone, and whose history is not.
    Orphans,
}

/// Hears how far a round is.
pub trait Watch {
    /// So much of the first store's part has been gone through since the last call, and so much was brought over.
    fn went(&mut self, part: Part, seen: u64, brought: u64);
}

/// What a round did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Round {
    /// Records and lines of history that were written.
    pub brought: u64,
    /// Those that were taken away.
    pub removed: u64,
}

/// What two stores hold, when it is the same.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Contents {
    /// How many records.
    pub records: u64,
    /// How many lines of history.
    pub lines: u64,
    /// How many orphans.
    pub orphans: u64,
    /// What stands beside them.
    pub marks: Marks,
    /// One digest of all of it.
    pub digest: Digest,
}

/// What two stores were found to be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Compared {
    /// Equal.
    Same(Contents),
    /// Not equal: in how many records, lines of history and orphans, and whether the marks differ.
    Differs {
        /// Records.
        records: u64,
        /// Lines of history.
        lines: u64,
        /// Orphans.
        orphans: u64,
        /// Clock, position or counters.
        marks: bool,
    },
}

/// One round from `from` to `to`, which is claimed. Records under the keys of `spared` stay on both sides what they are.
///
/// # Errors
/// Of either store.
pub async fn round(
    from: &dyn Transfer,
    to: &dyn Transfer,
    spared: &[Key],
    watch: &mut dyn Watch,
) -> Result<Round, StoreError> {
    let mut courier =
        Courier { from, to, watch, load: Difference::default(), heavy: 0, done: Round::default() };
    let mut records = Merge::<Records>::new(from, to);
    while let Some(mut stretch) = records.next().await? {
        stretch.first.retain(|(key, _)| !spared.contains(key));
        stretch.second.retain(|(key, _)| !spared.contains(key));
        let (wanted, gone) = stretch.differences();
        courier.records(&wanted, gone).await?;
        courier.went(Part::Records, stretch.first.len(), wanted.len());
    }
    // Up to where history goes now: a round that followed it on would not end while it grows as fast as it is read.
    let last = from.marks().await?.position;
    let mut lines = Merge::<Lines>::new(from, to).until(last);
    while let Some(stretch) = lines.next().await? {
        let (wanted, gone) = stretch.differences();
        courier.lines(&wanted, gone).await?;
        courier.went(Part::History, stretch.first.len(), wanted.len());
    }
    let mut orphans = Merge::<Orphans>::new(from, to);
    while let Some(stretch) = orphans.next().await? {
        let (wanted, gone) = stretch.differences();
        courier.went(Part::Orphans, stretch.first.len(), wanted.len());
        courier.load.orphans.extend(wanted);
        courier.load.gone_orphans.extend(gone);
        courier.deliver().await?;
    }
    Ok(courier.done)
}

/// Carries differences from one store to the other.
struct Courier<'t> {
    from: &'t dyn Transfer,
    to: &'t dyn Transfer,
    watch: &'t mut dyn Watch,
    load: Difference,
    /// Bytes of it.
    heavy: usize,
    done: Round,
}

impl Courier<'_> {
    fn went(&mut self, part: Part, seen: usize, brought: usize) {
        let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        self.watch.went(part, count(seen), count(brought));
    }

    async fn records(&mut self, wanted: &[Key], gone: Vec<Key>) -> Result<(), StoreError> {
        for keys in wanted.chunks(MOST) {
            for (key, found) in keys.iter().zip(self.from.records(keys).await?) {
                match found {
                    Some(found) => {
                        self.heavy += found.record.body.len();
                        self.load.records.push(found);
                    }
                    // It went after the page was read.
                    None => self.load.gone_records.push(key.clone()),
                }
                self.deliver_if_heavy().await?;
            }
        }
        for keys in gone.chunks(MOST) {
            self.load.gone_records.extend_from_slice(keys);
            self.deliver_if_heavy().await?;
        }
        self.deliver().await
    }

    async fn lines(&mut self, wanted: &[u64], gone: Vec<u64>) -> Result<(), StoreError> {
        for positions in wanted.chunks(MOST) {
            for (position, found) in positions.iter().zip(self.from.lines(positions).await?) {
                match found {
                    Some(found) => {
                        self.heavy += found.body.len();
                        self.load.lines.push(found);
                    }
                    None => self.load.gone_lines.push(*position),
                }
                self.deliver_if_heavy().await?;
            }
        }
        for positions in gone.chunks(MOST) {
            self.load.gone_lines.extend_from_slice(positions);
            self.deliver_if_heavy().await?;
        }
        self.deliver().await
    }

    async fn deliver_if_heavy(&mut self) -> Result<(), StoreError> {
        if self.heavy >= HEAVY || self.load.len() >= MOST { self.deliver().await } else { Ok(()) }
    }

    async fn deliver(&mut self) -> Result<(), StoreError> {
        if self.load.is_empty() {
            return Ok(());
        }
        let load = std::mem::take(&mut self.load);
        self.heavy = 0;
        self.to.write(&load).await?;
        let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        self.done.brought += count(load.records.len() + load.lines.len() + load.orphans.len());
        self.done.removed += count(load.gone_records.len() + load.gone_lines.len() + load.gone_orphans.len());
        Ok(())
    }
}

/// Reads both to their ends and compares everything, while nobody writes to either.
///
/// # Errors
/// Of either store.
pub async fn compare(
    first: &dyn Transfer,
    second: &dyn Transfer,
    spared: &[Key],
    watch: &mut dyn Watch,
) -> Result<Compared, StoreError> {
    let mut total = Context::new(&SHA256);
    let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
    let mut found = Contents::default();
    let [mut records, mut lines, mut orphans] = [0; 3];
    let mut merge = Merge::<Records>::new(first, second);
    while let Some(mut stretch) = merge.next().await? {
        stretch.first.retain(|(key, _)| !spared.contains(key));
        stretch.second.retain(|(key, _)| !spared.contains(key));
        for (key, digest) in &stretch.first {
            total.update(&[key.space.kind]);
            total.update(&key.space.env.to_be_bytes());
            total.update(&count(key.id.len()).to_be_bytes());
            total.update(&key.id);
            total.update(digest);
        }
        records += differing(&stretch.differences());
        found.records += count(stretch.first.len());
        watch.went(Part::Records, count(stretch.first.len()), 0);
    }
    let mut merge = Merge::<Lines>::new(first, second);
    while let Some(stretch) = merge.next().await? {
        for (position, digest) in &stretch.first {
            total.update(&position.to_be_bytes());
            total.update(digest);
        }
        lines += differing(&stretch.differences());
        found.lines += count(stretch.first.len());
        watch.went(Part::History, count(stretch.first.len()), 0);
    }
    let mut merge = Merge::<Orphans>::new(first, second);
    while let Some(stretch) = merge.next().await? {
        orphans += differing(&stretch.differences());
        found.orphans += count(stretch.first.len());
        watch.went(Part::Orphans, count(stretch.first.len()), 0);
    }
    let (one, other) = (first.marks().await?, second.marks().await?);
    if records + lines + orphans > 0 || one != other {
        return Ok(Compared::Differs { records, lines, orphans, marks: one != other });
    }
    found.marks = one;
    for (slot, byte) in found.digest.iter_mut().zip(total.finish().as_ref()) {
        *slot = *byte;
    }
    Ok(Compared::Same(found))
}

fn differing<P>((wanted, gone): &(Vec<P>, Vec<P>)) -> u64 {
    u64::try_from(wanted.len() + gone.len()).unwrap_or(u64::MAX)
}
