//! Is this the header of one request, and where does its body end?
//!
//! hyper parses every request in full later on; this looks at the raw bytes first, for what hyper forgives or does not
//! tell: two lengths for one body (it obeys one of them and drops the other from the header map), several
//! `Content-Length` lines that agree, lines that end in a bare LF, no or two `Host` lines. A proxy in front may forgive
//! the same things in another way, and then the two disagree about where the next request begins: that is request
//! smuggling. Refusing them costs no honest client anything. Nothing here interprets what it does not have to: one pass
//! over the lines, no allocation.

use super::limits::Limits;
use super::refusal::Refusal;

/// How the end of a body is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// This many bytes follow the header; 0 when there is no body.
    Length(u64),
    /// Chunks follow.
    Chunked,
}

/// What the bytes read so far are.
#[derive(Debug, PartialEq, Eq)]
pub enum Look<'a> {
    /// The header has not ended yet.
    Partial,
    /// A whole header: `len` bytes (with the empty lines before it), its target, and how its body ends.
    Whole {
        /// Of the header, in bytes.
        len: usize,
        /// What is asked for.
        target: &'a [u8],
        /// How the body ends.
        framing: Framing,
    },
    /// Not to be passed on.
    Refused(Refusal),
}

/// Looks at `bytes`, which begin where a request begins.
pub fn examine<'a>(bytes: &'a [u8], limits: &Limits) -> Look<'a> {
    // RFC 9112, 2.2: empty lines before the request line are skipped.
    let mut start = 0;
    while bytes[start..].starts_with(b"\r\n") {
        start += 2;
    }
    if start > limits.header_bytes {
        return Look::Refused(Refusal::HeaderTooLong);
    }
    let head = &bytes[start..];
    let first = match head.first() {
        None | Some(b'\r') if head.len() < 2 => return Look::Partial,
        // A TLS hello, a port scanner, or binary rubbish never ends a line: say so at once.
        Some(first) if !first.is_ascii_alphabetic() => {
            return Look::Refused(Refusal::Malformed(
                "a request begins with its method, as in: GET / HTTP/1.1",
            ));
        }
        _ => match line(head) {
            Line::Bare => return Look::Refused(BARE),
            Line::Whole(first) => first,
            Line::Partial => return partial_request_line(head, limits),
        },
    };
    let target = match request_line(first, limits) {
        Ok(target) => target,
        Err(refusal) => return Look::Refused(refusal),
    };

    let mut seen = Seen::default();
    let mut at = first.len() + 2;
    loop {
        if at > limits.header_bytes {
            return Look::Refused(Refusal::HeaderTooLong);
        }
        match line(&head[at..]) {
            Line::Whole([]) => {
                let len = start + at + 2;
                return match seen.framing(first.ends_with(b"1.1")) {
                    Ok(framing) => Look::Whole { len, target, framing },
                    Err(refusal) => Look::Refused(refusal),
                };
            }
            Line::Whole(field) => {
                if let Err(refusal) = seen.note(field, limits) {
                    return Look::Refused(refusal);
                }
                at += field.len() + 2;
            }
            Line::Bare => return Look::Refused(BARE),
            // A lone CR may be the beginning of the empty line, which does not count.
            Line::Partial if head.len() > limits.header_bytes && head[at..] != *b"\r" => {
                return Look::Refused(Refusal::HeaderTooLong);
            }
            Line::Partial => return Look::Partial,
        }
    }
}

const BARE: Refusal = Refusal::Malformed("every line of the header ends in CR LF");

enum Line<'a> {
    /// Without its CR LF.
    Whole(&'a [u8]),
    /// Ended by LF alone.
    Bare,
    Partial,
}

/// The first line of `bytes`. A CR inside of it is left to the parser behind, which refuses it.
fn line(bytes: &[u8]) -> Line<'_> {
    match memchr::memchr(b'\n', bytes) {
        None => Line::Partial,
        Some(end) => match bytes[..end].split_last() {
            Some((b'\r', line)) => Line::Whole(line),
            _ => Line::Bare,
        },
    }
}

/// The target of a request line, whose version must be one that is spoken here.
fn request_line<'a>(line: &'a [u8], limits: &Limits) -> Result<&'a [u8], Refusal> {
    let wrong = Refusal::Malformed("the request line is: method, space, target, space, HTTP/1.1");
    let after_method = memchr::memchr(b' ', line).ok_or(wrong)?;
    let rest = &line[after_method + 1..];
    let after_target = memchr::memchr(b' ', rest).ok_or(wrong)?;
    let (target, version) = (&rest[..after_target], &rest[after_target + 1..]);
    if target.len() > limits.target_bytes {
        return Err(Refusal::TargetTooLong);
    }
    match version {
        b"HTTP/1.1" | b"HTTP/1.0" => Ok(target),
        other if other.starts_with(b"HTTP/") => Err(Refusal::Version),
        _ => Err(wrong),
    }
}

/// A request line that has not ended: is it already too long?
fn partial_request_line<'a>(head: &[u8], limits: &Limits) -> Look<'a> {
    let target = memchr::memchr(b' ', head).map_or(0, |space| head.len() - space - 1);
    // The version that follows the target, and its CR, belong to the line as well.
    if target > limits.target_bytes + b" HTTP/1.1\r".len() {
        Look::Refused(Refusal::TargetTooLong)
    } else if head.len() > limits.header_bytes {
        Look::Refused(Refusal::HeaderTooLong)
    } else {
        Look::Partial
    }
}

/// What the header fields so far said about the body.
#[derive(Default)]
struct Seen {
    fields: usize,
    hosts: usize,
    length: Option<u64>,
    codings: usize,
    unknown_coding: bool,
}

impl Seen {
    fn note(&mut self, field: &[u8], limits: &Limits) -> Result<(), Refusal> {
        self.fields += 1;
        if self.fields > limits.headers {
            return Err(Refusal::TooManyHeaders);
        }
        // The three names differ in length, so the place of the colon decides which comparison is worth making.
        if let Some(value) = value_of(field, b"host") {
            self.hosts += 1;
            if value.contains(&b',') || self.hosts > 1 {
                return Err(Refusal::Malformed("there is exactly one Host"));
            }
        } else if let Some(value) = value_of(field, b"content-length") {
            if self.length.is_some() {
                return Err(Refusal::Framing("Content-Length is given more than once"));
            }
            self.length =
                Some(length(value).ok_or(Refusal::Framing("Content-Length is one decimal number"))?);
        } else if let Some(value) = value_of(field, b"transfer-encoding") {
            self.codings += 1;
            self.unknown_coding |= !value.eq_ignore_ascii_case(b"chunked");
        }
        Ok(())
    }

    fn framing(&self, version_1_1: bool) -> Result<Framing, Refusal> {
        if version_1_1 && self.hosts == 0 {
            return Err(Refusal::Malformed("there is exactly one Host"));
        }
        match (self.codings, self.length) {
            (0, length) => Ok(Framing::Length(length.unwrap_or(0))),
            (_, Some(_)) => Err(Refusal::Framing("Content-Length and Transfer-Encoding exclude each other")),
            (1, None) if !version_1_1 => Err(Refusal::Framing("HTTP/1.0 has no Transfer-Encoding")),
            (1, None) if self.unknown_coding => Err(Refusal::Coding),
            (1, None) => Ok(Framing::Chunked),
            (_, None) => Err(Refusal::Framing("Transfer-Encoding is given more than once")),
        }
    }
}

/// The value of `field` if `name` (lower case) is its name, without the white space around it.
fn value_of<'a>(field: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    if field.get(name.len()) != Some(&b':') || !field[..name.len()].eq_ignore_ascii_case(name) {
        return None;
    }
    Some(field[name.len() + 1..].trim_ascii())
}

/// Digits only, as RFC 9110 8.6 writes it: no sign, no list, no hexadecimal.
fn length(value: &[u8]) -> Option<u64> {
    if value.is_empty() || value.len() > 18 || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(value.iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0')))
}
