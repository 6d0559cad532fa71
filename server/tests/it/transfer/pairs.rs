//! Each store, raw: what a service wrote to one is the same in the other, and lies as if a service had written it there.

use super::world::{Beset, Blind, Dice, Everything, digests, everything, live, same};
use crate::conformance::world::Scratch;
use handstamp_core::time::Millis;
use handstamp_server::store::memory::Memory;
use handstamp_server::store::sqlite::{Options, RawFile, Sqlite, verify_backup};
use handstamp_server::store::transfer::rounds::{Compared, compare, round};
use handstamp_server::store::transfer::{Difference, Transfer, of_line, of_record};
use handstamp_server::store::{
    Condition, EventQuery, Facet, FacetRange, Key, Query, Record, Space, Store, StoredEvent, Versioned,
};
use std::sync::Arc;
use std::sync::atomic::AtomicU32;

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// One move between stores that nobody works on.
async fn carry(from: &dyn Transfer, to: &dyn Transfer) {
    assert!(to.claim().await.unwrap());
    round(from, to, &[], &mut Blind).await.unwrap();
    to.set_marks(&from.marks().await.unwrap()).await.unwrap();
    assert!(matches!(compare(from, to, &[], &mut Blind).await.unwrap(), Compared::Same(_)));
}

/// What a service finds in a store: by key, by facets, in history, by time.
pub(super) async fn found(
    store: &dyn Store,
    keys: &[Key],
) -> (Vec<Option<Versioned>>, Vec<Vec<Key>>, Vec<StoredEvent>) {
    let records = store.load(keys).await.unwrap();
    let mut pages = Vec::new();
    for (kind, env, name, value) in
        (0..270).map(|n| ([1, 2, 22][n % 3], (n / 3) % 3, (n / 9) % 5, (n / 45) % 6))
    {
        let space = Space { kind, env: u64::try_from(env).unwrap() };
        let value: Box<[u8]> = format!("value {value}").into_bytes().into();
        let range = FacetRange { name: u8::try_from(name).unwrap(), low: value.clone(), high: value };
        let all = vec![Condition { any: vec![range] }];
        let query = Query { space, all, from: None, until: None, cursor: None, limit: 1_000 };
        let page = store.search(&query).await.unwrap();
        pages.push(page.items.into_iter().map(|found| found.record.key).collect());
    }
    let mut lines = Vec::new();
    for since in [None, Some(Millis(1_000_000_000)), Some(Millis(3_900_000_000))] {
        for env in [None, Some(0), Some(2)] {
            let query = EventQuery { subject: None, env, after: None, since, limit: 1_000 };
            lines.extend(store.history(&query).await.unwrap());
        }
    }
    for key in keys.iter().take(20) {
        let query =
            EventQuery { subject: Some(key.clone()), env: None, after: None, since: None, limit: 1_000 };
        lines.extend(store.history(&query).await.unwrap());
    }
    (records, pages, lines)
}

async fn keys_of(store: &dyn Transfer) -> Vec<Key> {
    digests(store).await.into_iter().map(|(key, _)| key).collect()
}

#[test]
fn from_file_to_memory_and_back_is_the_same() {
    runtime().block_on(async {
        for seed in 0..6 {
            let scratch = Scratch::new();
            let store = Sqlite::open(&scratch.path("a"), &Options::default()).unwrap();
            let mut dice = Dice::new(seed);
            for _ in 0..300 {
                live(&store, &mut dice, 30).await;
            }
            // Beside the service that has it open.
            let (a, memory, b) = (
                RawFile::at(&scratch.path("a")).unwrap(),
                Memory::new(),
                RawFile::at(&scratch.path("b")).unwrap(),
            );
            assert!(!a.claim().await.unwrap());
            carry(&a, &memory).await;
            carry(&memory, &b).await;
            let all: Everything = everything(&a).await;
            assert!(all.records.len() > 20 && all.lines.len() > 20 && !all.orphans.is_empty());
            same(&everything(&b).await, &all);
            same(&everything(&memory).await, &all);
            b.release().await;
            verify_backup(&scratch.path("b")).unwrap();
            let other = Sqlite::open(&scratch.path("b"), &Options::default()).unwrap();
            let keys = keys_of(&a).await;
            assert_eq!(found(&other, &keys).await, found(&store, &keys).await);
            assert_eq!(found(&memory, &keys).await, found(&store, &keys).await);
            // And it goes on as the first one would have.
            let (mut one, mut two) = (Dice::new(seed), Dice::new(seed));
            for _ in 0..100 {
                live(&store, &mut one, 30).await;
                live(&other, &mut two, 30).await;
            }
            let b = RawFile::at(&scratch.path("b")).unwrap();
            same(&everything(&b).await, &everything(&a).await);
            assert_eq!(found(&other, &keys).await, found(&store, &keys).await);
            other.close().await;
            store.close().await;
            assert!(a.claim().await.unwrap());
        }
    });
}

#[test]
fn a_file_is_read_while_a_service_writes_it() {
    runtime().block_on(async {
        let scratch = Scratch::new();
        let store = Arc::new(Sqlite::open(&scratch.path("a"), &Options::default()).unwrap());
        let mut dice = Dice::new(77);
        for _ in 0..200 {
            live(store.as_ref(), &mut dice, 30).await;
        }
        let service: Option<(Arc<dyn Store>, _)> = Some((store.clone(), std::sync::Mutex::new(dice)));
        let from = Beset {
            store: RawFile::at(&scratch.path("a")).unwrap(),
            service,
            hasty: false,
            writes: Arc::new(AtomicU32::new(u32::MAX)),
            last_is_done: true,
            loses: false,
        };
        let to = RawFile::at(&scratch.path("b")).unwrap();
        assert!(to.claim().await.unwrap());
        for _ in 0..3 {
            round(&from, &to, &[], &mut Blind).await.unwrap();
            assert!(!from.claim().await.unwrap());
        }
        drop(from.service);
        store.close().await;
        let from = from.store;
        assert!(from.claim().await.unwrap());
        carry(&from, &to).await;
        same(&everything(&from).await, &everything(&to).await);
    });
}

#[test]
fn what_is_claimed_keeps_services_out_and_what_is_not_is_not_written() {
    runtime().block_on(async {
        let scratch = Scratch::new();
        let raw = RawFile::at(&scratch.path("a")).unwrap();
        let nothing = Difference::default();
        assert!(raw.write(&nothing).await.is_err());
        assert!(raw.claim().await.unwrap() && raw.claim().await.unwrap());
        assert!(raw.write(&nothing).await.is_ok());
        let said = Sqlite::open(&scratch.path("a"), &Options::default()).err().unwrap().to_string();
        assert!(said.contains("is in use"), "{said}");
        raw.release().await;
        assert!(raw.write(&nothing).await.is_err());
        let store = Sqlite::open(&scratch.path("a"), &Options::default()).unwrap();
        assert!(!raw.claim().await.unwrap());
        store.close().await;
    });
}

/// Written down once, by another program: each store may make them in its own way.
#[test]
fn digests_are_what_they_were() {
    let hex = |digest: [u8; 32]| digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let key = Key { space: Space { kind: 1, env: 7 }, id: b"id"[..].into() };
    let record = Record {
        key: key.clone(),
        bucket: 7,
        facets: vec![Facet { name: 1, value: b"ab"[..].into() }],
        seen: Some(Millis(5)),
        forget_at: None,
        body: b"xyz".to_vec(),
    };
    assert_eq!(
        hex(of_record(&Versioned { record, version: 3 })),
        "90006f791cef6de689d6b10679d558da08aeac5d1188c367bcd1e6fad117cef1"
    );
    let line = StoredEvent { position: 4, subject: key, at: Millis(9), body: b"b".to_vec() };
    assert_eq!(hex(of_line(&line)), "88e6f393da4b48ce5655089a5ae181b30dba8e0ae0e8213e49f8af9e88976929");
}
