//! A connection of one task's own, with its statements, that is made again when it was lost.

use super::super::StoreError;
use super::connect::{Connector, Link, Purpose};
use super::fault::fault;
use super::statements::Statements;
use super::{chores::Chores, notices::Own};
use async_trait::async_trait;
use std::sync::Arc;
use std::time::Duration;
use tokio_postgres::{Client, Error};

/// How long an answer is waited for; then the connection is given up.
const PATIENCE: Duration = Duration::from_secs(5);

/// Statements that a lane runs.
#[async_trait]
pub(super) trait Prepare: Sized + Send {
    /// Prepares all of them.
    async fn prepare(client: &Client) -> Result<Self, Error>;
}

#[async_trait]
impl Prepare for Statements {
    async fn prepare(client: &Client) -> Result<Statements, Error> {
        Statements::new(client).await
    }
}

#[async_trait]
impl Prepare for Chores {
    async fn prepare(client: &Client) -> Result<Chores, Error> {
        Chores::new(client).await
    }
}

/// One task's connection.
pub(super) struct Lane<S> {
    connector: Arc<Connector>,
    open: Option<Open<S>>,
}

/// A connection that is there.
pub(super) struct Open<S> {
    link: Link,
    pub(super) statements: S,
}

/// Which node this is, and where its notices go.
#[derive(Clone)]
pub(super) struct Sender {
    pub(super) own: Own,
    pub(super) channel: String,
}

impl<S: Prepare> Lane<S> {
    /// Not connected yet.
    pub(super) fn new(connector: &Arc<Connector>) -> Lane<S> {
        Lane { connector: Arc::clone(connector), open: None }
    }

    /// The connection; a new one if it was lost.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]: it cannot be made.
    pub(super) async fn open(&mut self) -> Result<&Open<S>, StoreError> {
        if self.open.as_ref().is_none_or(|open| open.link.is_closed()) {
            self.open = None;
            let link = self.connector.link(Purpose::Writing).await?;
            // One plan for each statement, made once: all of them are led by keys, whatever is given.
            let set = link.batch_execute("SET plan_cache_mode = force_generic_plan");
            let made = async {
                set.await?;
                S::prepare(&link).await
            };
            let statements = match tokio::time::timeout(PATIENCE, made).await {
                Ok(made) => made.map_err(|error| fault(&error))?,
                Err(_) => return Err(silent()),
            };
            self.open = Some(Open { link, statements });
        }
        self.open.as_ref().ok_or_else(silent)
    }

    /// Gives the connection up: whatever it still does is taken back by the server.
    pub(super) fn cut(&mut self) {
        if let Some(open) = self.open.take() {
            open.link.cut();
        }
    }
}

impl<S> Open<S> {
    pub(super) fn client(&self) -> &Client {
        &self.link
    }

    /// Waits for an answer, but not for ever.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]: it did not come; the connection is cut.
    pub(super) async fn in_time<T>(&self, answer: impl Future<Output = T>) -> Result<T, StoreError> {
        match tokio::time::timeout(PATIENCE, answer).await {
            Ok(answer) => Ok(answer),
            Err(_) => {
                self.link.cut();
                Err(silent())
            }
        }
    }
}

fn silent() -> StoreError {
    StoreError::Unavailable(format!("it did not answer within {} s", PATIENCE.as_secs()))
}
