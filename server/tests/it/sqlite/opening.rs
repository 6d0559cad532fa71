//! Opening the file: private, alone, of a known version, whole. Each refusal names the file and the way out.

use crate::conformance::world::{
    Ask, SPACE, Scratch, batch, create, event, facet, query, record, with_facets,
};
use handstamp_server::store::sqlite::{OpenError, Options, Sqlite};
use handstamp_server::store::{Batch, EventQuery, Store, StoreError};
use rusqlite::Connection;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

fn open(path: &Path) -> Result<Arc<dyn Store>, OpenError> {
    Sqlite::open(path, &Options::default()).map(|store| Arc::new(store) as Arc<dyn Store>)
}

/// What it says; it must name the file.
fn refused(path: &Path) -> (OpenError, String) {
    let error = open(path).err().expect("it opened");
    let text = error.to_string();
    assert!(text.contains(&path.display().to_string()), "{text}");
    (error, text)
}

async fn filled(path: &Path) {
    let store = open(path).unwrap();
    for part in 0..10u32 {
        let all = (part * 100..part * 100 + 100).collect::<Vec<_>>();
        let ops = all.iter().map(|n| create(with_facets(*n, [facet(1, n.to_be_bytes()), facet(2, "all")])));
        let events = all.iter().map(|n| event(*n, "made")).collect();
        store.done(Batch { events, ..batch(ops) }).await;
    }
    store.close().await;
}

#[tokio::test]
async fn files_are_private_from_the_first_moment() {
    let scratch = Scratch::new();
    let store = open(&scratch.path("db")).unwrap();
    store.done(batch([create(record(1))])).await;
    for name in ["db", "db-wal", "db-shm", "db.lock"] {
        let mode = std::fs::metadata(scratch.path(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{name} has mode {mode:o}");
    }
}

#[tokio::test]
async fn a_second_server_is_refused() {
    let scratch = Scratch::new();
    let path = scratch.path("db");
    let store = open(&path).unwrap();
    let (error, text) = refused(&path);
    assert!(matches!(error, OpenError::InUse { .. }), "{text}");
    assert!(text.contains("db.lock") && text.contains("stop that one first"), "{text}");
    // The first is not disturbed, and closing it lets the next in.
    store.done(batch([create(record(1))])).await;
    store.close().await;
    let store = open(&path).unwrap();
    assert!(store.one(1).await.is_some());
    // So does dropping it, as soon as its threads are done.
    drop(store);
    let deadline = std::time::Duration::from_secs(10);
    let opened = async {
        loop {
            if let Ok(store) = open(&path) {
                return store;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(deadline, opened).await.unwrap();
}

/// A process that is being started holds all that this one has open until it runs its own program. The lock of a store that
/// was closed must not live on in it.
#[tokio::test]
async fn a_closed_store_opens_again_while_processes_are_started() {
    let scratch = Scratch::new();
    let path = scratch.path("db");
    let done = Arc::new(AtomicBool::new(false));
    let starters = [(); 3].map(|()| {
        let done = done.clone();
        std::thread::spawn(move || {
            let mut started = 0;
            while !done.load(Ordering::Relaxed) {
                assert!(std::process::Command::new("true").status().unwrap().success());
                started += 1;
            }
            started
        })
    });
    let mut refused = Vec::new();
    for _ in 0..60 {
        match open(&path) {
            Ok(store) => store.close().await,
            Err(error) => refused.push(error.to_string()),
        }
    }
    done.store(true, Ordering::Relaxed);
    assert!(starters.map(|starter| starter.join().unwrap()).iter().sum::<i32>() > 0);
    assert!(refused.is_empty(), "{refused:?}");
}

#[tokio::test]
async fn a_newer_file_is_refused_with_both_versions() {
    let scratch = Scratch::new();
    let path = scratch.path("db");
    filled(&path).await;
    let conn = Connection::open(&path).unwrap();
    conn.pragma_update(None, "user_version", 77).unwrap();
    drop(conn);
    let (error, text) = refused(&path);
    assert!(matches!(error, OpenError::Newer { found: 77, .. }), "{text}");
    assert!(text.contains("version 77") && text.contains("up to 3"), "{text}");
    let conn = Connection::open(&path).unwrap();
    conn.pragma_update(None, "user_version", 3).unwrap();
    drop(conn);
    assert_eq!(open(&path).unwrap().pages(query([])).await.len(), 1_000);
}

/// As the first version left it: without what the second added.
#[tokio::test]
async fn a_file_of_the_first_version_is_lifted_with_its_history() {
    let scratch = Scratch::new();
    let path = scratch.path("db");
    filled(&path).await;
    let conn = Connection::open(&path).unwrap();
    conn.execute_batch("DROP INDEX events_env; DROP TABLE hours; PRAGMA user_version = 1").unwrap();
    drop(conn);
    let query = EventQuery { subject: None, env: Some(SPACE.env), after: None, since: None, limit: 10 };
    let store = open(&path).unwrap();
    let history = store.history(&query).await.unwrap();
    assert_eq!(history.iter().map(|event| event.position).collect::<Vec<_>>(), (1..=10).collect::<Vec<_>>());
    assert_eq!(store.head().await, Ok(1_000));
}

#[tokio::test]
async fn another_programs_database_is_left_alone() {
    let scratch = Scratch::new();
    let path = scratch.path("db");
    Connection::open(&path)
        .unwrap()
        .execute_batch("CREATE TABLE theirs (x); INSERT INTO theirs VALUES (1)")
        .unwrap();
    let before = std::fs::read(&path).unwrap();
    let (error, text) = refused(&path);
    assert!(matches!(error, OpenError::Foreign { .. }), "{text}");
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

#[tokio::test]
async fn a_damaged_file_is_refused() {
    let scratch = Scratch::new();
    let path = scratch.path("db");
    filled(&path).await;
    let whole = std::fs::read(&path).unwrap();
    let write = |bytes: &[u8]| std::fs::write(&path, bytes).unwrap();
    let damaged = |what: &str| {
        let (error, text) = refused(&path);
        assert!(matches!(error, OpenError::Damaged { .. }), "{what}: {text}");
        assert!(text.contains("restore the last backup"), "{what}: {text}");
    };
    write(b"this is no database, but it is long enough to be taken for one: ".repeat(100).as_slice());
    damaged("text");
    write(&whole[..whole.len() / 2]);
    damaged("the second half is missing");
    write(&whole[..whole.len() - 4_096]);
    damaged("the last page is missing");
    let mut torn = whole.clone();
    torn[20..90].fill(0xff);
    write(&torn);
    damaged("the header is overwritten");
    let mut torn = whole.clone();
    torn[4_096..].fill(0);
    write(&torn);
    damaged("all pages are zero");
    write(&whole);
    assert_eq!(open(&path).unwrap().pages(query([])).await.len(), 1_000);
}

/// Damage that opening does not find is found when it is read, and told as what it is.
#[tokio::test]
async fn damage_in_the_middle_is_no_logout() {
    let scratch = Scratch::new();
    let path = scratch.path("db");
    filled(&path).await;
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    let pages = file.metadata().unwrap().len() / 4_096;
    // The inner pages of every tree but the first (the schema).
    let (mut told, mut opened) = (0, 0);
    for page in 1..pages {
        let mut before = vec![0; 4_096];
        let reader = std::fs::File::open(&path).unwrap();
        reader.read_exact_at(&mut before, page * 4_096).unwrap();
        file.write_all_at(&[0xa5; 4_096], page * 4_096).unwrap();
        match open(&path) {
            Err(error) => assert!(matches!(error, OpenError::Damaged { .. }), "{error}"),
            Ok(store) => {
                opened += 1;
                let mut answers = Vec::new();
                for n in (0..1_000).step_by(7) {
                    answers.push(
                        store
                            .load(&[crate::conformance::world::key(n)])
                            .await
                            .map(|found| found[0].is_some()),
                    );
                }
                assert!(!answers.contains(&Ok(false)), "page {page}: a damaged record was told to be absent");
                told +=
                    usize::from(answers.iter().any(|answer| matches!(answer, Err(StoreError::Damaged(_)))));
                store.close().await;
            }
        }
        file.write_all_at(&before, page * 4_096).unwrap();
    }
    assert!(opened > 0 && told > 0, "{opened} opened, {told} told");
}

#[tokio::test]
async fn a_directory_that_cannot_be_written() {
    // Even root may make no file here.
    let path = Path::new("/sys/handstamp-test-db");
    let error = open(path).err().unwrap();
    assert!(matches!(error, OpenError::ReadOnly { .. }), "{error}");
    assert!(error.to_string().contains("/sys/handstamp-test-db.lock may not be written"), "{error}");
    let scratch = Scratch::new();
    let (error, text) = refused(&scratch.path("no/such/directory/db"));
    assert!(matches!(error, OpenError::Io { .. }), "{text}");
}
