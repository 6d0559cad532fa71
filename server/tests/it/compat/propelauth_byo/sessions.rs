//! Sessions, and what the server did with each command, as the management API tells it.

use super::{fails, good, login, names, text};
use crate::world::World;
use handstamp_core::policy::setting::Budget;
use handstamp_core::time::Span;
use http::Method;
use serde_json::{Value, json};

async fn policy(world: &World, policy: Value) {
    world.call(Method::PUT, "/v1/policies").json(&policy).send().await.expect(200);
}

async fn session(world: &World, id: &str) -> Value {
    world.get(&format!("/v1/sessions/{id}")).await.expect(200)
}

const FIREFOX: &str = "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:128.0) Gecko/20100101 Firefox/128.0";

#[tokio::test]
async fn a_session_is_what_was_asked_for() {
    let world = World::new().await;
    let ask = json!({
        "userId": "ada", "tags": ["role:admin", "org:acme"], "userAgent": FIREFOX, "ipAddress": "203.0.113.7",
        "metadata": { "theme": "dark", "n": 1.50 }
    });
    let made = login(&world, ask).await;
    let ours = session(&world, &made.id).await;
    assert_eq!(ours["tags"], json!(["org:acme", "role:admin"]));
    assert_eq!(
        (&ours["client"]["ip"], &ours["client"]["user_agent"]),
        (&json!("203.0.113.7"), &json!(FIREFOX))
    );
    let info = good(&world, "FetchSessionById", json!({ "sessionId": made.id })).await;
    assert_eq!(
        names(&info),
        [
            "createdAt",
            "device",
            "expiresAt",
            "ipAddress",
            "lastActivityAt",
            "metadata",
            "sessionId",
            "sessionTags"
        ]
    );
    assert_eq!(
        info["device"],
        json!({
            "displayName": "Firefox 128 on Windows", "deviceType": "Desktop", "browser": "Firefox",
            "browserVersion": "128", "os": "Windows"
        })
    );
    assert_eq!(
        (&info["metadata"], &info["ipAddress"]),
        (&json!({ "theme": "dark", "n": 1.50 }), &json!("203.0.113.7"))
    );
    let now = world.app.now().0 / 1_000;
    assert_eq!((info["createdAt"].as_i64(), info["lastActivityAt"].as_i64()), (Some(now), Some(now)));
    let ends = ours["absolute_expires_at"].as_str().unwrap();
    assert_eq!(info["expiresAt"], handstamp_core::time::Millis::parse(ends).unwrap().0 / 1_000);
    // A use from elsewhere, later: activity is noted.
    world.advance(Span::hours(1));
    good(&world, "ValidateSession", json!({ "sessionToken": made.token })).await;
    let info = good(&world, "FetchSessionById", json!({ "sessionId": made.id })).await;
    assert_eq!(info["lastActivityAt"].as_i64(), Some(now + 3_600));
    // Of nobody known.
    let bare = login(&world, json!({ "userId": "bob" })).await;
    let info = good(&world, "FetchSessionById", json!({ "sessionId": bare.id })).await;
    assert_eq!(info["device"], json!({ "displayName": "Unknown browser", "deviceType": "Unknown" }));
    assert_eq!((names(&info).len(), &info["sessionTags"]), (6, &json!([])));
}

#[tokio::test]
async fn what_a_session_cannot_be_made_of() {
    let world = World::new().await;
    for tag in ["role", "Role:x", ":", "a:", "a:*", "s3nt"] {
        let body = fails(
            &world,
            "CreateSession",
            json!({ "userId": "ada", "tags": ["a:b", tag] }),
            400,
            "TagParseError",
        )
        .await;
        assert_eq!(body["details"], json!({ "InvalidTagFormat": tag }));
    }
    for ip in ["", "300.1.1.1", "127.0.0.01", "localhost"] {
        let body = fails(
            &world,
            "CreateSession",
            json!({ "userId": "ada", "ipAddress": ip }),
            400,
            "IpAddressError",
        )
        .await;
        assert!(text(&body).starts_with("invalid_request: /data/ipAddress: "), "{body}");
    }
    for (user, why) in [("", "empty"), ("\u{7}", "control")] {
        let body = fails(&world, "CreateSession", json!({ "userId": user }), 400, "UnexpectedError").await;
        assert!(text(&body).starts_with("invalid_request: /data/userId: "), "{why}: {body}");
    }
    let many: Vec<String> = (0..33).map(|n| format!("t:{n}")).collect();
    fails(&world, "CreateSession", json!({ "userId": "ada", "tags": many }), 400, "UnexpectedError").await;
    let long = json!({ "userId": "ada", "metadata": "x".repeat(16 * 1_024) });
    let body = fails(&world, "CreateSession", long, 400, "UnexpectedError").await;
    assert!(text(&body).starts_with("invalid_request: /data/metadata: at most 16384 bytes"), "{body}");
    assert_eq!(world.get("/v1/sessions/count?state=all").await.expect(200)["count"], 0);
}

#[tokio::test]
async fn limits_and_lists_are_those_of_the_policy() {
    let world = World::new().await;
    policy(
        &world,
        json!({
            "default": { "max_sessions": 2, "on_limit": "reject" },
            "tag": {
                "net:office": { "ip_allow": ["198.51.100.0/24"] },
                "net:open": { "ip_block": ["203.0.113.0/24"] }
            }
        }),
    )
    .await;
    login(&world, json!({ "userId": "ada" })).await;
    login(&world, json!({ "userId": "ada" })).await;
    let body = fails(&world, "CreateSession", json!({ "userId": "ada" }), 409, "SessionLimitExceeded").await;
    assert_eq!(body["details"], json!({ "currentCount": 2, "maxAllowed": 2 }));
    let office = |ip: Value| json!({ "userId": "bob", "tags": ["net:office"], "ipAddress": ip });
    let body = fails(&world, "CreateSession", office(json!("203.0.113.7")), 403, "IpAddressError").await;
    assert!(text(&body).starts_with("ip_not_allowed: "), "{body}");
    let body = fails(&world, "CreateSession", office(Value::Null), 403, "IpAddressError").await;
    assert!(text(&body).starts_with("ip_missing: ") && text(&body).contains("`ipAddress`"), "{body}");
    let open = json!({ "userId": "bob", "tags": ["net:open"], "ipAddress": "203.0.113.7" });
    let body = fails(&world, "CreateSession", open, 403, "IpAddressError").await;
    assert!(text(&body).starts_with("ip_blocked: "), "{body}");
    let made = login(&world, office(json!("198.51.100.7"))).await;
    let use_from = |ip: Value| json!({ "sessionToken": made.token, "ipAddress": ip });
    good(&world, "ValidateSession", use_from(json!("198.51.100.9"))).await;
    for (ip, status, code) in [
        (json!("203.0.113.7"), 403, "ip_not_allowed: "),
        (Value::Null, 403, "ip_missing: "),
        (json!("nowhere"), 400, "invalid_request: /data/ipAddress: "),
    ] {
        for command in ["ValidateSession", "ValidateAndRefreshSession"] {
            let body = fails(&world, command, use_from(ip.clone()), status, "IpAddressError").await;
            assert!(text(&body).starts_with(code), "{body}");
        }
    }
}

#[tokio::test]
async fn why_a_token_is_refused_is_in_the_text() {
    let world = World::new().await;
    policy(&world, json!({ "default": { "user_agent": "end", "idle_timeout": "10m", "max_sessions": 100 } }))
        .await;
    let made = login(&world, json!({ "userId": "ada", "userAgent": FIREFOX })).await;
    let token = |text: &str| json!({ "sessionToken": text });
    let tagged = json!({ "sessionToken": made.token, "requiredTags": ["mfa:yes"] });
    let refresh = world.create(json!({ "user_id": "ada", "refresh": true })).await;
    let refresh = world.get(&format!("/v1/sessions/{}", refresh.id)).await.expect(200)["id"].to_string();
    assert!(refresh.contains("ses_"));
    let elsewhere = json!({ "sessionToken": made.token, "userAgent": FIREFOX.replace("Windows NT 10.0; Win64; x64", "Macintosh; Intel Mac OS X 10.15") });
    let stateless = good(&world, "CreateStatelessToken", json!({ "userId": "ada" })).await;
    for (ask, status, told) in [
        (json!({}), 401, "token_missing: "),
        (token(""), 401, "token_missing: "),
        (token("abc"), 401, "token_malformed: "),
        (token(&world.key), 401, "token_wrong_kind: "),
        (token(stateless["statelessToken"].as_str().unwrap()), 401, "token_wrong_kind: "),
        (token("eyJhbGciOiJub25lIn0.e30."), 401, "token_malformed: "),
        (tagged, 403, "tag_missing: "),
        (elsewhere, 401, "user_agent_changed: "),
    ] {
        let body = fails(&world, "ValidateSession", ask.clone(), status, "InvalidSessionToken").await;
        assert!(text(&body).starts_with(told), "{ask}: {body}");
    }
    assert_eq!(session(&world, &made.id).await["ended"]["code"], "user_agent_changed");
    let made = login(&world, json!({ "userId": "ada" })).await;
    world.advance(Span::secs(600));
    let body =
        fails(&world, "ValidateAndRefreshSession", token(&made.token), 401, "InvalidSessionToken").await;
    assert_eq!(body["details"], "session_idle: idle 10m, allowed 10m by default");
    let body =
        fails(&world, "ValidateSession", json!({ "requiredTags": ["mfa"] }), 400, "UnexpectedError").await;
    assert!(text(&body).starts_with("tag_invalid: /data/requiredTags: "), "{body}");
}

#[tokio::test]
async fn a_token_rotates_for_who_can_deliver_the_next_one() {
    let world = World::new().await;
    let made = login(&world, json!({ "userId": "ada" })).await;
    let ask = json!({ "sessionToken": made.token });
    world.advance(Span::hours(12));
    let valid = good(&world, "ValidateSession", ask.clone()).await;
    assert!(valid.get("newSessionToken").is_none(), "{valid}");
    let valid = good(&world, "ValidateAndRefreshSession", ask.clone()).await;
    let next = valid["newSessionToken"].as_str().unwrap().to_owned();
    assert_ne!(next, made.token);
    // Another tab a moment later gets the same one.
    let again = good(&world, "ValidateAndRefreshSession", ask.clone()).await;
    assert_eq!(again["newSessionToken"], next.as_str());
    let after = good(&world, "ValidateAndRefreshSession", json!({ "sessionToken": next })).await;
    assert!(after.get("newSessionToken").is_none(), "{after}");
    assert_eq!(after["sessionId"], made.id.as_str(), "the session stays");
    world.advance(Span::hours(1));
    let body = fails(&world, "ValidateSession", ask, 401, "InvalidSessionToken").await;
    assert!(text(&body).starts_with("token_reused: "), "{body}");
    assert_eq!(session(&world, &made.id).await["ended"]["code"], "token_reused");
}

#[tokio::test]
async fn lists_are_of_live_sessions_newest_first() {
    let world = World::roomy().await;
    let mut made = Vec::new();
    for n in 0..105 {
        let tags = if n % 2 == 0 { json!(["even:yes"]) } else { json!([]) };
        made.push(login(&world, json!({ "userId": "ada", "tags": tags })).await.id);
        world.advance(Span(1));
    }
    made.reverse();
    login(&world, json!({ "userId": "bob" })).await;
    good(&world, "InvalidateSessionById", json!({ "sessionId": made[0] })).await;
    let live = &made[1..];
    let ids = |list: &Value| -> Vec<String> {
        list.as_array().unwrap().iter().map(|one| one["sessionId"].as_str().unwrap().to_owned()).collect()
    };
    let all = good(&world, "FetchAllSessionsForUser", json!({ "userId": "ada" })).await;
    assert_eq!((names(&all), ids(&all["sessions"])), (vec!["sessions"], live.to_vec()));
    let even =
        good(&world, "FetchAllSessionsForUser", json!({ "userId": "ada", "sessionTags": ["even:yes"] }))
            .await;
    assert_eq!(even["sessions"].as_array().unwrap().len(), 52);
    assert_eq!(
        good(&world, "FetchAllSessionsForUser", json!({ "userId": "nobody" })).await,
        json!({ "sessions": [] })
    );
    let page = |page: Value, user: Value| good_page(&world, page, user);
    let first = page(Value::Null, json!("ada")).await;
    assert_eq!(names(&first), ["hasMoreResults", "items", "page", "pageSize", "totalCount"]);
    assert_eq!(
        (&first["page"], &first["pageSize"], &first["totalCount"], &first["hasMoreResults"]),
        (&json!(0), &json!(100), &json!(104), &json!(true))
    );
    assert_eq!(ids(&first["items"]), live[..100]);
    assert_eq!(page(json!(0), json!("ada")).await, first);
    let second = page(json!(1), json!("ada")).await;
    assert_eq!(
        (ids(&second["items"]), &second["hasMoreResults"], &second["page"]),
        (live[100..].to_vec(), &json!(false), &json!(1))
    );
    for beyond in [2_u32, 40, 999] {
        let none = page(json!(beyond), json!("ada")).await;
        assert_eq!(
            (&none["items"], &none["totalCount"], &none["hasMoreResults"]),
            (&json!([]), &json!(104), &json!(false))
        );
    }
    for beyond in [1_000, u32::MAX] {
        let body = fails(&world, "FetchAllSessions", json!({ "page": beyond }), 400, "UnexpectedError").await;
        assert!(text(&body).starts_with("invalid_request: /data/page: at most 999"), "{body}");
    }
    assert_eq!(page(json!(1), Value::Null).await["totalCount"], 105);
    // A page that is just full is the last one.
    for id in &live[..4] {
        good(&world, "InvalidateSessionById", json!({ "sessionId": id })).await;
    }
    let full = page(json!(0), json!("ada")).await;
    assert_eq!((full["items"].as_array().unwrap().len(), &full["hasMoreResults"]), (100, &json!(false)));
    let body =
        fails(&world, "FetchAllSessions", json!({ "sessionTags": ["x"] }), 400, "UnexpectedError").await;
    assert!(text(&body).starts_with("tag_invalid: /data/sessionTags: "), "{body}");
    for id in [made[0].as_str(), "ses_0000000000000000000000", "nonsense"] {
        fails(&world, "FetchSessionById", json!({ "sessionId": id }), 404, "SessionNotFound").await;
    }
}

async fn good_page(world: &World, page: Value, user: Value) -> Value {
    good(world, "FetchAllSessions", json!({ "page": page, "userId": user })).await
}

/// Tokens that a backend asks about: whoever brought them pays, and no verdict is another for it.
#[tokio::test]
async fn failing_validations_count_on_the_clients_address() {
    let world = World::new().await;
    world.app.set_anonymous_limit(Budget::parse("3/1h").unwrap().0);
    let made = login(&world, json!({ "userId": "ada" })).await;
    let held = || world.app.debts().iter().find(|(of, _)| *of == "address").map(|(_, usage)| usage.held);
    let from = |token: &str| json!({ "sessionToken": token, "ipAddress": "203.0.113.7" });
    good(&world, "ValidateSession", from(&made.token)).await;
    let tagged = json!({ "sessionToken": made.token, "ipAddress": "203.0.113.7", "requiredTags": ["a:b"] });
    fails(&world, "ValidateSession", tagged, 403, "InvalidSessionToken").await;
    fails(&world, "ValidateSession", json!({ "sessionToken": "x" }), 401, "InvalidSessionToken").await;
    assert_eq!(held(), Some(0), "a good session, and nobody known");
    for _ in 0..5 {
        fails(&world, "ValidateSession", from("x"), 401, "InvalidSessionToken").await;
    }
    assert_eq!(held(), Some(1));
    good(&world, "ValidateSession", from(&made.token)).await;
}
