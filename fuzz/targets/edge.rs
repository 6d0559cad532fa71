//! What the targets of the network edge share: the edge as it walks over the bytes of a connection, and hyper behind it,
//! which must find the same requests in what it is given.

use http::{Request, Response};
use hyper::body::{Body, Incoming};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use std::cell::RefCell;
use std::convert::Infallible;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

/// What a door behind hyper saw of a request.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Seen {
    pub target: String,
    pub body: Vec<u8>,
    /// The body was read to its end.
    pub whole: bool,
    /// hyper says that it is no body.
    pub failed: bool,
}

/// Sent behind a request that the edge takes for whole: hyper must find it right there or not at all.
pub const NEXT: &[u8] = b"GET /the-next-one HTTP/1.1\r\nhost: x\r\n\r\n";

/// Lets hyper read `bytes`, which the edge has let through. `body` is the whole decoded body, or `None` when the edge
/// still waits for its end. hyper may refuse what the edge lets through, but not find another end of the body, and not
/// wait for more than the edge does. Nothing can be wrong with a body that is `counted`.
pub fn agrees(mut bytes: Vec<u8>, target: &[u8], counted: bool, body: Option<&[u8]>) {
    if body.is_some() {
        let (seen, ended) = serve(&bytes);
        let waits = seen.first().map_or(!ended, |first| !first.whole && !first.failed);
        assert!(!waits, "hyper waits, the edge does not: {:?}", String::from_utf8_lossy(&bytes));
        bytes.extend_from_slice(NEXT);
    }
    let (seen, _) = serve(&bytes);
    let Some(first) = seen.first() else { return };
    let said = || format!("{seen:?} in {:?}", String::from_utf8_lossy(&bytes));
    // An absolute target is taken apart by hyper; all others stand as they were sent.
    assert!(!target.starts_with(b"/") || target.starts_with(first.target.as_bytes()), "{}", said());
    assert!(!(counted && first.failed), "chunks to hyper, a length to the edge: {}", said());
    match body {
        None => assert!(seen.len() == 1 && !first.whole, "the edge waits, hyper does not: {}", said()),
        Some(body) => {
            assert!(!first.whole || first.body == body, "another body: {}", said());
            assert!(body.starts_with(&first.body), "another body: {}", said());
            let next = Seen { target: "/the-next-one".to_owned(), whole: true, ..Seen::default() };
            assert!(seen.len() == 1 || (first.whole && seen[1..] == [next]), "another request: {}", said());
        }
    }
}

/// Every request that hyper finds in `bytes`, set up as the server has it; and whether it ended the connection.
fn serve(bytes: &[u8]) -> (Vec<Seen>, bool) {
    let seen = Rc::new(RefCell::new(Vec::new()));
    let door = service_fn(|request: Request<Incoming>| {
        let seen = Rc::clone(&seen);
        async move {
            let (head, body) = request.into_parts();
            let at = seen.borrow().len();
            let target = head.uri.path_and_query().map_or("", |target| target.as_str()).to_owned();
            seen.borrow_mut().push(Seen { target, ..Seen::default() });
            let mut body = pin!(body);
            loop {
                match std::future::poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
                    Some(Ok(frame)) => {
                        if let Ok(data) = frame.into_data() {
                            seen.borrow_mut()[at].body.extend_from_slice(&data);
                        }
                    }
                    Some(Err(_)) => {
                        seen.borrow_mut()[at].failed = true;
                        break;
                    }
                    None => {
                        seen.borrow_mut()[at].whole = true;
                        break;
                    }
                }
            }
            Ok::<_, Infallible>(Response::new(String::new()))
        }
    });
    let mut builder = http1::Builder::new();
    builder.header_read_timeout(None).pipeline_flush(false).writev(false);
    let io = Wire { bytes: bytes.to_vec(), at: 0 };
    let mut connection = pin!(builder.serve_connection(io, door));
    let woken = Arc::new(Woken(AtomicBool::new(true)));
    let waker = Waker::from(Arc::clone(&woken));
    let mut ended = false;
    while !ended && woken.0.swap(false, Ordering::Relaxed) {
        ended = connection.as_mut().poll(&mut Context::from_waker(&waker)).is_ready();
    }
    let found = seen.borrow().clone();
    (found, ended)
}

struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A client that has sent everything, takes every answer, and stays.
struct Wire {
    bytes: Vec<u8>,
    at: usize,
}

impl Read for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        mut to: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let wire = self.get_mut();
        let n = to.remaining().min(wire.bytes.len() - wire.at);
        if n == 0 {
            return Poll::Pending;
        }
        to.put_slice(&wire.bytes[wire.at..wire.at + n]);
        wire.at += n;
        Poll::Ready(Ok(()))
    }
}

impl Write for Wire {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// What a walk over a chunked body came to: how many bytes are its own, and whether it has ended.
pub type Walked = Result<(usize, bool), ()>;

/// Walks in pieces of these lengths, the last of them repeated.
pub fn walk(body: &[u8], pieces: &[usize]) -> Walked {
    let mut chunks = handstamp_server::http::listener::chunks::Chunks::default();
    let (mut at, mut pieces) = (0, pieces.iter().copied());
    let mut length = pieces.next().unwrap_or(body.len()).max(1);
    while at < body.len() && !chunks.ended() {
        let piece = &body[at..body.len().min(at + length)];
        let walked = chunks.walk(piece).map_err(|_| ())?;
        assert!(walked == piece.len() || chunks.ended());
        at += walked;
        length = pieces.next().unwrap_or(length).max(1);
    }
    Ok((at, chunks.ended()))
}

/// The data of a whole chunked body, read a second way.
pub fn decoded(mut rest: &[u8]) -> Vec<u8> {
    let mut data = Vec::new();
    loop {
        let end = rest.windows(2).position(|two| two == b"\r\n").expect("a line of a chunk has an end");
        let digits = rest[..end].split(|byte| *byte == b';').next().expect("there is a first part");
        let size = std::str::from_utf8(digits).ok().and_then(|digits| usize::from_str_radix(digits, 16).ok());
        let size = size.expect("the size of a chunk");
        rest = &rest[end + 2..];
        if size == 0 {
            return data;
        }
        data.extend_from_slice(&rest[..size]);
        rest = rest[size..].strip_prefix(b"\r\n").expect("a chunk ends in an empty line");
    }
}
