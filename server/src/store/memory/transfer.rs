//! The store in memory, raw: the reference for how every store is read and written by who moves it.

use super::super::transfer::{
    Difference, Digest, LARGEST_LIST, Marks, Orphan, Size, Transfer, of_line, of_record,
};
use super::super::{Key, StoreError, StoredEvent, Versioned};
use super::{Memory, State};
use async_trait::async_trait;
use std::ops::Bound;
use std::sync::MutexGuard;

fn page(limit: u32) -> usize {
    usize::try_from(limit.clamp(1, LARGEST_LIST)).unwrap_or(1)
}

fn behind<T>(after: Option<T>) -> (Bound<T>, Bound<T>) {
    (after.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded)
}

impl Memory {
    /// A handle that is no node: for who moves the store while its nodes use it.
    pub fn aside(&self) -> Memory {
        Memory { state: self.state.clone(), node: None }
    }

    fn claimed(&self) -> Result<MutexGuard<'_, State>, StoreError> {
        let state = self.lock();
        if state.claimed { Ok(state) } else { Err(StoreError::Unavailable("it is not claimed".to_owned())) }
    }
}

#[async_trait]
impl Transfer for Memory {
    async fn size(&self) -> Result<Size, StoreError> {
        let state = self.lock();
        let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        Ok(Size { records: count(state.records.len()), lines: count(state.events.len()) })
    }

    async fn record_digests(
        &self,
        after: Option<&Key>,
        limit: u32,
    ) -> Result<Vec<(Key, Digest)>, StoreError> {
        let state = self.lock();
        let found = state.records.range::<Key, _>(behind(after)).take(page(limit));
        Ok(found.map(|(key, found)| (key.clone(), of_record(found))).collect())
    }

    async fn records(&self, keys: &[Key]) -> Result<Vec<Option<Versioned>>, StoreError> {
        let state = self.lock();
        Ok(keys.iter().map(|key| state.records.get(key).cloned()).collect())
    }

    async fn line_digests(&self, after: Option<u64>, limit: u32) -> Result<Vec<(u64, Digest)>, StoreError> {
        let state = self.lock();
        let found = state.events.range(behind(after)).take(page(limit));
        Ok(found.map(|(position, line)| (*position, of_line(line))).collect())
    }

    async fn lines(&self, positions: &[u64]) -> Result<Vec<Option<StoredEvent>>, StoreError> {
        let state = self.lock();
        Ok(positions.iter().map(|position| state.events.get(position).cloned()).collect())
    }

    async fn orphans(&self, after: Option<&Orphan>, limit: u32) -> Result<Vec<Orphan>, StoreError> {
        let state = self.lock();
        Ok(state.orphans.range::<Orphan, _>(behind(after)).take(page(limit)).cloned().collect())
    }

    async fn marks(&self) -> Result<Marks, StoreError> {
        let state = self.lock();
        let tallies = state.tallies.iter().filter(|(_, n)| **n != 0);
        Ok(Marks {
            floor: state.floor,
            position: state.position,
            tallies: tallies.map(|(tally, n)| (tally.clone(), *n)).collect(),
        })
    }

    async fn write(&self, difference: &Difference) -> Result<(), StoreError> {
        let mut state = self.claimed()?;
        let Difference { records, gone_records, lines, gone_lines, orphans, gone_orphans } = difference;
        for found in records {
            state.records.insert(found.record.key.clone(), found.clone());
        }
        for key in gone_records {
            state.records.remove(key);
        }
        for line in lines {
            state.events.insert(line.position, line.clone());
            state.position = state.position.max(line.position);
        }
        for position in gone_lines {
            state.events.remove(position);
        }
        for orphan in orphans {
            state.orphans.insert(orphan.clone());
        }
        for orphan in gone_orphans {
            state.orphans.remove(orphan);
        }
        Ok(())
    }

    async fn set_marks(&self, marks: &Marks) -> Result<(), StoreError> {
        let mut state = self.claimed()?;
        state.floor = marks.floor;
        state.position = marks.position;
        state.tallies = marks.tallies.iter().cloned().collect();
        Ok(())
    }

    async fn claim(&self) -> Result<bool, StoreError> {
        let mut state = self.lock();
        state.claimed = state.claimed || state.ears.iter().all(|ear| ear.closed);
        Ok(state.claimed)
    }

    async fn release(&self) {
        self.lock().claimed = false;
    }
}
