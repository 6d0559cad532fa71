//! TLS to PostgreSQL, always verified: the certificate must be issued by one that is trusted, for the host's name.
//!
//! The session is bound to the password's proof where it can be (SCRAM with `tls-server-end-point`, RFC 5929): who sits
//! in the middle with another certificate could not pass that on.

use super::address::Trust;
use aws_lc_rs::digest;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{CertificateError, ClientConfig, RootCertStore};
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client;

/// Where systems keep the certificates they trust.
const SYSTEM: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// Makes connections of the chosen kind.
#[derive(Clone)]
pub(super) struct Tls(Option<Arc<ClientConfig>>);

/// Why a handshake cannot begin, or failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum TlsError {
    /// The certificates to trust.
    #[error("{path}: {why}", path = .0.display(), why = .1)]
    File(PathBuf, String),
    /// There are none.
    #[error("no certificates to trust were found: name them with sslrootcert=FILE")]
    NoRoots,
    /// What stands before the port is no name.
    #[error("its name cannot stand in a certificate")]
    Name,
    /// Who issued it is not trusted.
    #[error("its certificate is not issued by one that is trusted: name the issuer's with sslrootcert=FILE")]
    Issuer,
    /// It is for somebody else.
    #[error("its certificate is for another name than the one in the address")]
    OtherName,
    /// It is too old, or too young.
    #[error("its certificate is not valid now")]
    Time,
    /// Anything else.
    #[error("TLS failed: {0}")]
    Other(String),
    /// Not asked for.
    #[error("TLS is switched off")]
    Off,
}

impl Tls {
    /// Reads the certificates to trust.
    ///
    /// # Errors
    /// They cannot be read, or there are none.
    pub(super) fn new(trust: &Trust) -> Result<Tls, TlsError> {
        let Trust::Verified(file) = trust else { return Ok(Tls(None)) };
        let system = || SYSTEM.iter().map(PathBuf::from).find(|path| path.is_file());
        let file = file.clone().or_else(system).ok_or(TlsError::NoRoots)?;
        let mut roots = RootCertStore::empty();
        let (good, _) = roots.add_parsable_certificates(read(&file)?);
        if good == 0 {
            return Err(TlsError::File(file, "holds no certificate that can be used".to_owned()));
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|why| TlsError::Other(why.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Tls(Some(Arc::new(config))))
    }
}

fn read(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let wrong = |why: String| TlsError::File(file.to_owned(), why);
    let found = CertificateDer::pem_file_iter(file).map_err(|why| wrong(format!("cannot be read: {why}")))?;
    found.collect::<Result<_, _>>().map_err(|why| wrong(format!("is not PEM: {why}")))
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> MakeTlsConnect<S> for Tls {
    type Stream = Stream<S>;
    type TlsConnect = Connector;
    type Error = TlsError;

    fn make_tls_connect(&mut self, host: &str) -> Result<Connector, TlsError> {
        let Some(config) = &self.0 else { return Ok(Connector(None)) };
        let name = ServerName::try_from(host.to_owned()).map_err(|_| TlsError::Name)?;
        Ok(Connector(Some((TlsConnector::from(config.clone()), name))))
    }
}

/// One handshake to come.
pub(super) struct Connector(Option<(TlsConnector, ServerName<'static>)>);

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> TlsConnect<S> for Connector {
    type Stream = Stream<S>;
    type Error = TlsError;
    type Future = Pin<Box<dyn Future<Output = Result<Stream<S>, TlsError>> + Send>>;

    fn connect(self, stream: S) -> Self::Future {
        Box::pin(async move {
            let (connector, name) = self.0.ok_or(TlsError::Off)?;
            connector.connect(name, stream).await.map(|stream| Stream(Box::new(stream))).map_err(sentence)
        })
    }
}

fn sentence(error: io::Error) -> TlsError {
    let known = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    let Some(rustls::Error::InvalidCertificate(why)) = known else {
        return TlsError::Other(error.to_string());
    };
    match why {
        CertificateError::UnknownIssuer | CertificateError::BadSignature => TlsError::Issuer,
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            TlsError::OtherName
        }
        CertificateError::Expired
        | CertificateError::ExpiredContext { .. }
        | CertificateError::NotValidYet
        | CertificateError::NotValidYetContext { .. } => TlsError::Time,
        other => TlsError::Other(other.to_string()),
    }
}

/// An encrypted stream.
pub(super) struct Stream<S>(Box<client::TlsStream<S>>);

impl<S: AsyncRead + AsyncWrite + Unpin> TlsStream for Stream<S> {
    fn channel_binding(&self) -> ChannelBinding {
        let certificates = self.0.get_ref().1.peer_certificates();
        match certificates.and_then(|all| all.first()).and_then(|own| end_point(own)) {
            Some(hash) => ChannelBinding::tls_server_end_point(hash),
            None => ChannelBinding::none(),
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Stream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0).poll_read(cx, into)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Stream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.0).poll_write(cx, bytes)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0).poll_shutdown(cx)
    }
}

/// The certificate's hash, by the hash function of its signature, but at least SHA-256 (RFC 5929, section 4.1). `None`
/// where the signature has none of its own, as Ed25519.
fn end_point(certificate: &[u8]) -> Option<Vec<u8>> {
    // SEQUENCE { the signed part, SEQUENCE { OID, ... }, ... }
    let (0x30, whole, _) = element(certificate)? else { return None };
    let (_, _, rest) = element(whole)?;
    let (0x30, algorithm, _) = element(rest)? else { return None };
    let (0x06, oid, parameters) = element(algorithm)? else { return None };
    let hash =
        match oid {
            // RSA with MD5, SHA-1, SHA-256; ECDSA with SHA-1, SHA-256
            [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 4 | 5 | 11]
            | [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 1]
            | [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 3, 2] => &digest::SHA256,
            [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 12]
            | [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 3, 3] => &digest::SHA384,
            [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 13]
            | [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 3, 4] => &digest::SHA512,
            // RSA-PSS names its hash in the parameters: SEQUENCE { [0] { SEQUENCE { OID } } ... }
            [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 10] => {
                let (0x30, inner, _) = element(parameters)? else { return None };
                let (0xa0, inner, _) = element(inner)? else { return None };
                let (0x30, inner, _) = element(inner)? else { return None };
                let (0x06, oid, _) = element(inner)? else { return None };
                match oid {
                    [0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 1] => &digest::SHA256,
                    [0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 2] => &digest::SHA384,
                    [0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 3] => &digest::SHA512,
                    _ => return None,
                }
            }
            _ => return None,
        };
    Some(digest::digest(hash, certificate).as_ref().to_vec())
}

/// The first element of DER: its tag, its content, and what comes after it.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, rest) = der.split_first()?;
    let (len, rest) = rest.split_first()?;
    let (len, rest) = match *len {
        short @ 0..=0x7f => (usize::from(short), rest),
        long @ 0x81..=0x84 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(long & 0x7f))?;
            (
                bytes
                    .iter()
                    .try_fold(0_usize, |len, byte| len.checked_mul(256)?.checked_add(usize::from(*byte)))?,
                rest,
            )
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(len)?;
    Some((*tag, content, rest))
}
