//! A session as it goes on behind a proxy: its cookie is replaced or lives longer, and it pays for its requests.

use super::{PATH, trusted};
use handstamp_core::policy::modes::Rate;
use handstamp_core::policy::setting::{Budget, Every};
use handstamp_core::policy::{Policy, Rules};
use handstamp_core::time::Span;

#[tokio::test]
async fn the_cookie_is_replaced_where_a_proxy_passes_it_on() {
    let rules = Rules { rotation_grace: Some(Span::secs(60)), ..Rules::default() };
    let world = trusted(Some(Policy::from(rules))).await;
    let made = world.login("ada").await;
    let ask = |wish: &str, token: &str| world.ask(&format!("{PATH}{wish}")).cookie(token);
    assert_eq!(ask(";rotate=auto", &made.token).send().await.set(), None, "no time has come");
    world.advance(Span::minutes(16));
    for wish in ["", ";rotate=never"] {
        assert_eq!(ask(wish, &made.token).send().await.set(), None, "nobody said that it arrives");
    }
    // In a header it could not be replaced.
    let in_header = world.ask(&format!("{PATH};rotate=auto")).header("session", &made.token).send().await;
    in_header.passes();
    assert_eq!(in_header.set(), None);

    let answer = ask(";rotate=auto", &made.token).send().await;
    let (next, line) = answer.set().expect("a new one");
    assert_ne!(next, made.token);
    for part in ["; Path=/", "; HttpOnly", "; Secure", "; SameSite=Lax", "; Max-Age="] {
        assert!(line.contains(part), "{line}");
    }
    // Whether it arrives or not, the old one is good until somebody shows the new one, and leads to the same.
    for _ in 0..20 {
        world.advance(Span::minutes(10));
        let again = ask(";rotate=auto", &made.token).send().await;
        again.passes();
        assert_eq!(again.set().unwrap().0, next);
        ask("", &made.token).send().await.passes();
    }
    ask("", &next).send().await.passes();
    world.advance(Span::secs(59));
    ask("", &made.token).send().await.passes();
    world.advance(Span::secs(2));
    ask("", &made.token).send().await.denied(401, "token_reused");
    ask("", &next).send().await.denied(401, "token_reused");
}

#[tokio::test]
async fn a_token_that_stays_gets_a_longer_life_and_one_that_rotates_is_never_put_back() {
    let still = Rules { rotate_every: Some(Every(None)), ..Rules::default() };
    let world = trusted(Some(Policy::from(still))).await;
    let made = world.login("ada").await;
    let path = format!("{PATH};rotate=auto");
    let mut sent = 0;
    for _ in 0..12 {
        world.advance(Span::secs(30));
        let answer = world.ask(&path).cookie(&made.token).send().await;
        answer.passes();
        if let Some((token, line)) = answer.set() {
            assert_eq!(token, made.token);
            assert!(line.contains("Max-Age=86400;"), "{line}");
            sent += 1;
        }
    }
    assert!((6..=7).contains(&sent), "once a minute, not {sent} times in six");

    let world = trusted(None).await;
    let made = world.login("ada").await;
    for _ in 0..14 {
        world.advance(Span::minutes(1));
        assert_eq!(world.ask(&path).cookie(&made.token).send().await.set(), None);
    }
}

#[tokio::test]
async fn a_session_pays_for_its_requests_and_an_address_for_failures() {
    let rate = |requests| Rate { requests, time: Span::hours(1) };
    let rules = Rules { rate_limit: Some(Budget(Some(rate(2)))), ..Rules::default() };
    let world = trusted(Some(Policy::from(rules))).await;
    world.app.set_anonymous_limit(Some(rate(3)));
    let made = world.login("ada").await;
    for left in ["1", "0"] {
        let answer = world.ask(PATH).cookie(&made.token).send().await;
        answer.passes();
        assert_eq!((answer.header("x-ratelimit-limit"), answer.header("x-ratelimit-remaining")), ("2", left));
    }
    let answer = world.ask(PATH).cookie(&made.token).send().await;
    answer.denied(429, "rate_limit_exceeded");
    assert_eq!(answer.header("retry-after"), "1800");

    let other = world.login("bob").await;
    let fail = |from: &str| world.ask(PATH).cookie("nonsense").header("x-forwarded-for", from).send();
    for _ in 0..3 {
        fail("198.51.100.1").await.denied(401, "session_not_found");
    }
    fail("198.51.100.1").await.denied(429, "rate_limit_exceeded");
    fail("198.51.100.2").await.denied(401, "session_not_found");
    let good = world.ask(PATH).cookie(&other.token).header("x-forwarded-for", "198.51.100.1").send().await;
    good.passes();
    // An address that nobody says is not the proxy's: else all clients had one budget.
    for _ in 0..9 {
        world.ask(PATH).cookie("nonsense").send().await.denied(401, "session_not_found");
    }
}
