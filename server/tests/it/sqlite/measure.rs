//! CPU per durable create, and how a million sessions open and are searched. Ignored by default: they take minutes.
//!
//! `cargo test --release -p handstamp-server --test it sqlite::measure -- --ignored --nocapture --test-threads 1`

#![expect(clippy::disallowed_methods, reason = "a measurement reads the clock")]

use crate::conformance::world::{Scratch, between, facet, is};
use handstamp_core::time::Millis;
use handstamp_server::store::sqlite::{Options, Sqlite};
use handstamp_server::store::{
    Batch, Condition, Expect, Key, NewEvent, Op, Query, Record, Space, Store, Tally,
};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

const SESSIONS: Space = Space { kind: 1, env: 0x0123_4567_89ab_cdef };
const USERS: Space = Space { kind: 2, env: 0x0123_4567_89ab_cdef };
const USER: u8 = 1;
const TAG: u8 = 2;
const ADDRESS: u8 = 3;

/// Numbers that look random and are always the same.
fn mix(n: u64) -> u64 {
    let n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ (n >> 31)
}

fn session_key(n: u64) -> Key {
    // Time-ordered, then random, as real ids are.
    let ms = 1_790_000_000_000 + n * 3;
    let id = [&ms.to_be_bytes()[2..], &mix(n).to_be_bytes()[..], &mix(!n).to_be_bytes()[..2]].concat();
    Key { space: SESSIONS, id: id.into() }
}

fn user_of(n: u64, users: u64) -> u64 {
    mix(n ^ 0xabcd) % users
}

/// What a create writes: the session of 350 B with four facets, an event, a counter.
fn create(n: u64, users: u64) -> Batch {
    let user = user_of(n, users);
    let facets = vec![
        facet(USER, format!("user-{user:012}")),
        facet(TAG, "plan:free"),
        facet(TAG, format!("org:{}", mix(n) % 1_000)),
        facet(ADDRESS, &mix(n ^ 77).to_be_bytes()[..4]),
    ];
    let session = Record {
        key: session_key(n),
        bucket: 3,
        facets,
        seen: Some(Millis(5)),
        forget_at: Some(Millis(1_800_000_000_000 + n as i64)),
        body: vec![7; 300],
    };
    let at = Millis(1_790_000_000_000 + n as i64 * 3);
    let event = NewEvent { subject: session.key.clone(), at, body: vec![5; 90] };
    let tallies =
        vec![(Tally { env: 7, name: "live".into() }, 1), (Tally { env: 7, name: "tag:plan".into() }, 1)];
    let ops = vec![Op::Put { expect: Expect::Absent, record: session }];
    Batch { bucket: 3, at, ops, events: vec![event], tallies }
}

/// The user's record, written with every create: at a random place of the file.
async fn put_user(store: &Sqlite, user: u64) -> Op {
    let key = user_key(user);
    let found = store.load(std::slice::from_ref(&key)).await.unwrap().remove(0);
    let expect = found.map_or(Expect::Absent, |found| Expect::Version(found.version));
    Op::Put { expect, record: user_record(key) }
}

fn user_key(user: u64) -> Key {
    let id = [mix(user).to_be_bytes(), mix(!user).to_be_bytes()].concat();
    Key { space: USERS, id: id.into() }
}

fn user_record(key: Key) -> Record {
    Record { key, bucket: 3, facets: vec![], seen: None, forget_at: None, body: vec![9; 60] }
}

/// Nanoseconds on a processor: of the whole process, and of the threads of that name.
fn cpu(name: &str) -> (u64, u64) {
    let (mut all, mut named) = (0, 0);
    for task in std::fs::read_dir("/proc/self/task").unwrap().flatten() {
        let read = |file| std::fs::read_to_string(task.path().join(file)).unwrap_or_default();
        let spent: u64 = read("schedstat").split(' ').next().and_then(|n| n.parse().ok()).unwrap_or(0);
        all += spent;
        if read("comm").trim() == name {
            named += spent;
        }
    }
    (all, named)
}

fn memory_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1_024
}

/// Fills a database with sessions, many to a transaction.
async fn fill(store: &Arc<Sqlite>, from: u64, to: u64, users: u64) {
    for user in (0..users).collect::<Vec<_>>().chunks(2_000).filter(|_| from == 0) {
        let ops =
            user.iter().map(|user| Op::Put { expect: Expect::Absent, record: user_record(user_key(*user)) });
        let batch = Batch { bucket: 3, at: Millis(0), ops: ops.collect(), events: vec![], tallies: vec![] };
        store.commit(batch).await.unwrap();
    }
    for part in (from..to).collect::<Vec<_>>().chunks(2_000) {
        let mut all = create(part[0], users);
        for one in part[1..].iter().map(|n| create(*n, users)) {
            all.ops.extend(one.ops);
            all.events.extend(one.events);
        }
        store.commit(all).await.unwrap();
    }
}

#[test]
#[ignore = "a measurement"]
fn cpu_per_create() {
    let scratch = Scratch::new();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let store = Arc::new(Sqlite::open(&scratch.path("db"), &Options::default()).unwrap());
        println!("opened: {} MiB", memory_mib());
        let (sessions, users) = (300_000, 75_000);
        fill(&store, 0, sessions, users).await;
        println!("filled: {} MiB, file {} MiB", memory_mib(), size(&scratch.path("db")));
        let next = Arc::new(AtomicU64::new(sessions));
        for together in [256u64, 64, 16, 1] {
            let each = if together == 1 { 2_000 } else { 40_000 / together };
            let (before, start) = (cpu("store-writer"), Instant::now());
            let mut tasks = tokio::task::JoinSet::new();
            for _ in 0..together {
                let (store, next) = (Arc::clone(&store), Arc::clone(&next));
                tasks.spawn(async move {
                    for _ in 0..each {
                        let n = next.fetch_add(1, Ordering::Relaxed);
                        // As the engine does: load the user's record, decide, commit; again on a conflict.
                        loop {
                            let mut batch = create(n, users);
                            batch.ops.push(put_user(&store, user_of(n, users)).await);
                            if store.commit(batch).await.is_ok() {
                                break;
                            }
                        }
                    }
                });
            }
            tasks.join_all().await;
            let (after, count) = (cpu("store-writer"), together * each);
            let us = |ns: u64| ns as f64 / 1e3 / count as f64;
            println!(
                "{together:>4} together: {:>6.1} us CPU per create (writer {:>6.1}), {:>7.0} per second, {:>8.0} us each",
                us(after.0 - before.0),
                us(after.1 - before.1),
                count as f64 / start.elapsed().as_secs_f64(),
                start.elapsed().as_secs_f64() * 1e6 / each as f64,
            );
        }
        println!("end: {} MiB, log {} MiB", memory_mib(), size(&scratch.path("db-wal")));
        store.close().await;
    });
}

fn size(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |file| file.len() >> 20)
}

#[test]
#[ignore = "a measurement"]
fn a_million_sessions() {
    let scratch = Scratch::new();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let path = scratch.path("db");
    let copied = scratch.path("copied");
    runtime.block_on(async {
        let store = Arc::new(Sqlite::open(&path, &Options::default()).unwrap());
        let (sessions, users) = (1_000_000, 250_000);
        fill(&store, 0, sessions, users).await;
        println!("filled: file {} MiB, log {} MiB", size(&path), size(&scratch.path("db-wal")));
        // As kill -9 leaves it: the files as they lie there, the log not moved.
        for end in ["", "-wal"] {
            let name = |path: &Path| format!("{}{end}", path.display());
            std::fs::copy(name(&path), name(&copied)).unwrap();
        }
        store.close().await;
        let start = Instant::now();
        let store = Sqlite::open(&copied, &Options::default()).unwrap();
        let opened = start.elapsed();
        assert!(store.load(&[session_key(sessions - 1)]).await.unwrap()[0].is_some());
        println!(
            "opened after a crash in {opened:?}, first answer after {:?}, {} MiB",
            start.elapsed(),
            memory_mib()
        );
        let user = |n: u64| is(USER, [format!("user-{:012}", user_of(n, users)).as_str()]);
        let net = |bytes: &[u8]| between(ADDRESS, bytes, [bytes, &[0xff; 3]].concat());
        let id = |n: u64| Some(session_key(n).id);
        let whole = |all: Vec<Condition>| Query {
            space: SESSIONS,
            all,
            from: None,
            until: None,
            cursor: None,
            limit: 50,
        };
        let since = |all, from, until| Query { from, until, ..whole(all) };
        for (what, query) in [
            ("user", whole(vec![user(5)])),
            ("tag of everybody", whole(vec![is(TAG, ["plan:free"])])),
            ("tag of a thousandth", whole(vec![is(TAG, ["org:7"])])),
            ("two tags", whole(vec![is(TAG, ["org:7"]), is(TAG, ["plan:free"])])),
            (
                "three tags, none has all",
                whole(vec![is(TAG, ["org:7"]), is(TAG, ["org:8"]), is(TAG, ["plan:free"])]),
            ),
            ("address", whole(vec![net(&[10, 20, 30])])),
            ("network of 4,000", whole(vec![net(&[10])])),
            ("network of a quarter", whole(vec![between(ADDRESS, [0], [63, 255, 255, 255])])),
            ("network and tag", whole(vec![between(ADDRESS, [0], [63, 255, 255, 255]), is(TAG, ["org:7"])])),
            ("two wide networks", whole(vec![between(ADDRESS, [0], [99]), between(ADDRESS, [100], [200])])),
            ("time", since(vec![], id(400_000), id(400_100))),
            ("time and tag", since(vec![is(TAG, ["plan:free"])], id(400_000), id(500_000))),
            ("time and network", since(vec![net(&[10])], id(400_000), id(500_000))),
            ("all", whole(vec![])),
        ] {
            for (when, query) in [("first", query.clone()), ("again", query.clone())] {
                let start = Instant::now();
                let page = store.search(&query).await.unwrap();
                let took = start.elapsed();
                let next = page.next.is_some();
                println!(
                    "{what:<26} {when}: {:>3} found, {took:>9.1?}{}",
                    page.items.len(),
                    if next { ", more" } else { "" }
                );
            }
        }
        println!("{} MiB", memory_mib());
        store.close().await;
    });
}
