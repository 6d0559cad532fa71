//! What passes, what does not, and that neither needs a question.

use crate::little::{KEY, Little, Verdict, signing_key};
use crate::support::{builder, claims, now, said, session, signed, token, until, verifier, word};
use handstamp::{Assured, BuildError, By, Claims, Demand, Group, Json, Level, Local, Span, Tag, Verifier};
use handstamp_core::jose::claims::TYPE;
use handstamp_core::jose::jwe::SealingKey;
use handstamp_core::jose::key::Kid;
use handstamp_core::jose::{base64url, jws};
use handstamp_core::secret::Secret;
use std::sync::atomic::Ordering;
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn a_good_token_passes_without_a_question() {
    let little = Little::start().await;
    let verifier = verifier(&little).await;
    let token = token(&little, 1);
    for _ in 0..3 {
        let verified = verifier.verify(&token, &Demand::default()).await.unwrap();
        assert_eq!((verified.user(), verified.session()), ("user-1", session(1).to_string()));
        assert!(verified.has_tag("role:admin") && !verified.has_tag("role:root"));
        assert_eq!((verified.by(), verified.actor()), (By::Verifier, None));
    }
    assert_eq!(little.asked(), 0);
    let status = verifier.status();
    assert_eq!((status.doubt, status.connected, status.signatures.0), (None, true, 1));
    assert!(status.staleness.unwrap() < Duration::from_millis(500) && status.asked == (0, 0));
    assert_eq!(status.keys, [signing_key(1).public().kid().to_string()]);
    assert!(little.turns.env_headers.lock().unwrap().iter().all(|env| env == "default/prd"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_token_of_ours_is_refused_without_a_question() {
    let little = Little::start().await;
    let verifier = verifier(&little).await;
    let good = token(&little, 1);
    let all = claims(&little, 1);
    let key = signing_key(1);
    let parts: Vec<&str> = good.split('.').collect();
    let header = |text: &str| {
        let signed = format!("{}.{}", base64url::encode(text.as_bytes()), parts[1]);
        format!("{signed}.{}", base64url::encode(&key.sign(signed.as_bytes()).unwrap()))
    };
    let kid = key.public().kid();
    assert_eq!(
        now(&verifier, &header(&format!(r#"{{"alg":"EdDSA","kid":"{kid}","typ":"at+jwt"}}"#))),
        "valid"
    );
    for bad in [
        String::new(),
        "hst_0123456789".to_owned(),
        "..".to_owned(),
        good[1..].to_owned(),
        good[..good.len() - 1].to_owned(),
        format!("{good}."),
        format!("{}.{}.{}", parts[0], parts[1], base64url::encode(&[0; 64])),
        format!("{}.{}.", parts[0], parts[1]),
        format!("{}..{}", parts[0], parts[2]),
        "a".repeat(9_000),
        header(&format!(r#"{{"alg":"none","kid":"{kid}","typ":"at+jwt"}}"#)),
        header(&format!(r#"{{"alg":"HS256","kid":"{kid}","typ":"at+jwt"}}"#)),
        header(&format!(r#"{{"alg":"EdDSA","kid":"{kid}","typ":"JWT"}}"#)),
        header(&format!(r#"{{"alg":"EdDSA","kid":"{kid}","typ":"at+jwt","jku":"https://a.example"}}"#)),
        header(r#"{"alg":"EdDSA","typ":"at+jwt"}"#),
        signed(&Claims { issuer: "handstamp:default/stg".to_owned(), ..all.clone() }, 1),
        jws::sign(&key, TYPE, b"{}").unwrap(),
    ] {
        assert_eq!(now(&verifier, &bad), "token_malformed", "{bad}");
        assert_eq!(said(&verifier, &bad).await, "token_malformed", "{bad}");
    }
    let for_others = Claims { audience: vec!["https://api.example".to_owned()], ..all.clone() };
    assert_eq!(said(&verifier, &signed(&for_others, 1)).await, "token_audience_mismatch");
    let over = Claims { issued_at: 1_000, not_before: 1_000, expires_at: 1_300, ..all.clone() };
    assert_eq!(said(&verifier, &signed(&over, 1)).await, "token_expired");
    let early = Claims { not_before: all.issued_at + 60, ..all };
    assert_eq!(said(&verifier, &signed(&early, 1)).await, "token_not_yet_valid");
    assert_eq!(little.asked(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn demands_are_judged_here_and_sent_along_when_asked() {
    let little = Little::start().await;
    let verifier = verifier(&little).await;
    let token = token(&little, 1);
    let tag = |text: &str| Tag::parse(text).unwrap();
    let demand = Demand {
        tags: vec![tag("role:admin")],
        groups: vec![Group::parse("staff").unwrap()],
        assured: Assured { max_age: Some(Span::secs(60)), level: Level::new(1) },
        ip: Some("2001:db8::7".parse().unwrap()),
        user_agent: Some("Mozilla/5.0".to_owned()),
    };
    assert_eq!(word(verifier.verify(&token, &demand).await), "valid");
    let lacking = [
        (Demand { tags: vec![tag("role:root")], ..demand.clone() }, "tag_missing"),
        (Demand { groups: vec![Group::parse("board").unwrap()], ..demand.clone() }, "access_group_missing"),
        (
            Demand { assured: Assured { max_age: None, level: Level::new(2) }, ..demand.clone() },
            "reauthentication_required",
        ),
    ];
    for (demand, code) in &lacking {
        let Local::Refused(refused) = verifier.verify_now(&token, demand) else { panic!("{code}") };
        assert_eq!((refused.code.text(), refused.status()), (*code, 403));
    }
    assert_eq!(little.asked(), 0);
    little.turns.silent.store(true, Ordering::SeqCst);
    until("it doubts", || verifier.status().doubt.is_some()).await;
    little.set_verdict(Verdict::Refused("tag_missing"));
    assert_eq!(word(verifier.verify(&token, &demand).await), "tag_missing");
    let asked = little.turns.validated.lock().unwrap().pop().unwrap();
    assert_eq!(
        asked,
        serde_json::json!({
            "token": token, "audience": "default/prd", "required_tags": ["role:admin"],
            "required_access_groups": ["staff"], "max_auth_age": 60, "min_level": 1,
            "ip": "2001:db8::7", "user_agent": "Mozilla/5.0"
        })
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn issuer_audience_and_environment_are_told() {
    let little = Little::start().await;
    let own =
        builder(&little).issuer("https://a.example/").audience("https://api.example").build().await.unwrap();
    own.trusted(crate::support::SOON).await.unwrap();
    let all = Claims {
        issuer: "https://a.example/default/prd".to_owned(),
        audience: vec!["x".to_owned(), "https://api.example".to_owned()],
        ..claims(&little, 1)
    };
    assert_eq!(now(&own, &signed(&all, 1)), "valid");
    assert_eq!(now(&own, &token(&little, 1)), "token_malformed", "another issuer");
    for (builder, wrong) in [
        (Verifier::builder("auth.example.com", KEY), BuildError::Address),
        (Verifier::builder("http://auth.example.com", KEY), BuildError::Plain),
        (Verifier::builder("https://auth.example.com", "a\nb"), BuildError::AccessKey),
    ] {
        assert_eq!(builder.build().await.err(), Some(wrong));
    }
    let nowhere = Verifier::builder(&little.url(), KEY).environment("prd").build().await;
    assert!(matches!(nowhere.err(), Some(BuildError::Environment(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn sealed_data_is_opened_with_the_keys_of_the_environment() {
    let little = Little::start().await;
    let verifier = verifier(&little).await;
    let key = |byte: u8| {
        SealingKey::new(Kid::parse(&format!("d{byte}")).unwrap(), Secret::new([byte; 32])).unwrap()
    };
    *little.turns.data_keys.lock().unwrap() = vec![key(1).to_jwk(), key(2).to_jwk()];
    let with = |data: String| signed(&Claims { data: Some(data), ..claims(&little, 1) }, 1);
    let seal = |byte: u8| key(byte).seal("session+jwe", b"{\"plan\":\"pro\"}", [byte; 12]).unwrap();
    let pass = async |token: String| verifier.verify(&token, &Demand::default()).await.unwrap();
    for byte in [1, 2] {
        let data = verifier.open(&pass(with(seal(byte))).await).await.unwrap();
        assert_eq!(data.as_deref(), Some("{\"plan\":\"pro\"}"));
    }
    assert_eq!(verifier.open(&pass(token(&little, 2)).await).await, Ok(None));
    for bad in [seal(3), "a..b.c.d".to_owned(), seal(1).replace("..", ".AAAA.")] {
        assert!(verifier.open(&pass(with(bad)).await).await.is_err());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_application_adds_is_there() {
    let little = Little::start().await;
    let verifier = verifier(&little).await;
    let mut all = claims(&little, 1);
    all.custom.add("plan", Json::Text("pro".to_owned())).unwrap();
    let verified = verifier.verify(&signed(&all, 1), &Demand::default()).await.unwrap();
    assert_eq!(verified.claims(), &all);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_clone_that_goes_stops_everything() {
    let little = Little::start().await;
    let one = verifier(&little).await;
    let other = one.clone();
    assert_eq!(little.turns.streams.load(Ordering::SeqCst), 1);
    drop(one);
    assert_eq!(now(&other, &token(&little, 1)), "valid");
    drop(other);
    until("the stream ends", || little.turns.streams.load(Ordering::SeqCst) == 0).await;
    let fetched = little.turns.jwks.load(Ordering::SeqCst);
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert_eq!(little.turns.jwks.load(Ordering::SeqCst), fetched, "nobody fetches keys any more");
}
