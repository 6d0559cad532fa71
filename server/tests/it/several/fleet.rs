//! Nodes over handles of one store in memory, one clock, and each with a task that works off what the others do.

use crate::engine::house::{House, NOW, Plan};
use handstamp_core::time::Span;
use handstamp_server::host::clock::{ManualClock, instant, pause};
use handstamp_server::store::Store;
use handstamp_server::store::faulty::Faulty;
use handstamp_server::store::memory::Memory;
use std::ops::Index;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// Some nodes.
pub(crate) struct Fleet {
    nodes: Vec<House>,
    ears: Vec<Arc<Memory>>,
    pub(crate) clock: Arc<ManualClock>,
    plan: Plan,
    _stop: watch::Sender<bool>,
    stopped: watch::Receiver<bool>,
}

impl Index<usize> for Fleet {
    type Output = House;
    fn index(&self, node: usize) -> &House {
        &self.nodes[node]
    }
}

impl Fleet {
    /// So many nodes of one plan.
    pub(crate) async fn new(nodes: usize, plan: Plan) -> Fleet {
        let clock = Arc::new(ManualClock::new(NOW));
        let (stop, stopped) = watch::channel(false);
        let mut fleet = Fleet { nodes: Vec::new(), ears: Vec::new(), clock, plan, _stop: stop, stopped };
        for _ in 0..nodes {
            fleet.join().await;
        }
        fleet
    }

    /// One more node.
    pub(crate) async fn join(&mut self) {
        let plan = self.plan.clone();
        self.join_with(plan).await;
    }

    /// One more, with a plan of its own.
    pub(crate) async fn join_with(&mut self, plan: Plan) {
        let store = self.ear_of_next();
        self.join_through(store, plan).await;
    }

    /// One more, behind a store that can have accidents.
    pub(crate) async fn join_behind(&mut self) -> Arc<Faulty> {
        let store = Arc::new(Faulty::new(self.ear_of_next()));
        let plan = self.plan.clone();
        self.join_through(store.clone(), plan).await;
        store
    }

    fn ear_of_next(&mut self) -> Arc<Memory> {
        let store = Arc::new(self.ears.first().map_or_else(Memory::shared, |first| first.node()));
        self.ears.push(store.clone());
        store
    }

    async fn join_through(&mut self, store: Arc<dyn Store>, plan: Plan) {
        let seed = plan.seed + 1_000 * u64::try_from(self.nodes.len()).unwrap();
        let house = House::at(store, self.clock.clone(), Plan { seed, ..plan }).await;
        let (app, stopped) = (house.app.clone(), self.stopped.clone());
        tokio::spawn(async move { app.keep_up(stopped).await });
        self.nodes.push(house);
    }

    pub(crate) fn nodes(&self) -> &[House] {
        &self.nodes
    }

    /// What a node hears through.
    pub(crate) fn ear(&self, node: usize) -> &Memory {
        &self.ears[node]
    }

    /// Time passes for the store and for all nodes.
    pub(crate) fn pass(&self, span: Span) {
        self.clock.advance(span);
    }

    /// Every node has said something, and every one that hears anything has heard all that was said before.
    pub(crate) async fn meet(&self) {
        for node in &self.nodes {
            node.app.probe().await.unwrap();
        }
        // Its own probe is the last thing in each queue.
        for (place, node) in self.nodes.iter().enumerate() {
            until(&format!("node {place} hears"), || async { node.app.has_heard() }).await;
        }
    }
}

/// Waits until something is so, for a minute.
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, mut is_so: impl FnMut() -> F) {
    let began = instant();
    while !is_so().await {
        assert!(began.elapsed() < Duration::from_secs(60), "{what}: in vain");
        pause(Duration::from_millis(1)).await;
    }
}
