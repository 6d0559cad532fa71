//! What other nodes do and say is acted on, one after the other, in the order of commits: by the time that a probe comes
//! back, nothing is held in memory that was replaced before it was sent.

use super::Nodes;
use super::message::{Message, Said};
use crate::app::App;
use crate::codec::session_id;
use crate::store::{Change, Key};
use handstamp_core::id::EnvironmentId;

impl App {
    pub(super) async fn keep_hearing(&self, nodes: &Nodes) {
        let mut changes = nodes.changes.lock().await;
        while let Some(change) = changes.next().await {
            self.hear(nodes, change).await;
        }
    }

    async fn hear(&self, nodes: &Nodes, change: Change) {
        match change {
            Change::Committed { records, told } => {
                records.iter().filter_map(session_id).for_each(|id| self.cache.forget(id));
                self.hear_of_control(&records).await;
                if !told.is_empty() {
                    self.told.send_modify(|count| *count = count.wrapping_add(1));
                    told.into_iter().for_each(|env| self.feeds.news(EnvironmentId(env)));
                }
            }
            Change::Anything => {
                nodes.gap();
                self.cache.forget_all();
                self.read_control_again().await;
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
    async fn hear_said(&self, nodes: &Nodes, Message { from, said }: Message) {
        nodes.lives(from, self.clock.ticks());
        match said {
            Said::Probe(number) => {
                if from == nodes.id {
                    nodes.came_back(number);
                }
            }
            // What was spent here is counted here already.
            Said::Spent(spent) => {
                if from != nodes.id {
                    self.hear_spent(&spent);
                }
            }
            // For the room of activity.
            Said::Asked { .. } | Said::Written { .. } => {}
        }
    }

    async fn hear_of_control(&self, _records: &[Key]) {}

    async fn read_control_again(&self) {}
}
