//! No statement of the store reads a whole table, and none that is on the path of a commit looks into the partitions of
//! what rests: PostgreSQL's own plan of each is read, as it is made for all values, on tables with rows and partitions.

use super::cluster::shared;
use super::nodes::{DAY, days, ended, look, node};
use crate::conformance::world::{Ask, NOW, batch, create, event, facet, with_facets};
use handstamp_server::store::postgres::Postgres;
use handstamp_server::store::{Batch, Record};
use tokio_postgres::Client;

/// The lines of a statement's plan, as the store's connections have it planned.
async fn plan(client: &Client, sql: &str) -> Vec<String> {
    let parameters = (1..30).take_while(|n| sql.contains(&format!("${n}"))).count();
    let nulls = vec!["NULL"; parameters].join(", ");
    let nulls = if nulls.is_empty() { nulls } else { format!("({nulls})") };
    client.batch_execute(&format!("PREPARE looked_at AS {sql}")).await.unwrap();
    let rows = client.query(&format!("EXPLAIN (COSTS OFF) EXECUTE looked_at{nulls}"), &[]).await.unwrap();
    client.batch_execute("DEALLOCATE looked_at").await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

/// Walks through a table, or an index without a condition, that are not what was asked for.
fn scans(plan: &[String]) -> Vec<&String> {
    let condition = |line: &str| line.contains("Index Cond:");
    let mut bad: Vec<&String> = plan.iter().filter(|line| line.contains("Seq Scan")).collect();
    for (number, line) in plan.iter().enumerate() {
        let walks = line.contains("Index Scan") || line.contains("Index Only Scan");
        let led = plan.get(number + 1).is_some_and(|next| condition(next));
        // In the order of an index, as far as a limit goes, is how pages and the longest overdue are read.
        if walks && !led && !plan.iter().any(|line| line.contains("Limit")) {
            bad.push(line);
        }
    }
    bad
}

/// Rows in every table, and twenty partitions.
async fn filled(address: &str, live: u32) -> Client {
    let store = node(address).await;
    for part in 0..10_u32 {
        let live =
            (0..live).map(|n| with_facets(part * 1_000 + n, [facet(1, n.to_be_bytes()), facet(2, "all")]));
        let over = (0..20).map(|day| Record {
            facets: vec![facet(1, "over")],
            ..ended(100_000 + part * 1_000 + day, NOW.0 + i64::from(day + 1) * DAY)
        });
        let all: Vec<Record> = live.chain(over).collect();
        let events =
            all.iter().map(|record| event(crate::conformance::world::number(&record.key), "e")).collect();
        store.done(Batch { events, ..batch(all.into_iter().map(create)) }).await;
    }
    let client = look(shared(), address).await;
    assert_eq!(days(&client).await.len(), 20);
    client
        .batch_execute(
            "SET plan_cache_mode = force_generic_plan; SET jit = off; SET enable_seqscan = off;
             SET enable_bitmapscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off",
        )
        .await
        .unwrap();
    client
}

#[tokio::test]
async fn no_statement_reads_a_whole_table() {
    let address = shared().fresh();
    let client = filled(&address, 200).await;
    // Also with statistics it must not change its mind.
    for analyze in [false, true] {
        if analyze {
            client.batch_execute("ANALYZE").await.unwrap();
        }
        let mut seen = 0;
        // All counters are what is asked for.
        for sql in Postgres::statements().filter(|sql| !sql.contains("FROM tallies")) {
            let plan = plan(&client, sql).await;
            assert_eq!(scans(&plan), Vec::<&String>::new(), "{sql}\n{}", plan.join("\n"));
            let parts = plan.iter().filter(|line| line.contains("_d2")).count();
            let words: Vec<&str> = sql.split_whitespace().collect();
            let parents = |pair: &[&str]| {
                ["FROM", "JOIN", "UPDATE"].contains(&pair[0])
                    && ["records", "facets", "events"].contains(&pair[1])
            };
            let about_all = words.windows(2).any(parents);
            assert!(about_all || parts == 0, "it looks into what rests: {sql}\n{}", plan.join("\n"));
            seen += 1;
        }
        assert!(seen >= 30, "only {seen} statements were looked at");
    }
}

/// A plan may be made when next to nothing is there, and be used when there are millions: those that write living rows
/// find them by their keys from the first one on.
#[tokio::test]
async fn a_small_table_is_no_excuse() {
    let address = shared().fresh();
    let client = filled(&address, 1).await;
    client.batch_execute("ANALYZE").await.unwrap();
    for sql in
        Postgres::statements().filter(|sql| sql.contains("USING unnest") || sql.contains("FROM unnest"))
    {
        let plan = plan(&client, sql).await;
        assert_eq!(scans(&plan), Vec::<&String>::new(), "{sql}\n{}", plan.join("\n"));
    }
}

#[tokio::test]
async fn a_scan_would_be_found() {
    let address = shared().fresh();
    let client = filled(&address, 200).await;
    for sql in [
        "SELECT id FROM facets_hot WHERE forget_at = $1",
        "SELECT key FROM records WHERE body = $1",
        "SELECT key FROM records_hot",
        "DELETE FROM events_hot WHERE body = $1",
    ] {
        let plan = plan(&client, sql).await;
        assert!(!scans(&plan).is_empty(), "{sql}\n{}", plan.join("\n"));
    }
}
