//! What is counted to choose which condition leads a search.

use super::super::lead::{self, Lead};
use super::super::rows::{KeyBytes, place_bytes};
use super::super::{FacetRange, Query};
use super::search::Bounds;
use rusqlite::{Connection, Statement};

/// The SQL of the choice; a test reads the query plan of each.
pub(super) const SQL: &[&str] = &[COUNT_EXACT, COUNT_RANGE, COUNT_SPACE];
const COUNT_EXACT: &str = "SELECT count(*) FROM (SELECT 1 FROM facets
    WHERE place = ?1 AND value = ?2 AND id >= ?3 AND id < ?4 LIMIT ?5)";
const COUNT_RANGE: &str =
    "SELECT count(*) FROM (SELECT 1 FROM facets WHERE place = ?1 AND value >= ?2 AND value <= ?3 LIMIT ?4)";
const COUNT_SPACE: &str =
    "SELECT count(*) FROM (SELECT 1 FROM records WHERE key >= ?1 AND key < ?2 LIMIT ?3)";

/// The prepared statements of the choice.
pub(super) struct Statements<'c> {
    exact: Statement<'c>,
    range: Statement<'c>,
    space: Statement<'c>,
}

impl<'c> Statements<'c> {
    pub(super) fn new(conn: &'c Connection) -> rusqlite::Result<Statements<'c>> {
        Ok(Statements {
            exact: conn.prepare(COUNT_EXACT)?,
            range: conn.prepare(COUNT_RANGE)?,
            space: conn.prepare(COUNT_SPACE)?,
        })
    }

    /// Chooses for one page.
    pub(super) fn choose(
        &mut self,
        query: &Query,
        conditions: &[Vec<FacetRange>],
        bounds: &Bounds<'_>,
    ) -> rusqlite::Result<Lead> {
        if let Some(lead) = lead::plain(conditions) {
            return Ok(lead);
        }
        for probe in lead::PROBES {
            let mut entries = Vec::with_capacity(conditions.len());
            for ranges in conditions {
                entries.push(if lead::exact(ranges) {
                    self.count_exact(query, ranges, bounds, probe)?
                } else {
                    self.count_range(query, ranges, probe)?
                });
            }
            let inside =
                if lead::bounded(query) { Some(self.count_space(query, bounds, probe)?) } else { None };
            if let Some(lead) = lead::choose(query, conditions, &entries, inside, probe) {
                return Ok(lead);
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
