//! The address of a PostgreSQL database, read strictly: what is not understood is refused, not left out.
//!
//! `postgres://user:password@host:port,host2:port2/database?sslmode=verify-full&sslrootcert=FILE&schema=NAME`. It may hold
//! a password, so no error repeats any part of it, and the type has no `Debug`.

use std::path::PathBuf;
use zeroize::Zeroizing;

/// Where the tables are, and who may use them.
#[derive(Clone)]
pub struct Address {
    /// Tried in this order; the one that takes writes is used.
    pub(super) hosts: Vec<Host>,
    pub(super) user: String,
    pub(super) password: Option<Zeroizing<String>>,
    pub(super) database: String,
    /// Letters, digits and `_`: inside of quotes it is a name, also where it is a word of SQL.
    pub(super) schema: String,
    pub(super) trust: Trust,
}

/// One server.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Host {
    /// A name or an address; without the brackets of IPv6.
    pub(super) name: String,
    pub(super) port: u16,
}

/// How the server shows who it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Trust {
    /// By nothing, and everything is sent as it is.
    Plain,
    /// By a certificate for its name, issued by one in this file, or by one that the system trusts.
    Verified(Option<PathBuf>),
}

/// Why an address is none: a sentence that repeats nothing of it.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0}")]
pub struct AddressError(&'static str);

const FORM: &str = "write postgres://USER:PASSWORD@HOST:PORT/DATABASE, in which special characters of user and password stand as %XX";
const PARAMETERS: &str =
    "behind the `?` may stand sslmode, sslrootcert, schema and target_session_attrs, each once";
const SSLMODE: &str = "sslmode is verify-full (the server's certificate is checked) or disable (no TLS at all): the modes between \
     them can be talked out of it by whoever sits in the middle";
const ROOT: &str =
    "sslrootcert is a file of certificates (or `system`), and goes with sslmode=verify-full only";
const SCHEMA: &str =
    "schema has 1 to 40 lower-case letters, digits and `_`, begins with a letter, and not with `pg_`";
const TARGET: &str = "target_session_attrs can only be read-write: every node writes";
const HOST: &str = "each host is a name or an address, with a port from 1 to 65535 behind a colon; IPv6 stands in brackets; sockets \
     of the file system cannot be used";

/// The port of PostgreSQL.
const PORT: u16 = 5_432;

impl Address {
    /// Reads it.
    ///
    /// # Errors
    /// [`AddressError`].
    pub fn parse(text: &str) -> Result<Address, AddressError> {
        let rest = text.strip_prefix("postgres://").or_else(|| text.strip_prefix("postgresql://"));
        let rest = rest.ok_or(AddressError(FORM))?;
        let (rest, query) = rest.split_once('?').map_or((rest, None), |(rest, query)| (rest, Some(query)));
        // A `/` or `?` of the password that is not written as %XX would end up where no `@` can be.
        let (authority, database) = rest.split_once('/').ok_or(AddressError(FORM))?;
        let (login, hosts) = authority.split_once('@').ok_or(AddressError(FORM))?;
        let (user, password) =
            login.split_once(':').map_or((login, None), |(user, password)| (user, Some(password)));
        let plain = |text: &str| !text.contains(['@', '/', ':', '?', '#']) && !text.is_empty();
        if !plain(user) || !plain(database) || password.is_some_and(|text| text.contains(['@', ':'])) {
            return Err(AddressError(FORM));
        }
        let mut address = Address {
            hosts: hosts.split(',').map(host).collect::<Result<_, _>>()?,
            user: decoded(user)?,
            password: password.filter(|text| !text.is_empty()).map(decoded).transpose()?.map(Zeroizing::new),
            database: decoded(database)?,
            schema: "handstamp".to_owned(),
            trust: Trust::Verified(None),
        };
        address.parameters(query.unwrap_or_default())?;
        Ok(address)
    }

    /// Hosts and database, for people: no user, no password.
    pub fn place(&self) -> String {
        let hosts: Vec<String> = self.hosts.iter().map(Host::text).collect();
        format!("{}/{}", hosts.join(","), self.database)
    }

    /// In which schema the tables are.
    pub fn schema(&self) -> &str {
        &self.schema
    }

    /// Whether what is sent is encrypted, and the server has to show who it is.
    pub fn encrypted(&self) -> bool {
        self.trust != Trust::Plain
    }

    fn parameters(&mut self, query: &str) -> Result<(), AddressError> {
        let (mut mode, mut root, mut schema, mut target) = (None, None, None, None);
        for pair in query.split('&').filter(|_| !query.is_empty()) {
            let (name, value) = pair.split_once('=').ok_or(AddressError(PARAMETERS))?;
            let place = match name {
                "sslmode" => &mut mode,
                "sslrootcert" => &mut root,
                "schema" => &mut schema,
                "target_session_attrs" => &mut target,
                _ => return Err(AddressError(PARAMETERS)),
            };
            if place.replace(decoded(value)?).is_some() {
                return Err(AddressError(PARAMETERS));
            }
        }
        if target.is_some_and(|target| target != "read-write") {
            return Err(AddressError(TARGET));
        }
        if let Some(schema) = schema {
            let good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
            let first = schema.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase());
            if !first || schema.len() > 40 || !schema.bytes().all(good) || schema.starts_with("pg_") {
                return Err(AddressError(SCHEMA));
            }
            self.schema = schema;
        }
        self.trust = match (mode.as_deref(), root) {
            (Some("disable"), None) => Trust::Plain,
            (Some("disable"), Some(_)) => return Err(AddressError(ROOT)),
            (None | Some("verify-full"), Some(file)) if file.is_empty() => return Err(AddressError(ROOT)),
            (None | Some("verify-full"), root) => {
                Trust::Verified(root.filter(|file| file != "system").map(PathBuf::from))
            }
            (Some(_), _) => return Err(AddressError(SSLMODE)),
        };
        Ok(())
    }
}

impl Host {
    /// As it is written.
    pub(super) fn text(&self) -> String {
        if self.name.contains(':') {
            format!("[{}]:{}", self.name, self.port)
        } else {
            format!("{}:{}", self.name, self.port)
        }
    }
}

fn host(text: &str) -> Result<Host, AddressError> {
    let (name, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (name, port) = rest.split_once(']').ok_or(AddressError(HOST))?;
            name.parse::<std::net::Ipv6Addr>().map_err(|_| AddressError(HOST))?;
            (name, (!port.is_empty()).then_some(port))
        }
        None => {
            let end = text.find(':').unwrap_or(text.len());
            let (name, port) = text.split_at(end);
            let good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
            if name.is_empty() || name.len() > 253 || !name.bytes().all(good) {
                return Err(AddressError(HOST));
            }
            (name, (!port.is_empty()).then_some(port))
        }
    };
    let port = match port {
        None => PORT,
        Some(port) => {
            let digits = port.strip_prefix(':').filter(|d| d.bytes().all(|byte| byte.is_ascii_digit()));
            digits
                .and_then(|digits| digits.parse().ok())
                .filter(|port| *port > 0)
                .ok_or(AddressError(HOST))?
        }
    };
    Ok(Host { name: name.to_owned(), port })
}

/// %XX as the byte it stands for; everything else as it is.
fn decoded(text: &str) -> Result<String, AddressError> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(text.len()));
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || char::from(rest.next()?).to_digit(16);
        let (Some(high), Some(low)) = (digit(), digit()) else { return Err(AddressError(FORM)) };
        bytes.push(u8::try_from(high * 16 + low).unwrap_or(0));
    }
    if bytes.contains(&0) {
        return Err(AddressError(FORM));
    }
    std::str::from_utf8(&bytes).map(str::to_owned).map_err(|_| AddressError(FORM))
}
