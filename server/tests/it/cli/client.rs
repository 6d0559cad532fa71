//! The HTTP client against a real socket: what it sends, what it makes of answers, whom it trusts.

use super::handstamp;
use super::server::{Answer, Server, ok};
use crate::config::written;
use rcgen::{CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::json;
use std::sync::Arc;

#[test]
fn a_request_carries_the_key_and_the_environment() {
    let server = Server::start([ok(json!({"items": []}))]);
    handstamp("keys list --env shop/prd").to(&server).run().done();
    let asked = &server.asked()[0];
    assert_eq!(asked.line, "GET /v1/keys");
    for header in [
        "authorization: bearer hsk_planted\r\n",
        "x-handstamp-env: shop/prd\r\n",
        &format!("host: {}\r\n", server.address()),
        "user-agent: handstamp/",
    ] {
        assert!(asked.headers.contains(header), "{header} {}", asked.headers);
    }
    assert!(!asked.headers.contains("content-type"));
}

#[test]
fn a_base_path_stands_before_every_path() {
    let server = Server::start([ok(json!({"items": []}))]);
    let url = format!("{}/sessions-of/shop/", server.url());
    handstamp("keys list").argument("--url").argument(url).keyed().run().done();
    assert_eq!(server.lines(), ["GET /sessions-of/shop/v1/keys"]);
}

#[test]
fn the_key_comes_from_the_environment_a_file_or_the_data_directory() {
    let file = written("key", "hsk_PLANTED_file\n").display().to_string();
    let data = written("access.key", "hsk_PLANTED_data\n");
    let data = data.parent().unwrap().display().to_string();
    let server = Server::start([(); 4].map(|()| ok(json!({"items": []}))));
    let all = || handstamp("keys list --url").argument(server.url()).argument("--data-dir").argument(&data);
    all().keyed().with("HANDSTAMP_KEY_FILE", &file).run().done();
    all().with("HANDSTAMP_KEY_FILE", &file).run().done();
    all().run().done();
    all().with("HANDSTAMP_KEY", " ").with("HANDSTAMP_KEY_FILE", "").run().done();
    let sent: Vec<bool> = server
        .asked()
        .iter()
        .zip(["hsk_planted\r", "hsk_planted_file\r", "hsk_planted_data\r", "hsk_planted_data\r"])
        .map(|(asked, key)| asked.headers.contains(key))
        .collect();
    assert_eq!(sent, [true; 4]);

    let none = handstamp("keys list --data-dir /nowhere").run().failed();
    assert!(
        none.contains("no access key: HANDSTAMP_KEY is not set, and /nowhere/access.key cannot be read"),
        "{none}"
    );
    let named = handstamp("keys list").with("HANDSTAMP_KEY_FILE", "/nowhere/k").run().failed();
    assert!(named.contains("HANDSTAMP_KEY_FILE: /nowhere/k cannot be read"), "{named}");
}

#[test]
fn the_address_is_the_one_the_server_listens_on() {
    let server = Server::start([ok(json!({"items": []})), ok(json!({"items": []}))]);
    let port = server.address().port();
    for listen in [format!("127.0.0.1:{port}"), format!("0.0.0.0:{port}")] {
        handstamp("keys list --listen").argument(listen).keyed().run().done();
    }
    assert_eq!(server.asked().len(), 2);
    let said = handstamp("keys list --listen 127.0.0.1:0").keyed().run().failed();
    assert!(said.contains("picks its port at the start"), "{said}");
}

#[test]
fn a_problem_document_is_one_clear_line() {
    let document = |code: &str, more: serde_json::Value| {
        let mut all = json!({"type": format!("/docs/errors/{code}"), "title": "T", "status": 400, "code": code,
            "detail": "what is wrong"});
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        all
    };
    for (answer, wanted) in [
        (
            Answer::Json(403, document("insufficient_scope", json!({}))),
            "error: insufficient_scope: what is wrong (use a key that has the scope, in HANDSTAMP_KEY or HANDSTAMP_KEY_FILE)\n",
        ),
        (
            Answer::Json(401, document("access_key_invalid", json!({}))),
            "error: access_key_invalid: what is wrong (the key in HANDSTAMP_KEY, HANDSTAMP_KEY_FILE or the data directory's access.key is not this server's)\n",
        ),
        (
            Answer::Json(429, document("rate_limit_exceeded", json!({"retry_after": 7}))),
            "error: rate_limit_exceeded: what is wrong (try again in 7 s)\n",
        ),
        (
            Answer::Json(503, document("store_unavailable", json!({}))),
            "error: store_unavailable: what is wrong (the store does not answer: look at the server's log, or run `handstamp doctor`)\n",
        ),
        (
            Answer::Json(
                400,
                document("bad_input", json!({"errors": [{"pointer": "/tags/0", "message": "is no tag"}]})),
            ),
            "error: bad_input: what is wrong; /tags/0 is no tag (see /docs/errors/bad_input on the server)\n",
        ),
        (
            Answer::Json(
                400,
                json!({"code": "c", "detail": "ip: is none", "errors": [{"pointer": "ip", "message": "is none"}]}),
            ),
            "error: c: ip: is none\n",
        ),
        (
            Answer::Json(400, document("bad\u{1b}[2J", json!({"type": null}))),
            "error: bad\\u{1b}[2J: what is wrong\n",
        ),
        (
            Answer::Text(502, "<html>"),
            "error: the server answered 502 without saying why (is --url the address of a Handstamp server?)\n",
        ),
        (
            Answer::Text(200, "<html>"),
            "error: the answer is not JSON (is --url the address of a Handstamp server?)\n",
        ),
        (
            Answer::Text(301, ""),
            "error: the server answered 301 without saying why (is --url the address of a Handstamp server?)\n",
        ),
    ] {
        let server = Server::start([answer]);
        assert_eq!(handstamp("keys list").to(&server).run().failed(), wanted);
    }
    let server = Server::start([Answer::Json(403, document("insufficient_scope", json!({})))]);
    let said = handstamp("keys list --json").to(&server).run().failed();
    let said: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!(said["error"]["code"], "insufficient_scope");
    assert_eq!(said["error"]["details"]["title"], "T");
}

#[test]
fn nobody_there() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let said = handstamp("keys list --listen").argument(free.to_string()).keyed().run().failed();
    assert!(said.starts_with(&format!("error: http://{free} cannot be reached: ")), "{said}");
    assert!(said.contains("`handstamp serve` starts it"), "{said}");
}

#[test]
fn a_connection_that_the_server_closed_is_opened_again() {
    let page = |next: serde_json::Value| json!({"items": [{"id": "ses_1"}], "next_cursor": next});
    let server = Server::start([Answer::Closing(page(json!("c"))), ok(page(json!(null)))]);
    handstamp("sessions list").to(&server).run().done();
    assert_eq!(server.asked().len(), 2);
}

#[test]
fn a_key_in_the_clear_to_another_machine_is_a_warning() {
    // 127.0.0.1 under a name that is no loopback address to look at.
    let said = handstamp("keys list --url http://127.0.0.1.invalid:1").keyed().run().failed();
    assert!(
        said.starts_with("warning: http://127.0.0.1.invalid:1 carries the access key in the clear"),
        "{said}"
    );
    let server = Server::start([ok(json!({"items": []}))]);
    let ran = handstamp("keys list").to(&server).run();
    assert_eq!(ran.err, "");
}

struct Certificates {
    ca: String,
    chain: Vec<CertificateDer<'static>>,
    leaf: String,
    key: KeyPair,
}

/// An issuer and a certificate of it for `name`.
fn certificates(name: &str) -> Certificates {
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
    Certificates { ca: issuer.pem(), chain: vec![leaf.der().clone()], leaf: leaf.pem(), key }
}

fn https(chain: Vec<CertificateDer<'static>>, key: &KeyPair, answers: Vec<Answer>) -> Server {
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    Server::with(answers, Some(Arc::new(config)))
}

/// (name in the certificate, what is trusted, whether it is).
#[test]
fn whom_it_trusts_over_https() {
    let other = certificates("127.0.0.1");
    for (name, trust, trusted) in [
        ("127.0.0.1", "ca", true),
        ("app.example.org", "ca", false),
        ("app.example.org", "leaf", true),
        ("127.0.0.1", "other", false),
        ("127.0.0.1", "system", false),
    ] {
        let made = certificates(name);
        let answers = if trusted { vec![ok(json!({"items": []}))] } else { Vec::new() };
        let server = https(made.chain.clone(), &made.key, answers);
        let pem = match trust {
            "ca" => Some(&made.ca),
            "leaf" => Some(&made.leaf),
            "other" => Some(&other.ca),
            _ => None,
        };
        let mut command = handstamp("keys list").to(&server);
        if let Some(pem) = pem {
            command = command.argument("--ca").argument(written("ca.pem", pem).display().to_string());
        }
        let ran = command.run();
        if trusted {
            ran.done();
        } else {
            let said = ran.failed();
            assert!(
                said.contains("cannot be trusted") || said.contains("no certificates to trust"),
                "{name} {trust}: {said}"
            );
        }
        assert_eq!(server.asked().len(), usize::from(trusted), "{name} {trust}");
    }
}

/// What the configuration says is enough to speak to the server beside it, whatever name its certificate has, also when
/// it was made by `openssl req -x509`, which makes an issuer of it.
#[test]
fn the_configured_certificate_is_trusted() {
    let key = KeyPair::generate().unwrap();
    let mut own = CertificateParams::new(vec!["app.example.org".to_owned()]).unwrap();
    own.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let own = own.self_signed(&key).unwrap();
    let server = https(vec![own.der().clone()], &key, vec![ok(json!({"items": []}))]);
    let cert = written("tls.crt", &own.pem()).display().to_string();
    let file = format!(
        "[server]\nlisten = \"{}\"\ntls_cert = \"{cert}\"\ntls_key = \"/nowhere/private.key\"\n",
        server.address()
    );
    handstamp("keys list").file(&file).keyed().run().done();
    assert_eq!(server.asked().len(), 1);
}

#[test]
fn a_file_without_certificates_is_named() {
    for (text, wanted) in [
        ("", "holds no certificate"),
        ("-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n", "is not PEM"),
    ] {
        let file = written("ca.pem", text).display().to_string();
        let said =
            handstamp("keys list --url https://127.0.0.1:1 --ca").argument(&file).keyed().run().failed();
        assert!(said.contains(&file) && said.contains(wanted), "{said}");
    }
}
