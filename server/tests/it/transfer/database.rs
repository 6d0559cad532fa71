//! A database, raw: what a service wrote elsewhere is the same in it and back, and it goes on as the first one would have.

use super::pairs::found;
use super::world::{Blind, Dice, digests, everything, live, same};
use crate::conformance::world::{NOW, Scratch};
use crate::postgres::cluster::shared;
use crate::postgres::node;
use handstamp_core::lease::Lease;
use handstamp_core::time::{Millis, Span};
use handstamp_server::app::keeper::HOUSE;
use handstamp_server::codec::several::write_lease;
use handstamp_server::run::migrate::course::{End, was_kept};
use handstamp_server::store::memory::Memory;
use handstamp_server::store::postgres::{Address, Options, Postgres, RawDatabase};
use handstamp_server::store::sqlite::{RawFile, Sqlite};
use handstamp_server::store::transfer::rounds::{Compared, compare, round};
use handstamp_server::store::transfer::{Difference, Transfer};
use handstamp_server::store::{Batch, Expect, Facet, Key, NewEvent, Op, Record, Space, Store, Versioned};
use std::time::Duration;

/// Of the kinds that the random service writes.
const RESTING: &[u8] = &[1, 22];

async fn open(address: &Address) -> Postgres {
    let options = Options { node: node(), resting: RESTING.into(), alone: false };
    let store = Postgres::open(address, &options).await.unwrap();
    // Its connections are on their way.
    let up = async { while store.clock_floor().await.is_err() || store.tallies().await.is_err() {} };
    tokio::time::timeout(Duration::from_secs(20), up).await.expect("it is connected");
    store
}

/// Claims a store that was closed a moment ago.
async fn claim(raw: &RawDatabase) {
    let claiming = async { while !raw.claim().await.unwrap() {} };
    tokio::time::timeout(Duration::from_secs(10), claiming).await.expect("it is claimed by nobody");
}

async fn carry(from: &dyn Transfer, to: &dyn Transfer) {
    round(from, to, &[], &mut Blind).await.unwrap();
    to.set_marks(&from.marks().await.unwrap()).await.unwrap();
    assert_eq!(everything(to).await, everything(from).await);
    assert!(matches!(compare(from, to, &[], &mut Blind).await.unwrap(), Compared::Same(_)));
}

#[tokio::test]
async fn into_a_database_and_out_of_it_is_the_same() {
    for seed in 0..3 {
        let address = Address::parse(&shared().fresh()).unwrap();
        let scratch = Scratch::new();
        // The embedded store sweeps in the same order.
        let service = Sqlite::open(&scratch.path("a"), &Default::default()).unwrap();
        let (store, back) = (RawFile::at(&scratch.path("a")).unwrap(), Memory::new());
        let raw = RawDatabase::at(&address, RESTING).unwrap();
        let mut dice = Dice::new(seed);
        claim(&raw).await;
        assert!(back.claim().await.unwrap());
        // Again and again, so that what is there is replaced, taken away, and moves between partitions.
        for steps in [100, 60, 60, 60] {
            for _ in 0..steps {
                live(&service, &mut dice, 30).await;
            }
            carry(&store, &raw).await;
            carry(&raw, &back).await;
            let all = everything(&store).await;
            assert!(all.records.len() > 10 && all.lines.len() > 20);
            same(&everything(&raw).await, &all);
            same(&everything(&back).await, &all);
        }
        raw.release().await;
        // A service goes on with it, as it would have where it was, and is read from beside.
        let other = open(&address).await;
        let keys: Vec<Key> = digests(&store).await.into_iter().map(|(key, _)| key).collect();
        let (mut one, mut two) = (Dice::new(seed), Dice::new(seed));
        for _ in 0..4 {
            let sorted = |mut all: (Vec<_>, Vec<Vec<Key>>, Vec<_>)| {
                all.1.iter_mut().for_each(|page| page.sort());
                all
            };
            assert_eq!(sorted(found(&other, &keys).await), sorted(found(&service, &keys).await));
            for _ in 0..40 {
                live(&service, &mut one, 30).await;
                live(&other, &mut two, 30).await;
            }
            same(&everything(&raw).await, &everything(&store).await);
        }
        assert!(!raw.claim().await.unwrap());
        other.close().await;
        claim(&raw).await;
    }
}

#[tokio::test]
async fn a_claim_keeps_services_out() {
    let address = Address::parse(&shared().fresh()).unwrap();
    let raw = RawDatabase::at(&address, RESTING).unwrap();
    let nothing = Difference::default();
    // Nothing is there yet.
    assert_eq!(raw.record_digests(None, 10).await, Ok(Vec::new()));
    assert_eq!(raw.marks().await, Ok(Default::default()));
    assert!(raw.write(&nothing).await.is_err());
    assert!(raw.claim().await.unwrap() && raw.claim().await.unwrap());
    assert!(raw.write(&nothing).await.is_ok());
    let other = RawDatabase::at(&address, RESTING).unwrap();
    assert!(!other.claim().await.unwrap());
    let options = Options { node: node(), resting: RESTING.into(), alone: false };
    let why = Postgres::open(&address, &options).await.err().unwrap().to_string();
    assert!(why.contains("is being moved"), "{why}");
    raw.release().await;
    assert!(raw.write(&nothing).await.is_err());
    let store = open(&address).await;
    store.probe().await.unwrap();
    store.touch(&[]).await.unwrap();
    assert!(!raw.claim().await.unwrap());
    store.close().await;
    claim(&raw).await;
    // Its connection is lost, and the claim with it: it says so, and can be had again.
    let admin = shared().admin().await;
    let sql = "SELECT count(pg_terminate_backend(pid)) FROM pg_locks
        WHERE locktype = 'advisory' AND classid = 1213420614 AND mode = 'ExclusiveLock'
          AND objid = hashtext($1)::bigint::oid";
    let schema = address.schema().to_owned();
    let sql = sql.replace("hashtext($1)::bigint::oid", "(hashtext($1)::bigint & 4294967295)::oid");
    assert_eq!(admin.query_one(&sql, &[&schema]).await.unwrap().get::<_, i64>(0), 1);
    let lost = async { while raw.write(&nothing).await.is_ok() {} };
    tokio::time::timeout(Duration::from_secs(10), lost).await.unwrap();
    assert!(raw.write(&nothing).await.is_err());
    assert!(raw.marks().await.is_err());
    claim(&raw).await;
    assert!(raw.write(&nothing).await.is_ok());
}

/// A node that was cut off while everything moved away comes back to a store that does not take it any more.
#[tokio::test]
async fn what_moved_away_stays_shut() {
    let address = Address::parse(&shared().fresh()).unwrap();
    let raw = RawDatabase::at(&address, RESTING).unwrap();
    claim(&raw).await;
    raw.shut(Some("it's in sqlite:/b")).await.unwrap();
    raw.release().await;
    let options = Options { node: node(), resting: RESTING.into(), alone: false };
    let why = Postgres::open(&address, &options).await.err().unwrap().to_string();
    assert!(why.contains("it's in sqlite:/b"), "{why}");
    claim(&raw).await;
    raw.shut(None).await.unwrap();
    raw.release().await;
    let store = open(&address).await;
    // One that has not written yet is found, too.
    assert!(!raw.claim().await.unwrap());
    store.close().await;
    claim(&raw).await;
}

/// How long it takes, and how long without a service: about what 200,000 sessions of as many users are.
#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_thousand_sessions_in_a_minute() {
    let sessions: u32 = if crate::engine::full() { 200_000 } else { 2_000 };
    let scratch = Scratch::new();
    let store = Sqlite::open(&scratch.path("a"), &Default::default()).unwrap();
    let facet = |name: u8, value: String| Facet { name, value: value.into_bytes().into() };
    for first in (0..sessions).step_by(1_000) {
        let (mut ops, mut events) = (Vec::new(), Vec::new());
        for n in first..(first + 1_000).min(sessions) {
            let key = |kind| Key { space: Space { kind, env: 1 }, id: [n.to_be_bytes(); 4].concat().into() };
            let facets = vec![
                facet(1, format!("user-{n}")),
                facet(2, format!("{n:08}")),
                facet(3, "live".into()),
                facet(4, format!("{}", n % 50)),
            ];
            // A twentieth has ended.
            let over = n % 20 == 0;
            let forget_at = over.then_some(Millis(NOW.0 + i64::from(n % 30) * 86_400_000));
            let seen = (!over).then_some(NOW);
            let session = Record { key: key(1), bucket: 1, facets, seen, forget_at, body: vec![7; 700] };
            let user = Record {
                key: key(2),
                bucket: 1,
                facets: vec![],
                seen: None,
                forget_at: None,
                body: vec![7; 20],
            };
            ops.extend([session, user].map(|record| Op::Put { expect: Expect::Absent, record }));
            events.extend((0..2).map(|_| NewEvent { subject: key(1), at: NOW, body: vec![7; 120] }));
        }
        store.commit(Batch { bucket: 1, at: NOW, ops, events, tallies: vec![] }).await.unwrap();
    }
    let address = Address::parse(&shared().fresh()).unwrap();
    let ends: [Box<dyn Transfer>; 3] = [
        Box::new(RawFile::at(&scratch.path("a")).unwrap()),
        Box::new(RawDatabase::at(&address, &[1]).unwrap()),
        Box::new(RawFile::at(&scratch.path("b")).unwrap()),
    ];
    for pair in ends.windows(2) {
        let (from, to) = (&*pair[0], &*pair[1]);
        let began = crate::binary::clock();
        assert!(to.claim().await.unwrap());
        let first = round(from, to, &[], &mut Blind).await.unwrap();
        let took = began.elapsed();
        let again = round(from, to, &[], &mut Blind).await.unwrap();
        to.set_marks(&from.marks().await.unwrap()).await.unwrap();
        let last = began.elapsed() - took;
        assert!(matches!(compare(from, to, &[], &mut Blind).await.unwrap(), Compared::Same(_)));
        assert_eq!((first.brought, again.brought), (u64::from(sessions) * 4, 0));
        println!(
            "{sessions} sessions: the first round {took:?} ({:.0} things a second), the last one {last:?}, with the comparison {:?}",
            f64::from(sessions * 4) / took.as_secs_f64(),
            began.elapsed() - took
        );
    }
    store.close().await;
}

/// Whether a node kept house a moment ago is seen by the database's time, in which its lease is written; who moves it may be
/// an hour ahead or behind.
#[tokio::test]
async fn who_keeps_house_is_known_by_the_time_of_the_database() {
    let text = shared().fresh();
    let raw = RawDatabase::at(&Address::parse(&text).unwrap(), RESTING).unwrap();
    claim(&raw).await;
    let look = shared().admin().await;
    let row = look.query_one("SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint", &[]).await;
    let now = Millis(row.unwrap().get(0));
    for (left, kept) in [(19, true), (-1, false), (3_590, false)] {
        let record = write_lease(HOUSE, &Lease { node: [1; 16], until: now.plus(Span::secs(left)) });
        let records = vec![Versioned { record, version: 1 }];
        raw.write(&Difference { records, ..Difference::default() }).await.unwrap();
        for ahead in [-3_600, 0, 3_600] {
            let end = End { store: &raw, name: "it" };
            let found = was_kept(end, now.plus(Span::secs(ahead))).await.unwrap();
            assert_eq!(found, kept, "{left} s left, and the mover is {ahead} s ahead");
        }
    }
}
