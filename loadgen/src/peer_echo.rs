//! The floor of the comparison: a hyper server that parses the same JSON and sends the same bytes, looking nothing up.
//!
//! What Handstamp costs above this is what the session costs; the rest is HTTP, which everybody pays.

use std::borrow::Cow;
use std::convert::Infallible;
use std::path::PathBuf;

use bytes::Bytes;
use clap::{Args, ValueEnum};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::net::TcpListener;

use crate::Result;

#[derive(Args)]
pub(crate) struct Options {
    /// A whole HTTP answer, head and body, as the measured server sent it
    #[arg(long)]
    answer: PathBuf,
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: String,
    /// `multi` has one worker per CPU that this process may use, as the measured server
    #[arg(long, value_enum, default_value = "multi")]
    runtime: Runtime,
}

#[derive(Clone, Copy, ValueEnum)]
enum Runtime {
    Single,
    Multi,
}

/// The members of a validation request that the workload sends.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ask<'a> {
    #[serde(borrow)]
    token: Cow<'a, str>,
    #[serde(borrow)]
    ip: Cow<'a, str>,
    #[serde(borrow)]
    user_agent: Cow<'a, str>,
}

/// What everybody gets.
struct Prepared {
    headers: HeaderMap,
    body: Bytes,
}

/// Serves until it is killed.
///
/// # Errors
/// When the answer is not one, or the address is taken.
pub(crate) fn serve(options: &Options) -> Result<()> {
    let mut builder = match options.runtime {
        Runtime::Single => tokio::runtime::Builder::new_current_thread(),
        Runtime::Multi => tokio::runtime::Builder::new_multi_thread(),
    };
    let prepared: &'static Prepared = Box::leak(Box::new(prepare(&std::fs::read(&options.answer)?)?));
    builder.enable_all().build()?.block_on(async {
        let listener = TcpListener::bind(&options.listen).await?;
        println!("listening on http://{}", listener.local_addr()?);
        // On a worker, not on the thread that waits for the runtime: that is where a server accepts.
        Ok(tokio::spawn(accept(listener, prepared)).await??)
    })
}

async fn accept(listener: TcpListener, prepared: &'static Prepared) -> std::io::Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(async move {
            let service = service_fn(|request| answer(request, prepared));
            // A client that leaves is the normal end of a connection.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    prepared: &Prepared,
) -> std::result::Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    if head.method != Method::POST || head.uri.path() != "/v1/sessions/validate" {
        return Ok(status(StatusCode::NOT_FOUND));
    }
    let Ok(body) = body.collect().await else { return Ok(status(StatusCode::BAD_REQUEST)) };
    let body = body.to_bytes();
    let Ok(ask) = serde_json::from_slice::<Ask<'_>>(&body) else {
        return Ok(status(StatusCode::BAD_REQUEST));
    };
    if ask.token.is_empty() || ask.ip.is_empty() || ask.user_agent.is_empty() {
        return Ok(status(StatusCode::BAD_REQUEST));
    }
    let mut response = Response::new(Full::new(prepared.body.clone()));
    *response.headers_mut() = prepared.headers.clone();
    Ok(response)
}

fn status(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    response
}

/// Splits a recorded answer. Length and date are left to hyper, which sets them for the measured server too.
fn prepare(answer: &[u8]) -> Result<Prepared> {
    let end = crate::http::find(answer, b"\r\n\r\n").ok_or("the answer has no end of its head")?;
    let (head, body) = answer.split_at(end + 4);
    let mut headers = HeaderMap::new();
    for line in std::str::from_utf8(head)?.lines().skip(1).filter(|line| !line.is_empty()) {
        let (name, value) = line.split_once(':').ok_or("a header without a colon")?;
        let name: HeaderName = name.parse()?;
        if !matches!(name.as_str(), "content-length" | "date" | "connection") {
            headers.append(name, HeaderValue::from_str(value.trim())?);
        }
    }
    Ok(Prepared { headers, body: Bytes::copy_from_slice(body) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recorded_answer_is_taken_apart() {
        let recorded = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\nx-request-id: a\r\n\r\n{}";
        let prepared = prepare(recorded).unwrap();
        assert_eq!(prepared.body, "{}");
        assert_eq!(prepared.headers.len(), 2);
        assert!(prepare(b"nothing").is_err());
    }

    #[test]
    fn asks_are_parsed_strictly() {
        assert!(serde_json::from_str::<Ask<'_>>(r#"{"token":"a","ip":"b","user_agent":"c"}"#).is_ok());
        assert!(serde_json::from_str::<Ask<'_>>(r#"{"token":"a","ip":"b","user_agent":"c","x":1}"#).is_err());
    }
}
