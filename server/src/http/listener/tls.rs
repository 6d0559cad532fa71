//! TLS: which certificate the listener shows, and how it gets a new one without a restart.
//!
//! A reload reads and checks both files first and changes nothing when either is wrong, so that a renewal that went
//! half-way leaves the server as it was. Connections that are open keep what they were opened with; the next handshake
//! gets the new certificate (and none of the old one's sessions can be resumed under it).

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

/// The TLS side of a listener: TLS 1.2 and 1.3, `http/1.1` by ALPN. Clones share one certificate.
#[derive(Clone)]
pub struct Tls {
    files: Arc<Files>,
    current: Arc<ArcSwap<ServerConfig>>,
}

struct Files {
    certificate: PathBuf,
    key: PathBuf,
}

/// Why a certificate or its key cannot be used. Every message names the file and the way out.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("cannot read {file}: {source}; check the path and who may read it")]
    Unreadable { file: PathBuf, source: io::Error },
    #[error("{file} is not a PEM file: {source}; it must hold blocks that begin with -----BEGIN")]
    NotPem { file: PathBuf, source: pem::Error },
    #[error(
        "{file} holds no certificate; it must hold the server's certificate and those that signed it, in PEM"
    )]
    NoCertificate { file: PathBuf },
    #[error("{file} holds no private key; it must hold one in PEM, not encrypted")]
    NoKey { file: PathBuf },
    #[error(
        "the certificate in {certificate} and the key in {key} do not belong together; put the matching pair there"
    )]
    Mismatch { certificate: PathBuf, key: PathBuf },
    #[error("the certificate in {certificate} with the key in {key} cannot be used: {source}")]
    Unusable { certificate: PathBuf, key: PathBuf, source: rustls::Error },
}

impl Tls {
    /// Reads and checks a certificate chain and its key, both PEM files.
    ///
    /// # Errors
    /// A file that cannot be read or does not hold what it should, or a pair that does not match.
    pub fn load(certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Result<Self, TlsError> {
        let files = Files { certificate: certificate.into(), key: key.into() };
        let current = Arc::new(ArcSwap::from_pointee(files.read()?));
        Ok(Tls { files: Arc::new(files), current })
    }

    /// Reads both files again; from then on new connections see the new certificate. Blocks for the time of reading two
    /// small files.
    ///
    /// # Errors
    /// As [`Tls::load`]; then the certificate in use stays.
    pub fn reload(&self) -> Result<(), TlsError> {
        self.current.store(Arc::new(self.files.read()?));
        Ok(())
    }

    /// What the next handshake uses.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.current.load_full())
    }
}

impl Files {
    fn read(&self) -> Result<ServerConfig, TlsError> {
        let chain = CertificateDer::pem_slice_iter(&bytes(&self.certificate)?)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|source| TlsError::NotPem { file: self.certificate.clone(), source })?;
        if chain.is_empty() {
            return Err(TlsError::NoCertificate { file: self.certificate.clone() });
        }
        let secret = zeroize::Zeroizing::new(bytes(&self.key)?);
        let key = PrivateKeyDer::from_pem_slice(&secret).map_err(|source| match source {
            pem::Error::NoItemsFound => TlsError::NoKey { file: self.key.clone() },
            source => TlsError::NotPem { file: self.key.clone(), source },
        })?;
        config(chain, key).map_err(|source| match source {
            rustls::Error::InconsistentKeys(rustls::InconsistentKeys::KeyMismatch) => {
                TlsError::Mismatch { certificate: self.certificate.clone(), key: self.key.clone() }
            }
            source => {
                TlsError::Unusable { certificate: self.certificate.clone(), key: self.key.clone(), source }
            }
        })
    }
}

/// What rustls makes of a chain and its key; that they belong together is checked here.
fn config(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<ServerConfig, rustls::Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

fn bytes(file: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(file).map_err(|source| TlsError::Unreadable { file: file.to_path_buf(), source })
}
