//! A logout ends the session, clears what was set, and is the same when it comes twice.

use super::{Browser, CSRF, SESSION, rotating, set_cookies, world, world_of};
use handstamp_core::time::Span;
use handstamp_server::http::browser::Browsers;
use http::Method;

const OUT: &str = "/v1/auth/logout";
const CLEARED: [&str; 2] = [
    "__Host-handstamp=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax; Secure",
    "XSRF-TOKEN=; Path=/; Max-Age=0; SameSite=Lax; Secure",
];

#[tokio::test]
async fn it_ends_the_session_and_clears_both_cookies() {
    let world = world().await;
    let mut browser = Browser::of(&world, "ada").await;
    let other_tab = browser.tab();
    let token = browser.session.clone().unwrap();
    let answer = browser.post(OUT).await;
    assert_eq!((answer.status.as_u16(), answer.body.len()), (204, 0));
    assert_eq!(set_cookies(&answer), CLEARED);
    assert_eq!(answer.header("clear-site-data"), "");
    assert!(browser.session.is_none() && browser.csrf.is_none());
    assert_eq!(world.verdict(&token).await, "session_revoked");
    // Another tab still has both: it is told, and may log out once more.
    other_tab.call(Method::GET, "/v1/auth/session").send().await.refused(401, "session_revoked");
    for tab in
        [other_tab, Browser { world: &world, session: Some("nonsense".to_owned()), csrf: None }, browser]
    {
        let answer = tab.change(Method::POST, OUT).send().await;
        assert_eq!(
            (answer.status.as_u16(), set_cookies(&answer)),
            (204, CLEARED.map(str::to_owned).to_vec())
        );
    }
}

#[tokio::test]
async fn a_token_that_was_rotated_away_ends_the_session_too() {
    let world = rotating().await;
    let mut browser = Browser::of(&world, "ada").await;
    let stale = browser.tab();
    world.advance(Span::secs(11));
    browser.get("/v1/auth/session").await.expect(200);
    browser.get("/v1/auth/session").await.expect(200);
    world.advance(Span::minutes(5));
    let answer = stale.change(Method::POST, OUT).send().await;
    assert_eq!(answer.status.as_u16(), 204);
    let code = world.verdict(browser.session.as_deref().unwrap()).await;
    assert_eq!(code, "session_revoked");
}

#[tokio::test]
async fn the_browser_is_asked_to_forget_the_rest_where_it_is_configured() {
    let world = world_of(None, Browsers { clear_site_data: true, ..Browsers::default() }).await;
    let mut browser = Browser::of(&world, "ada").await;
    assert_eq!(browser.post(OUT).await.header("clear-site-data"), "\"cookies\", \"storage\"");
}

#[tokio::test]
async fn a_logout_that_the_store_cannot_keep_is_no_logout() {
    let world = world().await;
    let mut browser = Browser::of(&world, "ada").await;
    world.app.close().await;
    let answer = browser.post(OUT).await;
    answer.refused(503, "store_unavailable");
    assert!(set_cookies(&answer).is_empty() && browser.session.is_some());
    let names = [SESSION, CSRF];
    assert!(names.iter().all(|name| browser.cookies().contains(name)));
}

#[tokio::test]
async fn a_body_is_refused() {
    let world = world().await;
    let browser = Browser::of(&world, "ada").await;
    let call = browser.change(Method::POST, OUT).header("content-type", "application/json");
    call.body("{\"everywhere\":true}").send().await.refused(400, "invalid_request");
    assert_eq!(world.verdict(browser.session.as_deref().unwrap()).await, "valid");
}
