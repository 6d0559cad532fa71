//! Which condition leads a search: the one with the fewest entries, as far as it pays to count.

use super::super::rows::{KeyBytes, place_bytes};
use super::super::{FacetRange, Query};
use super::search::Bounds;
use rusqlite::{Connection, Statement};

/// Entries up to which conditions are told apart; the second look is for when all of them have more.
const PROBES: [u32; 2] = [1_000, 16_000];
/// Entries of a range up to which it is gathered and sorted by id.
const GATHER: u32 = 4_000;

/// The SQL of the choice; a test reads the query plan of each.
pub(super) const SQL: &[&str] = &[COUNT_EXACT, COUNT_RANGE, COUNT_SPACE];
const COUNT_EXACT: &str = "SELECT count(*) FROM (SELECT 1 FROM facets
    WHERE place = ?1 AND value = ?2 AND id >= ?3 AND id < ?4 LIMIT ?5)";
const COUNT_RANGE: &str =
    "SELECT count(*) FROM (SELECT 1 FROM facets WHERE place = ?1 AND value >= ?2 AND value <= ?3 LIMIT ?4)";
const COUNT_SPACE: &str =
    "SELECT count(*) FROM (SELECT 1 FROM records WHERE key >= ?1 AND key < ?2 LIMIT ?3)";

/// Where the candidates come from; numbers are places in the query's conditions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Lead {
    /// Every record of the space, by id.
    Space,
    /// One or several exact values, by id.
    Exact(usize),
    /// A range with few entries, by id.
    Gather(usize),
    /// A range with many entries, by value.
    Value(u16),
}

/// The prepared statements of the choice.
pub(super) struct Statements<'c> {
    exact: Statement<'c>,
    range: Statement<'c>,
    space: Statement<'c>,
}

/// The ranges of each condition, sorted, without empty ones, and joined where they overlap, so that no entry is met
/// twice. `None` when a condition can hold for nothing.
pub(super) fn normalize(query: &Query) -> Option<Vec<Vec<FacetRange>>> {
    let normal = |any: &[FacetRange]| {
        let mut ranges: Vec<FacetRange> =
            any.iter().filter(|range| range.low <= range.high).cloned().collect();
        ranges.sort_by(|a, b| (a.name, &a.low, &a.high).cmp(&(b.name, &b.low, &b.high)));
        let mut joined: Vec<FacetRange> = Vec::with_capacity(ranges.len());
        for range in ranges {
            match joined.last_mut() {
                Some(last) if last.name == range.name && range.low <= last.high => {
                    if range.high > last.high {
                        last.high = range.high;
                    }
                }
                _ => joined.push(range),
            }
        }
        (!joined.is_empty()).then_some(joined)
    };
    query.all.iter().map(|condition| normal(&condition.any)).collect()
}

fn exact(ranges: &[FacetRange]) -> bool {
    ranges.iter().all(|range| range.low == range.high)
}

impl<'c> Statements<'c> {
    pub(super) fn new(conn: &'c Connection) -> rusqlite::Result<Statements<'c>> {
        Ok(Statements {
            exact: conn.prepare(COUNT_EXACT)?,
            range: conn.prepare(COUNT_RANGE)?,
            space: conn.prepare(COUNT_SPACE)?,
        })
    }

    /// Chooses for one page. A search that went on by id stays in that order, for its cursor knows no more than an id.
    pub(super) fn choose(
        &mut self,
        query: &Query,
        conditions: &[Vec<FacetRange>],
        bounds: &Bounds<'_>,
    ) -> rusqlite::Result<Lead> {
        match conditions {
            [] => return Ok(Lead::Space),
            [only] if exact(only) => return Ok(Lead::Exact(0)),
            _ => {}
        }
        let by_id_only = query.cursor.is_some();
        for probe in PROBES {
            let mut best: Option<(u32, Lead)> = None;
            for (number, ranges) in conditions.iter().enumerate() {
                let (entries, lead) = if exact(ranges) {
                    (self.count_exact(query, ranges, bounds, probe)?, Lead::Exact(number))
                } else {
                    let entries = self.count_range(query, ranges, probe)?;
                    match u16::try_from(number) {
                        _ if entries <= GATHER && entries < probe => (entries, Lead::Gather(number)),
                        Ok(number) if !by_id_only => (entries, Lead::Value(number)),
                        _ => continue,
                    }
                };
                let better = best.is_none_or(|(least, lead_so_far)| {
                    // Among equals one in the order of ids: it can be followed without surprises.
                    entries < least || (entries == least && matches!(lead_so_far, Lead::Value(_)))
                });
                if better {
                    best = Some((entries, lead));
                }
            }
            if query.from.is_some() || query.until.is_some() {
                let entries = self.count_space(query, bounds, probe)?;
                if best.is_none_or(|(least, _)| entries < least) {
                    best = Some((entries, Lead::Space));
                }
            }
            match best {
                Some((entries, lead)) if entries < probe => return Ok(lead),
                Some((_, lead)) if Some(&probe) == PROBES.last() => return Ok(lead),
                _ => {}
            }
        }
        Ok(Lead::Space)
    }

    fn count_exact(
        &mut self,
        query: &Query,
        ranges: &[FacetRange],
        bounds: &Bounds<'_>,
        probe: u32,
    ) -> rusqlite::Result<u32> {
        let mut sum = 0u32;
        for range in ranges {
            let place = place_bytes(query.space, range.name);
            let left = probe - sum.min(probe);
            let row = (&place, &*range.low, bounds.low, &*bounds.high, left);
            sum = sum.saturating_add(self.exact.query_row(row, |row| row.get::<_, u32>(0))?);
        }
        Ok(sum)
    }

    fn count_range(&mut self, query: &Query, ranges: &[FacetRange], probe: u32) -> rusqlite::Result<u32> {
        let mut sum = 0u32;
        for range in ranges {
            let place = place_bytes(query.space, range.name);
            let left = probe - sum.min(probe);
            let row = (&place, &*range.low, &*range.high, left);
            sum = sum.saturating_add(self.range.query_row(row, |row| row.get::<_, u32>(0))?);
        }
        Ok(sum)
    }

    fn count_space(&mut self, query: &Query, bounds: &Bounds<'_>, probe: u32) -> rusqlite::Result<u32> {
        let low = [&*KeyBytes::of(query.space, &[]), bounds.low].concat();
        let high = [&*KeyBytes::of(query.space, &[]), &*bounds.high].concat();
        self.space.query_row((low, high, probe), |row| row.get(0))
    }
}
