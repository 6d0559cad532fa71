//! CORS and its lists: a change acts on the next request, each environment has its own, other doors have none.

use super::{LOCAL, PAGE, SESSION, ahead, ask, file, is_silent, is_told, names, said, world};
use crate::world::{Options, World};
use handstamp_core::environment::{EnvironmentName, Environments};
use handstamp_core::origin::WebOrigin;
use handstamp_server::app::origins::FileOrigins;
use handstamp_server::http::browser::Browsers;
use http::Method;
use serde_json::json;
use std::collections::BTreeMap;

#[tokio::test]
async fn a_change_of_the_list_acts_on_the_next_request() {
    let world = world().await;
    let new = "https://new.example.org";
    let list = async |origins: &[&str]| {
        let body = json!({ "origins": origins });
        world.call(Method::PUT, "/v1/settings/cors").json(&body).send().await.expect(200);
    };
    let token = world.login("ada").await.token;
    let cookie = format!("__Host-handstamp={token}");
    let look =
        async |origin: &str| ask(&world, Method::GET, SESSION, origin).header("cookie", &cookie).send().await;
    // A page of this site, whose browser vouches for it.
    let refresh = async |origin: &str| {
        let call = ask(&world, Method::POST, "/v1/auth/session/refresh", origin).header("cookie", &cookie);
        call.header("sec-fetch-site", "same-site").send().await
    };
    for _ in 0..3 {
        is_silent(&look(new).await, "not yet listed");
        is_silent(&ahead(&world, SESSION, new, "GET").send().await, "not yet listed");
        let refused = refresh(new).await;
        refused.refused(403, "origin_not_allowed");
        is_silent(&refused, "not yet listed");

        list(&[new]).await;
        is_told(&look(new).await, new);
        assert_eq!(ahead(&world, SESSION, new, "GET").send().await.status.as_u16(), 204);
        let done = refresh(new).await;
        done.expect(200);
        is_told(&done, new);
        // Those of the file stand beside it.
        is_told(&look(PAGE).await, PAGE);
        list(&[]).await;
    }
    world.app.set_file_origins(FileOrigins { cors: vec![WebOrigin::parse(new).unwrap()], ..file() }).await;
    is_told(&look(new).await, new);
    is_silent(&look(PAGE).await, "taken out of the file");
}

#[tokio::test]
async fn each_environment_has_its_own_pages() {
    let names = ["default/prd", "shop/dev"].map(|name| EnvironmentName::parse(name).unwrap());
    let hosts = ["a.example.org", "b.example.org"].map(str::to_owned);
    let environments = Environments::ByHost(hosts.into_iter().zip(names).collect());
    let browsers = Browsers { environments, ..Browsers::default() };
    let world = World::with(Options { browsers, ..Options::default() }).await;
    let other = world.make_environment("shop", "dev").await.token;
    let list = async |key: &str, origin: &str| {
        let body = json!({ "origins": [origin] });
        world.call(Method::PUT, "/v1/settings/cors").key(key).json(&body).send().await.expect(200);
    };
    list(&world.key, PAGE).await;
    list(&other, LOCAL).await;
    for (host, origin, listed) in [
        ("a.example.org", PAGE, true),
        ("a.example.org", LOCAL, false),
        ("b.example.org", LOCAL, true),
        ("b.example.org", PAGE, false),
        ("B.example.org:8443", LOCAL, true),
        ("c.example.org", PAGE, false),
        ("c.example.org", LOCAL, false),
    ] {
        let answer = ask(&world, Method::GET, SESSION, origin).header("host", host).send().await;
        assert_eq!(answer.status.as_u16(), if host.starts_with('c') { 404 } else { 401 });
        if listed {
            is_told(&answer, origin)
        } else {
            is_silent(&answer, host)
        }
        let answer = ahead(&world, SESSION, origin, "GET").header("host", host).send().await;
        assert_eq!(answer.status.as_u16(), if listed { 204 } else { 403 }, "{host} {origin}");
        // An app says later of which environment it is: any that lists the page will do for the question.
        let call = ahead(&world, SESSION, origin, "GET").header("host", host);
        let answer = call.header("access-control-request-headers", "session, X-Publishable-Key").send().await;
        assert_eq!(answer.status.as_u16(), 204, "{host} {origin}");
    }
    let call = ahead(&world, SESSION, "https://evil.example", "GET").header("host", "a.example.org");
    let answer = call.header("access-control-request-headers", "x-publishable-key").send().await;
    answer.refused(403, "origin_not_allowed");
}

#[tokio::test]
async fn an_apps_page_is_one_of_the_environment_of_its_key() {
    let world = World::new().await;
    let other = world.make_environment("shop", "dev").await.token;
    let list = async |key: &str, origin: &str| {
        let body = json!({ "origins": [origin] });
        world.call(Method::PUT, "/v1/settings/cors").key(key).json(&body).send().await.expect(200);
    };
    list(&world.key, PAGE).await;
    list(&other, LOCAL).await;
    let body = json!({ "name": "app", "kind": "publishable" });
    let made = world.call(Method::POST, "/v1/keys").key(&other).json(&body).send().await.expect(201);
    let key = made["secret"].as_str().unwrap();
    let body = json!({ "user_id": "ada" });
    let made = world.call(Method::POST, "/v1/sessions").key(&other).json(&body).send().await.expect(201);
    let from = async |origin: &str, key: &str| {
        let call = ask(&world, Method::GET, SESSION, origin).header("x-publishable-key", key);
        call.header("session", made["token"].as_str().unwrap()).send().await
    };
    let answer = from(LOCAL, key).await;
    answer.expect(200);
    is_told(&answer, LOCAL);
    is_silent(&from(PAGE, key).await, "the page of another environment, though this host's");
    // A key that nobody knows is told to any page that is known.
    let unknown = key.replacen(&key[20..22], "zz", 1);
    for origin in [PAGE, LOCAL] {
        let answer = from(origin, &unknown).await;
        answer.refused(401, "access_key_invalid");
        is_told(&answer, origin);
    }
    is_silent(&from("https://evil.example", &unknown).await, "a page that nobody lists");
}

#[tokio::test]
async fn other_doors_know_nothing_of_pages() {
    let world = world().await;
    for path in [
        "/v1/sessions",
        "/v1/sessions/validate",
        "/v1/settings/cors",
        "/livez",
        "/openapi.json",
        "/login",
        "/v1/auth",
        "/v1/authx/session",
    ] {
        for method in [Method::GET, Method::POST, Method::OPTIONS] {
            let call = world
                .call(method, path)
                .header("origin", PAGE)
                .header("access-control-request-method", "GET");
            let answer = call.send().await;
            assert_eq!(said(&answer), BTreeMap::new(), "{}", answer.what);
            assert!(!names(&answer, "vary").contains("origin"), "{}", answer.what);
        }
    }
}
