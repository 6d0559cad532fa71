//! Never one session too many, whichever nodes are asked at once.

use super::fleet::Fleet;
use crate::engine::house::{House, Plan, asked, good, of_tag, of_user};
use crate::engine::limits::{MODES, Watcher, is_refused, most, policy};
use crate::engine::seats::{ACME, plan};
use handstamp_core::limit::OnLimit;
use handstamp_core::time::Span;
use handstamp_server::app::Stop;
use handstamp_server::app::create::Made;
use std::sync::Arc;
use tokio::task::JoinSet;

/// So many creations, spread over all nodes at once.
async fn crowd(
    fleet: &Fleet,
    count: usize,
    of: impl Fn(usize) -> (String, Vec<&'static str>),
) -> Vec<Result<Made, Stop>> {
    let mut crowd = JoinSet::new();
    for n in 0..count {
        let (node, (user, tags)) = (fleet[n % fleet.nodes().len()].clone(), of(n));
        crowd.spawn(async move { node.make(asked(&user, &tags)).await });
    }
    crowd.join_all().await
}

async fn eyes(fleet: &Fleet) -> House {
    House::at(Arc::new(fleet.ear(0).node()), fleet.clock.clone(), Plan { seed: 4_711, ..Plan::default() })
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn seats_are_exact_over_nodes() {
    for mode in MODES {
        let plan = plan(20, mode);
        let fleet = Fleet::new(3, plan.clone()).await;
        let eyes = eyes(&fleet).await;
        let watcher = Watcher::new(&eyes, Arc::new(fleet.ear(0).node()), plan, of_tag(ACME), 20).await;
        let outcomes = crowd(&fleet, 200, |n| (format!("u{n}"), vec![ACME])).await;
        watcher.looked().await;
        let made = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
        assert_eq!(made, if mode == OnLimit::Reject { 20 } else { 200 }, "{mode}");
        assert!(outcomes.iter().all(|outcome| outcome.is_ok() || is_refused(outcome)));
        for node in fleet.nodes() {
            assert_eq!(node.found(&of_tag(ACME)).await.len(), 20, "{mode}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn limits_of_one_user_are_exact_over_nodes() {
    for mode in MODES {
        let plan = policy(most(5, mode), &[]);
        let fleet = Fleet::new(3, plan.clone()).await;
        let eyes = eyes(&fleet).await;
        let watcher = Watcher::new(&eyes, Arc::new(fleet.ear(0).node()), plan, of_user("ada"), 5).await;
        let outcomes = crowd(&fleet, 100, |_| ("ada".to_owned(), vec![])).await;
        watcher.looked().await;
        for outcome in &outcomes {
            assert!(outcome.is_ok() || (mode == OnLimit::Reject && is_refused(outcome)));
        }
        assert_eq!(fleet[1].found(&of_user("ada")).await.len(), 5, "{mode}");
        let made = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
        assert_eq!(made, if mode == OnLimit::Reject { 5 } else { 100 }, "{mode}");
    }
}

/// A node acts by rules of before until it hears of new ones, or its file is read again. What it makes until then is counted
/// by the others within the minute after the change, also on a node that has just started, and by itself as soon as it changes.
#[tokio::test]
async fn who_learns_of_a_rule_later_is_counted() {
    // Without the rule, and with it.
    let (before, after) = (policy(most(10, OnLimit::Reject), &[]), plan(3, OnLimit::Reject));
    let mut fleet = Fleet::new(0, after.clone()).await;
    for plan in [&after, &before, &after] {
        fleet.join_with(plan.clone()).await;
    }
    fleet[0].create("ada", &[ACME]).await;
    fleet[2].create("bob", &[ACME]).await;
    fleet.pass(Span::secs(1));
    // Nobody sees these two sit down.
    fleet[1].create("cy", &[ACME]).await;
    assert!(is_refused(&fleet[2].make(asked("dan", &[ACME])).await), "counted again within the minute");
    fleet[1].create("eve", &[ACME]).await;
    fleet.pass(Span::secs(120));
    // Later: it has the rule, too, from its file.
    good(fleet[0].end(fleet[0].found(&of_user("ada")).await[0]).await);
    good(fleet[0].end(fleet[0].found(&of_user("bob")).await[0]).await);
    fleet[0].create("gus", &[ACME]).await;
    fleet[1].create("hal", &[ACME]).await;
    fleet[1].create("ian", &[ACME]).await;
    fleet[1].app.set_file_policy(Some(after.policy.clone())).await;
    assert!(is_refused(&fleet[1].make(asked("joe", &[ACME])).await));
    assert!(is_refused(&fleet[0].make(asked("joe", &[ACME])).await), "what it counted, all know");
}

/// A seat that was taken in turn by several nodes is counted once by each, and not with every change of hands.
#[tokio::test]
async fn nodes_that_take_turns_do_not_count_again() {
    use handstamp_server::store::faulty::{Call, Fault};
    let plan = plan(1_000, OnLimit::Reject);
    let mut fleet = Fleet::new(0, plan).await;
    let mut looks = Vec::new();
    for _ in 0..2 {
        looks.push(fleet.join_behind().await);
    }
    for n in 0..4usize {
        fleet[n % 2].create(&format!("early{n}"), &[ACME]).await;
    }
    // The minute after a start, in which it is counted again.
    fleet.pass(Span::secs(62));
    for n in 0..4usize {
        fleet[n % 2].create(&format!("warm{n}"), &[ACME]).await;
    }
    for store in &looks {
        store.plan(Call::Search, (0..1_000).map(|_| Fault::None));
    }
    for n in 0..40usize {
        fleet[n % 2].create(&format!("u{n}"), &[ACME]).await;
    }
    for store in &looks {
        assert_eq!(store.left(), 1_000, "nobody counted");
    }
}

/// A node counts and finds more than the ledger knows. What it counted is written down also where nobody gets a seat: another
/// node that trusts the ledger would give one away.
#[tokio::test]
async fn who_finds_none_free_tells_the_others() {
    let (before, after) = (policy(most(10, OnLimit::Reject), &[]), plan(5, OnLimit::Reject));
    let mut fleet = Fleet::new(0, after.clone()).await;
    fleet.join().await;
    fleet.join_with(before).await;
    fleet.pass(Span::secs(120));
    fleet[0].create("ada", &[ACME]).await;
    for user in ["bob", "cy", "dan", "eve"] {
        fleet[1].create(user, &[ACME]).await;
    }
    fleet[1].app.set_file_policy(Some(after.policy.clone())).await;
    for node in [1, 0] {
        assert!(is_refused(&fleet[node].make(asked("fay", &[ACME])).await), "node {node}");
    }
}

/// A node gets a rule of seats late, and takes no seat itself. The others count what it made before, and, a minute later, what it
/// had begun to make before.
#[tokio::test]
async fn what_was_made_and_begun_without_a_rule_is_counted_by_the_others() {
    use handstamp_server::store::faulty::{Call, Fault, Gate};
    let (before, after) = (policy(most(10, OnLimit::Reject), &[]), plan(5, OnLimit::Reject));
    let mut fleet = Fleet::new(0, before).await;
    let late = fleet.join_behind().await;
    fleet.join_with(after.clone()).await;
    fleet.pass(Span::secs(120));
    for user in ["ada", "zoe"] {
        fleet[1].create(user, &[ACME]).await;
        // The minute after it first looked, in which it is counted again.
        fleet.pass(Span::secs(62));
    }
    fleet[0].create("bob", &[ACME]).await;
    let gate = Gate::default();
    late.plan(Call::Commit, [Fault::Hold(gate.clone())]);
    let begun = tokio::spawn({
        let node = fleet[0].clone();
        async move { node.create("dan", &[ACME]).await }
    });
    while late.left() > 0 {
        tokio::task::yield_now().await;
    }
    fleet[0].app.set_file_policy(Some(after.policy.clone())).await;
    good(fleet[0].app.tidy().await);
    // Three are counted: who did not would take this one for the third.
    fleet[1].create("eve", &[ACME]).await;
    gate.open(1);
    begun.await.unwrap();
    fleet.pass(Span::secs(60));
    good(fleet[0].app.tidy().await);
    assert!(is_refused(&fleet[1].make(asked("fay", &[ACME])).await), "five sit");
    assert_eq!(fleet[1].found(&of_tag(ACME)).await.len(), 5);
}
