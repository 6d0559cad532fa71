//! The cache's table against a map, and a session in it against the session.

use handstamp_core::agent::{Agent, Device};
use handstamp_core::id::{EnvironmentId, SessionId, UserId};
use handstamp_core::rotation::{Chain, Verifiers};
use handstamp_core::secret::Verifier;
use handstamp_core::session::{Client, HeldTag, Limits, Session, State};
use handstamp_core::subject::Subject;
use handstamp_core::tag::{Group, Tag};
use handstamp_core::time::{Millis, Span};
use handstamp_server::app::kept::{Held, Kept, Mark};
use handstamp_server::app::table::Table;
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::value::RawValue;
use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

const ENV: EnvironmentId = EnvironmentId(7);

fn held(id: SessionId, env: EnvironmentId, texts: &[String], data: Option<&str>, shared: [bool; 2]) -> Held {
    let verifiers = Verifiers {
        session: Verifier::from_bytes([9; 32]),
        refresh: texts.first().map(|_| Verifier::from_bytes([8; 32])),
    };
    let mut chain = Chain::new(verifiers, 1, Millis(5), false);
    chain.generation = u32::try_from(texts.len()).unwrap();
    let agent = |n: usize| texts.get(n).map(|text| text.as_str().into());
    let spoken = texts.get(1).map(|text| {
        let (version, model) =
            (texts.get(3).map(|text| text.as_str().into()), texts.get(4).map(|_| "K".into()));
        let (browser, major, device) = (Some(text.as_str().into()), Some(128), Device::Tablet);
        Arc::new(Agent { browser, major, os: None, os_version: version, model, device, is_browser: true })
    });
    let ip = texts.get(1).map(|_| [10, 0, 0, 1].into());
    let last = texts.get(2).map(|_| Box::new(Client { ip: None, user_agent: agent(2), agent: None }));
    let session = Session {
        auth: None,
        actor: None,
        anchor: None,
        tokens_until: texts.first().map(|_| Millis(1_700_000_300_000)),
        status_index: texts.get(1).map(|_| 1_048_577),
        id,
        user: UserId::new(texts.first().map_or("ada", String::as_str)).unwrap(),
        tags: (0..texts.len())
            .map(|n| HeldTag { tag: Tag::parse(&format!("t{n}:{}", texts[n])).unwrap(), since: 300 })
            .collect(),
        groups: texts.iter().skip(2).map(|text| Group::parse(text).unwrap()).collect(),
        data: None,
        created_at: Millis(1_700_000_000_000),
        authenticated_at: Millis(1_700_000_000_001),
        born: 128,
        expires_in: texts.first().map(|_| Span::secs(77)),
        limits: Limits { absolute: Span::days(30), idle: Span::hours(24) },
        chain,
        client: Client { ip, user_agent: agent(1), agent: spoken },
        last_client: last,
        device: None,
        state: State::Live,
    };
    let data = data.map(|text| Arc::from(RawValue::from_string(text.to_owned()).unwrap()));
    Held { env, session, data, shared }
}

fn kept(id: u8, env: EnvironmentId, size: usize) -> Arc<Kept> {
    let data = format!("\"{}\"", "x".repeat(size));
    Kept::new(
        &held(SessionId([id; 16]), env, &[], Some(&data), [true; 2]),
        Mark::new(Millis(1), Millis(1), false),
    )
    .unwrap()
}

#[test]
fn a_session_is_the_same_packed() {
    proptest!(|(texts in vec("[a-zA-Zä0-9 ]{1,60}", 0..32), data in 0usize..17_000, some: bool, shared: [bool; 2])| {
        let data = some.then(|| format!("\"{}\"", "d".repeat(data)));
        let held = held(SessionId([3; 16]), ENV, &texts, data.as_deref(), shared);
        let kept = Kept::new(&held, Mark::new(Millis(4), Millis(4), false)).unwrap();
        let outline = kept.outline().unwrap();
        let (packed, session) = (kept.subject(&outline), &held.session);
        prop_assert_eq!(packed.id(), session.id());
        prop_assert_eq!(packed.user(), session.user());
        prop_assert_eq!(packed.tags().collect::<Vec<_>>(), session.tags().collect::<Vec<_>>());
        prop_assert_eq!(packed.groups().collect::<Vec<_>>(), session.groups().collect::<Vec<_>>());
        prop_assert_eq!(packed.times(), session.times());
        prop_assert_eq!(packed.client(), session.client());
        prop_assert_eq!(packed.last_client(), session.last_client());
        prop_assert!(packed.end().is_none());
        prop_assert_eq!(packed.tokens_until(), session.tokens_until);
        prop_assert_eq!(packed.status_index(), session.status_index);
        let (of, chain) = (packed.chain(), session.chain());
        prop_assert_eq!((of.generation, of.made_at, of.made_by), (chain.generation, chain.made_at, chain.made_by));
        prop_assert!(of.current.session.matches(&chain.current.session));
        prop_assert_eq!(of.current.refresh.is_some(), chain.current.refresh.is_some());
        prop_assert_eq!(kept.data(), data.as_deref().map(str::as_bytes));
        let own: usize = (1..3)
            .filter(|n| !shared[n - 1])
            .filter_map(|n| texts.get(n).map(String::len))
            .sum();
        prop_assert!(kept.weight() >= u64::try_from(size_of_val(&*kept)).unwrap());
        prop_assert!(size_of_val(&*kept) > own + data.map_or(0, |data| data.len()), "what is not shared is counted");
    });
}

#[test]
fn what_no_rule_allows_is_not_kept() {
    let huge = format!("\"{}\"", "d".repeat(60_000));
    let held = held(SessionId([3; 16]), ENV, &[], Some(&huge), [true; 2]);
    assert!(Kept::new(&held, Mark::new(Millis(4), Millis(4), false)).is_none());
}

#[derive(Clone, Debug)]
enum Op {
    Insert(u8, usize, bool),
    Get(u8),
    Peek(u8),
    Remove(u8),
    RemoveEven,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (0u8..60, 0usize..900, any::<bool>()).prop_map(|(id, size, even)| Op::Insert(id, size, even)),
        4 => (0u8..60).prop_map(Op::Get),
        2 => (0u8..60).prop_map(Op::Peek),
        3 => (0u8..60).prop_map(Op::Remove),
        1 => Just(Op::RemoveEven),
    ]
}

#[test]
fn the_table_is_a_map_that_forgets_within_its_bound() {
    proptest!(|(ops in vec(op(), 1..400), most in 500u64..30_000)| {
        let table = Table::new(most);
        let model: RefCell<HashMap<SessionId, Arc<Kept>>> = RefCell::default();
        let leave = |gone: &Kept| {
            gone.mark.gone.store(true, Ordering::SeqCst);
            // What was too large to come in at all leaves, too.
            if let Some(known) = model.borrow_mut().remove(&gone.id) {
                assert!(std::ptr::eq(&raw const *known, gone), "another one left");
            }
        };
        for op in ops {
            match op {
                Op::Insert(id, size, even) => {
                    let one = kept(id, EnvironmentId(u64::from(!even)), size);
                    table.insert(one.clone(), leave);
                    if !one.mark.gone.load(Ordering::SeqCst) {
                        prop_assert!(one.weight() <= most);
                        model.borrow_mut().insert(one.id, one);
                    }
                }
                Op::Get(id) => {
                    let (found, known) = (table.get(SessionId([id; 16])), model.borrow());
                    let known = known.get(&SessionId([id; 16]));
                    prop_assert_eq!(found.as_ref().map(Arc::as_ptr), known.map(Arc::as_ptr));
                }
                Op::Peek(id) => {
                    let (found, known) = (table.peek(SessionId([id; 16])), model.borrow());
                    let known = known.get(&SessionId([id; 16]));
                    prop_assert_eq!(found.as_ref().map(Arc::as_ptr), known.map(Arc::as_ptr));
                }
                Op::Remove(id) => {
                    table.remove(SessionId([id; 16]), leave);
                    prop_assert!(!model.borrow().contains_key(&SessionId([id; 16])));
                }
                Op::RemoveEven => {
                    table.remove_all(|kept| kept.env == EnvironmentId(0), leave);
                    prop_assert!(model.borrow().values().all(|kept| kept.env != EnvironmentId(0)));
                }
            }
            let model = model.borrow();
            let weight: u64 = model.values().map(|kept| kept.weight()).sum();
            prop_assert_eq!(table.usage(), (weight, most));
            prop_assert!(weight <= most);
            prop_assert_eq!(table.entries(), u64::try_from(model.len()).unwrap());
            let told = RefCell::new(0);
            table.each(|kept| {
                assert!(model.contains_key(&kept.id));
                *told.borrow_mut() += 1;
            });
            prop_assert_eq!(told.into_inner(), model.len());
        }
    });
}

#[test]
fn what_is_asked_for_stays() {
    let weight = kept(0, ENV, 10).weight();
    let table = Table::new(weight * 20);
    (0..20).for_each(|id| table.insert(kept(id, ENV, 10), |_| panic!("there is room")));
    for newer in 20..200 {
        assert!(table.get(SessionId([3; 16])).is_some(), "asked for each time, gone after {newer}");
        let gone = RefCell::new(0);
        table.insert(kept(newer, ENV, 10), |_| *gone.borrow_mut() += 1);
        assert_eq!((gone.into_inner(), table.entries()), (1, 20));
        assert!(table.peek(SessionId([newer; 16])).is_some(), "the newest is there");
    }
}

#[test]
fn threads_share_it() {
    let table = Table::new(64 << 20);
    std::thread::scope(|scope| {
        for thread in 0..4u8 {
            let table = &table;
            scope.spawn(move || {
                for round in 0..20_000u32 {
                    let id = SessionId([u8::try_from(round % 50).unwrap() + 50 * thread; 16]);
                    if round / 50 % 2 == 0 {
                        table.insert(kept(id.0[0], ENV, 5), |_| {});
                    } else {
                        assert!(table.get(id).is_some_and(|kept| kept.id == id));
                        table.remove(id, |_| {});
                        assert!(table.peek(id).is_none());
                    }
                }
            });
        }
    });
    assert_eq!((table.entries(), table.usage().0), (0, 0));
}
