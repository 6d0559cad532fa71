//! Housekeeping: it can be stopped, nothing starves behind anything, what it cannot write it does not lose, and of a
//! removed environment nothing is left.

use super::house::{Detached, Gate2, House, Plan, Said, good, in_state};
use crate::front::Fronted;
use handstamp_core::environment::EnvironmentName;
use handstamp_core::event::{Event, EventKind};
use handstamp_core::facet;
use handstamp_core::id::EnvironmentId;
use handstamp_core::origin::WebOrigin;
use handstamp_core::policy::{Policy, Rules};
use handstamp_core::refusal::Code;
use handstamp_core::session::By;
use handstamp_core::tag::Tag;
use handstamp_core::time::{Millis, Span};
use handstamp_server::app::origins::Purpose;
use handstamp_server::app::search::{Filter, Which};
use handstamp_server::app::validate::{Ask, Validated};
use handstamp_server::codec::{CONTROL, kind, new_event, session_key};
use handstamp_server::store::faulty::{Call, Fault, Faulty, Gate};
use handstamp_server::store::memory::Memory;
use handstamp_server::store::{Batch, EventQuery, Expect, Facet, Op, Query, Space, Store};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::yield_now;

async fn faulty(plan: Plan) -> (House, Arc<Faulty>) {
    let store = Arc::new(Faulty::new(Arc::new(Memory::new())));
    (House::new(store.clone(), plan).await, store)
}

/// The sweep hangs: activity is written all the same, and a stop does not wait for it.
#[tokio::test]
async fn it_can_be_stopped_and_activity_does_not_wait_for_it() {
    let (house, store) = faulty(Plan::default()).await;
    let (id, token) = house.create("ada", &[]).await;
    let never = Gate::default();
    store.plan(Call::Sweep, [Fault::Hold(never.clone()), Fault::Hold(never.clone())]);
    let (stop, stopping) = tokio::sync::watch::channel(false);
    let keeping = tokio::spawn({
        let app = house.app.clone();
        async move { app.keep_house(stopping).await }
    });
    let deadline = Duration::from_secs(20);
    tokio::time::timeout(deadline, async {
        while store.left() > 1 {
            yield_now().await;
        }
        house.pass(Span::minutes(5));
        assert_eq!(house.validate(&token).await, Said::Allowed(None));
        let key = session_key(house.caller().env.record.id, id);
        while store.load(std::slice::from_ref(&key)).await.unwrap()[0].as_ref().unwrap().record.seen
            != Some(house.now())
        {
            yield_now().await;
        }
        stop.send(true).unwrap();
        keeping.await.unwrap();
    })
    .await
    .expect("housekeeping held something up");
}

/// One record that cannot be read does not keep the others waiting.
#[tokio::test]
async fn a_damaged_record_does_not_hold_up_the_rest() {
    let (house, store) = faulty(Plan::idle(Span::secs(60))).await;
    let (bad, _) = house.create("ada", &[]).await;
    let (good_one, _) = house.create("bob", &[]).await;
    let key = session_key(house.caller().env.record.id, bad);
    let mut found = store.load(std::slice::from_ref(&key)).await.unwrap().remove(0).unwrap();
    found.record.body = vec![9, 9, 9];
    let due = Box::new(facet::instant(Millis(5)));
    found.record.facets = vec![Facet { name: facet::DUE, value: due }];
    let op = Op::Put { expect: Expect::Version(found.version), record: found.record.clone() };
    let (events, tallies) = (Vec::new(), Vec::new());
    store
        .commit(Batch { bucket: found.record.bucket, at: house.now(), ops: vec![op], events, tallies })
        .await
        .unwrap();
    house.pass(Span::secs(60));
    house.tidy().await;
    assert_eq!(house.found(&in_state(Which::Ended, Filter::default())).await, [good_one]);
    assert_eq!(house.get(good_one).await.ended.unwrap().code, Code::SessionIdle);
}

/// A line of history that could not be written is written later.
#[tokio::test]
async fn lines_of_history_are_kept_until_they_are_written() {
    let plan = Plan::rotating(Span::secs(10), Span::secs(60));
    let (house, store) = faulty(plan).await;
    let (id, token) = house.create("ada", &[]).await;
    let key = session_key(house.caller().env.record.id, id);
    let before = store.load(std::slice::from_ref(&key)).await.unwrap().remove(0).unwrap();
    house.pass(Span::secs(10));
    let Said::Allowed(Some(next)) = house.rotate(&token).await else { panic!("it is due") };
    // The store falls back behind what it had acknowledged.
    let now = store.load(std::slice::from_ref(&key)).await.unwrap().remove(0).unwrap();
    let op = Op::Put { expect: Expect::Version(now.version), record: before.record.clone() };
    let (events, tallies) = (Vec::new(), Vec::new());
    store
        .commit(Batch { bucket: before.record.bucket, at: house.now(), ops: vec![op], events, tallies })
        .await
        .unwrap();
    for _ in 0..3 {
        assert_eq!(house.validate(&next).await, Said::Refused(Code::SessionNotFound));
    }
    store.plan(Call::Commit, [Fault::Before]);
    assert!(house.app.tidy().await.is_err());
    house.tidy().await;
    let lines = good(house.app.events(&house.caller(), id, None, 100).await);
    let behind = lines.iter().filter(|line| line.event.note.as_deref() == Some("store_behind"));
    assert_eq!(behind.count(), 1);
}

/// Refusals that change nothing are told: the first at once, the others of its minute as one line with their number;
/// of an ended session, those of an hour.
#[tokio::test]
async fn refusals_are_counted_in_history() {
    let (house, _) = faulty(Plan::default()).await;
    let (id, token) = house.create("ada", &["role:member"]).await;
    let told = async || {
        house.tidy().await;
        let lines = good(house.app.events(&house.caller(), id, None, 100).await);
        let refused = lines.iter().filter(|line| line.event.kind == EventKind::Refused);
        refused.map(|line| (line.event.code.unwrap(), line.event.count)).collect::<Vec<_>>()
    };
    let lacks = async || {
        let ask = Ask { token: &token, tags: vec![Tag::parse("role:admin").unwrap()], ..Ask::default() };
        let said = good(house.app.validate(&house.caller().env, ask).await);
        assert!(matches!(said, Validated::Refused { refusal, .. } if refusal.code == Code::TagMissing));
    };
    lacks().await;
    assert_eq!(told().await, [(Code::TagMissing, 1)]);
    for _ in 0..4 {
        lacks().await;
    }
    assert_eq!(told().await, [(Code::TagMissing, 1)]);
    house.pass(Span(59_999));
    assert_eq!(told().await, [(Code::TagMissing, 1)]);
    house.pass(Span(1));
    assert_eq!(told().await, [(Code::TagMissing, 1), (Code::TagMissing, 4)]);
    lacks().await;
    assert_eq!(told().await.len(), 3, "a new minute");

    good(house.end(id).await);
    for _ in 0..3 {
        assert_eq!(house.validate(&token).await, Said::Refused(Code::SessionRevoked));
    }
    house.pass(Span::minutes(59));
    assert_eq!(told().await[3..], [(Code::SessionRevoked, 1)]);
    house.pass(Span::minutes(1));
    assert_eq!(told().await[3..], [(Code::SessionRevoked, 1), (Code::SessionRevoked, 2)]);

    // What is still counted is written before the house is left.
    house.validate(&token).await;
    house.validate(&token).await;
    good(house.app.flush_all_activity(Duration::from_secs(5)).await.map_err(Into::into));
    assert_eq!(told().await[5..], [(Code::SessionRevoked, 1), (Code::SessionRevoked, 1)]);
}

/// A flood of refusals takes no more than its room, and what found none is counted.
#[tokio::test]
async fn a_flood_of_refusals_is_bounded() {
    let (house, _) = faulty(Plan::default()).await;
    let mut tokens = Vec::new();
    for n in 0..1_100 {
        tokens.push(house.create(&format!("user-{n}"), &[]).await);
    }
    good(house.revoke(handstamp_server::app::end::Target::Everybody, None).await);
    house.tidy().await;
    for (_, token) in &tokens {
        assert_eq!(house.validate(token).await, Said::Refused(Code::SessionRevoked));
    }
    assert_eq!(house.app.events_dropped(), 1_100 - 1_024);
}

/// Many raises are not remembered for ever.
#[tokio::test]
async fn the_ledger_stays_short() {
    let (house, _) = faulty(Plan::default()).await;
    let (_, token) = house.create("ada", &["kept:yes"]).await;
    for n in 0..300 {
        let filter = super::house::of_tag(&format!("device:{n}"));
        good(house.revoke(handstamp_server::app::end::Target::Filter(filter), None).await);
        if n % 50 == 0 {
            house.tidy().await;
        }
    }
    house.tidy().await;
    house.pass(Span::minutes(11));
    let filter = super::house::of_tag("device:last");
    good(house.revoke(handstamp_server::app::end::Target::Filter(filter), None).await);
    let env = house.caller().env;
    assert_eq!((env.ledger.raised.len(), env.ledger.counter), (1, 301));
    assert_eq!(house.validate(&token).await, Said::Allowed(None));
}

/// A creation that began before its environment was removed leaves nothing behind either; nor do the counters.
#[tokio::test]
async fn of_a_removed_environment_nothing_is_left() {
    let gate = Gate2::default();
    let store =
        Fronted(Detached { inner: Arc::new(Memory::new()), gate: gate.clone(), conflicts: Arc::default() });
    let house = House::new(Arc::new(store), Plan::default()).await;
    let shop = house.environment("shop/prd").await;
    let env = shop.env.record.id.0;
    for n in 0..300 {
        let mut ask = super::house::asked(&format!("u{n}"), &["a:b"]);
        ask.idempotency = Some((format!("k{n}"), vec![1; 32].into()));
        good(house.app.create(&shop, ask).await);
    }
    let origins = vec![WebOrigin::parse("https://a.example").unwrap()];
    good(house.app.replace_origins(&shop, Purpose::Cors, None, origins).await);
    assert_eq!(count(&house, Space { kind: kind::ORIGINS, env }).await, 1);
    let policy = Event::policy_changed(house.app.now(), By::System, 1, None);
    house.store.commit(about_itself(shop.env.record.id, &policy)).await.unwrap();
    let held = gate.shut();
    let creating = tokio::spawn({
        let (house, shop) = (house.clone(), shop.clone());
        async move { house.app.create(&shop, super::house::asked("late", &["a:b"])).await.is_ok() }
    });
    for _ in 0..200 {
        yield_now().await;
    }
    gate.stay_open();
    let name = EnvironmentName::parse("shop/prd").unwrap();
    good(house.app.delete_environment(&house.operator("default/prd"), &name).await);
    house.tidy().await;
    held.open(1);
    let _ = creating.await.unwrap();
    for _ in 0..5 {
        house.pass(Span::minutes(3));
        house.tidy().await;
    }
    for kind in [kind::SESSION, kind::USER, kind::IDEMPOTENCY, kind::ORIGINS] {
        assert_eq!(count(&house, Space { kind, env }).await, 0, "of kind {kind}");
    }
    assert_eq!(count(&house, Space { kind: kind::PURGE, env: 0 }).await, 0);
    assert!(house.store.tallies().await.unwrap().iter().all(|(tally, _)| tally.env != env));
    let query = EventQuery { subject: None, env: None, after: None, since: None, limit: 1_000 };
    assert!(house.store.history(&query).await.unwrap().iter().all(|line| line.subject.space.env != env));
}

/// A line about the environment itself, as whoever changes its rules writes it.
fn about_itself(env: EnvironmentId, event: &Event) -> Batch {
    let events = vec![new_event(env, event)];
    Batch { bucket: CONTROL.get(), at: event.at, ops: Vec::new(), events, tallies: Vec::new() }
}

async fn count(house: &House, space: Space) -> usize {
    let query = Query { space, all: Vec::new(), from: None, until: None, cursor: None, limit: 1_000 };
    house.store.search(&query).await.unwrap().items.len()
}

/// Rules that became tighter end sessions at once in every list, not only when their old time would have come.
#[tokio::test]
async fn tighter_rules_are_seen_by_every_list() {
    let (house, _) = faulty(Plan::default()).await;
    for n in 0..20 {
        house.create(&format!("u{n}"), &[]).await;
    }
    house.pass(Span::minutes(30));
    house
        .app
        .set_file_policy(Some(Policy::from(Rules {
            idle_timeout: Some(Span::minutes(20)),
            ..Rules::default()
        })))
        .await;
    assert_eq!(house.found(&Filter::default()).await.len(), 0);
    assert_eq!(house.found(&in_state(Which::Ended, Filter::default())).await.len(), 20);
    house.tidy().await;
    assert_eq!(house.tally("live").await, 0);
    assert_eq!(house.found(&in_state(Which::Ended, Filter::default())).await.len(), 20);
    // Looser again: what has ended stays so.
    house.app.set_file_policy(Some(Policy::default())).await;
    assert_eq!(house.found(&Filter::default()).await.len(), 0);
}

/// Housekeeping looks through the sessions just when somebody replaces the policy, who has to do the same first: whoever
/// comes second has nothing left to write, and that is no outage.
#[tokio::test]
async fn two_who_look_through_after_a_change_do_not_hinder_each_other() {
    let (house, store) = faulty(Plan::default()).await;
    house.create("ada", &[]).await;
    let idle =
        |minutes| Policy::from(Rules { idle_timeout: Some(Span::minutes(minutes)), ..Rules::default() });
    let caller = house.caller();
    house.app.set_file_policy(None).await;
    good(house.app.replace_policy(&caller, None, idle(20)).await);
    for minutes in 21..30 {
        store.plan(Call::Commit, [Fault::Delay(50)]);
        let (tidied, replaced) =
            tokio::join!(house.app.tidy(), house.app.replace_policy(&caller, None, idle(minutes)));
        good(tidied);
        good(replaced);
        assert_eq!(store.left(), 0);
    }
}
