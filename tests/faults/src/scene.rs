//! One scene: a stage is built, clients work on it, one fault is made and ends, everything is looked at, and the history
//! is judged.

use crate::check::check;
use crate::client::Ask;
use crate::follow::follow;
use crate::history::{Cut, Follower, History, Limit, Operation, Promises, Violation};
use crate::several::{Seen, several};
use crate::sights;
use crate::stage::SHIFT;
use crate::stage::network::Drop as Dropped;
use crate::stage::shell::Result;
use crate::stage::{Stage, Stores};
use crate::trial::{Trial, serving};
use crate::workload;
use crate::world::{Person, World, lock};
use hyper::Method;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// A kind of accident.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fault {
    None,
    /// None; instead of the usual clients, what only several nodes can show is tried one by one.
    Several,
    KillNode,
    KillAll,
    KillPrimary,
    RestartStore,
    Cut(Dropped),
    FreezeNode,
    FreezeStore,
    SlowStore,
    FullDisk,
    ClockOfNode,
    ClockOfStore,
}

pub(crate) struct Scene {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) stores: Stores,
    pub(crate) fault: Fault,
}

const fn scene(name: &'static str, about: &'static str, stores: Stores, fault: Fault) -> Scene {
    Scene { name, about, stores, fault }
}

pub(crate) const SCENES: &[Scene] = &[
    scene(
        "embedded",
        "the embedded store, its one node killed again and again",
        Stores::Embedded,
        Fault::KillAll,
    ),
    scene("several", "what only several nodes can show, counted exactly", Stores::Single, Fault::Several),
    scene("calm", "several nodes, and nothing happens", Stores::Single, Fault::None),
    scene("kill-node", "kill -9 of a node, and a restart", Stores::Single, Fault::KillNode),
    scene(
        "kill-primary",
        "the primary dies, its synchronous standby takes over",
        Stores::Pair,
        Fault::KillPrimary,
    ),
    scene("restart-store", "kill -9 of PostgreSQL, and a restart", Stores::Single, Fault::RestartStore),
    scene(
        "partition",
        "nothing passes between a node and the store",
        Stores::Single,
        Fault::Cut(Dropped::Both),
    ),
    scene("partition-to", "what a node sends does not arrive", Stores::Single, Fault::Cut(Dropped::ToStore)),
    scene(
        "partition-from",
        "what the store answers does not arrive",
        Stores::Single,
        Fault::Cut(Dropped::FromStore),
    ),
    scene("freeze-node", "SIGSTOP of a node for ten seconds, and on", Stores::Single, Fault::FreezeNode),
    scene("freeze-store", "SIGSTOP of PostgreSQL, and on", Stores::Single, Fault::FreezeStore),
    scene("slow-store", "200 ms and more each way to the store", Stores::Relayed, Fault::SlowStore),
    scene("full-disk", "the store's disk is full", Stores::SmallDisk, Fault::FullDisk),
    scene(
        "clock-node",
        "the clock of a node jumps, a minute ahead and a minute behind",
        Stores::Single,
        Fault::ClockOfNode,
    ),
    scene(
        "clock-store",
        "the clock of the store's machine is a minute ahead",
        Stores::Shifted,
        Fault::ClockOfStore,
    ),
];

/// How a run is made.
pub(crate) struct Plan<'a> {
    pub(crate) binary: &'a Path,
    pub(crate) folder: &'a Path,
    pub(crate) nodes: usize,
    pub(crate) seed: u64,
    /// How long things are calm, before and after a fault, and how long most faults last.
    pub(crate) pace: Duration,
    /// How often the fault is made.
    pub(crate) rounds: u32,
    /// How many ends are measured where that is done.
    pub(crate) ends: usize,
    pub(crate) keep: bool,
}

/// What came of it.
pub(crate) struct Outcome {
    pub(crate) operations: usize,
    /// Acknowledged, refused, unknown.
    pub(crate) answers: [usize; 3],
    pub(crate) violations: Vec<Violation>,
    /// From the end of each fault until every node served again.
    pub(crate) served_after: Vec<Duration>,
    /// What was measured, in milliseconds.
    pub(crate) figures: Vec<(&'static str, f64)>,
}

/// Plays one scene.
///
/// # Errors
/// When the stage itself fails; what the service did wrong are violations.
pub(crate) async fn play(scene: &Scene, plan: &Plan<'_>) -> Result<Outcome> {
    let embedded = scene.stores == Stores::Embedded;
    let nodes = if embedded { 1 } else { plan.nodes };
    let clocks = scene.fault == Fault::ClockOfNode;
    let mut stage = Stage::build(plan.folder, scene.name, plan.binary, scene.stores, nodes, clocks).await?;
    let shift = if scene.fault == Fault::ClockOfStore { SHIFT } else { 0 };
    let addresses = stage.nodes.iter().map(|node| node.address()).collect();
    let world = Arc::new(World::new(addresses, stage.key.clone(), shift));
    for node in 0..nodes {
        serving(&world, node, Duration::from_secs(15)).await.map_err(|why| {
            let said = stage.nodes.get(node).map(|node| node.said()).unwrap_or_default();
            format!("{why}; it said:\n{said}")
        })?;
    }
    let mut operator = Person::new(&world, 0);
    let body = Some(workload::policy(true));
    let key = world.key.clone();
    match operator.look(0, Ask::new(Method::PUT, "/v1/policies", &key, body)).await {
        Some((200, _)) => {}
        other => return Err(format!("the policy was not taken: {other:?}")),
    }
    // The policy has to be everywhere before anybody relies on it.
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    *lock(&world.followers) = vec![Follower::default(); 2];
    let following: Vec<_> =
        (0..2).map(|n| tokio::spawn(follow(world.clone(), n, plan.seed + n as u64))).collect();
    let mut trial = Trial::new(world.clone());
    let alone = scene.fault == Fault::Several;
    let mut clients = if alone { Vec::new() } else { workload::start(&world, plan.seed) };
    let measured = if alone { several(&world, plan.ends).await } else { Seen::default() };
    trial.violations.extend(measured.violations);
    for round in 0..if alone { 0 } else { plan.rounds } {
        tokio::time::sleep(plan.pace).await;
        trial.make(scene.fault, &mut stage, plan, round).await?;
    }
    tokio::time::sleep(plan.pace).await;
    // A slow machine takes longer to have done everything once.
    for _ in 0..60 {
        if alone || sights::missing(&lock(&world.operations)).is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    world.over.store(true, Ordering::Relaxed);
    for client in clients.drain(..) {
        client.await.map_err(|why| format!("a client failed: {why}"))?;
    }
    // A second later every change is everywhere.
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    workload::look_at_all(&world, plan.seed).await;
    world.horizon.store(world.now() + 500_000, Ordering::Relaxed);
    for follower in following {
        // Whoever does not get there is accused by the checker.
        let _ = tokio::time::timeout(Duration::from_secs(15), follower).await;
    }
    let history = history(&world, trial.cuts, scene.fault);
    let mut violations = check(&history);
    if !alone {
        violations.extend(sights::idle(&history));
    }
    violations.extend(trial.violations);
    let keep = plan.keep || !violations.is_empty();
    if !violations.is_empty() {
        let lines: Vec<String> =
            history.operations.iter().map(|operation| format!("{operation:?}")).collect();
        let _ = std::fs::write(stage.folder().join("history"), lines.join("\n"));
        let heard: Vec<String> =
            history.followers.iter().map(|follower| format!("{:?}", follower.heard)).collect();
        let _ = std::fs::write(stage.folder().join("heard"), heard.join("\n"));
    }
    stage.strike(keep)?;
    let of = |which: fn(&Operation) -> bool| {
        history.operations.iter().filter(|operation| which(operation)).count()
    };
    Ok(Outcome {
        operations: history.operations.len(),
        answers: [
            of(|operation| !operation.answer.open() && operation.answer.refused().is_none()),
            of(|operation| operation.answer.refused().is_some()),
            of(|operation| operation.answer.open()),
        ],
        violations,
        served_after: trial.served_after,
        figures: measured.figures,
    })
}

fn history(world: &World, cuts: Vec<Cut>, fault: Fault) -> History {
    let mut promises = Promises::default();
    let limit = |rejects| Limit { most: workload::MOST, rejects };
    promises.limits.insert("limit:reject".into(), limit(true));
    promises.limits.insert("limit:evict".into(), limit(false));
    promises.seats.insert("org:seats".into(), Limit { most: workload::SEATS, rejects: false });
    // The offset to the store's clock is known to half a round trip.
    promises.doubt = if fault == Fault::SlowStore { 400_000 } else { 20_000 };
    let operations = std::mem::take(&mut *lock(&world.operations));
    let followers = std::mem::take(&mut *lock(&world.followers));
    History { operations, followers, cuts, promises }
}
