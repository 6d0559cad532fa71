//! How many verdicts of each code were given: counters that cost an addition.

use handstamp_core::refusal::Code;
use std::sync::atomic::{AtomicU64, Ordering};

/// One counter for "allowed" and one for each code.
pub struct Verdicts {
    allowed: AtomicU64,
    refused: Vec<AtomicU64>,
}

impl Default for Verdicts {
    fn default() -> Verdicts {
        Verdicts {
            allowed: AtomicU64::new(0),
            refused: Code::ALL.iter().map(|_| AtomicU64::new(0)).collect(),
        }
    }
}

impl Verdicts {
    /// One more.
    pub fn count(&self, refused: Option<Code>) {
        let counter = match refused {
            None => Some(&self.allowed),
            Some(code) => Code::ALL.iter().position(|c| *c == code).and_then(|at| self.refused.get(at)),
        };
        if let Some(counter) = counter {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// All that are not zero; `None` is "allowed".
    pub fn all(&self) -> Vec<(Option<Code>, u64)> {
        let refused =
            Code::ALL.iter().zip(&self.refused).map(|(code, n)| (Some(*code), n.load(Ordering::Relaxed)));
        let allowed = std::iter::once((None, self.allowed.load(Ordering::Relaxed)));
        allowed.chain(refused.filter(|(_, n)| *n > 0)).collect()
    }
}
