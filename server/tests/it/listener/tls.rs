//! TLS: what is spoken, what is refused, and a new certificate without a restart.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use handstamp_server::http::listener::{Limits, Tls, TlsError};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ProtocolVersion, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{Client, Server, limits, soon};

/// A directory with a certificate and a key, and an authority that signs them.
pub(super) struct Desk {
    dir: PathBuf,
    authority: CertifiedIssuer<'static, KeyPair>,
}

impl Desk {
    pub(super) fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("handstamp-tls-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let desk = Desk { dir, authority };
        desk.issue();
        desk
    }

    fn certificate(&self) -> PathBuf {
        self.dir.join("tls.crt")
    }

    fn key(&self) -> PathBuf {
        self.dir.join("tls.key")
    }

    /// Writes a new certificate and its key; returns the certificate.
    fn issue(&self) -> CertificateDer<'static> {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.authority).unwrap();
        std::fs::write(self.certificate(), certificate.pem()).unwrap();
        std::fs::write(self.key(), key.serialize_pem()).unwrap();
        certificate.der().clone()
    }

    pub(super) fn load(&self) -> Result<Tls, TlsError> {
        Tls::load(self.certificate(), self.key())
    }

    fn client(&self, versions: &[&'static rustls::SupportedProtocolVersion], alpn: &[&str]) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        config
    }

    async fn connect(&self, server: &Server) -> Client<TlsStream<TcpStream>> {
        connect(server, self.client(rustls::ALL_VERSIONS, &["http/1.1"])).await.unwrap()
    }

    pub(super) async fn handshake(&self, tcp: TcpStream) -> Client<TlsStream<TcpStream>> {
        handshake(tcp, self.client(rustls::ALL_VERSIONS, &["http/1.1"])).await.unwrap()
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

async fn connect(server: &Server, config: ClientConfig) -> std::io::Result<Client<TlsStream<TcpStream>>> {
    handshake(TcpStream::connect(server.address).await?, config).await
}

async fn handshake(tcp: TcpStream, config: ClientConfig) -> std::io::Result<Client<TlsStream<TcpStream>>> {
    let name = ServerName::try_from("localhost").unwrap();
    Ok(Client(soon("the handshake", TlsConnector::from(Arc::new(config)).connect(name, tcp)).await?))
}

fn shown(client: &Client<TlsStream<TcpStream>>) -> CertificateDer<'static> {
    client.0.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned()
}

#[tokio::test]
async fn both_versions_and_one_protocol() {
    let desk = Desk::new("versions");
    let server = Server::start_with(limits(), Some(desk.load().unwrap())).await;
    for (version, number) in [
        (&rustls::version::TLS12, ProtocolVersion::TLSv1_2),
        (&rustls::version::TLS13, ProtocolVersion::TLSv1_3),
    ] {
        let config = desk.client(&[version], &["h2", "http/1.1"]);
        let mut client = connect(&server, config).await.unwrap();
        assert_eq!(client.0.get_ref().1.protocol_version(), Some(number));
        assert_eq!(client.0.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
        let address = client.0.get_ref().0.local_addr().unwrap();
        assert_eq!(client.get("/peer").await.body, format!("{address} tls=true"));
        assert_eq!(client.get("/large").await.body.len(), super::LARGE);
        client.send("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
        assert_eq!(client.answer().await.status, 200);
        // An orderly end: close_notify, so that nobody can pretend one.
        let mut rest = Vec::new();
        let end = soon("the end", tokio::io::AsyncReadExt::read_to_end(&mut client.0, &mut rest)).await;
        assert_eq!(end.unwrap(), 0);
    }
    let no_alpn = desk.client(rustls::ALL_VERSIONS, &[]);
    assert_eq!(connect(&server, no_alpn).await.unwrap().get("/").await.status, 200);
    let h2_only = desk.client(rustls::ALL_VERSIONS, &["h2"]);
    assert!(connect(&server, h2_only).await.is_err(), "only h2 offered: there is no protocol in common");
}

#[tokio::test]
async fn refusals_work_inside_tls() {
    let desk = Desk::new("refusals");
    let server = Server::start_with(limits(), Some(desk.load().unwrap())).await;
    let mut client = desk.connect(&server).await;
    client
        .send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n")
        .await;
    client.refused(400, "request_ambiguous").await;
}

#[tokio::test]
async fn a_handshake_that_stalls_is_closed() {
    let desk = Desk::new("stall");
    let short = Limits { handshake: Duration::from_millis(300), ..limits() };
    let server = Server::start_with(short, Some(desk.load().unwrap())).await;
    for begun in [&b""[..], b"\x16", b"\x16\x03\x01\x01\x00\x01"] {
        let mut client = server.connect().await;
        client.send(begun).await;
        assert!(client.until_closed().await.is_empty());
    }
    assert_eq!(desk.connect(&server).await.get("/").await.status, 200);
}

#[tokio::test]
async fn plain_http_on_the_tls_port_is_told_so() {
    let desk = Desk::new("plain");
    let server = Server::start_with(limits(), Some(desk.load().unwrap())).await;
    let mut client = server.connect().await;
    client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    client.refused(400, "tls_expected").await;
    // Rubbish that begins like TLS: closed, after an alert.
    let mut client = server.connect().await;
    client.send(b"\x16\x03\x01\x00\x05hello").await;
    let alert = client.until_closed().await;
    assert!(alert.is_empty() || alert[0] == 0x15, "{alert:?}");
}

#[tokio::test]
async fn a_reload_changes_new_connections_only() {
    let desk = Desk::new("reload");
    let tls = desk.load().unwrap();
    let server = Server::start_with(limits(), Some(tls.clone())).await;
    let mut old = desk.connect(&server).await;
    let first = shown(&old);
    assert_eq!(old.get("/").await.status, 200);

    let second = desk.issue();
    assert_eq!(shown(&desk.connect(&server).await), first, "a new file alone changes nothing");
    tls.reload().unwrap();
    let mut new = desk.connect(&server).await;
    assert_eq!(shown(&new), second);
    assert_eq!(new.get("/").await.status, 200);
    assert_eq!(old.get("/").await.status, 200, "the old connection goes on");
}

#[tokio::test]
async fn a_broken_file_keeps_the_certificate() {
    let desk = Desk::new("broken");
    let tls = desk.load().unwrap();
    let server = Server::start_with(limits(), Some(tls.clone())).await;
    let first = shown(&desk.connect(&server).await);
    let good_key = std::fs::read_to_string(desk.key()).unwrap();
    let good_certificate = std::fs::read_to_string(desk.certificate()).unwrap();
    let other_key = KeyPair::generate().unwrap().serialize_pem();
    let cut = |text: &str| text[..text.len() / 2].to_owned();

    type Case<'a> = (&'a str, Option<String>, Option<String>, &'a Path);
    let (certificate, key) = (desk.certificate(), desk.key());
    let cases: [Case<'_>; 9] = [
        ("no certificate file", None, Some(good_key.clone()), &certificate),
        ("empty certificate", Some(String::new()), Some(good_key.clone()), &certificate),
        ("half a certificate", Some(cut(&good_certificate)), Some(good_key.clone()), &certificate),
        ("a key for a certificate", Some(good_key.clone()), Some(good_key.clone()), &certificate),
        ("rubbish in a certificate", Some(rubbish("CERTIFICATE")), Some(good_key.clone()), &certificate),
        ("no key file", Some(good_certificate.clone()), None, &key),
        ("half a key", Some(good_certificate.clone()), Some(cut(&good_key)), &key),
        ("a certificate for a key", Some(good_certificate.clone()), Some(good_certificate.clone()), &key),
        ("another key", Some(good_certificate.clone()), Some(other_key.clone()), &key),
    ];
    for (what, new_certificate, new_key, culprit) in cases {
        for (file, text) in [(&certificate, &new_certificate), (&key, &new_key)] {
            match text {
                Some(text) => std::fs::write(file, text).unwrap(),
                None => std::fs::remove_file(file).unwrap(),
            }
        }
        let error = tls.reload().expect_err(what).to_string();
        assert!(error.contains(culprit.to_str().unwrap()), "{what}: {error}");
        for secret in [&good_key, &other_key] {
            let line = secret.lines().nth(1).unwrap();
            assert!(!error.contains(line), "{what}: the key is in the message");
        }
        assert!(desk.load().is_err());
        assert_eq!(shown(&desk.connect(&server).await), first, "{what}: the certificate in use stays");
    }
}

/// Well-formed PEM around something that is no certificate.
fn rubbish(label: &str) -> String {
    format!("-----BEGIN {label}-----\nAAECAwQF\n-----END {label}-----\n")
}
