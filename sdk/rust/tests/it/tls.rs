//! Whom a verifier trusts over https. There is no way to trust everybody.

use crate::little::{KEY, Little};
use crate::support::{SOON, now, said, token, until};
use handstamp::{BuildError, Verifier};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// A certificate for `localhost`, and its issuer's in PEM.
fn certificate() -> (ServerConfig, String) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let own = CertificateParams::new(vec!["localhost".to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![own.der().clone()], PrivateKeyDer::try_from(key.serialize_der()).unwrap())
        .unwrap();
    (config, issuer.pem())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_verified_with_its_issuer_and_its_name() {
    let little = Arc::new(Little::start().await);
    let (config, issuer) = certificate();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let front = Arc::clone(&little);
    tokio::spawn(async move {
        let acceptor = TlsAcceptor::from(Arc::new(config));
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            if let Ok(stream) = acceptor.accept(stream).await {
                front.attend_tls(stream);
            }
        }
    });
    let verifier = |host: &str, pem: &str| {
        let builder = Verifier::builder(&format!("https://{host}:{port}"), KEY);
        builder.ca(pem.as_bytes()).patience(Duration::from_secs(1)).build()
    };
    let good = verifier("localhost", &issuer).await.unwrap();
    good.trusted(SOON).await.unwrap();
    assert_eq!(now(&good, &token(&little, 1)), "valid");
    let (_, stranger) = certificate();
    for (host, pem) in [("localhost", &stranger), ("127.0.0.1", &issuer)] {
        let bad = verifier(host, pem).await.unwrap();
        until("it tried", || bad.status().last_trouble.is_some()).await;
        assert_eq!(said(&bad, &token(&little, 1)).await, "cannot tell", "{host}");
        assert!(bad.status().keys.is_empty() && !bad.status().connected);
    }
    let nobody = verifier("localhost", "no certificate").await;
    assert!(matches!(nobody.err(), Some(BuildError::Certificates(_))));
}
