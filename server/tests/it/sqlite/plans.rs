//! No statement of the store reads a whole table: SQLite's own plan of each is read.

use crate::conformance::world::{Ask, Scratch, batch, create, facet, with_facets};
use handstamp_server::store::Store;
use handstamp_server::store::sqlite::{Options, Sqlite};
use rusqlite::Connection;
use std::sync::Arc;

/// The plan's lines that walk through something without being led by an index.
fn scans(conn: &Connection, sql: &str) -> Vec<String> {
    let mut explain = conn.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
    let nulls = vec![rusqlite::types::Null; explain.parameter_count()];
    let lines = explain.query_map(rusqlite::params_from_iter(nulls), |row| row.get::<_, String>(3)).unwrap();
    let lines: Vec<String> = lines.map(Result::unwrap).collect();
    let bad = |line: &String| {
        // What a subquery gave has a LIMIT of its own; walking over it is no walk over a table.
        (line.starts_with("SCAN") && !line.starts_with("SCAN (subquery")) || line.contains("TEMP B-TREE")
    };
    lines.into_iter().filter(bad).collect()
}

async fn filled(scratch: &Scratch) -> Connection {
    let store: Arc<dyn Store> = Arc::new(Sqlite::open(&scratch.path("db"), &Options::default()).unwrap());
    store
        .done(batch((0..2_000).map(|n| create(with_facets(n, [facet(1, n.to_be_bytes()), facet(2, "all")])))))
        .await;
    store.close().await;
    Connection::open(scratch.path("db")).unwrap()
}

#[tokio::test]
async fn no_statement_scans_a_table() {
    let scratch = Scratch::new();
    let conn = filled(&scratch).await;
    let mut seen = 0;
    for sql in Sqlite::statements() {
        assert_eq!(scans(&conn, sql), Vec::<String>::new(), "{sql}");
        seen += 1;
    }
    assert!(seen >= 25, "only {seen} statements were looked at");
    // With statistics SQLite may plan otherwise: it must not.
    conn.execute_batch("ANALYZE").unwrap();
    for sql in Sqlite::statements() {
        assert_eq!(scans(&conn, sql), Vec::<String>::new(), "{sql}");
    }
}

#[tokio::test]
async fn a_scan_would_be_found() {
    let scratch = Scratch::new();
    let conn = filled(&scratch).await;
    for sql in [
        "SELECT id FROM facets WHERE value = ?1",
        "SELECT n FROM records WHERE body = ?1",
        "SELECT n FROM records",
        "SELECT id FROM facets WHERE place = ?1 AND value > ?2 ORDER BY id",
    ] {
        assert_ne!(scans(&conn, sql), Vec::<String>::new(), "{sql}");
    }
}
