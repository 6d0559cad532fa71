//! What a `Cookie` header may be: doubled, enormous, garbled. A refusal, never a panic, never a change.

use super::{Browser, CHANGES, LOOKS, set_cookies, stored, world};
use http::{HeaderValue, Method};

#[tokio::test]
async fn what_no_browser_sends_is_nobody() {
    let world = world().await;
    let made = world.login("ada").await;
    let good = made.token.clone();
    let before = stored(&world, &made.id).await;
    let long = "a".repeat(8 << 10);
    let cases: Vec<(String, &str)> = vec![
        (format!("__Host-handstamp={good}; __Host-handstamp={good}"), "two of the name"),
        (format!("__Host-handstamp={good}; __Host-handstamp="), "a second, empty one"),
        (format!("__Host-handstamp={long}"), "eight KiB"),
        (format!("__Host-handstamp={good}{long}"), "a good one, and eight KiB"),
        (format!("__host-handstamp={good}"), "another case"),
        (format!("__Host-handstamp ={good}"), "a space before the sign"),
        (format!("={good}"), "no name"),
        (format!("=__Host-handstamp={good}"), "a name in a value"),
        (format!("$Version=1; __Host-handstamp=\"{good}\""), "quoted, as RFC 2965 had it"),
        (format!("__Host-handstamp=%68{}", &good[1..]), "percent-encoded"),
        (format!("a=1, __Host-handstamp={good}"), "a comma between cookies"),
        ("__Host-handstamp".to_owned(), "no sign"),
        (String::new(), "nothing"),
    ];
    for (cookie, what) in cases {
        for path in LOOKS {
            let answer = world.call(Method::GET, path).no_key().header("cookie", &cookie).send().await;
            assert_eq!(answer.status.as_u16(), 401, "{what}: {}", answer.text());
            assert!(set_cookies(&answer).is_empty(), "{what}");
        }
        for (method, path) in CHANGES {
            let answer = world.call(method, path).no_key().header("cookie", &cookie).send().await;
            // Nobody is logged in with what is no cookie of ours; but which of two is meant is not known.
            let unclear = what.starts_with("two") || what.contains("second") || what.contains("KiB");
            let expected = if path == "/v1/auth/logout" && !unclear { 204 } else { 401 };
            assert_eq!(answer.status.as_u16(), expected, "{what} {path}: {}", answer.text());
        }
    }
    assert_eq!(stored(&world, &made.id).await, before);
}

#[tokio::test]
async fn bytes_that_are_no_text() {
    let world = world().await;
    let made = world.login("ada").await;
    for bytes in [&b"__Host-handstamp=\xff\xfe"[..], b"\xc2\xa0__Host-handstamp=x", b"__Host-handstamp=a\tb"]
    {
        let value = HeaderValue::from_bytes(bytes).unwrap();
        let answer =
            world.call(Method::GET, "/v1/auth/session").no_key().header_bytes("cookie", value).send().await;
        assert_eq!(answer.status.as_u16(), 401, "{bytes:?}");
    }
    assert_eq!(world.verdict(&made.token).await, "valid");
}

#[tokio::test]
async fn other_cookies_are_none_of_our_business() {
    let world = world().await;
    let browser = Browser::of(&world, "ada").await;
    let session = browser.session.clone().unwrap();
    for cookie in [
        format!("a=1;__Host-handstamp={session};b=2"),
        format!("a;  __Host-handstamp={session}  ; =; ;;"),
        format!("__Host-handstamp2=x; x__Host-handstamp=y; __Host-handstamp={session}"),
        format!("XSRF-TOKEN=a; XSRF-TOKEN=b; __Host-handstamp={session}"),
    ] {
        let answer =
            world.call(Method::GET, "/v1/auth/session").no_key().header("cookie", &cookie).send().await;
        answer.expect(200);
    }
    // Two header lines are one list.
    let call = world.call(Method::GET, "/v1/auth/session").no_key().header("cookie", "a=1");
    call.add_header("cookie", &format!("__Host-handstamp={session}")).send().await.expect(200);
    let call = world.call(Method::GET, "/v1/auth/session").no_key();
    let call = call.header("cookie", &format!("__Host-handstamp={session}"));
    call.add_header("cookie", &format!("__Host-handstamp={session}"))
        .send()
        .await
        .refused(401, "session_not_found");
}

/// Session tokens belong into the cookie, access keys nowhere near a browser.
#[tokio::test]
async fn a_key_or_a_token_elsewhere_is_no_cookie() {
    let world = world().await;
    let made = world.login("ada").await;
    let call = |name, value: &str| world.call(Method::GET, "/v1/auth/session").no_key().header(name, value);
    call("authorization", &format!("Bearer {}", made.token)).send().await.refused(401, "token_missing");
    call("session", &made.token).send().await.refused(401, "token_missing");
    call("authorization", &format!("Bearer {}", world.key)).send().await.refused(401, "token_missing");
}
