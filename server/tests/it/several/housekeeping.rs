//! One node keeps house for all; another one takes over when it is gone, and nothing is lost or done twice.

use super::fleet::{Fleet, until};
use crate::engine::house::{House, Plan, good, in_state, of_tag, of_user, user};
use handstamp_core::event::EventKind;
use handstamp_core::id::SessionId;
use handstamp_core::lease;
use handstamp_core::time::Span;
use handstamp_server::app::end::Target;
use handstamp_server::app::history::Wanted;
use handstamp_server::app::keeper::is_kept;
use handstamp_server::app::search::Which;
use std::time::Duration;
use tokio::sync::watch;

fn keepers(fleet: &Fleet) -> Vec<usize> {
    (0..fleet.nodes().len()).filter(|node| fleet[*node].app.is_keeper()).collect()
}

async fn round(fleet: &Fleet) {
    for node in fleet.nodes() {
        good(node.app.tidy().await);
    }
}

/// How often history says that a session ended.
async fn ends(node: &House, id: SessionId) -> usize {
    let wanted = Wanted { kind: Some(EventKind::Ended), ..Wanted::default() };
    let lines = good(node.app.history(&node.caller(), &wanted, None, 1_000).await).lines;
    lines.iter().filter(|line| line.event.session == Some(id)).count()
}

#[tokio::test]
async fn one_keeps_house_and_the_next_one_takes_over() {
    let fleet = Fleet::new(3, Plan::idle(Span::secs(60))).await;
    for _ in 0..20 {
        round(&fleet).await;
        assert_eq!(keepers(&fleet), [0]);
        fleet.pass(Span::secs(1));
    }
    let (id, _) = fleet[1].create("ada", &[]).await;
    fleet.pass(Span::secs(60));
    // The first one is gone. Its lease of a minute ago is over.
    good(fleet[2].app.tidy().await);
    good(fleet[1].app.tidy().await);
    assert!(fleet[2].app.is_keeper() && !fleet[1].app.is_keeper());
    assert_eq!(ends(&fleet[1], id).await, 1);
    // It was frozen, and comes back.
    round(&fleet).await;
    assert_eq!(keepers(&fleet), [2]);
    assert_eq!(ends(&fleet[0], id).await, 1);
    assert!(is_kept(&*fleet[0].store, fleet[0].now()).await.unwrap());
    fleet.pass(lease::LENGTH);
    assert!(!is_kept(&*fleet[0].store, fleet[0].now()).await.unwrap());
}

/// All at once, with and without the lease, while sessions end by time and by epochs: each end is written once.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn ends_are_written_once_whoever_writes_them() {
    let fleet = Fleet::new(3, Plan::idle(Span::secs(60)).roomy()).await;
    let mut ids = Vec::new();
    for n in 0..90 {
        ids.push(fleet[n % 3].create(&format!("u{n}"), if n % 3 == 0 { &["org:acme"] } else { &[] }).await.0);
    }
    good(fleet[1].revoke(Target::Filter(of_tag("org:acme")), None).await);
    fleet.meet().await;
    fleet.pass(Span::secs(60));
    // The lease is over: three want it at once, and a search settles on any node, too.
    let (a, b, c) = tokio::join!(fleet[0].app.tidy(), fleet[1].app.tidy(), fleet[2].app.tidy());
    for outcome in [a, b, c] {
        good(outcome);
    }
    fleet[1].found(&in_state(Which::Ended, of_user("u5"))).await;
    round(&fleet).await;
    assert_eq!(keepers(&fleet).len(), 1);
    for id in ids {
        assert_eq!(ends(&fleet[0], id).await, 1, "{id}");
    }
    assert_eq!(fleet[2].tally("live").await, 0);
}

/// A raise on a node that does not keep house is settled by the one that does, soon.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_node_raises_another_one_settles() {
    let fleet = Fleet::new(2, Plan::default()).await;
    round(&fleet).await;
    let (id, _) = fleet[0].create("ada", &["org:acme"]).await;
    let (stop, stopped) = watch::channel(false);
    let keeping = tokio::spawn({
        let app = fleet[0].app.clone();
        async move { app.keep_house(stopped).await }
    });
    good(fleet[1].revoke(Target::Filter(of_tag("org:acme")), None).await);
    until("the end is written", || async { ends(&fleet[1], id).await == 1 }).await;
    until("it is noted", || async {
        let env = fleet[1].app.all_environments().remove(0);
        env.ledger.raised.iter().all(|raised| raised.settled)
    })
    .await;
    // Who stops in good order leaves the house to others at once.
    let _ = stop.send(true);
    tokio::time::timeout(Duration::from_secs(10), keeping).await.unwrap().unwrap();
    good(fleet[1].app.tidy().await);
    assert_eq!(keepers(&fleet), [1]);
}

/// A session is made by rules of before while another node looks all of them through under tighter ones: it is found later.
#[tokio::test]
async fn what_is_made_while_rules_change_is_looked_at_in_time() {
    use handstamp_core::policy::{Policy, Rules};
    use handstamp_server::store::faulty::{Call, Fault, Gate};
    let mut fleet = Fleet::new(0, Plan { said: true, ..Plan::default() }).await;
    let slow = fleet.join_behind().await;
    fleet.join().await;
    good(fleet[1].app.tidy().await);
    let gate = Gate::default();
    slow.plan(Call::Commit, [Fault::Hold(gate.clone())]);
    let begun = tokio::spawn({
        let node = fleet[0].clone();
        async move { node.create("ada", &[]).await.0 }
    });
    while slow.left() > 0 {
        tokio::task::yield_now().await;
    }
    let tighter = Policy::from(Rules { idle_timeout: Some(Span::secs(60)), ..Rules::default() });
    good(fleet[1].app.replace_policy(&fleet[1].caller(), None, tighter).await);
    good(fleet[1].app.tidy().await);
    gate.open(1);
    let id = begun.await.unwrap();
    fleet.pass(Span::secs(60));
    good(fleet[1].app.tidy().await);
    assert_eq!(ends(&fleet[0], id).await, 1);
}

/// The keeper hears nothing of the others: it looks for itself what was ended at once.
#[tokio::test]
async fn a_keeper_that_hears_nothing_settles_what_others_raise() {
    let fleet = Fleet::new(2, Plan::default()).await;
    round(&fleet).await;
    assert_eq!(keepers(&fleet), [0]);
    let (id, _) = fleet[1].create("ada", &["org:acme"]).await;
    fleet.meet().await;
    fleet.ear(0).cut();
    fleet.pass(Span::secs(1));
    good(fleet[1].revoke(Target::Filter(of_tag("org:acme")), None).await);
    good(fleet[0].app.tidy().await);
    assert_eq!(ends(&fleet[1], id).await, 1);
}

/// The keeper's store goes away under it in the middle of a round, at every step: what it had begun is done by the next one.
#[tokio::test]
async fn a_keeper_may_be_lost_in_the_middle() {
    use handstamp_server::store::faulty::{Call, Fault, Faulty};
    use std::sync::Arc;
    for step in 0..12usize {
        let fleet = Fleet::new(2, Plan::idle(Span::secs(60)).roomy()).await;
        let faulty = Arc::new(Faulty::new(Arc::new(fleet.ear(0).node())));
        let first = House::at(
            faulty.clone(),
            fleet.clock.clone(),
            Plan { seed: 5, ..Plan::idle(Span::secs(60)).roomy() },
        )
        .await;
        let mut ids = Vec::new();
        for n in 0..6 {
            ids.push(fleet[1].create(&format!("u{n}"), if n % 2 == 0 { &["org:acme"] } else { &[] }).await.0);
        }
        good(fleet[1].revoke(Target::Filter(of_tag("org:acme")), None).await);
        fleet.pass(Span::secs(60));
        let lost = (0..200).map(|n| match n {
            n if n < step => Fault::None,
            n if n == step => Fault::LoseAnswer,
            _ => Fault::Before,
        });
        faulty.plan(Call::Commit, lost);
        let _ = first.app.tidy().await;
        faulty.forget_plans();
        drop(first);
        fleet.pass(lease::LENGTH);
        round(&fleet).await;
        round(&fleet).await;
        for id in ids {
            assert_eq!(ends(&fleet[0], id).await, 1, "lost at {step}");
        }
        assert_eq!(fleet[0].tally("live").await, 0);
    }
}

/// A store that is scrubbed for as long as it is large keeps no other housekeeping waiting.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_waits_for_a_long_scrub() {
    use handstamp_server::store::faulty::{Call, Fault, Gate};
    let mut fleet = Fleet::new(0, Plan::default()).await;
    let faulty = fleet.join_behind().await;
    fleet.join().await;
    round(&fleet).await;
    assert_eq!(keepers(&fleet), [0]);
    good(fleet[1].app.erase(&fleet[1].caller(), &user("nobody")).await);
    let gate = Gate::default();
    faulty.plan(Call::Scrub, [Fault::Hold(gate.clone())]);
    let (stop, stopped) = watch::channel(false);
    let keeping = tokio::spawn({
        let app = fleet[0].app.clone();
        async move { app.keep_house(stopped).await }
    });
    until("the scrub begins", || async { faulty.left() == 0 }).await;
    let (id, _) = fleet[0].create("ada", &["org:acme"]).await;
    good(fleet[1].revoke(Target::Filter(of_tag("org:acme")), None).await);
    until("the end is written", || async { ends(&fleet[1], id).await == 1 }).await;
    gate.open(1);
    let _ = stop.send(true);
    tokio::time::timeout(Duration::from_secs(10), keeping).await.unwrap().unwrap();
}
