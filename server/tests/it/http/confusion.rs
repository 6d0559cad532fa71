//! What is no access token, presented to the real server as one: by strangers, and with signatures that truly are by the
//! environment's own key. All of it gets one answer, the same to the last byte, and nothing else happens.

mod times;

use crate::world::World;
use handstamp_core::jose::claims::{DATA_TYPE, TYPE};
use handstamp_core::jose::jwe::SealingKey;
use handstamp_core::jose::jws::sign;
use handstamp_core::jose::key::{Algorithm, Kid, SigningKey};
use handstamp_core::jose::{LONGEST, base64url};
use handstamp_core::secret::Secret;
use handstamp_core::signing::Job;
use handstamp_server::app::control::Env;
use http::Method;
use serde_json::{Value, json};
use std::net::TcpListener;
use std::sync::Arc;

fn b64(text: &str) -> String {
    base64url::encode(text.as_bytes())
}

fn env(world: &World, name: &str) -> Arc<Env> {
    world.app.all_environments().into_iter().find(|env| env.record.name.to_string() == name).unwrap()
}

/// The key that signs now.
fn signer(world: &World, name: &str, algorithm: Algorithm) -> Arc<SigningKey> {
    env(world, name).tokens.signer(Some(algorithm), world.app.now()).unwrap().clone()
}

/// A world whose environment has a key of each algorithm.
async fn world() -> World {
    let world = World::new().await;
    for algorithm in ["ES256", "RS256"] {
        world.post("/v1/keys/signing/rotate", json!({ "algorithm": algorithm })).await.expect(201);
    }
    world
}

/// An access token of a new session of ada's.
async fn minted(world: &World, body: Value) -> (String, String) {
    let made = world.login("ada").await;
    let path = format!("/v1/sessions/{}/access-tokens", made.id);
    let answer = world.post(&path, body).await.expect(201);
    (made.id, answer["token"].as_str().unwrap().to_owned())
}

fn header(key: &SigningKey) -> String {
    let (alg, kid) = (key.public().algorithm().text(), key.public().kid());
    format!(r#"{{"alg":"{alg}","kid":"{kid}","typ":"at+jwt"}}"#)
}

/// Truly signed, whatever it says.
fn dressed(key: &SigningKey, header: &str, payload: &str) -> String {
    let text = format!("{}.{}", b64(header), b64(payload));
    let signature = key.sign(text.as_bytes()).unwrap();
    format!("{text}.{}", base64url::encode(&signature))
}

fn payload(token: &str) -> String {
    let payload = base64url::decode(token.split('.').nth(1).unwrap()).unwrap();
    String::from_utf8(payload).unwrap()
}

/// The answer to what is no token: its bytes.
async fn answer(world: &World, token: &str) -> bytes::Bytes {
    let answer = world.post("/v1/sessions/validate", json!({ "token": token })).await;
    answer.expect(200);
    answer.body
}

/// None of these passes, and their answers cannot be told apart.
async fn all_malformed(world: &World, tokens: impl IntoIterator<Item = String>) {
    let nonsense = answer(world, "nonsense").await;
    let said: Value = serde_json::from_slice(&nonsense).unwrap();
    assert_eq!((&said["code"], &said["status"]), (&json!("token_malformed"), &json!(401)), "{said}");
    let mut seen = 0;
    for token in tokens {
        let shown: String = token.chars().take(300).collect();
        assert_eq!(answer(world, &token).await, nonsense, "{shown}");
        let batch = json!({ "requests": [{ "token": token }] });
        let answer = world.post("/v1/sessions/validate-batch", batch).await.expect(200);
        assert_eq!(answer["results"], json!([said]), "{shown}");
        seen += 1;
    }
    assert!(seen > 0);
}

#[tokio::test]
async fn headers_that_say_something_else() {
    let world = world().await;
    let own = TcpListener::bind("127.0.0.1:0").unwrap();
    own.set_nonblocking(true).unwrap();
    let elsewhere = format!("http://{}/jwks.json", own.local_addr().unwrap());
    for algorithm in Algorithm::ALL {
        let (_, token) = minted(&world, json!({ "algorithm": algorithm.text() })).await;
        assert_eq!(world.verdict(&token).await, "valid");
        let key = signer(&world, "default/prd", algorithm);
        let (good, payload) = (header(&key), payload(&token));
        assert_eq!(world.verdict(&dressed(&key, &good, &payload)).await, "valid", "the dress fits");
        let alg = format!(r#""alg":"{}""#, algorithm.text());
        let mut headers = Vec::new();
        for other in [
            "none", "None", "NONE", "nOnE", "", "HS256", "HS512", "PS256", "ES384", "Ed25519", "eddsa", "dir",
        ] {
            headers.push(good.replacen(&alg, &format!(r#""alg":"{other}""#), 1));
        }
        for other in Algorithm::ALL.into_iter().filter(|other| *other != algorithm) {
            headers.push(good.replacen(algorithm.text(), other.text(), 1));
        }
        for other in ["[\"none\"]", &format!("[\"{}\"]", algorithm.text()), "null", "{}", "0"] {
            headers.push(good.replacen(&alg, &format!(r#""alg":{other}"#), 1));
        }
        headers.push(good.replacen(&format!("{alg},"), "", 1));
        let jwk = key.public().to_jwk();
        for more in [
            format!(r#""jwk":{jwk}"#),
            format!(r#""jku":"{elsewhere}""#),
            format!(r#""x5u":"{elsewhere}""#),
            r#""x5c":["MIIB"]"#.to_owned(),
            r#""crit":["exp"]"#.to_owned(),
            r#""crit":[]"#.to_owned(),
            r#""zip":"DEF""#.to_owned(),
            r#""p2c":2147483647"#.to_owned(),
            r#""epk":{}"#.to_owned(),
            r#""b64":false"#.to_owned(),
            r#""cty":"JWT""#.to_owned(),
            alg.clone(),
            r#""typ":"at+jwt""#.to_owned(),
        ] {
            headers.push(good.replacen('}', &format!(",{more}}}"), 1));
        }
        // Texts that we make for other purposes, and those of others.
        for typ in
            ["session+jwe", "statuslist+jwt", "erasure-statement+jws", "devproof+jwt", "JWT", "dpop+jwt", ""]
        {
            headers.push(good.replacen("at+jwt", typ, 1));
        }
        headers.push(good.replacen(r#","typ":"at+jwt""#, "", 1));
        all_malformed(&world, headers.iter().map(|header| dressed(&key, header, &payload))).await;
        // Without a signature.
        let unsigned =
            headers.iter().chain([&good]).map(|header| format!("{}.{}.", b64(header), b64(&payload)));
        all_malformed(&world, unsigned).await;
    }
    assert!(own.accept().is_err(), "the server asked elsewhere");
}

#[tokio::test]
async fn names_of_keys() {
    let world = world().await;
    let other = world.make_environment("shop", "prd").await;
    let (_, token) = minted(&world, json!({})).await;
    let key = signer(&world, "default/prd", Algorithm::EdDsa);
    let (good, payload) = (header(&key), payload(&token));
    let kid = key.public().kid().to_string();
    let data = env(&world, "default/prd").tokens.stored();
    let data = data.iter().find(|key| key.job == Job::Data).unwrap().kid.to_string();
    let foreign = signer(&world, "shop/prd", Algorithm::EdDsa);
    let of_foreign = foreign.public().kid().to_string();
    let rsa = signer(&world, "default/prd", Algorithm::Rs256).public().kid().to_string();
    let mut kids = vec![data, of_foreign.clone(), rsa, kid.to_lowercase(), "A".repeat(43), "A".repeat(7_000)];
    let tricks = [
        "../../../../dev/null",
        "/proc/self/environ",
        "' OR 1=1 --",
        "x' UNION SELECT 'AA",
        "a\\u0000",
        "https://evil.example/k",
        "",
        " ",
        "$(id)",
        "%00",
        "é",
    ];
    kids.extend(tricks.map(str::to_owned));
    all_malformed(&world, kids.iter().map(|other| dressed(&key, &good.replacen(&kid, other, 1), &payload)))
        .await;
    // By the key of another environment, under its own name and under ours; and a genuine token of that environment.
    let lent = [dressed(&foreign, &header(&foreign), &payload), dressed(&foreign, &good, &payload)];
    all_malformed(&world, lent).await;
    let call = world.call(Method::POST, "/v1/sessions").key(&other.token);
    let made = call.json(&json!({ "user_id": "ada", "access_token": {} })).send().await.expect(201);
    let theirs = made["access_token"]["token"].as_str().unwrap().to_owned();
    let call = world.call(Method::POST, "/v1/sessions/validate").key(&other.token);
    assert_eq!(call.json(&json!({ "token": theirs })).send().await.expect(200)["valid"], true);
    all_malformed(&world, [theirs.clone()]).await;
    let call = world.call(Method::POST, "/v1/sessions/validate").key(&other.token);
    let ours = call.json(&json!({ "token": token })).send().await;
    assert_eq!(ours.body, answer(&world, "nonsense").await);
    // What says that it is of another environment, by our own key; and a key that was taken away.
    let as_theirs = payload.replacen("handstamp:default/prd", "handstamp:shop/prd", 1);
    assert_ne!(as_theirs, payload);
    all_malformed(&world, [dressed(&key, &good, &as_theirs)]).await;
    assert_eq!(world.verdict(&token).await, "valid");
    world.post("/v1/keys/signing/rotate", json!({ "emergency": true })).await.expect(201);
    all_malformed(&world, [token, dressed(&key, &good, &payload)]).await;
}

#[tokio::test]
async fn other_forms() {
    let world = world().await;
    let (_, token) = minted(&world, json!({})).await;
    let (_, second) = minted(&world, json!({})).await;
    let key = signer(&world, "default/prd", Algorithm::EdDsa);
    let es256 = signer(&world, "default/prd", Algorithm::Es256);
    let [a, b, c] = <[&str; 3]>::try_from(token.split('.').collect::<Vec<_>>()).unwrap();
    let [d, e, f] = <[&str; 3]>::try_from(second.split('.').collect::<Vec<_>>()).unwrap();
    let sealing = SealingKey::new(Kid::parse("k").unwrap(), Secret::new([1; 32])).unwrap();
    let sealed = |typ: &str, text: &str| sealing.seal(typ, text.as_bytes(), [2; 12]).unwrap();
    let own = payload(&token);
    let front = format!("{}.{}", b64(&header(&es256)), b64(&own));
    let der = es256.sign(front.as_bytes()).unwrap();
    let der = [&[0x30, 68, 2, 32], &der[..32], &[2, 32], &der[32..]].concat();
    let changed = |at: usize| {
        let mut bytes = token.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        String::from_utf8(bytes).unwrap()
    };
    assert_eq!((a, world.verdict(&format!("{a}.{b}.{c}")).await.as_str()), (d, "valid"));
    let odd = [
        format!("{a}.{b}.{f}"),
        format!("{a}.{e}.{c}"),
        format!("{b}.{a}.{c}"),
        format!("{a}.{c}.{b}"),
        format!("{a}.{b}"),
        format!("{a}.{b}."),
        format!("{a}..{c}"),
        format!(".{b}.{c}"),
        format!("{token}."),
        format!("{token}.x"),
        format!("{token}.."),
        format!("{token}="),
        format!("{token} "),
        format!(" {token}"),
        format!("{token}\n"),
        format!("{a}=.{b}.{c}"),
        format!("Bearer {token}"),
        format!("\"{token}\""),
        token.to_lowercase(),
        token[1..].to_owned(),
        changed(2),
        changed(a.len() + 9),
        changed(token.len() - 9),
        format!(r#"{{"protected":"{a}","payload":"{b}","signature":"{c}"}}"#),
        format!(r#"{{"payload":"{b}","signatures":[{{"protected":"{a}","signature":"{c}"}}]}}"#),
        sealed(TYPE, &own),
        sealed(DATA_TYPE, &own),
        sealed(TYPE, &token),
        sign(&key, TYPE, token.as_bytes()).unwrap(),
        sign(&key, TYPE, format!("\"{token}\"").as_bytes()).unwrap(),
        sign(&key, TYPE, sealed(TYPE, &own).as_bytes()).unwrap(),
        format!("{front}.{}", base64url::encode(&[0; 64])),
        format!("{front}.{}", base64url::encode(&der)),
        ".".repeat(LONGEST),
        ".".repeat(LONGEST + 1),
        format!("eyJ{}", "A".repeat(LONGEST)),
        format!("eyJ.{}.A", "A".repeat(LONGEST)),
        sign(&key, TYPE, own.replacen('{', &format!("{{\"x\":\"{}\",", "y".repeat(9_000)), 1).as_bytes())
            .unwrap(),
    ];
    all_malformed(&world, odd).await;
    // A megabyte is not even read.
    for text in ["A".repeat(1 << 20), ".".repeat(1 << 20)] {
        let answer = world.post("/v1/sessions/validate", json!({ "token": text })).await;
        assert_eq!(answer.status, 413, "{}", answer.text());
    }
    // Other things of ours, each with a name of its own.
    let refresh = super::refresh::started(&world, "ada").await.refresh;
    assert_eq!(world.verdict(&refresh).await, "token_wrong_kind");
    assert_eq!(world.verdict(&world.key).await, "token_wrong_kind");
    // A door that takes session tokens alone takes no other.
    let call = world.call(Method::POST, "/v1/sessions/refresh").json(&json!({ "refresh_token": token }));
    assert_eq!(call.send().await.status, 401);
}

#[tokio::test]
async fn claims_of_other_kinds() {
    let world = world().await;
    let (_, token) = minted(&world, json!({})).await;
    let key = signer(&world, "default/prd", Algorithm::EdDsa);
    let good: Value = serde_json::from_str(&payload(&token)).unwrap();
    let mut bad =
        vec!["", "{}", "[]", "null", "\"x\"", "{", "{}{}"].into_iter().map(str::to_owned).collect::<Vec<_>>();
    let odd = [
        json!(null),
        json!(true),
        json!([]),
        json!({}),
        json!("1"),
        json!(1.5),
        json!(-1),
        json!([[]]),
        json!(u64::MAX),
    ];
    for name in [
        "iss",
        "aud",
        "sub",
        "sid",
        "iat",
        "nbf",
        "exp",
        "jti",
        "tags",
        "groups",
        "auth_time",
        "auth_epoch",
        "epoch",
    ] {
        let mut without = good.clone();
        without.as_object_mut().unwrap().remove(name).unwrap();
        // Lists may be absent: none of our tokens leaves them out, but there is nothing to be mistaken about.
        if !["tags", "groups"].contains(&name) {
            bad.push(without.to_string());
        }
        for value in odd.iter().filter(|value| **value != json!([]) || !["tags", "groups"].contains(&name)) {
            // A name that is another text is no wrong kind, only another name.
            if value.is_string() && ["iss", "aud", "sub", "jti"].contains(&name) {
                continue;
            }
            let mut other = good.clone();
            other[name] = value.clone();
            bad.push(other.to_string());
        }
        let said = good[name].to_string();
        bad.push(good.to_string().replacen('{', &format!("{{\"{name}\":{said},"), 1));
    }
    for (name, value) in
        [("exp", json!(good["iat"].as_u64().unwrap() + 86_401)), ("cnf", json!({})), ("act", json!("eve"))]
    {
        let mut other = good.clone();
        other[name] = value;
        bad.push(other.to_string());
    }
    all_malformed(&world, bad.iter().map(|payload| dressed(&key, &header(&key), payload))).await;
}
