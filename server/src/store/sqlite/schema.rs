//! The tables, and how they came to be: migrations in order, counted by SQLite's `user_version`.
//!
//! The layout was chosen by measurement (page 4 KiB, creates of one session with its user's record, an event and four
//! facets): records in a rowid table with an index by key cost a third less CPU than one without rowids when few
//! commit together, because whole records in inner pages make the tree deep; time-ordered keys append.

/// Marks a file as ours: `HSTP`.
pub(super) const APPLICATION_ID: i32 = 0x4853_5450;

/// Each step lifts a file from the version that is its place in this list to the next. Steps are never edited, only
/// added.
pub(super) const MIGRATIONS: &[&str] = &[FIRST, SECOND, THIRD];

/// The version this program writes.
pub(super) const VERSION: usize = MIGRATIONS.len();

/// History by environment: the environment is a part of the subject, so no row had to be written anew.
const SECOND: &str = "CREATE INDEX events_env ON events (substr(subject, 2, 8));";

/// Where in history an hour begins, so that the last day is found without looking through all that was before it.
const THIRD: &str = "
-- Every line of history below `position` is dated before the hour (hours since 1970).
CREATE TABLE hours (
  hour INTEGER PRIMARY KEY,
  position INTEGER NOT NULL
) STRICT;
INSERT INTO hours
  SELECT hour, min(first) OVER (ORDER BY hour DESC)
  FROM (SELECT at / 3600000 AS hour, min(position) AS first FROM events GROUP BY 1);
";

const FIRST: &str = "
-- Records. `key` is kind (1 byte), environment (8, big-endian), id. `facets` is what the record is found by.
CREATE TABLE records (
  n INTEGER PRIMARY KEY,
  key BLOB NOT NULL UNIQUE,
  version INTEGER NOT NULL,
  bucket INTEGER NOT NULL,
  seen INTEGER,
  forget_at INTEGER,
  facets BLOB NOT NULL,
  body BLOB NOT NULL
) STRICT;
CREATE INDEX records_forget ON records (forget_at) WHERE forget_at IS NOT NULL;
-- By what records are found. `place` is kind, environment, name of the facet.
CREATE TABLE facets (
  place BLOB NOT NULL,
  value BLOB NOT NULL,
  id BLOB NOT NULL,
  PRIMARY KEY (place, value, id)
) STRICT, WITHOUT ROWID;
-- History, in the order of commits.
CREATE TABLE events (
  position INTEGER PRIMARY KEY,
  subject BLOB NOT NULL,
  at INTEGER NOT NULL,
  body BLOB NOT NULL
) STRICT;
CREATE INDEX events_subject ON events (subject);
-- Deleted records whose history is still to be swept.
CREATE TABLE orphans (
  at INTEGER NOT NULL,
  key BLOB NOT NULL,
  PRIMARY KEY (at, key)
) STRICT, WITHOUT ROWID;
-- 'floor': the clock's high-water mark; 'position': the last event's; 'probe'; 't' and more: tallies.
CREATE TABLE counters (
  name BLOB PRIMARY KEY,
  value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
";
