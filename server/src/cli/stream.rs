//! Streams of server-sent events: opened, and cut into what belongs together.

use super::Failure;
use super::client::Client;
use http::header::ACCEPT;
use http::{HeaderValue, Request};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use serde_json::Value as Json;
use std::time::Duration;
use tokio::time::timeout;

/// The server breaks its silence at least every 10 seconds.
pub(super) const SILENCE: Duration = Duration::from_secs(30);
/// No event is near this.
const LONGEST: usize = 4 << 20;

/// Asks for a stream over a connection of its own.
///
/// # Errors
/// The server cannot be reached, or refuses.
pub(super) async fn open(client: &Client, mut request: Request<Full<Bytes>>) -> Result<Incoming, Failure> {
    request.headers_mut().insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
    let broke = |e: &dyn std::fmt::Display| Failure::new(format!("{} broke off: {e}", client.url()));
    let mut sender = client.link().connect().await?;
    let response =
        timeout(SILENCE, sender.send_request(request)).await.map_err(|_| silent())?.map_err(|e| broke(&e))?;
    let status = response.status().as_u16();
    if status == 200 {
        return Ok(response.into_body());
    }
    let body = Limited::new(response.into_body(), LONGEST).collect().await.map_err(|e| broke(&e))?;
    let document = serde_json::from_slice(&body.to_bytes()).unwrap_or(Json::Null);
    Err(Failure::from_answer(status, document))
}

/// Nothing came for [`SILENCE`].
pub(super) fn silent() -> Failure {
    Failure::new(format!("the server said nothing for {} s", SILENCE.as_secs()))
}

/// Bytes of a stream on their way to being events.
#[derive(Default)]
pub(super) struct Blocks {
    part: Vec<u8>,
}

impl Blocks {
    /// Takes bytes, and gives what they complete: what stands before an empty line belongs together, and of a part that
    /// broke off nothing is told.
    ///
    /// # Errors
    /// An event that does not end.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Result<Vec<String>, Failure> {
        self.part.extend_from_slice(bytes);
        if self.part.len() > LONGEST {
            return Err(Failure::new("the server sends an event without an end"));
        }
        let mut whole = Vec::new();
        while let Some(end) = self.part.windows(2).position(|two| two == b"\n\n") {
            let block: Vec<u8> = self.part.drain(..end + 2).collect();
            whole.push(String::from_utf8_lossy(&block).into_owned());
        }
        Ok(whole)
    }
}

/// What stands behind `data:`.
///
/// # Errors
/// It is not JSON.
pub(super) fn data(text: &str) -> Result<Json, Failure> {
    serde_json::from_str(text).map_err(|_| Failure::new("the stream is not JSON"))
}
