//! Keys that another node has just made: a token of one may come here before this node has heard of it.
//!
//! Anybody can write the name of a key that nobody has into a token, so whoever comes with one costs the store no look of their own:
//! those who come together look together, and not more often than [`PACE`].

use super::super::App;
use crate::host::clock::{instant, pause};
use crate::store::StoreError;
use std::time::{Duration, Instant};

/// How long at least is between two looks.
const PACE: Duration = Duration::from_millis(20);

/// When the last look began that went well.
#[derive(Default)]
pub(in super::super) struct Looked(tokio::sync::Mutex<Option<Instant>>);

impl App {
    /// The keys are those that the store had when this was called, or later ones.
    ///
    /// # Errors
    /// What the store says.
    pub(in super::super) async fn keys_of_others(&self) -> Result<(), StoreError> {
        let called = instant();
        let mut began = self.looked.0.lock().await;
        if began.is_some_and(|began| began >= called) {
            return Ok(());
        }
        if let Some(rest) = began.and_then(|began| PACE.checked_sub(began.elapsed())) {
            pause(rest).await;
        }
        let at = instant();
        self.look_up_newest().await?;
        *began = Some(at);
        Ok(())
    }
}
