//! Connections that several callers share, each with its statements prepared, and that come back by themselves.
//!
//! What callers ask goes out at once and is answered in order. A caller that does not wait any more takes nothing from the
//! others: its answer is read and thrown away by the connection, which knows to whom each answer belongs.

use super::super::StoreError;
use super::connect::{Connector, Driver, Facts, Purpose};
use super::fault::{Trouble, fault, lost};
use async_trait::async_trait;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio_postgres::{Client, Error};

/// How long a caller waits for a connection that is about to come back.
const PATIENCE: Duration = Duration::from_millis(1_000);
/// Between attempts to connect: at first, and at most.
const PAUSES: [Duration; 2] = [Duration::from_millis(50), Duration::from_millis(800)];

/// The statements that a kind of connection runs.
#[async_trait]
pub(super) trait Prepared: Sized + Send + Sync + 'static {
    /// Prepares all of them.
    async fn prepare(client: &Client) -> Result<Self, Error>;
}

/// A connection and its statements.
pub(super) struct Line<S> {
    pub(super) client: Client,
    pub(super) statements: S,
    cut: Notify,
}

enum State<S> {
    Up(Arc<Line<S>>),
    /// Why.
    Down(StoreError),
}

impl<S> Clone for State<S> {
    fn clone(&self) -> State<S> {
        match self {
            State::Up(line) => State::Up(Arc::clone(line)),
            State::Down(why) => State::Down(why.clone()),
        }
    }
}

/// One connection that comes back.
struct Lane<S> {
    state: watch::Receiver<State<S>>,
    /// How many wait for an answer.
    busy: AtomicUsize,
}

/// Some connections of the same kind.
pub(super) struct Pool<S> {
    lanes: Vec<Lane<S>>,
    /// After which an answer is not waited for any more.
    longest: Duration,
    /// Set when the store closes.
    closing: watch::Sender<bool>,
}

impl<S: Prepared> Pool<S> {
    /// Begins to connect; callers wait until it has.
    pub(super) fn new(
        connector: &Arc<Connector>,
        purpose: Purpose,
        size: usize,
        seed: u64,
        longest: Duration,
    ) -> Pool<S> {
        let (closing, closes) = watch::channel(false);
        let lane = |number: usize| {
            let (tell, state) =
                watch::channel(State::Down(StoreError::Unavailable("it is not connected yet".to_owned())));
            let seed =
                seed.wrapping_add(u64::try_from(number).unwrap_or(0)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let keeper =
                Keeper { connector: Arc::clone(connector), purpose, tell, closes: closes.clone(), seed };
            tokio::spawn(keeper.keep());
            Lane { state, busy: AtomicUsize::new(0) }
        };
        Pool { lanes: (0..size).map(lane).collect(), longest, closing }
    }

    /// Waits until the first connection is up.
    ///
    /// # Errors
    /// It does not come: why.
    pub(super) async fn ready(&self) -> Result<(), StoreError> {
        let Some(lane) = self.lanes.first() else { return Err(closed()) };
        let mut state = lane.state.clone();
        let up = state.wait_for(|state| matches!(state, State::Up(_)));
        match tokio::time::timeout(PATIENCE * 10, up).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => Err(closed()),
            Err(_) => match &*lane.state.borrow() {
                State::Up(_) => Ok(()),
                State::Down(why) => Err(why.clone()),
            },
        }
    }

    /// Runs `act` on the connection with the fewest waiting. What is only read may be asked again where the connection was
    /// lost before the answer came.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]: no connection, or no answer in time.
    pub(super) async fn ask<T, F>(
        &self,
        again: bool,
        act: impl Fn(Arc<Line<S>>) -> F,
    ) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, Trouble>>,
    {
        let mut tries = if again { 2 } else { 1 };
        loop {
            tries -= 1;
            let (line, _busy) = self.line().await?;
            match tokio::time::timeout(self.longest, act(Arc::clone(&line))).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(Trouble::Store(error))) => return Err(error),
                Ok(Err(Trouble::Asking(error))) => {
                    if lost(&error) {
                        line.cut.notify_one();
                        if tries > 0 && !*self.closing.borrow() {
                            continue;
                        }
                    }
                    return Err(fault(&error));
                }
                Err(_) => {
                    line.cut.notify_one();
                    return Err(StoreError::Unavailable(format!(
                        "it did not answer within {:?}",
                        self.longest
                    )));
                }
            }
        }
    }

    /// The least busy connection that is up; waits a moment for one.
    async fn line(&self) -> Result<(Arc<Line<S>>, Busy<'_>), StoreError> {
        if *self.closing.borrow() {
            return Err(closed());
        }
        let mut lanes: Vec<&Lane<S>> = self.lanes.iter().collect();
        lanes.sort_by_key(|lane| lane.busy.load(Ordering::Relaxed));
        for lane in &lanes {
            let state = lane.state.borrow().clone();
            if let State::Up(line) = state
                && !line.client.is_closed()
            {
                return Ok((line, Busy::new(lane)));
            }
        }
        let Some(lane) = lanes.first() else { return Err(closed()) };
        let mut state = lane.state.clone();
        let up = |state: &State<S>| matches!(state, State::Up(line) if !line.client.is_closed());
        let came = tokio::time::timeout(PATIENCE, state.wait_for(up)).await;
        let found = match came {
            Ok(Ok(state)) => state.clone(),
            Ok(Err(_)) => return Err(closed()),
            Err(_) => lane.state.borrow().clone(),
        };
        match found {
            State::Up(line) => Ok((line, Busy::new(lane))),
            State::Down(why) => Err(why),
        }
    }

    /// Lets what is asked be answered, and disconnects; later calls fail.
    pub(super) async fn close(&self) {
        self.closing.send_replace(true);
        for lane in &self.lanes {
            let mut state = lane.state.clone();
            // The keeper lets go of its end when it is done.
            while state.changed().await.is_ok() {}
        }
    }
}

pub(super) fn closed() -> StoreError {
    StoreError::Unavailable("it is closed".to_owned())
}

/// Counts a caller for as long as it waits.
struct Busy<'l>(&'l AtomicUsize);

impl<'l> Busy<'l> {
    fn new<S>(lane: &'l Lane<S>) -> Busy<'l> {
        lane.busy.fetch_add(1, Ordering::Relaxed);
        Busy(&lane.busy)
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What connects, moves the bytes, and connects again.
struct Keeper<S> {
    connector: Arc<Connector>,
    purpose: Purpose,
    tell: watch::Sender<State<S>>,
    closes: watch::Receiver<bool>,
    seed: u64,
}

impl<S: Prepared> Keeper<S> {
    async fn keep(mut self) {
        let mut pauses = Pauses::new(self.seed);
        loop {
            let mut closes = self.closes.clone();
            let why = tokio::select! {
                biased;
                () = closing(&mut closes) => return,
                attempt = self.attempt() => match attempt {
                    Ok((line, driver, facts)) => {
                        pauses.reset();
                        self.tell.send_replace(State::Up(Arc::clone(&line)));
                        match self.serve(line, driver, &facts).await {
                            Some(why) => why,
                            None => return,
                        }
                    }
                    Err(why) => why,
                },
            };
            self.tell.send_replace(State::Down(why));
            tokio::select! {
                () = closing(&mut self.closes) => return,
                () = pauses.pause() => {}
            }
        }
    }

    async fn attempt(&self) -> Result<(Arc<Line<S>>, Driver, Facts), StoreError> {
        let (client, mut driver, facts) = self.connector.raw(self.purpose).await?;
        let statements = tokio::select! {
            prepared = tokio::time::timeout(PATIENCE * 5, S::prepare(&client)) => match prepared {
                Ok(prepared) => prepared.map_err(|error| fault(&error))?,
                Err(_) => return Err(StoreError::Unavailable("it did not answer".to_owned())),
            },
            _ = &mut driver => return Err(StoreError::Unavailable("it hung up".to_owned())),
        };
        Ok((Arc::new(Line { client, statements, cut: Notify::new() }), driver, facts))
    }

    /// Until the connection ends (why), or the store closes.
    async fn serve(&mut self, line: Arc<Line<S>>, driver: Driver, facts: &Facts) -> Option<StoreError> {
        let mut driver = pin!(driver);
        let why = tokio::select! {
            ended = &mut driver => ended.err().map_or_else(
                || StoreError::Unavailable("the connection was closed".to_owned()),
                |error| fault(&error),
            ),
            () = line.cut.notified() => StoreError::Unavailable("the connection was given up".to_owned()),
            () = self.connector.rung(facts) => StoreError::Unavailable("it does not answer".to_owned()),
            () = closing(&mut self.closes) => {
                // Nobody finds it any more; the driver ends when the last answer was given.
                self.tell.send_replace(State::Down(closed()));
                drop(line);
                let _ = tokio::time::timeout(PATIENCE, driver).await;
                return None;
            }
        };
        Some(why)
    }
}

/// Waits until the store closes.
async fn closing(closes: &mut watch::Receiver<bool>) {
    // An error: the pool is gone.
    let _ = closes.wait_for(|closing| *closing).await;
}

/// Growing pauses between attempts, a different one for each connection and node.
pub(super) struct Pauses {
    next: Duration,
    seed: u64,
}

impl Pauses {
    pub(super) fn new(seed: u64) -> Pauses {
        Pauses { next: PAUSES[0], seed }
    }

    pub(super) fn reset(&mut self) {
        self.next = PAUSES[0];
    }

    /// Waits: half of the length for sure, the other half as it comes.
    pub(super) async fn pause(&mut self) {
        // xorshift64: it spreads attempts, and protects nothing.
        self.seed ^= self.seed << 13;
        self.seed ^= self.seed >> 7;
        self.seed ^= self.seed << 17;
        let half = self.next / 2;
        let some = half.mul_f64(f64::from(u16::try_from(self.seed & 0xffff).unwrap_or(0)) / 65_536.0);
        self.next = (self.next * 2).min(PAUSES[1]);
        let _ = tokio::time::timeout(half + some, std::future::pending::<()>()).await;
    }
}
