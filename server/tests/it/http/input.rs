//! Input that is not what it should be: refused clearly, pointed at, never repeated, never a panic.

use crate::world::{Answer, World};
use http::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

async fn send(world: &World, path: &str, body: impl Into<bytes::Bytes>) -> Answer {
    let call = world.call(Method::POST, path).header("content-type", "application/json");
    call.body(body).send().await
}

#[tokio::test]
async fn what_is_wrong_is_pointed_at_and_told() {
    let world = World::new().await;
    for (body, pointer, says) in [
        (r#"{"user_id":"ada","colour":1}"#, "/colour", "known are `user_id`, `tags`"),
        (r#"{"tags":[]}"#, "/user_id", "is missing"),
        (r#"{"user_id":7}"#, "/user_id", "expected a text, not a number"),
        (r#"{"user_id":null}"#, "/user_id", "expected a text, not null"),
        (r#"{"user_id":"ada","tags":{}}"#, "/tags", "expected a list, not an object"),
        (r#"{"user_id":"ada","tags":[true]}"#, "/tags/0", "expected a text, not true or false"),
        (
            r#"{"user_id":"ada","expires_in":"1"}"#,
            "/expires_in",
            "expected a whole number, 0 or more, not a text",
        ),
        (r#"{"user_id":"ada","expires_in":-1}"#, "/expires_in", "expected a whole number, 0 or more"),
        (r#"{"user_id":"ada","expires_in":1.5}"#, "/expires_in", "expected a whole number, 0 or more"),
        (r#"{"user_id":"ada","expires_in":18446744073709551616}"#, "/expires_in", "expected a whole number"),
        (r#"{"user_id":"ada","user_id":"bob"}"#, "/user_id", "is there twice"),
        (r#"{"user_id":"ada","ip":"203.0.113.007"}"#, "/ip", "write it such as 203.0.113.7"),
        (r#"{"user_id":"a\nb"}"#, "/user_id", "no control characters"),
        (r#"["ada"]"#, "", "expected an object, not a list"),
        (r#""ada""#, "", "expected an object, not a text"),
        ("null", "", "expected an object, not null"),
        ("", "", "the body is empty"),
        ("{", "", "not well-formed JSON"),
        ("nonsense", "", "at line 1 column 2"),
        (r#"{"user_id":"ada"} {}"#, "", "something after the JSON object"),
        (r#"{"user_id":"ada","data":{"a":1,}}"#, "/data", "not well-formed JSON"),
        (
            r#"{"user_id":"ada","expires_in":1e999}"#,
            "/expires_in",
            "not well-formed JSON: number out of range",
        ),
    ] {
        let problem = send(&world, "/v1/sessions", body).await.invalid(pointer);
        let message = problem["errors"][0]["message"].as_str().unwrap();
        assert!(message.contains(says), "{body}: {message}");
        assert!(problem["detail"].as_str().unwrap().ends_with(message), "{problem}");
    }
}

#[tokio::test]
async fn nested_objects_are_objects_too() {
    let world = World::new().await;
    let made = world.login("ada").await;
    let path = format!("/v1/sessions/{}", made.id);
    world.patch(&path, json!({ "tags": [["a:b"], []] })).await.invalid("/tags");
    world
        .post("/v1/sessions/validate-batch", json!({ "requests": [[made.token]] }))
        .await
        .invalid("/requests/0");
    world.post("/v1/sessions/update", json!({ "filter": ["ada"], "update": {} })).await.invalid("/filter");
    world.patch(&path, json!({ "tags": { "add": ["a:b"], "set": [] } })).await.invalid("/tags/set");
    let words = json!({ "token": "x", "rotate": "always" });
    let problem = world.post("/v1/sessions/validate", words).await.invalid("/rotate");
    assert_eq!(problem["errors"][0]["message"], "expected `never` or `auto`");
}

#[tokio::test]
async fn text_that_is_no_utf8_is_refused() {
    let world = World::new().await;
    for body in [
        &b"{\"user_id\":\"\xff\"}"[..],
        b"\xff",
        b"{\"user_id\":\"a\",\"data\":\"\xc3\"}",
        b"{\"\xff\":1}",
        b"\xef\xbb\xbf{}",
    ] {
        let problem = send(&world, "/v1/sessions", body.to_vec()).await.refused(400, "invalid_request");
        assert!(problem["detail"].as_str().unwrap().contains("not well-formed JSON"), "{problem}");
    }
    send(&world, "/v1/sessions", r#"{"user_id":"\ud800"}"#).await.refused(400, "invalid_request");
}

fn nested(depth: usize) -> String {
    format!("{}{}", "[".repeat(depth), "]".repeat(depth))
}

#[tokio::test]
async fn deep_data_is_refused_before_anybody_chokes_on_it() {
    let world = World::new().await;
    let with = |data: String| format!(r#"{{"user_id":"ada","data":{data}}}"#);
    send(&world, "/v1/sessions", with(nested(64))).await.expect(201);
    let problem = send(&world, "/v1/sessions", with(nested(65))).await.refused(400, "invalid_request");
    assert!(problem["detail"].as_str().unwrap().contains("nested too deep"), "{problem}");
    // Also when the deepest is an object with nothing in it.
    let object = |lists: usize| with(format!("{}{{}}{}", "[".repeat(lists), "]".repeat(lists)));
    send(&world, "/v1/sessions", object(63)).await.expect(201);
    send(&world, "/v1/sessions", object(64)).await.refused(400, "invalid_request");
    send(&world, "/v1/sessions", with(nested(8_000))).await.refused(400, "invalid_request");
    send(&world, "/v1/sessions", nested(30_000)).await.refused(400, "invalid_request");
    send(&world, "/v1/sessions", format!(r#"{{"user_id":{}}}"#, nested(20_000))).await.invalid("/user_id");
    let unknown = format!(r#"{{"user_id":"ada","x":{}}}"#, nested(20_000));
    send(&world, "/v1/sessions", unknown).await.invalid("/x");
}

#[tokio::test]
async fn data_is_sound_json() {
    let world = World::new().await;
    let with = |data: &str| format!(r#"{{"user_id":"ada","data":{data}}}"#);
    for (data, pointer) in [
        (r#"{"a":1,"a":2}"#, "/data"),
        (r#"{"x":[{"b":{"a":1,"a":2}}]}"#, "/data/x/0/b"),
        ("1e400", "/data"),
        (r#"{"n":-1e999}"#, "/data/n"),
    ] {
        let problem = send(&world, "/v1/sessions", with(data)).await.refused(400, "invalid_request");
        assert!(problem["errors"][0]["pointer"].as_str().unwrap().starts_with(pointer), "{data}: {problem}");
    }
    for data in
        ["null", "0", r#""text""#, "[]", r#"{"a~b/c":{"":[1.5e300,12345678901234567890123,true,null]}}"#]
    {
        let made = send(&world, "/v1/sessions", with(data)).await;
        made.expect(201);
        let end = if data == "null" { "\"data\":null," } else { data };
        assert!(made.text().contains(end), "{data}: {}", made.text());
    }
}

#[tokio::test]
async fn headers_that_may_come_once_come_once() {
    let world = World::new().await;
    let create = || world.call(Method::POST, "/v1/sessions").json(&json!({ "user_id": "ada" }));
    let long = "k".repeat(256);
    for value in ["", &long, "\u{e4}"] {
        create().header("idempotency-key", value).send().await.invalid("Idempotency-Key");
    }
    create().header("idempotency-key", &"k".repeat(255)).send().await.expect(201);
    let twice = create().header("idempotency-key", "a").add_header("idempotency-key", "b");
    twice.send().await.invalid("Idempotency-Key");
    let named = || world.call(Method::GET, "/v1/sessions").key(&world.operator);
    for value in ["", "shop", "shop/", "Shop/prd", "\u{e4}/b"] {
        named().header("x-handstamp-env", value).send().await.invalid("X-Handstamp-Env");
    }
    let twice = named().header("x-handstamp-env", "default/prd").add_header("x-handstamp-env", "default/prd");
    twice.send().await.invalid("X-Handstamp-Env");
}

/// Sends bytes, ends its side, and reads the whole answer.
async fn raw(world: &World, bytes: &str) -> (String, Value) {
    let mut tcp = tokio::net::TcpStream::connect(world.address).await.unwrap();
    tcp.write_all(bytes.as_bytes()).await.unwrap();
    tcp.shutdown().await.unwrap();
    let mut answer = String::new();
    tcp.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, "null"));
    (head.to_owned(), serde_json::from_str(body).unwrap())
}

#[tokio::test]
async fn a_body_that_breaks_off_is_a_bad_request() {
    let world = World::new().await;
    for path in ["/v1/sessions", "/v1/sessions/validate"] {
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: {}\r\nContent-Type: application/json\r\n",
            world.key
        );
        for rest in [
            "Transfer-Encoding: chunked\r\n\r\n5\r\n{\"use\r\nnonsense\r\n",
            "Transfer-Encoding: chunked\r\n\r\n5\r\n{\"use\r\n",
            "Content-Length: 100\r\n\r\n{\"user_id\":",
        ] {
            let (line, problem) = raw(&world, &format!("{head}{rest}")).await;
            if line.is_empty() {
                continue; // the client had left; nobody is told anything
            }
            assert!(line.starts_with("HTTP/1.1 400"), "{rest}: {line}");
            assert_eq!(problem["code"], "request_malformed", "{rest}");
        }
    }
    world.login("ada").await;
}

/// A body that does not say how long it is has the same bound.
#[tokio::test]
async fn chunks_have_a_greatest_size_together() {
    let world = World::new().await;
    let send = async |length: usize, end: &str| {
        let json = r#"{"token":""}"#;
        let text = " ".repeat(length - json.len()) + json;
        let chunks: String = text
            .as_bytes()
            .chunks(5_000)
            .map(|chunk| format!("{:x}\r\n{}\r\n", chunk.len(), std::str::from_utf8(chunk).unwrap()))
            .collect();
        let head = format!(
            "POST /v1/sessions/validate HTTP/1.1\r\nHost: x\r\nAuthorization: {}\r\nConnection: close\r\n\
             Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}{end}",
            world.key
        );
        raw(&world, &head).await
    };
    let (line, verdict) = send(64 * 1024, "0\r\n\r\n").await;
    assert!(line.starts_with("HTTP/1.1 200"), "{line}");
    assert_eq!(verdict["code"], "token_missing");
    // The second never ends: it is refused without being waited for, or kept.
    for end in ["0\r\n\r\n", ""] {
        let (line, problem) = send(64 * 1024 + 1, end).await;
        assert!(line.starts_with("HTTP/1.1 413"), "{line}");
        assert_eq!(problem["code"], "body_too_large");
    }
}
