//! Many who end sessions and many who listen: nobody misses anything, no beat is untrue, and the store is read once for
//! all of them.

use super::hearing::{Hearing, PATH, end, verified};
use super::{items, names};
use crate::front::{Front, Fronted};
use crate::world::{BEGINNING, Options, World};
use async_trait::async_trait;
use handstamp_core::policy::Policy;
use handstamp_core::time::{Millis, Span};
use handstamp_server::host::clock::Clock;
use handstamp_server::store::Store;
use handstamp_server::store::faulty::Call;
use handstamp_server::store::memory::Memory;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpSocket;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Counts how often history is read.
#[derive(Default)]
struct Counting {
    inner: Memory,
    reads: AtomicU64,
}

#[async_trait]
impl Front for Counting {
    fn inner(&self) -> &dyn Store {
        &self.inner
    }
    fn before(&self, call: Call) {
        if call == Call::History {
            self.reads.fetch_add(1, Ordering::SeqCst);
        }
    }
}

async fn counted() -> (Arc<World>, Arc<Fronted<Counting>>) {
    let store = Arc::new(Fronted::<Counting>::default());
    let policy = Some(Policy::default().with(|rules| rules.max_sessions = Some(Policy::COUNT)));
    let world = World::with(Options { policy, store: store.clone(), ..Options::default() }).await;
    (Arc::new(world), store)
}

async fn many(world: &Arc<World>, count: usize) -> Vec<String> {
    let mut ids = Vec::new();
    for n in 0..count {
        ids.push(verified(world, &format!("u{}", n % 97)).await);
    }
    ids
}

/// Eight end sessions, as fast as they can, and note when each had ended for sure. Two listen, one of whom breaks off again
/// and again. Whoever is told "up to now" knows of each end that was acknowledged before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_before_a_beat_was_told_before_it() {
    const COUNT: usize = 4_800;
    let (world, _) = counted().await;
    let ids = many(&world, COUNT).await;
    let acknowledged: Arc<Mutex<BTreeMap<String, Millis>>> = Arc::default();
    let mut all = JoinSet::new();
    for part in ids.chunks(COUNT / 8) {
        let (world, part, acknowledged) = (world.clone(), part.to_vec(), acknowledged.clone());
        all.spawn(async move {
            for id in part {
                end(&world, &id).await;
                // A beat with a later time than this was made after this.
                let at = world.clock.now();
                world.advance(Span::millis(1));
                acknowledged.lock().unwrap().insert(id, at);
            }
            (false, Vec::new())
        });
    }
    for breaks in [false, true] {
        let world = world.clone();
        all.spawn(async move {
            // For each thing that was told, when it was in the order of this listener; beats by their time.
            let mut told = Vec::new();
            let (mut seen, mut turns) = (BTreeSet::new(), 0);
            let mut hearing = Hearing::of(&world, None).await;
            while seen.len() < COUNT {
                let one = hearing.next().await.unwrap().expect("the stream ended");
                if let Some(id) = one["session_id"].as_str() {
                    seen.insert(id.to_owned());
                }
                let beat = one.get("as_of").is_some();
                told.push(one);
                // In the midst of entries, and right after a beat, in turn.
                let here = if turns % 2 == 0 { told.len().is_multiple_of(61) } else { beat };
                if breaks && here {
                    turns += 1;
                    hearing = Hearing::of(&world, hearing.last.clone().as_deref()).await;
                }
            }
            told.extend(hearing.until_beat().await);
            (breaks, told)
        });
    }
    let heard: Vec<_> = all.join_all().await.into_iter().filter(|(_, told)| !told.is_empty()).collect();
    let acknowledged = acknowledged.lock().unwrap().clone();
    assert_eq!((heard.len(), acknowledged.len()), (2, COUNT));
    for (breaks, told) in heard {
        let (mut seen, mut beats) = (BTreeSet::new(), 0);
        for one in &told {
            if let Some(id) = one["session_id"].as_str() {
                seen.insert(id);
            } else if let Some(as_of) = one["as_of"].as_str() {
                let as_of = Millis::parse(as_of).unwrap();
                let missing =
                    acknowledged.iter().find(|(id, at)| **at < as_of && !seen.contains(id.as_str()));
                assert_eq!(missing, None, "as of {as_of:?}");
                beats += usize::from(as_of > BEGINNING);
            }
        }
        // Who breaks off in the midst of entries goes on with entries, and hears fewer.
        assert!(beats > if breaks { 1 } else { 3 }, "{beats}");
    }
}

/// A hundred listen: the store is read as often as for one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_listeners_cost_one_reading() {
    let (world, store) = counted().await;
    let ids = many(&world, 300).await;
    let reads = || store.0.reads.load(Ordering::SeqCst);
    let mut listening = JoinSet::new();
    for _ in 0..100 {
        let mut hearing = Hearing::of(&world, None).await;
        hearing.until_beat().await;
        listening.spawn(async move {
            let told = hearing.some(300).await;
            (told, hearing)
        });
    }
    // Nothing happens: each is told four times a second that nothing does.
    let (before, began) = (reads(), Instant::now());
    while began.elapsed() < Duration::from_secs(1) {
        world.get("/livez").await.expect(200);
    }
    let idle = reads() - before;
    assert!((3..=14).contains(&idle), "{idle} readings in a second of silence");
    let (before, began) = (reads(), Instant::now());
    for id in &ids {
        end(&world, id).await;
    }
    let heard = listening.join_all().await;
    let (busy, took) = (reads() - before, began.elapsed().as_millis());
    assert!(u128::from(busy) <= took / 20 + 3, "{busy} readings in {took} ms");
    for (told, _) in &heard {
        assert_eq!(names(told), ids, "each in the order of the commits");
    }
    let used = world.app.feed_use();
    assert_eq!((used[0].listeners, used[0].entries), (100, 300));
    drop(heard);
}

/// One reads nothing. The others are told at once all the same, nothing is gathered for the one, and when it reads again it
/// has missed nothing; not even what it would have been told twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_listener_keeps_nobody_waiting() {
    const COUNT: usize = 3_000;
    let (world, _) = counted().await;
    let ids = many(&world, COUNT).await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    let tcp = socket.connect(world.address).await.unwrap();
    let mut slow = Hearing::over(tcp, &world.key, None).await;
    slow.until_beat().await;
    let mut quick = Hearing::of(&world, None).await;
    quick.until_beat().await;
    for some in ids.chunks(100) {
        for id in some {
            end(&world, id).await;
        }
        let began = Instant::now();
        assert_eq!(names(&quick.some(some.len()).await), some);
        assert!(began.elapsed() < Duration::from_secs(2), "the quick one waits for the slow one");
    }
    let told = slow.some(COUNT).await;
    assert_eq!(names(&told), ids);
    assert_eq!(items(&world).await.len(), COUNT);
    let snapshot = world.get(PATH).await.expect(200);
    assert_eq!(snapshot["items"].as_array().unwrap().len(), COUNT);
    // What is dead by the time that somebody reads it is not told.
    let mut late = Hearing::of(&world, Some("0")).await;
    world.advance(Span::minutes(11));
    let last = verified(&world, "last").await;
    end(&world, &last).await;
    loop {
        let one = late.next().await.unwrap().unwrap();
        if one["session_id"] == json!(last) {
            break;
        }
    }
}
