//! TLS, with certificates of a test's own and PostgreSQL's own side of it.

use super::cluster::{Cluster, PASSWORD};
use super::node;
use crate::conformance::world::{Scratch, key};
use handstamp_server::store::Store;
use handstamp_server::store::postgres::{Address, Options, Postgres};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SignatureAlgorithm};
use std::path::Path;

/// Who issues certificates.
fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A server with a certificate for this name.
fn server(
    issuer: &CertifiedIssuer<'_, KeyPair>,
    name: &str,
    days: i64,
    with: &'static SignatureAlgorithm,
) -> Cluster {
    let own = KeyPair::generate_for(with).unwrap();
    let mut params = CertificateParams::new([name.to_owned()]).unwrap();
    if days < 0 {
        (params.not_before, params.not_after) =
            (rcgen::date_time_ymd(2001, 1, 1), rcgen::date_time_ymd(2002, 1, 1));
    }
    let certificate = params.signed_by(&own, issuer).unwrap();
    Cluster::start_with(&["ssl=on", "ssl_cert_file=own.crt", "ssl_key_file=own.key"], |data| {
        for (file, text) in [("own.crt", certificate.pem()), ("own.key", own.serialize_pem())] {
            let file = data.join(file);
            std::fs::write(&file, text).unwrap();
            std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
            Cluster::give(&file);
        }
    })
}

fn address(host: &str, port: u16, root: &Path) -> Address {
    let root = root.display();
    let text =
        format!("postgres://handstamp:{PASSWORD}@{host}:{port}/handstamp?sslrootcert={root}&schema=tls");
    Address::parse(&text).unwrap()
}

async fn opened(address: &Address) -> Result<Postgres, String> {
    let options = Options { node: node(), resting: vec![], alone: false };
    Postgres::open(address, &options).await.map_err(|why| why.to_string())
}

async fn refused(address: &Address, words: &str) {
    match opened(address).await {
        Ok(_) => panic!("it opened, and should say: {words}"),
        Err(why) => assert!(why.contains(words) && !why.contains(PASSWORD), "{why}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_shows_who_it_is() {
    let scratch = Scratch::new();
    let (good, other) = (authority(), authority());
    std::fs::write(scratch.path("good.pem"), good.pem()).unwrap();
    std::fs::write(scratch.path("other.pem"), other.pem()).unwrap();
    std::fs::write(scratch.path("empty.pem"), "").unwrap();
    let cluster = server(&good, "localhost", 1, &rcgen::PKCS_ECDSA_P256_SHA256);
    let port = cluster.port();

    let store = opened(&address("localhost", port, &scratch.path("good.pem"))).await.unwrap();
    assert_eq!(store.load(&[key(1)]).await.unwrap(), [None]);
    assert!(store.say(b"hello").await.unwrap().0 > 1_700_000_000_000);
    let sql =
        "SELECT count(*) FILTER (WHERE ssl), count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
        WHERE application_name LIKE 'handstamp%'";
    let row = cluster.admin().await.query_one(sql, &[]).await.unwrap();
    assert_eq!(row.get::<_, i64>(0), row.get::<_, i64>(1), "some connections are not encrypted");
    assert!(row.get::<_, i64>(0) >= 5);
    store.close().await;

    refused(&address("localhost", port, &scratch.path("other.pem")), "not issued by one that is trusted")
        .await;
    refused(&address("127.0.0.1", port, &scratch.path("good.pem")), "for another name").await;
    refused(&address("localhost", port, &scratch.path("empty.pem")), "holds no certificate").await;
    // The system's certificates know nothing of it.
    let text = format!("postgres://handstamp:{PASSWORD}@localhost:{port}/handstamp");
    let why = opened(&Address::parse(&text).unwrap()).await.map(drop).unwrap_err();
    assert!(why.contains("not issued by") || why.contains("no certificates to trust"), "{why}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_certificates() {
    let scratch = Scratch::new();
    let good = authority();
    std::fs::write(scratch.path("good.pem"), good.pem()).unwrap();
    let root = scratch.path("good.pem");
    // Each is bound to the password's proof by another hash.
    for with in [&rcgen::PKCS_RSA_SHA256, &rcgen::PKCS_ECDSA_P384_SHA384] {
        let cluster = server(&good, "127.0.0.1", 1, with);
        opened(&address("127.0.0.1", cluster.port(), &root)).await.unwrap().close().await;
    }
    let old = server(&good, "localhost", -1, &rcgen::PKCS_ECDSA_P256_SHA256);
    refused(&address("localhost", old.port(), &root), "not valid now").await;
    // No TLS there: nothing is said, and nothing weaker is tried.
    let plain = Cluster::start();
    refused(&address("localhost", plain.port(), &root), "offers no TLS").await;
}
