//! One accident each, staged: answers that are lost, callers that go away, changes that come half-way.

use super::house::{Detached, Gate2, House, Plan, Said, asked, good, in_state, is_fault, of_user, why};
use crate::front::Fronted;
use handstamp_core::refusal::Code;
use handstamp_core::time::Span;
use handstamp_server::app::Stop;
use handstamp_server::app::end::Target;
use handstamp_server::app::keys::NewKey;
use handstamp_server::app::search::{Filter, Which};
use handstamp_server::app::spared::Except;
use handstamp_server::store::faulty::{Call, Fault, Faulty, Gate};
use handstamp_server::store::memory::Memory;
use std::sync::Arc;
use tokio::task::{JoinHandle, yield_now};

/// A house whose commits can be held up on their way; they go on without their callers.
async fn detached() -> (House, Gate2) {
    let gate = Gate2::default();
    let store =
        Fronted(Detached { inner: Arc::new(Memory::new()), gate: gate.clone(), conflicts: Arc::default() });
    (House::new(Arc::new(store), Plan::default()).await, gate)
}

async fn faulty(plan: Plan) -> (House, Arc<Faulty>) {
    let store = Arc::new(Faulty::new(Arc::new(Memory::new())));
    (House::new(store.clone(), plan).await, store)
}

async fn settle() {
    for _ in 0..200 {
        yield_now().await;
    }
}

/// Lets the commit of a task reach the store, and then the task's caller goes away.
async fn leave<T>(task: JoinHandle<T>) {
    settle().await;
    task.abort();
    assert!(task.await.is_err());
}

/// A logout is on its way to the store when its caller goes away. A validation reads the record before the commit is
/// there. Afterwards the store says "ended", and so must every verdict.
#[tokio::test]
async fn a_caller_that_goes_away_leaves_no_old_record_in_the_cache() {
    let (house, gate) = detached().await;
    let (id, token) = house.create("ada", &[]).await;
    let held: Gate = gate.shut();
    let ending = tokio::spawn({
        let house = house.clone();
        async move { house.end(id).await.is_ok() }
    });
    settle().await;
    assert_eq!(house.validate(&token).await, Said::Allowed(None));
    held.open(1);
    leave_after_commit(&house, ending, id).await;
    gate.stay_open();
    assert_eq!(house.validate(&token).await, Said::Refused(Code::SessionRevoked));
}

/// The commit goes through, and in that very moment the caller goes away.
async fn leave_after_commit(house: &House, task: JoinHandle<bool>, id: handstamp_core::id::SessionId) {
    // Nobody but the store is asked, for a read through the service would run the task on.
    task.abort();
    let _ = task.await;
    for _ in 0..10_000 {
        if house.get(id).await.ended.is_some() {
            settle().await;
            return;
        }
        yield_now().await;
    }
    panic!("the commit did not go on without its caller");
}

/// A change of the control records goes on, too, and memory follows it.
#[tokio::test]
async fn a_caller_that_goes_away_leaves_no_old_control_records() {
    let (house, gate) = detached().await;
    let (_, token) = house.create("ada", &[]).await;
    let held = gate.shut();
    leave(tokio::spawn({
        let house = house.clone();
        async move { house.revoke(Target::Everybody, None).await.is_ok() }
    }))
    .await;
    held.open(1);
    settle().await;
    gate.stay_open();
    assert_eq!(house.validate(&token).await, Said::Refused(Code::SessionRevoked));
    let (_, later) = house.create("ada", &[]).await;
    good(house.revoke(Target::Everybody, None).await);
    assert_eq!(house.validate(&later).await, Said::Refused(Code::SessionRevoked));
}

/// The store did it and its answer was lost: the next change must not fail for ever.
#[tokio::test]
async fn a_lost_answer_to_a_control_change_is_found_out() {
    for call in ["raise", "key", "environment"] {
        let (house, store) = faulty(Plan::default()).await;
        let (_, token) = house.create("ada", &[]).await;
        store.plan(Call::Commit, [Fault::LoseAnswer]);
        for attempt in 0..3 {
            let outcome = match call {
                "raise" => house.revoke(Target::Everybody, None).await.map(drop),
                "key" => house.app.create_key(&house.caller(), new_key()).await.map(drop),
                _ => {
                    let name = handstamp_core::environment::EnvironmentName::parse("shop/prd").unwrap();
                    match house.app.create_environment(&house.operator("default/prd"), name).await {
                        Err(Stop::Refused(why)) if attempt == 1 => {
                            assert_eq!(why.refusal.code, Code::AlreadyExists);
                            break;
                        }
                        other => other.map(drop),
                    }
                }
            };
            assert_eq!(
                outcome.is_ok(),
                attempt > 0,
                "{call} {attempt}: {:?}",
                outcome.err().as_ref().map(why)
            );
        }
        let keys = house.app.keys(&house.caller()).ok().unwrap().len();
        assert_eq!(keys, if call == "key" { 4 } else { 1 });
        let expected =
            if call == "raise" { Said::Refused(Code::SessionRevoked) } else { Said::Allowed(None) };
        assert_eq!(house.validate(&token).await, expected);
    }
}

fn new_key() -> NewKey {
    NewKey {
        name: "another".to_owned(),
        scopes: Vec::new(),
        expires_in: None,
        operator: false,
        publishable: false,
        rate_limit: None,
    }
}

/// A creation that was decided before a raise reaches the store when everybody whom the raise ended is written down, and
/// its answer is lost: its end is written down all the same, and it is not counted as alive.
#[tokio::test]
async fn a_lost_answer_of_an_overtaken_creation_is_looked_at_again() {
    let slow = Arc::new(Faulty::new(Arc::new(Memory::new())));
    let store = Arc::new(Faulty::new(slow.clone()));
    let house = House::new(store.clone(), Plan::default()).await;
    let gate = Gate::default();
    slow.plan(Call::Commit, [Fault::Hold(gate.clone())]);
    store.plan(Call::Commit, [Fault::LoseAnswer]);
    let creating = tokio::spawn({
        let house = house.clone();
        async move { house.make(asked("ada", &["a:b"])).await.map(drop) }
    });
    settle().await;
    assert_eq!((slow.left(), store.left()), (0, 0), "it is on its way");
    good(house.revoke(Target::Filter(super::house::of_tag("a:b")), None).await);
    house.tidy().await;
    gate.open(1);
    assert!(is_fault(&creating.await.unwrap()));
    assert_eq!(house.tally("live").await, 1, "it is there, and nobody has written its end down");
    house.tidy().await;
    assert_eq!(house.tally("live").await, 0);
}

/// "All but this one" fails half-way: the one is not spared by the next "all".
#[tokio::test]
async fn who_was_to_be_spared_is_not_spared_by_the_next() {
    for nth in 0..3 {
        for accident in [Fault::Before, Fault::LoseAnswer] {
            let (house, store) = faulty(Plan::default()).await;
            let (id, token) = house.create("ada", &["a:b"]).await;
            let (_, other) = house.create("bob", &["a:b"]).await;
            let plan = std::iter::repeat_n(Fault::None, nth).chain([accident.clone()]);
            store.plan(Call::Commit, plan);
            let outcome = house.revoke(Target::Everybody, Some(Except::Among(id.to_string()))).await;
            assert!(is_fault(&outcome) || store.left() > 0, "the accident did not come");
            assert_eq!(house.validate(&token).await, Said::Allowed(None));
            let house = if nth == 1 { house.after_crash(Plan::default()).await } else { house };
            store.plan(Call::Commit, std::iter::repeat_n(Fault::None, store.left()));
            good(house.revoke(Target::Everybody, None).await);
            assert_eq!(
                house.validate(&token).await,
                Said::Refused(Code::SessionRevoked),
                "{nth} {accident:?}"
            );
            assert_eq!(house.validate(&other).await, Said::Refused(Code::SessionRevoked));
        }
    }
}

/// And when it does not fail, it is spared, and nobody else; also not whoever comes while it is done.
#[tokio::test]
async fn all_but_one() {
    let (house, _) = faulty(Plan::default()).await;
    for _ in 0..3 {
        let (id, token) = house.create("ada", &["a:b"]).await;
        let (_, other) = house.create("ada", &["a:b"]).await;
        let fault = house
            .revoke(Target::Filter(super::house::of_tag("a:b")), Some(Except::Among(id.to_string())))
            .await;
        good(fault);
        assert_eq!(house.validate(&token).await, Said::Allowed(None));
        assert_eq!(house.validate(&other).await, Said::Refused(Code::SessionRevoked));
        house.tidy().await;
        assert_eq!(house.validate(&token).await, Said::Allowed(None));
        good(house.revoke(Target::Everybody, None).await);
        assert_eq!(house.validate(&token).await, Said::Refused(Code::SessionRevoked));
    }
}

/// A creation was decided before a raise and is committed after everything it ended was written down.
#[tokio::test]
async fn a_slow_creation_does_not_outlive_what_ended_it() {
    let (house, gate) = detached().await;
    let held = gate.shut();
    let creating = tokio::spawn({
        let house = house.clone();
        async move { house.create("ada", &["a:b"]).await }
    });
    settle().await;
    gate.stay_open();
    good(house.revoke(Target::Everybody, None).await);
    house.tidy().await;
    held.open(1);
    let (_, token) = creating.await.unwrap();
    house.tidy().await;
    house.pass(Span::hours(1));
    // The raise is long settled and need not be remembered.
    good(house.revoke(Target::Filter(super::house::of_tag("x:y")), None).await);
    house.tidy().await;
    house.pass(Span::hours(1));
    good(house.revoke(Target::Filter(super::house::of_tag("x:y")), None).await);
    assert_eq!(house.validate(&token).await, Said::Refused(Code::SessionRevoked));
    assert_eq!(house.tally("live").await, 0);
    assert_eq!(house.found(&in_state(Which::Ended, Filter::default())).await.len(), 1);
    let raised = &house.caller().env.ledger.raised;
    assert!(raised.len() <= 2, "{} raises are remembered", raised.len());
}

/// A name of an idempotency key is used anew after a day, also when others are at it.
#[tokio::test]
async fn an_idempotency_key_that_is_over_can_be_used_again() {
    let (house, store) = faulty(Plan::default()).await;
    let ask = || {
        let mut ask = asked("ada", &[]);
        ask.idempotency = Some(("once".to_owned(), vec![3; 32].into()));
        ask
    };
    let first = good(house.make(ask()).await);
    assert_eq!(good(house.make(ask()).await).view.session().id, first.view.session().id);
    house.pass(Span::hours(24));
    store.plan(Call::Commit, [Fault::Conflict]);
    let again = good(house.make(ask()).await);
    assert_ne!(again.view.session().id, first.view.session().id);
    assert_eq!(good(house.make(ask()).await).view.session().id, again.view.session().id);
    assert_eq!(house.found(&of_user("ada")).await.len(), 1);
}

/// What an epoch has ended is listed as ended before anybody wrote it down, and paging goes on when it is.
#[tokio::test]
async fn a_raise_is_seen_by_every_list_at_once() {
    let (house, _) = faulty(Plan::default()).await;
    for n in 0..120 {
        house.create(&format!("u{n}"), &["a:b"]).await;
    }
    good(house.revoke(Target::Filter(super::house::of_tag("a:b")), None).await);
    for filter in [Filter::default(), super::house::of_tag("a:b")] {
        assert_eq!(house.found(&filter).await.len(), 0);
        assert_eq!(house.found(&in_state(Which::Ended, filter.clone())).await.len(), 120);
        assert_eq!(house.found(&in_state(Which::All, filter)).await.len(), 120);
    }
    let ended = in_state(Which::Ended, Filter { code: Some(Code::SessionRevoked), ..Filter::default() });
    let page = good(house.app.search(&house.caller(), &ended, 50, None).await);
    house.tidy().await;
    let mut seen = page.items.len();
    let mut cursor = page.next;
    while let Some(text) = cursor {
        let page = good(house.app.search(&house.caller(), &ended, 50, Some(&text)).await);
        seen += page.items.len();
        cursor = page.next;
    }
    assert_eq!(seen, 120);
}

/// A caller that was recognised before a raise and asks after it is told what is true now.
#[tokio::test]
async fn a_verdict_is_of_the_moment_it_is_given() {
    let (house, _) = faulty(Plan::default()).await;
    let (_, token) = house.create("ada", &[]).await;
    assert_eq!(house.validate(&token).await, Said::Allowed(None));
    let caller = house.caller();
    good(house.revoke(Target::Everybody, None).await);
    let ask = handstamp_server::app::validate::Ask { token: &token, touch: true, ..Default::default() };
    let answer = good(house.app.validate(&caller.env, ask).await);
    assert!(matches!(answer, handstamp_server::app::validate::Validated::Refused { .. }));
}

/// The store is slow: who is over by the time it answers is over.
#[tokio::test]
async fn a_slow_load_does_not_stop_the_clock() {
    let (house, store) = faulty(Plan::idle(Span::secs(60))).await;
    let (_, token) = house.create("ada", &[]).await;
    let gate = Gate::default();
    store.plan(Call::Load, [Fault::Hold(gate.clone())]);
    let asking = tokio::spawn({
        let (house, token) = (house.clone(), token.clone());
        async move { house.validate(&token).await }
    });
    settle().await;
    house.pass(Span::secs(61));
    gate.open(1);
    assert_eq!(asking.await.unwrap(), Said::Refused(Code::SessionIdle));
}

/// Inside a node a crowd on one user queues: nobody's work is done twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_crowd_on_one_user_makes_no_conflicts() {
    let conflicts = Arc::default();
    let store = Fronted(Detached {
        inner: Arc::new(Memory::new()),
        gate: Gate2::default(),
        conflicts: Arc::clone(&conflicts),
    });
    let plan = Plan::rotating(Span::secs(10), Span::secs(10)).roomy();
    let house = House::new(Arc::new(store), plan).await;
    let (id, token) = house.create("ada", &[]).await;
    house.pass(Span::secs(10));
    let mut crowd = tokio::task::JoinSet::new();
    for n in 0..200 {
        let (house, token) = (house.clone(), token.clone());
        crowd.spawn(async move {
            match n % 4 {
                0 => drop(house.create("ada", &[]).await),
                1 => drop(good(house.end(house.create("ada", &[]).await.0).await)),
                2 => drop(house.rotate(&token).await),
                _ => {
                    let mut update = handstamp_server::app::update::Update::default();
                    update.patch.add_tags = super::house::tags(&["a:b"]);
                    good(house.update(id, &update).await);
                }
            }
        });
    }
    crowd.join_all().await;
    let conflicts: u32 = conflicts.load(std::sync::atomic::Ordering::Relaxed);
    assert_eq!(conflicts, 0);
}

/// The disk is full: what time has ended is listed as ended all the same, though nobody can write that down.
#[tokio::test]
async fn what_cannot_be_written_down_is_listed_rightly() {
    let (house, store) = faulty(Plan::idle(Span::secs(60))).await;
    house.tidy().await;
    for n in 0..20 {
        house.create(&format!("u{n}"), &[]).await;
    }
    house.pass(Span::secs(60));
    store.plan(Call::Commit, std::iter::repeat_n(Fault::Before, 500));
    assert_eq!(house.found(&in_state(Which::Ended, Filter::default())).await.len(), 20);
    assert_eq!(house.found(&in_state(Which::Ended, of_user("u3"))).await.len(), 1);
    let (count, _) = good(house.app.count(&house.caller(), &in_state(Which::Ended, Filter::default())).await);
    assert_eq!(count, 20);
    assert_eq!(house.found(&Filter::default()).await.len(), 0);
}
