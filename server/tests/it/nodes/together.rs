//! The same session on two nodes at once: one chain, one end, one more session than allowed never.

use super::cluster::Cluster;
use crate::engine::house::{Plan, Said, asked, good, of_user};
use handstamp_core::limit::OnLimit;
use handstamp_core::policy::{Policy, Rules};
use handstamp_core::refusal::Code;
use handstamp_core::time::Span;
use handstamp_server::app::Stop;
use handstamp_server::store::faulty::{Call, Fault};
use std::collections::BTreeSet;
use tokio::task::JoinSet;

/// A rotation on both nodes at once makes one chain, also when answers are slow.
#[tokio::test]
async fn both_nodes_rotate_to_the_same_successor() {
    let plan = Plan::rotating(Span::secs(10), Span::secs(60));
    let (cluster, a, b) = Cluster::pair(plan).await;
    for round in 0..20u32 {
        let (id, mut token) = a.create("ada", &[]).await;
        for generation in 1..4 {
            cluster.pass(Span::secs(10));
            let mut asking = JoinSet::new();
            for n in 0..6 {
                let node = if n % 2 == 0 { a.clone() } else { b.clone() };
                let token = token.clone();
                node.faults.plan(Call::Commit, [Fault::Delay(round % 7), Fault::None, Fault::Delay(3)]);
                asking.spawn(async move { node.rotate(&token).await });
            }
            let said: BTreeSet<String> = asking
                .join_all()
                .await
                .into_iter()
                .map(|said| match said {
                    Said::Allowed(Some(next)) => next,
                    other => panic!("{other:?}"),
                })
                .collect();
            assert_eq!(said.len(), 1, "the chain forked");
            assert_eq!(a.get(id).await.session().chain.generation, generation);
            token = said.into_iter().next().unwrap();
            a.faults.forget_plans();
            b.faults.forget_plans();
            a.keep_up().await;
            b.keep_up().await;
        }
        assert!(good(b.end(id).await));
        a.keep_up().await;
        assert_eq!(a.validate(&token).await, Said::Refused(Code::SessionRevoked));
    }
}

/// A limit is kept to the last session, whoever makes it where.
#[tokio::test]
async fn a_limit_is_one_limit() {
    for mode in [OnLimit::Reject, OnLimit::EndOldest] {
        let policy = Policy::from(Rules { max_sessions: Some(3), on_limit: Some(mode), ..Rules::default() });
        let (_cluster, a, b) = Cluster::pair(Plan { policy, ..Plan::default() }).await;
        let mut making = JoinSet::new();
        for n in 0..24 {
            let node = if n % 2 == 0 { a.clone() } else { b.clone() };
            making.spawn(async move { node.make(asked("ada", &[])).await.map(drop) });
        }
        let made = making.join_all().await;
        let refused = made.iter().filter(|made| matches!(made, Err(Stop::Refused(_)))).count();
        assert!(made.iter().all(|made| !matches!(made, Err(Stop::Fault(_)))), "{mode:?}");
        assert_eq!(refused, if mode == OnLimit::Reject { 21 } else { 0 });
        for node in [&a, &b] {
            assert_eq!(node.found(&of_user("ada")).await.len(), 3);
        }
        assert_eq!(a.tally("live").await, 3);
    }
}

/// One end, of which one node says that it did it.
#[tokio::test]
async fn one_of_two_ends_it() {
    let (_cluster, a, b) = Cluster::pair(Plan::default()).await;
    for _ in 0..20 {
        let (id, token) = a.create("ada", &[]).await;
        let (one, two) = tokio::join!(a.end(id), b.end(id));
        assert!(good(one) ^ good(two));
        for node in [&a, &b] {
            node.keep_up().await;
            assert_eq!(node.validate(&token).await, Said::Refused(Code::SessionRevoked));
        }
        assert_eq!(a.tally("live").await, 0);
    }
}
