//! One keep-alive HTTP/1.1 connection, as cheap as it can be: request bytes in, status and body out.
//!
//! The client shares a small machine with what it measures, so it parses no more than it must: the status, the
//! `content-length`, nothing else. An answer without a length (chunked) is an error: none of the servers here sends one.

use std::io::{Error, ErrorKind, Result};
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

pub(crate) struct Connection {
    stream: TcpStream,
    input: Vec<u8>,
}

/// An answer, borrowed from the connection's buffer until the next exchange.
pub(crate) struct Answer<'a> {
    pub(crate) status: u16,
    pub(crate) head: &'a [u8],
    pub(crate) body: &'a [u8],
}

impl Answer<'_> {
    pub(crate) fn holds(&self, text: &str) -> bool {
        find(self.body, text.as_bytes()).is_some()
    }

    /// The string member `name` of the JSON body, without parsing the body; only for values that need no escapes
    /// (tokens, ids, times). `outer/inner`: that of the object `outer`, in which it is the first one.
    pub(crate) fn text(&self, name: &str) -> Option<&[u8]> {
        let member = format!("\"{}\":\"", name.replace('/', "\":{\""));
        let start = find(self.body, member.as_bytes())? + member.len();
        let rest = self.body.get(start..)?;
        let end = rest.iter().position(|byte| *byte == b'"')?;
        rest.get(..end)
    }

    /// What to say of an answer that should have been another.
    pub(crate) fn complaint(&self, expected: &str) -> String {
        let body: String = String::from_utf8_lossy(self.body).chars().take(400).collect();
        format!("expected {expected}, got status {} with body {body}", self.status)
    }
}

impl Connection {
    /// # Errors
    /// When nobody listens at `address`.
    pub(crate) async fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, input: vec![0; 8 * 1024] })
    }

    /// Sends one request and reads its whole answer.
    ///
    /// # Errors
    /// When the connection ends early, or the answer is no HTTP/1.1 with a length.
    pub(crate) async fn exchange(&mut self, request: &[u8]) -> Result<Answer<'_>> {
        self.stream.write_all(request).await?;
        let mut filled = 0;
        let mut shape: Option<Shape> = None;
        loop {
            if filled == self.input.len() {
                self.input.resize(filled * 2, 0);
            }
            let free = self.input.get_mut(filled..).unwrap_or_default();
            let read = self.stream.read(free).await?;
            if read == 0 {
                return Err(Error::new(ErrorKind::UnexpectedEof, "the server closed the connection"));
            }
            filled += read;
            if shape.is_none() {
                shape = Shape::of(self.input.get(..filled).unwrap_or_default())?;
            }
            let Some(shape) = &shape else { continue };
            let end = shape.head + shape.body;
            if filled > end {
                return Err(Error::new(ErrorKind::InvalidData, "more bytes than content-length announced"));
            }
            if filled == end {
                let (head, rest) = self.input.split_at(shape.head);
                let body = rest.get(..shape.body).unwrap_or_default();
                return Ok(Answer { status: shape.status, head, body });
            }
        }
    }
}

/// What the head of an answer says.
struct Shape {
    status: u16,
    head: usize,
    body: usize,
}

impl Shape {
    /// `None` until the head is complete.
    fn of(input: &[u8]) -> Result<Option<Self>> {
        let Some(end) = find(input, b"\r\n\r\n") else { return Ok(None) };
        let invalid = |what: &str| Error::new(ErrorKind::InvalidData, what.to_owned());
        let head = input.get(..end).unwrap_or_default();
        let status = input.get(9..12).and_then(number).ok_or_else(|| invalid("no status line"))?;
        let status = u16::try_from(status).map_err(|_| invalid("no status line"))?;
        // 204 and 304 have no body and may have no length.
        let mut body = matches!(status, 204 | 304).then_some(0);
        for line in head.split(|byte| *byte == b'\n') {
            const NAME: &[u8] = b"content-length:";
            if let Some((name, value)) = line.split_at_checked(NAME.len())
                && name.eq_ignore_ascii_case(NAME)
            {
                body = number(value.trim_ascii());
            }
        }
        let body = body.ok_or_else(|| invalid("an answer without content-length"))?;
        Ok(Some(Self { status, head: end + 4, body }))
    }
}

fn number(digits: &[u8]) -> Option<usize> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// Where `needle` begins in `haystack`.
pub(crate) fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    let first = *needle.first()?;
    let mut from = 0;
    while let Some(offset) = haystack.get(from..)?.iter().position(|byte| *byte == first) {
        let at = from + offset;
        if haystack.get(at..)?.starts_with(needle) {
            return Some(at);
        }
        from = at + 1;
    }
    None
}

/// How often `needle` occurs in `haystack`.
pub(crate) fn count(haystack: &[u8], needle: &[u8]) -> usize {
    let (mut from, mut hits) = (0, 0);
    while let Some(at) = haystack.get(from..).and_then(|rest| find(rest, needle)) {
        hits += 1;
        from += at + needle.len();
    }
    hits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes() {
        let whole = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX: y\r\n\r\nhello";
        let shape = Shape::of(whole).unwrap().unwrap();
        assert_eq!((shape.status, shape.body, shape.head), (200, 5, whole.len() - 5));
        assert!(Shape::of(b"HTTP/1.1 200 OK\r\ncontent-le").unwrap().is_none());
        assert!(Shape::of(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").is_err());
        assert_eq!(Shape::of(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap().unwrap().body, 0);
    }

    #[test]
    fn finding() {
        assert_eq!(find(b"aab", b"ab"), Some(1));
        assert_eq!(find(b"aab", b"abc"), None);
        assert_eq!(count(b"[\"valid\":true,\"valid\":true]", b"\"valid\":true"), 2);
        let answer = Answer { status: 200, head: b"", body: b"{\"token\":\"hst_1\",\"id\":\"x\"}" };
        assert_eq!(answer.text("token"), Some(&b"hst_1"[..]));
        assert_eq!(answer.text("missing"), None);
    }
}
