//! Several services on one store in memory. Nothing runs by itself: a test says when a node hears and when it sends its
//! probe, and moves the clock, which is the same for all.

use crate::engine::house::{House, NOW, Plan};
use handstamp_core::time::Span;
use handstamp_server::host::clock::ManualClock;
use handstamp_server::store::faulty::Faulty;
use handstamp_server::store::memory::Memory;
use std::ops::Deref;
use std::sync::Arc;
use tokio::task::yield_now;

/// One of several nodes; also a [`House`].
#[derive(Clone)]
pub(super) struct Node {
    house: House,
    /// What it hears by.
    pub(super) ear: Arc<Memory>,
    /// Accidents of this node alone.
    pub(super) faults: Arc<Faulty>,
}

impl Deref for Node {
    type Target = House;
    fn deref(&self) -> &House {
        &self.house
    }
}

/// A store, and who uses it.
pub(super) struct Cluster {
    store: Memory,
    clock: Arc<ManualClock>,
}

impl Cluster {
    pub(super) fn new() -> Cluster {
        Cluster { store: Memory::shared(), clock: Arc::new(ManualClock::new(NOW)) }
    }

    /// One more node. It holds a licence.
    pub(super) async fn node(&self, plan: Plan) -> Node {
        let ear = Arc::new(self.store.node());
        let faults = Arc::new(Faulty::new(ear.clone()));
        let house = House::at(faults.clone(), self.clock.clone(), plan).await;
        let node = Node { house, ear, faults };
        node.keep_up().await;
        node
    }

    /// Two nodes.
    pub(super) async fn pair(plan: Plan) -> (Cluster, Node, Node) {
        let cluster = Cluster::new();
        let first = cluster.node(plan.clone()).await;
        let second = cluster.node(Plan { seed: plan.seed + 50, ..plan }).await;
        first.keep_up().await;
        (cluster, first, second)
    }

    pub(super) fn pass(&self, span: Span) {
        self.clock.advance(span);
    }
}

impl Node {
    /// Sends its probe and works off what waits, its probe among it.
    pub(super) async fn keep_up(&self) {
        let _ = self.app.probe().await;
        self.app.hear_waiting().await;
    }
}

/// Lets everything that can go on go on.
pub(super) async fn settle() {
    for _ in 0..300 {
        yield_now().await;
    }
}
