//! Several nodes that start at once on an empty store: one makes it ready, and the others join.

use crate::engine::house::{MASTER, NOW};
use handstamp_core::jose::key::Algorithm;
use handstamp_core::policy::Policy;
use handstamp_core::time::Span;
use handstamp_core::token::Kind;
use handstamp_core::token::access_key::Parts;
use handstamp_core::token::keyring::MasterKey;
use handstamp_server::app::App;
use handstamp_server::app::access_tokens::Makers;
use handstamp_server::app::open::{OpenError, Setup};
use handstamp_server::app::origins::FileOrigins;
use handstamp_server::host::clock::ManualClock;
use handstamp_server::host::entropy::SeededEntropy;
use handstamp_server::store::Store;
use handstamp_server::store::faulty::{Call, Fault, Faulty};
use handstamp_server::store::memory::Memory;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use tokio::task::JoinSet;

pub(super) fn setup(store: Arc<dyn Store>, clock: &Arc<ManualClock>, seed: u64, master: [u8; 32]) -> Setup {
    Setup {
        store,
        clock: clock.clone(),
        entropy: Arc::new(SeededEntropy::new(seed)),
        master: MasterKey::new(master),
        policy: Some(Policy::default()),
        types: None,
        origins: FileOrigins::default(),
        tokens: Makers { issuer: None, algorithm: Algorithm::EdDsa },
        cache_bytes: 1 << 20,
        retention: Span::days(30),
    }
}

fn key(node: u8) -> Parts {
    Parts::new(Kind::AccessKey, [node; 16], [node; 32])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_makes_the_store_ready_and_the_others_join() {
    for round in 0..20u64 {
        let (memory, clock) = (Memory::shared(), Arc::new(ManualClock::new(NOW)));
        let made = Arc::new(AtomicU32::new(0));
        let mut starts = JoinSet::new();
        for node in 1..=5u8 {
            let store: Arc<dyn Store> = Arc::new(memory.node());
            // A store behind a network: what looks like one moment is many.
            let faulty = Faulty::new(store);
            for call in [Call::Load, Call::Commit] {
                faulty.plan(call, (0..20).map(|n| Fault::Delay((n * 7 + u32::from(node) * 3) % 11)));
            }
            let (clock, made) = (clock.clone(), made.clone());
            starts.spawn(async move {
                let first = || {
                    made.fetch_add(1, Ordering::SeqCst);
                    Ok(key(node))
                };
                let setup = setup(Arc::new(faulty), &clock, round * 10 + u64::from(node), MASTER);
                let (app, fresh) = Box::pin(App::open(setup, first)).await.unwrap();
                (node, app, fresh)
            });
        }
        let apps = starts.join_all().await;
        assert_eq!(made.load(Ordering::SeqCst), 1, "one first key");
        let fresh: Vec<u8> = apps.iter().filter(|(.., fresh)| *fresh).map(|(node, ..)| *node).collect();
        assert_eq!(fresh.len(), 1);
        for (_, app, _) in &apps {
            assert!(app.caller(Some(key(fresh[0]).text().reveal()), None).is_ok());
            assert_eq!(app.all_environments().len(), 1);
            let env = app.all_environments().remove(0);
            assert_eq!(env.tokens.stored().len(), 2, "one key to sign with, one to seal with");
        }
    }
}

#[tokio::test]
async fn another_master_key_is_refused_and_who_dies_at_its_first_start_is_replaced() {
    let (memory, clock) = (Memory::shared(), Arc::new(ManualClock::new(NOW)));
    let node = || -> Arc<dyn Store> { Arc::new(memory.node()) };
    // The first one dies between its key and its commit.
    let dead = Box::pin(App::open(setup(node(), &clock, 1, MASTER), || Err(OpenError::Prepared))).await;
    assert!(matches!(dead, Err(OpenError::Prepared)));
    // The others wait for it as long as its lease is, and no longer.
    let late = Box::pin(App::open(setup(node(), &clock, 2, MASTER), || Ok(key(2))));
    let passing = async {
        for _ in 0..20 {
            handstamp_server::host::clock::pause(std::time::Duration::from_millis(20)).await;
            clock.advance(Span::secs(1));
        }
    };
    let (late, ()) = tokio::join!(late, passing);
    let (_app, fresh) = late.unwrap();
    assert!(fresh);
    let other = Box::pin(App::open(setup(node(), &clock, 3, [9; 32]), || Ok(key(3)))).await;
    assert!(matches!(other, Err(OpenError::WrongMasterKey)));
    let (_app, fresh) = Box::pin(App::open(setup(node(), &clock, 4, MASTER), || Ok(key(4)))).await.unwrap();
    assert!(!fresh);
}
