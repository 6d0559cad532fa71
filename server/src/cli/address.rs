//! Where the server is, and how paths and queries are written for it.

use super::Failure;
use crate::config::Config;
use http::Uri;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

/// Which server is asked, as the command line says it.
#[derive(Clone, Copy, Default)]
pub struct Target<'a> {
    /// `--url`
    pub url: Option<&'a str>,
    /// `--ca`
    pub ca: Option<&'a Path>,
    /// `--env`, for operators.
    pub environment: Option<&'a str>,
}

/// Scheme, host and port of the server, and what stands before `/v1`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) https: bool,
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) prefix: String,
}

impl Address {
    pub(super) fn of(target: Target<'_>, config: &Config) -> Result<Address, Failure> {
        if let Some(url) = target.url {
            return Address::parse(url);
        }
        let listen = config.server.listen;
        if listen.port() == 0 {
            return Err(Failure::new("the server picks its port at the start (server.listen has port 0)")
                .help("name its address with --url, such as http://127.0.0.1:PORT"));
        }
        let host = match listen.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.to_string(),
            IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.to_string(),
            ip => ip.to_string(),
        };
        Ok(Address { https: config.server.tls.is_some(), host, port: listen.port(), prefix: String::new() })
    }

    /// No error of it repeats the text, which may hold a password.
    fn parse(url: &str) -> Result<Address, Failure> {
        let wrong = || {
            Failure::usage("--url is not the address of a server", "write it such as http://127.0.0.1:7411")
        };
        let uri: Uri = url.parse().map_err(|_| wrong())?;
        let https = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(wrong()),
        };
        let authority = uri.authority().ok_or_else(wrong)?;
        if authority.as_str().contains('@') || uri.query().is_some() {
            return Err(wrong());
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = authority.port_u16().unwrap_or(if https { 443 } else { 80 });
        Ok(Address { https, host, port, prefix: uri.path().trim_end_matches('/').to_owned() })
    }

    pub(super) fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        format!("{host}:{}", self.port)
    }

    pub(super) fn is_here(&self) -> bool {
        self.host == "localhost" || self.host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
    }

    pub(super) fn url(&self) -> String {
        format!("{}://{}{}", if self.https { "https" } else { "http" }, self.authority(), self.prefix)
    }
}

/// `name=value` pairs as a query, percent-encoded; empty when there are none.
pub(super) fn query(pairs: &[(&str, Option<&str>)]) -> String {
    let mut out = String::new();
    for (name, value) in pairs {
        let Some(value) = value else { continue };
        out.push(if out.is_empty() { '?' } else { '&' });
        out.push_str(name);
        out.push('=');
        out.push_str(&encoded(value));
    }
    out
}

/// `text` as one part of a path or a query.
pub(super) fn encoded(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}
