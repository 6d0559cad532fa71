//! A plain HTTP client: one connection at a time, given up when it fails; and a line at a time of a stream of events.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// What came of a call.
pub(crate) enum Reply {
    /// There was no connection: nothing was sent.
    NotSent,
    /// Sent, and no answer came.
    Lost,
    Got(u16, Value),
}

/// A call, before it is sent.
pub(crate) struct Ask<'a> {
    pub(crate) method: Method,
    pub(crate) path: &'a str,
    pub(crate) key: &'a str,
    pub(crate) body: Option<Value>,
    pub(crate) headers: Vec<(&'static str, String)>,
}

impl<'a> Ask<'a> {
    pub(crate) fn new(method: Method, path: &'a str, key: &'a str, body: Option<Value>) -> Self {
        Self { method, path, key, body, headers: Vec::new() }
    }

    fn request(&self) -> Option<Request<Full<Bytes>>> {
        let mut request =
            Request::builder().method(self.method.clone()).uri(self.path).header("host", "stage");
        if !self.key.is_empty() {
            request = request.header("authorization", format!("Bearer {}", self.key));
        }
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        let body = self.body.as_ref().map(|body| Bytes::from(body.to_string())).unwrap_or_default();
        request.header("content-type", "application/json").body(Full::new(body)).ok()
    }
}

/// A client of one node.
pub(crate) struct Client {
    address: SocketAddr,
    open: Option<SendRequest<Full<Bytes>>>,
}

impl Client {
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self { address, open: None }
    }

    /// A connection on which a request can go out at once.
    pub(crate) async fn ready(&mut self) -> bool {
        if let Some(open) = &mut self.open
            && open.ready().await.is_ok()
        {
            return true;
        }
        self.open = timeout(Duration::from_secs(2), connect(self.address)).await.ok().flatten();
        self.open.is_some()
    }

    /// Sends it and waits for the answer, no longer than `patience`; then the connection is closed, as by a client that
    /// went away.
    pub(crate) async fn call(&mut self, ask: &Ask<'_>, patience: Duration) -> Reply {
        if !self.ready().await {
            return Reply::NotSent;
        }
        let (Some(mut open), Some(request)) = (self.open.take(), ask.request()) else {
            return Reply::NotSent;
        };
        let answer = timeout(patience, async {
            let response = open.send_request(request).await.ok()?;
            let status = response.status().as_u16();
            let body = response.into_body().collect().await.ok()?.to_bytes();
            Some((status, serde_json::from_slice(&body).unwrap_or(Value::Null)))
        });
        match answer.await {
            Ok(Some((status, body))) => {
                self.open = Some(open);
                Reply::Got(status, body)
            }
            _ => Reply::Lost,
        }
    }
}

async fn connect(address: SocketAddr) -> Option<SendRequest<Full<Bytes>>> {
    let stream = TcpStream::connect(address).await.ok()?;
    let _ = stream.set_nodelay(true);
    let (mut sender, connection) = handshake(TokioIo::new(stream)).await.ok()?;
    tokio::spawn(connection);
    sender.ready().await.ok()?;
    Some(sender)
}

/// A stream of server-sent events.
pub(crate) struct Stream {
    body: Incoming,
    // The connection lives as long as this.
    _open: SendRequest<Full<Bytes>>,
    rest: Vec<u8>,
}

impl Stream {
    /// `None` when there is none to be had.
    pub(crate) async fn open(address: SocketAddr, ask: &Ask<'_>) -> Option<Self> {
        let answer = timeout(Duration::from_secs(2), async {
            let mut open = connect(address).await?;
            let response: Response<Incoming> = open.send_request(ask.request()?).await.ok()?;
            (response.status() == 200).then(|| (response.into_body(), open))
        });
        let (body, open) = answer.await.ok().flatten()?;
        Some(Self { body, _open: open, rest: Vec::new() })
    }

    /// The next line; `None` when the stream is over, or silent for longer than `patience`.
    pub(crate) async fn line(&mut self, patience: Duration) -> Option<String> {
        loop {
            if let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                return Some(String::from_utf8_lossy(&line).trim_end().to_owned());
            }
            let frame = timeout(patience, self.body.frame()).await.ok()??.ok()?;
            if let Some(data) = frame.data_ref() {
                self.rest.extend_from_slice(data);
            }
        }
    }
}
