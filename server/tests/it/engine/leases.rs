//! Leases of seats: what is lost on the way costs a seat for a minute and no longer, who comes too late does not sit, and
//! rules that come and go leave nobody uncounted.

use super::house::{House, Plan, asked, good, of_tag, of_user};
use super::limits::{MODES, faulty, is_refused, most, policy};
use super::seats::{ACME, plan, seats};
use handstamp_core::limit::OnLimit;
use handstamp_core::policy::Policy;
use handstamp_core::tag::Tag;
use handstamp_core::time::Span;
use handstamp_server::app::Stop;
use handstamp_server::codec::seats::{read_seats, seats_key};
use handstamp_server::store::faulty::{Call, Fault, Faulty, Gate};
use tokio::task::{JoinHandle, yield_now};

/// What the ledger bounds, and how many leases it lists.
async fn ledger(house: &House, tag: &str) -> Option<(u32, usize)> {
    let key = seats_key(house.caller().env.record.id, &Tag::parse(tag).unwrap());
    let found = house.store.load(&[key]).await.unwrap().remove(0)?;
    let ledger = read_seats(&found).unwrap();
    Some((ledger.taken, ledger.held.len()))
}
/// A seat costs one write, its lease is no seat of its own, and the list of leases stays short.
#[tokio::test]
async fn leases_of_sessions_that_were_made_are_forgotten() {
    let (house, _) = faulty(plan(10_000, OnLimit::Reject)).await;
    for n in 0..500u32 {
        house.create(&format!("u{n}"), &[ACME]).await;
        let (taken, listed) = ledger(&house, ACME).await.unwrap();
        assert!(taken == n + 1 && listed <= 64, "{taken}, {listed}");
    }
}

async fn held_up(house: &House, store: &Faulty, fault: Fault, of: &str) -> JoinHandle<Result<(), Stop>> {
    // The first commit takes the seat, the second one is to make the session.
    store.plan(Call::Commit, [Fault::None, fault]);
    let (house, of) = (house.clone(), of.to_owned());
    let task = tokio::spawn(async move { house.make(asked(&of, &[ACME])).await.map(drop) });
    while store.left() > 0 {
        assert!(!task.is_finished(), "it ended before it was held up");
        yield_now().await;
    }
    task
}

/// A process that dies between the two costs a seat for a lease, and not a moment longer.
#[tokio::test]
async fn a_crash_costs_a_seat_for_a_lease() {
    for mode in MODES {
        let plan = plan(2, mode);
        let (house, store) = faulty(plan.clone()).await;
        house.create("ada", &[ACME]).await;
        let gate = Gate::default();
        held_up(&house, &store, Fault::Hold(gate), "bob").await.abort();
        let house = house.after_crash(plan).await;
        let made = house.make(asked("cy", &[ACME])).await;
        if mode == OnLimit::Reject {
            assert!(is_refused(&made));
        } else {
            // The other seat is taken by nobody knows whom.
            assert_eq!(good(made).evicted.len(), 1);
        }
        house.pass(Span(59_999));
        assert!(!house.make(asked("dan", &[ACME])).await.is_ok_and(|made| made.evicted.is_empty()));
        house.pass(Span(1));
        assert!(good(house.make(asked("eve", &[ACME])).await).evicted.is_empty());
        assert_eq!(house.found(&of_tag(ACME)).await.len(), 2);
        assert!(!house.make(asked("fay", &[ACME])).await.is_ok_and(|made| made.evicted.is_empty()));
    }
}

/// A commit that takes longer than the lease makes a session that nobody gets: another one may sit there already.
#[tokio::test]
async fn who_comes_too_late_does_not_sit() {
    let (house, store) = faulty(plan(1, OnLimit::Reject)).await;
    let gate = Gate::default();
    let late = held_up(&house, &store, Fault::Hold(gate.clone()), "ada").await;
    assert!(is_refused(&house.make(asked("bob", &[ACME])).await));
    house.pass(Span::secs(60));
    let (bob, _) = house.create("bob", &[ACME]).await;
    gate.open(1);
    assert!(matches!(late.await.unwrap(), Err(Stop::Fault(_))));
    assert_eq!(house.found(&of_tag(ACME)).await, [bob]);
    // In time it does, to the last moment.
    good(house.end(bob).await);
    let gate = Gate::default();
    let late = held_up(&house, &store, Fault::Hold(gate.clone()), "ada").await;
    house.pass(Span(59_999));
    gate.open(1);
    good(late.await.unwrap());
    assert_eq!(house.found(&of_user("ada")).await.len(), 1);
}

/// Who decides so late that the commit might be, does not begin it.
#[tokio::test]
async fn nobody_begins_too_late() {
    let (house, store) = faulty(plan(1, OnLimit::Reject)).await;
    for (pass, made) in [(30_001, false), (30_000, true)] {
        let gate = Gate::default();
        // The user's record is read after the seat was taken.
        store.plan(Call::Load, [Fault::None, Fault::Hold(gate.clone())]);
        let task = tokio::spawn({
            let house = house.clone();
            async move { house.make(asked("ada", &[ACME])).await.map(drop) }
        });
        while store.left() > 0 {
            yield_now().await;
        }
        house.pass(Span(pass));
        gate.open(1);
        assert_eq!(task.await.unwrap().is_ok(), made);
        house.pass(Span::secs(60));
        assert_eq!(house.found(&of_tag(ACME)).await.len(), usize::from(made));
    }
}

/// A refusal gives the seat back at once.
#[tokio::test]
async fn a_refusal_costs_no_seat() {
    let plan = policy(most(1, OnLimit::Reject), &[(ACME, seats(3)), ("role:a", seats(1))]);
    let (house, _) = faulty(plan).await;
    house.create("ada", &[ACME, "role:a"]).await;
    for _ in 0..5 {
        // No room for another session of the user; and a second tag that is full.
        assert!(is_refused(&house.make(asked("ada", &[ACME])).await));
        assert!(is_refused(&house.make(asked("bob", &[ACME, "role:a"])).await));
    }
    house.create("bob", &[ACME]).await;
    house.create("cy", &[ACME]).await;
    assert!(is_refused(&house.make(asked("dan", &[ACME])).await));
}

/// While there is no rule nobody counts; with the rule again, everybody does, on every way that a policy changes.
#[tokio::test]
async fn rules_that_go_and_come_again() {
    let on = || plan(3, OnLimit::Reject).policy;
    let off = || Policy::from(most(10, OnLimit::Reject));
    let (house, _) = faulty(plan(3, OnLimit::Reject)).await;
    house.create("ada", &[ACME]).await;
    house.app.set_file_policy(Some(off())).await;
    for n in 0..2 {
        house.create(&format!("u{n}"), &[ACME]).await;
    }
    house.app.set_file_policy(Some(on())).await;
    assert!(is_refused(&house.make(asked("bob", &[ACME])).await));
    // Over a restart with other rules, and back.
    let without = house.after_crash(Plan { policy: off(), seed: 5, ..Plan::default() }).await;
    let (extra, _) = without.create("u9", &[ACME]).await;
    let house = house.after_crash(Plan { policy: on(), seed: 6, ..Plan::default() }).await;
    good(house.end(extra).await);
    assert!(is_refused(&house.make(asked("bob", &[ACME])).await));
    // More seats, and fewer again than there are.
    house.app.set_file_policy(Some(plan(5, OnLimit::Reject).policy)).await;
    house.create("bob", &[ACME]).await;
    house.create("cy", &[ACME]).await;
    assert!(is_refused(&house.make(asked("dan", &[ACME])).await));
    house.app.set_file_policy(Some(plan(2, OnLimit::EndOldest).policy)).await;
    let made = good(house.make(asked("dan", &[ACME])).await);
    assert_eq!(made.evicted.len(), 4);
    assert_eq!(house.found(&of_tag(ACME)).await.len(), 2);
}

/// Somebody who began before the rule came is counted within a second after it.
#[tokio::test]
async fn who_began_before_the_rule_is_counted() {
    let (house, store) =
        faulty(Plan { policy: Policy::from(most(10, OnLimit::Reject)), ..Plan::default() }).await;
    let gate = Gate::default();
    store.plan(Call::Commit, [Fault::Hold(gate.clone())]);
    let early = tokio::spawn({
        let house = house.clone();
        async move { house.create("ada", &[ACME]).await }
    });
    while store.left() > 0 {
        yield_now().await;
    }
    house.app.set_file_policy(Some(plan(3, OnLimit::Reject).policy)).await;
    house.create("bob", &[ACME]).await;
    gate.open(1);
    early.await.unwrap();
    house.pass(Span::secs(1));
    house.create("cy", &[ACME]).await;
    assert!(is_refused(&house.make(asked("dan", &[ACME])).await));
    assert_eq!(house.found(&of_tag(ACME)).await.len(), 3);
}

/// Nothing of a removed environment is left, its ledgers neither.
#[tokio::test]
async fn ledgers_of_a_removed_environment_go() {
    let (house, _) = faulty(plan(5, OnLimit::Reject)).await;
    let shop = house.environment("shop/prd").await;
    good(house.app.create(&shop, asked("ada", &[ACME])).await);
    let env = shop.env.record.id;
    let key = seats_key(env, &Tag::parse(ACME).unwrap());
    assert!(house.store.load(std::slice::from_ref(&key)).await.unwrap()[0].is_some());
    assert_eq!(ledger(&house, ACME).await, None);
    good(house.app.delete_environment(&house.operator("default/prd"), &shop.env.record.name).await);
    house.pass(Span::minutes(11));
    house.tidy().await;
    house.tidy().await;
    assert!(house.store.load(&[key]).await.unwrap()[0].is_none());
}
