//! The contract of a store: one list of cases, run through every store by one loop.
//!
//! A store is added with one line in [`suite`], a case with one line in its file's `cases`. A case gets a [`World`]: a
//! fresh store of its own, which it can close and open again.

mod batches;
mod changes;
mod durability;
mod families;
mod histories;
mod limits;
mod logins;
mod model;
mod races;
mod refreshes;
mod rules;
mod searches;
mod small;
mod sweeps;
mod touches;
pub(crate) mod world;

use std::time::Duration;
use world::{Case, FaultyHome, Home, MemoryHome, PostgresHome, SqliteHome, World};

/// Every case of the contract.
fn cases() -> Vec<Case> {
    [
        batches::CASES,
        races::CASES,
        touches::CASES,
        searches::CASES,
        histories::CASES,
        sweeps::CASES,
        durability::CASES,
        model::CASES,
        rules::CASES,
        changes::CASES,
        refreshes::CASES,
        families::CASES,
        limits::CASES,
        logins::CASES,
    ]
    .concat()
}

/// One test for each store: all cases, one after the other, and then what failed.
macro_rules! suite {
    ($($store:ident => $home:expr),* $(,)?) => { $(
        #[test]
        fn $store() {
            run(stringify!($store), || Box::new($home));
        }
    )* };
}

suite! {
    memory => MemoryHome::default(),
    sqlite => SqliteHome::new(),
    faulty_without_faults => FaultyHome::default(),
    postgres => PostgresHome::new([]),
    postgres_where_all_may_rest => PostgresHome::new(0..=u8::MAX),
}

fn run(store: &str, home: fn() -> Box<dyn Home>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let mut failed = Vec::new();
    for case in cases() {
        let outcome = runtime.block_on(async {
            let world = World::new(home()).await;
            let mut running = tokio::spawn((case.run)(world));
            let longest = Duration::from_secs(if crate::engine::full() { 1_800 } else { 600 });
            let outcome = tokio::time::timeout(longest, &mut running).await;
            // What does not end must not slow down the cases after it.
            running.abort();
            outcome
        });
        match outcome {
            Ok(Ok(())) => {}
            Ok(Err(panic)) => failed.push(format!("{}: {panic}", case.name)),
            Err(_) => failed.push(format!("{}: does not end", case.name)),
        }
    }
    assert!(failed.is_empty(), "{store} breaks the contract:\n{}", failed.join("\n"));
}
