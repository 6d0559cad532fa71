//! CPU per durable create and per rewrite, on both sides, at several numbers in flight. Ignored by default.
//!
//! `cargo test --release -p handstamp-server --test it postgres::measure -- --ignored --nocapture --test-threads 1`

#![expect(clippy::disallowed_methods, reason = "a measurement reads the clock")]

use super::cluster::Cluster;
use super::nodes::{ended, node};
use crate::conformance::world::{Ask, NOW, batch, create, event, facet, rewrite, tally, with_facets};
use handstamp_core::time::Millis;
use handstamp_server::store::{Batch, Record, Store};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// CPU time in seconds of a process and of its children that have ended.
fn cpu_of(pid: &str) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    fields.iter().skip(11).take(2).filter_map(|field| field.parse::<f64>().ok()).sum::<f64>() / 100.0
}

/// Of all processes of the server.
fn cpu_of_server(cluster: &Cluster) -> f64 {
    let first = std::fs::read_to_string(cluster.data().join("postmaster.pid")).unwrap();
    let first = first.lines().next().unwrap().trim().to_owned();
    let children =
        std::fs::read_to_string(format!("/proc/{first}/task/{first}/children")).unwrap_or_default();
    cpu_of(&first) + children.split_whitespace().map(cpu_of).sum::<f64>()
}

/// A session of 350 bytes with four facets, its user's record, a line of history, two counters.
fn made(n: u32) -> Batch {
    let facets = [
        facet(1, format!("user-{:012}", n / 3)),
        facet(2, "plan:free"),
        facet(2, format!("org:{}", n % 1_000)),
        facet(3, n.to_be_bytes()),
    ];
    let session = Record { seen: Some(NOW), body: vec![7; 300], ..with_facets(n, facets) };
    let mut user = Record { body: vec![3; 60], ..with_facets(n, []) };
    user.key.space.kind = 2;
    let tallies = vec![(tally("live"), 1), (tally("tag plan:free"), 1)];
    Batch { events: vec![event(n, [5; 90])], tallies, ..batch([create(session), create(user)]) }
}

/// The same session with another body, as a refresh writes it.
fn refreshed(n: u32, version: u64) -> Batch {
    let record = match made(n).ops.swap_remove(0) {
        handstamp_server::store::Op::Put { record, .. } => record,
        other => panic!("{other:?}"),
    };
    Batch {
        events: vec![event(n, [5; 90])],
        ..batch([rewrite(version, Record { body: vec![8; 300], ..record })])
    }
}

/// Does `act` for some seconds, so many at once; prints what it cost.
async fn measure<F: Future<Output = ()> + Send + 'static>(
    cluster: &Cluster,
    name: &str,
    flight: u32,
    act: impl Fn(u32) -> F + Send + Sync + 'static,
) {
    let (act, next) = (Arc::new(act), Arc::new(AtomicU32::new(0)));
    let (begun, server, own) = (Instant::now(), cpu_of_server(cluster), cpu_of("self"));
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..flight {
        let (act, next) = (Arc::clone(&act), Arc::clone(&next));
        tasks.spawn(async move {
            let mut slowest = Duration::ZERO;
            while begun.elapsed() < Duration::from_secs(4) {
                let one = Instant::now();
                act(next.fetch_add(1, Ordering::Relaxed)).await;
                slowest = slowest.max(one.elapsed());
            }
            slowest
        });
    }
    let slowest = tasks.join_all().await.into_iter().max().unwrap();
    let (seconds, count) = (begun.elapsed().as_secs_f64(), f64::from(next.load(Ordering::Relaxed)));
    let each = |cpu: f64| cpu / count * 1e6;
    println!(
        "{name:10} {flight:3} in flight: {:7.0}/s, mean {:6.2} ms, slowest {:6.1} ms, CPU us each: client {:5.0}, server {:5.0}",
        count / seconds,
        seconds / count * f64::from(flight) * 1e3,
        slowest.as_secs_f64() * 1e3,
        each(cpu_of("self") - own),
        each(cpu_of_server(cluster) - server),
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn creates_and_refreshes() {
    let cluster = Cluster::start();
    for partitions in [0, 60] {
        let store: Arc<dyn Store> = node(&cluster.fresh()).await;
        for day in 0..partitions {
            let over = ended(u32::MAX - day, NOW.0 + i64::from(day) * super::nodes::DAY);
            store.done(batch([create(over)])).await;
        }
        println!(
            "{partitions} partitions of what rests, one of them with the greatest id: {}",
            partitions > 0
        );
        for (round, flight) in (0_u32..).zip([1, 16, 64]) {
            let base = round * 10_000_000;
            let one = Arc::clone(&store);
            measure(&cluster, "create", flight, move |n| {
                let store = Arc::clone(&one);
                async move { store.commit(made(base + n)).await.unwrap() }
            })
            .await;
            let (one, kept) = (Arc::clone(&store), 1_000);
            let versions: Arc<Vec<tokio::sync::Mutex<u64>>> =
                Arc::new((0..kept).map(|_| tokio::sync::Mutex::new(1)).collect());
            for n in 0..kept {
                let _ = store.commit(made(base + 5_000_000 + n)).await;
            }
            measure(&cluster, "refresh", flight, move |n| {
                let (store, versions) = (Arc::clone(&one), Arc::clone(&versions));
                async move {
                    let n = n % kept;
                    let mut version = versions[n as usize].lock().await;
                    store.commit(refreshed(base + 5_000_000 + n, *version)).await.unwrap();
                    *version += 1;
                }
            })
            .await;
        }
        let touched: Vec<_> =
            (0..100).map(|n| (crate::conformance::world::key(n), Millis(NOW.0 + 5))).collect();
        let begun = Instant::now();
        store.touch(&touched).await.unwrap();
        println!("a touch of 100: {:.2} ms", begun.elapsed().as_secs_f64() * 1e3);
        store.close().await;
    }
}
