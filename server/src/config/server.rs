//! `[server]`, `[forward_auth]`, `[metrics]`, `[bootstrap]`: where the server listens, what it puts up with from a
//! client, where its files are, and what it starts with.

use super::Values;
use super::key::{Care, Key, Layers, Section};
use super::network::{ForwardedHeader, Network};
use super::problem::Problem;
use super::secret::{AccessKey, Secret};
use super::setting::{ByteSize, Word};
use handstamp_core::time::Span;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// Milliseconds.
const TENTH: u64 = 100;
const HOUR: u64 = 3_600_000;

pub(super) const SECTION: Section = Section {
    name: "server",
    about: "The main listener, and where the server keeps its files",
    keys: &[
        Key::new::<SocketAddr>(
            "server",
            "listen",
            "127.0.0.1:7411",
            "Address and port of the API; port 0 picks a free one and says which",
        )
        .flag("--listen"),
        Key::new::<PathBuf>(
            "server",
            "data_dir",
            "./handstamp-data",
            "Directory of master.key, access.key and handstamp.db; made on the first start",
        )
        .flag("--data-dir"),
        Key::new::<Vec<Network>>(
            "server",
            "trusted_proxies",
            "",
            "Proxies whose word about the client's address is believed, as addresses or networks",
        )
        .example("[\"10.0.0.0/8\", \"::1\"]"),
        Key::new::<ForwardedHeader>(
            "server",
            "forwarded_header",
            "x-forwarded-for",
            "The header in which they say it, x-forwarded-for or forwarded; the other one is not looked at",
        ),
        Key::new::<bool>(
            "server",
            "proxy_protocol",
            "false",
            "Their connections to the main listener begin with the PROXY protocol (v1 or v2), and must",
        ),
        Key::new::<Option<PathBuf>>(
            "server",
            "tls_cert",
            "",
            "Certificate chain (PEM) of the main listener; with tls_key it speaks HTTPS",
        )
        .example("\"/etc/handstamp/tls.crt\"")
        .live(),
        Key::new::<Option<PathBuf>>("server", "tls_key", "", "Private key (PEM) of tls_cert")
            .example("\"/etc/handstamp/tls.key\"")
            .live(),
        Key::new::<Option<PathBuf>>(
            "server",
            "master_key_file",
            "",
            "File of the master key; without it master.key in the data directory",
        )
        .example("\"/run/secrets/master-key\""),
        Key::new::<Option<Secret>>(
            "server",
            "master_key",
            "",
            "The master key itself; only from the environment, so that it lies in no configuration file",
        )
        .care(Care::Secret)
        .only(Layers::Environment),
        Key::new::<Span>(
            "server",
            "header_timeout",
            "10s",
            "A request's head must be complete after this long",
        )
        .range(TENTH, HOUR),
        Key::new::<Span>(
            "server",
            "body_timeout",
            "30s",
            "A request's body must be complete after this long",
        )
        .range(TENTH, HOUR),
        Key::new::<Span>(
            "server",
            "idle_timeout",
            "75s",
            "A connection without a request is closed after this long",
        )
        .range(TENTH, HOUR),
        Key::new::<u32>("server", "max_connections", "10000", "Open connections of all clients together")
            .range(1, 1_000_000),
        Key::new::<u32>(
            "server",
            "max_connections_per_address",
            "0",
            "Open connections of one client address (IPv6: one /64); 0 for no bound, as behind a proxy",
        )
        .range(0, 1_000_000),
        Key::new::<ByteSize>("server", "max_header_bytes", "16KiB", "Size of a request's head")
            .range(8 << 10, 1 << 20),
    ],
};

pub(super) const FORWARD_AUTH: Section = Section {
    name: "forward_auth",
    about: "The listener that proxies ask for a verdict; it needs no key, so keep it inside",
    keys: &[Key::new::<Door>(
        "forward_auth",
        "listen",
        "127.0.0.1:7412",
        "Address and port (0 picks one), or \"off\"",
    )],
};

pub(super) const METRICS: Section = Section {
    name: "metrics",
    about: "Where /metrics is served",
    keys: &[Key::new::<Option<SocketAddr>>(
        "metrics",
        "listen",
        "",
        "A listener of its own for /metrics; without it the main listener serves them",
    )
    .example("\"127.0.0.1:7413\"")],
};

pub(super) const BOOTSTRAP: Section = Section {
    name: "bootstrap",
    about: "What an empty store starts with",
    keys: &[Key::new::<Option<AccessKey>>(
        "bootstrap",
        "access_key",
        "",
        "First access key of an empty store (make one with `handstamp keys generate`); without it one is made",
    )
    .care(Care::Secret)],
};

/// `[server]`.
#[derive(Clone)]
pub struct Server {
    /// Of the main listener; port 0 picks one.
    pub listen: SocketAddr,
    /// May be relative to the working directory.
    pub data_dir: PathBuf,
    /// Whose word about the client's address is believed.
    pub trusted_proxies: Vec<Network>,
    /// Where they say it.
    pub forwarded_header: ForwardedHeader,
    /// Whether their connections begin with the PROXY protocol.
    pub proxy_protocol: bool,
    /// Both or none.
    pub tls: Option<Tls>,
    /// Where the master key is.
    pub master_key: MasterKey,
    /// What the listeners put up with.
    pub limits: Limits,
}

/// The two files of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// PEM, the server's own certificate first.
    pub cert: PathBuf,
    /// PEM.
    pub key: PathBuf,
}

/// Where the master key is.
#[derive(Clone)]
pub enum MasterKey {
    /// Given in the environment, or in a file that the environment named.
    Given(Secret),
    /// In this file, which must be there.
    File(PathBuf),
    /// In this file of the data directory, which the first start makes.
    Made(PathBuf),
}

/// What the listeners put up with from a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// From the first byte of a request (or the end of the handshake) to the end of its head.
    pub header_timeout: Span,
    /// From the end of the head to the end of the body.
    pub body_timeout: Span,
    /// Between two requests of a connection.
    pub idle_timeout: Span,
    /// Of all clients together.
    pub max_connections: u32,
    /// Of one client address (IPv6: one /64); 0 is no bound.
    pub max_connections_per_address: u32,
    /// Bytes of a request's head.
    pub max_header_bytes: u32,
}

/// `[forward_auth]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForwardAuth {
    /// None is off.
    pub listen: Option<SocketAddr>,
}

/// `[metrics]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metrics {
    /// None: `/metrics` is on the main listener.
    pub listen: Option<SocketAddr>,
}

/// `[bootstrap]`.
#[derive(Clone)]
pub struct Bootstrap {
    /// Of an empty store; a whole `hsk_...`, its checksum was looked at.
    pub access_key: Option<Secret>,
}

impl Server {
    pub(super) fn read(values: &Values) -> Result<Server, Problem> {
        let at = values.section("server");
        let data_dir: PathBuf = at.get("data_dir")?;
        let (cert, key): (Option<PathBuf>, Option<PathBuf>) = (at.get("tls_cert")?, at.get("tls_key")?);
        let (given, file): (Option<Secret>, Option<PathBuf>) =
            (at.get("master_key")?, at.get("master_key_file")?);
        let header: ByteSize = at.get("max_header_bytes")?;
        Ok(Server {
            listen: at.get("listen")?,
            trusted_proxies: at.get("trusted_proxies")?,
            forwarded_header: at.get("forwarded_header")?,
            proxy_protocol: at.get("proxy_protocol")?,
            tls: cert.zip(key).map(|(cert, key)| Tls { cert, key }),
            master_key: match (given, file) {
                (Some(secret), _) => MasterKey::Given(secret),
                (None, Some(file)) => MasterKey::File(file),
                (None, None) => MasterKey::Made(data_dir.join("master.key")),
            },
            data_dir,
            limits: Limits {
                header_timeout: at.get("header_timeout")?,
                body_timeout: at.get("body_timeout")?,
                idle_timeout: at.get("idle_timeout")?,
                max_connections: at.get("max_connections")?,
                max_connections_per_address: at.get("max_connections_per_address")?,
                max_header_bytes: u32::try_from(header.0).unwrap_or(u32::MAX),
            },
        })
    }

    /// The file that the first access key is written to.
    pub fn access_key_file(&self) -> PathBuf {
        self.data_dir.join("access.key")
    }
}

impl ForwardAuth {
    pub(super) fn read(values: &Values) -> Result<ForwardAuth, Problem> {
        let Door(listen) = values.section("forward_auth").get("listen")?;
        Ok(ForwardAuth { listen })
    }
}

impl Metrics {
    pub(super) fn read(values: &Values) -> Result<Metrics, Problem> {
        Ok(Metrics { listen: values.section("metrics").get("listen")? })
    }
}

impl Bootstrap {
    pub(super) fn read(values: &Values) -> Result<Bootstrap, Problem> {
        let key: Option<AccessKey> = values.section("bootstrap").get("access_key")?;
        Ok(Bootstrap { access_key: key.map(|AccessKey(secret)| secret) })
    }
}

/// An address, or `off`.
struct Door(Option<SocketAddr>);

impl Word for Door {
    const NAME: &'static str = "an address and a port, or \"off\",";
    fn parse(text: &str) -> Result<Door, String> {
        if text == "off" {
            return Ok(Door(None));
        }
        <SocketAddr as Word>::parse(text).map(|at| Door(Some(at))).map_err(|why| format!("{why}, or \"off\""))
    }
    fn text(&self) -> String {
        self.0.map_or_else(|| "off".to_owned(), |at| at.to_string())
    }
}

/// What is unsafe or impossible in these sections together.
pub(super) fn check(
    values: &Values,
    server: &Server,
    doors: [(&'static str, Option<SocketAddr>); 2],
) -> Vec<Problem> {
    let mut found = Vec::new();
    for (this, other) in [("server.tls_cert", "server.tls_key"), ("server.tls_key", "server.tls_cert")] {
        if values.is_set(this) && !values.is_set(other) {
            found.extend(values.conflict(
                &[this, other],
                format!("TLS needs both files: set {other} too, or leave {this} out"),
            ));
        }
    }
    if server.proxy_protocol && server.trusted_proxies.is_empty() {
        found.extend(
            values.conflict(
                &["server.proxy_protocol", "server.trusted_proxies"],
                "the PROXY protocol is taken from trusted proxies only, and there are none: name them in \
             server.trusted_proxies"
                    .to_owned(),
            ),
        );
    }
    let mut taken = vec![("server.listen", server.listen)];
    for (key, listen) in doors {
        let Some(listen) = listen else { continue };
        if let Some((other, _)) = taken.iter().find(|(_, at)| *at == listen && at.port() != 0) {
            found.extend(values.conflict(
                &[key, other],
                format!(
                    "{key} and {other} both say `{listen}`: choose another port, or 0 to have one picked"
                ),
            ));
        }
        taken.push((key, listen));
    }
    found
}

/// Whether the files that the server needs are there.
pub(super) fn check_files(values: &Values, server: &Server) -> Vec<Problem> {
    let mut found = Vec::new();
    let master = match &server.master_key {
        MasterKey::File(file) => Some(("server.master_key_file", file)),
        _ => None,
    };
    let tls =
        server.tls.iter().flat_map(|tls| [("server.tls_cert", &tls.cert), ("server.tls_key", &tls.key)]);
    for (key, file) in tls.chain(master) {
        if let Err(why) = readable(file) {
            found.extend(values.conflict(&[key], format!("`{}` cannot be read: {why}", file.display())));
        }
    }
    found
}

fn readable(file: &Path) -> Result<(), String> {
    let meta = std::fs::metadata(file).map_err(|e| e.to_string())?;
    if meta.is_dir() {
        return Err("it is a directory".to_owned());
    }
    std::fs::File::open(file).map(|_| ()).map_err(|e| e.to_string())
}

/// What is allowed, and worth a line in the log.
pub(super) fn warnings(server: &Server, doors: [(&'static str, Option<SocketAddr>); 2]) -> Vec<String> {
    let mut lines = Vec::new();
    if server.tls.is_none() && !server.listen.ip().is_loopback() {
        lines.push(format!(
            "server.listen {} can be reached from other machines without TLS: put a TLS proxy in front, or set \
             tls_cert and tls_key",
            server.listen
        ));
    }
    for (key, listen) in doors {
        if let Some(listen) = listen.filter(|at| !at.ip().is_loopback()) {
            lines.push(format!(
                "{key} {listen} can be reached from other machines and asks for no key: let only your proxies and \
                 monitors reach it"
            ));
        }
    }
    if server.trusted_proxies.iter().any(Network::is_everything) {
        lines.push(
            "server.trusted_proxies trusts every address: any client can claim any address for itself"
                .to_owned(),
        );
    }
    lines
}
