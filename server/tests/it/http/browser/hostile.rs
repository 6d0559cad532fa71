//! Requests that no page of the application sends, against every call of the door: doubled and enormous cookies, absurd
//! origins, control characters. Each is refused, none is an accident, and nothing that is stored changes.

use super::{Browser, CHANGES, LOOKS, PAGE, stored, world};
use crate::world::{Call, World};
use http::{HeaderValue, Method};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Two users who are logged in, and what is stored of them.
struct Pair<'a> {
    ada: Browser<'a>,
    eve: Browser<'a>,
    ids: [String; 2],
    before: Vec<(Value, Value)>,
}

impl<'a> Pair<'a> {
    async fn of(world: &'a World) -> Pair<'a> {
        let (ada, eve) = (Browser::of(world, "ada").await, Browser::of(world, "eve").await);
        let mut ids = Vec::new();
        for browser in [&ada, &eve] {
            let verdict = world.validate(browser.session.as_deref().unwrap()).await;
            ids.push(verdict["session"]["id"].as_str().unwrap().to_owned());
        }
        let ids: [String; 2] = ids.try_into().unwrap();
        let before = Pair::now(world, &ids).await;
        Pair { ada, eve, ids, before }
    }

    async fn now(world: &World, ids: &[String]) -> Vec<(Value, Value)> {
        let mut all = Vec::new();
        for id in ids {
            all.push(stored(world, id).await);
        }
        all
    }

    /// Nothing has changed, and both can go on.
    async fn untouched(mut self, world: &World) {
        assert_eq!(Pair::now(world, &self.ids).await, self.before);
        self.ada.post("/v1/auth/session/refresh").await.expect(200);
        self.eve.get("/v1/auth/session").await.expect(200);
    }

    /// Every call of the door; those that name a session name eve's.
    fn calls(&self) -> Vec<(Method, String)> {
        let eve = format!("/v1/auth/sessions/{}", self.ids[1]);
        let named = |path: &str| if path.contains("/ses_") { eve.clone() } else { path.to_owned() };
        let looks = LOOKS.map(|path| (Method::GET, path.to_owned()));
        looks.into_iter().chain(CHANGES.map(|(method, path)| (method, named(path)))).collect()
    }
}

/// A call without anything that a browser adds by itself.
fn bare<'a>(world: &'a World, method: &Method, path: &str) -> Call<'a> {
    world.call(method.clone(), path).no_key()
}

/// With the right CSRF token and from the right page: the cookies alone are wrong.
#[tokio::test]
async fn cookies_that_are_doubled_or_enormous() {
    let world = world().await;
    let pair = Pair::of(&world).await;
    let (ada, eve) = (pair.ada.session.clone().unwrap(), pair.eve.session.clone().unwrap());
    let csrf = pair.ada.csrf.clone().unwrap();
    let long = "v".repeat(8 << 10);
    let cookie = |value: &str| format!("__Host-handstamp={value}");
    let cases: Vec<(&str, Vec<String>)> = vec![
        ("hers and another's", vec![format!("{}; {}", cookie(&ada), cookie(&eve))]),
        ("another's and hers", vec![format!("{}; {}", cookie(&eve), cookie(&ada))]),
        ("hers twice", vec![format!("{}; {}", cookie(&ada), cookie(&ada))]),
        ("in two headers", vec![cookie(&ada), cookie(&eve)]),
        ("hers and an empty one", vec![format!("{}; {}", cookie(""), cookie(&ada))]),
        ("hers and hundreds of others", vec![cookie(&ada), vec![cookie("x"); 300].join(";")]),
        ("8 KiB", vec![cookie(&long)]),
        ("hers and 8 KiB behind it", vec![cookie(&format!("{ada}{long}"))]),
        ("hers, and 8 KiB in another of the name", vec![cookie(&ada), cookie(&long)]),
        ("a blank in it", vec![cookie(&format!("{} {}", &ada[..20], &ada[20..]))]),
        ("hers in a letter that is no ASCII", vec![cookie(&format!("{ada}\u{e9}"))]),
    ];
    for (what, cookies) in cases {
        for (method, path) in pair.calls() {
            let mut call = bare(&world, &method, &path).header("x-xsrf-token", &csrf);
            call = call.header("sec-fetch-site", "same-origin").header("origin", PAGE);
            for cookie in &cookies {
                call = call.add_header("cookie", cookie);
            }
            call.send().await.refused(401, "session_not_found");
            assert_eq!(Pair::now(&world, &pair.ids).await, pair.before, "{what}: {method} {path}");
        }
    }
    pair.untouched(&world).await;
}

/// Cookie and CSRF token are right: the page is not.
#[tokio::test]
async fn origins_that_are_absurd() {
    let world = world().await;
    let pair = Pair::of(&world).await;
    let long = format!("https://{}.example", "a".repeat(8 << 10));
    let absurd: Vec<Vec<&[u8]>> = vec![
        vec![b"null"],
        vec![b"NULL"],
        vec![b"null", PAGE.as_bytes()],
        vec![PAGE.as_bytes(), b"null"],
        vec![PAGE.as_bytes(), PAGE.as_bytes()],
        vec![b""],
        vec![b"*"],
        vec![b"https://"],
        vec![b"//app.example.org"],
        vec![b"app.example.org"],
        vec![b"https://app.example.org/"],
        vec![b"https://app.example.org/path"],
        vec![b"https://app.example.org:443"],
        vec![b"https://app.example.org:444"],
        vec![b"https://app.example.org:0443"],
        vec![b"http://app.example.org"],
        vec![b"HTTPS://APP.EXAMPLE.ORG"],
        vec![b"https://app.example.org."],
        vec![b"https://app.example.org.evil.example"],
        vec![b"https://evilapp.example.org"],
        vec![b"https://app-example.org"],
        vec![b"https://app.example.org@evil.example"],
        vec![b"https://evil.example#https://app.example.org"],
        vec![b"https://evil.example\\.app.example.org"],
        vec![b"https://app.example.org, https://evil.example"],
        vec![b"https://app.example.org https://evil.example"],
        vec![b"https://%61pp.example.org"],
        vec![b"https://\xc2\xa0app.example.org"],
        vec![b"\xff\xfe"],
        vec![b"file://"],
        vec![b"chrome-extension://abcdefghijklmnop"],
        vec![b"javascript:alert(1)"],
        vec![b"https://[::1"],
        vec![b"https://[::1]:99999"],
        vec![long.as_bytes()],
    ];
    for origins in &absurd {
        for site in ["same-site", "cross-site", "none", "", "same-origin, same-site"] {
            for (method, path) in pair.calls() {
                let what =
                    format!("{method} {path} {site:?} {:?}", origins.concat().escape_ascii().to_string());
                let mut call = bare(&world, &method, &path).header("cookie", &pair.ada.cookies());
                call = call.header("x-xsrf-token", pair.ada.csrf.as_deref().unwrap());
                if !site.is_empty() {
                    call = call.header("sec-fetch-site", site);
                }
                for origin in origins {
                    call = call.add_header_bytes("origin", HeaderValue::from_bytes(origin).unwrap());
                }
                let answer = call.send().await;
                if method == Method::GET {
                    // Read by whoever has the cookie; CORS keeps the answer from the page.
                    assert!(answer.status.is_success(), "{what}: {}", answer.text());
                } else {
                    answer.refused(403, "origin_not_allowed");
                }
                assert_eq!(answer.header("access-control-allow-origin"), "", "{what}");
            }
        }
    }
    pair.untouched(&world).await;
}

/// What would end a line, or a text in other programs, ends the request: nothing of it is served.
#[tokio::test]
async fn control_characters_in_any_header() {
    let world = world().await;
    let pair = Pair::of(&world).await;
    let (cookies, csrf) = (pair.ada.cookies(), pair.ada.csrf.clone().unwrap());
    for control in ["\r", "\n", "\0", "\r\r\n", "\n\r\n", "\u{b}", "\u{c}", "\u{7f}", "\u{1b}"] {
        for (method, path) in pair.calls() {
            for header in
                ["Cookie", "Origin", "Sec-Fetch-Site", "X-XSRF-TOKEN", "Session", "X-Publishable-Key"]
            {
                // Good as it would be without it.
                let fields = [
                    ("Cookie", cookies.as_str()),
                    ("Origin", PAGE),
                    ("Sec-Fetch-Site", "same-origin"),
                    ("X-XSRF-TOKEN", &csrf),
                    ("Session", ""),
                    ("X-Publishable-Key", ""),
                ];
                let mut request = format!("{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n");
                for (name, value) in
                    fields.iter().filter(|(name, value)| *name == header || !value.is_empty())
                {
                    let control = if *name == header { control } else { "" };
                    request += &format!("{name}: {value}{control}\r\n");
                }
                let answer = raw(&world, &(request + "\r\n")).await;
                assert!(answer.starts_with("HTTP/1.1 400 "), "{header} {control:?}: {answer}");
                assert!(
                    !answer.to_ascii_lowercase().contains("set-cookie"),
                    "{header} {control:?}: {answer}"
                );
            }
        }
    }
    pair.untouched(&world).await;
}

/// Sends these bytes and reads until the server ends the connection.
async fn raw(world: &World, request: &str) -> String {
    let mut tcp = TcpStream::connect(world.address).await.unwrap();
    tcp.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let ends = tcp.read_to_end(&mut answer);
    tokio::time::timeout(crate::world::PATIENCE, ends).await.expect("the connection goes on").unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}
