//! The network edge: accepts connections, keeps clients within their [`Limits`], ends gracefully.
//!
//! Between a socket and the service stand, in this order: the [`board`] (is there a seat? whose time is up?), what a proxy
//! says of its client ([`proxy`]) and TLS if they are on, the [`gate`] (one whole, unambiguous request at a time), and
//! hyper. Every request that reaches the service carries its client's address as [`PeerAddr`] and, if it came over TLS,
//! [`OverTls`], in its extensions.

mod board;
pub mod chunks;
mod connection;
mod gate;
pub mod head;
mod limits;
pub mod proxy;
mod refusal;
mod socket;
mod tls;

use std::convert::Infallible;
use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use handstamp_core::address::Networks;
use hyper::body::{Body, Incoming};
use hyper::service::Service;
use hyper::{Request, Response};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, Interval, MissedTickBehavior};

use self::board::{Board, Urgency};
pub use self::limits::{Limits, SPARE_SEATS, SPARE_SEATS_PER_PEER};
pub use self::refusal::Refusal;
pub use self::tls::{Tls, TlsError};
use crate::host::signals::Stop;

/// Request extension: who is at the other end of the connection. With a proxy in front, that is the proxy, unless it
/// named its client with the PROXY protocol. Whose request it is, is for [`super::peer`] to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerAddr(pub SocketAddr);

/// Request extension: the request came over TLS to this very listener. Absent on plain connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OverTls;

/// What comes on a connection before HTTP.
#[derive(Clone, Default)]
pub struct Preface {
    /// Connections from these addresses, and no others, begin with a header of the PROXY protocol.
    pub proxies: Option<Arc<Networks>>,
    /// TLS, on all of them.
    pub tls: Option<Tls>,
}

/// How serving ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drained {
    /// Connections that were open when the stop came.
    pub open: usize,
    /// Of these, how many did not end by themselves in time and were cut.
    pub cut: usize,
}

/// How long cut connections get to let go of what they hold.
const CUT_GRACE: Duration = Duration::from_secs(1);

/// Serves `listener` with `service` until `stop`, then drains: no connection is accepted any more, resting ones are
/// closed, running requests are answered with `Connection: close`; what still runs after [`Limits::drain`] (or when the
/// stop becomes urgent) is cut. Returns when no connection is left.
///
/// The service must answer in its own time: there is no limit on it here, since an answer may be a stream without end.
pub async fn serve<S, B>(
    listener: TcpListener,
    preface: Preface,
    service: S,
    limits: Limits,
    mut stop: Stop,
) -> Drained
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>
        + Clone
        + Send
        + Unpin
        + 'static,
    S::Future: Send,
    B: Body + Send + Unpin + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let board = Board::new(limits);
    let mut clock = Clock::start(board.limits.tick());
    // After an `accept` that failed for want of something (files, memory), nothing is accepted until the next tick: it
    // would fail again at once, and again.
    let mut paused = false;
    let mut failing = false;
    let mut told = Told::default();
    loop {
        tokio::select! {
            now = clock.tick() => {
                board.tick(clock.since_start(now));
                paused = false;
                told.tell(board.open());
            }
            accepted = accept(&listener, paused) => match accepted {
                Ok((tcp, peer)) => {
                    failing = false;
                    let proxied = preface.proxies.as_ref().is_some_and(|known| known.contains(peer.ip()));
                    let Some(seated) = board.seat((!proxied).then_some(peer.ip())) else {
                        connection::count("no_seat");
                        continue;
                    };
                    let before = connection::Before { proxied, tls: preface.tls.as_ref().map(Tls::acceptor) };
                    tokio::spawn(connection::attend(tcp, peer, before, service.clone(), seated));
                }
                Err(error) if is_the_clients_fault(&error) => {}
                Err(error) => {
                    if !failing {
                        tracing::warn!(%error, open = board.open(), "cannot accept connections for the moment");
                    }
                    (failing, paused) = (true, true);
                }
            },
            () = stop.begun() => break,
        }
    }
    drop(listener);
    drain(&board, clock, stop, told).await
}

/// Ends what is left, in order.
async fn drain(board: &Arc<Board>, mut clock: Clock, mut stop: Stop, mut told: Told) -> Drained {
    let open = board.open();
    board.raise(Urgency::Draining);
    let ends_at = clock.now + board.limits.drain;
    while board.open() > 0 {
        tokio::select! {
            now = clock.tick() => {
                board.tick(clock.since_start(now));
                if now >= ends_at {
                    break;
                }
            }
            () = board.emptied.notified() => {}
            () = stop.urgent() => break,
        }
    }
    let cut = board.open();
    board.raise(Urgency::Cutting);
    let gone_by = clock.now + CUT_GRACE;
    while board.open() > 0 && clock.now < gone_by {
        tokio::select! {
            _ = clock.tick() => {}
            () = board.emptied.notified() => {}
        }
    }
    told.tell(board.open());
    Drained { open, cut }
}

/// Accepts the next connection, or never while accepting pauses.
async fn accept(listener: &TcpListener, paused: bool) -> io::Result<(TcpStream, SocketAddr)> {
    if paused { pending().await } else { listener.accept().await }
}

/// A connection that was gone before it was accepted says nothing about the next one.
fn is_the_clients_fault(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
    )
}

/// The listener's clock: its ticks carry the time, so nobody reads the machine's clock for a deadline.
struct Clock {
    ticks: Interval,
    started: Instant,
    now: Instant,
}

impl Clock {
    fn start(every: Duration) -> Self {
        let mut ticks = tokio::time::interval(every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let started = Instant::now();
        Clock { ticks, started, now: started }
    }

    async fn tick(&mut self) -> Instant {
        self.now = self.ticks.tick().await;
        self.now
    }

    fn since_start(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.started)
    }
}

/// How many connections the metrics know of. Told as differences, because a process may have several listeners.
#[derive(Default)]
struct Told(f64);

impl Told {
    fn tell(&mut self, open: usize) {
        let open = f64_of(open);
        metrics::gauge!("handstamp_edge_connections").increment(open - self.0);
        self.0 = open;
    }
}

/// A count of connections fits a float exactly up to 2^53.
fn f64_of(count: usize) -> f64 {
    u32::try_from(count).map_or(f64::MAX, f64::from)
}
