//! Device proofs: every refusal, both sides of every time, with real keys and real signatures.

mod world;

use handstamp_core::device::challenge::{self, Client};
use handstamp_core::device::proof::Brings;
use handstamp_core::device::{
    Asked, Demand, DeviceMode, Passed, Registered, base64url, introduce, judge, may_register,
};
use handstamp_core::id::{EnvironmentId, UserId};
use handstamp_core::policy::{Origin, Sourced};
use handstamp_core::refusal::Code;
use handstamp_core::subject::Endpoint;
use handstamp_core::time::{Millis, Span};
use world::{ENV, Pair, START, World, here, session};

#[test]
fn both_kinds_of_key_prove() {
    assert!(World::new().passes());
    assert!(World::with(Pair::ed25519(7)).passes());
    let named = World::with(Pair::ed25519(7));
    assert!(World { header: named.header.replace("EdDSA", "Ed25519"), ..named }.passes());
}

#[test]
fn the_mode_says_who_is_asked() {
    let missing = Err(Code::DeviceProofMissing);
    let invalid = Err(Code::DeviceProofInvalid);
    for (mode, registered, proof, expected) in [
        (DeviceMode::Off, false, "none", Ok(false)),
        (DeviceMode::Off, true, "none", Ok(false)),
        (DeviceMode::Off, true, "wrong", Ok(false)),
        (DeviceMode::Off, true, "right", Ok(false)),
        (DeviceMode::IfRegistered, false, "none", Ok(false)),
        (DeviceMode::IfRegistered, false, "wrong", Ok(false)),
        (DeviceMode::IfRegistered, true, "none", missing),
        (DeviceMode::IfRegistered, true, "wrong", invalid),
        (DeviceMode::IfRegistered, true, "right", Ok(true)),
        (DeviceMode::Required, false, "none", missing),
        (DeviceMode::Required, false, "right", missing),
        (DeviceMode::Required, true, "none", missing),
        (DeviceMode::Required, true, "wrong", invalid),
        (DeviceMode::Required, true, "right", Ok(true)),
    ] {
        let world = World { mode, ..World::new() };
        let (device, right) = (world.device(), world.text());
        let text = match proof {
            "none" => None,
            "wrong" => Some("a.b.c"),
            _ => Some(right.as_str()),
        };
        let passed = world.judge_text(registered.then_some(&device), text);
        let passed = passed.map(|passed| passed != Passed::Unasked).map_err(|refusal| refusal.code);
        assert_eq!(passed, expected, "{mode}, registered: {registered}, proof: {proof}");
        assert!(mode.asks(registered) || passed == Ok(false));
    }
}

#[test]
fn a_caller_asks_for_more_than_the_policy_and_never_for_less() {
    let office = Origin::Tag("net:office".into());
    for (mode, demand, with, without, by_policy) in [
        (DeviceMode::Off, Demand::AsPolicy, false, false, true),
        (DeviceMode::Off, Demand::IfRegistered, true, false, false),
        (DeviceMode::IfRegistered, Demand::AsPolicy, true, false, true),
        (DeviceMode::IfRegistered, Demand::IfRegistered, true, false, true),
        (DeviceMode::Required, Demand::AsPolicy, true, true, true),
        (DeviceMode::Required, Demand::IfRegistered, true, true, true),
    ] {
        let policy = Sourced { value: mode, origin: office.clone() };
        let asked = Asked::of(&policy, demand);
        assert_eq!((asked.asks(true), asked.asks(false)), (with, without), "{mode}, {demand:?}");
        let refused = judge(asked, Some(&World::new().device()), None, START);
        let expected = with.then(|| by_policy.then(|| office.clone()));
        assert_eq!(refused.err().map(|refusal| refusal.origin), expected, "{mode}, {demand:?}");
    }
}

#[test]
fn the_device_and_nobody_else_signs() {
    let world = World::new();
    let text = world.text();
    let judged = |pair: &Pair, text: &str| {
        let registered = Registered::new(pair.public(), START);
        world.judge_text(Some(&registered), Some(text)).map_err(|refusal| refusal.code)
    };
    assert!(judged(&world.pair, &text).is_ok());
    assert_eq!(judged(&Pair::p256(), &text), Err(Code::DeviceProofInvalid), "another P-256 key");
    assert_eq!(judged(&Pair::ed25519(1), &text), Err(Code::DeviceProofInvalid), "a key of another kind");
    // Every letter counts.
    let letters = text.char_indices().filter(|(_, letter)| *letter != '.');
    for (at, letter) in letters {
        let other = if letter == 'A' { 'B' } else { 'A' };
        let changed = format!("{}{other}{}", &text[..at], &text[at + 1..]);
        assert_eq!(judged(&world.pair, &changed), Err(Code::DeviceProofInvalid), "{changed}");
    }
}

#[test]
fn a_signature_is_not_moved_onto_other_claims() {
    let (one, other) = (World::new(), World { method: "DELETE", ..World::new() });
    let (front, _) = one.text().rsplit_once('.').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    let signature = other.text().rsplit_once('.').unwrap().1.to_owned();
    let moved = one.judge_text(Some(&one.device()), Some(&format!("{front}.{signature}")));
    assert_eq!(moved.unwrap_err().code, Code::DeviceProofInvalid);
}

#[test]
fn algorithms_are_not_the_proofs_choice() {
    for alg in ["none", "HS256", "RS256", "ES384", "ES256K", "EdDSA", "PS256", ""] {
        let world = World::new();
        World { header: world.header.replace("ES256", alg), ..world }.invalid("alg");
    }
    let world = World::with(Pair::ed25519(3));
    World { header: world.header.replace("EdDSA", "ES256"), ..world }.invalid("alg");
    // No signature at all, and the public key as the secret of an HMAC, which a library may choose by `alg`.
    let world = World::new();
    let header = base64url::encode(br#"{"alg":"HS256","typ":"devproof+jwt"}"#);
    let front = format!("{header}.{}", base64url::encode(world.claims().as_bytes()));
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, world.pair.public().bytes());
    let tag = aws_lc_rs::hmac::sign(&key, front.as_bytes());
    for signature in [&b""[..], tag.as_ref(), &[tag.as_ref(), tag.as_ref()].concat(), &[0; 64]] {
        let text = format!("{front}.{}", base64url::encode(signature));
        let refusal = world.judge_text(Some(&world.device()), Some(&text)).unwrap_err();
        assert_eq!(refusal.code, Code::DeviceProofInvalid);
    }
}

#[test]
fn der_is_refused_and_so_are_zeros() {
    let (fixed, der) = Pair::der();
    assert!(World::with(fixed).passes());
    World::with(der).invalid("64 bytes");
    let world = World::new();
    let (front, _) = world.text().rsplit_once('.').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    for zeros in [[0; 64], [0xff; 64]] {
        let text = format!("{front}.{}", base64url::encode(&zeros));
        let refusal = world.judge_text(Some(&world.device()), Some(&text)).unwrap_err();
        assert_eq!(refusal.code, Code::DeviceProofInvalid);
    }
}

#[test]
fn a_proof_is_for_one_session_and_one_request() {
    World { session: Some(session(2)), ..World::new() }.invalid("another session");
    World { session: None, ..World::new() }.invalid("another session");
    World { method: "POST", ..World::new() }.invalid("another method");
    World { method: "get", ..World::new() }.invalid("another method");
    for url in [
        "https://app.example/orders/",
        "https://app.example/order",
        "https://app.example:8443/orders",
        "http://app.example/orders",
        "https://evil.example/orders",
        "https://app.example/orders/../admin",
    ] {
        World { url, ..World::new() }.invalid("another URL");
    }
    for url in ["HTTPS://APP.example:443/%6frders?page=2#top", "https://app.example/x/../orders"] {
        assert!(World { url, ..World::new() }.passes(), "{url}");
    }
}

#[test]
fn a_proof_that_brings_a_key_is_no_proof_once_the_key_is_known() {
    let thief = World::introducing(Pair::p256());
    let world = World { brings: Brings::NoKey, ..World::new() };
    let refusal = world.judge_text(Some(&world.device()), Some(&thief.text())).unwrap_err();
    assert_eq!(refusal.code, Code::DeviceProofInvalid);
    World { header: thief.header.clone(), ..World::new() }.invalid("key of its own");
}

#[test]
fn challenges_are_fresh_ours_and_used_once() {
    let at = |now: i64| World { now: Millis(START.0 + now), ..World::new() };
    for now in [0, 1, 299_999] {
        assert!(at(now).passes(), "{now}");
    }
    for now in [300_000, 300_001, 3_600_000] {
        at(now).stale("old challenge");
    }
    World { used: true, ..World::new() }.stale("was used");
    World { challenge: "dch_made-up".to_owned(), ..World::new() }.stale("not given to this client");
    let world = World::new();
    let other = challenge::give(ENV, Client::Session(session(2)), [5; 16], START, &world.keys);
    World { challenge: other.text.into(), ..world }.stale("not given to this client");
    let world = World::new();
    let other = challenge::give(EnvironmentId(8), Client::Session(session(1)), [5; 16], START, &world.keys);
    World { challenge: other.text.into(), ..world }.stale("not given to this client");
}

#[test]
fn a_challenge_that_was_given_to_nobody_in_particular_is_answered_by_a_session_from_there() {
    assert!(World::unnamed(here()).passes());
    let last = World { now: Millis(START.0 + 299_999), ..World::unnamed(here()) };
    assert!(last.passes());
    World { now: Millis(START.0 + 300_000), ..World::unnamed(here()) }.stale("old challenge");
    World { used: true, ..World::unnamed(here()) }.stale("was used");
    // From elsewhere, by another agent, or where one of them was said and the other time not.
    for from in [
        Endpoint { ip: Some([203, 0, 113, 8].into()), ..here() },
        Endpoint { ip: None, ..here() },
        Endpoint { user_agent: Some("Chrome"), ..here() },
        Endpoint { user_agent: Some(""), ..here() },
        Endpoint { user_agent: None, ..here() },
        Endpoint::default(),
    ] {
        World::unnamed(from).stale("not given to this client");
    }
    // One for the logins of somebody is for those; one of another environment for nobody here.
    let (world, ada) = (World::new(), UserId::new("ada").unwrap());
    let named = Client::Login { user: Some(&ada), from: here() };
    let given = challenge::give(ENV, named, [5; 16], START, &world.keys);
    World { challenge: given.text.into(), ..world }.stale("not given to this client");
    let (world, nobody) = (World::new(), Client::Login { user: None, from: here() });
    let given = challenge::give(EnvironmentId(8), nobody, [5; 16], START, &world.keys);
    World { challenge: given.text.into(), ..world }.stale("not given to this client");
    // Whose proof it is, it says itself: without a word of the session, as at a login, or with another one, it is none.
    World { session: None, ..World::unnamed(here()) }.invalid("another session");
    World { session: Some(session(2)), ..World::unnamed(here()) }.invalid("another session");
    World { method: "POST", ..World::unnamed(here()) }.invalid("another method");
    // The same for a session that gets its device.
    let world = World { challenge: World::unnamed(here()).challenge, ..World::introducing(Pair::p256()) };
    let introduced = |world: &World| {
        let outcome = world.shown(&world.text(), |shown| introduce(shown, world.now));
        outcome.map(|(_, challenge)| challenge.at).map_err(|refusal| refusal.code)
    };
    assert_eq!(introduced(&world), Ok(START));
    let login = World { session: None, ..world };
    assert_eq!(introduced(&login), Err(Code::DeviceProofInvalid), "a proof of a login");
    let elsewhere = World::unnamed(Endpoint::default()).challenge;
    let world = World { challenge: elsewhere, session: Some(session(1)), ..login };
    assert_eq!(introduced(&world), Err(Code::DeviceProofStale));
}

#[test]
fn a_proof_is_made_between_its_challenge_and_now() {
    let at = |seconds: i64, now: i64| World {
        made_at: START.0 / 1_000 + seconds,
        now: Millis(START.0 + now),
        ..World::new()
    };
    for (seconds, now) in [(-60, 0), (0, 0), (10, 0), (-60, 299_000), (309, 299_000), (11, 1_000)] {
        assert!(at(seconds, now).passes(), "{seconds} at {now}");
    }
    for (seconds, now) in
        [(-61, 0), (11, 0), (11, 999), (-61, 299_000), (310, 299_000), (i64::from(u32::MAX), 0)]
    {
        at(seconds, now).stale("another time");
    }
}

#[test]
fn what_is_wrong_first_is_said_first() {
    // Freshness is told only to who holds the key and means this request.
    let wrong = World { used: true, now: Millis(START.0 + 600_000), method: "POST", ..World::new() };
    wrong.invalid("another method");
    let stranger = World { challenge: "x".to_owned(), ..World::new() };
    let device = Registered::new(Pair::p256().public(), START);
    let refusal = stranger.judge_text(Some(&device), Some(&stranger.text())).unwrap_err();
    assert!(refusal.detail().contains("another key"), "{}", refusal.detail());
}

#[test]
fn a_key_is_introduced_by_its_own_signature() {
    let introduced = |world: &World, text: &str| {
        let outcome = world.shown(text, |shown| introduce(shown, world.now));
        outcome.map(|(key, challenge)| (key.id(), challenge.at)).map_err(|refusal| refusal.code)
    };
    for pair in [Pair::p256(), Pair::ed25519(3)] {
        let id = pair.public().id();
        let world = World::introducing(pair);
        assert_eq!(introduced(&world, &world.text()), Ok((id, START)));
    }
    // Somebody else's public key, signed with one's own.
    let (mine, theirs) = (Pair::p256(), Pair::p256());
    let world = World { header: World::introducing(theirs).header, ..World::introducing(mine) };
    assert_eq!(introduced(&world, &world.text()), Err(Code::DeviceProofInvalid));
    let world = World { brings: Brings::Key, ..World::new() };
    assert_eq!(introduced(&world, &world.text()), Err(Code::DeviceProofInvalid), "no key");
    let world = World { used: true, ..World::introducing(Pair::p256()) };
    assert_eq!(introduced(&world, &world.text()), Err(Code::DeviceProofStale));
    let world = World { session: Some(session(2)), ..World::introducing(Pair::p256()) };
    assert_eq!(introduced(&world, &world.text()), Err(Code::DeviceProofInvalid), "another's session");
}

#[test]
fn a_session_gets_a_device_once_and_shortly_after_login() {
    let device = |at: i64| Registered::new(Pair::ed25519(1).public(), Millis(START.0 + at));
    let may = |registered: Option<&Registered>, authenticated: i64, now: i64| {
        let (authenticated, now) = (Millis(START.0 + authenticated), Millis(START.0 + now));
        may_register(authenticated, registered, now).map_err(|refusal| refusal.code)
    };
    assert_eq!(may(None, 0, 0), Ok(()));
    assert_eq!(may(None, 0, 299_999), Ok(()));
    assert_eq!(may(None, 0, 300_000), Err(Code::ReauthenticationRequired));
    assert_eq!(may(None, 600_000, 899_999), Ok(()));
    for at in [0, 1, 10_000] {
        assert_eq!(may(Some(&device(at)), 0, 20_000), Err(Code::AlreadyExists), "{at}");
    }
    // After a fresh authentication, another key; and again only once.
    assert_eq!(may(Some(&device(10_000)), 10_000, 10_000), Err(Code::AlreadyExists));
    assert_eq!(may(Some(&device(10_000)), 10_001, 10_001), Ok(()));
    assert_eq!(may(Some(&device(10_000)), 600_000, 900_000), Err(Code::ReauthenticationRequired));
    let refusal = may_register(START, None, START.plus(Span::minutes(7))).unwrap_err();
    assert_eq!(refusal.detail(), "device 7m, allowed 5m");
}
