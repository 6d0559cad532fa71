//! Whoever follows ends or history goes on with any node where they left another one, and misses nothing.

use super::fleet::{Fleet, until};
use crate::engine::house::{House, Plan, good, of_tag};
use futures_util::StreamExt;
use handstamp_core::access_token::Wish;
use handstamp_core::caller::Scope;
use handstamp_core::id::SessionId;
use handstamp_core::time::Span;
use handstamp_server::app::access_tokens::Order;
use handstamp_server::app::end::Target;
use handstamp_server::app::feed::{Position, Told, What};
use handstamp_server::app::history::{News, Wanted};
use handstamp_server::app::keys::NewKey;
use handstamp_server::host::clock::pause;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Numbers that are all over the place, and the same each time.
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn roll(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % below
    }
}

/// A session of which an access token was made.
async fn verified(node: &House, user: &str, tags: &[&str]) -> SessionId {
    let (id, _) = node.create(user, tags).await;
    good(node.app.mint(&node.caller(), id, &Order { wish: Wish::default(), algorithm: None }).await);
    id
}

async fn roomy(nodes: usize) -> Arc<Fleet> {
    let fleet = Fleet::new(nodes, Plan::default().roomy()).await;
    fleet.meet().await;
    Arc::new(fleet)
}

/// What somebody knows who listens to one node after the other.
#[derive(Default)]
struct Consumer {
    last: Option<Position>,
    ended: BTreeMap<SessionId, u32>,
    epochs: BTreeSet<u64>,
    resets: u32,
    connections: u32,
}

impl Consumer {
    /// Listens to a node until so many things were told; whether the last was that all was told.
    async fn listen(&mut self, node: &House, things: usize) -> bool {
        let stream = good(node.app.clone().follow_revocations(node.caller(), self.last).await);
        let mut stream = std::pin::pin!(stream);
        self.connections += 1;
        let mut is_all = false;
        for _ in 0..things {
            is_all = false;
            match good(stream.next().await.unwrap()) {
                Told::Reset => self.resets += 1,
                Told::Beat { position, .. } => {
                    (self.last, is_all) = (Some(position), true);
                }
                Told::Entries(entries) => {
                    for (position, entry) in entries {
                        match entry.what {
                            What::Session { id, .. } => *self.ended.entry(id).or_default() += 1,
                            What::Mass(mass) => drop(self.epochs.insert(mass.epoch)),
                        }
                        self.last = position.or(self.last);
                    }
                }
            }
        }
        is_all
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_consumer_that_hops_between_nodes_misses_no_end() {
    let fleet = roomy(3).await;
    // What had ended before anybody listened.
    let early = verified(&fleet[1], "early", &[]).await;
    good(fleet[1].end(early).await);
    let done = Arc::new(AtomicBool::new(false));
    let work = tokio::spawn({
        let (fleet, done) = (fleet.clone(), done.clone());
        async move {
            let (mut dice, mut ended, mut raised) = (Dice(7), BTreeSet::from([early]), 0);
            for n in 0..300 {
                let (made_by, ended_by) = (dice.roll(3), dice.roll(3));
                if n % 25 == 24 {
                    let tag = format!("org:{n}");
                    verified(&fleet[made_by], &format!("u{n}"), &[&tag]).await;
                    good(fleet[ended_by].revoke(Target::Filter(of_tag(&tag)), None).await);
                    raised += 1;
                } else {
                    let id = verified(&fleet[made_by], &format!("u{n}"), &[]).await;
                    good(fleet[ended_by].end(id).await);
                    ended.insert(id);
                }
                if n % 10 == 0 {
                    pause(Duration::from_millis(5)).await;
                }
            }
            done.store(true, Ordering::Release);
            (ended, raised)
        }
    });
    let (mut dice, mut consumer) = (Dice(99), Consumer::default());
    // Who breaks off before the first position begins again.
    while !consumer.listen(&fleet[0], 3).await {}
    let resets = consumer.resets;
    loop {
        let last = done.load(Ordering::Acquire);
        let node = dice.roll(3);
        let is_all = consumer.listen(&fleet[node], 2 + dice.roll(4)).await;
        if last && is_all {
            break;
        }
    }
    let (ended, raised) = work.await.unwrap();
    let missed: Vec<_> = ended.iter().filter(|id| !consumer.ended.contains_key(id)).collect();
    assert!(missed.is_empty(), "{} of {} were never told", missed.len(), ended.len());
    assert_eq!(consumer.epochs.len(), raised);
    assert_eq!(consumer.resets, resets, "in {} connections", consumer.connections);
    assert!(consumer.connections > 5);
    // Each was told once, but for those between a connection's last beat and its end.
    let twice = consumer.ended.values().filter(|n| **n > 1).count();
    assert!(twice < ended.len() / 2, "{twice}");
}

#[tokio::test]
async fn a_position_is_known_on_every_node_whenever_its_list_began() {
    let fleet = roomy(2).await;
    let mut consumer = Consumer::default();
    consumer.listen(&fleet[0], 2).await;
    let here = consumer.last;
    // A node of which nobody has asked anything yet, after more has ended.
    let ids = [verified(&fleet[1], "ada", &[]).await, verified(&fleet[0], "bob", &[]).await];
    good(fleet[0].end(ids[0]).await);
    good(fleet[1].end(ids[1]).await);
    consumer.listen(&fleet[1], 2).await;
    assert_eq!((consumer.resets, consumer.ended.len()), (1, 2));
    // What only another environment knows of moves the position on one node, and not on the other.
    let other = fleet[0].environment("shop/prd").await;
    fleet.meet().await;
    good(fleet[0].app.create(&other, crate::engine::house::asked("eve", &[])).await);
    let snapshot = good(fleet[0].app.revocations(&fleet[0].caller()).await);
    assert_eq!(
        good(fleet[1].app.revocations(&fleet[1].caller()).await).position.to_string(),
        consumer.last.unwrap().to_string()
    );
    let mut ahead = Consumer { last: Some(snapshot.position), ..Consumer::default() };
    ahead.listen(&fleet[1], 1).await;
    assert_eq!((ahead.resets, ahead.ended.len()), (0, 0));
    // After a restart of all nodes.
    let again = fleet[0].after_crash(Plan::default().roomy()).await;
    let mut behind = Consumer { last: here, ..Consumer::default() };
    behind.listen(&again, 2).await;
    assert_eq!((behind.resets, behind.ended.len()), (0, 2));
    // A store that was put back to an earlier copy is in another line.
    good(again.app.replace_token_keys().await);
    let restored = again.after_crash(Plan { seed: 9, ..Plan::default() }.roomy()).await;
    let mut old = Consumer { last: here, ..Consumer::default() };
    old.listen(&restored, 2).await;
    assert_eq!((old.resets, old.ended.len()), (1, 2));
    // Positions of long ago are not looked for.
    let mut far = Consumer {
        last: Position::parse(&format!("99999999-{}", here.unwrap().to_string().split_once('-').unwrap().1)),
        ..Consumer::default()
    };
    far.listen(&fleet[0], 1).await;
    assert_eq!(far.resets, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn news_of_another_node_wakes_who_listens_and_nothing_is_said_of_a_store_that_is_gone() {
    let fleet = roomy(2).await;
    let stream = good(fleet[0].app.clone().follow_revocations(fleet[0].caller(), None).await);
    let mut stream = std::pin::pin!(stream);
    let mut took = Vec::new();
    for n in 0..9 {
        let id = verified(&fleet[1], &format!("u{n}"), &[]).await;
        while !matches!(stream.next().await, Some(Ok(Told::Beat { .. }))) {}
        good(fleet[1].end(id).await);
        let began = handstamp_server::host::clock::instant();
        let Some(Ok(Told::Entries(entries))) = stream.next().await else { panic!("no end") };
        assert!(matches!(entries[0].1.what, What::Session { id: told, .. } if told == id));
        took.push(began.elapsed().as_millis());
    }
    took.sort_unstable();
    assert!(took[4] < 100, "those who wait for the next beat take 125 ms and more: {took:?} ms");
    fleet.pass(Span::secs(1));
    fleet[0].app.close().await;
    let mut beats = 0;
    loop {
        match stream.next().await {
            Some(Ok(Told::Beat { as_of, .. })) => {
                assert!(as_of < fleet[1].now(), "nothing was read at that time");
                beats += 1;
            }
            Some(Ok(_)) => panic!("nothing happened"),
            Some(Err(_)) => break,
            None => panic!("a fault is told of"),
        }
        assert!(beats < 3);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn history_is_followed_from_node_to_node() {
    let fleet = roomy(3).await;
    let begin = fleet[0].store.head().await.unwrap();
    let work = tokio::spawn({
        let fleet = fleet.clone();
        async move {
            let mut dice = Dice(3);
            for n in 0..300 {
                let (id, _) = fleet[dice.roll(3)].create(&format!("u{n}"), &[]).await;
                good(fleet[dice.roll(3)].end(id).await);
            }
        }
    });
    let (mut dice, mut at, mut told) = (Dice(5), begin, Vec::new());
    while told.len() < 600 {
        let node = &fleet[dice.roll(3)];
        let stream = good(node.app.clone().follow(node.caller(), Wanted::default(), Some(at)).await);
        let mut stream = std::pin::pin!(stream);
        for _ in 0..=dice.roll(3) {
            if told.len() >= 600 {
                break;
            }
            let news = tokio::time::timeout(Duration::from_secs(60), stream.next()).await.unwrap().unwrap();
            if let News::Lines(lines) = good(news) {
                at = lines.last().unwrap().position;
                told.extend(lines.into_iter().map(|line| line.position));
            }
        }
    }
    work.await.unwrap();
    assert!(told.is_sorted_by(|a, b| a < b) && told.len() == 600, "once each, in the order of commits");
    assert_eq!(told.last().copied(), Some(fleet[1].store.head().await.unwrap()));
    // Somebody who waits is woken by another node.
    let stream = good(fleet[2].app.clone().follow(fleet[2].caller(), Wanted::default(), Some(at)).await);
    let mut stream = std::pin::pin!(stream);
    let waiting = async {
        let began = handstamp_server::host::clock::instant();
        assert!(matches!(stream.next().await, Some(Ok(News::Lines(_)))));
        began.elapsed()
    };
    let making = async {
        pause(Duration::from_millis(50)).await;
        fleet[0].create("late", &[]).await;
    };
    let (took, ()) = tokio::join!(waiting, making);
    assert!(took < Duration::from_millis(900), "{took:?}: nobody told it");
    until("all nodes heard", || async { fleet.nodes().iter().all(|node| node.app.has_heard()) }).await;
}

/// A node that hears nothing of the others looks for itself whether whoever follows may still do so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whose_key_is_gone_follows_no_longer_also_where_that_is_not_heard_of() {
    for of_history in [false, true] {
        let fleet = roomy(2).await;
        let ask = NewKey {
            name: "k".to_owned(),
            scopes: vec![Scope::TokensVerify, Scope::EventsRead],
            expires_in: None,
            operator: false,
            publishable: false,
            rate_limit: None,
        };
        let operator = fleet[0].operator("default/prd");
        let key = good(fleet[0].app.create_key(&operator, ask).await);
        fleet.meet().await;
        let gone = async || {
            fleet.ear(1).cut();
            good(fleet[0].app.delete_key(&operator, key.key.key.id).await);
            fleet.pass(Span::secs(1));
        };
        let (app, text) = (&fleet[1].app, key.text.reveal());
        let caller = || good(app.caller(Some(text), None));
        // One after the other: what one of them finds out, the other one would know.
        let over = async {
            if of_history {
                let told = good(app.clone().follow(caller(), Wanted::default(), None).await);
                let mut told = std::pin::pin!(told);
                gone().await;
                assert!(told.next().await.is_none(), "nothing has happened that it could be told");
            } else {
                let told = good(app.clone().follow_revocations(caller(), None).await);
                let mut told = std::pin::pin!(told);
                while !matches!(told.next().await, Some(Ok(Told::Beat { .. }))) {}
                gone().await;
                while told.next().await.is_some() {}
            }
        };
        tokio::time::timeout(Duration::from_secs(8), over).await.expect("it is told on and on");
    }
}
