//! Two stores side by side in the order of their keys: what one has and the other lacks.

use super::{Digest, Key, LARGEST_LIST, Orphan, Transfer};
use crate::store::StoreError;
use async_trait::async_trait;
use std::collections::VecDeque;

/// Things that every store can list in one order.
#[async_trait]
pub(super) trait Family: Send + Sync {
    /// By what they are ordered.
    type Place: Ord + Clone + Send + Sync;

    /// The next ones of `side`.
    async fn page(
        side: &dyn Transfer,
        after: Option<&Self::Place>,
    ) -> Result<Vec<(Self::Place, Digest)>, StoreError>;
}

/// Records by key.
pub(super) struct Records;
/// Lines of history by position.
pub(super) struct Lines;
/// Orphans by time and key; there is nothing more to them.
pub(super) struct Orphans;

#[async_trait]
impl Family for Records {
    type Place = Key;
    async fn page(side: &dyn Transfer, after: Option<&Key>) -> Result<Vec<(Key, Digest)>, StoreError> {
        side.record_digests(after, LARGEST_LIST).await
    }
}

#[async_trait]
impl Family for Lines {
    type Place = u64;
    async fn page(side: &dyn Transfer, after: Option<&u64>) -> Result<Vec<(u64, Digest)>, StoreError> {
        side.line_digests(after.copied(), LARGEST_LIST).await
    }
}

#[async_trait]
impl Family for Orphans {
    type Place = Orphan;
    async fn page(side: &dyn Transfer, after: Option<&Orphan>) -> Result<Vec<(Orphan, Digest)>, StoreError> {
        let page = side.orphans(after, LARGEST_LIST).await?;
        Ok(page.into_iter().map(|orphan| (orphan, [0; 32])).collect())
    }
}

/// One side, as far as it was read.
struct Side<'t, F: Family> {
    store: &'t dyn Transfer,
    waiting: VecDeque<(F::Place, Digest)>,
    /// Up to where it was read.
    read: Option<F::Place>,
    /// What lies behind this is not looked at.
    until: Option<F::Place>,
    ended: bool,
}

impl<'t, F: Family> Side<'t, F> {
    const fn new(store: &'t dyn Transfer, until: Option<F::Place>) -> Side<'t, F> {
        Side { store, waiting: VecDeque::new(), read: None, until, ended: false }
    }

    /// Reads on when everything that was read is used up.
    async fn fill(&mut self) -> Result<(), StoreError> {
        if self.ended || !self.waiting.is_empty() {
            return Ok(());
        }
        let mut page = F::page(self.store, self.read.as_ref()).await?;
        if let Some(until) = &self.until {
            page.retain(|(place, _)| place <= until);
        }
        match page.last() {
            Some((last, _)) => self.read = Some(last.clone()),
            None => self.ended = true,
        }
        self.waiting.extend(page);
        Ok(())
    }

    /// The next one, if it lies up to `bound` (`None`: all do).
    fn next_within(&mut self, bound: Option<&F::Place>) -> Option<(F::Place, Digest)> {
        self.waiting.pop_front_if(|(place, _)| bound.is_none_or(|bound| &*place <= bound))
    }
}

/// A stretch of both sides, compared.
pub(super) struct Stretch<P> {
    /// All that the first side has there.
    pub(super) first: Vec<(P, Digest)>,
    /// All that the second side has there.
    pub(super) second: Vec<(P, Digest)>,
}

impl<P: Ord + Clone> Stretch<P> {
    /// What the second side lacks or has otherwise, and what only it has.
    pub(super) fn differences(&self) -> (Vec<P>, Vec<P>) {
        let (mut wanted, mut gone) = (Vec::new(), Vec::new());
        let (mut first, mut second) = (self.first.iter().peekable(), self.second.iter().peekable());
        loop {
            match (first.peek(), second.peek()) {
                (Some((a, x)), Some((b, y))) if a == b => {
                    if x != y {
                        wanted.push(a.clone());
                    }
                    first.next();
                    second.next();
                }
                (Some((a, _)), Some((b, _))) if a > b => {
                    gone.push(b.clone());
                    second.next();
                }
                (Some((a, _)), _) => {
                    wanted.push(a.clone());
                    first.next();
                }
                (None, Some((b, _))) => {
                    gone.push(b.clone());
                    second.next();
                }
                (None, None) => return (wanted, gone),
            }
        }
    }
}

/// Both sides, stretch by stretch.
pub(super) struct Merge<'t, F: Family> {
    first: Side<'t, F>,
    second: Side<'t, F>,
}

impl<'t, F: Family> Merge<'t, F> {
    pub(super) const fn new(first: &'t dyn Transfer, second: &'t dyn Transfer) -> Merge<'t, F> {
        Merge { first: Side::new(first, None), second: Side::new(second, None) }
    }

    /// Of the first side nothing behind `until`. What the second one has there, the first one lacks.
    pub(super) fn until(mut self, until: F::Place) -> Merge<'t, F> {
        self.first.until = Some(until);
        self
    }

    /// The next stretch; `None` when both are at their end.
    pub(super) async fn next(&mut self) -> Result<Option<Stretch<F::Place>>, StoreError> {
        let (first, second) = tokio::join!(self.first.fill(), self.second.fill());
        first?;
        second?;
        if self.first.ended && self.second.ended {
            return Ok(None);
        }
        // Up to where both are known: what lies beyond may be on the next page of the one that was read less far.
        let known = |side: &Side<'_, F>| if side.ended { None } else { side.read.clone() };
        let bound = match (known(&self.first), known(&self.second)) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (known, None) | (None, known) => known,
        };
        let mut stretch = Stretch { first: Vec::new(), second: Vec::new() };
        while let Some(item) = self.first.next_within(bound.as_ref()) {
            stretch.first.push(item);
        }
        while let Some(item) = self.second.next_within(bound.as_ref()) {
            stretch.second.push(item);
        }
        Ok(Some(stretch))
    }
}
