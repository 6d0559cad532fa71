//! What the edge says when it turns a client away before any door has seen the request.
//!
//! The same problem documents as everywhere else, written as plain bytes, because at this point there is no request to
//! answer: the header never ended, or was refused unread. Every one of them ends the connection.

/// Why the edge turned a request away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Not HTTP/1.x as RFC 9112 writes it; the text says which rule.
    Malformed(&'static str),
    /// Where the body ends can be read in two ways, which is how requests are smuggled past a proxy.
    Framing(&'static str),
    /// A transfer coding other than `chunked`.
    Coding,
    /// A major version of HTTP that is not spoken here.
    Version,
    /// The request target is longer than the limit.
    TargetTooLong,
    /// The header is longer than the limit.
    HeaderTooLong,
    /// There are more header lines than the limit.
    TooManyHeaders,
    /// The header or the body did not arrive in time.
    Slow(&'static str),
    /// Every connection is taken.
    Busy,
    /// This address has every connection that one address may have.
    PeerBusy,
    /// Plain HTTP was spoken to the TLS port.
    TlsExpected,
}

impl Refusal {
    /// Status, reason phrase, code, title, and what to do about it.
    fn parts(self) -> (u16, &'static str, &'static str, &'static str, &'static str) {
        match self {
            Refusal::Malformed(detail) => {
                (400, "Bad Request", "request_malformed", "Not a well-formed HTTP request", detail)
            }
            Refusal::Framing(detail) => {
                (400, "Bad Request", "request_ambiguous", "The end of the request is ambiguous", detail)
            }
            Refusal::TlsExpected => (
                400,
                "Bad Request",
                "tls_expected",
                "Plain HTTP on a TLS port",
                "this port speaks TLS: use https:// in the address",
            ),
            Refusal::Slow(detail) => {
                (408, "Request Timeout", "request_timeout", "The request came too slowly", detail)
            }
            Refusal::TargetTooLong => (
                414,
                "URI Too Long",
                "uri_too_long",
                "The address of the request is too long",
                "shorten the path and query; long input belongs in the body",
            ),
            Refusal::PeerBusy => (
                429,
                "Too Many Requests",
                "too_many_connections",
                "Too many connections from one address",
                "this address has as many connections as one address may have: reuse them, or close some",
            ),
            Refusal::HeaderTooLong => (
                431,
                "Request Header Fields Too Large",
                "header_too_large",
                "The header is too large",
                "the header is larger than this server takes: send fewer or smaller cookies and header fields",
            ),
            Refusal::TooManyHeaders => (
                431,
                "Request Header Fields Too Large",
                "header_too_large",
                "Too many header fields",
                "there are more header fields than this server takes: send fewer",
            ),
            Refusal::Coding => (
                501,
                "Not Implemented",
                "transfer_coding_unknown",
                "Unknown transfer coding",
                "the only transfer coding this server takes is chunked",
            ),
            Refusal::Busy => (
                503,
                "Service Unavailable",
                "server_busy",
                "Every connection is taken",
                "this server has as many connections as it may have: try again in a second",
            ),
            Refusal::Version => (
                505,
                "HTTP Version Not Supported",
                "http_version_unknown",
                "Unknown version of HTTP",
                "this server speaks HTTP/1.1 and HTTP/1.0",
            ),
        }
    }

    /// The code of the problem document; also the label of the metric.
    pub(super) fn code(self) -> &'static str {
        self.parts().2
    }

    /// The whole answer as it goes onto the wire. `serial` numbers the connection and is its request id: no request
    /// was read, so there is none to name.
    pub(super) fn answer(self, serial: u64) -> Vec<u8> {
        let (status, reason, code, title, detail) = self.parts();
        let retry = match self {
            Refusal::Busy | Refusal::PeerBusy => "retry-after: 1\r\n",
            _ => "",
        };
        let retry_member = if retry.is_empty() { "" } else { r#","retry_after":1"# };
        let body = format!(
            r#"{{"type":"/docs/errors/{code}","title":"{title}","status":{status},"code":"{code}","detail":"{detail}","error":"{detail}","request_id":"connection-{serial}"{retry_member}}}"#
        );
        format!(
            "HTTP/1.1 {status} {reason}\r\ncontent-type: application/problem+json\r\ncontent-length: {}\r\n\
             cache-control: no-store\r\nx-request-id: connection-{serial}\r\n{retry}connection: close\r\n\r\n{body}",
            body.len()
        )
        .into_bytes()
    }
}
