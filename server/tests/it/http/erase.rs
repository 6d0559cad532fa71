//! `POST /v1/users/{id}/erase`: afterwards nothing personal is in any answer, in any record, in history, or in the bytes
//! of the store's files; whoever gets the statement can verify it; and nobody else lost anything.

use crate::conformance::world::Scratch;
use crate::world::{Options, World};
use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use handstamp_core::id::SessionId;
use handstamp_core::policy::{Policy, Rules};
use handstamp_core::time::Span;
use handstamp_server::codec::{read_session, session_key};
use handstamp_server::store::Store;
use handstamp_server::store::faulty::{Call, Fault};
use handstamp_server::store::sqlite::{self, Sqlite, backup};
use http::Method;
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;

const IP: &str = "198.51.100.217";
const IP6: &str = "2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff";
const AGENT: &str = "PLANTED-AGENT/1.2";

/// A user with a past: sessions live, ended by hand, by time, by a stolen token; refusals, notes, an address each.
async fn past(world: &World, user: &str) -> Vec<String> {
    let ask = |ip: &str| {
        json!({ "user_id": user, "ip": ip, "user_agent": AGENT, "tags": ["customer:planted-tag"],
            "access_groups": ["planted-group"], "data": { "note": "PLANTED-DATA".repeat(500) } })
    };
    let by = |token: &str, ip: &str| json!({ "token": token, "ip": ip, "user_agent": "PLANTED-AGENT/2", "rotate": "auto" });
    let mut ids = Vec::new();
    // Ended by hand, with a reason.
    let made = world.create(ask(IP)).await;
    world
        .patch(&format!("/v1/sessions/{}", made.id), json!({ "tags": { "add": ["mail:planted-tag"] } }))
        .await
        .expect(200);
    world.delete(&format!("/v1/sessions/{}?reason=PLANTED-REASON", made.id)).await.expect(200);
    world.post("/v1/sessions/validate", by(&made.token, IP6)).await.expect(200);
    ids.push(made.id);
    // Ended by a stolen token, with both contexts as evidence.
    let made = world.create(ask(IP6)).await;
    world.advance(Span::minutes(20));
    let rotated = world.post("/v1/sessions/validate", by(&made.token, IP)).await.expect(200);
    let next = rotated["rotated_token"].as_str().unwrap().to_owned();
    world.post("/v1/sessions/validate", by(&next, IP)).await.expect(200);
    world.advance(Span::minutes(2));
    let stolen = world.post("/v1/sessions/validate", by(&made.token, IP6)).await.expect(200);
    assert_eq!(stolen["code"], "token_reused");
    ids.push(made.id);
    // Live, used from elsewhere, refused for a tag it does not have; one under an idempotency key.
    let made = world.create(ask(IP)).await;
    world.post("/v1/sessions/validate", by(&made.token, IP6)).await.expect(200);
    let mut missing = by(&made.token, IP);
    missing["required_tags"] = json!(["role:admin"]);
    world.post("/v1/sessions/validate", missing).await.expect(200);
    ids.push(made.id);
    let call =
        world.call(Method::POST, "/v1/sessions").header("idempotency-key", &world.app.now().0.to_string());
    let made = call.json(&ask(IP6)).send().await.expect(201);
    ids.push(made["session"]["id"].as_str().unwrap().to_owned());
    assert!(world.app.tidy().await.is_ok());
    ids
}

/// Everything that must be gone, as it lies in a file: texts, addresses as bytes, sealed data.
async fn planted(world: &World, ids: &[String]) -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> =
        ["PLANTED", "planted-tag", "planted-group", "planted user", IP, IP6].map(|text| text.into()).to_vec();
    all.push(vec![198, 51, 100, 217]);
    all.push(IP6.parse::<std::net::Ipv6Addr>().unwrap().octets().to_vec());
    let Ok(caller) = world.app.caller(Some(&world.key), None) else { panic!("the key is not known") };
    for id in ids {
        let key = session_key(caller.env.record.id, SessionId::parse(id).unwrap());
        let found = world.store.load(&[key]).await.unwrap().remove(0).unwrap();
        let (session, _) = read_session(&found).unwrap();
        all.push(session.data.unwrap().bytes[..64].to_vec());
    }
    all
}

/// How often each of them is in the files of the store.
fn found(path: &Path, planted: &[Vec<u8>]) -> Vec<usize> {
    let mut bytes = Vec::new();
    for suffix in ["", "-wal", "-shm", "-journal"] {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        bytes.extend(std::fs::read(Path::new(&name)).unwrap_or_default());
    }
    let count = |what: &Vec<u8>| memchr::memmem::find_iter(&bytes, what).count();
    planted.iter().map(count).collect()
}

async fn erase(world: &World, user: &str) -> Value {
    world.post_nothing(&format!("/v1/users/{}/erase", user.replace(' ', "%20"))).await.expect(200)
}

impl World {
    async fn post_nothing(&self, path: &str) -> crate::world::Answer {
        self.call(Method::POST, path).send().await
    }
}

fn rotating() -> Policy {
    Policy::from(Rules { rotation_grace: Some(Span::minutes(1)), ..Rules::default() })
}

#[tokio::test]
async fn nothing_of_the_user_is_in_the_bytes_of_the_files() {
    let scratch = Scratch::new();
    let path = scratch.path("handstamp.db");
    let store = Arc::new(Sqlite::open(&path, &sqlite::Options::default()).unwrap());
    let world = World::with(Options { store, policy: Some(rotating()), ..Options::default() }).await;
    // Others around and between, so that rows move between pages.
    let others = async |from: u32| {
        for n in from..from + 150 {
            let data = json!({ "n": "x".repeat(n as usize * 37 % 900) });
            let ask = json!({ "user_id": format!("other-{n}"), "ip": format!("203.0.113.{}", n % 200),
                "user_agent": format!("other agent {}", n % 7), "data": data });
            let made = world.create(ask).await;
            if n % 3 == 0 {
                world.delete(&format!("/v1/sessions/{}", made.id)).await.expect(200);
            }
        }
    };
    others(0).await;
    let mut ids = past(&world, "planted user").await;
    others(1_000).await;
    ids.extend(past(&world, "planted user").await);
    others(2_000).await;
    let planted = planted(&world, &ids).await;
    let before = found(&path, &planted);
    assert!(before.iter().enumerate().all(|(at, n)| *n > 0 || (4..6).contains(&at)), "{before:?}");

    let answer = erase(&world, "planted user").await;
    assert_eq!(answer["statement"]["sessions_erased"], 8, "{answer}");
    assert!(world.app.tidy().await.is_ok());
    assert_eq!(found(&path, &planted), vec![0; planted.len()]);
    // Nor in a copy; and what is copied is whole.
    let copy = scratch.path("copy.db");
    backup(&path, &copy, |_, _| {}).unwrap();
    sqlite::verify_backup(&copy).unwrap();
    assert_eq!(found(&copy, &planted), vec![0; planted.len()]);
    // Nobody else lost anything.
    let page = world.get("/v1/sessions?user_id=other-1001&state=all").await.expect(200);
    let other = &page["items"][0];
    assert_eq!(
        (&other["client"]["ip"], &other["client"]["user_agent"]),
        (&json!("203.0.113.1"), &json!("other agent 0"))
    );
    let live = world.get("/v1/sessions/count").await.expect(200);
    assert_eq!(live["count"], 300);
}

#[tokio::test]
async fn no_answer_tells_of_the_user_any_more() {
    let world = World::with(Options { policy: Some(rotating()), ..Options::default() }).await;
    let other = world.make_environment("shop", "prd").await;
    let theirs = json!({ "user_id": "planted user", "ip": IP });
    world.call(Method::POST, "/v1/sessions").key(&other.token).json(&theirs).send().await.expect(201);
    let grace = world.create(json!({ "user_id": "grace", "ip": IP, "user_agent": "own" })).await;
    let mut ids = past(&world, "planted user").await;
    let live = world.create(json!({ "user_id": "planted user", "ip": IP })).await;
    ids.push(live.id.clone());
    // Refused, and waiting to be written: it must not be written after the erasing.
    for _ in 0..3 {
        let ask = json!({ "token": live.token, "ip": IP6, "user_agent": AGENT, "required_tags": ["role:x"] });
        world.post("/v1/sessions/validate", ask).await.expect(200);
    }
    let answer = erase(&world, "planted user").await;
    let statement = &answer["statement"];
    let name = statement["pseudonym"].as_str().unwrap().to_owned();
    assert!(name.starts_with("erased_") && name.len() == 29, "{name}");
    assert_eq!((&statement["sessions_ended"], &statement["sessions_erased"]), (&json!(3), &json!(5)));
    assert!(statement["events_erased"].as_u64().unwrap() >= 10, "{statement}");
    assert_eq!(world.verdict(&live.token).await, "session_not_found");
    // What a token is presented from afterwards is not collected either.
    let again = json!({ "token": live.token, "ip": IP6, "user_agent": AGENT });
    world.post("/v1/sessions/validate", again).await.expect(200);
    world.advance(Span::hours(2));
    assert!(world.app.tidy().await.is_ok());

    let clean = |text: &str| {
        for planted in ["PLANTED", "planted-tag", "planted-group", "planted user", IP, IP6] {
            let own = text.replace("grace\",\"client\":{\"ip\":\"198.51.100.217", "");
            assert!(!own.contains(planted), "{planted} is in {own}");
        }
    };
    for id in &ids {
        let session = world.get(&format!("/v1/sessions/{id}")).await;
        clean(session.text());
        let session = session.expect(200);
        assert_eq!((&session["user_id"], &session["state"]), (&json!(name), &json!("ended")));
        assert_eq!((&session["data"], &session["tags"]), (&Value::Null, &json!([])));
        clean(world.get(&format!("/v1/sessions/{id}/events")).await.text());
    }
    clean(world.get("/v1/events?user_id=planted%20user&limit=200").await.text());
    for path in
        [format!("/v1/sessions?user_id={name}&state=all"), format!("/v1/events?user_id={name}&limit=200")]
    {
        clean(world.get(&path).await.text());
    }
    let found = world.get(&format!("/v1/sessions?user_id={name}&state=all")).await.expect(200);
    assert_eq!(found["items"].as_array().unwrap().len(), 5);
    let found = world.get(&format!("/v1/sessions?ip={IP}&state=all")).await.expect(200);
    assert_eq!(found["items"][0]["user_id"], "grace");
    assert_eq!(found["items"].as_array().unwrap().len(), 1);
    world.get("/v1/users/planted%20user").await.refused(404, "not_found");
    assert_eq!(world.verdict(&grace.token).await, "valid");
    // History says that it was done, by whom, and how much.
    let done = world.get("/v1/events?type=user.erased").await.expect(200)["items"].clone();
    assert_eq!((&done[0]["user_id"], &done[0]["session_id"]), (&json!(name), &Value::Null));
    assert!(done[0]["note"].as_str().unwrap().starts_with("sessions: 5, "), "{done}");
    assert_eq!(done[0]["by"], statement["by"]);
    // In another environment nothing has happened, and the name would be another one.
    let call = |method, path: &str| world.call(method, path).key(&other.token);
    let theirs = call(Method::GET, "/v1/users/planted%20user").send().await.expect(200);
    assert_eq!(theirs["sessions"], 1);
    let there = call(Method::POST, "/v1/users/planted%20user/erase").send().await.expect(200);
    assert_ne!(there["statement"]["pseudonym"], json!(name));
}

#[tokio::test]
async fn again_it_finds_nothing_and_a_new_login_is_a_new_user() {
    let world = World::new().await;
    world.create(json!({ "user_id": "ada", "ip": IP })).await;
    let first = erase(&world, "ada").await["statement"].clone();
    let again = erase(&world, "ada").await["statement"].clone();
    assert_eq!(first["pseudonym"], again["pseudonym"]);
    let counts = |s: &Value| json!([s["sessions_ended"], s["sessions_erased"], s["events_erased"]]);
    assert_eq!((counts(&first), counts(&again)), (json!([1, 1, 2]), json!([0, 0, 0])));
    let done = world.get("/v1/events?type=user.erased").await.expect(200);
    assert_eq!(done["items"].as_array().unwrap().len(), 1, "only what was done is said");
    // The user comes back: nothing of before is theirs.
    world.create(json!({ "user_id": "ada", "ip": IP })).await;
    assert_eq!(world.get("/v1/users/ada").await.expect(200)["sessions"], 1);
    assert_eq!(
        world.get("/v1/sessions?user_id=ada&state=all").await.expect(200)["items"].as_array().unwrap().len(),
        1
    );
    assert_eq!(counts(&erase(&world, "ada").await["statement"]), json!([1, 1, 2]));
    assert_eq!(counts(&erase(&world, "nobody").await["statement"]), json!([0, 0, 0]));
    // A pseudonym is nobody's id.
    let path = format!("/v1/users/{}/erase", first["pseudonym"].as_str().unwrap());
    world.post_nothing(&path).await.refused(404, "not_found");
}

#[tokio::test]
async fn an_accident_on_the_way_leaves_the_rest_to_be_found() {
    for (call, nth) in [
        (Call::Amend, 0),
        (Call::Amend, 1),
        (Call::Commit, 0),
        (Call::Commit, 1),
        (Call::Commit, 2),
        (Call::Commit, 3),
        (Call::History, 1),
    ] {
        for accident in [Fault::Before, Fault::LoseAnswer] {
            let world = World::new().await;
            for ip in [IP, IP6] {
                world.create(json!({ "user_id": "ada", "ip": ip, "user_agent": AGENT })).await;
            }
            let good = std::iter::repeat_n(Fault::None, nth);
            world.store.plan(call, good.chain([accident.clone()]));
            world.post_nothing("/v1/users/ada/erase").await.refused(503, "store_unavailable");
            assert_eq!(world.store.left(), 0, "{call:?} {nth}");
            erase(&world, "ada").await;
            for path in ["/v1/events?limit=200", "/v1/sessions?state=all"] {
                let answer = world.get(path).await;
                for planted in ["PLANTED", IP, IP6, "\"ada\""] {
                    assert!(
                        !answer.text().contains(planted),
                        "{call:?} {nth} {accident:?}: {}",
                        answer.text()
                    );
                }
            }
            assert!(world.store.tallies().await.unwrap().is_empty(), "a session counts on");
        }
    }
}

fn unbase64(text: &str) -> Vec<u8> {
    let value = |c: u8| match c {
        b'A'..=b'Z' => c - b'A',
        b'a'..=b'z' => c - b'a' + 26,
        b'0'..=b'9' => c - b'0' + 52,
        b'-' => 62,
        b'_' => 63,
        _ => panic!("no base64url: {text}"),
    };
    let group = |four: &[u8]| {
        let bits =
            four.iter().fold(0u32, |bits, c| bits << 6 | u32::from(value(*c))) << (6 * (4 - four.len()));
        bits.to_be_bytes()[1..four.len()].to_vec()
    };
    text.as_bytes().chunks(4).flat_map(group).collect()
}

#[tokio::test]
async fn the_statement_is_signed_with_a_published_key() {
    let world = World::new().await;
    world.login("ada").await;
    let answer = erase(&world, "ada").await;
    let keys = world.call(Method::GET, "/.well-known/handstamp-erasure-keys.json").no_key().send().await;
    assert_eq!(keys.header("content-type"), "application/jwk-set+json");
    let key = keys.expect(200)["keys"][0].clone();
    assert_eq!(answer["public_key"], key);
    assert_eq!((&key["kty"], &key["crv"], &key["alg"]), (&json!("OKP"), &json!("Ed25519"), &json!("EdDSA")));
    let parts: Vec<&str> = answer["jws"].as_str().unwrap().split('.').collect();
    let [header, payload, signature] = parts[..] else { panic!("{parts:?}") };
    let public = UnparsedPublicKey::new(&ED25519, unbase64(key["x"].as_str().unwrap()));
    let signed = |header: &str, payload: &str| format!("{header}.{payload}").into_bytes();
    assert!(public.verify(&signed(header, payload), &unbase64(signature)).is_ok());
    assert!(public.verify(&signed(header, &format!("{payload}A")), &unbase64(signature)).is_err());
    let json_of = |part: &str| serde_json::from_slice::<Value>(&unbase64(part)).unwrap();
    assert_eq!(json_of(payload), answer["statement"]);
    assert_eq!(json_of(header), json!({ "alg": "EdDSA", "kid": key["kid"], "typ": "erasure-statement+jws" }));
    // Another master key would have another one; this one's name is its thumbprint (RFC 7638).
    let print = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#, key["x"].as_str().unwrap());
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, print.as_bytes());
    assert_eq!(unbase64(key["kid"].as_str().unwrap()), digest.as_ref());
}

#[tokio::test]
async fn who_may_and_with_what() {
    let world = World::new().await;
    world.login("ada").await;
    let poor = world.make_key(json!({ "name": "poor", "scopes": ["sessions:write", "events:read"] })).await;
    world
        .call(Method::POST, "/v1/users/ada/erase")
        .key(&poor.token)
        .send()
        .await
        .refused(403, "insufficient_scope");
    let able = world.make_key(json!({ "name": "able", "scopes": ["users:write"] })).await;
    let call =
        |body: &'static str| world.call(Method::POST, "/v1/users/ada/erase").key(&able.token).body(body);
    call(r#"{"dry_run": true}"#).send().await.invalid("");
    call("{}").send().await.expect(200);
    world.post_nothing(&format!("/v1/users/{}/erase", "x".repeat(257))).await.refused(404, "not_found");
}

#[tokio::test]
async fn a_login_that_was_refused_leaves_nothing_behind_an_erasing() {
    let world = World::new().await;
    let policy = json!({ "default": { "ip_block": ["198.51.100.0/24"] } });
    world.call(Method::PUT, "/v1/policies").json(&policy).send().await.expect(200);
    let refused = json!({ "user_id": "ada", "ip": "198.51.100.9", "user_agent": "Agent991/1" });
    for _ in 0..3 {
        world.post("/v1/sessions", refused.clone()).await.refused(403, "ip_blocked");
    }
    world.call(Method::POST, "/v1/users/ada/erase").send().await.expect(200);
    world.advance(Span::minutes(2));
    assert!(world.app.tidy().await.is_ok());
    let events = world.get("/v1/events?user_id=ada").await.expect(200);
    assert_eq!(events["items"], json!([]));
}

#[tokio::test]
async fn where_the_user_acted_for_others_they_stay_accountable_and_the_statement_says_so() {
    let world = World::new().await;
    let acting = |who: &str, of: &str| json!({ "user_id": of, "ip": "203.0.113.7", "actor": { "id": who, "reason": "REASON of ticket 7" } });
    let by_user = world.create(acting("planted user", "grace")).await;
    let for_user = world.create(acting("support", "planted user")).await;
    world.delete(&format!("/v1/sessions/{}", by_user.id)).await.expect(200);
    let told = async || {
        let one = world.get(&format!("/v1/sessions/{}", by_user.id)).await.expect(200);
        let lines = world.get(&format!("/v1/sessions/{}/events", by_user.id)).await.expect(200);
        (one, lines, world.get("/v1/events?user_id=grace").await.expect(200))
    };
    let before = told().await;
    let statement = erase(&world, "planted user").await["statement"].clone();
    assert!(world.app.tidy().await.is_ok());
    // The history of the other user is theirs, and says who was in their place and why.
    assert_eq!(told().await, before);
    assert_eq!(before.0["actor"], json!({ "id": "planted user", "reason": "REASON of ticket 7" }));
    // Who acted for the user is named in what is left of the user, without what they said.
    let left = world.get(&format!("/v1/sessions/{}", for_user.id)).await;
    assert_eq!(left.expect(200)["actor"], json!({ "id": "support", "reason": "" }));
    assert!(!left.text().contains("planted"), "{}", left.text());
    let kept = statement["kept"].as_array().unwrap();
    for wanted in ["who_acted_for_the_user", "where_the_user_acted_for_others"] {
        assert!(kept.contains(&json!(wanted)), "{statement}");
    }
    assert!(statement["erased"].as_array().unwrap().contains(&json!("devices")), "{statement}");
}
