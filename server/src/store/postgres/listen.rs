//! Hearing of other nodes: one connection that listens, watched closely, and what it missed is told.
//!
//! Notices come in the order of commits. Whoever lost the connection has missed something: after it listens again, and
//! before anything that it hears then, it tells that anything may have changed. The connection is also the store's pulse:
//! it asks for a sign of life twice a second, and when none comes in time all connections are given up, so that nobody
//! waits for a server that is gone without a word.

use super::super::changes::Teller;
use super::super::{Change, StoreError};
use super::connect::{Connector, Driver, Facts, Purpose};
use super::fault::fault;
use super::notices::{self, Own};
use super::pool::Pauses;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{oneshot, watch};
use tokio_postgres::{AsyncMessage, Client, SimpleQueryMessage};

/// Between two signs of life.
const PULSE: Duration = Duration::from_millis(500);
/// How long a sign of life may take.
const PATIENCE: Duration = Duration::from_millis(1_500);

/// What listens. It ends when its owner is gone.
pub(super) struct Listener {
    _closing: watch::Sender<bool>,
}

struct Ear {
    connector: Arc<Connector>,
    own: Own,
    channel: String,
    teller: Teller,
}

impl Listener {
    /// Listens from now on: what happens after it returns is told.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]: there is no connection yet.
    pub(super) async fn start(
        connector: &Arc<Connector>,
        own: Own,
        seed: u64,
        teller: Teller,
    ) -> Result<Listener, StoreError> {
        let channel = notices::channel(connector.schema());
        let ear = Ear { connector: Arc::clone(connector), own, channel, teller };
        let (closing, closes) = watch::channel(false);
        let (ready, hears) = oneshot::channel();
        tokio::spawn(ear.work(seed, closes, ready));
        match hears.await {
            Ok(first) => first.map(|()| Listener { _closing: closing }),
            Err(_) => Err(super::pool::closed()),
        }
    }
}

impl Ear {
    async fn work(
        self,
        seed: u64,
        mut closes: watch::Receiver<bool>,
        ready: oneshot::Sender<Result<(), StoreError>>,
    ) {
        let mut pauses = Pauses::new(seed);
        let mut ready = Some(ready);
        loop {
            let why = tokio::select! {
                // An error: the store is gone.
                _ = closes.changed() => return,
                why = self.listen(&mut ready, &mut pauses) => why,
            };
            if let Some(first) = ready.take() {
                let _ = first.send(Err(why));
                return;
            }
            tracing::warn!(%why, "what other nodes change is not heard");
            tokio::select! {
                _ = closes.changed() => return,
                () = pauses.pause() => {}
            }
        }
    }

    /// Until the connection is lost; why.
    async fn listen(
        &self,
        ready: &mut Option<oneshot::Sender<Result<(), StoreError>>>,
        pauses: &mut Pauses,
    ) -> StoreError {
        let (client, mut driver, facts) = match self.connector.raw(Purpose::Listening).await {
            Ok(connection) => connection,
            Err(why) => return why,
        };
        let mut early = Vec::new();
        let listen = format!("LISTEN {}", self.channel);
        let listens = async { client.batch_execute(&listen).await.map_err(|error| fault(&error)) };
        if let Err(why) = answered(&mut driver, listens, |text| early.push(text)).await {
            return why;
        }
        match ready.take() {
            Some(first) => drop(first.send(Ok(()))),
            None => {
                tracing::info!("what other nodes change is heard again");
                self.teller.tell(Change::Anything);
            }
        }
        for text in early {
            self.hear(&text);
        }
        pauses.reset();
        self.attend(&client, &mut driver, &facts).await
    }

    async fn attend(&self, client: &Client, driver: &mut Driver, facts: &Facts) -> StoreError {
        loop {
            if self.connector.is_left(facts) {
                return StoreError::Unavailable("another host takes the writes now".to_owned());
            }
            // The pause: whatever is heard meanwhile is told at once.
            if let Ok(why) = tokio::time::timeout(PULSE, self.hear_on(driver)).await {
                return why;
            }
            let alive = answered(driver, writable(client), |text| self.hear(&text));
            if let Err(why) = alive.await {
                self.connector.ring();
                return why;
            }
        }
    }

    /// Tells what is heard until the connection ends.
    async fn hear_on(&self, driver: &mut Driver) -> StoreError {
        loop {
            match next(driver).await {
                Ok(Some(text)) => self.hear(&text),
                Ok(None) => {}
                Err(why) => return why,
            }
        }
    }

    fn hear(&self, text: &str) {
        if let Some(change) = notices::read(&self.own.name(), text) {
            self.teller.tell(change);
        }
    }
}

/// A sign of life, of a server that takes writes.
async fn writable(client: &Client) -> Result<(), StoreError> {
    let said = client.simple_query("SHOW transaction_read_only").await.map_err(|error| fault(&error))?;
    let off = |message: &SimpleQueryMessage| matches!(message, SimpleQueryMessage::Row(row) if row.try_get(0).ok().flatten() == Some("off"));
    if said.iter().any(off) {
        return Ok(());
    }
    Err(StoreError::Unavailable("it takes no writes any more".to_owned()))
}

/// Moves the connection until the answer is there, and hands on what is heard meanwhile.
async fn answered(
    driver: &mut Driver,
    answer: impl Future<Output = Result<(), StoreError>>,
    mut heard: impl FnMut(String),
) -> Result<(), StoreError> {
    let both = async {
        tokio::pin!(answer);
        loop {
            tokio::select! {
                biased;
                message = next(driver) => {
                    if let Some(text) = message? {
                        heard(text);
                    }
                }
                done = &mut answer => return done,
            }
        }
    };
    match tokio::time::timeout(PATIENCE, both).await {
        Ok(done) => done,
        Err(_) => Err(StoreError::Unavailable(format!("it did not answer within {PATIENCE:?}"))),
    }
}

/// The next notice; `None` of other messages.
async fn next(driver: &mut Driver) -> Result<Option<String>, StoreError> {
    match std::future::poll_fn(|context| driver.poll_message(context)).await {
        Some(Ok(AsyncMessage::Notification(notice))) => Ok(Some(notice.payload().to_owned())),
        Some(Ok(_)) => Ok(None),
        Some(Err(error)) => Err(fault(&error)),
        None => Err(StoreError::Unavailable("the connection was closed".to_owned())),
    }
}
