//! What a search takes, as PostgreSQL is told it: conditions in their normal form, and where the ids of a page must lie.

use super::super::lead::{self, normalize};
use super::super::query::Place;
use super::super::rows::{place_bytes, space_bytes};
use super::super::{Facet, FacetRange, Query, bounds};

/// Above every id.
const ABOVE_ALL: [u8; bounds::LONGEST_ID + 1] = [0xff; bounds::LONGEST_ID + 1];

/// What a page takes: the conditions in their normal form, and where its ids must lie.
pub(super) struct Wanted<'q> {
    pub(super) query: &'q Query,
    pub(super) conditions: Vec<Vec<FacetRange>>,
    pub(super) low: &'q [u8],
    /// Above the greatest id.
    pub(super) high: Box<[u8]>,
    /// Where the page before ended, in the order of values.
    pub(super) after: Option<(u16, Facet, Box<[u8]>)>,
    /// Whether records of the kind may rest.
    pub(super) rests: bool,
}

impl<'q> Wanted<'q> {
    /// Reads the query; `None` when nothing can be found.
    pub(super) fn of(query: &'q Query, resting: &[u8]) -> Option<Wanted<'q>> {
        let conditions = normalize(query)?;
        let mut high = query.until.clone().unwrap_or_else(|| Box::new(ABOVE_ALL));
        let mut after = None;
        match query.cursor.as_ref().map(|cursor| Place::open(cursor, query)) {
            None => {}
            Some(None) => return None,
            Some(Some(Place::Id(id))) => high = high.min(id),
            Some(Some(Place::Value { condition, at, id })) => {
                conditions.get(usize::from(condition))?;
                after = Some((condition, at, id));
            }
        }
        let low = query.from.as_deref().unwrap_or_default();
        Some(Wanted { query, conditions, low, high, after, rests: resting.contains(&query.space.kind) })
    }

    /// Whether one statement says it all.
    pub(super) fn plain(&self) -> bool {
        lead::plain(&self.conditions).is_some() && self.after.is_none()
    }

    /// The key of an id.
    pub(super) fn key(&self, id: &[u8]) -> Vec<u8> {
        [space_bytes(self.query.space).as_slice(), id].concat()
    }

    /// The beginning of every key.
    pub(super) fn space(&self) -> Vec<u8> {
        self.key(&[])
    }

    /// The ranges of a condition.
    pub(super) fn columns(&self, condition: usize) -> Columns<'_> {
        let mut columns = Columns::default();
        for range in self.conditions.get(condition).into_iter().flatten() {
            columns.add(0, self.query, range);
        }
        columns
    }
}

/// Ranges, one array a column; of several conditions, with their numbers.
#[derive(Default)]
pub(super) struct Columns<'w> {
    pub(super) numbers: Vec<i32>,
    pub(super) places: Vec<Vec<u8>>,
    pub(super) lows: Vec<&'w [u8]>,
    pub(super) highs: Vec<&'w [u8]>,
}

impl<'w> Columns<'w> {
    /// One more.
    pub(super) fn add(&mut self, number: i32, query: &Query, range: &'w FacetRange) {
        self.numbers.push(number);
        self.places.push(place_bytes(query.space, range.name).to_vec());
        self.lows.push(&range.low);
        self.highs.push(&range.high);
    }
}
