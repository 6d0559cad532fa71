//! Rate limits over several nodes: what was spent with one counts with all, within a second, and only once.

use super::fleet::{Fleet, until};
use crate::engine::house::{House, Plan};
use handstamp_core::id::SessionId;
use handstamp_core::policy::modes::Rate;
use handstamp_core::policy::setting::Budget;
use handstamp_core::policy::{Policy, Rules};
use handstamp_core::time::Span;
use handstamp_server::app::rates::Spent;
use handstamp_server::app::rates::shared::{MESSAGES, Shared, TOGETHER};
use std::net::{IpAddr, Ipv4Addr};

fn plan(rate: &str) -> Plan {
    let rules = Rules { rate_limit: Some(Budget::parse(rate).unwrap()), ..Rules::default() };
    Plan { policy: Policy::from(rules), ..Plan::default() }
}

/// One request of a session; whether it is covered.
async fn spend(node: &House, id: SessionId) -> bool {
    let view = node.get(id).await;
    let env = node.caller().env.record.id;
    let env = node.app.all_environments().into_iter().find(|known| known.record.id == env).unwrap();
    !matches!(node.app.spend_session(&env, view.session()), Spent::Over(_))
}

async fn burst(node: &House, id: SessionId, n: u32) -> u32 {
    let mut passed = 0;
    for _ in 0..n {
        passed += u32::from(spend(node, id).await);
    }
    passed
}

/// Everybody says what was spent, and hears it.
async fn second(fleet: &Fleet) {
    fleet.meet().await;
    let before: Vec<u64> = fleet.nodes().iter().map(|node| node.app.rates_shared().heard).collect();
    let told = async |node: &House| node.app.rates_shared().told;
    let mut said = Vec::new();
    for node in fleet.nodes() {
        let before = told(node).await;
        node.app.share_rates().await;
        said.push(told(node).await - before);
    }
    let all: u64 = said.iter().sum();
    for (place, node) in fleet.nodes().iter().enumerate() {
        let heard = before[place] + all - said[place];
        until("what was spent is heard", || async { node.app.rates_shared().heard >= heard }).await;
    }
    fleet.pass(Span::secs(1));
}

async fn together(nodes: usize, rate: &str) -> Fleet {
    let fleet = Fleet::new(nodes, plan(rate)).await;
    fleet.meet().await;
    fleet
}

#[tokio::test]
async fn what_is_spent_on_one_node_counts_on_all() {
    let fleet = together(3, "20/1h").await;
    let (id, _) = fleet[0].create("ada", &[]).await;
    assert_eq!(burst(&fleet[0], id, 12).await, 12);
    assert_eq!(burst(&fleet[1], id, 4).await, 4);
    second(&fleet).await;
    assert_eq!(burst(&fleet[2], id, 9).await, 4, "four of twenty were left");
    second(&fleet).await;
    for node in fleet.nodes() {
        assert!(!spend(node, id).await, "over on one is over on all");
    }
    // What comes back comes back once: 180 s each.
    fleet.pass(Span::secs(180));
    let mut passed = 0;
    for node in fleet.nodes() {
        passed += burst(node, id, 3).await;
        second(&fleet).await;
    }
    assert_eq!(passed, 1);
    // Another session has its own.
    let (other, _) = fleet[1].create("bob", &[]).await;
    assert_eq!(burst(&fleet[2], other, 21).await, 20);
}

#[tokio::test]
async fn who_spends_everywhere_at_once_pays_all_of_it_back() {
    let fleet = together(2, "10/1m").await;
    let (id, _) = fleet[0].create("ada", &[]).await;
    assert_eq!(
        burst(&fleet[0], id, 12).await + burst(&fleet[1], id, 12).await,
        20,
        "before anybody heard of it"
    );
    second(&fleet).await;
    fleet.pass(Span::secs(58));
    // A minute later one budget of two is paid, and the other is owed.
    for node in fleet.nodes() {
        assert!(!spend(node, id).await);
    }
    fleet.pass(Span::secs(60));
    assert_eq!(burst(&fleet[0], id, 20).await, 9);
}

#[tokio::test]
async fn who_is_alone_says_nothing_and_who_comes_late_hears_what_is_said_from_then_on() {
    let mut fleet = Fleet::new(1, plan("20/1h")).await;
    fleet.meet().await;
    let (id, _) = fleet[0].create("ada", &[]).await;
    burst(&fleet[0], id, 8).await;
    fleet[0].app.share_rates().await;
    assert_eq!(fleet[0].app.rates_shared(), Shared::default());
    fleet.join().await;
    fleet.meet().await;
    burst(&fleet[0], id, 3).await;
    second(&fleet).await;
    assert_eq!(fleet[0].app.rates_shared(), Shared { told: 1, heard: 0, left_out: 0 });
    assert_eq!(burst(&fleet[1], id, 20).await, 17, "the three since it came");
    // One that was cut off goes on by itself, and hears again.
    fleet.ear(1).cut();
    burst(&fleet[0], id, 1).await;
    fleet[0].app.share_rates().await;
    fleet.ear(1).release();
    fleet.meet().await;
    assert_eq!(fleet[1].app.rates_shared().heard, 1);
    // Who goes away is not talked to any more.
    fleet.ear(0).cut();
    fleet.pass(Span::secs(11));
    let told = fleet[0].app.rates_shared().told;
    burst(&fleet[0], id, 1).await;
    fleet[0].app.share_rates().await;
    assert_eq!(fleet[0].app.rates_shared().told, told);
}

#[tokio::test]
async fn a_flood_of_addresses_is_told_of_up_to_a_bound_and_keeps_no_session_out() {
    let fleet = together(2, "20/1h").await;
    for node in fleet.nodes() {
        node.app.set_anonymous_limit(Some(Rate::parse("50/1h").unwrap()));
    }
    let (id, _) = fleet[0].create("ada", &[]).await;
    burst(&fleet[0], id, 20).await;
    let env = fleet[0].caller().env.record.id;
    let guesser = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 7));
    for _ in 0..50 {
        let _ = fleet[0].app.spend_address(env, Some(guesser));
    }
    for n in 0..100_000u32 {
        let _ = fleet[0].app.spend_address(env, Some(IpAddr::V4(Ipv4Addr::from_bits(0x0A00_0000 | n))));
    }
    second(&fleet).await;
    let shared = fleet[0].app.rates_shared();
    assert_eq!(shared.told, u64::try_from(MESSAGES * TOGETHER).unwrap());
    assert!(shared.left_out > 80_000, "{shared:?}");
    assert!(!spend(&fleet[1], id).await, "the session was told of");
    assert!(matches!(fleet[1].app.spend_address(env, Some(guesser)), Spent::Over(_)), "and who guesses most");
    // What found no room is told of later; then there is nothing more to say.
    for _ in 0..12 {
        second(&fleet).await;
    }
    let told = fleet[0].app.rates_shared().told;
    second(&fleet).await;
    assert_eq!(fleet[0].app.rates_shared().told, told);
}
