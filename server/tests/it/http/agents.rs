//! User agents and client hints in sessions, searches and history.

use crate::world::World;
use handstamp_core::time::Span;
use serde_json::{Value, json};

const WINDOWS: &str = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/128.0.0.0 Safari/537.36";
const PIXEL: &str = "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/128.0.0.0 Mobile Safari/537.36";
const IPHONE: &str = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1";
const FIREFOX: &str = "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:128.0) Gecko/20100101 Firefox/128.0";

fn told(agent: &str, [browser, os, device, name]: [&str; 4]) -> Value {
    let known = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    json!({
        "ip": null, "user_agent": agent, "browser": known(browser), "os": known(os), "device_type": device,
        "display_name": name
    })
}

async fn created(world: &World, agent: &str, hints: Value) -> Value {
    let body = json!({ "user_id": "ada", "user_agent": agent, "client_hints": hints });
    world.post("/v1/sessions", body).await.expect(201)["session"]["client"].clone()
}

#[tokio::test]
async fn a_session_says_on_what_it_is() {
    let world = World::new().await;
    for (agent, expected) in [
        (WINDOWS, ["Chrome", "Windows", "desktop", "Chrome 128 on Windows"]),
        (PIXEL, ["Chrome Mobile", "Android", "mobile", "Chrome 128 on Android"]),
        (IPHONE, ["Mobile Safari", "iOS", "mobile", "Safari 17 on iOS 17.5"]),
        (FIREFOX, ["Firefox", "Windows", "desktop", "Firefox 128 on Windows"]),
        ("curl/8.5.0", ["curl", "", "other", "curl 8"]),
        ("my \"own\" client", ["", "", "other", "Unknown browser"]),
        // A family that is cut out of what a stranger wrote.
        ("\"<b>\\/7 CFNetwork/1", ["\"<b>\\", "", "other", "\"<b>\\ 7"]),
    ] {
        let made = world.create(json!({ "user_id": "ada", "user_agent": agent })).await;
        let read = world.get(&format!("/v1/sessions/{}", made.id)).await.expect(200);
        assert_eq!(read["client"], told(agent, expected), "{agent}");
        // From the store, from memory, and once more: the answers are written by two hands.
        for _ in 0..3 {
            assert_eq!(world.validate(&made.token).await["session"]["client"], read["client"], "{agent}");
        }
        let events = world.get(&format!("/v1/sessions/{}/events", made.id)).await.expect(200);
        assert_eq!(events["items"][0]["client"], read["client"], "{agent}");
    }
    let without = world.login("ada").await;
    let client = world.validate(&without.token).await["session"]["client"].clone();
    let nothing = json!({ "ip": null, "user_agent": null, "browser": null, "os": null, "device_type": null, "display_name": null });
    assert_eq!(client, nothing);
}

#[tokio::test]
async fn from_where_it_was_last_used() {
    let world = World::new().await;
    let lenient = json!({ "default": { "user_agent": "ignore" } });
    world.call(http::Method::PUT, "/v1/policies").json(&lenient).send().await.expect(200);
    let made = world.create(json!({ "user_id": "ada", "user_agent": WINDOWS, "client_hints": { "platform": "Windows", "platform_version": "15" } })).await;
    let validate = async |agent: &str| {
        world
            .post("/v1/sessions/validate", json!({ "token": made.token, "user_agent": agent }))
            .await
            .expect(200);
        assert!(world.app.tidy().await.is_ok());
        world.get(&format!("/v1/sessions/{}", made.id)).await.expect(200)
    };
    assert_eq!(validate(WINDOWS).await["last_client"], Value::Null, "the same text");
    let elsewhere = validate(FIREFOX).await;
    assert_eq!(
        elsewhere["last_client"],
        told(FIREFOX, ["Firefox", "Windows", "desktop", "Firefox 128 on Windows"])
    );
    assert_eq!(elsewhere["client"]["display_name"], "Chrome 128 on Windows 11");
    assert_eq!(validate(WINDOWS).await["last_client"], Value::Null, "and back, with what hints told of it");
}

#[tokio::test]
async fn hints_tell_what_the_text_hides() {
    let world = World::new().await;
    let name = async |agent: &str, hints: Value| created(&world, agent, hints).await["display_name"].clone();
    let long = json!({
        "sec-ch-ua": "\"Chromium\";v=\"128\", \"Not;A=Brand\";v=\"24\", \"Google Chrome\";v=\"128\"",
        "sec-ch-ua-platform": "\"Android\"", "sec-ch-ua-platform-version": "\"14.0.0\"", "sec-ch-ua-mobile": "?1",
        "sec-ch-ua-model": "\"Pixel 8\""
    });
    assert_eq!(name(PIXEL, long).await, "Chrome 128 on Android 14 (Pixel 8)");
    let short = json!({ "platform": "Windows", "platform_version": "15.0.0", "mobile": false, "model": "" });
    assert_eq!(name(WINDOWS, short).await, "Chrome 128 on Windows 11");
    let brave = json!({ "sec-ch-ua": "\"Brave\";v=\"128\", \"Chromium\";v=\"128\"" });
    assert_eq!(name(WINDOWS, brave).await, "Brave 128 on Windows");
    assert_eq!(
        name(WINDOWS, json!({ "platform": "Android", "model": "Pixel 8" })).await,
        "Chrome 128 on Windows"
    );
    assert_eq!(name(WINDOWS, json!({})).await, "Chrome 128 on Windows");
    assert_eq!(name(WINDOWS, Value::Null).await, "Chrome 128 on Windows");
    for (hints, place) in [
        (json!({ "sec-ch-ua-platform": "Windows" }), "/client_hints/sec-ch-ua-platform"),
        (json!({ "sec-ch-ua-mobile": "1" }), "/client_hints/sec-ch-ua-mobile"),
        (json!({ "sec-ch-ua": "Chromium" }), "/client_hints/sec-ch-ua"),
        (json!({ "ua": "Chromium" }), "/client_hints/ua"),
        (json!({ "mobile": true, "sec-ch-ua-mobile": "?1" }), "/client_hints/mobile"),
        (json!({ "platform": "Windows", "sec-ch-ua-platform": "\"Windows\"" }), "/client_hints/platform"),
        (json!({ "model": "x".repeat(513) }), "/client_hints/model"),
        (json!({ "sec-ch-ua-arch": "\"x86\"" }), "/client_hints/sec-ch-ua-arch"),
        (json!({ "mobile": "?1" }), "/client_hints/mobile"),
        (json!([]), "/client_hints"),
    ] {
        let body = json!({ "user_id": "ada", "user_agent": WINDOWS, "client_hints": hints });
        world.post("/v1/sessions", body).await.invalid(place);
    }
}

#[tokio::test]
async fn sessions_are_found_by_browser_and_system() {
    let world = World::new().await;
    let lenient = json!({ "default": { "user_agent": "ignore" } });
    world.call(http::Method::PUT, "/v1/policies").json(&lenient).send().await.expect(200);
    let mut ids = Vec::new();
    for agent in [WINDOWS, PIXEL, IPHONE, FIREFOX] {
        world.advance(Span::secs(1));
        ids.push(world.create(json!({ "user_id": "ada", "user_agent": agent })).await);
    }
    world.delete(&format!("/v1/sessions/{}", ids[1].id)).await.expect(200);
    let body = json!({ "token": ids[0].token, "user_agent": IPHONE });
    world.post("/v1/sessions/validate", body).await.expect(200);
    assert!(world.app.tidy().await.is_ok());
    for (query, which) in [
        ("browser=Chrome", &[0][..]),
        ("browser=chrome&state=all", &[1, 0]),
        ("browser=Chrome+Mobile&state=ended", &[1]),
        ("browser=safari", &[2, 0]),
        ("browser=MOBILE+SAFARI", &[2, 0]),
        ("browser=Firefox&os=Windows", &[3]),
        ("os=windows", &[3, 0]),
        ("os=iOS", &[2, 0]),
        ("os=iOS&browser=Firefox", &[]),
        ("os=Android", &[]),
        ("browser=Fire", &[]),
    ] {
        let found = world.get(&format!("/v1/sessions?{query}")).await.expect(200);
        let found: Vec<&str> =
            found["items"].as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap()).collect();
        assert_eq!(found, which.iter().map(|n| &*ids[*n].id).collect::<Vec<_>>(), "{query}");
        let count = world.get(&format!("/v1/sessions/count?{query}")).await.expect(200);
        assert_eq!(count["count"], which.len(), "{query}");
    }
    for parameter in ["browser", "os"] {
        for wrong in ["", "%20", &"x".repeat(65), "a%0Ab"] {
            world.get(&format!("/v1/sessions?{parameter}={wrong}")).await.invalid(parameter);
        }
    }
}
