//! What other nodes do and say is acted on, one after the other, in the order of commits: by the time that a probe comes
//! back, nothing is held in memory that was replaced before it was sent.

use super::Nodes;
use super::message::{Message, Said};
use crate::app::App;
use crate::codec::{kind, session_id};
use crate::host::clock::pause;
use crate::store::Change;
use handstamp_core::id::EnvironmentId;
use std::sync::Arc;
use std::time::Duration;

/// When something is tried again that the store did not do.
const AGAIN: Duration = Duration::from_millis(100);

impl App {
    pub(super) async fn keep_hearing(&self, nodes: &Arc<Nodes>) {
        let mut changes = nodes.changes.lock().await;
        while let Some(change) = changes.next().await {
            self.hear(nodes, change).await;
        }
    }

    /// Works off what waits by now; where [`App::keep_up`] does not run.
    pub async fn hear_waiting(&self) {
        let Some(nodes) = &self.nodes else { return };
        let mut changes = nodes.changes.lock().await;
        while let Some(change) = changes.take() {
            self.hear(nodes, change).await;
        }
    }

    async fn hear(&self, nodes: &Arc<Nodes>, change: Change) {
        match change {
            Change::Committed { records, told } => {
                records.iter().filter_map(session_id).for_each(|id| self.cache.forget(id));
                if records.iter().any(|key| key.space.kind == kind::STAMP) {
                    self.read_control().await;
                }
                if !told.is_empty() {
                    self.told.send_modify(|count| *count = count.wrapping_add(1));
                    told.into_iter().for_each(|env| self.feeds.news(EnvironmentId(env)));
                }
            }
            Change::Anything => {
                nodes.gap();
                self.cache.forget_all();
                self.read_control().await;
                self.told.send_modify(|count| *count = count.wrapping_add(1));
                self.all_environments().iter().for_each(|env| self.feeds.news(env.record.id));
            }
            Change::Said(bytes) => {
                if let Some(message) = Message::read(&bytes) {
                    self.hear_said(nodes, message).await;
                }
            }
        }
    }

    /// Each kind has its room; what it does there must be quick, for everything else waits.
    async fn hear_said(&self, nodes: &Arc<Nodes>, Message { from, said }: Message) {
        nodes.lives(from, self.clock.ticks());
        match said {
            Said::Probe(number) => {
                if from == nodes.id {
                    nodes.came_back(number);
                }
            }
            Said::Erased { env, name } => {
                if from != nodes.id {
                    self.forget_erased(env, &name);
                }
            }
            Said::Configured(digest) => {
                if from != nodes.id {
                    self.alike.heard(from, digest, self.clock.ticks());
                }
            }
            // What was spent here is counted here already.
            Said::Spent(spent) => {
                if from != nodes.id {
                    self.hear_spent(&spent);
                }
            }
            Said::Asked { number, sessions } => {
                if from != nodes.id {
                    self.write_for(nodes, from, number, &sessions);
                }
            }
            Said::Written { asker, number } => {
                if asker == nodes.id {
                    nodes.asking.answered(number, from);
                }
            }
        }
    }

    /// Reads the control records as they are now. Nothing that comes later is looked at before that is done: what is held of
    /// them would go on being answered from, and nobody would know.
    async fn read_control(&self) {
        while let Err(error) = self.newest().await {
            tracing::warn!(%error, "control records that another node changed could not be read; tried again");
            pause(AGAIN).await;
        }
    }
}
