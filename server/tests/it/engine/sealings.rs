//! How often a data key seals: its successor comes in time, and no interleaving of nodes and crashes makes it seal more
//! often than it may.

use super::house::{House, Plan, good};
use super::token_keys::{env, house};
use crate::front::{Front, Fronted};
use async_trait::async_trait;
use handstamp_core::jose::key::Kid;
use handstamp_core::signing::budget::Budget;
use handstamp_core::signing::{ACTIVATE_IN, Job, RETIRE_IN, State};
use handstamp_core::time::Span;
use handstamp_server::codec::kind;
use handstamp_server::codec::token_keys::read_token_keys;
use handstamp_server::store::faulty::{Call, Fault, Faulty};
use handstamp_server::store::memory::Memory;
use handstamp_server::store::{Batch, Op, Store, StoreError, Versioned};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// How many sealings each key made.
#[derive(Default, Clone)]
struct Made(Arc<Mutex<BTreeMap<String, u64>>>);

impl Made {
    fn note(&self, kid: &Kid) {
        *self.0.lock().unwrap().entry(kid.as_str().to_owned()).or_insert(0) += 1;
    }
    fn most(&self) -> u64 {
        self.0.lock().unwrap().values().copied().max().unwrap_or(0)
    }
    fn keys(&self) -> usize {
        self.0.lock().unwrap().len()
    }
}

const SMALL: Budget = Budget { most: 100, block: 8 };

#[tokio::test]
async fn a_data_key_gets_its_successor_before_its_budget_is_spent() {
    let house = house().await;
    house.app.limit_sealings(SMALL);
    let id = env(&house).record.id;
    let first = env(&house).tokens.stored()[1].kid.clone();
    let data = |house: &House| {
        env(house).tokens.stored().into_iter().filter(|k| k.job == Job::Data).collect::<Vec<_>>()
    };
    let made = Made::default();
    for n in 1..=100_u32 {
        let key = good(house.app.sealing_key(id).await);
        made.note(key.kid());
        assert_eq!(key.kid().as_str(), &*first, "{n}");
        assert_eq!(data(&house).len(), if n <= 48 { 1 } else { 2 }, "half of it calls for the next: {n}");
    }
    // Nobody waited for its time: the next one begins when this one is spent.
    let key = good(house.app.sealing_key(id).await);
    assert_ne!(key.kid().as_str(), &*first);
    let keys = data(&house);
    assert_eq!(
        keys.iter().map(|k| k.life.state(house.now())).collect::<Vec<_>>(),
        [State::VerifyOnly, State::Active]
    );
    assert_eq!(keys[0].sealings, 100);
    let old = Kid::parse(&first).unwrap();
    assert!(env(&house).tokens.opener(&old, house.now()).is_some(), "what it sealed still opens");
    // As it was planned when the next one was published.
    house.pass(RETIRE_IN);
    assert!(env(&house).tokens.opener(&old, house.now()).is_some());
    house.pass(ACTIVATE_IN);
    assert!(env(&house).tokens.opener(&old, house.now()).is_none());
}

/// A store that is asked by several nodes, and that loses answers.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_interleaving_of_nodes_and_crashes_seals_more_often() {
    let memory: Arc<dyn Store> = Arc::new(Memory::new());
    let first = House::new(memory.clone(), Plan::default()).await;
    let (made, clock) = (Made::default(), first.clock.clone());
    let id = env(&first).record.id;
    for round in 0..12_u64 {
        let mut tasks = Vec::new();
        for node in 0..3_u64 {
            let store = Arc::new(Faulty::new(memory.clone()));
            store.plan(
                Call::Commit,
                [Fault::None, Fault::LoseAnswer, Fault::Delay(3), Fault::Before, Fault::DelayAnswer(2)],
            );
            let house =
                House::at(store, clock.clone(), Plan { seed: round * 3 + node, ..Plan::default() }).await;
            house.app.limit_sealings(SMALL);
            for _ in 0..4 {
                let (house, made) = (house.clone(), made.clone());
                tasks.push(tokio::spawn(async move {
                    for _ in 0..20 {
                        // A node that dies in between does nothing more; what failed was not made.
                        if let Ok(key) = house.app.sealing_key(id).await {
                            made.note(key.kid());
                        }
                    }
                }));
            }
        }
        for task in tasks {
            task.await.unwrap();
        }
        clock.advance(Span::minutes(1));
    }
    assert!(made.most() <= SMALL.most, "{}", made.most());
    assert!(made.keys() > 5, "{}", made.keys());
}

/// A block is used only once it is written down that it is taken.
struct Order(Arc<dyn Store>, Arc<Mutex<Vec<u64>>>);

#[async_trait]
impl Front for Order {
    fn inner(&self) -> &dyn Store {
        self.0.as_ref()
    }
    async fn commit(&self, batch: Batch) -> Result<(), StoreError> {
        let counted: Vec<u64> = batch
            .ops
            .iter()
            .filter_map(|op| match op {
                Op::Put { record, .. } => Some(Versioned { record: record.clone(), version: 1 }),
                Op::Delete { .. } | Op::Check { .. } => None,
            })
            .filter_map(|found| {
                read_token_keys(&found).ok().filter(|_| found.record.key.space.kind == kind::TOKEN_KEYS)
            })
            .map(|keys| keys.iter().map(|key| key.sealings).sum())
            .collect();
        let outcome = self.0.commit(batch).await;
        self.1.lock().unwrap().extend(counted);
        outcome
    }
}

#[tokio::test]
async fn a_block_is_written_down_before_it_is_used_and_paid_for_once() {
    let written = Arc::new(Mutex::new(Vec::new()));
    let store = Arc::new(Fronted(Order(Arc::new(Memory::new()), written.clone())));
    let house = House::new(store, Plan::default()).await;
    house.app.limit_sealings(Budget { most: 1_000, block: 10 });
    let id = env(&house).record.id;
    for n in 1..=30_u64 {
        good(house.app.sealing_key(id).await);
        let last = written.lock().unwrap().last().copied().unwrap_or(0);
        assert_eq!(last, n.div_ceil(10) * 10, "{n}");
    }
    assert_eq!(written.lock().unwrap().len(), 4, "one for the environment and one a block");
    // A crash loses what was left of a block, and gives nothing twice.
    let later = house.after_crash(Plan::default()).await;
    later.app.limit_sealings(Budget { most: 1_000, block: 10 });
    good(later.app.sealing_key(id).await);
    assert_eq!(written.lock().unwrap().last(), Some(&40));
}
