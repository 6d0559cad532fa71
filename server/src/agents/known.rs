//! What was read is remembered, within a bound: two generations of texts, of which the older one goes as a whole. What is
//! asked for again moves to the newer one and stays; a flood of made-up texts passes through.

use handstamp_core::agent::Agent;
use std::collections::HashMap;
use std::sync::Arc;

type Generation = HashMap<Box<str>, Arc<Agent>>;

/// Texts and what they say.
pub(super) struct Known {
    young: Generation,
    old: Generation,
    young_bytes: usize,
    old_bytes: usize,
    most: usize,
}

/// What an entry takes beside its texts: its place in the table, with room to grow, and its allocations.
const ENTRY: usize = 2 * (size_of::<Box<str>>() + size_of::<Arc<Agent>>()) + size_of::<Agent>() + 6 * 16;

impl Known {
    /// Remembers at most `most` bytes.
    pub(super) fn new(most: usize) -> Known {
        Known { young: HashMap::new(), old: HashMap::new(), young_bytes: 0, old_bytes: 0, most }
    }

    pub(super) fn get(&mut self, text: &str) -> Option<Arc<Agent>> {
        if let Some(agent) = self.young.get(text) {
            return Some(agent.clone());
        }
        let agent = self.old.get(text)?.clone();
        self.put(text, &agent);
        Some(agent)
    }

    pub(super) fn put(&mut self, text: &str, agent: &Arc<Agent>) {
        let bytes = weight(text, agent);
        if self.young_bytes + bytes > self.most / 2 {
            self.old = std::mem::take(&mut self.young);
            self.old_bytes = std::mem::take(&mut self.young_bytes);
        }
        if self.young.insert(text.into(), agent.clone()).is_none() {
            self.young_bytes += bytes;
        }
    }

    pub(super) const fn bytes(&self) -> usize {
        self.young_bytes + self.old_bytes
    }
}

fn weight(text: &str, agent: &Agent) -> usize {
    let view = agent.view();
    let texts = [view.browser, view.os, view.os_version, view.model];
    ENTRY + text.len() + texts.into_iter().flatten().map(str::len).sum::<usize>()
}
