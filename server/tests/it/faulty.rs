//! The store that has accidents on purpose: each accident is what it says, and comes when it was planned.

use crate::conformance::world::{Ask, batch, create, record};
use handstamp_server::store::faulty::{Call, Fault, Faulty, Gate};
use handstamp_server::store::memory::Memory;
use handstamp_server::store::{Store, StoreError};
use std::sync::Arc;

fn stores() -> (Arc<dyn Store>, Arc<Faulty>) {
    let memory: Arc<dyn Store> = Arc::new(Memory::new());
    (Arc::clone(&memory), Arc::new(Faulty::new(memory)))
}

#[tokio::test]
async fn before_nothing_happened_and_after_everything_did() {
    let (memory, faulty) = stores();
    faulty.plan(
        Call::Commit,
        [Fault::None, Fault::Before, Fault::LoseAnswer, Fault::Conflict, Fault::LoseAnswer],
    );
    let commit = async |n| faulty.commit(batch([create(record(n))])).await;
    assert_eq!(commit(1).await, Ok(()));
    assert!(matches!(commit(2).await, Err(StoreError::Unavailable(_))));
    assert!(matches!(commit(3).await, Err(StoreError::Unavailable(_))));
    assert_eq!(commit(4).await, Err(StoreError::Conflict));
    // A refusal is no good answer to lose.
    assert_eq!(commit(1).await, Err(StoreError::Conflict));
    let there = [1, 2, 3, 4].map(async |n| memory.one(n).await.is_some());
    let mut found = Vec::new();
    for one in there {
        found.push(one.await);
    }
    assert_eq!(found, [true, false, true, false]);
    assert_eq!(faulty.left(), 0);
    assert_eq!(commit(5).await, Ok(()));
}

#[tokio::test]
async fn each_call_has_its_own_script() {
    let (_, faulty) = stores();
    faulty.plan(Call::Load, [Fault::Before]);
    faulty.plan(Call::Probe, [Fault::Before]);
    faulty.commit(batch([create(record(1))])).await.unwrap();
    assert_eq!(faulty.left(), 2);
    assert!(faulty.load(&[]).await.is_err());
    assert!(faulty.probe().await.is_err());
    assert!(faulty.load(&[]).await.is_ok());
    assert_eq!(faulty.left(), 0);
}

#[tokio::test]
async fn a_held_call_starts_when_its_gate_opens() {
    let (memory, faulty) = stores();
    let gate = Gate::default();
    faulty.plan(Call::Commit, [Fault::Hold(gate.clone()), Fault::Delay(3), Fault::DelayAnswer(3)]);
    let held = {
        let faulty = Arc::clone(&faulty);
        tokio::spawn(async move { faulty.commit(batch([create(record(1))])).await })
    };
    // The held one was first, and the later ones go past it.
    while faulty.left() == 3 {
        tokio::task::yield_now().await;
    }
    faulty.commit(batch([create(record(2))])).await.unwrap();
    faulty.commit(batch([create(record(3))])).await.unwrap();
    assert!(memory.one(1).await.is_none() && memory.one(3).await.is_some());
    gate.open(1);
    held.await.unwrap().unwrap();
    assert!(memory.one(1).await.is_some());
}
