//! What one client may take from the server before it is turned away.
//!
//! A session server stands in front of every request of somebody else's application, so a client that sends one byte a
//! second, or opens ten thousand sockets, must cost next to nothing and must never take the place of an honest one.
//! Every bound of the network edge is here, with its unit, its default, and what the client sees when it passes it.

use std::time::Duration;

/// All bounds of the network edge. `Limits::default()` is what the server runs with.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Time for the TLS handshake, from the accepted connection to its end. Over it: closed.
    pub handshake: Duration,
    /// Time from the first byte of a request to the end of its header (for the first request of a connection: from the
    /// accepted connection). Over it: 408 if any byte had come, else closed without a word, as a browser's spare
    /// connection would take an answer for the answer to its next request.
    pub header_read: Duration,
    /// Time from the end of the header to the last byte of the body. Over it: 408, unless the answer has begun.
    pub body_read: Duration,
    /// Time a connection may rest between two requests. Over it: closed. Longer than the 60 s that load balancers
    /// commonly keep an idle connection, so that they close first and no request meets a closing connection.
    pub idle: Duration,
    /// Time in which a client that is being answered must take at least one byte. Over it: reset.
    pub write_stall: Duration,
    /// Time that running requests get to finish once the server stops. Over it: cut, and counted.
    pub drain: Duration,
    /// Connections at the same time. Over it, [`Limits::health_paths`] are answered and everything else gets 503.
    pub max_connections: usize,
    /// Connections at the same time from one address (IPv6: one /64); 0 for no bound. Over it: as above, with 429.
    /// Off by default, because behind a proxy all connections come from one address.
    pub max_connections_per_peer: usize,
    /// Bytes of the request line and all header lines together. Over it: 431.
    pub header_bytes: usize,
    /// Header lines. Over it: 431.
    pub headers: usize,
    /// Bytes of the request target. Over it: 414.
    pub target_bytes: usize,
    /// Paths that are answered even when [`Limits::max_connections`] is reached, from [`SPARE_SEATS`] spare places: a
    /// full server must not look like a dead one, or its supervisor restarts it and the next one fills up as well.
    pub health_paths: &'static [&'static str],
}

/// Connections beyond [`Limits::max_connections`] that are still accepted, to be asked for what they came for. Beyond
/// these a connection is closed as soon as it is accepted.
pub const SPARE_SEATS: usize = 64;

/// How many of the [`SPARE_SEATS`] one address may hold that is over its own bound, so that it cannot take them all.
pub const SPARE_SEATS_PER_PEER: usize = 4;

/// After a refusal the connection is closed for writing, and what the client still sends is read and thrown away for
/// at most this long. Without that the kernel answers its bytes with a reset, which destroys the refusal on its way.
pub(super) const LINGER: Duration = Duration::from_secs(2);

/// The longest time between two looks at the deadlines. Every deadline may be late by two of these, and is never early.
const COARSEST_TICK: Duration = Duration::from_millis(250);

impl Default for Limits {
    fn default() -> Self {
        Limits {
            handshake: Duration::from_secs(10),
            header_read: Duration::from_secs(10),
            body_read: Duration::from_secs(30),
            idle: Duration::from_secs(75),
            write_stall: Duration::from_secs(30),
            drain: Duration::from_secs(10),
            max_connections: 10_000,
            max_connections_per_peer: 0,
            header_bytes: 16 * 1024,
            headers: 100,
            target_bytes: 8 * 1024,
            health_paths: &["/livez", "/readyz"],
        }
    }
}

impl Limits {
    /// How often the deadlines are looked at: an eighth of the shortest of them, between 5 ms and 250 ms.
    pub(super) fn tick(&self) -> Duration {
        let times = [
            self.handshake,
            self.header_read,
            self.body_read,
            self.idle,
            self.write_stall,
            self.drain,
            LINGER,
        ];
        let shortest = times.into_iter().min().unwrap_or(COARSEST_TICK);
        (shortest / 8).clamp(Duration::from_millis(5), COARSEST_TICK)
    }
}
