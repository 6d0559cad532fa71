//! What a connection is for: its name, how long the server works for it, and how it behaves.

use std::time::Duration;

/// What a connection is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Purpose {
    /// Short statements.
    Short,
    /// Searches and history.
    Long,
    /// Commits.
    Writing,
    /// Migrations, which wait for a lock as they say themselves, and freeing space.
    Schema,
    /// Notifications.
    Listening,
    /// Everything into another store: not for a service.
    Moving,
}

impl Purpose {
    /// What administrators see in `pg_stat_activity`.
    pub(super) fn name(self) -> &'static str {
        match self {
            Purpose::Short => "handstamp short",
            Purpose::Long => "handstamp long",
            Purpose::Writing => "handstamp writing",
            Purpose::Schema => "handstamp schema",
            Purpose::Listening => "handstamp listening",
            Purpose::Moving => "handstamp moving",
        }
    }

    /// The longest that the server works at one statement.
    pub(super) fn longest(self) -> Option<Duration> {
        match self {
            Purpose::Short | Purpose::Listening => Some(Duration::from_secs(5)),
            Purpose::Long => Some(Duration::from_secs(30)),
            Purpose::Writing => Some(Duration::from_secs(10)),
            Purpose::Schema | Purpose::Moving => None,
        }
    }

    /// How it is to behave, as SQL. Names of tables are found in the schema and nowhere else. A node that stands still in
    /// the middle of a transaction loses it soon, and with it the locks that others wait for. Plans are made once, when a
    /// table may still be empty: they must not change their minds about indexes. What the database's owner has chosen for
    /// others decides nothing: each statement of a commit must see what was committed before it.
    pub(super) fn settings(self, schema: &str) -> String {
        let statement = self.longest().map_or(0, |longest| longest.as_millis());
        format!(
            "SET search_path = \"{schema}\"; SET statement_timeout = {statement};
             SET default_transaction_isolation = 'read committed'; SET lock_timeout = 0;
             SET idle_in_transaction_session_timeout = 3000; SET tcp_keepalives_idle = 2;
             SET tcp_keepalives_interval = 1; SET tcp_keepalives_count = 3; SET tcp_user_timeout = 4000;
             SET TimeZone = 'UTC'; SET jit = off; SET plan_cache_mode = force_generic_plan;
             SET max_parallel_workers_per_gather = 0; SET enable_seqscan = off; SET enable_bitmapscan = off;
             SET enable_hashjoin = off; SET enable_mergejoin = off;"
        )
    }
}
