//! One connection, from its first byte to its last.
//!
//! What a proxy says of its client (if it must), handshake (if TLS), then hyper behind the [`Gate`], then a goodbye that
//! the client can read. One task does all of it; whatever it waits for, it also looks at its seat: is its time up, does
//! the server end?

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::header::{CONNECTION, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper::{Request, Response};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use super::board::{Overdue, Phase, Seat, Seated, Stage, Urgency};
use super::gate::{Gate, Remains};
use super::proxy::{self, Look, Whose};
use super::refusal::Refusal;
use super::socket::Socket;
use super::{OverTls, PeerAddr};

/// After a refusal, at most this many bytes are read and thrown away.
const MOST_LINGER: usize = 4 * 1024 * 1024;

/// hyper's bound on what it buffers of one answer before the client takes some, and of a header.
const HYPER_BUFFER: usize = 64 * 1024;

/// What comes before HTTP on one connection.
pub(super) struct Before {
    /// It is a trusted proxy's, which must say whose it is.
    pub(super) proxied: bool,
    /// It is TLS.
    pub(super) tls: Option<TlsAcceptor>,
}

/// Serves `tcp` until its end.
pub(super) async fn attend<S, B>(
    mut tcp: TcpStream,
    mut peer: SocketAddr,
    before: Before,
    service: S,
    mut seated: Seated,
) where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Unpin,
    B: Body + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    // Small answers must not wait for the acknowledgement of the ones before; if it fails, the connection is dead.
    if tcp.set_nodelay(true).is_err() {
        return;
    }
    let over_tls = before.tls.is_some();
    if before.proxied {
        // On the heap: connections without it should not carry the room for it.
        let Some((named, socket)) = Box::pin(named(tcp, peer, over_tls, &seated.0)).await else { return };
        (peer, tcp) = (named, socket);
        let board = Arc::clone(&seated.0.board);
        let Some(moved) = board.reseat(seated, peer.ip()) else { return count("no_seat") };
        seated = moved;
    }
    let seat = &seated.0;
    let socket = match before.tls {
        None => Socket::Plain(tcp),
        Some(acceptor) => match handshake(tcp, acceptor, seat).await {
            Some(socket) => socket,
            None => return,
        },
    };

    let calls = Arc::clone(seat);
    let doors = service_fn(move |mut request: Request<Incoming>| {
        calls.set_stage(Stage::Called);
        let under_way = UnderWay(Arc::clone(&calls));
        request.extensions_mut().insert(PeerAddr(peer));
        if over_tls {
            request.extensions_mut().insert(OverTls);
        }
        let answering = service.call(request);
        async move {
            let Ok(mut answer) = answering.await;
            under_way.0.set_stage(Stage::Answered);
            if under_way.0.phase() == Phase::Body {
                // The door did not wait for the body, and nobody will: hyper closes. The client must not find that out
                // with its next request.
                answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, Infallible>(answer.map(|body| Outgoing { body, _under_way: under_way }))
        }
    });
    let limits = &seat.board.limits;
    let mut builder = http1::Builder::new();
    builder
        // The gate keeps all times, and never lets a second request in, so there are no flushes to save.
        .header_read_timeout(None)
        .pipeline_flush(false)
        // An answer is small: copied behind its header, it leaves in one plain write, which costs less than a gathering one.
        .writev(false)
        .keep_alive(seat.full.is_none())
        .max_buf_size(HYPER_BUFFER.max(limits.header_bytes.saturating_mul(2)));
    if limits.headers > 100 {
        // The gate counts; hyper only must not count lower. (Left alone, hyper keeps its table on the stack.)
        builder.max_headers(limits.headers.saturating_add(1));
    }
    let mut http = builder.serve_connection(Gate::new(socket, Arc::clone(seat)), doors);
    let mut told = false;
    let ending = poll_fn(|cx| {
        let served = Pin::new(&mut http).poll(cx);
        if served.is_pending() && !told && seat.board.urgency() == Urgency::Draining {
            // Only after hyper has seen what the socket holds: a request that is already here is still answered.
            told = true;
            Pin::new(&mut http).graceful_shutdown();
            return Pin::new(&mut http).poll(cx).map(Ending::Served);
        }
        if served.is_pending() && seat.take_queued() {
            // hyper does not know that the next request is here already: it is asked again, after other connections.
            cx.waker().wake_by_ref();
        }
        served.map(Ending::Served)
    });
    let ending = match watched(seat, ending).await {
        Ok(ending) => ending,
        Err(cut) => cut,
    };
    // Taking hyper apart ends the request that is under way, if one is.
    let stage = seat.stage();
    let remains = http.into_parts().io.into_remains();
    say_goodbye(remains, ending, stage, seat).await;
}

/// How serving came to its end.
enum Ending {
    Served(hyper::Result<()>),
    Overdue(Overdue),
    /// The server ends now.
    Cut,
}

/// Runs `future` until it is done, or the seat's time is up, or the server cuts.
async fn watched<T>(seat: &Seat, future: impl Future<Output = T>) -> Result<T, Ending> {
    let mut future = pin!(future);
    poll_fn(|cx: &mut Context<'_>| {
        seat.waker.register(cx.waker());
        if seat.board.urgency() == Urgency::Cutting {
            return Poll::Ready(Err(Ending::Cut));
        }
        if let Poll::Ready(done) = future.as_mut().poll(cx) {
            return Poll::Ready(Ok(done));
        }
        match seat.overdue() {
            Some(overdue) => Poll::Ready(Err(Ending::Overdue(overdue))),
            None => Poll::Pending,
        }
    })
    .await
}

/// Whose connection it is, as its proxy says; `None` if that is not said as it must be, and then it is already ended.
async fn named(
    mut tcp: TcpStream,
    peer: SocketAddr,
    over_tls: bool,
    seat: &Seat,
) -> Option<(SocketAddr, TcpStream)> {
    seat.enter(Phase::Handshake);
    let read = {
        let mut reading = pin!(header(&mut tcp));
        let unless_it_ends = poll_fn(|cx| match reading.as_mut().poll(cx) {
            // Who has not said it when the server ends is not waited for.
            Poll::Pending if seat.board.urgency() != Urgency::Serving => Poll::Ready(Ok(None)),
            read => read,
        });
        watched(seat, unless_it_ends).await
    };
    match read {
        Ok(Ok(Some(Ok(Whose::Own)))) => Some((peer, tcp)),
        Ok(Ok(Some(Ok(Whose::Client(client))))) => Some((client, tcp)),
        Ok(Ok(Some(Err(why)))) => {
            tracing::debug!(connection = seat.serial, %peer, why, "not the PROXY protocol");
            if over_tls {
                count("proxy_protocol");
            } else {
                refuse(Socket::Plain(tcp), Refusal::Malformed(why), seat).await;
            }
            None
        }
        _ => None,
    }
}

/// Reads a header of the PROXY protocol and not a byte more; `None` if the connection ends before it does.
async fn header(tcp: &mut TcpStream) -> io::Result<Option<Result<Whose, &'static str>>> {
    let mut found = Vec::new();
    let mut seen = vec![0; 512];
    loop {
        let before = found.len();
        let n = tcp.peek(&mut seen).await?;
        if n == 0 {
            return Ok(None);
        }
        found.extend_from_slice(&seen[..n]);
        let (take, said) = match proxy::examine(&found) {
            Look::Partial => (n, None),
            Look::Whole { len, of } => (len.saturating_sub(before), Some(Ok(of))),
            Look::Wrong(why) => return Ok(Some(Err(why))),
        };
        tcp.read_exact(&mut seen[..take]).await?;
        if said.is_some() {
            return Ok(said);
        }
    }
}

/// The TLS handshake; `None` if it failed, and then the connection is already ended.
async fn handshake(tcp: TcpStream, acceptor: TlsAcceptor, seat: &Seat) -> Option<Socket> {
    /// The first byte of every TLS connection: a record of the handshake.
    const HANDSHAKE_RECORD: u8 = 0x16;

    seat.enter(Phase::Handshake);
    let mut first = [0];
    match watched(seat, tcp.peek(&mut first)).await {
        Ok(Ok(1)) if seat.board.urgency() != Urgency::Serving => None,
        Ok(Ok(1)) if first[0] == HANDSHAKE_RECORD => match watched(seat, acceptor.accept(tcp)).await {
            Ok(Ok(tls)) => Some(Socket::Tls(Box::new(tls))),
            Ok(Err(error)) => {
                tracing::debug!(connection = seat.serial, %error, "TLS handshake failed");
                None
            }
            Err(_) => None,
        },
        Ok(Ok(1)) => {
            refuse(Socket::Plain(tcp), Refusal::TlsExpected, seat).await;
            None
        }
        _ => None,
    }
}

/// Ends the connection in the way that fits how it went.
async fn say_goodbye(remains: Remains, ending: Ending, stage: Stage, seat: &Seat) {
    let Remains { socket, refusal, unparsed, unread } = remains;
    match ending {
        Ending::Served(outcome) => {
            if let Some(refusal) = refusal {
                refuse(socket, refusal, seat).await;
            } else if unparsed {
                let too_large = matches!(&outcome, Err(error) if error.is_parse_too_large());
                let malformed =
                    Refusal::Malformed("the request line or a header field is not well-formed HTTP");
                refuse(socket, if too_large { Refusal::HeaderTooLong } else { malformed }, seat).await;
            } else if outcome.is_ok() {
                close(socket, unread, seat).await;
            }
        }
        Ending::Overdue(Overdue::Reading(Phase::Header)) => {
            refuse(socket, Refusal::Slow("the header of the request did not arrive in time"), seat).await;
        }
        Ending::Overdue(Overdue::Reading(Phase::Body))
            if matches!(stage, Stage::Called | Stage::Admitted) =>
        {
            refuse(socket, Refusal::Slow("the body of the request did not arrive in time"), seat).await;
        }
        Ending::Overdue(Overdue::Reading(_)) => close(socket, unread, seat).await,
        Ending::Overdue(Overdue::Writing) => {
            count("write_stalled");
            socket.reset();
        }
        Ending::Cut => {}
    }
}

/// Sends the refusal and closes so that it arrives.
async fn refuse(mut socket: Socket, refusal: Refusal, seat: &Seat) {
    count(refusal.code());
    tracing::debug!(connection = seat.serial, code = refusal.code(), "refused a connection's request");
    seat.enter(Phase::Linger);
    let answer = refusal.answer(seat.serial);
    if let Ok(Ok(())) = watched(seat, socket.write_all(&answer)).await {
        close(socket, true, seat).await;
    }
}

/// Closes; when the client is still sending (`unread`), its bytes are read and thrown away for a while first.
async fn close(mut socket: Socket, unread: bool, seat: &Seat) {
    seat.enter(Phase::Linger);
    seat.write_moves();
    // What fails here fails because the client is gone.
    let _ = watched(seat, async {
        socket.shutdown().await?;
        if unread {
            let mut thrown_away = 0;
            // On the heap: every connection would carry an array from its first moment on.
            let mut sink = vec![0; 4096];
            while thrown_away < MOST_LINGER {
                match socket.read(&mut sink).await? {
                    0 => break,
                    n => thrown_away += n,
                }
            }
        }
        io::Result::Ok(())
    })
    .await;
}

pub(super) fn count(reason: &'static str) {
    metrics::counter!("handstamp_edge_refused_total", "reason" => reason).increment(1);
}

/// Held as long as a request is under way; lets the next one in when it is dropped.
struct UnderWay(Arc<Seat>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.over();
    }
}

/// The body of an answer: the service's own, and the knowledge of when it is over.
struct Outgoing<B> {
    body: B,
    _under_way: UnderWay,
}

impl<B: Body + Unpin> Body for Outgoing<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
