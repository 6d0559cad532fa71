//! What can be counted of the service, each without a scan.

use super::control::Env;
use super::records::{ALL, TAG};
use super::{App, Fault};
use crate::codec::sessions;
use crate::store::{Condition, FacetRange, Query};
use handstamp_core::facet;
use handstamp_core::refusal::Code;
use handstamp_core::time::{Millis, Span};
use std::collections::HashMap;

/// Live sessions of one environment.
#[derive(Default, Clone, Debug, PartialEq, Eq)]
pub struct Live {
    /// All of them.
    pub all: u64,
    /// By the names of their tags, most first.
    pub by_tag: Vec<(Box<str>, u64)>,
}

/// A successor that nobody has presented for this long is stalled.
pub const STALLED_AFTER: Span = Span::minutes(10);

/// At most so many stalled rotations of an environment are counted.
pub const STALLED_MOST: usize = 1_000;

impl App {
    /// Live sessions by environment, as their records say: one that time or an epoch has ended counts until housekeeping
    /// has written that down, which takes a second.
    ///
    /// # Errors
    /// What the store says.
    pub async fn live_sessions(&self) -> Result<HashMap<u64, Live>, Fault> {
        let mut live: HashMap<u64, Live> = HashMap::new();
        for (tally, count) in self.store.tallies().await? {
            let count = u64::try_from(count).unwrap_or(0);
            let env = live.entry(tally.env).or_default();
            if &*tally.name == ALL {
                env.all = count;
            } else if let Some(name) = tally.name.strip_prefix(TAG) {
                env.by_tag.push((name.into(), count));
            }
        }
        for env in live.values_mut() {
            env.by_tag.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        }
        Ok(live)
    }

    /// Live sessions whose successor nobody has presented for [`STALLED_AFTER`]; counted up to [`STALLED_MOST`].
    ///
    /// # Errors
    /// What the store says.
    pub async fn stalled_rotations(&self, env: &Env) -> Result<usize, Fault> {
        let until = Millis(self.now().0.saturating_sub(STALLED_AFTER.0));
        let low = Box::from(facet::instant(Millis(0)));
        let pending = FacetRange { name: facet::PENDING, low, high: Box::from(facet::instant(until)) };
        let mut query = Query {
            space: sessions(env.record.id),
            all: vec![Condition { any: vec![pending] }],
            from: None,
            until: None,
            cursor: None,
            limit: 1_000,
        };
        let mut count = 0;
        loop {
            let page = self.store.search(&query).await?;
            count += page.items.len();
            match page.next {
                Some(next) if count < STALLED_MOST => query.cursor = Some(next),
                _ => return Ok(count.min(STALLED_MOST)),
            }
        }
    }

    /// How many verdicts of each code were given; `None` is "allowed".
    pub fn verdict_counts(&self) -> Vec<(Option<Code>, u64)> {
        self.verdicts.all()
    }

    /// The same of refreshes.
    pub fn refresh_counts(&self) -> Vec<(Option<Code>, u64)> {
        self.refreshes.all()
    }

    /// Sessions in the cache, hits and misses.
    pub fn cache_counts(&self) -> (u64, u64, u64) {
        self.cache.counts()
    }
}
