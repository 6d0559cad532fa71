//! What a difference does to the tables, inside one transaction under a claim: rows are put where they belong, and taken
//! away from wherever they are.

use super::super::rows::{self, KeyBytes, decode_facets, place_bytes, space_bytes, tally_name};
use super::super::transfer::{Difference, Marks};
use super::super::{Key, Millis, StoreError, Versioned};
use super::days::day_of;
use super::fault::Trouble;
use super::parts::make;
use std::collections::{BTreeMap, BTreeSet};
use tokio_postgres::Client;

/// The SQL of it; a test reads the query plan of each.
pub(super) const SQL: &[&str] = &[FIND, DROP, DROP_FACETS, DROP_LINES, WHERE, MOVE, ADD_LINES, DROP_ORPHANS];
const NOW: &str =
    "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint, at, key FROM horizon WHERE one";
const FIND: &str = "SELECT day, key, facets FROM records WHERE key = ANY($1)";
const DROP: &str = "DELETE FROM records WHERE key = ANY($1)";
const DROP_FACETS: &str = "DELETE FROM facets
    USING unnest($1::integer[], $2::bytea[], $3::bytea[], $4::bytea[]) AS u (day, place, value, id)
    WHERE facets.day = u.day AND facets.place = ANY (ARRAY[u.place]) AND facets.value = u.value AND facets.id = u.id";
const PUT: &str = "INSERT INTO records (day, key, version, bucket, seen, forget_at, facets, body)
    SELECT u.day, u.key, u.version, u.bucket, u.seen, u.forget_at, u.facets, u.body
    FROM unnest($1::integer[], $2::bytea[], $3::bigint[], $4::integer[], $5::bigint[], $6::bigint[], $7::bytea[],
      $8::bytea[]) AS u (day, key, version, bucket, seen, forget_at, facets, body)";
const ADD_FACETS: &str = "INSERT INTO facets (day, place, value, id, forget_at)
    SELECT u.day, u.place, u.value, u.id, u.forget_at
    FROM unnest($1::integer[], $2::bytea[], $3::bytea[], $4::bytea[], $5::bigint[]) AS u (day, place, value, id, forget_at)";
const RAISE: &str = "INSERT INTO rested (space, top) VALUES ($1, $2)
    ON CONFLICT (space) DO UPDATE SET top = greatest(rested.top, excluded.top)";
const DROP_LINES: &str = "DELETE FROM events WHERE position = ANY($1)";
/// Where the history of these belongs: where what rests lies.
const WHERE: &str = "SELECT key, day, forget_at FROM records WHERE day > 0 AND key = ANY($1)
    AND (forget_at, key) > (SELECT at, key FROM horizon WHERE one)";
/// The history of these goes from wherever it is to where it belongs.
const MOVE: &str = "WITH gone AS (
      DELETE FROM events WHERE subject = ANY($1)
        AND (day = 0 OR (forget_at, subject) > (SELECT at, key FROM horizon WHERE one))
      RETURNING position, subject, at, body)
    INSERT INTO events (day, position, subject, at, body, forget_at)
    SELECT coalesce(u.day, 0), position, gone.subject, at, body, u.forget_at FROM gone
    LEFT JOIN unnest($2::bytea[], $3::integer[], $4::bigint[]) AS u (subject, day, forget_at) ON u.subject = gone.subject";
const ADD_LINES: &str = "INSERT INTO events (day, position, subject, at, body, forget_at)
    SELECT u.day, u.position, u.subject, u.at, u.body, u.forget_at
    FROM unnest($1::integer[], $2::bigint[], $3::bytea[], $4::bigint[], $5::bytea[], $6::bigint[])
      AS u (day, position, subject, at, body, forget_at)";
const ADD_ORPHANS: &str = "INSERT INTO orphans (at, key) SELECT u.at, u.key
    FROM unnest($1::bigint[], $2::bytea[]) AS u (at, key) ON CONFLICT DO NOTHING";
const DROP_ORPHANS: &str = "DELETE FROM orphans USING unnest($1::bigint[], $2::bytea[]) AS u (at, key)
    WHERE orphans.at = ANY (ARRAY[u.at]) AND orphans.key = u.key";
// Where each hour of the last year begins, from history itself.
const MARKS: &str = "UPDATE meta SET floor = $1, position = $2 WHERE one";
const RAISE_POSITION: &str = "UPDATE meta SET position = greatest(position, $1) WHERE one";
const HOURS: &str = "DELETE FROM hours; INSERT INTO hours
    SELECT hour, min(first) OVER (ORDER BY hour DESC)
    FROM (SELECT floor(at::numeric / 3600000)::bigint AS hour, min(position) AS first FROM events GROUP BY 1) AS all_hours
    WHERE hour >= (SELECT max(at) / 3600000 - 8784 FROM events);
    UPDATE meta SET hour = coalesce((SELECT max(hour) FROM hours), -9223372036854775808) WHERE one";

/// Facets, one array a column.
#[derive(Default)]
struct Facets {
    days: Vec<i32>,
    places: Vec<Vec<u8>>,
    values: Vec<Vec<u8>>,
    ids: Vec<Vec<u8>>,
    forget_at: Vec<Option<i64>>,
}

impl Facets {
    fn push(&mut self, day: i32, key: &Key, facet: &super::super::Facet, forget_at: Option<i64>) {
        self.days.push(day);
        self.places.push(place_bytes(key.space, facet.name).to_vec());
        self.values.push(facet.value.to_vec());
        self.ids.push(key.id.to_vec());
        self.forget_at.push(forget_at);
    }
}

/// Brings a difference in.
pub(super) async fn bring(client: &Client, resting: &[u8], difference: &Difference) -> Result<(), Trouble> {
    let Difference { records, gone_records, lines, gone_lines, orphans, gone_orphans } = difference;
    let now = client.query_one(NOW, &[]).await?;
    let (now, horizon): (i64, (i64, Vec<u8>)) = (now.try_get(0)?, (now.try_get(1)?, now.try_get(2)?));
    let changed: Vec<&Key> = records.iter().map(|found| &found.record.key).chain(gone_records).collect();
    let changed_bytes = bytes(&changed);
    drop_records(client, &changed_bytes).await?;
    let (mut facets, mut tops, mut days) = (Facets::default(), BTreeMap::new(), BTreeSet::new());
    let mut placed = Vec::new();
    for found in records {
        let record = &found.record;
        let key = KeyBytes::new(&record.key).to_vec();
        let rests = record.seen.is_none() && resting.contains(&record.key.space.kind);
        let forget_at = record.forget_at.filter(|at| rests && (at.0, &key) > (horizon.0, &horizon.1));
        let day = forget_at.and_then(|at| day_of(at, Millis(now))).unwrap_or(0);
        for facet in &record.facets {
            facets.push(day, &record.key, facet, forget_at.filter(|_| day > 0).map(|at| at.0));
        }
        if day > 0 {
            days.insert(day);
            let top: &mut Vec<u8> = tops.entry(space_bytes(record.key.space).to_vec()).or_default();
            *top = key.clone().max(std::mem::take(top));
        }
        placed.push((found, day, key));
    }
    make(client, &days.into_iter().collect::<Vec<_>>()).await?;
    put(client, &placed).await?;
    let values: [&(dyn tokio_postgres::types::ToSql + Sync); 5] =
        [&facets.days, &facets.places, &facets.values, &facets.ids, &facets.forget_at];
    client.execute(ADD_FACETS, &values).await?;
    for (space, top) in &tops {
        client.execute(RAISE, &[space, top]).await?;
    }
    // History: what was there goes where its record went; then lines that are taken away, and lines that come.
    let may_rest: Vec<&Key> = changed.into_iter().filter(|key| resting.contains(&key.space.kind)).collect();
    if !may_rest.is_empty() {
        let subjects = bytes(&may_rest);
        let places = places(client, &subjects).await?;
        let (mut keys, mut days, mut forgets) = (Vec::new(), Vec::new(), Vec::new());
        for (key, (day, forget_at)) in places {
            keys.push(key);
            days.push(day);
            forgets.push(forget_at);
        }
        client.execute(MOVE, &[&subjects, &keys, &days, &forgets]).await?;
    }
    let mut positions: Vec<i64> = gone_lines.iter().map(|at| i64::try_from(*at).unwrap_or(-1)).collect();
    let mut new = Vec::with_capacity(lines.len());
    for line in lines {
        new.push(i64::try_from(line.position).map_err(|_| damaged("a position is too great"))?);
    }
    positions.extend(&new);
    client.execute(DROP_LINES, &[&positions]).await?;
    let subjects = bytes(&lines.iter().map(|line| &line.subject).collect::<Vec<_>>());
    let places = places(client, &subjects).await?;
    let place = |subject: &Vec<u8>| places.get(subject).copied().unwrap_or((0, None));
    let days: Vec<i32> = subjects.iter().map(|subject| place(subject).0).collect();
    let forgets: Vec<Option<i64>> = subjects.iter().map(|subject| place(subject).1).collect();
    let ats: Vec<i64> = lines.iter().map(|line| line.at.0).collect();
    let bodies: Vec<&[u8]> = lines.iter().map(|line| line.body.as_slice()).collect();
    client.execute(ADD_LINES, &[&days, &new, &subjects, &ats, &bodies, &forgets]).await?;
    if let Some(last) = new.iter().max() {
        client.execute(RAISE_POSITION, &[last]).await?;
    }
    for (sql, orphans) in [(ADD_ORPHANS, orphans), (DROP_ORPHANS, gone_orphans)] {
        let ats: Vec<i64> = orphans.iter().map(|(at, _)| at.0).collect();
        let keys = bytes(&orphans.iter().map(|(_, key)| key).collect::<Vec<_>>());
        client.execute(sql, &[&ats, &keys]).await?;
    }
    Ok(())
}

/// Records, each at its place.
async fn put(client: &Client, placed: &[(&Versioned, i32, Vec<u8>)]) -> Result<(), Trouble> {
    let each = || placed.iter().map(|(found, _, _)| &found.record);
    let days: Vec<i32> = placed.iter().map(|(_, day, _)| *day).collect();
    let keys: Vec<&[u8]> = placed.iter().map(|(_, _, key)| key.as_slice()).collect();
    let mut versions = Vec::with_capacity(placed.len());
    for (found, _, _) in placed {
        versions.push(i64::try_from(found.version).map_err(|_| damaged("a version is too great"))?);
    }
    let buckets: Vec<i32> = each().map(|record| i32::from(record.bucket)).collect();
    let seen: Vec<Option<i64>> = each().map(|record| record.seen.map(|at| at.0)).collect();
    let forget_at: Vec<Option<i64>> = each().map(|record| record.forget_at.map(|at| at.0)).collect();
    let facets = each().map(|record| {
        let mut facets = Vec::new();
        rows::encode_facets(&record.facets, &mut facets);
        facets
    });
    let facets: Vec<Vec<u8>> = facets.collect();
    let bodies: Vec<&[u8]> = each().map(|record| record.body.as_slice()).collect();
    client.execute(PUT, &[&days, &keys, &versions, &buckets, &seen, &forget_at, &facets, &bodies]).await?;
    Ok(())
}

/// Sets the marks, and finds the hours of history anew.
pub(super) async fn set_marks(client: &Client, marks: &Marks) -> Result<(), Trouble> {
    let position = i64::try_from(marks.position).map_err(|_| damaged("a position is too great"))?;
    client.execute(MARKS, &[&marks.floor.0, &position]).await?;
    client.batch_execute("DELETE FROM tallies").await?;
    for (tally, n) in &marks.tallies {
        let sql = "INSERT INTO tallies (name, value) VALUES ($1, $2)";
        client.execute(sql, &[&tally_name(tally), n]).await?;
    }
    Ok(client.batch_execute(HOURS).await?)
}

/// What lies under these keys, in whichever partition, forgotten or not, goes with its facets.
async fn drop_records(client: &Client, keys: &[Vec<u8>]) -> Result<(), Trouble> {
    let mut facets = Facets::default();
    for row in client.query(FIND, &[&keys]).await? {
        let (day, key) = (row.try_get(0)?, rows::key(row.try_get(1)?)?);
        let own = decode_facets(row.try_get(2)?);
        for facet in own.ok_or_else(|| damaged("a record's facets cannot be read"))? {
            facets.push(day, &key, &facet, None);
        }
    }
    client.execute(DROP_FACETS, &[&facets.days, &facets.places, &facets.values, &facets.ids]).await?;
    client.execute(DROP, &[&keys]).await?;
    Ok(())
}

/// Where the history of each of these that rest belongs.
async fn places(
    client: &Client,
    subjects: &[Vec<u8>],
) -> Result<BTreeMap<Vec<u8>, (i32, Option<i64>)>, Trouble> {
    let rows = client.query(WHERE, &[&subjects]).await?;
    rows.iter().map(|row| Ok((row.try_get(0)?, (row.try_get(1)?, row.try_get(2)?)))).collect()
}

fn bytes(keys: &[&Key]) -> Vec<Vec<u8>> {
    keys.iter().map(|key| KeyBytes::new(key).to_vec()).collect()
}

fn damaged(what: &str) -> StoreError {
    StoreError::Damaged(what.to_owned())
}
