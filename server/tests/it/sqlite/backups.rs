//! A backup made while the server writes: consistent, private, complete or not there.

use super::kills::Child;
use crate::conformance::world::{
    Ask, Scratch, batch, create, event, facet, is, query, record, rewrite, tally, with_facets,
};
use handstamp_server::store::sqlite::{BackupError, Options, Sqlite, backup, verify_backup};
use handstamp_server::store::{Batch, Record, Store};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

fn open(path: &Path) -> Arc<dyn Store> {
    Arc::new(Sqlite::open(path, &Options { checkpoint_pages: 200, ..Options::default() }).unwrap())
}

/// Enough for many steps of the copy.
async fn filled(path: &Path) -> Arc<dyn Store> {
    let store = open(path);
    for part in 0..8u32 {
        let all = part * 250..part * 250 + 250;
        let made = |n| Record { body: vec![7; 3_000], ..with_facets(n, [facet(1, "round 0")]) };
        store.done(batch(all.map(made).map(create))).await;
    }
    store
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_under_writes_is_one_moment() {
    let scratch = Scratch::new();
    let store = filled(&scratch.path("db")).await;
    let (done, committed) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let writer = {
        let (store, done, committed) = (Arc::clone(&store), Arc::clone(&done), Arc::clone(&committed));
        tokio::spawn(async move {
            let mut round = 0;
            while !done.load(Ordering::Relaxed) {
                round += 1;
                // Both ends of the file change together; a copy that mixes two moments shows it.
                let ops =
                    [0, 1_999].map(|n| rewrite(round, with_facets(n, [facet(1, format!("round {round}"))])));
                let events = vec![event(0, round.to_be_bytes())];
                store.done(Batch { events, tallies: vec![(tally("rounds"), 1)], ..batch(ops) }).await;
                committed.store(round, Ordering::Relaxed);
            }
            round
        })
    };
    // From another process, as the command line does it.
    let mut child = Child::start("sqlite::backups::child", &format!("{}", scratch.path("db").display()));
    child.say(&format!("{}", scratch.path("copy").display()));
    let mut steps = Vec::new();
    let last = loop {
        let line = child.hear();
        match line.split_once(' ') {
            Some(("step", rest)) => {
                steps.push(rest.to_owned());
                assert!(steps.len() < 20, "the copy begins again with every write: {steps:?}");
                // Between any two steps the server writes, as it does under load.
                let before = committed.load(Ordering::Relaxed);
                while committed.load(Ordering::Relaxed) < before + 2 {
                    tokio::task::yield_now().await;
                }
                child.say("on");
            }
            Some(("end", rest)) => break rest.to_owned(),
            _ => {}
        }
    };
    child.kill();
    assert_eq!(last, "Ok(())");
    assert!(steps.len() > 1, "{steps:?}");
    let (pages, all) = steps.last().unwrap().split_once('/').unwrap();
    assert_eq!(pages, all);
    done.store(true, Ordering::Relaxed);
    let rounds = writer.await.unwrap();
    store.close().await;

    verify_backup(&scratch.path("copy")).unwrap();
    let mode = std::fs::metadata(scratch.path("copy")).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    assert!(!scratch.path("copy-wal").exists() && !scratch.path("copy.unfinished").exists());
    let copy = open(&scratch.path("copy"));
    let (first, last) = (copy.one(0).await.unwrap(), copy.one(1_999).await.unwrap());
    assert_eq!((first.version, &first.record.facets), (last.version, &last.record.facets));
    assert_eq!(copy.counted("rounds").await.unsigned_abs(), first.version - 1);
    assert_eq!(copy.events(Some(0)).await.len() as u64, first.version - 1);
    let round = format!("round {}", first.version - 1);
    assert!(copy.pages(query([is(1, [round.as_str()])])).await.starts_with(&[1_999]));
    assert!(rounds >= first.version - 1);
    // It is a store like any other.
    copy.done(batch([create(record(5_000))])).await;
    copy.close().await;
}

#[tokio::test]
#[ignore = "a part of another test"]
async fn child() {
    let (Some(from), Some(to)) = (super::kills::told(), super::kills::told()) else { return };
    let end = backup(from.as_ref(), to.as_ref(), |done, all| {
        println!("step {done}/{all}");
        super::kills::told();
    });
    println!("end {end:?}");
    // Until the parent has read everything.
    super::kills::told();
}

#[tokio::test]
async fn a_backup_never_overwrites() {
    let scratch = Scratch::new();
    let store = filled(&scratch.path("db")).await;
    std::fs::write(scratch.path("mine"), "precious").unwrap();
    let refused = backup(&scratch.path("db"), &scratch.path("mine"), |_, _| {});
    assert!(matches!(refused, Err(BackupError::Exists(_))), "{refused:?}");
    assert_eq!(std::fs::read(scratch.path("mine")).unwrap(), b"precious");
    let refused = backup(&scratch.path("nothing"), &scratch.path("copy"), |_, _| {});
    assert!(matches!(refused, Err(BackupError::Missing(_))), "{refused:?}");
    assert!(!scratch.path("nothing").exists() && !scratch.path("copy").exists());
    // Somebody makes the file while the copy runs.
    let mut steps = 0;
    let refused = backup(&scratch.path("db"), &scratch.path("copy"), |_, _| {
        steps += 1;
        std::fs::write(scratch.path("copy"), "precious").unwrap();
    });
    assert!(matches!(refused, Err(BackupError::Exists(_))) && steps > 0, "{refused:?}");
    assert_eq!(std::fs::read(scratch.path("copy")).unwrap(), b"precious");
    assert!(!scratch.path("copy.unfinished").exists());
    let refused = backup(&scratch.path("db"), &scratch.path("no/such/directory"), |_, _| {});
    assert!(matches!(refused, Err(BackupError::Io { .. })), "{refused:?}");
    // What a crash left behind is in nobody's way.
    std::fs::write(scratch.path("again.unfinished"), "half").unwrap();
    backup(&scratch.path("db"), &scratch.path("again"), |_, _| {}).unwrap();
    verify_backup(&scratch.path("again")).unwrap();
    store.close().await;
}

#[tokio::test]
async fn a_bad_backup_is_found() {
    let scratch = Scratch::new();
    filled(&scratch.path("db")).await.close().await;
    let path = scratch.path("copy");
    backup(&scratch.path("db"), &path, |_, _| {}).unwrap();
    verify_backup(&path).unwrap();
    let whole = std::fs::read(&path).unwrap();
    let damaged = |what: &str| {
        let refused = verify_backup(&path);
        assert!(matches!(refused, Err(BackupError::Damaged { .. })), "{what}: {refused:?}");
        assert!(refused.unwrap_err().to_string().contains("copy"), "{what}");
    };
    std::fs::write(&path, &whole[..whole.len() - 8_192]).unwrap();
    damaged("cut off");
    std::fs::write(&path, "no database at all, nothing like it, although it is a file").unwrap();
    damaged("text");
    std::fs::write(&path, &whole).unwrap();
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.write_all_at(&[0x5a; 4_096], whole.len() as u64 / 2 / 4_096 * 4_096).unwrap();
    damaged("a page in the middle");
    std::fs::write(&path, &whole).unwrap();
    rusqlite::Connection::open(&path).unwrap().execute_batch("DELETE FROM records WHERE n = 5").unwrap();
    damaged("a record without which its facets stand alone");
    rusqlite::Connection::open(scratch.path("theirs")).unwrap().execute_batch("CREATE TABLE t (x)").unwrap();
    assert!(matches!(verify_backup(&scratch.path("theirs")), Err(BackupError::Foreign { .. })));
    assert!(matches!(verify_backup(&scratch.path("none")), Err(BackupError::Missing(_))));
}
