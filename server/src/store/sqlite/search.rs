//! Finding records by their facets: one condition leads, the others are checked on the record itself.
//!
//! What leads decides the order:
//!
//! * an exact value (or several), or the space itself: its entries lie in the order of ids, newest first;
//! * a range with few entries: they are gathered and sorted by id, so it reads the same;
//! * a range with many: by value, rising. Only there a record can move past a reader, when its value changes.
//!
//! A page in the order of ids needs nothing but the last id to go on, so each page may be led by what is narrowest then.
//! The work of a page is bounded: after so many candidates it ends, with a cursor, however few records it found.

use super::super::lead::{Lead, normalize};
use super::super::query::{Place, holds, in_bounds, matches};
use super::super::rows::{KeyBytes, decode_facets, place_bytes};
use super::super::{Facet, FacetRange, Key, Page, Query, StoreError, Versioned, bounds};
use super::lead;
use super::readers::Trouble;
use super::rows::{record_columns, versioned};
use rusqlite::{Connection, OptionalExtension, Statement};
use std::collections::VecDeque;

/// The most records that one page looks at.
const CANDIDATES: usize = 2_000;
/// How many ids are fetched at once: few at first, for most answers are short.
const FIRST_CHUNK: u32 = 32;
const CHUNK: u32 = 512;
/// Above every id.
pub(super) const ABOVE_ALL: [u8; bounds::LONGEST_ID + 1] = [0xff; bounds::LONGEST_ID + 1];

/// The SQL of a search; a test reads the query plan of each.
pub(super) const SQL: &[&str] = &[BY_EXACT, BY_SPACE, BY_RANGE, BY_VALUE, RECORD];
const BY_EXACT: &str = "SELECT id FROM facets
    WHERE place = ?1 AND value = ?2 AND id >= ?3 AND id < ?4 ORDER BY id DESC LIMIT ?5";
const BY_SPACE: &str =
    "SELECT substr(key, 10) FROM records WHERE key >= ?1 AND key < ?2 ORDER BY key DESC LIMIT ?3";
const BY_RANGE: &str = "SELECT id FROM facets WHERE place = ?1 AND value >= ?2 AND value <= ?3";
const BY_VALUE: &str = "SELECT value, id FROM facets
    WHERE place = ?1 AND (value, id) > (?2, ?3) AND value <= ?4 ORDER BY value, id LIMIT ?5";
const RECORD: &str = concat!("SELECT ", record_columns!(), " FROM records WHERE key = ?1");

/// A search's prepared statements.
pub(super) struct Statements<'c> {
    by_exact: Statement<'c>,
    by_space: Statement<'c>,
    by_range: Statement<'c>,
    by_value: Statement<'c>,
    record: Statement<'c>,
    lead: lead::Statements<'c>,
}

/// Where the ids of a page must lie.
pub(super) struct Bounds<'q> {
    /// The least id.
    pub(super) low: &'q [u8],
    /// Above the greatest id.
    pub(super) high: Box<[u8]>,
}

impl<'c> Statements<'c> {
    pub(super) fn new(conn: &'c Connection) -> rusqlite::Result<Statements<'c>> {
        Ok(Statements {
            by_exact: conn.prepare(BY_EXACT)?,
            by_space: conn.prepare(BY_SPACE)?,
            by_range: conn.prepare(BY_RANGE)?,
            by_value: conn.prepare(BY_VALUE)?,
            record: conn.prepare(RECORD)?,
            lead: lead::Statements::new(conn)?,
        })
    }

    /// One page. The caller holds a transaction, so that index and records are of one snapshot.
    pub(super) fn page(&mut self, query: &Query) -> Result<Page<Versioned>, Trouble> {
        let nothing = Page { items: Vec::new(), next: None };
        let place = match query.cursor.as_ref().map(|cursor| Place::open(cursor, query)) {
            None => None,
            Some(Some(place)) => Some(place),
            Some(None) => return Ok(nothing),
        };
        let Some(conditions) = normalize(query) else { return Ok(nothing) };
        let mut high = query.until.clone().unwrap_or_else(|| Box::new(ABOVE_ALL));
        match place {
            Some(Place::Value { condition, at, id }) => {
                let Some(ranges) = conditions.get(usize::from(condition)) else { return Ok(nothing) };
                return self.page_by_value(query, condition, ranges, Some((at, id)));
            }
            Some(Place::Id(id)) => high = high.min(id),
            None => {}
        }
        let bounds = Bounds { low: query.from.as_deref().unwrap_or_default(), high };
        match self.lead.choose(query, &conditions, &bounds)? {
            Lead::Value(condition) => {
                let ranges = conditions.get(usize::from(condition)).map_or(&[][..], Vec::as_slice);
                self.page_by_value(query, condition, ranges, None)
            }
            lead => self.page_by_id(query, &lead, &conditions, &bounds),
        }
    }

    fn page_by_id(
        &mut self,
        query: &Query,
        lead: &Lead,
        conditions: &[Vec<FacetRange>],
        bounds: &Bounds<'_>,
    ) -> Result<Page<Versioned>, Trouble> {
        let mut streams = match lead {
            Lead::Space | Lead::Value(_) => vec![Stream::new(None, &bounds.high)],
            Lead::Gather(condition) => vec![self.gather(query, conditions.get(*condition), bounds)?],
            Lead::Exact(condition) => {
                let alternatives = conditions.get(*condition).into_iter().flatten();
                alternatives.map(|range| Stream::new(Some(range), &bounds.high)).collect()
            }
        };
        let limit = bounds::page(query.limit);
        let mut items = Vec::new();
        let mut last: Option<Box<[u8]>> = None;
        let mut looked_at = 0;
        while let Some(id) = self.greatest(query, &mut streams, bounds)? {
            if items.len() == limit || looked_at == CANDIDATES {
                return Ok(Page { items, next: last.map(|id| Place::Id(id).seal(query)) });
            }
            looked_at += 1;
            let key = Key { space: query.space, id };
            items.extend(self.candidate(query, &key, |_| true)?);
            last = Some(key.id);
        }
        Ok(Page { items, next: None })
    }

    /// Takes the greatest id off the streams.
    fn greatest(
        &mut self,
        query: &Query,
        streams: &mut [Stream<'_>],
        bounds: &Bounds<'_>,
    ) -> Result<Option<Box<[u8]>>, Trouble> {
        for stream in streams.iter_mut() {
            if stream.ids.is_empty() && !stream.dry {
                self.refill(query, stream, bounds)?;
            }
        }
        let Some(greatest) = streams.iter().filter_map(|stream| stream.ids.front()).max().cloned() else {
            return Ok(None);
        };
        // A record can be in several streams; it is one record.
        for stream in streams {
            stream.ids.pop_front_if(|id| *id == greatest);
        }
        Ok(Some(greatest))
    }

    fn refill(&mut self, query: &Query, stream: &mut Stream<'_>, bounds: &Bounds<'_>) -> Result<(), Trouble> {
        let chunk = stream.chunk;
        let space = |id: &[u8]| [KeyBytes::of(query.space, &[]).as_ref(), id].concat();
        let mut rows = match stream.range {
            Some(range) => {
                let place = place_bytes(query.space, range.name);
                self.by_exact.query((&place, &*range.low, bounds.low, &*stream.high, chunk))?
            }
            None => self.by_space.query((space(bounds.low), space(&stream.high), chunk))?,
        };
        while let Some(row) = rows.next()? {
            stream.ids.push_back(row.get_ref(0)?.as_blob().map_err(rusqlite::Error::from)?.into());
        }
        stream.dry = u32::try_from(stream.ids.len()).is_ok_and(|got| got < chunk);
        if let Some(lowest) = stream.ids.back() {
            stream.high.clone_from(lowest);
        }
        stream.chunk = chunk.saturating_mul(4).min(CHUNK);
        Ok(())
    }

    /// All ids of some ranges, greatest first. The lead was chosen because they are few.
    fn gather<'q>(
        &mut self,
        query: &Query,
        ranges: Option<&Vec<FacetRange>>,
        bounds: &Bounds<'_>,
    ) -> Result<Stream<'q>, Trouble> {
        let mut ids: Vec<Box<[u8]>> = Vec::new();
        for range in ranges.into_iter().flatten() {
            let place = place_bytes(query.space, range.name);
            let mut rows = self.by_range.query((&place, &*range.low, &*range.high))?;
            while let Some(row) = rows.next()? {
                let id = row.get_ref(0)?.as_blob().map_err(rusqlite::Error::from)?;
                if id >= bounds.low && id < &*bounds.high {
                    ids.push(id.into());
                }
            }
        }
        ids.sort_unstable_by(|a, b| b.cmp(a));
        ids.dedup();
        Ok(Stream { range: None, ids: ids.into(), high: Box::default(), chunk: 0, dry: true })
    }

    fn page_by_value(
        &mut self,
        query: &Query,
        condition: u16,
        ranges: &[FacetRange],
        after: Option<(Facet, Box<[u8]>)>,
    ) -> Result<Page<Versioned>, Trouble> {
        let limit = bounds::page(query.limit);
        let mut items = Vec::new();
        let mut looked_at = 0;
        let (mut at, mut last_id) =
            after.unwrap_or((Facet { name: 0, value: Box::default() }, Box::default()));
        for range in ranges {
            if (range.name, &range.high) < (at.name, &at.value) {
                continue; // before the cursor
            }
            if (at.name, &at.value) < (range.name, &range.low) {
                at = Facet { name: range.name, value: range.low.clone() };
                last_id = Box::default(); // before every id
            }
            let place = place_bytes(query.space, range.name);
            loop {
                let row = (&place, &*at.value, &*last_id, &*range.high, CHUNK);
                let chunk: Vec<(Vec<u8>, Vec<u8>)> = self
                    .by_value
                    .query_map(row, |row| Ok((row.get(0)?, row.get(1)?)))?
                    .collect::<Result<_, _>>()?;
                let dry = u32::try_from(chunk.len()).is_ok_and(|got| got < CHUNK);
                for (value, id) in chunk {
                    if items.len() == limit || looked_at == CANDIDATES {
                        let next = Place::Value { condition, at, id: last_id }.seal(query);
                        return Ok(Page { items, next: Some(next) });
                    }
                    looked_at += 1;
                    let key = Key { space: query.space, id: id.into() };
                    at = Facet { name: range.name, value: value.into() };
                    if in_bounds(query, &key.id) {
                        // A record with several values in the ranges is given at the first of them only.
                        let first = |own: &[Facet]| {
                            let within =
                                own.iter().filter(|facet| ranges.iter().any(|range| holds(range, facet)));
                            within.min() == Some(&at)
                        };
                        items.extend(self.candidate(query, &key, first)?);
                    }
                    last_id = key.id;
                }
                if dry {
                    break;
                }
            }
        }
        Ok(Page { items, next: None })
    }

    /// The record, if it meets every condition and `also`.
    fn candidate(
        &mut self,
        query: &Query,
        key: &Key,
        also: impl Fn(&[Facet]) -> bool,
    ) -> Result<Option<Versioned>, Trouble> {
        let found = self
            .record
            .query_row([&*KeyBytes::new(key)], |row| {
                // The body is only read when the facets say yes.
                let facets = decode_facets(row.get_ref(4)?.as_blob()?);
                let wanted = facets.is_none_or(|own| matches(&query.all, &own) && also(&own));
                if wanted { versioned(key, row).map(Some) } else { Ok(None) }
            })
            .optional()?;
        match found {
            None => Err(StoreError::Damaged("an index names a record that is not there".to_owned()).into()),
            Some(None) => Ok(None),
            Some(Some(record)) => Ok(Some(record?)),
        }
    }
}

/// Ids of one source, greatest first, fetched in chunks.
struct Stream<'q> {
    /// One exact value; `None`: the whole space.
    range: Option<&'q FacetRange>,
    ids: VecDeque<Box<[u8]>>,
    high: Box<[u8]>,
    chunk: u32,
    dry: bool,
}

impl<'q> Stream<'q> {
    fn new(range: Option<&'q FacetRange>, high: &[u8]) -> Stream<'q> {
        Stream { range, ids: VecDeque::new(), high: high.into(), chunk: FIRST_CHUNK, dry: false }
    }
}
