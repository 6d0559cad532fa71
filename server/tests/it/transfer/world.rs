//! A service that does random things to a store, a store that dies under who moves it, and all that a store holds.

use async_trait::async_trait;
use handstamp_core::time::Millis;
use handstamp_server::codec::moving::moving_key;
use handstamp_server::store::transfer::rounds::{Part, Watch};
use handstamp_server::store::transfer::{Difference, Digest, Marks, Orphan, Size, Transfer};
use handstamp_server::store::{
    Amend, Batch, EventQuery, Expect, Facet, Key, NewEvent, Op, Record, Space, Store, StoreError,
    StoredEvent, Tally, Versioned,
};
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

/// Numbers that look random, the same for the same seed.
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Dice {
        Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }
    pub(super) fn below(&mut self, n: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        u32::try_from((self.0 >> 11) % u64::from(n)).unwrap()
    }
    fn one_in(&mut self, n: u32) -> bool {
        self.below(n) == 0
    }
    fn one_of<T: Clone>(&mut self, all: &[T]) -> Option<T> {
        all.get(self.below(u32::try_from(all.len().max(1)).unwrap()) as usize).cloned()
    }
}

fn key(dice: &mut Dice, keys: u32) -> Key {
    let space = Space { kind: dice.one_of(&[1, 2, 22]).unwrap(), env: dice.below(3).into() };
    // Ids of different lengths, some of them the beginning of others.
    let n = dice.below(keys);
    let id: Vec<u8> = n.to_be_bytes().into_iter().skip(dice.below(4) as usize).collect();
    Key { space, id: id.into() }
}

/// Does something that a service does.
pub(super) async fn live(store: &dyn Store, dice: &mut Dice, keys: u32) {
    let now = i64::from(dice.below(4_000_000_000));
    match dice.below(10) {
        0 => {
            store.sweep(Millis(now), 1 + dice.below(3)).await.unwrap();
        }
        1 => {
            let seen = [(key(dice, keys), Millis(now)), (key(dice, keys), Millis(now))];
            store.touch(&seen).await.unwrap();
        }
        2 => {
            let query = EventQuery { subject: None, env: None, after: None, since: None, limit: 1_000 };
            let lines = store.history(&query).await.unwrap();
            if let Some(line) = dice.one_of(&lines) {
                let after = format!("amended {now}").into_bytes();
                let amend = Amend { position: line.position, before: line.body.clone(), after };
                store.amend(&[amend]).await.unwrap();
            }
        }
        _ => {
            let mut subjects: Vec<Key> = (0..1 + dice.below(3)).map(|_| key(dice, keys)).collect();
            subjects.sort();
            subjects.dedup();
            let found = store.load(&subjects).await.unwrap();
            let ops: Vec<Op> =
                subjects.iter().zip(found).map(|(key, found)| change(dice, key, found, now)).collect();
            subjects.retain(|_| !dice.one_in(3));
            let line =
                |subject| NewEvent { subject, at: Millis(now), body: format!("line {now}").into_bytes() };
            let events = subjects.into_iter().map(line).collect();
            let tally = Tally { env: dice.below(2).into(), name: dice.one_of(&["a", "b"]).unwrap().into() };
            let delta = dice.one_of(&[1, -1, 2]).unwrap();
            let batch = Batch { bucket: 7, at: Millis(now), ops, events, tallies: vec![(tally, delta)] };
            store.commit(batch).await.unwrap();
        }
    }
}

fn change(dice: &mut Dice, key: &Key, found: Option<Versioned>, now: i64) -> Op {
    let expect = found.as_ref().map_or(Expect::Absent, |found| Expect::Version(found.version));
    if found.is_some() && dice.one_in(4) {
        return Op::Delete { key: key.clone(), expect };
    }
    let mut facets: Vec<Facet> = (0..dice.below(4))
        .map(|n| Facet {
            name: u8::try_from(n).unwrap(),
            value: format!("value {}", dice.below(5)).into_bytes().into(),
        })
        .collect();
    facets.dedup();
    // Some rest: they have an end, and are not touched any more.
    let rests = dice.one_in(3);
    let record = Record {
        key: key.clone(),
        bucket: 7,
        facets,
        seen: if rests || dice.one_in(4) { None } else { Some(Millis(now)) },
        forget_at: if rests || dice.one_in(4) {
            Some(Millis(now + i64::from(dice.below(4_000_000_000))))
        } else {
            None
        },
        body: vec![b'x'; dice.below(60) as usize],
    };
    Op::Put { expect, record }
}

/// All that a store holds, but for its note.
#[derive(Debug, PartialEq)]
pub(super) struct Everything {
    pub(super) records: Vec<Versioned>,
    pub(super) lines: Vec<StoredEvent>,
    pub(super) orphans: Vec<Orphan>,
    pub(super) marks: Marks,
}

/// Both hold the same; else the first thing that differs.
#[track_caller]
pub(super) fn same(one: &Everything, other: &Everything) {
    fn first<T: PartialEq + std::fmt::Debug>(one: &[T], other: &[T]) {
        for n in 0..one.len().max(other.len()) {
            assert_eq!(one.get(n), other.get(n));
        }
    }
    first(&one.orphans, &other.orphans);
    first(&one.records, &other.records);
    first(&one.lines, &other.lines);
    assert_eq!(one.marks, other.marks);
}

pub(super) async fn everything(store: &dyn Transfer) -> Everything {
    let keys: Vec<Key> = digests(store).await.into_iter().map(|(key, _)| key).collect();
    let mut records = Vec::new();
    for keys in keys.chunks(1_000) {
        records.extend(store.records(keys).await.unwrap().into_iter().map(Option::unwrap));
    }
    records.retain(|found| found.record.key != moving_key());
    let (mut lines, mut last) = (Vec::new(), None);
    loop {
        let page = store.line_digests(last, 1_000).await.unwrap();
        let Some((end, _)) = page.last() else { break };
        last = Some(*end);
        let positions: Vec<u64> = page.iter().map(|(position, _)| *position).collect();
        lines.extend(store.lines(&positions).await.unwrap().into_iter().map(Option::unwrap));
    }
    let orphans = store.orphans(None, 10_000).await.unwrap();
    Everything { records, lines, orphans, marks: store.marks().await.unwrap() }
}

pub(super) async fn digests(store: &dyn Transfer) -> Vec<(Key, Digest)> {
    let mut all: Vec<(Key, Digest)> = Vec::new();
    loop {
        let page = store.record_digests(all.last().map(|(key, _)| key), 1_000).await.unwrap();
        if page.is_empty() {
            return all;
        }
        all.extend(page);
    }
}

/// Does not look.
pub(super) struct Blind;
impl Watch for Blind {
    fn went(&mut self, _: Part, _: u64, _: u64) {}
}

/// A store whose pages are short, under which something happens between any two calls.
pub(super) struct Beset<T> {
    pub(super) store: T,
    /// A service that works on it, and how often it does.
    pub(super) service: Option<(Arc<dyn Store>, Mutex<Dice>)>,
    /// Whether it writes more history, while that is read, than fits on a page.
    pub(super) hasty: bool,
    /// So many writes more, and whoever moves it dies.
    pub(super) writes: Arc<AtomicU32>,
    /// Whether the deadly write is still done.
    pub(super) last_is_done: bool,
    /// Whether a line of history gets lost with each write.
    pub(super) loses: bool,
}

impl<T: Transfer> Beset<T> {
    async fn meanwhile(&self, history: bool) -> Result<(), StoreError> {
        if self.writes.load(Ordering::Relaxed) == 0 {
            return Err(killed());
        }
        if let Some((service, dice)) = &self.service {
            let mut own = Dice(dice.lock().unwrap().0);
            let times = if self.hasty && history { 6 } else { u32::from(own.one_in(4)) };
            for _ in 0..times {
                live(service.as_ref(), &mut own, 20).await;
            }
            dice.lock().unwrap().0 = own.0;
        }
        Ok(())
    }

    /// Whether this write is done, and whether who asked for it lives to hear so.
    fn fate(&self) -> (bool, bool) {
        match self.writes.load(Ordering::Relaxed) {
            0 => (false, false),
            left => {
                self.writes.store(left - 1, Ordering::Relaxed);
                (left > 1 || self.last_is_done, left > 1)
            }
        }
    }
}

fn killed() -> StoreError {
    StoreError::Unavailable("killed".to_owned())
}

#[async_trait]
impl<T: Transfer> Transfer for Beset<T> {
    async fn size(&self) -> Result<Size, StoreError> {
        self.store.size().await
    }
    async fn record_digests(&self, after: Option<&Key>, _: u32) -> Result<Vec<(Key, Digest)>, StoreError> {
        self.meanwhile(false).await?;
        self.store.record_digests(after, 3).await
    }
    async fn records(&self, keys: &[Key]) -> Result<Vec<Option<Versioned>>, StoreError> {
        self.meanwhile(false).await?;
        self.store.records(keys).await
    }
    async fn line_digests(&self, after: Option<u64>, _: u32) -> Result<Vec<(u64, Digest)>, StoreError> {
        self.meanwhile(true).await?;
        self.store.line_digests(after, 3).await
    }
    async fn lines(&self, positions: &[u64]) -> Result<Vec<Option<StoredEvent>>, StoreError> {
        self.meanwhile(true).await?;
        self.store.lines(positions).await
    }
    async fn orphans(&self, after: Option<&Orphan>, _: u32) -> Result<Vec<Orphan>, StoreError> {
        self.meanwhile(false).await?;
        self.store.orphans(after, 2).await
    }
    async fn marks(&self) -> Result<Marks, StoreError> {
        self.meanwhile(false).await?;
        self.store.marks().await
    }
    async fn write(&self, difference: &Difference) -> Result<(), StoreError> {
        let (done, heard) = self.fate();
        if done {
            let mut difference = difference.clone();
            if self.loses {
                difference.lines.pop();
            }
            self.store.write(&difference).await?;
        }
        if heard { Ok(()) } else { Err(killed()) }
    }
    async fn set_marks(&self, marks: &Marks) -> Result<(), StoreError> {
        let (done, heard) = self.fate();
        if done {
            self.store.set_marks(marks).await?;
        }
        if heard { Ok(()) } else { Err(killed()) }
    }
    async fn claim(&self) -> Result<bool, StoreError> {
        self.store.claim().await
    }
    async fn release(&self) {
        self.store.release().await;
    }
}
