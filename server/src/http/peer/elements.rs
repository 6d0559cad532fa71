//! The two ways to write a list of hops, each read from its right end, one element at a time.
//!
//! From the right, because the right end is what the nearest proxy wrote; what a client sent before it, such as a quote
//! that never ends, is not even looked at until everything behind it has been believed.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Takes the last element off a list: the address in it, if it is one, and what is left of it.
pub(super) type Last = fn(&[u8]) -> (Option<IpAddr>, Option<&[u8]>);

/// Of `X-Forwarded-For`. An empty element is none.
pub(super) fn last_address(list: &[u8]) -> (Option<IpAddr>, Option<&[u8]>) {
    let at = list.iter().rposition(|byte| *byte == b',');
    let (element, left) = cut(list, at);
    let address = text(element).and_then(|text| text.parse().ok().or_else(|| node(text)));
    (address, left)
}

/// Of `Forwarded`: commas inside of quotes separate nothing.
pub(super) fn last_for(list: &[u8]) -> (Option<IpAddr>, Option<&[u8]>) {
    let mut quoted = false;
    let at = list.iter().enumerate().rev().find(|(at, byte)| {
        match byte {
            // Seen from behind a quoted text begins at the first quote that no backslash stands before.
            b'"' if !quoted => quoted = true,
            b'"' => quoted = is_escaped(list, *at),
            _ => {}
        }
        **byte == b',' && !quoted
    });
    let (element, left) = cut(list, at.map(|(at, _)| at));
    (text(element).and_then(for_of).as_deref().and_then(node), left)
}

fn is_escaped(list: &[u8], at: usize) -> bool {
    let before = list.get(..at).unwrap_or_default();
    before.iter().rev().take_while(|byte| **byte == b'\\').count() % 2 == 1
}

/// What is behind a comma, and what is before it.
fn cut(list: &[u8], comma: Option<usize>) -> (&[u8], Option<&[u8]>) {
    match comma.and_then(|at| list.split_at_checked(at)) {
        Some((left, element)) => (element.get(1..).unwrap_or_default(), Some(left)),
        None => (list, None),
    }
}

/// Without the blanks around it.
fn text(element: &[u8]) -> Option<&str> {
    std::str::from_utf8(element).ok().map(|text| text.trim_matches([' ', '\t']))
}

/// The value of the parameter `for`, without its quotes. `None` when there is none, or several, or anything in the
/// element is not as RFC 7239 writes it; but addresses with a port or brackets may go without the quotes they need,
/// because proxies forget them, and nothing else could be meant.
fn for_of(element: &str) -> Option<String> {
    let mut found = None;
    let mut rest = element;
    while !rest.is_empty() {
        let name = rest.find(|c: char| !is_token(c)).and_then(|end| rest.split_at_checked(end));
        let (name, value) = match name {
            // An empty pair; RFC 7239 has them.
            Some(("", _)) if rest.starts_with(';') => ("", rest),
            Some(("", _)) | None => return None,
            Some((name, value)) => (name, value.strip_prefix('=')?),
        };
        let (value, after) = match value.strip_prefix('"') {
            _ if name.is_empty() => (String::new(), value),
            Some(quoted) => unquoted(quoted)?,
            None => {
                let end = value.find(|c| !is_token(c) && !"[]:".contains(c)).unwrap_or(value.len());
                let (plain, after) = value.split_at_checked(end)?;
                (Some(plain).filter(|plain| !plain.is_empty())?.to_owned(), after)
            }
        };
        if name.eq_ignore_ascii_case("for") && found.replace(value).is_some() {
            return None;
        }
        rest = match after.trim_start_matches([' ', '\t']) {
            "" => "",
            more => more.strip_prefix(';')?.trim_start_matches([' ', '\t']),
        };
    }
    found
}

/// A quoted text behind its first quote, and what comes after the last one.
fn unquoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut rest = text.chars();
    loop {
        match rest.next()? {
            '"' => return Some((value, rest.as_str())),
            '\\' => value.push(rest.next()?),
            c => value.push(c),
        }
    }
}

/// RFC 9110, 5.6.2.
fn is_token(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c)
}

/// An address as RFC 7239 writes it: IPv6 in brackets, and a port that nobody needs. `unknown` and names that hide an
/// address are none.
fn node(text: &str) -> Option<IpAddr> {
    let (address, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.split_once(']')?;
            (address.parse::<Ipv6Addr>().ok()?.into(), port)
        }
        None => {
            let end = text.find(':').unwrap_or(text.len());
            let (address, port) = text.split_at_checked(end)?;
            (address.parse::<Ipv4Addr>().ok()?.into(), port)
        }
    };
    let fine = port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
    fine.then_some(address)
}

/// Digits, or a name that hides them.
fn is_port(text: &str) -> bool {
    match text.strip_prefix('_') {
        Some(name) => {
            !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
        }
        None => text.len() <= 5 && text.bytes().all(|b| b.is_ascii_digit()) && text.parse::<u16>().is_ok(),
    }
}
