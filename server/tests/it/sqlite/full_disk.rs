//! A full disk and a failing write: nothing is half-written, nothing is lost, and it works again when there is space.

use super::kills::Child;
use crate::conformance::world::{
    Ask, Scratch, batch, create, event, facet, key, query, record, rewrite, tally, with_facets,
};
use handstamp_core::time::Millis;
use handstamp_server::store::sqlite::{Options, Sqlite};
use handstamp_server::store::{Batch, Record, Store, StoreError};
use std::process::Command;
use std::sync::Arc;

/// A record so large that few fill the space.
fn large(n: u32) -> Record {
    Record { body: vec![7; 20_000], ..with_facets(n, [facet(1, "large")]) }
}

/// SQLite says FULL in the middle of a statement, in a turn that others share.
#[tokio::test]
async fn a_full_file_refuses_and_goes_on() {
    let scratch = Scratch::new();
    let path = scratch.path("db");
    let small = Options { most_pages: Some(300), ..Options::default() };
    let store: Arc<dyn Store> = Arc::new(Sqlite::open(&path, &small).unwrap());
    store.done(batch([create(Record { seen: Some(Millis(1)), ..record(0) })])).await;
    let mut tasks = tokio::task::JoinSet::new();
    for n in 1..=200u32 {
        let store = Arc::clone(&store);
        tasks.spawn(async move {
            let made = Batch {
                events: vec![event(n, "made")],
                tallies: vec![(tally("live"), 1)],
                ..batch([create(large(n))])
            };
            (n, store.commit(made).await)
        });
    }
    let answers = tasks.join_all().await;
    let made: Vec<u32> = answers.iter().filter(|(_, answer)| answer.is_ok()).map(|(n, _)| *n).collect();
    let refused = answers.iter().find_map(|(_, answer)| answer.clone().err()).unwrap();
    assert!(
        matches!(&refused, StoreError::Unavailable(text) if text.contains("no space left to write")),
        "{refused}"
    );
    let check = async |store: &Arc<dyn Store>| {
        for n in 1..=200 {
            assert_eq!(store.one(n).await.is_some(), made.contains(&n));
        }
        assert_eq!(store.events(None).await.len(), made.len());
        assert_eq!(store.counted("live").await, i64::try_from(made.len()).unwrap());
        assert_eq!(store.pages(query([crate::conformance::world::is(1, ["large"])])).await.len(), made.len());
    };
    check(&store).await;
    // Until it is really full, smaller things still go through; then what needs no space does, and reading.
    let mut n = 1_000;
    while store.commit(batch([create(Record { body: vec![1; 2_000], ..record(n) })])).await.is_ok() {
        n += 1;
        assert!(n < 2_000);
    }
    store.touch(&[(key(0), Millis(9))]).await.unwrap();
    assert_eq!(store.one(0).await.unwrap().record.seen, Some(Millis(9)));
    check(&store).await;
    store.close().await;
    let store: Arc<dyn Store> = Arc::new(Sqlite::open(&path, &Options::default()).unwrap());
    check(&store).await;
    store.done(batch([create(large(999))])).await;
    assert_eq!(store.one(0).await.unwrap().record.seen, Some(Millis(9)));
}

/// The operating system refuses a write of the log at COMMIT, as on a full disk; then there is space again. A limit of
/// the process' file size does that to a child, and its parent lifts it.
#[tokio::test]
async fn a_commit_that_cannot_be_written() {
    let scratch = Scratch::new();
    let path = scratch.path("db");
    Sqlite::open(&path, &Options::default()).unwrap().close().await;
    let mut child = Child::start("sqlite::full_disk::child", &format!("{}", path.display()));
    let id = child.id();
    let limit = |bytes: &str| {
        let done =
            Command::new("prlimit").args(["--pid", &id, &format!("--fsize={bytes}:unlimited")]).status();
        assert!(done.unwrap().success(), "prlimit (package util-linux) is needed");
    };
    limit("400000");
    child.say("go");
    let (mut made, mut refused) = (Vec::new(), 0);
    while refused < 20 {
        let line = child.hear();
        match line.split_once(' ') {
            Some(("made", n)) => made.push(n.trim().parse::<u32>().unwrap()),
            Some(("refused", _)) => refused += 1,
            _ => {}
        }
    }
    assert!(!made.is_empty());
    limit("unlimited");
    child.say("space");
    let mut after = 0;
    while after < 20 {
        let line = child.hear();
        if let Some(("made", n)) = line.split_once(' ') {
            made.push(n.trim().parse::<u32>().unwrap());
            after += 1;
        }
    }
    // It went on while we looked away.
    made.extend(
        child
            .kill()
            .iter()
            .filter_map(|line| line.strip_prefix("made ")?.strip_suffix(' ')?.parse::<u32>().ok()),
    );
    let store: Arc<dyn Store> = Arc::new(Sqlite::open(&path, &Options::default()).unwrap());
    for n in &made {
        let found = store.one(*n).await.unwrap_or_else(|| panic!("{n} was acknowledged and is not there"));
        assert_eq!(found.record, large(*n));
    }
    // What was refused left nothing; at most the one that the kill cut off is there beyond the acknowledged ones.
    let there = store.pages(query([])).await.len();
    assert!(there == made.len() || there == made.len() + 1, "{there} there, {} acknowledged", made.len());
    assert_eq!(store.events(None).await.len(), there);
    store.done(batch([rewrite(1, record(made[0]))])).await;
}

/// The child: makes records until it is killed, and says of each what became of it.
#[tokio::test]
#[ignore = "a part of another test"]
async fn child() {
    let Some(path) = super::kills::told() else { return };
    let store: Arc<dyn Store> = Arc::new(Sqlite::open(path.as_ref(), &Options::default()).unwrap());
    super::kills::told().unwrap();
    let mut refused = 0;
    for n in 0..100_000 {
        match store.commit(Batch { events: vec![event(n, "made")], ..batch([create(large(n))]) }).await {
            Ok(()) => println!("made {n} "),
            Err(error) => {
                println!("refused {error}");
                refused += 1;
                if refused == 20 {
                    super::kills::told().unwrap();
                }
            }
        }
    }
}
