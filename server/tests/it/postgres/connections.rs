//! Connections: shared by many, cut, swallowed, and back again.

use super::cluster::{Cluster, PASSWORD, Stop, shared};
use super::node;
use super::wire::Wire;
use crate::binary::process::clock;
use crate::conformance::world::{Ask, batch, create, key, number, record, rewrite};
use handstamp_server::host::clock::pause;
use handstamp_server::store::postgres::{Address, Options, Postgres};
use handstamp_server::store::{Change, Key, Store, StoreError};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

/// A server that is gone without a word is noticed within this, by who asks...
const NOTICED: Duration = Duration::from_millis(4_000);
/// ...and once it is back, the store serves again within this.
const BACK: Duration = Duration::from_secs(5);

async fn open(address: &str) -> Arc<dyn Store> {
    let address = Address::parse(address).unwrap();
    let options = Options { node: node(), resting: vec![1], alone: false };
    Arc::new(Postgres::open(&address, &options).await.unwrap_or_else(|why| panic!("{why}")))
}

fn over(port: u16) -> String {
    format!("postgres://handstamp:{PASSWORD}@127.0.0.1:{port}/handstamp?sslmode=disable&schema=over_a_wire")
}

/// Asks until it is answered.
async fn back(store: &Arc<dyn Store>) -> Duration {
    let began = clock();
    loop {
        let both = async {
            store.probe().await?;
            store.load(&[key(1)]).await
        };
        match both.await {
            Ok(_) => return began.elapsed(),
            Err(why) => assert!(began.elapsed() < Duration::from_secs(30), "{why}"),
        }
        tokio::task::yield_now().await;
    }
}

fn unavailable<T: std::fmt::Debug>(answer: Result<T, StoreError>) {
    match answer {
        Err(StoreError::Unavailable(why)) => assert!(!why.contains(PASSWORD), "{why}"),
        other => panic!("{other:?}"),
    }
}

/// A node that starts beside its server waits for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_waits_for_a_server_that_starts() {
    let cluster = Arc::new(Cluster::start());
    let address = cluster.fresh();
    cluster.stop(Stop::Fast);
    let (opened, ()) = tokio::join!(open(&address), async {
        let cluster = Arc::clone(&cluster);
        tokio::task::spawn_blocking(move || cluster.again()).await.unwrap();
    });
    opened.done(batch([create(record(1))])).await;
}

/// One for itself: while it works no other one is let in, and it is let in only when no other one works.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_wants_it_alone_has_it_alone() {
    let text = shared().fresh();
    let address = Address::parse(&text).unwrap();
    let alone = Options { node: node(), resting: vec![1], alone: true };
    let works = open(&text).await;
    let why = Postgres::open(&address, &alone).await.err().unwrap().to_string();
    assert!(why.contains("a node is at work on it"), "{why}");
    works.done(batch([create(record(1))])).await;
    works.close().await;
    drop(works);
    let one = Postgres::open(&address, &alone).await.unwrap();
    let other = Options { node: node(), ..alone.clone() };
    let why = Postgres::open(&address, &other).await.err().unwrap().to_string();
    assert!(why.contains("a node is at work on it"), "{why}");
    let node = Options { alone: false, ..other };
    let why = Postgres::open(&address, &node).await.err().unwrap().to_string();
    assert!(why.contains("works on it alone"), "{why}");
    one.commit(batch([create(record(2))])).await.unwrap();
    // All its connections are lost, and its hold with them: it does not go on as if it were alone.
    let cut = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name LIKE 'handstamp %'";
    shared().admin().await.query_one(cut, &[]).await.unwrap();
    let lost = async { while one.load(&[key(2)]).await.is_ok() {} };
    tokio::time::timeout(BACK, lost).await.unwrap();
    pause(Duration::from_secs(1)).await;
    unavailable(one.load(&[key(2)]).await);
    one.close().await;
    drop(one);
    open(&text).await.done(batch([rewrite(1, record(2))])).await;
}

/// Who does not wait takes nothing from the others: every answer belongs to its question.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_future_mixes_no_answers() {
    let store = open(&shared().fresh()).await;
    store.done(batch((0..400).map(|n| create(record(n))))).await;
    let mut asking = JoinSet::new();
    for task in 0..16_u32 {
        let store = store.clone();
        asking.spawn(async move {
            let (mut dice, mut answered, mut dropped) = (u64::from(task) + 1, 0, 0);
            let mut roll = |sides: u64| {
                dice = dice.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(0x1405_7B7E_F767_814F);
                (dice >> 33) % sides
            };
            let began = clock();
            // A fast server leaves little to be dropped.
            for round in 0.. {
                if round >= 300 && (answered.min(dropped) >= 10 || began.elapsed() > Duration::from_secs(30))
                {
                    break;
                }
                let wanted: Vec<u32> = (0..=roll(3)).map(|_| u32::try_from(roll(400)).unwrap()).collect();
                let keys: Vec<Key> = wanted.iter().map(|n| key(*n)).collect();
                let low = wanted[0];
                let page = crate::conformance::world::query([]);
                let page = handstamp_server::store::Query {
                    from: Some(low.to_be_bytes().into()),
                    until: Some((low + 3).to_be_bytes().into()),
                    ..page
                };
                let patience = Duration::from_micros(roll(3_000));
                match roll(3) {
                    0 => match tokio::time::timeout(patience, store.search(&page)).await {
                        Ok(found) => {
                            let found = found.unwrap();
                            let ids: Vec<u32> = found.items.iter().map(|i| number(&i.record.key)).collect();
                            let wanted: Vec<u32> = (low..(low + 3).min(400)).rev().collect();
                            assert_eq!(ids, wanted);
                            answered += 1;
                        }
                        Err(_) => dropped += 1,
                    },
                    _ => match tokio::time::timeout(patience, store.load(&keys)).await {
                        Ok(found) => {
                            let found = found.unwrap();
                            let ids: Vec<u32> =
                                found.iter().map(|f| number(&f.as_ref().unwrap().record.key)).collect();
                            assert_eq!(ids, wanted);
                            for (found, n) in found.iter().zip(wanted) {
                                assert_eq!(found.as_ref().unwrap().record.body, record(n).body);
                            }
                            answered += 1;
                        }
                        Err(_) => dropped += 1,
                    },
                }
            }
            (answered, dropped)
        });
    }
    let (mut answered, mut dropped) = (0, 0);
    for (a, d) in asking.join_all().await {
        (answered, dropped) = (answered + a, dropped + d);
    }
    assert!(answered > 100 && dropped > 100, "{answered} answered, {dropped} dropped: neither is shown");
    // Searches in a transaction, too: the next one sees what was committed meanwhile.
    for round in 0..40_u64 {
        let narrow = crate::conformance::world::query([
            crate::conformance::world::is(2, ["x"]),
            crate::conformance::world::is(3, ["y"]),
        ]);
        let _ = tokio::time::timeout(Duration::from_micros(round * 50), store.search(&narrow)).await;
        let facets = [crate::conformance::world::facet(2, "x"), crate::conformance::world::facet(3, "y")];
        let own = handstamp_server::store::Record {
            body: round.to_be_bytes().to_vec(),
            ..crate::conformance::world::with_facets(5, facets)
        };
        store.done(batch([rewrite(round + 1, own)])).await;
        let page = store.search(&narrow).await.unwrap();
        assert_eq!(page.items.len(), 1);
        assert_eq!(page.items[0].record.body, round.to_be_bytes(), "an old snapshot");
    }
    store.close().await;
}

/// The server stops, in both ways, and comes back: so does the store, and who listens is told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_comes_back() {
    let cluster = Cluster::start();
    let (store, other) = (open(&cluster.address("both")).await, open(&cluster.address("both")).await);
    let mut changes = store.changes().unwrap();
    assert!(store.changes().is_none());
    store.done(batch([create(record(1))])).await;
    for (version, how) in (1..).zip([Stop::Fast, Stop::Kill]) {
        cluster.stop(how);
        let began = clock();
        unavailable(store.load(&[key(1)]).await);
        unavailable(store.search(&crate::conformance::world::query([])).await);
        unavailable(store.commit(batch([rewrite(version, record(1))])).await);
        unavailable(store.say(b"hello").await);
        unavailable(store.probe().await);
        assert!(began.elapsed() < NOTICED * 5, "{:?}", began.elapsed());
        cluster.again();
        let took = back(&store).await;
        assert!(took < BACK, "it took {took:?}");
        back(&other).await;
        assert_eq!(store.one(1).await.unwrap().version, version);
        // What the other one changes is heard again, and that something was missed before it.
        let mut heard = Vec::new();
        other.done(batch([rewrite(version, record(1))])).await;
        let hear = async {
            loop {
                other.say(b"after").await.unwrap();
                let change = changes.next().await.unwrap();
                let end = change == Change::Said(b"after"[..].into());
                heard.push(change);
                if end && heard.contains(&Change::Anything) {
                    return;
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(20), hear).await.unwrap();
        let first = heard.iter().position(|change| matches!(change, Change::Said(_)));
        let anything = heard.iter().position(|change| *change == Change::Anything);
        assert!(anything < first || heard.len() > 2, "{heard:?}");
    }
    store.close().await;
    other.close().await;
    assert_eq!(changes_end(changes).await, None);
}

/// What comes when all is told.
async fn changes_end(mut changes: handstamp_server::store::Changes) -> Option<Change> {
    let ended = async { while changes.next().await.is_some() {} };
    tokio::time::timeout(Duration::from_secs(10), ended).await.unwrap();
    changes.next().await
}

/// A line that swallows everything is noticed in seconds, by readers, writers and who listens; when it works again, so
/// does the store.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_line_that_swallows_everything() {
    let cluster = Cluster::start();
    let wire = Wire::to(cluster.port()).await;
    let store = open(&over(wire.port())).await;
    let mut changes = store.changes().unwrap();
    store.done(batch([create(record(1))])).await;
    for round in 1..3 {
        wire.swallow();
        let began = clock();
        let (keys, all) = ([key(1)], crate::conformance::world::query([]));
        let (load, search, write, said) = tokio::join!(
            store.load(&keys),
            store.search(&all),
            store.commit(batch([rewrite(round, record(1))])),
            store.say(b"hello"),
        );
        unavailable(load);
        unavailable(search);
        unavailable(write);
        unavailable(said);
        assert!(began.elapsed() < NOTICED, "it took {:?}", began.elapsed());
        wire.mend();
        let took = back(&store).await;
        assert!(took < BACK, "it took {took:?}");
        let missed = async { while changes.next().await != Some(Change::Anything) {} };
        tokio::time::timeout(Duration::from_secs(10), missed).await.unwrap();
        // Whether the write went through was unknown; now it is not.
        let found = store.one(1).await.unwrap().version;
        assert!(found == round || found == round + 1);
        if found == round {
            store.done(batch([rewrite(round, record(1))])).await;
        }
    }
    wire.cut();
    unavailable(store.load(&[key(1)]).await);
    wire.mend();
    assert!(back(&store).await < BACK);
    store.close().await;
}

/// A server that takes no writes any more is left, though it answers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_takes_no_writes() {
    let cluster = Cluster::start();
    let store = open(&cluster.fresh()).await;
    store.done(batch([create(record(1))])).await;
    let admin = cluster.admin().await;
    for (mode, serves) in [("on", false), ("off", true), ("on", false)] {
        admin
            .batch_execute(&format!("ALTER SYSTEM SET default_transaction_read_only = {mode}"))
            .await
            .unwrap();
        admin.batch_execute("SELECT pg_reload_conf()").await.unwrap();
        let began = clock();
        while store.load(&[key(1)]).await.is_ok() != serves {
            assert!(began.elapsed() < BACK, "{mode} is not noticed");
            tokio::task::yield_now().await;
        }
        if !serves {
            unavailable(store.commit(batch([rewrite(1, record(1))])).await);
        }
    }
    store.close().await;
}

/// The same while the connection that listens, and would notice, is just being made again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_takes_no_writes_while_nobody_listens() {
    let cluster = Cluster::start();
    let store = open(&cluster.fresh()).await;
    store.done(batch([create(record(1))])).await;
    let admin = cluster.admin().await;
    admin.batch_execute("ALTER SYSTEM SET default_transaction_read_only = on").await.unwrap();
    let cut = "SELECT pg_reload_conf(), pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE application_name = 'handstamp listening'";
    admin.batch_execute(cut).await.unwrap();
    let began = clock();
    while store.load(&[key(1)]).await.is_ok() {
        assert!(began.elapsed() < BACK, "it is not noticed");
        pause(Duration::from_millis(10)).await;
    }
    store.close().await;
}

/// A standby is passed over, and found when it was promoted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_promoted_standby_is_found() {
    let primary = Cluster::start();
    let standby = Cluster::standby_of(&primary);
    let address = format!(
        "postgres://handstamp:{PASSWORD}@127.0.0.1:{},127.0.0.1:{}/handstamp?sslmode=disable&target_session_attrs=read-write",
        standby.port(),
        primary.port()
    );
    let store = open(&address).await;
    store.done(batch([create(record(1))])).await;
    let caught_up = standby.admin().await;
    let began = clock();
    while caught_up
        .query_one("SELECT count(*) FROM handstamp.records", &[])
        .await
        .map_or(0, |row| row.get::<_, i64>(0))
        == 0
    {
        assert!(began.elapsed() < Duration::from_secs(20), "{}", standby.log());
        tokio::task::yield_now().await;
    }
    primary.stop(Stop::Kill);
    unavailable(store.commit(batch([rewrite(1, record(1))])).await);
    standby.admin().await.batch_execute("SELECT pg_promote()").await.unwrap();
    let took = back(&store).await;
    assert!(took < BACK, "it took {took:?}");
    store.done(batch([rewrite(1, record(1))])).await;
    assert_eq!(store.one(1).await.unwrap().version, 2);
    store.close().await;
    unavailable(store.load(&[key(1)]).await);
}

/// What cannot be opened says why, and repeats no password.
#[tokio::test]
async fn why_it_does_not_open() {
    let port = shared().port();
    let other = shared().admin().await;
    let _ = other
        .batch_execute("CREATE DATABASE latin OWNER handstamp TEMPLATE template0 ENCODING LATIN1 LOCALE 'C'")
        .await;
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    for (address, words) in [
        (
            format!("postgres://handstamp:wr0ng-{PASSWORD}@127.0.0.1:{port}/handstamp?sslmode=disable"),
            "password authentication failed",
        ),
        (
            format!("postgres://nobody:{PASSWORD}@127.0.0.1:{port}/handstamp?sslmode=disable"),
            "password authentication failed",
        ),
        (
            format!("postgres://handstamp:{PASSWORD}@127.0.0.1:{port}/nowhere?sslmode=disable"),
            "does not exist",
        ),
        (format!("postgres://handstamp:{PASSWORD}@127.0.0.1:{port}/latin?sslmode=disable"), "not UTF8"),
        (format!("postgres://handstamp:{PASSWORD}@127.0.0.1:{free}/handstamp?sslmode=disable"), "refused"),
        (format!("postgres://handstamp:{PASSWORD}@127.0.0.1:{port}/handstamp"), "offers no TLS"),
        (
            format!("postgres://handstamp:{PASSWORD}@127.0.0.1:{port}/handstamp?sslrootcert=/nowhere.pem"),
            "cannot be read",
        ),
    ] {
        let address = Address::parse(&address).unwrap();
        let options = Options { node: node(), resting: vec![], alone: false };
        let Err(why) = Postgres::open(&address, &options).await else { panic!("{words}: it opened") };
        let (text, debug) = (why.to_string(), format!("{why:?}"));
        assert!(text.contains(words), "{text}");
        assert!(!text.contains(PASSWORD) && !debug.contains(PASSWORD), "{text}");
    }
}
