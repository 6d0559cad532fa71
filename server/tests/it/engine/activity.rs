//! Idle times are exact: no activity that was answered gets lost on its way from the cache into the store, whatever
//! comes in between.

use super::house::{House, Plan, Said, asked, good, is_fault};
use handstamp_core::policy::{Policy, Rules};
use handstamp_core::refusal::Code;
use handstamp_core::time::Span;
use handstamp_server::app::update::Update;
use handstamp_server::store::faulty::{Call, Fault, Faulty, Gate};
use handstamp_server::store::memory::Memory;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use tokio::task::yield_now;

async fn faulty(plan: Plan) -> (House, Arc<Faulty>) {
    let store = Arc::new(Faulty::new(Arc::new(Memory::new())));
    (House::new(store.clone(), plan).await, store)
}

fn extend() -> Update {
    let mut update = Update::default();
    update.patch.add_groups = vec![handstamp_core::tag::Group::parse("staff").ok().unwrap()];
    update
}

/// The bucket changed while the record was loaded, so the cache does not keep it.
#[tokio::test]
async fn activity_of_a_record_that_was_not_kept() {
    let (house, store) = faulty(Plan::idle(Span::secs(10))).await;
    let (_, token) = house.create("ada", &[]).await;
    house.pass(Span(900));
    let gate = Gate::default();
    store.plan(Call::Load, [Fault::Hold(gate.clone())]);
    let asking = tokio::spawn({
        let (house, token) = (house.clone(), token.clone());
        async move { house.validate(&token).await }
    });
    while store.left() > 0 {
        yield_now().await;
    }
    house.create("ada", &[]).await;
    gate.open(1);
    assert_eq!(asking.await.unwrap(), Said::Allowed(None));
    house.pass(Span(9_999));
    assert_eq!(house.validate(&token).await, Said::Allowed(None));
    house.pass(Span(10_000));
    assert_eq!(house.validate(&token).await, Said::Refused(Code::SessionIdle));
}

/// It is written between the moment the store was read and the moment memory was asked.
#[tokio::test]
async fn activity_that_is_written_while_the_record_is_loaded() {
    let (house, store) = faulty(Plan::idle(Span::secs(10))).await;
    let (id, token) = house.create("ada", &[]).await;
    house.pass(Span::secs(2));
    assert_eq!(house.validate(&token).await, Said::Allowed(None));
    // The cache lets go of it, and nothing is written.
    store.plan(Call::Commit, [Fault::Before]);
    assert!(is_fault(&house.update(id, &extend()).await));
    house.pass(Span(9_500));
    store.plan(Call::Load, [Fault::DelayAnswer(100)]);
    let ending = tokio::spawn({
        let house = house.clone();
        async move { house.end(id).await }
    });
    while store.left() > 0 {
        yield_now().await;
    }
    assert_eq!(house.app.flush_activity().await, Ok(1));
    assert!(good(ending.await.unwrap()), "a live session was taken for an idle one");
}

/// The rules became tighter than what the session was made with: what is written early enough follows them.
#[tokio::test]
async fn a_tighter_idle_time_is_kept_over_a_crash() {
    let (house, _) = faulty(Plan::default()).await;
    let (_, token) = house.create("ada", &[]).await;
    let tight = Policy::from(Rules { idle_timeout: Some(Span::secs(10)), ..Rules::default() });
    house.app.set_file_policy(Some(tight.clone())).await;
    house.pass(Span::secs(9));
    assert_eq!(house.validate(&token).await, Said::Allowed(None));
    let house = house.after_crash(Plan { policy: tight, ..Plan::default() }).await;
    house.pass(Span(9_999));
    assert_eq!(house.validate(&token).await, Said::Allowed(None));
}

/// Beyond half of the idle time it is durable before the answer, however short that time is.
#[tokio::test]
async fn the_shortest_idle_time_is_kept_over_a_crash() {
    for idle in [1, 2, 3, 20, 100, 86_400] {
        let idle = Span::secs(idle);
        let plan = Plan::idle(idle);
        let (house, store) = faulty(plan.clone()).await;
        let (_, token) = house.create("ada", &[]).await;
        house.pass(Span(idle.0 / 2 + 1));
        store.plan(Call::Touch, [Fault::Before]);
        assert!(is_fault(&house.try_validate(&token, false, false).await));
        assert_eq!(house.validate(&token).await, Said::Allowed(None));
        let house = house.after_crash(plan).await;
        house.pass(Span(idle.0 - 1));
        assert_eq!(house.validate(&token).await, Said::Allowed(None), "{idle}");
        house.pass(idle);
        assert_eq!(house.validate(&token).await, Said::Refused(Code::SessionIdle));
    }
}

/// A crash forgets no more of it than is promised: a twentieth of the idle time, 1 s at least.
#[tokio::test]
async fn a_crash_forgets_a_twentieth_at_most() {
    let plan = Plan::idle(Span::secs(100));
    let (house, _) = faulty(plan.clone()).await;
    let (_, token) = house.create("ada", &[]).await;
    for _ in 0..12 {
        house.pass(Span::secs(3));
        assert_eq!(house.validate(&token).await, Said::Allowed(None));
        house.app.flush_activity().await.unwrap();
    }
    let house = house.after_crash(plan).await;
    house.pass(Span::secs(94));
    assert_eq!(house.validate(&token).await, Said::Allowed(None));
}

/// Somebody validates while others change the session and the cache is far too small: the last answered activity
/// counts, to the millisecond.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn activity_against_changes_and_evictions() {
    let rounds = if super::full() { 40 } else { 6 };
    for round in 0..rounds {
        let plan = Plan { cache_bytes: 4_096, seed: round, ..Plan::idle(Span::minutes(20)) };
        let (house, _) = faulty(plan).await;
        let (id, token) = house.create("ada", &[]).await;
        let (last, done) = (Arc::new(AtomicI64::new(0)), Arc::new(AtomicBool::new(false)));
        let others: Vec<_> = (0..2)
            .map(|n| {
                let (house, done) = (house.clone(), done.clone());
                tokio::spawn(async move {
                    while !done.load(Ordering::Relaxed) {
                        if n == 0 {
                            good(house.update(id, &extend()).await);
                        } else {
                            house.create("bob", &[]).await;
                            good(house.app.flush_activity().await.map_err(Into::into));
                        }
                    }
                })
            })
            .collect();
        for _ in 0..2_000 {
            house.pass(Span(1));
            assert_eq!(house.validate(&token).await, Said::Allowed(None));
            last.store(house.now().0, Ordering::SeqCst);
            if last.load(Ordering::SeqCst) % 200 == 0 {
                let seen = house.get(id).await.seen.0;
                assert!(seen >= last.load(Ordering::SeqCst), "round {round}: {seen} is before {last:?}");
            }
        }
        done.store(true, Ordering::Relaxed);
        for other in others {
            other.await.unwrap();
        }
        assert_eq!(house.get(id).await.seen, house.now());
        house.app.flush_all_activity(std::time::Duration::from_secs(60)).await.unwrap();
        let after = house.after_crash(Plan::idle(Span::minutes(20))).await;
        assert_eq!(after.get(id).await.seen, house.now());
    }
}

/// A store that cannot be written does not fill the memory with activity.
#[tokio::test]
async fn activity_is_bounded() {
    if !super::full() {
        return;
    }
    let most = handstamp_server::app::activity::MOST;
    let (house, store) = faulty(Plan { cache_bytes: 64 << 20, ..Plan::default() }).await;
    let mut tokens = Vec::new();
    for n in 0..most + 100 {
        let made = good(house.make(asked(&format!("u{n}"), &[])).await);
        tokens.push(made.given.token().unwrap().to_owned());
    }
    house.pass(Span::minutes(5));
    store.plan(Call::Touch, std::iter::repeat_n(Fault::Before, 1_000_000));
    let mut refused = 0;
    for token in &tokens {
        refused += usize::from(house.try_validate(token, false, false).await.is_err());
    }
    assert!(refused > 0);
    assert!(house.app.activity_waiting() <= most + 2, "{}", house.app.activity_waiting());
}

/// A request comes a moment before the idle end, and housekeeping a moment after it: while the activity is on its way
/// into the store, nobody finds the session idle.
#[tokio::test]
async fn activity_on_its_way_into_the_store_counts() {
    let (house, store) = faulty(Plan::idle(Span::secs(60))).await;
    let (id, token) = house.create("ada", &[]).await;
    house.pass(Span(59_999));
    // Somebody else of the bucket changes something, so that the cache keeps nothing of it.
    let (load, touch) = (Gate::default(), Gate::default());
    store.plan(Call::Load, [Fault::Hold(load.clone())]);
    store.plan(Call::Touch, [Fault::Hold(touch.clone())]);
    let asking = tokio::spawn({
        let (house, token) = (house.clone(), token.clone());
        async move { house.validate(&token).await }
    });
    while store.left() > 1 {
        yield_now().await;
    }
    house.create("ada", &[]).await;
    load.open(1);
    while store.left() > 0 {
        yield_now().await;
    }
    house.pass(Span(1));
    let tidying = tokio::spawn({
        let house = house.clone();
        async move { good(house.app.tidy().await) }
    });
    for _ in 0..500 {
        yield_now().await;
    }
    touch.open(1);
    assert_eq!(asking.await.unwrap(), Said::Allowed(None));
    tidying.await.unwrap();
    assert!(house.get(id).await.ended.is_none(), "it was answered, and then found idle since before");
}

/// A session that is used rarely is seen from where it is used, too: its requests are judged in the bucket's turn.
#[tokio::test]
async fn a_rare_request_from_elsewhere_is_remembered() {
    let (house, _) = faulty(Plan::idle(Span::secs(60))).await;
    let (id, token) = house.create("ada", &[]).await;
    house.pass(Span::secs(31));
    let ip = Some([192, 0, 2, 7].into());
    let ask = handstamp_server::app::validate::Ask { token: &token, ip, touch: true, ..Default::default() };
    good(house.app.validate(&house.caller().env, ask).await);
    house.tidy().await;
    assert_eq!(house.get(id).await.session().last_client.as_ref().and_then(|last| last.ip), ip);
}

/// Who comes back after a long silence is asked after in the store once; from then on memory knows again.
#[tokio::test]
async fn after_a_long_silence_memory_answers_again() {
    let (house, store) = faulty(Plan::default()).await;
    let (_, token) = house.create("ada", &[]).await;
    let from_memory = async || {
        store.plan(Call::Load, [Fault::Before]);
        let answered = house.try_validate(&token, false, false).await.is_ok();
        store.forget_plans();
        answered
    };
    assert_eq!(house.validate(&token).await, Said::Allowed(None));
    for _ in 0..3 {
        assert!(from_memory().await);
        house.pass(Span::hours(13));
        assert!(!from_memory().await, "its activity must be durable");
        assert_eq!(house.validate(&token).await, Said::Allowed(None));
    }
    assert!(from_memory().await);
}

/// What waits for a store that cannot be written counts as written for half of the idle time, and no longer.
#[tokio::test]
async fn activity_that_waits_in_vain_is_not_taken_for_written() {
    let (house, store) = faulty(Plan::idle(Span::minutes(20))).await;
    let (_, token) = house.create("ada", &[]).await;
    store.plan(Call::Touch, std::iter::repeat_n(Fault::Before, 12));
    for _ in 0..10 {
        house.pass(Span::minutes(1));
        assert_eq!(house.validate(&token).await, Said::Allowed(None));
        assert!(house.app.flush_activity().await.is_err());
    }
    // What is stored is half of the idle time old; from now on nothing is let in that could be forgotten.
    house.pass(Span(1));
    assert!(is_fault(&house.try_validate(&token, false, false).await));
    assert!(is_fault(&house.try_validate(&token, false, true).await));
    assert_eq!(store.left(), 0);
    assert_eq!(house.validate(&token).await, Said::Allowed(None), "the store can be written again");
    house.pass(Span(20 * 60_000 - 1));
    let again = house.after_crash(Plan::idle(Span::minutes(20))).await;
    assert_eq!(again.validate(&token).await, Said::Allowed(None));
}

/// Activity that was not acknowledged, because it could not be written, does not stand for a written one later.
#[tokio::test]
async fn activity_that_could_not_be_written_is_not_taken_for_written() {
    let (house, store) = faulty(Plan::idle(Span::minutes(20))).await;
    let (id, token) = house.create("ada", &[]).await;
    assert_eq!(house.validate(&token).await, Said::Allowed(None));
    house.pass(Span(10 * 60_000 + 1));
    store.plan(Call::Touch, [Fault::Before]);
    assert!(is_fault(&house.try_validate(&token, false, false).await));
    // The cache lets go of it, and hands on what it knows.
    store.plan(Call::Commit, [Fault::Before]);
    assert!(is_fault(&house.update(id, &extend()).await));
    store.plan(Call::Touch, [Fault::Before]);
    assert!(is_fault(&house.try_validate(&token, false, false).await));
    assert_eq!(house.validate(&token).await, Said::Allowed(None));
    house.pass(Span(20 * 60_000 - 1));
    let again = house.after_crash(Plan::idle(Span::minutes(20))).await;
    assert_eq!(again.validate(&token).await, Said::Allowed(None));
}

/// A store that hangs is one that cannot be written, long before it says so.
#[tokio::test(start_paused = true)]
async fn activity_that_waits_for_a_store_that_hangs_is_not_taken_for_written() {
    let (house, store) = faulty(Plan::idle(Span::minutes(20))).await;
    let (_, token) = house.create("ada", &[]).await;
    house.pass(Span::minutes(1));
    assert_eq!(house.validate(&token).await, Said::Allowed(None));
    let gate = Gate::default();
    store.plan(Call::Touch, [Fault::Hold(gate.clone()), Fault::Before]);
    let flushing = tokio::spawn({
        let house = house.clone();
        async move { house.app.flush_activity().await }
    });
    while store.left() > 1 {
        yield_now().await;
    }
    tokio::time::advance(std::time::Duration::from_secs(2)).await;
    yield_now().await;
    house.pass(Span::minutes(9));
    assert_eq!(house.validate(&token).await, Said::Allowed(None), "what is stored is young enough");
    house.pass(Span(1));
    assert!(is_fault(&house.try_validate(&token, false, false).await));
    gate.open(1);
    assert_eq!(flushing.await.unwrap(), Ok(1));
    // All of it is written now: nobody has to wait for the store any more.
    store.plan(Call::Touch, [Fault::Before]);
    assert_eq!(house.validate(&token).await, Said::Allowed(None));
}

/// More than is written in one call, all of it a minute old.
async fn crowd(house: &House) -> Vec<String> {
    let mut tokens = Vec::new();
    for n in 0..5_000 {
        tokens.push(house.create(&format!("u{n}"), &[]).await.1);
    }
    house.pass(Span::minutes(1));
    for token in &tokens {
        assert_eq!(house.validate(token).await, Said::Allowed(None));
    }
    assert_eq!(house.app.activity_waiting(), 5_000);
    tokens
}

/// Activity may be late until all that waits has been written; that some of it was says nothing of the rest.
#[tokio::test]
async fn activity_that_was_written_in_part_is_late() {
    let plan = Plan { cache_bytes: 64 << 20, ..Plan::idle(Span::minutes(20)) };
    let (house, store) = faulty(plan).await;
    let tokens = crowd(&house).await;
    store.plan(Call::Touch, [Fault::Before]);
    assert!(house.app.flush_activity().await.is_err());
    assert_eq!(house.app.activity_waiting(), 5_000);
    // While the second part is under way its activity can be too old.
    let gate = Gate::default();
    store.plan(Call::Touch, [Fault::None, Fault::Hold(gate.clone())]);
    let flushing = tokio::spawn({
        let house = house.clone();
        async move { house.app.flush_activity().await }
    });
    while store.left() > 0 {
        yield_now().await;
    }
    assert_eq!(house.app.activity_waiting(), 904);
    house.pass(Span(9 * 60_000 + 1));
    store.plan(Call::Touch, std::iter::repeat_n(Fault::Before, 5_000));
    let mut refused = 0;
    for token in &tokens {
        refused += usize::from(is_fault(&house.try_validate(token, false, false).await));
    }
    assert_eq!(refused, 904, "those whose activity waits");
    store.forget_plans();
    gate.open(1);
    assert!(flushing.await.unwrap().is_ok());
}

/// Activity that a commit wrote waits no longer.
#[tokio::test]
async fn activity_that_a_commit_wrote_is_written() {
    let (house, store) = faulty(Plan::idle(Span::minutes(20))).await;
    let (id, token) = house.create("ada", &[]).await;
    house.pass(Span::minutes(1));
    assert_eq!(house.validate(&token).await, Said::Allowed(None));
    store.plan(Call::Touch, [Fault::Before]);
    assert!(house.app.flush_activity().await.is_err());
    house.pass(Span::minutes(1));
    assert_eq!(house.validate(&token).await, Said::Allowed(None));
    good(house.update(id, &extend()).await);
    assert_eq!(house.app.activity_waiting(), 0);
    house.pass(Span(9 * 60_000));
    store.plan(Call::Touch, [Fault::Before]);
    assert_eq!(house.validate(&token).await, Said::Allowed(None));
    assert_eq!(store.left(), 1, "it did not wait for the store");
}
