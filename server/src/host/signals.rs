//! How the process is told to end, and to read its files again.
//!
//! SIGTERM or SIGINT asks it to stop: finish what runs, take nothing new. A second one means: at once. SIGHUP asks it to
//! reload. The operating system's signals end here; the rest of the server knows [`Stop`] and [`Reloads`].

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stopping {
    No,
    Begun,
    Urgent,
}

/// Tells all [`Stop`]s that were made with it that the process ends. Dropping it tells them nothing.
pub struct Stopper(watch::Sender<Stopping>);

/// Knows whether the process is to end. Clones hear the same.
#[derive(Clone)]
pub struct Stop(watch::Receiver<Stopping>);

/// A stop that nobody has asked for yet.
pub fn stop() -> (Stopper, Stop) {
    let (sender, receiver) = watch::channel(Stopping::No);
    (Stopper(sender), Stop(receiver))
}

impl Stopper {
    /// Asks for an orderly end; asked a second time, for the end at once.
    pub fn ask(&self) {
        self.0.send_modify(|stopping| {
            *stopping = if *stopping == Stopping::No { Stopping::Begun } else { Stopping::Urgent };
        });
    }
}

impl Stop {
    /// Waits until the process is to end.
    pub async fn begun(&mut self) {
        self.reached(Stopping::Begun).await;
    }

    /// Waits until the process is to end at once.
    pub async fn urgent(&mut self) {
        self.reached(Stopping::Urgent).await;
    }

    async fn reached(&mut self, level: Stopping) {
        if self.0.wait_for(|stopping| *stopping >= level).await.is_err() {
            // Nobody is left who could ask.
            std::future::pending::<()>().await;
        }
    }
}

/// The requests to reload, as they come. Requests that come while one is served are one more, not many.
pub struct Reloads(Signal);

impl Reloads {
    /// Waits for the next request.
    pub async fn next(&mut self) {
        if self.0.recv().await.is_none() {
            std::future::pending::<()>().await;
        }
    }
}

/// Takes over SIGTERM, SIGINT and SIGHUP from the moment it is called. Call it before the server says that it is ready.
///
/// # Errors
/// The operating system refuses the handlers.
pub fn listen() -> io::Result<(Stop, Reloads)> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let hangup = signal(SignalKind::hangup())?;
    let (stopper, stop) = stop();
    tokio::spawn(async move {
        loop {
            let name = tokio::select! {
                _ = terminate.recv() => "SIGTERM",
                _ = interrupt.recv() => "SIGINT",
            };
            stopper.ask();
            tracing::info!(signal = name, "asked to stop");
        }
    });
    Ok((stop, Reloads(hangup)))
}
