//! Whom the command line trusts over https.
//!
//! Normally it speaks to the server beside it, at 127.0.0.1, whose certificate names the application's host and not that
//! address. So a certificate that lies in the trusted file byte for byte is trusted under any name; every other one must
//! be issued by one that lies in the file, for the name that was asked.

use super::Failure;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where systems keep the certificates they trust.
const SYSTEM: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// A client that trusts the certificates in `file`, or the system's.
///
/// # Errors
/// The file cannot be read, or holds none.
pub(super) fn client(file: Option<&Path>) -> Result<Arc<ClientConfig>, Failure> {
    let system = || SYSTEM.iter().map(PathBuf::from).find(|path| path.is_file());
    let file = file.map(Path::to_owned).or_else(system).ok_or_else(|| {
        Failure::new("no certificates to trust were found").help("name them with --ca FILE")
    })?;
    let trusted = read(&file)?;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    let (issuers, _) = roots.add_parsable_certificates(trusted.iter().cloned());
    let issued = match issuers {
        0 => None,
        _ => WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build().ok(),
    };
    let verifier = Trusted { trusted, issued, provider: Arc::clone(&provider) };
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| Failure::new(format!("TLS cannot be used: {e}")))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    Ok(Arc::new(config))
}

fn read(file: &Path) -> Result<Vec<CertificateDer<'static>>, Failure> {
    let wrong = |why: String| {
        Failure::new(format!("{}: {why}", file.display())).help("name certificates in PEM with --ca FILE")
    };
    let found: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(file).map_err(|e| wrong(format!("cannot be read: {e}")))?.collect();
    let found = found.map_err(|e| wrong(format!("is not PEM: {e}")))?;
    if found.is_empty() { Err(wrong("holds no certificate".to_owned())) } else { Ok(found) }
}

#[derive(Debug)]
struct Trusted {
    trusted: Vec<CertificateDer<'static>>,
    issued: Option<Arc<WebPkiServerVerifier>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Trusted {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        // The handshake's signature shows that the server holds the key of it; that is checked below.
        if self.trusted.iter().any(|known| known.as_ref() == end_entity.as_ref()) {
            return Ok(ServerCertVerified::assertion());
        }
        match &self.issued {
            Some(issued) => {
                issued.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
            }
            None => Err(Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer)),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
