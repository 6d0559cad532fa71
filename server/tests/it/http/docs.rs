//! The pages: every call and every code, nothing from elsewhere, no scripts.

use crate::world::World;
use handstamp_core::refusal::Code;
use handstamp_server::http::routes::table;
use http::Method;
use serde_json::json;

#[tokio::test]
async fn one_page_has_every_call_and_every_code() {
    let world = World::new().await;
    let answer = world.call(Method::GET, "/docs").no_key().send().await;
    assert_eq!((answer.status.as_u16(), answer.header("content-type")), (200, "text/html; charset=utf-8"));
    let html = answer.text();
    for route in table() {
        let name = format!("<span class=\"method\">{}</span> <code>{}</code>", route.method, route.path);
        assert_eq!(
            html.matches(&name).count(),
            2,
            "{} {}: in the list and as a chapter",
            route.method,
            route.path
        );
        for param in route.params {
            assert!(html.contains(&format!("<td><code>{param}</code></td>")), "{param}");
        }
    }
    for code in Code::ALL {
        assert!(
            html.contains(&format!("<a href=\"/docs/errors/{0}\"><code>{0}</code></a>", code.text())),
            "{code:?}"
        );
    }
    for wanted in [
        "<code>user_id</code>",
        "<code>rotated_token</code>",
        "Needs <code>sessions:write</code>",
        "Idempotency-Key",
    ] {
        assert!(html.contains(wanted), "{wanted}");
    }
}

#[tokio::test]
async fn pages_load_nothing_from_elsewhere_and_run_nothing() {
    let world = World::new().await;
    for path in ["/docs", "/docs/errors/session_idle"] {
        let answer = world.call(Method::GET, path).no_key().send().await;
        // An address in an example is a text, and is loaded by nobody.
        let html = answer.text().replace("https://app.example", "");
        for banned in
            ["<script", "http://", "https://", "style=", "<img", "<iframe", "javascript:", "@import", " on"]
        {
            let found = html.find(banned).filter(|_| banned != " on" || html.contains(" onclick"));
            assert!(found.is_none(), "{path}: {banned}");
        }
        assert_eq!(html.matches("<link ").count(), 1);
        let csp = "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
        assert_eq!(answer.header("content-security-policy"), csp);
    }
    let style = world.call(Method::GET, "/docs/style.css").no_key().send().await;
    assert_eq!((style.status.as_u16(), style.header("content-type")), (200, "text/css; charset=utf-8"));
    assert!(!style.text().contains("url("));
}

#[tokio::test]
async fn every_code_has_a_page_for_people_and_for_programs() {
    let world = World::new().await;
    for code in Code::ALL {
        let path = format!("/docs/errors/{}", code.text());
        let page = |accept: &str| {
            let call = world.call(Method::GET, &path).no_key();
            if accept.is_empty() { call } else { call.header("accept", accept) }
        };
        for accept in
            ["", "*/*", "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8", "text/html, application/json"]
        {
            let answer = page(accept).send().await;
            assert_eq!(answer.header("content-type"), "text/html; charset=utf-8", "{accept}");
            assert!(answer.text().contains(&format!("<h1><code>{}</code></h1>", code.text())));
            assert!(answer.text().contains("What to do") && answer.text().contains("Where it is met"));
        }
        for accept in ["application/json", "application/problem+json;q=0.9"] {
            let body = page(accept).send().await.expect(200);
            assert_eq!((&body["code"], &body["status"]), (&json!(code.text()), &json!(code.status())));
            assert_eq!((&body["means"], &body["remedy"]), (&json!(code.means()), &json!(code.remedy())));
            assert!(!body["met"].as_array().unwrap().is_empty(), "{code:?}");
        }
    }
    for wrong in ["nonsense", "SESSION_IDLE", "%3Cscript%3E", "%ff"] {
        world.get(&format!("/docs/errors/{wrong}")).await.refused(404, "not_found");
    }
    let met = world.call(Method::GET, "/docs/errors/session_idle").header("accept", "application/json");
    assert!(met.send().await.expect(200)["met"].to_string().contains("POST /v1/sessions/validate"));
}

#[tokio::test]
async fn a_path_cannot_write_into_a_page() {
    let world = World::new().await;
    let answer = world.get("/docs/errors/%3Cimg%20src=x%3E").await;
    answer.refused(404, "not_found");
    assert!(!answer.text().contains("<img"));
}
