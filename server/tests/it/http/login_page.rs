//! `GET /login`: to the application's page, told where to lead back to; and nowhere, for whoever would be led astray.

use crate::world::{Answer, Options, World};
use handstamp_core::environment::{EnvironmentName, Environments};
use handstamp_core::origin::WebOrigin;
use handstamp_core::policy::modes::Rate;
use handstamp_server::app::origins::FileOrigins;
use handstamp_server::http::browser::Browsers;
use http::Method;
use serde_json::json;

const APP: &str = "https://app.example.org";
const PAGE: &str = "https://login.example.org/in?tenant=1#form";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

async fn world_with(page: Option<&str>) -> World {
    let browsers = Browsers { login: page.map(str::to_owned), ..Browsers::default() };
    let origins = FileOrigins { cors: Vec::new(), redirect: vec![WebOrigin::parse(APP).unwrap()] };
    World::with(Options { browsers, origins, ..Options::default() }).await
}

async fn look(world: &World, query: &str) -> Answer {
    world.call(Method::GET, &format!("/login{query}")).no_key().send().await
}

/// As a browser writes a value into a query.
fn encoded(text: &str) -> String {
    text.bytes()
        .map(|b| if b.is_ascii_alphanumeric() { char::from(b).to_string() } else { format!("%{b:02X}") })
        .collect()
}

#[track_caller]
fn leads(answer: &Answer, to: &str) {
    assert_eq!(answer.status.as_u16(), 302, "{}: {}", answer.what, answer.text());
    assert_eq!(answer.header("location"), to);
    assert_eq!(
        (answer.header("cache-control"), answer.header("referrer-policy")),
        ("no-store", "no-referrer")
    );
    assert!(answer.body.is_empty() && answer.headers.get("set-cookie").is_none());
}

#[tokio::test]
async fn the_page_is_told_where_to_lead_back_to() {
    let world = world_with(Some(PAGE)).await;
    let back = "https://app.example.org/data?x=1&y=%2F#part";
    let told = "redirect_uri=https%3A%2F%2Fapp.example.org%2Fdata%3Fx%3D1%26y%3D%252F%23part";
    let answer = look(&world, &format!("?redirect_uri={}", encoded(back))).await;
    leads(&answer, &format!("https://login.example.org/in?tenant=1&{told}#form"));
    let answer = look(&world, &format!("?redirect_uri={}&code_challenge={CHALLENGE}", encoded(back))).await;
    leads(&answer, &format!("https://login.example.org/in?tenant=1&{told}&code_challenge={CHALLENGE}#form"));
    let answer = look(&world, &format!("?redirect_uri={APP}")).await;
    leads(&answer, "https://login.example.org/in?tenant=1&redirect_uri=https%3A%2F%2Fapp.example.org#form");
    let head = world.call(Method::HEAD, &format!("/login?redirect_uri={APP}")).no_key().send().await;
    assert_eq!(head.status.as_u16(), 302);
    for method in [Method::POST, Method::PUT, Method::DELETE, Method::OPTIONS] {
        let answer = world.call(method, &format!("/login?redirect_uri={APP}")).no_key().send().await;
        answer.refused(405, "method_not_allowed");
    }
}

#[tokio::test]
async fn nobody_is_led_astray() {
    let world = world_with(Some(PAGE)).await;
    for uri in [
        "https://evil.example/",
        "https://app.example.org@evil.example/",
        "https://app.example.org:pw@evil.example/",
        "https://evil.example\\@app.example.org/",
        "https://app.example.org\\@evil.example/",
        "https://app.example.org%40evil.example/",
        "https://app.example.org.evil.example/",
        "https://app.example.org:8443/",
        "https://app.example.org:443/",
        "https://APP.example.org/",
        "HTTPS://app.example.org/",
        "http://app.example.org/",
        "//app.example.org/",
        "//evil.example/",
        "/\\evil.example/",
        "\\/\\/evil.example",
        "///evil.example",
        "/data",
        "data",
        "https:evil.example",
        "https:/evil.example",
        "https:///evil.example",
        "https%3A%2F%2Fapp.example.org%2F",
        "javascript:alert(1)",
        "javascript://app.example.org/%0aalert(1)",
        "data:text/html,x",
        " https://app.example.org/",
        "https://app.example.org/ x",
        "https://app.example.org/\r\nLocation: https://evil.example",
        "https://app.example.org\t.evil.example/",
        "https://app.example.org\u{2044}.evil.example/",
        "null",
        "*",
        "",
    ] {
        let answer = look(&world, &format!("?redirect_uri={}", encoded(uri))).await;
        let problem = answer.refused(400, "redirect_not_allowed");
        assert!(answer.headers.get("location").is_none(), "{uri}");
        assert!(
            uri.len() < 5 || !problem.to_string().contains(uri),
            "what a stranger wrote is not said again"
        );
    }
    for (query, pointer) in [
        ("?redirect_uri=https://app.example.org/&redirect_uri=https://evil.example/", "redirect_uri"),
        ("?redirect_uri=https://app.example.org/&redirect_uri=https://app.example.org/", "redirect_uri"),
        ("?redirect_uri=https://app.example.org/&next=https://evil.example/", "next"),
        ("?redirect_uri=https://app.example.org/&code_challenge=x", "code_challenge"),
        ("?redirect_uri=https://app.example.org/%ff", ""),
    ] {
        let answer = look(&world, query).await;
        answer.invalid(pointer);
        assert!(answer.headers.get("location").is_none(), "{query}");
    }
    look(&world, "").await.refused(400, "redirect_not_allowed");
    // Strangers pay for what fails; who is led on does not.
    world.app.set_anonymous_limit(Rate::parse("50/1h").ok());
    let answer = look(&world, "").await;
    assert!(!answer.header("x-ratelimit-remaining").is_empty());
    let answer = look(&world, &format!("?redirect_uri={APP}")).await;
    assert!(answer.header("x-ratelimit-remaining").is_empty());
}

#[tokio::test]
async fn a_change_of_the_list_acts_on_the_next_request_and_each_environment_has_its_own() {
    let environments = [("a.example.org", "default/prd"), ("b.example.org", "shop/dev")]
        .map(|(host, name)| (host.to_owned(), EnvironmentName::parse(name).unwrap()));
    let browsers = Browsers {
        login: Some("/in".to_owned()),
        environments: Environments::ByHost(environments.into_iter().collect()),
        ..Browsers::default()
    };
    let world = World::with(Options { browsers, ..Options::default() }).await;
    let other = world.make_environment("shop", "dev").await.token;
    let from = async |host: &str| {
        let call = world.call(Method::GET, &format!("/login?redirect_uri={APP}/")).no_key();
        call.header("host", host).send().await
    };
    let list = async |key: &str, origins: &[&str]| {
        let call = world.call(Method::PUT, "/v1/settings/redirect-origins").key(key);
        call.json(&json!({ "origins": origins })).send().await.expect(200);
    };
    from("a.example.org").await.refused(400, "redirect_not_allowed");
    list(&world.key, &[APP]).await;
    leads(&from("a.example.org").await, "/in?redirect_uri=https%3A%2F%2Fapp.example.org%2F");
    from("b.example.org").await.refused(400, "redirect_not_allowed");
    from("c.example.org").await.refused(404, "not_found");
    list(&other, &[APP]).await;
    list(&world.key, &["https://other.example.org"]).await;
    from("a.example.org").await.refused(400, "redirect_not_allowed");
    leads(&from("b.example.org").await, "/in?redirect_uri=https%3A%2F%2Fapp.example.org%2F");
}

#[tokio::test]
async fn without_a_page_there_is_nowhere_to_send_anybody() {
    for page in [None, Some("/login"), Some("/login?x"), Some("/login#y")] {
        let world = world_with(page).await;
        look(&world, &format!("?redirect_uri={APP}")).await.refused(404, "not_found");
        look(&world, "?redirect_uri=https://evil.example").await.refused(400, "redirect_not_allowed");
    }
    let world = world_with(Some("/login/form")).await;
    leads(
        &look(&world, &format!("?redirect_uri={APP}")).await,
        "/login/form?redirect_uri=https%3A%2F%2Fapp.example.org",
    );
}
