//! A small HTTP client for the management API: one connection, one request after the other, JSON both ways.

use super::address::Address;
pub use super::address::Target;
use super::{Failure, progress, tls};
use crate::config::{Config, Environment, Secret};
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, IF_MATCH, USER_AGENT};
use http::{HeaderValue, Method, Request};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use serde_json::Value as Json;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

const CONNECT: Duration = Duration::from_secs(5);
/// Ending all sessions of a large filter takes a while.
const ANSWER: Duration = Duration::from_secs(120);
/// No answer of the management API is near this.
const LARGEST: usize = 64 << 20;
const TICK: Duration = Duration::from_millis(100);

/// A status below 400, and the body.
pub struct Answer {
    /// 200 to 299.
    pub status: u16,
    /// Null when there was none.
    pub body: Json,
}

/// Speaks to one server.
pub struct Client {
    address: Address,
    tls: Option<Arc<ClientConfig>>,
    key: Option<HeaderValue>,
    environment: Option<HeaderValue>,
    runtime: Runtime,
    connection: Option<SendRequest<Full<Bytes>>>,
    draws: bool,
}

/// Whether the environment says which key to use.
pub(super) fn gives_key(environment: &Environment) -> bool {
    ["HANDSTAMP_KEY", "HANDSTAMP_KEY_FILE"]
        .iter()
        .any(|name| environment.get(name).is_some_and(|text| !text.trim().is_empty()))
}

/// The caller's access key: from `HANDSTAMP_KEY`, the file that `HANDSTAMP_KEY_FILE` names, or the data directory. Never
/// from the command line, where everybody could see it.
///
/// # Errors
/// None of them has one.
pub fn access_key(environment: &Environment, config: &Config) -> Result<Secret, Failure> {
    let given = environment.get("HANDSTAMP_KEY").filter(|key| !key.trim().is_empty());
    if let Some(key) = given {
        return Ok(Secret::new(key));
    }
    let (file, named) = match environment.get("HANDSTAMP_KEY_FILE").filter(|path| !path.is_empty()) {
        Some(path) => (path.into(), true),
        None => (config.server.access_key_file(), false),
    };
    match std::fs::read_to_string(&file) {
        Ok(key) if !key.trim().is_empty() => Ok(Secret::new(&key)),
        Ok(_) => Err(Failure::new(format!("{} is empty: it should hold an access key", file.display()))),
        Err(e) => {
            let place = file.display();
            let message = if named {
                format!("HANDSTAMP_KEY_FILE: {place} cannot be read: {e}")
            } else {
                format!("no access key: HANDSTAMP_KEY is not set, and {place} cannot be read: {e}")
            };
            let help = "set HANDSTAMP_KEY or HANDSTAMP_KEY_FILE, or name the server's data directory with --data-dir";
            Err(Failure::new(message).help(help))
        }
    }
}

impl Client {
    /// Prepares to speak; connects with the first request.
    ///
    /// # Errors
    /// The address, the certificates or the key cannot be used.
    pub fn new(
        config: &Config,
        target: Target<'_>,
        key: Option<Secret>,
        draws: bool,
    ) -> Result<Client, Failure> {
        let address = Address::of(target, config)?;
        let own = config.server.tls.as_ref().map(|tls| tls.cert.as_path());
        let own = if target.url.is_none() || address.is_here() { own } else { None };
        let tls = if address.https { Some(tls::client(target.ca.or(own))?) } else { None };
        let header = |text: &str, what: &str| {
            HeaderValue::from_str(text)
                .map_err(|_| Failure::new(format!("{what} holds characters that it cannot have")))
        };
        let key = match key {
            None => None,
            Some(key) => {
                let mut value = header(&format!("Bearer {}", key.expose_secret()), "the access key")?;
                value.set_sensitive(true);
                Some(value)
            }
        };
        let environment = target.environment.map(|env| header(env, "--env")).transpose()?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|e| Failure::new(format!("cannot start: {e}")))?;
        Ok(Client { address, tls, key, environment, runtime, connection: None, draws })
    }

    /// Where it speaks to.
    pub fn url(&self) -> String {
        self.address.url()
    }

    /// Whether a key would travel to another machine where others can read it.
    pub fn is_in_the_clear(&self) -> bool {
        self.key.is_some() && !self.address.https && !self.address.is_here()
    }

    /// One request; `path` begins with a slash. While it takes longer than a second, `what` is shown.
    ///
    /// # Errors
    /// The server cannot be reached, or refuses.
    pub fn call(
        &mut self,
        method: Method,
        path: &str,
        body: Option<&Json>,
        what: &'static str,
    ) -> Result<Answer, Failure> {
        let request = self.request(method, path, body)?;
        self.send(request, what)
    }

    /// The same, if `version` is still the one in force.
    ///
    /// # Errors
    /// As [`Client::call`]; `policy_changed` or `settings_changed` when it is not.
    pub(super) fn call_if_match(
        &mut self,
        (method, path): (Method, &str),
        version: u64,
        body: &Json,
        what: &'static str,
    ) -> Result<Answer, Failure> {
        let mut request = self.request(method, path, Some(body))?;
        let seen = HeaderValue::from_str(&format!("\"{version}\""))
            .map_err(|_| Failure::new("the version cannot be written as HTTP"))?;
        request.headers_mut().insert(IF_MATCH, seen);
        self.send(request, what)
    }

    fn send(&mut self, request: Request<Full<Bytes>>, what: &'static str) -> Result<Answer, Failure> {
        let wait = Wait { what, draws: self.draws, limit: ANSWER };
        let link = Link { address: &self.address, tls: self.tls.as_ref() };
        let (answer, connection) =
            self.runtime.block_on(wait.on(link.ask(self.connection.take(), request)))??;
        self.connection = Some(connection);
        answer.ok()
    }

    /// Lets the connection go, before a person is asked: it may be closed by the time of the answer.
    pub(super) fn hang_up(&mut self) {
        self.connection = None;
    }

    /// `GET path` within `limit` altogether, for health checks. Also an answer of 400 and above is an answer.
    ///
    /// # Errors
    /// The server cannot be reached in that time.
    pub fn probe(&mut self, path: &str, limit: Duration) -> Result<Answer, Failure> {
        let request = self.request(Method::GET, path, None)?;
        let wait = Wait { what: "", draws: false, limit };
        let link = Link { address: &self.address, tls: self.tls.as_ref() };
        let (answer, _) = self.runtime.block_on(wait.on(link.ask(None, request)))??;
        let body = serde_json::from_slice(&answer.body).unwrap_or(Json::Null);
        Ok(Answer { status: answer.status, body })
    }

    /// Runs `work` with a way to open further connections.
    pub(super) fn block_on<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }

    pub(super) fn link(&self) -> Link<'_> {
        Link { address: &self.address, tls: self.tls.as_ref() }
    }

    pub(super) fn request(
        &self,
        method: Method,
        path: &str,
        body: Option<&Json>,
    ) -> Result<Request<Full<Bytes>>, Failure> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.address.prefix))
            .header(HOST, self.address.authority())
            .header(USER_AGENT, concat!("handstamp/", env!("CARGO_PKG_VERSION")));
        if let Some(key) = &self.key {
            request = request.header(AUTHORIZATION, key.clone());
        }
        if let Some(environment) = &self.environment {
            request = request.header("x-handstamp-env", environment.clone());
        }
        let bytes = match body {
            None => Bytes::new(),
            Some(body) => {
                request = request.header(CONTENT_TYPE, "application/json");
                Bytes::from(body.to_string())
            }
        };
        request.body(Full::new(bytes)).map_err(|_| Failure::new("the request cannot be written as HTTP"))
    }
}

/// How long an answer is waited for, and what is shown meanwhile.
struct Wait {
    what: &'static str,
    draws: bool,
    limit: Duration,
}

impl Wait {
    async fn on<T>(&self, work: impl Future<Output = T>) -> Result<T, Failure> {
        let late = || Failure::new(format!("no answer within {} s", self.limit.as_secs()));
        if !self.draws {
            return timeout(self.limit, work).await.map_err(|_| late());
        }
        let mut work = std::pin::pin!(work);
        if let Ok(done) = timeout(progress::PATIENCE, &mut work).await {
            return Ok(done);
        }
        let spinner = progress::spinner(self.what);
        let ticked = async {
            loop {
                if let Ok(done) = timeout(TICK, &mut work).await {
                    return done;
                }
                spinner.tick();
            }
        };
        let done = timeout(self.limit.saturating_sub(progress::PATIENCE), ticked).await;
        spinner.finish_and_clear();
        done.map_err(|_| late())
    }
}

/// A whole answer, not looked at yet.
pub(super) struct Raw {
    pub(super) status: u16,
    pub(super) body: Bytes,
}

impl Raw {
    fn ok(self) -> Result<Answer, Failure> {
        let body = match self.body.is_empty() {
            true => Ok(Json::Null),
            false => serde_json::from_slice(&self.body),
        };
        match (self.status, body) {
            (200..=299, Ok(body)) => Ok(Answer { status: self.status, body }),
            (200..=299, Err(_)) => {
                Err(Failure::new("the answer is not JSON")
                    .help("is --url the address of a Handstamp server?"))
            }
            (status, body) => Err(Failure::from_answer(status, body.unwrap_or(Json::Null))),
        }
    }
}

/// Where connections are opened.
#[derive(Clone, Copy)]
pub(super) struct Link<'a> {
    address: &'a Address,
    tls: Option<&'a Arc<ClientConfig>>,
}

impl Link<'_> {
    /// Sends over `open` if it still is, else over a new connection.
    async fn ask(
        self,
        open: Option<SendRequest<Full<Bytes>>>,
        request: Request<Full<Bytes>>,
    ) -> Result<(Raw, SendRequest<Full<Bytes>>), Failure> {
        let mut sender = match open {
            Some(sender) => sender,
            None => self.connect().await?,
        };
        // A server closes connections that rest; nothing was sent then, so another one does no harm.
        if sender.ready().await.is_err() {
            sender = self.connect().await?;
        }
        let raw = self.send(&mut sender, request).await?;
        Ok((raw, sender))
    }

    pub(super) async fn send(
        self,
        sender: &mut SendRequest<Full<Bytes>>,
        request: Request<Full<Bytes>>,
    ) -> Result<Raw, Failure> {
        let broke =
            |e: &dyn std::fmt::Display| Failure::new(format!("{} broke off: {e}", self.address.url()));
        let response = sender.send_request(request).await.map_err(|e| broke(&e))?;
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), LARGEST).collect().await.map_err(|e| broke(&e))?;
        Ok(Raw { status, body: body.to_bytes() })
    }

    pub(super) async fn connect(self) -> Result<SendRequest<Full<Bytes>>, Failure> {
        let Address { host, port, .. } = self.address;
        let url = self.address.url();
        let unreachable = |why: String| {
            Failure::new(format!("{url} cannot be reached: {why}"))
                .help("is the server running? `handstamp serve` starts it; --url names another address")
        };
        let stream = timeout(CONNECT, TcpStream::connect((host.as_str(), *port)))
            .await
            .map_err(|_| unreachable(format!("no connection within {} s", CONNECT.as_secs())))?
            .map_err(|e| unreachable(e.to_string()))?;
        let _ = stream.set_nodelay(true);
        let Some(tls) = self.tls else { return speak(stream).await.map_err(unreachable) };
        let name = ServerName::try_from(host.clone())
            .map_err(|_| unreachable("not a name or address".to_owned()))?;
        let stream = timeout(CONNECT, TlsConnector::from(Arc::clone(tls)).connect(name, stream))
            .await
            .map_err(|_| unreachable(format!("no TLS within {} s", CONNECT.as_secs())))?
            .map_err(|e| {
                Failure::new(format!("{url} cannot be trusted: {e}"))
                    .help("name its certificate, or its issuer's, with --ca FILE")
            })?;
        speak(stream).await.map_err(unreachable)
    }
}

async fn speak<S>(stream: S) -> Result<SendRequest<Full<Bytes>>, String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(|e| e.to_string())?;
    tokio::spawn(connection);
    Ok(sender)
}
