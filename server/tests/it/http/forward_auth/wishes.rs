//! What of an address is the operator's and what its client's; the way to the login page.

use super::{PATH, trusted, with};
use crate::world::World;
use handstamp_core::time::Span;
use http::Method;
use serde_json::json;

#[tokio::test]
async fn what_the_operator_wants_is_a_condition() {
    let world = World::new().await;
    let made = world
        .create(json!({"user_id": "ada", "tags": ["role:admin"], "access_groups": ["staff"],
                                   "auth": {"methods": ["pwd"], "level": 2}}))
        .await;
    world.advance(Span::minutes(1));
    for (wish, code) in [
        ("tags=role:admin", ""),
        ("tags=role:admin;access_groups=staff;min_level=2;max_auth_age=60;rotate=never;data=0;login=302", ""),
        ("tags=role%3Aadmin", ""),
        ("tags=role:admin,org:acme", "tag_missing"),
        ("access_groups=staff,wheel", "access_group_missing"),
        ("min_level=3", "reauthentication_required"),
        ("max_auth_age=59", "reauthentication_required"),
    ] {
        for path in [
            format!("{PATH};{wish}"),
            format!("{PATH}?{}", wish.replace(';', "&")),
            format!("{PATH};{wish}/x?y=z"),
        ] {
            let answer = world.ask(&path).cookie(&made.token).send().await;
            if code.is_empty() {
                answer.passes();
            } else {
                answer.denied(403, code);
                let challenged =
                    answer.header("www-authenticate").contains("insufficient_user_authentication");
                assert_eq!(challenged, code == "reauthentication_required", "{:?}", answer.headers);
            }
        }
    }
    for (wish, field) in [
        ("tag=a:b", "tag"),
        ("tags=a:b;tags=a:c", "tags"),
        ("rotate=yes", "rotate"),
        ("data=2", "data"),
        ("login=303", "login"),
        ("min_level=4", "min_level"),
        ("max_auth_age=-1", "max_auth_age"),
        ("%ff=1", ""),
    ] {
        let answer = world.ask(&format!("{PATH};{wish}")).cookie(&made.token).send().await;
        answer.denied(400, "invalid_request");
        answer.invalid(field);
    }
}

#[tokio::test]
async fn a_clients_query_is_never_the_operators() {
    let world = trusted(None).await;
    let made = world.create(json!({"user_id": "ada", "data": {"secret": 1}})).await;
    let ask = |path: &str| world.ask(&format!("{PATH}{path}")).cookie(&made.token);
    // Envoy appends path and query: behind the operator's parameters nothing is looked at.
    for appended in ["/x?data=1", "/x?tags=a:b", "/x;tags=a:b?data=1", "/?apikey=hsk_x"] {
        assert_eq!(ask(&format!(";{appended}")).send().await.passes()[4], "");
    }
    // Caddy appends the query.
    assert_eq!(ask(";?data=1&tags=a:b").send().await.passes()[4], "");
    // Without a semicolon it cannot be told whose it is; a condition might be meant.
    for path in ["/x?data=1", "/x?tags=a:b&y=1", "/x?t%61gs=a:b"] {
        ask(path).send().await.denied(400, "invalid_request");
    }
    assert_eq!(ask("/x?y=1").send().await.passes()[4], "");
    // As the proxy itself says what the client's query is, the same query is the client's.
    let said = ask("?data=1").header("x-forwarded-uri", "/x?data=1").send().await;
    said.denied(400, "invalid_request");
    assert_eq!(ask("?y=1").header("x-forwarded-uri", "/x?y=1").send().await.passes()[4], "");
    let said = ask("?data=1").header("x-forwarded-uri", "/x?y=1").send().await;
    assert_ne!(said.passes()[4], "");
}

#[tokio::test]
async fn whoever_is_on_the_way_to_a_page_is_told_where_to_log_in() {
    let world = trusted(None).await;
    let ask = |wish: &str| {
        let call = world.ask(&format!("{PATH}{wish}")).header("host", "app.example.org");
        call.header("x-forwarded-proto", "https").navigation("/a?b=c&d=%2F")
    };
    let back = "/login?redirect_uri=https:%2F%2Fapp.example.org%2Fa%3Fb%3Dc%26d%3D%252F";
    let answer = ask(";login=302").send().await;
    assert_eq!((answer.status.as_u16(), answer.header("location")), (302, back));
    assert_eq!(answer.header("x-handstamp-code"), "token_missing");
    assert!(answer.body.is_empty() && answer.header("cache-control") == "no-store");
    let answer = ask(";login=401").send().await;
    answer.denied(401, "token_missing");
    assert_eq!(answer.header("location"), back);
    let appended = world.ask(&format!("{PATH};login=302/a?b=c&d=%2F")).header("host", "app.example.org");
    let appended = appended.header("accept", "text/html").header("x-forwarded-proto", "https").send().await;
    assert_eq!(appended.header("location"), back, "Envoy appends the address");

    for call in [
        ask(""),
        ask(";login=302").header("x-forwarded-method", "POST"),
        ask(";login=302").header("x-original-method", "HEAD"),
        ask(";login=302").header("sec-fetch-mode", "cors"),
        ask(";login=302").header("accept", "application/json, */*"),
    ] {
        let answer = call.send().await;
        answer.denied(401, "token_missing");
        assert!(!answer.headers.contains_key("location"));
    }
    // Who is logged in would only come back from the login page.
    let made = world.login("ada").await;
    let answer = ask(";login=302;tags=a:b").cookie(&made.token).send().await;
    answer.denied(403, "tag_missing");
    // As a browser writes it; and what cannot be an address on the way back is left out.
    let long = format!("/{}?{}", "p".repeat(1_000), "q".repeat(2_000));
    let page = format!("%2F{}", "p".repeat(1_000));
    for (name, value, to) in [
        ("x-forwarded-host", "App.Example.ORG:443", "%2Fa%3Fb%3Dc%26d%3D%252F"),
        ("x-forwarded-host", "app.example.org", "%2Fa%3Fb%3Dc%26d%3D%252F"),
        ("x-forwarded-uri", "//evil.example", "%2F%2Fevil.example"),
        ("x-forwarded-uri", "javascript:alert(1)", "%2F"),
        ("x-forwarded-uri", "/a\tb", "%2F"),
        ("x-forwarded-uri", "/a\\b", "%2F"),
        ("x-forwarded-uri", "/a?<b>", "%2Fa"),
        ("x-forwarded-uri", long.as_str(), page.as_str()),
        ("x-original-uri", "/other", "%2F"),
        ("x-forwarded-proto", "javascript", ""),
        ("x-forwarded-host", "a@evil.example", ""),
    ] {
        let answer = ask(";login=302").header(name, value).send().await;
        if to.is_empty() {
            answer.denied(401, "token_missing");
        } else {
            let to = format!("/login?redirect_uri=https:%2F%2Fapp.example.org{to}");
            assert_eq!(
                (answer.status.as_u16(), answer.header("location")),
                (302, to.as_str()),
                "{name}: {value}"
            );
        }
    }
    let other = ask(";login=302").header("x-forwarded-host", "app.example.org:8443").send().await;
    assert!(
        other.header("location").contains("https:%2F%2Fapp.example.org:8443%2Fa%3F"),
        "{:?}",
        other.headers
    );
}

#[tokio::test]
async fn nobody_who_is_not_trusted_says_where_the_way_leads_back_to() {
    let world = World::new().await;
    let call = world.ask(&format!("{PATH};login=302")).header("x-forwarded-proto", "https");
    let call = call.header("x-forwarded-host", "evil.example").navigation("/a");
    let answer = call.send().await;
    answer.denied(401, "token_missing");
    assert!(!answer.headers.contains_key("location"));
}

#[tokio::test]
async fn where_csrf_is_judged_a_page_shows_the_sessions_token() {
    let world = trusted(None).await;
    let made = world.login("ada").await;
    let own = world.call(Method::GET, "/v1/auth/session").no_key().header("cookie", &with(&made.token));
    let token = own.send().await.expect(200)["csrf_token"].as_str().unwrap().to_owned();
    let ask = |wish: &str, method: &str| {
        let call = world.ask(&format!("{PATH}{wish}")).cookie(&made.token).header("host", "app.example.org");
        call.header("x-forwarded-method", method)
    };
    for method in ["GET", "HEAD", "OPTIONS"] {
        ask(";csrf=1", method).send().await.passes();
    }
    for method in ["POST", "PUT", "PATCH", "DELETE", "BREW", "get"] {
        ask("", method).send().await.passes();
        ask(";csrf=0", method).send().await.passes();
        let refused = ask(";csrf=1", method).send().await;
        refused.denied(403, "csrf_token_invalid");
        assert!(refused.header("set-cookie").starts_with("XSRF-TOKEN="), "{:?}", refused.headers);
        ask(";csrf=1", method)
            .header("x-xsrf-token", "c1.wrong")
            .send()
            .await
            .denied(403, "csrf_token_invalid");
        ask(";csrf=1", method).header("x-xsrf-token", &token).send().await.passes();
        let foreign =
            ask(";csrf=1", method).header("x-xsrf-token", &token).header("origin", "https://evil.example");
        foreign.send().await.denied(403, "origin_not_allowed");
        let own =
            ask(";csrf=1", method).header("x-xsrf-token", &token).header("origin", "https://app.example.org");
        own.header("sec-fetch-site", "same-origin").send().await.passes();
    }
    // A method that nobody says may be any; Envoy's is the client's own.
    let unsaid = |path: &str| world.ask(&format!("{PATH};csrf=1{path}")).cookie(&made.token);
    unsaid("").send().await.denied(403, "csrf_token_invalid");
    unsaid("/a").send().await.passes();
    unsaid("/a").method(Method::POST).send().await.denied(403, "csrf_token_invalid");
    let both = ask(";csrf=1", "POST").header("x-original-method", "GET");
    both.send().await.denied(403, "csrf_token_invalid");
    // Without a session there is nothing to protect; in a header no page of somebody else's could put the token.
    let nobody = world.ask(&format!("{PATH};csrf=1")).header("x-forwarded-method", "POST");
    nobody.cookie("nonsense").send().await.denied(401, "session_not_found");
    let app = world.ask(&format!("{PATH};csrf=1")).header("x-forwarded-method", "POST");
    app.header("session", &made.token).send().await.passes();
}

#[tokio::test]
async fn a_method_that_somebody_says_who_is_not_trusted_is_no_method() {
    let world = World::new().await;
    let made = world.login("ada").await;
    let ask = world.ask(&format!("{PATH};csrf=1")).cookie(&made.token).header("x-forwarded-method", "GET");
    ask.send().await.denied(403, "csrf_token_invalid");
}
