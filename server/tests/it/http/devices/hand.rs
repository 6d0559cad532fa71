//! A client with a key of its own: what a browser's library will do, by hand.

use crate::world::{Answer, World};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use handstamp_core::device::base64url::encode;
use handstamp_core::device::key::PublicKey;
use handstamp_core::device::proof::session_hash;
use handstamp_core::id::SessionId;
use serde_json::{Value, json};

pub(crate) const URL: &str = "https://app.example/orders";

/// A device with a P-256 key.
pub(crate) struct Hand(pub(crate) EcdsaKeyPair);

/// What is signed; each test changes what it is about.
pub(crate) struct Spec {
    pub(crate) header: Value,
    pub(crate) claims: Value,
}

impl Hand {
    pub(crate) fn new() -> Hand {
        Hand(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap())
    }
    pub(crate) fn id(&self) -> String {
        PublicKey::from_bytes(&self.0.public_key().as_ref()[1..]).unwrap().id().to_string()
    }
    pub(crate) fn jwk(&self) -> Value {
        let point = self.0.public_key().as_ref();
        json!({ "kty": "EC", "crv": "P-256", "x": encode(&point[1..33]), "y": encode(&point[33..]) })
    }
    /// Signs header and claims, whatever they are.
    pub(crate) fn sign(&self, spec: &Spec) -> String {
        let front = spec.front();
        let signature = self.0.sign(&SystemRandom::new(), front.as_bytes()).unwrap();
        format!("{front}.{}", encode(signature.as_ref()))
    }
    /// A proof that brings the key: for `POST` of a login or registration.
    pub(crate) fn introduction(&self, world: &World, challenge: &str, session: Option<&str>) -> String {
        let mut spec = Spec::of(world, challenge, "POST", session);
        spec.header["jwk"] = self.jwk();
        self.sign(&spec)
    }
    /// A proof of a request.
    pub(crate) fn proof(&self, world: &World, challenge: &str, session: &str) -> String {
        self.sign(&Spec::of(world, challenge, "GET", Some(session)))
    }
    /// Logs in with the device, as `POST`.
    pub(crate) async fn login(&self, world: &World, user: &str, remember: bool) -> Value {
        let challenge = challenge(world, json!({ "user_id": user })).await;
        let proof = self.introduction(world, &challenge, None);
        let body = json!({
            "user_id": user, "device": { "proof": proof, "remember": remember }, "method": "POST", "url": URL
        });
        world.post("/v1/sessions", body).await.expect(201)
    }
}

impl Spec {
    pub(crate) fn of(world: &World, challenge: &str, method: &str, session: Option<&str>) -> Spec {
        let mut claims =
            json!({ "jti": challenge, "htm": method, "htu": URL, "iat": world.app.now().0 / 1_000 });
        if let Some(session) = session {
            claims["sih"] = encode(&session_hash(SessionId::parse(session).unwrap())).into();
        }
        Spec { header: json!({ "alg": "ES256", "typ": "devproof+jwt" }), claims }
    }
    pub(crate) fn front(&self) -> String {
        format!(
            "{}.{}",
            encode(self.header.to_string().as_bytes()),
            encode(self.claims.to_string().as_bytes())
        )
    }
}

/// A challenge for whom the body names.
pub(crate) async fn challenge(world: &World, body: Value) -> String {
    let answer = world.post("/v1/devices/challenge", body).await.expect(200);
    answer["challenge"].as_str().unwrap().to_owned()
}

/// A challenge for a session.
pub(crate) async fn challenge_of(world: &World, session: &str) -> String {
    challenge(world, json!({ "session_id": session })).await
}

/// The whole answer to a `GET` with this proof.
pub(crate) async fn validate(world: &World, token: &str, proof: &str) -> Value {
    let body = json!({ "token": token, "device": { "proof": proof }, "method": "GET", "url": URL });
    world.post("/v1/sessions/validate", body).await.expect(200)
}

/// The code of that answer, or `"valid"`.
pub(crate) async fn verdict(world: &World, token: &str, proof: &str) -> String {
    code(&validate(world, token, proof).await)
}

pub(crate) fn code(answer: &Value) -> String {
    if answer["valid"] == true { "valid".to_owned() } else { answer["code"].as_str().unwrap().to_owned() }
}

/// Registers the device on a session named by `body`.
pub(crate) async fn register(world: &World, mut body: Value, proof: &str) -> Answer {
    body["device"] = json!({ "proof": proof });
    body["method"] = "POST".into();
    body["url"] = URL.into();
    world.post("/v1/devices", body).await
}
