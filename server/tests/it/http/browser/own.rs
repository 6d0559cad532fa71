//! Where else am I logged in? Lists, ends one, ends the others; and who may.

use super::{Browser, rotating, set_cookies, world, world_of};
use crate::world::World;
use handstamp_core::policy::Policy;
use handstamp_core::time::Span;
use handstamp_server::http::browser::Browsers;
use http::Method;
use serde_json::{Value, json};

const OTHERS: &str = "/v1/auth/sessions/revoke-others";

async fn listed(browser: &mut Browser<'_>) -> Vec<Value> {
    browser.get("/v1/auth/sessions").await.expect(200)["items"].as_array().unwrap().clone()
}

async fn roomy() -> World {
    world_of(
        Some(Policy::default().with(|rules| rules.max_sessions = Some(Policy::COUNT))),
        Browsers::default(),
    )
    .await
}

#[tokio::test]
async fn one_s_own_sessions_and_nobody_else_s() {
    let world = roomy().await;
    let agent = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";
    let mut phone = Browser::of(&world, "ada").await;
    world.advance(Span::secs(5));
    let mut laptop = Browser::with(
        &world,
        json!({ "user_id": "ada", "ip": "203.0.113.7", "user_agent": agent, "data": { "s": 1 } }),
    )
    .await;
    Browser::of(&world, "eve").await;
    let seen = listed(&mut laptop).await;
    assert_eq!(seen.len(), 2);
    assert_eq!((&seen[0]["current"], &seen[1]["current"]), (&json!(true), &json!(false)));
    assert_eq!(seen[0]["client"]["browser"], "Firefox");
    assert_eq!(seen[0]["created_at"], "2026-01-01T00:00:05.000Z");
    assert!(seen[0].get("data").is_none() && seen[0].get("token").is_none());
    assert_eq!(listed(&mut phone).await[1]["current"], true);
    // Page by page.
    let page = phone.get("/v1/auth/sessions?limit=1").await.expect(200);
    assert_eq!(page["items"].as_array().unwrap().len(), 1);
    let next = page["next_cursor"].as_str().unwrap();
    let rest = phone.get(&format!("/v1/auth/sessions?limit=1&cursor={next}")).await.expect(200);
    assert_eq!(rest["items"][0]["current"], true);
    phone.get("/v1/auth/sessions?cursor=nonsense").await.invalid("cursor");
    let wrong = phone.get("/v1/auth/sessions?user_id=eve").await;
    wrong.refused(400, "invalid_request");
}

#[tokio::test]
async fn one_is_ended_and_only_one_s_own() {
    let world = roomy().await;
    let (mut phone, mut laptop) = (Browser::of(&world, "ada").await, Browser::of(&world, "ada").await);
    let eve = world.login("eve").await;
    let all = listed(&mut laptop).await;
    let other = all.iter().find(|one| one["current"] == false).unwrap()["id"].as_str().unwrap().to_owned();
    let end = async |browser: &Browser<'_>, id: &str| {
        browser.change(Method::DELETE, &format!("/v1/auth/sessions/{id}")).send().await
    };
    end(&laptop, &eve.id).await.refused(404, "not_found");
    end(&laptop, "ses_nonsense").await.refused(404, "not_found");
    assert_eq!(world.verdict(&eve.token).await, "valid");
    assert_eq!(end(&laptop, &other).await.expect(200), json!({ "ended": 1 }));
    assert_eq!(end(&laptop, &other).await.expect(200), json!({ "ended": 0 }));
    phone.get("/v1/auth/session").await.refused(401, "session_revoked");
    // Its own: logged out.
    let mine = listed(&mut laptop).await[0]["id"].as_str().unwrap().to_owned();
    let answer = end(&laptop, &mine).await;
    assert_eq!((answer.expect(200), set_cookies(&answer).len()), (json!({ "ended": 1 }), 2));
    laptop.get("/v1/auth/session").await.refused(401, "session_revoked");
}

#[tokio::test]
async fn the_others_are_ended() {
    let world = roomy().await;
    let mut laptop = Browser::of(&world, "ada").await;
    let mut others = Vec::new();
    for _ in 0..5 {
        others.push(world.login("ada").await.token);
    }
    let eve = world.login("eve").await.token;
    assert_eq!(laptop.post(OTHERS).await.expect(200), json!({ "ended": 5 }));
    assert_eq!(laptop.post(OTHERS).await.expect(200), json!({ "ended": 0 }));
    for token in others {
        assert_eq!(world.verdict(&token).await, "session_revoked");
    }
    assert_eq!(world.verdict(&eve).await, "valid");
    laptop.get("/v1/auth/session").await.expect(200);
}

/// Whoever finds an unlocked browser an hour later does not log the user out everywhere else (ASVS 7.5.2).
#[tokio::test]
async fn it_takes_a_fresh_login() {
    let world = roomy().await;
    let mut laptop = Browser::of(&world, "ada").await;
    let phone = world.login("ada").await;
    let end = async |browser: &Browser<'_>| {
        browser.change(Method::DELETE, &format!("/v1/auth/sessions/{}", phone.id)).send().await
    };
    world.advance(Span(Span::hours(1).0 + 1));
    for answer in [laptop.post(OTHERS).await, end(&laptop).await] {
        answer.refused(403, "reauthentication_required");
        assert!(answer.header("www-authenticate").contains("insufficient_user_authentication"), "{answer:?}");
        assert!(answer.header("www-authenticate").contains("max_age=\"3600\""), "{answer:?}");
    }
    assert_eq!(world.verdict(&phone.token).await, "valid");
    // One's own session needs no fresh login to be ended; and a login makes it fresh again.
    let id = listed(&mut laptop).await.into_iter().find(|one| one["current"] == true).unwrap()["id"].clone();
    let id = id.as_str().unwrap().to_owned();
    let done =
        world.patch(&format!("/v1/sessions/{id}"), json!({ "auth": { "level": 1 } })).await.expect(200);
    done["set_cookie"].as_array().unwrap().iter().for_each(|cookie| laptop.keep(cookie.as_str().unwrap()));
    assert_eq!(end(&laptop).await.expect(200), json!({ "ended": 1 }));
    world.advance(Span::hours(2));
    assert_eq!(
        laptop.change(Method::DELETE, &format!("/v1/auth/sessions/{id}")).send().await.expect(200),
        json!({ "ended": 1 })
    );
}

#[tokio::test]
async fn exactly_an_hour_is_still_fresh_and_off_is_always() {
    let world = roomy().await;
    let mut laptop = Browser::of(&world, "ada").await;
    world.advance(Span::hours(1));
    laptop.post(OTHERS).await.expect(200);
    let world = world_of(None, Browsers { fresh_login: None, ..Browsers::default() }).await;
    let mut laptop = Browser::of(&world, "ada").await;
    world.advance(Span::hours(20));
    laptop.post(OTHERS).await.expect(200);
}

/// Support that acts in a user's place does not end the user's other sessions.
#[tokio::test]
async fn an_actor_touches_nothing_but_its_own_session() {
    let world = roomy().await;
    let phone = world.login("ada").await;
    let actor = json!({ "id": "support-7", "reason": "ticket 4711" });
    let mut support = Browser::with(&world, json!({ "user_id": "ada", "actor": actor })).await;
    assert_eq!(support.get("/v1/auth/session").await.expect(200)["session"]["actor"], actor);
    let support_token = support.session.clone().unwrap();
    support.post(OTHERS).await.refused(403, "impersonation_forbidden");
    let end = support.change(Method::DELETE, &format!("/v1/auth/sessions/{}", phone.id)).send().await;
    end.refused(403, "impersonation_forbidden");
    assert_eq!(world.verdict(&phone.token).await, "valid");
    assert_eq!(support.post("/v1/auth/logout").await.status.as_u16(), 204);
    // The history of the session that tried says so.
    world.advance(Span::minutes(2));
    assert!(world.app.tidy().await.is_ok());
    let id = world.validate(support_token.as_str()).await["session_id"].as_str().unwrap().to_owned();
    let events = world.get(&format!("/v1/sessions/{id}/events")).await.expect(200);
    let tried = |event: &&Value| event["code"] == "impersonation_forbidden";
    assert_eq!(events["items"].as_array().unwrap().iter().filter(tried).count(), 2, "{events}");
}

/// A call that may end what asks does not rotate it on the way.
#[tokio::test]
async fn nothing_rotates_here() {
    let world = rotating().await;
    let mut browser = Browser::of(&world, "ada").await;
    world.advance(Span::secs(11));
    let before = browser.session.clone();
    listed(&mut browser).await;
    browser.post(OTHERS).await.expect(200);
    assert_eq!(browser.session, before);
}

#[tokio::test]
async fn an_event_says_that_the_client_did_it() {
    let world = world().await;
    let mut laptop = Browser::of(&world, "ada").await;
    let phone = world.login("ada").await;
    laptop.post(OTHERS).await.expect(200);
    let events = world.get(&format!("/v1/sessions/{}/events", phone.id)).await.expect(200);
    let ended = &events["items"][1];
    assert_eq!((&ended["type"], &ended["by"]), (&json!("session.ended"), &json!("client")), "{events}");
}
