//! The course of a move, in memory: whatever happens during it, and wherever it is cut short, everything arrives.

use super::world::{Beset, Blind, Dice, everything, live, same};
use handstamp_core::time::Millis;
use handstamp_server::cli::Failure;
use handstamp_server::codec::control::root_key;
use handstamp_server::codec::moving::moving_key;
use handstamp_server::run::migrate::course::{Begun, Course, End, objection, undo};
use handstamp_server::store::memory::Memory;
use handstamp_server::store::transfer::Transfer;
use handstamp_server::store::transfer::rounds::{Compared, Contents, compare};
use handstamp_server::store::{Batch, Expect, Op, Record, Store};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

fn root_of(body: &str) -> Record {
    Record { key: root_key(), bucket: 0, facets: Vec::new(), seen: None, forget_at: None, body: body.into() }
}

/// Makes the store one that has begun.
async fn begin(store: &dyn Store, body: &str) {
    let ops = vec![Op::Put { expect: Expect::Absent, record: root_of(body) }];
    store
        .commit(Batch { bucket: 0, at: Millis(1), ops, events: Vec::new(), tallies: Vec::new() })
        .await
        .unwrap();
}

/// A store of some service, with a root.
async fn store_of(body: &str) -> Memory {
    let store = Memory::new();
    begin(&store, body).await;
    store
}

fn end<'t>(store: &'t dyn Transfer, name: &'t str) -> End<'t> {
    End { store, name }
}

/// Begins a move that is not made yet.
async fn start<'t>(from: End<'t>, to: End<'t>) -> Result<Course<'t>, Failure> {
    Ok(begun(from, to).await?.expect("it is not made yet"))
}

async fn begun<'t>(from: End<'t>, to: End<'t>) -> Result<Option<Course<'t>>, Failure> {
    static MOVES: AtomicU32 = AtomicU32::new(0);
    let mut id = [0; 16];
    id[..4].copy_from_slice(&MOVES.fetch_add(1, Ordering::Relaxed).to_be_bytes());
    Course::begin(from, to, Millis(5), id, false).await
}

/// The end of a move, if nobody works on the old store.
async fn finish(course: &Course<'_>) -> Result<Option<Contents>, Failure> {
    if !course.is_quiet().await? {
        assert!(course.last_round(&mut Blind).await.is_err() && course.end(&mut Blind).await.is_err());
        return Ok(None);
    }
    course.last_round(&mut Blind).await?;
    course.end(&mut Blind).await.map(Some)
}

/// Moves without any service.
async fn go(from: &Memory, to: &Memory) -> Result<Begun, Failure> {
    let course = start(end(from, "one:"), end(to, "two:")).await?;
    finish(&course).await?.expect("nobody works on it");
    Ok(course.begun)
}

/// What a service that is started on a store is told.
async fn refused(store: &Memory) -> Option<String> {
    let found = Store::load(store, &[moving_key()]).await.unwrap().remove(0);
    found.and_then(|found| objection("this:", &found)).map(|failure| failure.to_string())
}

/// One move of a random store, killed at `deadly` writes again and again until one of them is the last. How many attempts
/// it took.
fn moved_in_spite_of_everything(seed: u64, deadly: u32) -> u32 {
    runtime().block_on(async {
        let mut dice = Dice::new(seed);
        let service = Arc::new(Memory::shared());
        begin(service.as_ref(), "a root").await;
        for _ in 0..dice.below(60) {
            live(service.as_ref(), &mut dice, 20).await;
        }
        let target = Memory::new();
        let dice = Arc::new(Mutex::new(dice));
        let mut attempts = 0;
        loop {
            attempts += 1;
            // The service ends at some time between two attempts, or it has to be ended in the end.
            let stops = attempts == 4;
            let writes = Arc::new(AtomicU32::new(if attempts > 40 { u32::MAX } else { deadly }));
            let at_hand = u64::from(dice.lock().unwrap().below(u32::MAX));
            let last_is_done = at_hand.is_multiple_of(2);
            let busy = Beset {
                store: service.aside(),
                service: (attempts < 4)
                    .then(|| (service.clone() as Arc<dyn Store>, Mutex::new(Dice::new(at_hand)))),
                hasty: false,
                writes: writes.clone(),
                last_is_done,
                loses: false,
            };
            if stops {
                service.close().await;
            }
            let doomed = Beset {
                store: target.aside(),
                service: None,
                hasty: false,
                writes,
                last_is_done,
                loses: false,
            };
            let outcome = attempt(&busy, &doomed).await;
            // Who was killed holds nothing any more.
            Transfer::release(&busy.store).await;
            Transfer::release(&doomed.store).await;
            // At no time may both be worked on, nor one that is not whole.
            let (old, new) = (refused(&service.aside()).await, refused(&target).await);
            let whole = matches!(
                compare(&service.aside(), &target.aside(), &[moving_key()], &mut Blind).await.unwrap(),
                Compared::Same(_)
            );
            let empty = Transfer::size(&target).await.unwrap().records == 0;
            assert!(old.is_some() || new.is_some() || empty, "both could be started on");
            assert!(
                new.is_some() || empty || (old.is_some() && whole),
                "the new one could be, and is not whole"
            );
            if old.is_some() {
                assert!(whole, "the old one says that it is gone, and it is not");
            }
            if let Ok(true) = outcome {
                assert!(attempts >= 4 || deadly == u32::MAX);
                assert_eq!(new, None);
                assert!(old.unwrap().contains("was moved to two:"));
                same(&everything(&service.aside()).await, &everything(&target).await);
                return attempts;
            }
        }
    })
}

/// Some rounds, and the end if there can be one.
async fn attempt(from: &dyn Transfer, to: &dyn Transfer) -> Result<bool, Failure> {
    let Some(course) = begun(end(from, "one:"), end(to, "two:")).await? else { return Ok(true) };
    for _ in 0..3 {
        course.round(&mut Blind).await?;
        if finish(&course).await?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

#[test]
fn everything_arrives_whatever_happens_meanwhile() {
    let mut most = 0;
    for seed in 0..100 {
        most = most.max(moved_in_spite_of_everything(seed, u32::MAX));
        moved_in_spite_of_everything(seed, 1 + u32::try_from(seed % 12).unwrap());
    }
    assert_eq!(most, 4, "the service is what is waited for, and nothing else");
}

#[test]
fn a_round_ends_though_history_grows_faster_than_it_is_read() {
    runtime().block_on(async {
        let service = Arc::new(Memory::shared());
        begin(service.as_ref(), "a root").await;
        let busy = Beset {
            store: service.aside(),
            service: Some((service.clone() as Arc<dyn Store>, Mutex::new(Dice::new(5)))),
            hasty: true,
            writes: Arc::new(AtomicU32::new(u32::MAX)),
            last_is_done: true,
            loses: false,
        };
        let target = Memory::new();
        let doomed = Beset {
            store: target.aside(),
            service: None,
            hasty: false,
            writes: Arc::new(AtomicU32::new(1_000)),
            last_is_done: true,
            loses: false,
        };
        let course = start(end(&busy, "one:"), end(&doomed, "two:")).await.unwrap();
        for _ in 0..3 {
            course.round(&mut Blind).await.unwrap();
        }
        service.close().await;
        Transfer::release(&target).await;
        assert_eq!(go(&service.aside(), &target).await.unwrap(), Begun::Again);
        same(&everything(&service.aside()).await, &everything(&target).await);
    });
}

#[test]
fn a_store_that_lives_is_never_written_to() {
    runtime().block_on(async {
        let (one, two) = (store_of("one").await, store_of("two").await);
        let before = everything(&two).await;
        let said = go(&one, &two).await.unwrap_err().to_string();
        assert!(said.contains("two: holds a store already"), "{said}");
        same(&everything(&two).await, &before);
        // Nor one in which only history is left, nor one that somebody works on.
        let bare = Memory::shared();
        let said = go(&one, &bare.aside()).await.unwrap_err().to_string();
        assert!(said.contains("works on two:"), "{said}");
        let said = go(&Memory::new(), &Memory::new()).await.unwrap_err().to_string();
        assert!(said.contains("one: is empty"), "{said}");
    });
}

#[test]
fn what_was_begun_from_another_store_is_not_gone_on_with() {
    runtime().block_on(async {
        let (one, other, two) = (store_of("one").await, store_of("other").await, Memory::new());
        live(&one, &mut Dice::new(3), 5).await;
        let course = start(end(&one, "one:"), end(&two, "two:")).await.unwrap();
        course.round(&mut Blind).await.unwrap();
        Transfer::release(&two).await;
        assert!(refused(&two).await.unwrap().contains("it is being filled from one:"));
        let said = go(&other, &two).await.unwrap_err().to_string();
        assert!(said.contains("--anew"), "{said}");
        // Nor is it moved on before it is whole.
        let said = go(&two, &Memory::new()).await.unwrap_err().to_string();
        assert!(said.contains("is itself being filled"), "{said}");
        // Emptied, it takes the other one.
        let begun = Course::begin(end(&other, "other:"), end(&two, "two:"), Millis(5), [7; 16], true).await;
        finish(&begun.unwrap().unwrap()).await.unwrap().unwrap();
        same(&everything(&other).await, &everything(&two).await);
    });
}

#[test]
fn a_master_key_that_changes_on_the_way_does_not_end_it() {
    runtime().block_on(async {
        let (one, two) = (store_of("one").await, Memory::new());
        let course = start(end(&one, "one:"), end(&two, "two:")).await.unwrap();
        course.round(&mut Blind).await.unwrap();
        let ops = vec![Op::Put { expect: Expect::Version(1), record: root_of("another") }];
        one.commit(Batch { bucket: 0, at: Millis(1), ops, events: Vec::new(), tallies: Vec::new() })
            .await
            .unwrap();
        course.round(&mut Blind).await.unwrap();
        Transfer::release(&two).await;
        assert_eq!(go(&one, &two).await.unwrap(), Begun::Again);
    });
}

#[test]
fn there_is_a_way_back_and_forth() {
    runtime().block_on(async {
        let (one, two) = (store_of("one").await, Memory::new());
        let mut dice = Dice::new(8);
        for _ in 0..50 {
            live(&one, &mut dice, 20).await;
        }
        assert_eq!(go(&one, &two).await.unwrap(), Begun::Fresh);
        let said = go(&one, &Memory::new()).await.unwrap_err().to_string();
        assert!(said.contains("everything in one: was moved to two:"), "{said}");
        Transfer::release(&two).await;
        assert!(begun(end(&one, "one:"), end(&two, "two:")).await.unwrap().is_none(), "it is done");
        for _ in 0..50 {
            live(&two, &mut dice, 20).await;
        }
        assert_eq!(go(&two, &one).await.unwrap(), Begun::Back);
        assert_eq!((refused(&one).await, refused(&two).await.is_some()), (None, true));
        same(&everything(&one).await, &everything(&two).await);
        live(&one, &mut dice, 20).await;
        assert_eq!(go(&one, &two).await.unwrap(), Begun::Back);
        // Onto a third; the first is none of its business.
        let three = Memory::new();
        assert_eq!(go(&two, &three).await.unwrap(), Begun::Fresh);
        let said = go(&three, &one).await.unwrap_err().to_string();
        assert!(said.contains("has moved away, and not to"), "{said}");
    });
}

#[test]
fn that_it_moved_can_be_taken_back() {
    runtime().block_on(async {
        let (one, two) = (store_of("one").await, Memory::new());
        go(&one, &two).await.unwrap();
        assert!(undo(end(&two, "two:")).await.is_err());
        Transfer::release(&two).await;
        assert_eq!(undo(end(&one, "one:")).await.unwrap().other, "two:");
        assert_eq!(refused(&one).await, None);
        // From then on they are two.
        let said = go(&one, &two).await.unwrap_err().to_string();
        assert!(said.contains("holds a store already"), "{said}");
    });
}

#[test]
fn a_difference_is_found() {
    runtime().block_on(async {
        let (one, two) = (store_of("one").await, Memory::new());
        let mut dice = Dice::new(4);
        for _ in 0..40 {
            live(&one, &mut dice, 20).await;
        }
        let lossy = Beset {
            store: two.aside(),
            service: None,
            hasty: false,
            writes: Arc::new(AtomicU32::new(u32::MAX)),
            last_is_done: true,
            loses: true,
        };
        let course = start(end(&one, "one:"), end(&lossy, "two:")).await.unwrap();
        let said = finish(&course).await.unwrap_err().to_string();
        assert!(said.contains("not equal") && said.contains("1 lines of history"), "{said}");
        // Nothing moved away.
        assert_eq!(refused(&one).await, None);
        assert!(refused(&two).await.is_some());
    });
}
