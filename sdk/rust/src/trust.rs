//! Whom a verifier trusts over https: issuers that the system trusts, or those that it was told, for the name that it asked.

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use std::path::Path;
use std::sync::Arc;

/// Where systems keep the certificates they trust.
const SYSTEM: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// A client that trusts the issuers in `pem`, or the system's. Nothing switches that off.
///
/// # Errors
/// A sentence: there are none.
pub(crate) fn client(pem: Option<&[u8]>) -> Result<Arc<ClientConfig>, String> {
    let system = || {
        let found = SYSTEM.iter().find(|path| Path::new(path).is_file());
        let path = found.ok_or("no certificates to trust were found; name them with `Builder::ca`")?;
        std::fs::read(path).map_err(|e| format!("{path} cannot be read: {e}"))
    };
    let pem = pem.map_or_else(system, |pem| Ok(pem.to_owned()))?;
    let mut roots = RootCertStore::empty();
    let certificates = CertificateDer::pem_slice_iter(&pem).filter_map(Result::ok);
    let (good, _) = roots.add_parsable_certificates(certificates);
    if good == 0 {
        return Err("no certificate of an issuer is in what `Builder::ca` was given".to_owned());
    }
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|e| format!("TLS cannot be used: {e}"))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}
