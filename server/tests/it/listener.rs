//! The network edge against real sockets: a server in this process on a free port, and clients that misbehave.

mod caps;
mod framing;
mod pipelining;
mod proxied;
mod signals;
mod slow;
mod starved;
mod stop;
mod tls;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use handstamp_server::host::signals::{Stopper, stop};
use handstamp_server::http::listener::{Drained, Limits, OverTls, PeerAddr, Preface, Tls, serve};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Frame, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// No condition of these tests takes longer on the slowest machine; reaching it is a failure.
const PATIENCE: Duration = Duration::from_secs(20);

/// Fails the test when `future` does not come to its end.
async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("waited too long for {what}"))
}

/// Long limits, so that the one a test sets is the one that acts.
fn limits() -> Limits {
    let long = Duration::from_secs(600);
    Limits {
        handshake: long,
        header_read: long,
        body_read: long,
        idle: long,
        write_stall: long,
        drain: long,
        ..Limits::default()
    }
}

struct Server {
    address: SocketAddr,
    stopper: Stopper,
    served: JoinHandle<Drained>,
    doors: Arc<Doors>,
}

/// What the service of these tests waits for and tells.
struct Doors {
    /// One permit for each request that reached `/wait`.
    arrived: Semaphore,
    /// One permit lets one request of `/wait` go on.
    go_on: Semaphore,
}

impl Server {
    async fn start(limits: Limits) -> Self {
        Self::start_with(limits, None).await
    }

    async fn start_with(limits: Limits, tls: Option<Tls>) -> Self {
        Self::start_after(limits, Preface { tls, ..Preface::default() }).await
    }

    async fn start_after(limits: Limits, preface: Preface) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stopper, stop) = stop();
        let doors = Arc::new(Doors { arrived: Semaphore::new(0), go_on: Semaphore::new(0) });
        let inside = Arc::clone(&doors);
        let service = service_fn(move |request| answer(Arc::clone(&inside), request));
        let served = tokio::spawn(serve(listener, preface, service, limits, stop));
        Server { address, stopper, served, doors }
    }

    async fn connect(&self) -> Client<TcpStream> {
        let tcp = TcpStream::connect(self.address).await.unwrap();
        tcp.set_nodelay(true).unwrap();
        Client(tcp)
    }

    /// Waits until a request has reached `/wait`.
    async fn arrived(&self) {
        soon("a request to arrive", self.doors.arrived.acquire()).await.unwrap().forget();
    }

    async fn drained(self) -> Drained {
        soon("the server to end", self.served).await.unwrap()
    }
}

async fn answer(
    doors: Arc<Doors>,
    request: Request<Incoming>,
) -> Result<Response<BoxBody<Bytes, Infallible>>, Infallible> {
    let text = |text: String| Response::new(Full::new(Bytes::from(text)).boxed());
    Ok(match request.uri().path() {
        "/wait" => {
            doors.arrived.add_permits(1);
            doors.go_on.acquire().await.unwrap().forget();
            text("waited".to_owned())
        }
        "/echo" => match request.into_body().collect().await {
            Ok(body) => text(String::from_utf8(body.to_bytes().to_vec()).unwrap()),
            Err(error) => {
                let mut answer = text(error.to_string());
                *answer.status_mut() = StatusCode::UNPROCESSABLE_ENTITY;
                answer
            }
        },
        "/peer" => {
            let peer = request.extensions().get::<PeerAddr>().unwrap().0;
            text(format!("{peer} tls={}", request.extensions().get::<OverTls>().is_some()))
        }
        "/flood" => Response::new(Flood.boxed()),
        "/large" => text("x".repeat(LARGE)),
        "/mirror" => text(format!("{} {}", request.method(), request.uri())),
        _ => text("hello".to_owned()),
    })
}

/// More than the socket buffers of both ends take.
const LARGE: usize = 16 * 1024 * 1024;

/// An answer without end.
struct Flood;

impl Body for Flood {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[b'x'; 4096])))))
    }
}

/// A client that writes its own bytes.
struct Client<S>(S);

#[derive(Debug)]
struct Answer {
    status: u16,
    header: String,
    body: String,
}

impl Answer {
    fn has(&self, field: &str) -> bool {
        self.header.lines().any(|line| line.eq_ignore_ascii_case(field))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.write_all(bytes.as_ref()).await.unwrap();
        self.0.flush().await.unwrap();
    }

    async fn get(&mut self, path: &str) -> Answer {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")).await;
        self.answer().await
    }

    /// Reads exactly one answer.
    async fn answer(&mut self) -> Answer {
        self.try_answer().await.expect("an answer")
    }

    /// Reads one answer; `None` if the connection ends instead, before any byte of one.
    async fn try_answer(&mut self) -> Option<Answer> {
        soon("an answer", async {
            let mut header = Vec::new();
            while !header.ends_with(b"\r\n\r\n") {
                match self.0.read_u8().await {
                    Ok(byte) => header.push(byte),
                    Err(_) if header.is_empty() => return None,
                    Err(error) => panic!("{error} after {:?}", String::from_utf8_lossy(&header)),
                }
            }
            let header = String::from_utf8(header).unwrap();
            let status = header[9..12].parse().unwrap();
            let length = header
                .lines()
                .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok())
                .unwrap_or(0);
            let mut body = vec![0; length];
            self.0.read_exact(&mut body).await.unwrap();
            Some(Answer { status, header, body: String::from_utf8(body).unwrap() })
        })
        .await
    }

    /// Waits for the end of the connection and gives what came before it.
    async fn until_closed(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        // A reset is an end too; what was read before it stays in `rest`.
        let _ = soon("the connection to be closed", self.0.read_to_end(&mut rest)).await;
        rest
    }

    /// The connection must end with this refusal, as a problem document, and not with a reset that destroys it.
    async fn refused(&mut self, status: u16, code: &str) -> Answer {
        let answer = self.answer().await;
        assert_eq!(answer.status, status, "{answer:?}");
        assert!(answer.has("content-type: application/problem+json"), "{answer:?}");
        assert!(answer.has("connection: close"), "{answer:?}");
        let problem: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!(problem["code"], code);
        assert_eq!(problem["status"], status);
        assert_eq!(problem["detail"], problem["error"]);
        self.ended().await;
        answer
    }

    /// The connection must end in order: nothing more, and no reset.
    async fn ended(&mut self) {
        let mut rest = Vec::new();
        let end = soon("the end of the connection", self.0.read_to_end(&mut rest)).await;
        assert_eq!(end.unwrap(), 0, "{:?}", String::from_utf8_lossy(&rest));
    }
}

#[tokio::test]
async fn the_service_learns_who_asks() {
    let server = Server::start(limits()).await;
    let mut client = server.connect().await;
    let address = client.0.local_addr().unwrap();
    assert_eq!(client.get("/peer").await.body, format!("{address} tls=false"));
    assert_eq!(client.get("/peer").await.body, format!("{address} tls=false"));
}

/// The doors are an axum router: it fits as it is, and its handlers see who asks.
#[tokio::test]
async fn an_axum_router_is_served() {
    let peer = |axum::Extension(PeerAddr(peer)): axum::Extension<PeerAddr>| async move { peer.to_string() };
    let router = axum::Router::new().route("/", axum::routing::get(peer));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stopper, stop) = stop();
    let served =
        tokio::spawn(serve(listener, Preface::default(), TowerToHyperService::new(router), limits(), stop));
    let mut client = Client(TcpStream::connect(address).await.unwrap());
    let own = client.0.local_addr().unwrap();
    assert_eq!(client.get("/").await.body, own.to_string());
    stopper.ask();
    assert_eq!(soon("the end", served).await.unwrap().cut, 0);
}

/// The limits an operator gets without asking are what the documentation says.
#[test]
fn defaults() {
    let limits = Limits::default();
    let seconds = [limits.handshake, limits.header_read, limits.body_read, limits.idle, limits.write_stall]
        .map(|limit| limit.as_secs());
    assert_eq!(seconds, [10, 10, 30, 75, 30]);
    assert_eq!(
        (limits.drain.as_secs(), limits.max_connections, limits.max_connections_per_peer),
        (10, 10_000, 0)
    );
    assert_eq!((limits.header_bytes, limits.headers, limits.target_bytes), (16_384, 100, 8_192));
}
