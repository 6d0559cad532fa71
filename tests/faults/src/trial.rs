//! One fault under way: how it is made and undone, what is known while it lasts, and how soon everybody serves again.

use crate::client::Ask;
use crate::history::{Cut, Micros, Violation};
use crate::scene::{Fault, Plan};
use crate::stage::shell::Result;
use crate::stage::{SHIFT, Stage};
use crate::world::{Person, World};
use hyper::Method;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A fault under way, and what is measured about it.
pub(crate) struct Trial {
    world: Arc<World>,
    pub(crate) cuts: Vec<Cut>,
    pub(crate) violations: Vec<Violation>,
    pub(crate) served_after: Vec<Duration>,
}

impl Trial {
    pub(crate) fn new(world: Arc<World>) -> Self {
        Self { world, cuts: Vec::new(), violations: Vec::new(), served_after: Vec::new() }
    }

    /// Makes it, waits, undoes it, and waits until all serve.
    ///
    /// # Errors
    /// When the stage itself fails.
    pub(crate) async fn make(
        &mut self,
        fault: Fault,
        stage: &mut Stage,
        plan: &Plan<'_>,
        round: u32,
    ) -> Result<()> {
        let number = usize::try_from(round).unwrap_or(0) % stage.nodes.len();
        let hold = tokio::time::sleep(plan.pace.max(Duration::from_millis(4_000)));
        let all: Vec<usize> = (0..stage.nodes.len()).collect();
        let node = || format!("there is no node {number}");
        match fault {
            Fault::None | Fault::Several => hold.await,
            Fault::KillNode | Fault::KillAll => {
                let node = stage.nodes.get_mut(number).ok_or_else(node)?;
                node.kill();
                tokio::time::sleep(Duration::from_millis(500)).await;
                node.start()?;
                self.served("a restarted node", &[number]).await;
            }
            Fault::KillPrimary => {
                if round > 0 {
                    // There is one standby; a second failover would need another.
                    hold.await;
                    return Ok(());
                }
                let [primary, standby] = stage.stores.as_mut_slice() else {
                    return Err("no pair".to_owned());
                };
                primary.kill();
                tokio::time::sleep(Duration::from_millis(1_500)).await;
                standby.promote()?;
                self.served("the standby took over", &all).await;
            }
            Fault::RestartStore => {
                let store = stage.stores.first_mut().ok_or("no store")?;
                let from = self.world.now();
                store.kill();
                hold.await;
                self.known_cut(&all, from).await;
                store.start()?;
                self.served("the store is back", &all).await;
            }
            Fault::Cut(what) => {
                let node = stage.nodes.get(number).ok_or_else(node)?;
                node.link.cut(what)?;
                let from = self.world.now();
                hold.await;
                self.known_cut(&[number], from).await;
                node.link.heal()?;
                self.served("the partition is over", &[number]).await;
            }
            Fault::FreezeNode => {
                let node = stage.nodes.get(number).ok_or_else(node)?;
                node.freeze();
                tokio::time::sleep(Duration::from_secs(10)).await;
                node.thaw();
                self.served("the node goes on", &[number]).await;
            }
            Fault::FreezeStore => {
                let store = stage.stores.first().ok_or("no store")?;
                store.freeze();
                let from = self.world.now();
                hold.await;
                self.known_cut(&all, from).await;
                store.thaw();
                self.served("the store goes on", &all).await;
            }
            Fault::SlowStore => {
                stage.delay.set(200, 100);
                hold.await;
                stage.delay.set(0, 0);
                self.served("the store is fast again", &all).await;
            }
            Fault::FullDisk => {
                stage.fill_disk()?;
                hold.await;
                stage.free_disk()?;
                let store = stage.stores.first_mut().ok_or("no store")?;
                // PostgreSQL gives up when it cannot write its log, and has to be started again.
                if store.ask("SELECT 1").is_err() {
                    store.kill();
                    store.start()?;
                }
                self.served("the disk has room again", &all).await;
            }
            Fault::ClockOfNode => {
                for shift in [SHIFT, -SHIFT, 0] {
                    stage.nodes.get(number).ok_or_else(node)?.shift(shift)?;
                    tokio::time::sleep(plan.pace).await;
                }
            }
            // It is ahead from the beginning: an `as_of` has one clock then.
            Fault::ClockOfStore => hold.await,
        }
        Ok(())
    }

    /// These nodes had no store from then on until now, and say so.
    async fn known_cut(&mut self, nodes: &[usize], from: Micros) {
        for node in nodes {
            self.cuts.push(Cut { node: *node, from, to: self.world.now() });
            let mut person = Person::new(&self.world, 0);
            let seen = person.look(*node, Ask::new(Method::GET, "/readyz", "", None)).await;
            if !matches!(seen, Some((503, _))) {
                let what = format!("/readyz of node {node} without a store: {seen:?}");
                self.violations.push(Violation { promise: "ready", what });
            }
        }
    }

    /// From the end of a fault until every one of these nodes serves.
    async fn served(&mut self, since: &str, nodes: &[usize]) {
        let begun = Instant::now();
        for node in nodes {
            if let Err(why) = serving(&self.world, *node, Duration::from_secs(30)).await {
                self.violations.push(Violation { promise: "returns", what: format!("{since}: {why}") });
            }
        }
        let took = begun.elapsed();
        self.served_after.push(took);
        if took > Duration::from_secs(5) {
            let what = format!("{since}, and it took {:.1} s until all nodes served", took.as_secs_f64());
            self.violations.push(Violation { promise: "returns", what });
        }
    }
}

/// Waits until a node is ready and has written something.
pub(crate) async fn serving(world: &Arc<World>, node: usize, patience: Duration) -> Result<()> {
    let begun = Instant::now();
    let mut person = Person::new(world, 0);
    let key = world.key.clone();
    loop {
        let ready = person.look(node, Ask::new(Method::GET, "/readyz", "", None)).await;
        if matches!(ready, Some((200, _))) {
            let body = serde_json::json!({"user_id": format!("serving-{node}"), "ip": crate::calls::WATCHED});
            let made = person.look(node, Ask::new(Method::POST, "/v1/sessions", &key, Some(body))).await;
            if matches!(made, Some((201, _))) {
                return Ok(());
            }
        }
        if begun.elapsed() > patience {
            return Err(format!("node {node} does not serve after {patience:?}: /readyz answers {ready:?}"));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
