//! Every kind of credential at every place that takes one: no kind is accepted where another is expected.

use super::{present, redeem, started};
use crate::world::World;
use handstamp_core::token::Kind;
use handstamp_core::token::access_key::Parts;
use http::Method;
use serde_json::{Value, json};

/// Six letters, and what is no kind of credential at all.
const GARBAGE: [&str; 6] =
    ["x", "hsr_", "hsr", " ", "ses_08YRRPw2K0TIAusaCGTrcj", "eyJhbGciOiJub25lIn0.e30."];

#[tokio::test]
async fn nothing_but_a_refresh_token_is_exchanged() {
    let world = World::new().await;
    let pair = started(&world, "ada").await;
    let code = crate::http::login::code_of(&world, "bob").await;
    let publishable = Parts::new(Kind::PublishableKey, [3; 16], [4; 32]).text().reveal().to_owned();
    for other in [&pair.token, &world.key, &world.operator, &publishable, &code] {
        present(&world, other).await.refused(401, "token_wrong_kind");
    }
    for empty in [json!({}), json!({ "refresh_token": "" }), json!({ "refresh_token": null })] {
        world.post("/v1/sessions/refresh", empty).await.refused(401, "token_missing");
    }
    let whole = &pair.refresh;
    let mut changed = whole.clone();
    changed.replace_range(50..51, if &whole[50..51] == "a" { "b" } else { "a" });
    let texts = [
        whole[..whole.len() - 1].to_owned(),
        format!("{whole}0"),
        format!(" {whole}"),
        changed,
        whole.replacen("hsr_", "hsr-", 1),
        whole.to_uppercase(),
        format!("hsr_{}", "0".repeat(4_000)),
        "\u{0}".to_owned(),
    ];
    for text in texts.iter().map(String::as_str).chain(GARBAGE) {
        present(&world, text).await.refused(401, "token_malformed");
    }
    // The body of one kind under the name of the other: the checksum and the MAC say no.
    present(&world, &pair.token.replacen("hst_", "hsr_", 1)).await.refused(401, "token_malformed");
    assert_eq!(world.verdict(&pair.refresh.replacen("hsr_", "hst_", 1)).await, "token_malformed");
    // Of another environment.
    let shop = world.make_environment("shop", "prd").await.token;
    let body = json!({ "refresh_token": pair.refresh });
    let answer = world.call(Method::POST, "/v1/sessions/refresh").key(&shop).json(&body).send().await;
    answer.refused(401, "token_malformed");
    redeem(&world, &pair.refresh).await;
}

#[tokio::test]
async fn a_refresh_token_is_taken_nowhere_else() {
    let world = World::new().await;
    let pair = started(&world, "ada").await;
    let refresh = pair.refresh.as_str();
    assert_eq!(world.verdict(refresh).await, "token_wrong_kind");
    let batch = json!({ "requests": [{ "token": refresh }, { "token": refresh, "consistency": "strong" }] });
    let answer = world.post("/v1/sessions/validate-batch", batch).await.expect(200);
    assert!(answer["results"].as_array().unwrap().iter().all(|one| one["code"] == "token_wrong_kind"));
    for path in ["/v1/devices/challenge", "/v1/devices"] {
        let mut body = json!({ "token": refresh });
        if path == "/v1/devices" {
            body["device"] = json!({ "proof": "a.b.c" });
            (body["method"], body["url"]) = ("POST".into(), "https://app.example/".into());
        }
        world.post(path, body).await.refused(401, "token_wrong_kind");
    }
    let spare = json!({ "user_id": "ada", "except": refresh });
    world.post("/v1/sessions/revoke", spare).await.refused(409, "except_invalid");
    let app = crate::http::login::APP;
    world
        .post("/v1/login/exchange", json!({ "code": refresh, "origin": app }))
        .await
        .refused(400, "login_code_invalid");
    // As an access key, in each place of one.
    for (name, value) in
        [("authorization", format!("Bearer {refresh}")), ("authorization", refresh.to_owned())]
    {
        let call = world.call(Method::GET, "/v1/sessions").header(name, &value);
        call.send().await.refused(401, "access_key_invalid");
    }
    // At the doors of clients and of proxies.
    let cookie = format!("__Host-handstamp={refresh}");
    for path in ["/v1/auth/session", "/v1/auth/session/ping", "/v1/auth/sessions"] {
        let answer = world.call(Method::GET, path).no_key().header("cookie", &cookie).send().await;
        assert_eq!(answer.status, 401, "{path}: {}", answer.text());
    }
    let asked = world.ask("/v1/forward-auth").header("cookie", &cookie).send().await;
    assert_eq!(asked.status, 401, "{}", asked.text());
    let key = world.make_key(json!({ "name": "app", "kind": "publishable" })).await.token;
    let app = world.call(Method::GET, "/v1/auth/session").no_key();
    let app = app.header("x-publishable-key", &key).header("session", refresh).send().await;
    assert_eq!(app.status, 401, "{}", app.text());
    let body = json!({ "refresh_token": refresh });
    for (name, value) in [("authorization", format!("Bearer {key}")), ("x-publishable-key", key.clone())] {
        let call = world.call(Method::POST, "/v1/sessions/refresh").no_key().header(name, &value);
        call.json(&body).send().await.refused(403, "publishable_key_forbidden");
    }
    world
        .call(Method::POST, "/v1/sessions/refresh")
        .no_key()
        .json(&body)
        .send()
        .await
        .refused(401, "access_key_missing");
    // In its own place it is good, and it is good for a logout.
    let next = redeem(&world, refresh).await;
    let session = world.get(&format!("/v1/sessions/{}", pair.id)).await.expect(200);
    assert_eq!(session["generation"], 1, "nothing of all this was an exchange");
    let ended = world.post("/v1/sessions/revoke", json!({ "token": next.refresh })).await.expect(200);
    assert_eq!(ended["ended"], 1);
}

/// No listing, line of history or explanation has one.
#[tokio::test]
async fn no_answer_but_its_own_has_one() {
    let world = World::new().await;
    let pair = started(&world, "ada").await;
    let next = redeem(&world, &pair.refresh).await;
    present(&world, "hsr_nonsense").await.refused(401, "token_malformed");
    assert!(world.app.tidy().await.is_ok());
    for path in [
        format!("/v1/sessions/{}", pair.id),
        "/v1/sessions?user_id=ada".to_owned(),
        format!("/v1/sessions/{}/events", pair.id),
        "/v1/events".to_owned(),
        "/v1/users/ada".to_owned(),
        format!("/v1/sessions/{}/explain", pair.id),
        "/metrics".to_owned(),
    ] {
        let answer = world.get(&path).await;
        assert!(answer.status.is_success() && !answer.text().contains("hsr_"), "{path}: {}", answer.text());
    }
    let validated = world.validate(&next.token).await;
    assert!(validated["valid"] == true && !validated.to_string().contains("hsr_"));
    let counted: Vec<Value> = ["allowed\"} 1", "token_malformed\"} 1"].map(Into::into).into();
    let page = world.get("/metrics").await;
    for one in counted {
        let line = format!("handstamp_refreshes_total{{code=\"{}", one.as_str().unwrap());
        assert!(page.text().contains(&line), "{line}");
    }
}
