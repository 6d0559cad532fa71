//! The PROXY protocol, versions 1 and 2: what a proxy that passes bytes on, and reads no HTTP, says before them.
//!
//! Whoever may say it must say it: a connection of a trusted proxy begins with this, or is refused, and on every other
//! connection it is as wrong as any text that is no HTTP. There is no looking whether it is there: a client whose
//! proxy does not add it could then say it itself.
//!
//! Nothing is kept but the client's address. A proxy that speaks for itself (`LOCAL`, `UNKNOWN`: its health checks) or
//! for a client without an internet address stays who it is.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

/// Bytes of the longest line of version 1, with its CR LF.
pub const LONGEST_V1: usize = 107;
/// Bytes of the longest header of version 2 that is read: addresses, and what proxies tell of TLS.
pub const LONGEST_V2: usize = 4_096;

const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
const BEGINNING: &[u8] = b"PROXY ";

/// What the bytes read so far are.
#[derive(Debug, PartialEq, Eq)]
pub enum Look {
    /// The header has not ended yet.
    Partial,
    /// A whole header.
    Whole {
        /// Of the header, in bytes.
        len: usize,
        /// Whose connection it is.
        of: Whose,
    },
    /// No header, or not one to be believed; the text says why.
    Wrong(&'static str),
}

/// Whose a proxy says that its connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// Its own, or nobody's with an internet address.
    Own,
    /// This client's.
    Client(SocketAddr),
}

/// Looks at `bytes`, which begin where the connection begins.
pub fn examine(bytes: &[u8]) -> Look {
    if agrees(bytes, BEGINNING) {
        line(bytes)
    } else if agrees(bytes, SIGNATURE) {
        binary(bytes)
    } else {
        Look::Wrong("connections of this proxy begin with a header of the PROXY protocol")
    }
}

/// Whether `bytes` are how `beginning` begins, or begin with it.
fn agrees(bytes: &[u8], beginning: &[u8]) -> bool {
    bytes.iter().zip(beginning).all(|(a, b)| a == b)
}

/// Version 1: `PROXY TCP4 198.51.100.7 203.0.113.1 50000 443` and CR LF.
fn line(bytes: &[u8]) -> Look {
    let Some(end) = bytes.iter().take(LONGEST_V1).position(|byte| *byte == b'\n') else {
        if bytes.len() < LONGEST_V1 {
            return Look::Partial;
        }
        return Look::Wrong("the line of the PROXY protocol is too long");
    };
    let words = bytes.get(BEGINNING.len()..end).and_then(|line| line.strip_suffix(b"\r"));
    match words.and_then(|words| std::str::from_utf8(words).ok()).and_then(client) {
        Some(of) => Look::Whole { len: end + 1, of },
        None => Look::Wrong("the line of the PROXY protocol is not well-formed"),
    }
}

/// What the words of version 1 say; `None`: nothing that is right.
fn client(words: &str) -> Option<Whose> {
    let mut words = words.split(' ');
    let read = match words.next()? {
        // Whatever follows means nothing.
        "UNKNOWN" => return Some(Whose::Own),
        "TCP4" => address::<Ipv4Addr>,
        "TCP6" => address::<Ipv6Addr>,
        _ => return None,
    };
    let (source, _) = (read(words.next()?)?, read(words.next()?)?);
    let (port, _) = (port(words.next()?)?, port(words.next()?)?);
    words.next().is_none().then_some(Whose::Client(SocketAddr::new(source, port)))
}

fn address<T: FromStr + Into<IpAddr>>(text: &str) -> Option<IpAddr> {
    text.parse::<T>().ok().map(|address| address.into().to_canonical())
}

/// One text for each: no sign, no leading zero.
fn port(text: &str) -> Option<u16> {
    text.parse().ok().filter(|port: &u16| port.to_string() == text)
}

/// Version 2: signature, version and command, family, length, addresses, and more that is not looked into.
fn binary(bytes: &[u8]) -> Look {
    const LOCAL: u8 = 0x20;
    const PROXY: u8 = 0x21;

    let Some((command, rest)) = bytes.get(SIGNATURE.len()..).and_then(<[u8]>::split_first) else {
        return Look::Partial;
    };
    if ![LOCAL, PROXY].contains(command) {
        return Look::Wrong("the header of the PROXY protocol is of an unknown version or command");
    }
    let Some(([family, high, low], rest)) = rest.split_first_chunk::<3>() else { return Look::Partial };
    let length = usize::from(u16::from_be_bytes([*high, *low]));
    let len = SIGNATURE.len() + 4 + length;
    if len > LONGEST_V2 {
        return Look::Wrong("the header of the PROXY protocol is too long");
    }
    let Some(block) = rest.get(..length) else { return Look::Partial };
    let said = if *command == LOCAL { Some(Whose::Own) } else { of_family(*family, block) };
    match said {
        Some(of) => Look::Whole { len, of },
        None => Look::Wrong("the header of the PROXY protocol is not of TCP, or is cut short"),
    }
}

/// What the block of addresses says; `None`: nothing that is right.
fn of_family(family: u8, block: &[u8]) -> Option<Whose> {
    const UNSPECIFIED: u8 = 0x00;
    const TCP_4: u8 = 0x11;
    const TCP_6: u8 = 0x21;
    const UNIX: u8 = 0x31;

    let (source, rest): (IpAddr, _) = match family {
        // There is a client, but it has no address: as far as anybody knows, it is the proxy.
        UNSPECIFIED | UNIX => return Some(Whose::Own),
        TCP_4 => {
            let ([source, _], rest) = split::<2, 4>(block)?;
            (source.into(), rest)
        }
        TCP_6 => {
            let ([source, _], rest) = split::<2, 16>(block)?;
            (source.into(), rest)
        }
        _ => return None,
    };
    let ([port, _], more) = split::<2, 2>(rest)?;
    is_framed(more).then(|| Whose::Client(SocketAddr::new(source.to_canonical(), u16::from_be_bytes(port))))
}

/// Whether what follows the addresses is type, length and value, over and over, to its very end.
fn is_framed(mut more: &[u8]) -> bool {
    while let Some(([_, high, low], rest)) = more.split_first_chunk::<3>() {
        match rest.get(usize::from(u16::from_be_bytes([*high, *low]))..) {
            Some(next) => more = next,
            None => return false,
        }
    }
    more.is_empty()
}

/// `N` parts of `L` bytes each, and what follows them.
fn split<const N: usize, const L: usize>(bytes: &[u8]) -> Option<([[u8; L]; N], &[u8])> {
    let mut parts = [[0; L]; N];
    let mut rest = bytes;
    for part in &mut parts {
        let (first, more) = rest.split_first_chunk::<L>()?;
        (*part, rest) = (*first, more);
    }
    Some((parts, rest))
}
