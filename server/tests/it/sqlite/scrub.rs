//! What was deleted or written over is taken out of the files; what was not is all there; and while somebody still reads
//! what was, that is said.

use crate::conformance::world::{Ask, Scratch, batch, event, facet, key, query, record, with_facets};
use handstamp_server::store::sqlite::{Options, Sqlite};
use handstamp_server::store::{Amend, Batch, Expect, Op, Record, Scrubbed, Store};
use rusqlite::Connection;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

const PLANTED: &[u8] = b"PLANTED-IN-A-ROW";

/// Numbers that look random and are always the same.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
    fn bytes(&mut self, most: u64) -> Vec<u8> {
        (0..=self.roll(most)).map(|_| u8::try_from(self.roll(256)).unwrap()).collect()
    }
}

fn planted(path: &Path) -> usize {
    let mut count = 0;
    for suffix in ["", "-wal", "-shm"] {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        let bytes = std::fs::read(Path::new(&name)).unwrap_or_default();
        count += memchr::memmem::find_iter(&bytes, PLANTED).count();
    }
    count
}

const ROWS: u32 = 8_000;

/// Rows of all sizes come, change and go around the planted ones, so that pages are split and joined in all ways.
#[tokio::test]
async fn nothing_of_it_is_left_however_rows_have_moved() {
    let scratch = Scratch::new();
    let path = scratch.path("db");
    let options = Options { checkpoint_pages: 500, ..Options::default() };
    let store: Arc<dyn Store> = Arc::new(Sqlite::open(&path, &options).unwrap());
    let mut dice = Dice(7);
    let mut versions: Vec<u64> = Vec::new();
    let is_planted = |n: u32| n % 7 == 3;
    let make = |n: u32, dice: &mut Dice, planted: bool| -> Record {
        let long = if dice.roll(10) == 0 { 6_000 } else { 300 };
        let mut value = dice.bytes(40);
        let mut body = dice.bytes(long);
        if planted {
            value.extend(PLANTED);
            body.extend(PLANTED);
        }
        Record { body, ..with_facets(n, [facet(1, value), facet(2, n.to_be_bytes())]) }
    };
    for from in (0..ROWS).step_by(50) {
        let (mut ops, mut events, mut touched) = (Vec::new(), Vec::new(), BTreeSet::new());
        for n in from..from + 50 {
            ops.push(Op::Put { expect: Expect::Absent, record: make(n, &mut dice, is_planted(n)) });
            versions.push(1);
            touched.insert(n);
            let mut line = dice.bytes(200);
            if is_planted(n) {
                line.extend(PLANTED);
            }
            events.push(event(n, line));
            for _ in 0..2 {
                let other = u32::try_from(dice.roll(u64::from(n) + 1)).unwrap();
                let version = &mut versions[other as usize];
                if is_planted(other) || *version == 0 || !touched.insert(other) {
                    continue;
                }
                let expect = Expect::Version(*version);
                if dice.roll(5) == 0 {
                    ops.push(Op::Delete { key: key(other), expect });
                    *version = 0;
                } else {
                    ops.push(Op::Put { expect, record: make(other, &mut dice, false) });
                    *version += 1;
                }
            }
        }
        store.done(Batch { events, ..batch(ops) }).await;
    }
    assert!(planted(&path) > 3_000);
    // All planted rows are written over, and their lines.
    let bare = |n| Op::Put { expect: Expect::Version(1), record: Record { body: Vec::new(), ..record(n) } };
    store.done(batch((0..ROWS).filter(|n| is_planted(*n)).map(bare))).await;
    let lines = store.events(None).await.into_iter().filter(|line| line.body.ends_with(PLANTED));
    let lines: Vec<Amend> = lines
        .map(|line| Amend { position: line.position, before: line.body, after: b"-".to_vec() })
        .collect();
    assert_eq!(store.amend(&lines).await, Ok(u32::try_from(lines.len()).unwrap()));
    let (pages, events) = (store.pages(query([])).await, store.events(None).await);
    assert_eq!(store.scrub().await, Ok(Scrubbed::Clean));
    assert_eq!(planted(&path), 0);
    assert_eq!((store.pages(query([])).await, store.events(None).await), (pages, events));
    store.close().await;
    assert_eq!(planted(&path), 0);
    let conn = Connection::open(&path).unwrap();
    let check: String = conn.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(check, "ok");
}

/// A backup, say.
#[tokio::test]
async fn somebody_who_still_reads_is_waited_for_another_time() {
    let scratch = Scratch::new();
    let path = scratch.path("db");
    let store: Arc<dyn Store> = Arc::new(Sqlite::open(&path, &Options::default()).unwrap());
    let planted_row = Record { body: PLANTED.to_vec(), ..record(1) };
    store.done(batch([Op::Put { expect: Expect::Absent, record: planted_row }])).await;
    let conn = Connection::open(&path).unwrap();
    conn.execute_batch("BEGIN").unwrap();
    let read = || conn.query_row("SELECT count(*) FROM records", [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(read(), 1);
    store.done(batch([Op::Put { expect: Expect::Version(1), record: record(1) }])).await;
    assert_eq!(store.scrub().await, Ok(Scrubbed::Later));
    // It can be written meanwhile, and nobody lost anything.
    store.done(batch([Op::Put { expect: Expect::Absent, record: record(2) }])).await;
    assert_eq!(read(), 1);
    assert!(planted(&path) > 0);
    conn.execute_batch("COMMIT").unwrap();
    assert_eq!(store.scrub().await, Ok(Scrubbed::Clean));
    assert_eq!(planted(&path), 0);
    assert_eq!(store.pages(query([])).await, [2, 1]);
}

/// A file of some size is not rewritten while it is used, and that is said; what is written over is gone all the same.
#[tokio::test]
async fn a_large_file_is_written_over() {
    let scratch = Scratch::new();
    let path = scratch.path("db");
    let store: Arc<dyn Store> = Arc::new(Sqlite::open(&path, &Options::default()).unwrap());
    for n in 0..10 {
        let record = Record { body: vec![u8::try_from(n).unwrap(); 4 << 20], ..record(n) };
        store.done(batch([Op::Put { expect: Expect::Absent, record }])).await;
    }
    let line = [&b"x"[..], PLANTED].concat();
    store.done(Batch { events: vec![event(1, &line)], ..batch([]) }).await;
    let position = store.head().await.unwrap();
    store.amend(&[Amend { position, before: line, after: Vec::new() }]).await.unwrap();
    assert_eq!(store.scrub().await, Ok(Scrubbed::WrittenOver));
    assert_eq!(planted(&path), 0);
    assert_eq!(std::fs::metadata(scratch.path("db-wal")).unwrap().len(), 0);
}
