//! Finding records by their facets, as the embedded store does it: one condition leads, the others are checked on the
//! record's own facets, and the order of a page is that of ids or, for wide ranges, of values.
//!
//! A page is one snapshot. Where one statement says it all (a condition of exact values, or none), it is one statement on
//! a shared connection. Everything else is several statements in a transaction that reads, on a connection that is its own
//! for that long.

use super::super::lead::{self, Lead};
use super::super::query::{Place, holds, in_bounds, matches};
use super::super::rows::{decode_facets, place_bytes};
use super::super::{Facet, Key, Page, StoreError, Versioned, bounds};
use super::fault::Trouble;
use super::pool::Line;
use super::read::{Long, record};
use super::searching::{Search, Set};
use super::wanted::{Columns, Wanted};
use futures_util::FutureExt;
use std::collections::{HashMap, VecDeque};
use tokio::sync::MutexGuard;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Error, Row};

/// The most records that one page looks at.
const CANDIDATES: usize = 2_000;
/// How many candidates are fetched at once: few at first, for most answers are short.
const FIRST_CHUNK: usize = 64;
const CHUNK: usize = 512;
/// A page that one statement finds: all that it gives meets the query.
pub(super) async fn plain(line: &Line<Long>, wanted: &Wanted<'_>) -> Result<Page<Versioned>, Trouble> {
    let limit = bounds::page(wanted.query.limit);
    // One more than fits says whether there is a next page.
    let count = count(limit + 1);
    let (client, statements) = (&line.client, &line.statements);
    let rows = if wanted.conditions.is_empty() {
        let statement = if wanted.rests { &statements.space } else { &statements.space_hot };
        client.query(statement, &[&wanted.key(wanted.low), &wanted.key(&wanted.high), &count]).await?
    } else {
        let statement = if wanted.rests { &statements.exact } else { &statements.exact_hot };
        let values = wanted.columns(0);
        client
            .query(
                statement,
                &[&values.places, &values.lows, &wanted.low, &&*wanted.high, &count, &wanted.space()],
            )
            .await?
    };
    let whole = |row: &Row| whole(wanted, row);
    let items: Vec<Versioned> = rows.iter().take(limit).map(whole).collect::<Result<_, _>>()?;
    let last = items.last().filter(|_| rows.len() > limit).map(|last| last.record.key.id.clone());
    Ok(Page { next: last.map(|id| Place::Id(id).seal(wanted.query)), items })
}

/// A connection in a transaction that sees one snapshot. It ends with its owner, also with one who does not wait.
struct Alone<'l> {
    client: &'l Client,
    set: &'l Set,
    _turn: MutexGuard<'l, ()>,
}

impl Alone<'_> {
    async fn begin<'l>(line: &'l Line<Search>, rests: bool) -> Result<Alone<'l>, Error> {
        let turn = line.statements.alone.lock().await;
        let set = if rests { &line.statements.all } else { &line.statements.hot };
        let alone = Alone { client: &line.client, set, _turn: turn };
        alone.client.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
        Ok(alone)
    }
}

impl Drop for Alone<'_> {
    fn drop(&mut self) {
        // It is sent with the first look at it, behind all that was asked and before what the next one asks; nobody
        // waits for the answer.
        let _ = self.client.batch_execute("ROLLBACK").now_or_never();
    }
}

/// A page that takes several statements.
pub(super) async fn page(line: &Line<Search>, wanted: &Wanted<'_>) -> Result<Page<Versioned>, Trouble> {
    let alone = Alone::begin(line, wanted.rests).await?;
    if let Some((condition, at, id)) = &wanted.after {
        return alone.by_value(wanted, *condition, at.clone(), id.clone()).await;
    }
    match alone.choose(wanted).await? {
        Lead::Value(condition) => {
            let before_all = Facet { name: 0, value: Box::default() };
            alone.by_value(wanted, condition, before_all, Box::default()).await
        }
        lead => alone.by_id(wanted, lead).await,
    }
}

/// What a statement is given.
type Value<'v> = &'v (dyn ToSql + Sync);

/// A record that may be on the page.
struct Candidate {
    id: Box<[u8]>,
    day: i32,
    facets: Vec<Facet>,
}

impl Alone<'_> {
    async fn choose(&self, wanted: &Wanted<'_>) -> Result<Lead, Error> {
        if let Some(lead) = lead::plain(&wanted.conditions) {
            return Ok(lead);
        }
        for probe in lead::PROBES {
            let inside = async {
                if !lead::bounded(wanted.query) {
                    return Ok::<_, Error>(None);
                }
                let values: [Value<'_>; 3] =
                    [&wanted.key(wanted.low), &wanted.key(&wanted.high), &i64::from(probe)];
                let row = self.client.query_one(&self.set.count_space, &values).await?;
                Ok(Some(u32::try_from(row.get::<_, i64>(0)).unwrap_or(u32::MAX)))
            };
            let (entries, inside) = tokio::try_join!(self.entries(wanted, probe), inside)?;
            if let Some(lead) = lead::choose(wanted.query, &wanted.conditions, &entries, inside, probe) {
                return Ok(lead);
            }
        }
        Ok(Lead::Space)
    }

    /// How many entries each condition has, up to `probe`.
    async fn entries(&self, wanted: &Wanted<'_>, probe: u32) -> Result<Vec<u32>, Error> {
        let (mut exact, mut ranges) = (Columns::default(), Columns::default());
        for (number, condition) in (0_i32..).zip(&wanted.conditions) {
            let into = if lead::exact(condition) { &mut exact } else { &mut ranges };
            for range in condition {
                into.add(number, wanted.query, range);
            }
        }
        let most = i64::from(probe);
        let high = &*wanted.high;
        let exact: [Value<'_>; 6] = [&exact.places, &exact.lows, &exact.numbers, &wanted.low, &high, &most];
        let ranges: [Value<'_>; 5] = [&ranges.places, &ranges.lows, &ranges.highs, &ranges.numbers, &most];
        let (exact, ranges) = tokio::try_join!(
            self.client.query(&self.set.count_exact, &exact),
            self.client.query(&self.set.count_range, &ranges),
        )?;
        let mut entries = vec![0_u32; wanted.conditions.len()];
        for row in exact.iter().chain(&ranges) {
            let number = usize::try_from(row.get::<_, i32>(0)).unwrap_or(usize::MAX);
            if let Some(sum) = entries.get_mut(number) {
                *sum = sum.saturating_add(u32::try_from(row.get::<_, i64>(1)).unwrap_or(u32::MAX));
            }
        }
        Ok(entries)
    }

    async fn by_id(&self, wanted: &Wanted<'_>, lead: Lead) -> Result<Page<Versioned>, Trouble> {
        let limit = bounds::page(wanted.query.limit);
        let mut gathered = match lead {
            Lead::Gather(condition) => Some(self.gather(wanted, condition).await?),
            Lead::Space | Lead::Exact(_) | Lead::Value(_) => None,
        };
        let (mut found, mut looked_at, mut chunk) = (Vec::new(), 0, FIRST_CHUNK);
        let mut high = wanted.high.clone();
        let mut last = None;
        loop {
            let candidates = match &mut gathered {
                Some(rest) => self.next_of(wanted, rest, chunk).await?,
                None => self.below(wanted, lead, &high, chunk).await?,
            };
            let dry = candidates.len() < chunk;
            for candidate in candidates {
                if found.len() == limit || looked_at == CANDIDATES {
                    let next = last.map(|id| Place::Id(id).seal(wanted.query));
                    return Ok(Page { items: self.whole(wanted, found).await?, next });
                }
                looked_at += 1;
                last = Some(candidate.id.clone());
                if matches(&wanted.query.all, &candidate.facets) {
                    found.push((candidate.day, candidate.id));
                }
            }
            if dry {
                return Ok(Page { items: self.whole(wanted, found).await?, next: None });
            }
            if let Some(lowest) = &last {
                high.clone_from(lowest);
            }
            chunk = (chunk * 4).min(CHUNK);
        }
    }

    /// The next candidates below an id, greatest first.
    async fn below(
        &self,
        wanted: &Wanted<'_>,
        lead: Lead,
        high: &[u8],
        chunk: usize,
    ) -> Result<Vec<Candidate>, Trouble> {
        let chunk = count(chunk);
        let rows = match lead {
            Lead::Exact(condition) => {
                let values = wanted.columns(condition);
                let space = wanted.space();
                self.client
                    .query(
                        &self.set.exact,
                        &[&values.places, &values.lows, &wanted.low, &high, &chunk, &space],
                    )
                    .await?
            }
            Lead::Space | Lead::Gather(_) | Lead::Value(_) => {
                self.client
                    .query(&self.set.space, &[&wanted.key(wanted.low), &wanted.key(high), &chunk])
                    .await?
            }
        };
        Ok(rows.iter().map(candidate).collect::<Result<_, _>>()?)
    }

    /// All ids of some ranges, greatest first. The lead was chosen because they are few.
    async fn gather(
        &self,
        wanted: &Wanted<'_>,
        condition: usize,
    ) -> Result<VecDeque<(Box<[u8]>, i32)>, Error> {
        let ranges = wanted.columns(condition);
        let rows = self
            .client
            .query(
                &self.set.gather,
                &[&ranges.places, &ranges.lows, &ranges.highs, &wanted.low, &&*wanted.high],
            )
            .await?;
        let mut ids: Vec<(Box<[u8]>, i32)> =
            rows.iter().map(|row| (row.get::<_, &[u8]>(0).into(), row.get(1))).collect();
        ids.sort_unstable_by(|a, b| b.cmp(a));
        ids.dedup();
        Ok(ids.into())
    }

    /// The next of the gathered ones.
    async fn next_of(
        &self,
        wanted: &Wanted<'_>,
        rest: &mut VecDeque<(Box<[u8]>, i32)>,
        chunk: usize,
    ) -> Result<Vec<Candidate>, Trouble> {
        let ids: Vec<(Box<[u8]>, i32)> = rest.drain(..chunk.min(rest.len())).collect();
        let keys: Vec<Vec<u8>> = ids.iter().map(|(id, _)| wanted.key(id)).collect();
        let days: Vec<i32> = ids.iter().map(|(_, day)| *day).collect();
        let rows = self.client.query(&self.set.facets, &[&days, &keys]).await?;
        let mut own: HashMap<&[u8], &Row> = rows.iter().map(|row| (row.get(0), row)).collect();
        let one = |(id, _): &(Box<[u8]>, i32)| own.remove(&**id).ok_or_else(nowhere).and_then(candidate);
        Ok(ids.iter().map(one).collect::<Result<_, _>>()?)
    }

    async fn by_value(
        &self,
        wanted: &Wanted<'_>,
        condition: u16,
        mut at: Facet,
        mut last_id: Box<[u8]>,
    ) -> Result<Page<Versioned>, Trouble> {
        let query = wanted.query;
        let limit = bounds::page(query.limit);
        let ranges = wanted.conditions.get(usize::from(condition)).map_or(&[][..], Vec::as_slice);
        let (mut found, mut looked_at, space) = (Vec::new(), 0, wanted.space());
        for range in ranges {
            if (range.name, &range.high) < (at.name, &at.value) {
                continue; // before the cursor
            }
            if (at.name, &at.value) < (range.name, &range.low) {
                at = Facet { name: range.name, value: range.low.clone() };
                last_id = Box::default(); // before every id
            }
            let place = place_bytes(query.space, range.name).to_vec();
            loop {
                let chunk = count(CHUNK);
                let rows = self
                    .client
                    .query(&self.set.value, &[&place, &&*at.value, &&*last_id, &&*range.high, &chunk, &space])
                    .await?;
                let dry = rows.len() < CHUNK;
                for row in &rows {
                    if found.len() == limit || looked_at == CANDIDATES {
                        let next = Place::Value { condition, at, id: last_id }.seal(query);
                        return Ok(Page { items: self.whole(wanted, found).await?, next: Some(next) });
                    }
                    looked_at += 1;
                    let Candidate { id, day, facets } = candidate(row)?;
                    at = Facet { name: range.name, value: row.get::<_, &[u8]>(3).into() };
                    // A record with several values in the ranges is given at the first of them only.
                    let within = facets.iter().filter(|facet| ranges.iter().any(|range| holds(range, facet)));
                    let first = within.min() == Some(&at);
                    if first && in_bounds(query, &id) && matches(&query.all, &facets) {
                        found.push((day, id.clone()));
                    }
                    last_id = id;
                }
                if dry {
                    break;
                }
            }
        }
        Ok(Page { items: self.whole(wanted, found).await?, next: None })
    }

    /// The records that were found, in their order.
    async fn whole(
        &self,
        wanted: &Wanted<'_>,
        found: Vec<(i32, Box<[u8]>)>,
    ) -> Result<Vec<Versioned>, Trouble> {
        if found.is_empty() {
            return Ok(Vec::new());
        }
        let days: Vec<i32> = found.iter().map(|(day, _)| *day).collect();
        let keys: Vec<Vec<u8>> = found.iter().map(|(_, id)| wanted.key(id)).collect();
        let rows = self.client.query(&self.set.whole, &[&days, &keys]).await?;
        let mut own: HashMap<&[u8], &Row> = rows.iter().map(|row| (row.get(0), row)).collect();
        let one = |(_, id): &(i32, Box<[u8]>)| {
            own.remove(&**id).ok_or_else(nowhere).and_then(|row| whole(wanted, row))
        };
        Ok(found.iter().map(one).collect::<Result<_, _>>()?)
    }
}

fn count(items: usize) -> i64 {
    i64::try_from(items).unwrap_or(i64::MAX)
}

fn nowhere() -> StoreError {
    StoreError::Damaged("an index names a record that is not there".to_owned())
}

/// Of id, day and facets.
fn candidate(row: &Row) -> Result<Candidate, StoreError> {
    let facets: Option<&[u8]> = row.get(2);
    let facets = decode_facets(facets.ok_or_else(nowhere)?)
        .ok_or_else(|| StoreError::Damaged("facets of a record cannot be read".to_owned()))?;
    Ok(Candidate { id: row.get::<_, &[u8]>(0).into(), day: row.get(1), facets })
}

/// Of id and the columns of a record, which are null where an index is wrong.
fn whole(wanted: &Wanted<'_>, row: &Row) -> Result<Versioned, StoreError> {
    if row.get::<_, Option<i64>>(1).is_none() {
        return Err(nowhere());
    }
    let key = Key { space: wanted.query.space, id: row.get::<_, &[u8]>(0).into() };
    record(key, row, 1)
}
