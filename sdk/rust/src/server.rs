//! The server as a verifier reaches it: a few kept connections for questions, one of its own for each stream.

use crate::verdict::Trouble;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use hyper::{Method, Request, Response, Uri};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

/// Connections that rest are kept up to this many.
const KEPT: usize = 8;
/// No answer but a stream is longer.
const LARGEST: usize = 1 << 20;

type Sender = SendRequest<Full<Bytes>>;

/// Where the server is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Address {
    pub(crate) https: bool,
    host: String,
    port: u16,
    prefix: String,
}

impl Address {
    /// Reads `https://host[:port][/prefix]`. No error repeats the text, which may hold a password.
    pub(crate) fn parse(url: &str) -> Option<Address> {
        let uri: Uri = url.parse().ok()?;
        let https = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return None,
        };
        let authority = uri.authority()?;
        if authority.as_str().contains('@') || uri.query().is_some() || url.contains('#') {
            return None;
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = authority.port_u16().unwrap_or(if https { 443 } else { 80 });
        Some(Address { https, host, port, prefix: uri.path().trim_end_matches('/').to_owned() })
    }

    /// Whether it is this machine.
    pub(crate) fn is_here(&self) -> bool {
        self.host == "localhost" || self.host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
    }

    fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        format!("{host}:{}", self.port)
    }
}

/// An answer that was read whole.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// Speaks to one server.
pub(crate) struct Server {
    pub(crate) address: Address,
    pub(crate) tls: Option<Arc<ClientConfig>>,
    pub(crate) key: HeaderValue,
    /// How long one answer may take, connecting and all.
    pub(crate) patience: Duration,
    pub(crate) kept: Mutex<Vec<Sender>>,
}

impl Server {
    /// Asks, and reads the whole answer. `headers` beside those that are always sent.
    pub(crate) async fn ask(
        &self,
        method: Method,
        path: &str,
        headers: &[(HeaderName, HeaderValue)],
        body: Bytes,
    ) -> Result<Answer, Trouble> {
        timeout(self.patience, self.exchange(method, path, headers, body)).await.map_err(|_| Trouble::Late)?
    }

    /// Asks over a connection of its own, and gives its body as it comes. A status other than 200 is trouble.
    pub(crate) async fn stream(
        &self,
        path: &str,
        headers: &[(HeaderName, HeaderValue)],
    ) -> Result<Incoming, Trouble> {
        let begin = async {
            let request = self.request(&Method::GET, path, headers, Bytes::new())?;
            let mut sender = self.connect().await?;
            sender.send_request(request).await.map_err(broke)
        };
        let response = timeout(self.patience, begin).await.map_err(|_| Trouble::Late)??;
        if response.status().as_u16() == 200 {
            return Ok(response.into_body());
        }
        let answer = timeout(self.patience, read(response)).await.map_err(|_| Trouble::Late)??;
        Err(answer.trouble())
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        headers: &[(HeaderName, HeaderValue)],
        body: Bytes,
    ) -> Result<Answer, Trouble> {
        // A kept connection may be closed by the server at any moment. All questions can be asked twice.
        while let Some(mut sender) = self.resting() {
            if sender.ready().await.is_err() {
                continue;
            }
            let request = self.request(&method, path, headers, body.clone())?;
            if let Ok(response) = sender.send_request(request).await {
                return self.finish(sender, response).await;
            }
        }
        let request = self.request(&method, path, headers, body)?;
        let mut sender = self.connect().await?;
        let response = sender.send_request(request).await.map_err(broke)?;
        self.finish(sender, response).await
    }

    async fn finish(&self, sender: Sender, response: Response<Incoming>) -> Result<Answer, Trouble> {
        let answer = read(response).await?;
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < KEPT {
            kept.push(sender);
        }
        Ok(answer)
    }

    fn resting(&self) -> Option<Sender> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    fn request(
        &self,
        method: &Method,
        path: &str,
        headers: &[(HeaderName, HeaderValue)],
        body: Bytes,
    ) -> Result<Request<Full<Bytes>>, Trouble> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.address.prefix))
            .header(HOST, self.address.authority())
            .header(USER_AGENT, concat!("handstamp-rust/", env!("CARGO_PKG_VERSION")))
            .header(AUTHORIZATION, self.key.clone());
        if !body.is_empty() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        for (name, value) in headers {
            request = request.header(name, value);
        }
        request
            .body(Full::new(body))
            .map_err(|_| Trouble::Unreadable("the request cannot be written as HTTP"))
    }

    async fn connect(&self) -> Result<Sender, Trouble> {
        let Address { host, port, .. } = &self.address;
        let unreachable = |e: std::io::Error| Trouble::Unreachable(e.to_string());
        let stream = TcpStream::connect((host.as_str(), *port)).await.map_err(unreachable)?;
        let _ = stream.set_nodelay(true);
        let Some(tls) = &self.tls else { return speak(stream).await };
        let name = ServerName::try_from(host.clone())
            .map_err(|_| Trouble::Unreachable("its name is no name for a certificate".to_owned()))?;
        speak(TlsConnector::from(Arc::clone(tls)).connect(name, stream).await.map_err(unreachable)?).await
    }
}

impl Answer {
    /// As trouble, when its status is not an expected one.
    pub(crate) fn trouble(&self) -> Trouble {
        let said: Option<serde_json::Value> = serde_json::from_slice(&self.body).ok();
        let code = said.as_ref().and_then(|said| said.get("code")?.as_str());
        let plain =
            |code: &&str| code.len() <= 64 && code.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        Trouble::Status { status: self.status, code: code.filter(plain).unwrap_or("-").to_owned() }
    }
}

async fn read(response: Response<Incoming>) -> Result<Answer, Trouble> {
    let (head, body) = response.into_parts();
    let body = Limited::new(body, LARGEST).collect().await;
    let body = body.map_err(|e| Trouble::Unreachable(e.to_string()))?.to_bytes();
    Ok(Answer { status: head.status.as_u16(), headers: head.headers, body })
}

async fn speak<S>(stream: S) -> Result<Sender, Trouble>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(broke)?;
    tokio::spawn(connection);
    Ok(sender)
}

fn broke(e: hyper::Error) -> Trouble {
    Trouble::Unreachable(e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let read =
            |url: &str| Address::parse(url).map(|a| (a.https, a.authority(), a.prefix.clone(), a.is_here()));
        for (url, https, authority, prefix, here) in [
            ("https://auth.example.com", true, "auth.example.com:443", "", false),
            ("https://auth.example.com/", true, "auth.example.com:443", "", false),
            ("https://a.example:8443/auth/", true, "a.example:8443", "/auth", false),
            ("http://127.0.0.1:7411", false, "127.0.0.1:7411", "", true),
            ("http://[::1]:7411", false, "[::1]:7411", "", true),
            ("http://localhost", false, "localhost:80", "", true),
            ("http://127.0.0.1.example.com", false, "127.0.0.1.example.com:80", "", false),
        ] {
            assert_eq!(read(url), Some((https, authority.to_owned(), prefix.to_owned(), here)), "{url}");
        }
        for url in [
            "",
            "auth.example.com",
            "ftp://a.example",
            "https://u:p@a.example",
            "https://a.example?x",
            "https://",
        ] {
            assert_eq!(read(url), None, "{url}");
        }
    }
}
