//! The gate between the socket and hyper: one request at a time, and only a whole, unambiguous header.
//!
//! hyper asks this for bytes. It gets those of the request it is at and no others: a header is held back until its last
//! byte is here and [`head::examine`] has nothing against it; what follows the end of the request waits until the
//! answer is written. That gives the edge, at no cost to the usual request (its bytes are copied once and never stored):
//!
//! - refusals with our own words, for hyper is not in the middle of anything when one is needed;
//! - exact phases for the deadlines, with two plain stores a request and no timer;
//! - a bound on what a client can make us hold: without it, one that pipelines requests and reads no answers fills
//!   hyper's write buffer with answers.
//!
//! Pipelined requests are served in order, each after the answer before it.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper::rt::{Read, ReadBufCursor, Write};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::board::{Phase, Seat, Stage};
use super::chunks::Chunks;
use super::head::{self, Framing, Look};
use super::refusal::Refusal;
use super::socket::Socket;

/// Read at most this much from the socket at once; also hyper's first buffer.
const READ: usize = 8 * 1024;

/// What the next byte from the client belongs to.
enum Expect {
    Header,
    Body { left: u64 },
    Chunks(Chunks),
}

pub(super) struct Gate {
    socket: Socket,
    seat: Arc<Seat>,
    expect: Expect,
    /// Read and not let through yet: the beginning of a header, or of the next request.
    stash: Vec<u8>,
    /// How much of the front of `stash` may go to hyper.
    passed: usize,
    /// Length of `stash` when it was last looked at, so that the same bytes are not judged twice.
    judged: usize,
    refusal: Option<Refusal>,
    /// The chunks of the body are malformed from here on.
    broken: bool,
    /// hyper's own answer to a header it could not parse was held back.
    unparsed: bool,
}

/// What is left of a connection when hyper is through with it.
pub(super) struct Remains {
    pub(super) socket: Socket,
    /// The refusal to send, if it came to one.
    pub(super) refusal: Option<Refusal>,
    /// hyper could not parse the header.
    pub(super) unparsed: bool,
    /// The client is in the middle of sending something.
    pub(super) unread: bool,
}

impl Gate {
    pub(super) fn new(socket: Socket, seat: Arc<Seat>) -> Self {
        seat.enter(Phase::Fresh);
        Gate {
            socket,
            seat,
            expect: Expect::Header,
            stash: Vec::new(),
            passed: 0,
            judged: 0,
            refusal: None,
            broken: false,
            unparsed: false,
        }
    }

    pub(super) fn into_remains(self) -> Remains {
        let unread = !matches!(self.expect, Expect::Header) || !self.stash.is_empty();
        Remains { socket: self.socket, refusal: self.refusal, unparsed: self.unparsed, unread }
    }

    /// How many of `bytes` may go to hyper now. Stops at the end of a request.
    fn admit(&mut self, bytes: &[u8]) -> usize {
        let mut at = 0;
        if matches!(self.expect, Expect::Header) {
            if !self.seat.may_begin() {
                return 0;
            }
            match head::examine(bytes, &self.seat.board.limits) {
                Look::Partial => return 0,
                Look::Refused(refusal) => {
                    self.refusal = Some(refusal);
                    return 0;
                }
                Look::Whole { len, target, framing } => {
                    if let Some(full) = self.seat.full.filter(|_| !self.is_health_check(target)) {
                        self.refusal = Some(full);
                        return 0;
                    }
                    at = len;
                    self.expect = match framing {
                        Framing::Length(0) => Expect::Header,
                        Framing::Length(left) => Expect::Body { left },
                        Framing::Chunked => Expect::Chunks(Chunks::default()),
                    };
                    self.seat.set_stage(Stage::Admitted);
                }
            }
        }
        match &mut self.expect {
            Expect::Header => {}
            Expect::Body { left } => {
                let here = (*left).min((bytes.len() - at) as u64);
                *left -= here;
                // As it is no more than there are bytes, it fits.
                at += usize::try_from(here).unwrap_or(0);
                if *left == 0 {
                    self.expect = Expect::Header;
                }
            }
            Expect::Chunks(chunks) => {
                match chunks.walk(&bytes[at..]) {
                    Ok(n) => at += n,
                    Err(_) => self.broken = true,
                }
                if chunks.ended() {
                    self.expect = Expect::Header;
                }
            }
        }
        let whole = matches!(self.expect, Expect::Header);
        self.seat.change_to(if whole { Phase::Working } else { Phase::Body });
        at
    }

    fn is_health_check(&self, target: &[u8]) -> bool {
        self.seat.board.limits.health_paths.iter().any(|path| path.as_bytes() == target)
    }

    /// Looks at the stash, if something in it may have become admissible.
    fn admit_stash(&mut self) {
        let header = matches!(self.expect, Expect::Header);
        if self.stash.is_empty() || self.judged == self.stash.len() || (header && !self.seat.may_begin()) {
            return;
        }
        let stash = std::mem::take(&mut self.stash);
        self.passed = self.admit(&stash);
        self.judged = if self.passed == 0 { stash.len() } else { 0 };
        self.stash = stash;
    }

    /// Gives hyper what was let through; says whether there was anything.
    fn hand_over(&mut self, cursor: &mut ReadBufCursor<'_>) -> bool {
        let n = self.passed.min(cursor.remaining());
        if n == 0 {
            return false;
        }
        cursor.put_slice(&self.stash[..n]);
        self.stash.drain(..n);
        self.passed -= n;
        if self.stash.is_empty() {
            // A connection at rest holds no buffer.
            self.stash = Vec::new();
        }
        true
    }

    /// Nothing to read for now: what is the client at?
    fn rest(&self) {
        self.seat.change_to(match self.expect {
            Expect::Body { .. } | Expect::Chunks(_) => Phase::Body,
            Expect::Header if self.seat.stage() != Stage::None => Phase::Working,
            Expect::Header if !self.stash.is_empty() => Phase::Header,
            Expect::Header if self.seat.phase() == Phase::Fresh => Phase::Fresh,
            Expect::Header => Phase::Idle,
        });
    }

    /// Keeps the write deadline: it runs while the client takes nothing.
    fn wrote<T>(&self, outcome: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        match (outcome.is_pending(), self.seat.is_write_stalled()) {
            (true, false) => self.seat.write_stalls(),
            (false, true) => self.seat.write_moves(),
            _ => {}
        }
        outcome
    }

    /// hyper writes although no door was asked: its own bare answer to a header that it could not parse. It is held
    /// back; the connection ends with our answer instead.
    fn holds_back(&mut self) -> bool {
        let held = self.seat.stage() == Stage::Admitted;
        self.unparsed |= held;
        held
    }
}

impl Read for Gate {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut cursor: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let gate = self.get_mut();
        let mut room = [const { MaybeUninit::<u8>::uninit() }; READ];
        loop {
            if gate.passed == 0 {
                gate.admit_stash();
            }
            if gate.hand_over(&mut cursor) || gate.refusal.is_some() {
                // After a refusal: the end, as far as hyper is concerned.
                return Poll::Ready(Ok(()));
            }
            if gate.broken {
                // hyper tells whoever reads the body, and that is a door, which answers.
                let what = "the chunks of the request body are malformed";
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, what)));
            }
            if matches!(gate.expect, Expect::Header) && !gate.seat.may_begin() && !gate.stash.is_empty() {
                // The next request waits for the end of this one, and nothing more is read before.
                gate.rest();
                gate.seat.queue();
                return Poll::Pending;
            }
            let most = cursor.remaining().min(READ);
            let mut buf = ReadBuf::uninit(&mut room[..most]);
            let Poll::Ready(outcome) = Pin::new(&mut gate.socket).poll_read(cx, &mut buf) else {
                gate.rest();
                return Poll::Pending;
            };
            outcome?;
            let bytes = buf.filled();
            if bytes.is_empty() {
                return Poll::Ready(Ok(()));
            }
            if gate.stash.is_empty() {
                let n = gate.admit(bytes);
                cursor.put_slice(&bytes[..n]);
                gate.stash.extend_from_slice(&bytes[n..]);
                // Behind the end of a body nothing was looked at yet.
                gate.judged = if n == 0 && gate.seat.may_begin() { gate.stash.len() } else { 0 };
                if n > 0 {
                    return Poll::Ready(Ok(()));
                }
            } else {
                gate.stash.extend_from_slice(bytes);
            }
        }
    }
}

impl Write for Gate {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let gate = self.get_mut();
        if gate.holds_back() {
            return Poll::Ready(Ok(buf.len()));
        }
        let outcome = Pin::new(&mut gate.socket).poll_write(cx, buf);
        gate.wrote(outcome)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let gate = self.get_mut();
        if gate.holds_back() {
            return Poll::Ready(Ok(bufs.iter().map(|buf| buf.len()).sum()));
        }
        let outcome = Pin::new(&mut gate.socket).poll_write_vectored(cx, bufs);
        gate.wrote(outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let gate = self.get_mut();
        let outcome = Pin::new(&mut gate.socket).poll_flush(cx);
        gate.wrote(outcome)
    }

    /// Does nothing: how a connection ends is decided when hyper has let go of it.
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
