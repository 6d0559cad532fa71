//! What happens once, whichever nodes are asked at the same time: a request under an `Idempotency-Key`, places in status lists,
//! sealings, keys of an algorithm, and what was erased.

use super::fleet::Fleet;
use crate::engine::house::{House, MASTER, NOW, Plan, asked, good};
use handstamp_core::access_token::Wish;
use handstamp_core::environment::EnvironmentName;
use handstamp_core::jose::jws::Unverified;
use handstamp_core::jose::key::Algorithm;
use handstamp_core::offline::clock::Tick;
use handstamp_core::signing::Job;
use handstamp_core::signing::budget::Budget;
use handstamp_core::time::Millis;
use handstamp_core::token::Kind;
use handstamp_core::token::access_key::Parts;
use handstamp_server::app::App;
use handstamp_server::app::access_tokens::{Makers, Order};
use handstamp_server::app::open::Setup;
use handstamp_server::app::signing::Rotation;
use handstamp_server::app::validate::{Access, Ask, Validated};
use handstamp_server::host::clock::{Clock, ManualClock};
use handstamp_server::store::Store;
use handstamp_server::store::faulty::{Call, Fault, Faulty, Gate};
use handstamp_server::store::memory::Memory;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use tokio::task::JoinSet;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_request_under_a_key_is_done_once() {
    let fleet = Fleet::new(3, Plan::default()).await;
    let mut crowd = JoinSet::new();
    for n in 0..60 {
        let node = fleet[n % 3].clone();
        crowd.spawn(async move {
            let mut ask = asked("ada", &[]);
            ask.idempotency = Some(("once".into(), "{}".into()));
            let made = good(node.make(ask).await);
            (made.view.session().id, made.given.token().unwrap().to_owned())
        });
    }
    let made: BTreeSet<_> = crowd.join_all().await.into_iter().collect();
    assert_eq!(made.len(), 1, "one session, and one token of it");
    assert_eq!(fleet[0].tally("live").await, 1);
}

/// However many nodes seal, no data key seals more often than all of them together may.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sealings_are_counted_over_all_nodes() {
    const SMALL: Budget = Budget { most: 100, block: 8 };
    let fleet = Fleet::new(3, Plan::default()).await;
    let env = fleet[0].caller().env.record.id;
    let mut crowd = JoinSet::new();
    for node in fleet.nodes() {
        node.app.limit_sealings(SMALL);
        let node = node.clone();
        crowd.spawn(async move {
            let mut kids = Vec::new();
            for _ in 0..120 {
                kids.push(good(node.app.sealing_key(env).await).kid().as_str().to_owned());
                tokio::task::yield_now().await;
            }
            kids
        });
    }
    let mut sealed: BTreeMap<String, u64> = BTreeMap::new();
    for kid in crowd.join_all().await.into_iter().flatten() {
        *sealed.entry(kid).or_default() += 1;
    }
    assert!(sealed.len() >= 4 && sealed.values().all(|n| *n <= SMALL.most), "{sealed:?}");
    // What other nodes change does not cost this one what it took.
    fleet.meet().await;
    let before: u64 = keys(&fleet[1], Job::Data).iter().map(|key| key.sealings).sum();
    for n in 0..5 {
        fleet[0].environment(&format!("shop/env{n}")).await;
        fleet.meet().await;
        good(fleet[1].app.sealing_key(env).await);
    }
    let after: u64 = keys(&fleet[1], Job::Data).iter().map(|key| key.sealings).sum();
    assert!(after <= before + SMALL.block, "{before} and {after}");
}

fn keys(node: &House, job: Job) -> Vec<handstamp_core::signing::TokenKey> {
    let env =
        node.app.all_environments().into_iter().find(|env| env.record.id == node.caller().env.record.id);
    env.unwrap().tokens.stored().into_iter().filter(|key| key.job == job).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_algorithm_gets_one_first_key() {
    let fleet = Fleet::new(3, Plan::default()).await;
    let mut crowd = JoinSet::new();
    for n in 0..12 {
        let node = fleet[n % 3].clone();
        crowd.spawn(
            async move { drop(good(node.app.have_signing_key(&node.caller(), Algorithm::Es256).await)) },
        );
    }
    crowd.join_all().await;
    fleet.meet().await;
    let all: BTreeSet<Vec<Box<str>>> = fleet
        .nodes()
        .iter()
        .map(|node| keys(node, Job::Es256).into_iter().map(|key| key.kid).collect())
        .collect();
    assert_eq!((all.len(), all.first().unwrap().len()), (1, 1));
}

/// A key that one node has just put into use is known to every node that is asked for it, also to one that hears nothing.
#[tokio::test]
async fn a_token_of_a_new_key_is_good_on_every_node_at_once() {
    let fleet = Fleet::new(2, Plan::default()).await;
    fleet.meet().await;
    let (id, _) = fleet[0].create("ada", &[]).await;
    fleet.ear(1).hold();
    let urgent = Rotation { job: Job::EdDsa, activate_in: None, retire_in: None, emergency: true };
    good(fleet[0].app.rotate_token_key(&fleet[0].caller(), urgent).await);
    let order = Order { wish: Wish::default(), algorithm: None };
    let token = good(fleet[0].app.mint(&fleet[0].caller(), id, &order).await).token;
    let kid = Unverified::read(token.reveal(), "at+jwt").ok().unwrap().kid().as_str().to_owned();
    let ask = || Ask { token: token.reveal(), access: Some(Access::default()), ..Ask::default() };
    let env = fleet[1].caller().env;
    let verdict = good(fleet[1].app.validate(&env, ask()).await);
    assert!(matches!(verdict, Validated::Allowed { .. } | Validated::Current(_)));
    good(fleet[1].app.look_up_newest().await.map_err(handstamp_server::app::Stop::from));
    let known = fleet[1].app.all_environments().remove(0);
    assert!(known.tokens.jwks(fleet[1].now()).contains(&kid));
    fleet.ear(1).release();
}

/// Places in status lists are given once.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_place_is_given_once() {
    let (memory, clock) = (Memory::shared(), Arc::new(ManualClock::new(NOW)));
    let (mut nodes, gate) = (Vec::new(), Gate::default());
    for seed in 0..3 {
        let store = Arc::new(Faulty::new(Arc::new(memory.node())));
        let tokens = Makers { issuer: Some("https://id.example".to_owned()), algorithm: Algorithm::EdDsa };
        let setup = Setup { tokens, ..super::starts::setup(store.clone(), &clock, seed, MASTER) };
        let first = || Ok(Parts::new(Kind::AccessKey, [1; 16], [2; 32]));
        let (app, _) = Box::pin(App::open(setup, first)).await.unwrap();
        nodes.push((House { app: Arc::new(app), clock: clock.clone(), store: store.clone() }, store));
    }
    let mut crowd = JoinSet::new();
    for (at, (node, store)) in nodes.iter().enumerate() {
        let mut made = Vec::new();
        for n in 0..30 {
            made.push(node.create(&format!("u{at}-{n}"), &[]).await.0);
        }
        // All three have seen which places are left before one of them takes any.
        store.plan(Call::Commit, [Fault::Hold(gate.clone())]);
        for id in made {
            let node = node.clone();
            crowd.spawn(async move {
                let order = Order { wish: Wish::default(), algorithm: None };
                good(node.app.mint(&node.caller(), id, &order).await);
                node.get(id).await.session().status_index.unwrap()
            });
        }
    }
    while nodes.iter().any(|(_, store)| store.left() > 0) {
        tokio::task::yield_now().await;
    }
    gate.open(3);
    let places = crowd.join_all().await;
    assert_eq!(places.iter().collect::<BTreeSet<_>>().len(), 90);
}

/// Store time that stands still, as after a failover to a host whose clock is behind.
#[derive(Default)]
struct Standing(AtomicI64);

impl Clock for Standing {
    fn now(&self) -> Millis {
        NOW
    }
    fn raise_to(&self, _floor: Millis) {}
    fn ticks(&self) -> Tick {
        Tick(self.0.load(Ordering::SeqCst))
    }
}

/// A status list is no older than a second also while the store's time stands still.
#[tokio::test]
async fn a_status_list_is_signed_anew_while_time_stands_still() {
    let (clock, standing) = (Arc::new(ManualClock::new(NOW)), Arc::new(Standing::default()));
    let store: Arc<dyn Store> = Arc::new(Memory::shared());
    let tokens = Makers { issuer: Some("https://id.example".to_owned()), algorithm: Algorithm::EdDsa };
    let setup = super::starts::setup(store.clone(), &clock, 1, MASTER);
    let first = || Ok(Parts::new(Kind::AccessKey, [1; 16], [2; 32]));
    let (app, _) =
        Box::pin(App::open(Setup { tokens, clock: standing.clone(), ..setup }, first)).await.unwrap();
    let node = House { app: Arc::new(app), clock, store };
    let (id, _) = node.create("ada", &[]).await;
    let order = Order { wish: Wish::default(), algorithm: None };
    good(node.app.mint(&node.caller(), id, &order).await);
    let name = EnvironmentName::parse("default/prd").unwrap();
    let list = async || good(node.app.status_list(&name, 0).await).token;
    let before = list().await;
    good(node.end(id).await);
    standing.0.store(999_999, Ordering::SeqCst);
    assert_eq!(list().await, before, "it was just signed");
    standing.0.store(1_000_000, Ordering::SeqCst);
    assert_ne!(list().await, before, "the end is in it");
}
