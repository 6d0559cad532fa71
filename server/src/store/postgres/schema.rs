//! The tables, and how they came to be: steps in order, counted in `meta.version`.
//!
//! `records`, `facets` and `events` are each one table in partitions by `day`. Day 0, the partition `_hot`, is all that
//! lives. A record that rests (it has ended, and says until when it is kept) lies with its facets and its history in the
//! partition of the day on which it may be forgotten, which is dropped whole when that day is over. Nodes of the program's
//! version N and N+1 use the same tables side by side, so a step may only add.

/// One step from a version of the tables to the next.
pub(super) struct Step {
    /// What is done. Steps are never edited, only added.
    pub(super) sql: &'static str,
    /// The least version of the program that can still use the tables afterwards.
    pub(super) readable_by: i32,
}

/// Each step lifts the tables from the version that is its place in this list to the next.
pub(super) const STEPS: &[Step] = &[Step { sql: FIRST, readable_by: 1 }];

/// The tables that are in partitions.
pub(super) const PARTED: [&str; 3] = ["records", "facets", "events"];

/// What the partition of one day is called.
pub(super) fn partition(table: &str, day: i32) -> String {
    format!("{table}_d{day}")
}

/// Makes the partition of one table and one day. Attaching takes no lock on the parent that would keep anybody from reading
/// or writing.
pub(super) fn make_partition(table: &str, day: i32) -> String {
    let name = partition(table, day);
    let indexes = match table {
        "records" => {
            format!("ALTER TABLE {name} ADD PRIMARY KEY (key); CREATE INDEX ON {name} (forget_at, key);")
        }
        "facets" => format!("ALTER TABLE {name} ADD PRIMARY KEY (place, value, id) INCLUDE (forget_at);"),
        _ => format!(
            "ALTER TABLE {name} ADD PRIMARY KEY (position); CREATE INDEX ON {name} (subject, position);
             CREATE INDEX ON {name} (substring(subject, 2, 8), position);"
        ),
    };
    format!(
        "CREATE TABLE {name} (LIKE {table} INCLUDING DEFAULTS); {indexes}
         ALTER TABLE {table} ATTACH PARTITION {name} FOR VALUES IN ({day});"
    )
}

// Room is left in pages where rows are written over (a refresh, a touch, a counter): the new version of a row then fits
// beside the old one, no index is touched (no index has a column of what changes), and the next writer tidies the page up.
// `meta` is one row that every commit writes: nearly all of its page is left free. The usual share of a fifth of all rows
// is late for tables of many millions: they are vacuumed from a twentieth on.
const FIRST: &str = "
-- Records. `key` is kind (1 byte), environment (8, big-endian), id. `facets` is what the record is found by.
CREATE TABLE records (
  day integer NOT NULL,
  key bytea NOT NULL,
  version bigint NOT NULL,
  bucket integer NOT NULL,
  seen bigint,
  forget_at bigint,
  facets bytea NOT NULL,
  body bytea NOT NULL
) PARTITION BY LIST (day);
CREATE TABLE records_hot PARTITION OF records (PRIMARY KEY (key)) FOR VALUES IN (0)
  WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05);
CREATE INDEX records_hot_forget ON records_hot (forget_at, key) WHERE forget_at IS NOT NULL;
-- By what records are found. `place` is kind, environment, name of the facet. `forget_at` is of records that rest.
CREATE TABLE facets (
  day integer NOT NULL,
  place bytea NOT NULL,
  value bytea NOT NULL,
  id bytea NOT NULL,
  forget_at bigint
) PARTITION BY LIST (day);
CREATE TABLE facets_hot PARTITION OF facets (PRIMARY KEY (place, value, id)) FOR VALUES IN (0)
  WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_insert_scale_factor = 0.05);
-- History, in the order of commits. It lies where its record lies.
CREATE TABLE events (
  day integer NOT NULL,
  position bigint NOT NULL,
  subject bytea NOT NULL,
  at bigint NOT NULL,
  body bytea NOT NULL,
  forget_at bigint
) PARTITION BY LIST (day);
CREATE TABLE events_hot PARTITION OF events (PRIMARY KEY (position)) FOR VALUES IN (0)
  WITH (autovacuum_vacuum_scale_factor = 0.05);
CREATE INDEX events_hot_subject ON events_hot (subject, position);
CREATE INDEX events_hot_env ON events_hot (substring(subject, 2, 8), position);
-- Where in history an hour begins: every line below `position` is dated before the hour (hours since 1970).
CREATE TABLE hours (
  hour bigint PRIMARY KEY,
  position bigint NOT NULL
);
-- Deleted records whose history is still to be swept. That history lies in the hot partition.
CREATE TABLE orphans (
  at bigint NOT NULL,
  key bytea NOT NULL,
  PRIMARY KEY (at, key)
);
CREATE TABLE tallies (
  name bytea PRIMARY KEY,
  value bigint NOT NULL
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);
-- Records that rest are forgotten up to and including this one, in the order of (forget_at, key), though they may lie in
-- their partitions for a while.
CREATE TABLE horizon (
  one boolean PRIMARY KEY DEFAULT true CHECK (one),
  at bigint NOT NULL,
  key bytea NOT NULL
);
INSERT INTO horizon (at, key) VALUES (-9223372036854775808, '');
-- The greatest key that ever rested in each space: what is above it does not rest, and nobody needs to look.
CREATE TABLE rested (
  space bytea PRIMARY KEY,
  top bytea NOT NULL
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);
-- One row. `position`: of the last line of history; `floor`: the clock's high-water mark; `hour`: the latest that history
-- has reached, and `earlier` what it was before the last commit.
CREATE TABLE meta (
  one boolean PRIMARY KEY DEFAULT true CHECK (one),
  version integer NOT NULL,
  readable_by integer NOT NULL,
  position bigint NOT NULL,
  floor bigint NOT NULL,
  hour bigint NOT NULL,
  earlier bigint NOT NULL
) WITH (fillfactor = 10, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);
INSERT INTO meta (version, readable_by, position, floor, hour, earlier)
  VALUES (0, 0, 0, 0, -9223372036854775808, -9223372036854775808);
";
