//! One POST for everything: keys, forms of bodies, nulls, budgets, and accidents that are no verdicts.

use super::{failed, fails, good, login, run, text};
use crate::world::World;
use handstamp_core::time::Span;
use handstamp_server::store::faulty::{self, Fault};
use http::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// A body as it stands, with the first access key.
async fn raw(world: &World, body: &str) -> crate::world::Answer {
    let call = world.call(Method::POST, "/run-command").header("content-type", "application/json");
    call.body(body.to_owned()).send().await
}

#[tokio::test]
async fn either_order_and_null_is_left_out() {
    let world = World::new().await;
    let made = login(&world, json!({ "userId": "ada", "metadata": { "a": 1 } })).await;
    let body = format!(
        r#"{{"data": {{"sessionToken": "{}", "userAgent": null, "ipAddress": null, "requiredTags": null,
            "deviceVerification": null, "ignoreDeviceForVerification": null, "notYetKnown": null}},
            "command": "ValidateSession"}}"#,
        made.token
    );
    let valid = raw(&world, &body).await.expect(200);
    assert_eq!((&valid["userId"], &valid["metadata"]), (&json!("ada"), &json!({ "a": 1 })));
    // What a client writes that knows every argument and was given none of them.
    let nulls = json!({ "sessionId": made.id, "tagsToRemove": null, "tagsToAdd": null, "newMetadata": null, "patchMetadata": null });
    assert_eq!(good(&world, "UpdateSession", nulls).await, json!({}));
    let filter = json!({ "filter": { "userId": "ada", "sessionTags": null }, "tagsToAdd": ["seen:yes"], "newMetadata": null });
    assert_eq!(good(&world, "UpdateSessions", filter).await, json!({ "updatedCount": 1 }));
    let valid = good(&world, "ValidateSession", json!({ "sessionToken": made.token })).await;
    assert_eq!(
        (&valid["tags"], &valid["metadata"]),
        (&json!(["seen:yes"]), &json!({ "a": 1 })),
        "nothing is wiped"
    );
    // Inside of what is the application's own, null means something.
    let patch = json!({ "sessionId": made.id, "patchMetadata": { "a": null, "b": { "c": null } } });
    good(&world, "UpdateSession", patch).await;
    let valid = good(&world, "ValidateSession", json!({ "sessionToken": made.token })).await;
    assert_eq!(valid["metadata"], json!({ "b": {} }));
    let kept = json!({ "sessionId": made.id, "newMetadata": { "filter": { "x": null } } });
    good(&world, "UpdateSession", kept).await;
    let valid = good(&world, "ValidateSession", json!({ "sessionToken": made.token })).await;
    assert_eq!(valid["metadata"], json!({ "filter": { "x": null } }), "not a filter of the protocol");
    for body in
        [r#"{"command":"Ping"}"#, r#"{"command":"Ping","data":null}"#, r#"{"data":{},"command":"Ping"}"#]
    {
        let pong = raw(&world, body).await.expect(200);
        assert_eq!(pong, json!({ "timestamp": world.app.now().0 / 1_000 }));
    }
}

#[tokio::test]
async fn what_is_wrong_is_named_with_its_place() {
    let world = World::new().await;
    for (body, told) in [
        ("", "invalid_request: the body is empty; send a JSON object"),
        ("[]", "invalid_request: expected an object, not a list"),
        (r#"{"data":{}}"#, "invalid_request: /command: is missing"),
        (
            r#"{"command":"Ping","data":{},"more":1}"#,
            "invalid_request: /more: unknown; known is `command` or `data`",
        ),
        (r#"{"command":"Ping","command":"Ping"}"#, "invalid_request: /command: is there twice"),
        (r#"{"command":"Ping","data":[]}"#, "invalid_request: /data: expected an object"),
        (r#"{"command":"Ping","data":{"x":1}}"#, "invalid_request: /data/x: unknown; there are no fields"),
        (
            r#"{"command":"CreateSession","data":{"userId":null}}"#,
            "invalid_request: /data/userId: is missing",
        ),
        (r#"{"command":"CreateSession"}"#, "invalid_request: /data/userId: is missing"),
        (
            r#"{"command":"CreateSession","data":{"userId":7}}"#,
            "invalid_request: /data/userId: expected a text, not a number",
        ),
        (
            r#"{"command":"CreateSession","data":{"userId":"ada","userId":"bob"}}"#,
            "invalid_request: /data/userId: is there twice",
        ),
        (
            r#"{"command":"CreateSession","data":{"userId":"ada","ipAddress":"::1","ipAddress":null}}"#,
            "invalid_request: /data/ipAddress: is there twice",
        ),
        (
            r#"{"command":"CreateSession","data":{"userId":"ada","deviceRegistration":{"signedDeviceChallenge":null}}}"#,
            "invalid_request: /data/deviceRegistration/signedDeviceChallenge: is missing",
        ),
        (
            r#"{"command":"CreateSession","data":{"userId":"ada","metadata":{"a":1,"a":2}}}"#,
            "invalid_request: /data/metadata",
        ),
    ] {
        let body = failed(&raw(&world, body).await, 400, "UnexpectedError");
        assert!(text(&body).starts_with(told), "{body}");
    }
    let body =
        failed(&raw(&world, r#"{"command":"EraseEverything","data":{}}"#).await, 400, "UnexpectedError");
    assert!(
        text(&body).starts_with("invalid_request: /command: ") && text(&body).contains("CreateSession"),
        "{body}"
    );
    let big = json!({ "command": "Ping", "data": { "x": "y".repeat(70_000) } }).to_string();
    let body = failed(&raw(&world, &big).await, 413, "UnexpectedError");
    assert!(text(&body).starts_with("body_too_large: "), "{body}");
    let call = world.call(Method::POST, "/run-command").header("content-type", "text/plain");
    let body = failed(&call.body(r#"{"command":"Ping"}"#).send().await, 415, "UnexpectedError");
    assert!(text(&body).starts_with("unsupported_media_type: "), "{body}");
    let charset =
        world.call(Method::POST, "/run-command").header("content-type", "application/json; charset=utf-8");
    charset.body(r#"{"command":"Ping"}"#).send().await.expect(200);
    // What is no call of this protocol at all is answered as everywhere else.
    world.get("/run-command").await.refused(405, "method_not_allowed");
    world.call(Method::POST, "/run-command?x=1").body("{}").send().await.refused(400, "invalid_request");
}

#[tokio::test]
async fn members_of_the_protocol_that_lie_in_each_other_are_read_once() {
    let world = World::new().await;
    for name in ["filter", "deviceRegistration", "deviceVerification"] {
        let deep = 60_000 / (name.len() + 5);
        let open = format!(r#"{{"{name}":"#).repeat(deep);
        let body = format!(r#"{{"command":"Ping","data":{open}{{}}{}}}"#, "}".repeat(deep));
        let body = failed(&raw(&world, &body).await, 400, "UnexpectedError");
        assert!(text(&body).starts_with(&format!("invalid_request: /data/{name}: unknown")), "{body}");
    }
}

#[tokio::test]
async fn keys_that_will_not_do_are_of_a_type_that_every_client_knows() {
    let world = World::new().await;
    let ping = json!({ "command": "Ping", "data": {} });
    let call = || world.call(Method::POST, "/run-command").json(&ping);
    let suspended = world.make_key(json!({ "name": "s" })).await;
    let path = format!("/v1/keys/{}", suspended.id);
    world
        .call(Method::PATCH, &path)
        .key(&world.operator)
        .json(&json!({ "state": "suspended" }))
        .send()
        .await
        .expect(200);
    let unknown = format!("hsk_{}", &world.key[4..].chars().rev().collect::<String>());
    for (call, status, code, name) in [
        (call().no_key(), 401, "access_key_missing", "NoIntegrationKeyFoundInHeader"),
        (call().key(""), 401, "access_key_invalid", "InvalidPrefix"),
        (call().key("byo_123"), 401, "access_key_invalid", "InvalidPrefix"),
        (call().key("hsk_123"), 401, "access_key_invalid", "IntegrationKeyNotFound"),
        (call().key(&unknown), 401, "access_key_invalid", "IntegrationKeyNotFound"),
        (call().key(&suspended.token), 401, "access_key_suspended", "IntegrationKeyNotFound"),
        (call().add_header("authorization", "Bearer x"), 401, "access_key_invalid", "IntegrationKeyNotFound"),
    ] {
        let answer = call.send().await;
        let body = failed(&answer, status, "UnexpectedError");
        assert!(
            text(&body).starts_with(&format!("{code}: ")) && text(&body).ends_with(&format!("({name})")),
            "{body}"
        );
        assert_eq!(answer.header("www-authenticate"), "Bearer");
    }
    // As some send it.
    for form in [format!("bearer {}", world.key), world.key.clone()] {
        call().header("authorization", &form).send().await.expect(200);
    }
}

/// Every command, and the scope that it takes. (`RegisterDevice` needs a proof: see `devices`.)
const SCOPES: [(&str, Option<&str>); 17] = [
    ("Ping", None),
    ("CreateSession", Some("sessions:write")),
    ("ValidateSession", Some("sessions:read")),
    ("ValidateAndRefreshSession", Some("sessions:read")),
    ("FetchAllSessionsForUser", Some("sessions:read")),
    ("FetchAllSessions", Some("sessions:read")),
    ("FetchSessionById", Some("sessions:read")),
    ("UpdateSession", Some("sessions:write")),
    ("UpdateSessions", Some("sessions:write")),
    ("InvalidateSessionByToken", Some("sessions:write")),
    ("InvalidateSessionById", Some("sessions:write")),
    ("InvalidateAllSessionsForUser", Some("sessions:write")),
    ("InvalidateAllSessionsForUserExceptOne", Some("sessions:write")),
    ("CreateDeviceChallenge", Some("sessions:read")),
    ("CreateStatelessToken", Some("tokens:mint")),
    ("GetJwks", None),
    ("RotateStatelessTokenKey", Some("keys:write")),
];

/// Something that each command can be told.
fn sample(command: &str, token: &str, id: &str) -> Value {
    match command {
        "CreateSession" | "FetchAllSessionsForUser" | "CreateStatelessToken" => json!({ "userId": "ada" }),
        "RotateStatelessTokenKey" => {
            json!({ "secsBeforeNewKeyBecomesDefault": 0, "secsBeforeExistingKeysAreDeactivated": 3_600 })
        }
        "ValidateSession" | "ValidateAndRefreshSession" | "InvalidateSessionByToken" => {
            json!({ "sessionToken": token })
        }
        "FetchSessionById" => json!({ "sessionId": id }),
        "UpdateSession" => json!({ "sessionId": id, "tagsToAdd": ["a:b"] }),
        "UpdateSessions" => json!({ "filter": { "userId": "ada" }, "tagsToAdd": ["a:b"] }),
        "InvalidateSessionById" => json!({ "sessionId": id }),
        "InvalidateAllSessionsForUser" => json!({ "userId": "carl" }),
        "InvalidateAllSessionsForUserExceptOne" => json!({ "userId": "ada", "sessionTokenToKeep": token }),
        _ => json!({}),
    }
}

#[tokio::test]
async fn scopes_are_the_list_of_commands_that_a_key_may_run() {
    let world = World::roomy().await;
    for (command, needed) in SCOPES {
        for scope in ["sessions:read", "sessions:write", "tokens:mint", "keys:write", "events:read"] {
            let made = login(&world, json!({ "userId": "ada" })).await;
            let key = world.make_key(json!({ "name": "k", "scopes": [scope] })).await.token;
            let body = json!({ "command": command, "data": sample(command, &made.token, &made.id) });
            let answer = world.call(Method::POST, "/run-command").key(&key).json(&body).send().await;
            if needed.is_none_or(|needed| needed == scope) {
                assert_eq!(answer.status, 200, "{command} with {scope}: {}", answer.text());
            } else {
                let body = failed(&answer, 403, "UnexpectedError");
                assert!(
                    text(&body).starts_with("insufficient_scope: ")
                        && text(&body).ends_with("(CommandNotAllowed)"),
                    "{command}: {body}"
                );
            }
        }
    }
}

#[tokio::test]
async fn a_store_that_does_not_answer_is_never_a_verdict() {
    let world = World::roomy().await;
    let made = login(&world, json!({ "userId": "ada", "tags": ["a:b"] })).await;
    world.app.close().await;
    world.advance(Span::minutes(1));
    for (command, needed) in SCOPES {
        // The time, and a challenge: no store is asked for them.
        if needed.is_none() || command == "CreateDeviceChallenge" {
            continue;
        }
        let answer = run(&world, command, sample(command, &made.token, &made.id)).await;
        // A token in memory is judged there, as everywhere.
        if command == "ValidateSession" && answer.status == 200 {
            continue;
        }
        let body = failed(&answer, 503, "UnexpectedError");
        assert!(text(&body).starts_with("store_unavailable: "), "{command}: {body}");
        assert_eq!(answer.header("retry-after"), "1");
        assert!(!text(&body).contains("closed"), "the log knows more than the caller: {body}");
    }
}

#[tokio::test]
async fn one_accident_and_then_all_is_well() {
    let world = World::new().await;
    let made = login(&world, json!({ "userId": "ada" })).await;
    for call in [faulty::Call::Load, faulty::Call::Commit] {
        world.store.plan(call, [Fault::Before]);
        let end = json!({ "sessionId": made.id, "tagsToAdd": ["a:b"] });
        fails(&world, "UpdateSession", end.clone(), 503, "UnexpectedError").await;
        good(&world, "UpdateSession", end).await;
    }
}

#[tokio::test]
async fn a_spent_budget_says_when_to_come_back() {
    let world = World::new().await;
    let key = world.make_key(json!({ "name": "slow", "rate_limit": "2/1m" })).await.token;
    let ping = json!({ "command": "Ping", "data": {} });
    for left in ["1", "0"] {
        let answer = world.call(Method::POST, "/run-command").key(&key).json(&ping).send().await;
        assert_eq!((answer.status.as_u16(), answer.header("x-ratelimit-remaining")), (200, left));
    }
    let answer = world.call(Method::POST, "/run-command").key(&key).json(&ping).send().await;
    let body = failed(&answer, 429, "UnexpectedError");
    assert!(text(&body).starts_with("rate_limit_exceeded: "), "{body}");
    assert!(answer.header("retry-after").parse::<u32>().unwrap() > 0);
    assert_eq!(answer.header("x-ratelimit-limit"), "2");
}

/// Some clients offer HTTP/2 with every call; the answer is HTTP/1.1, and the connection goes on.
#[tokio::test]
async fn an_offer_to_speak_http_2_is_not_taken_up() {
    let world = World::new().await;
    let mut socket = tokio::net::TcpStream::connect(world.address).await.unwrap();
    for _ in 0..2 {
        let body = r#"{"data":{},"command":"Ping"}"#;
        let request = format!(
            "POST /run-command HTTP/1.1\r\nConnection: Upgrade, HTTP2-Settings\r\nContent-Length: {}\r\nHost: {}\r\n\
             HTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA\r\nUpgrade: h2c\r\nUser-Agent: Java-http-client/17\r\n\
             Authorization: Bearer {}\r\nContent-Type: application/json\r\n\r\n{body}",
            body.len(),
            world.address,
            world.key,
        );
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut text = String::new();
        while !text.ends_with('}') {
            let mut some = [0; 4_096];
            let n = socket.read(&mut some).await.unwrap();
            assert!(n > 0, "it hung up: {text}");
            text.push_str(std::str::from_utf8(&some[..n]).unwrap());
        }
        assert!(text.starts_with("HTTP/1.1 200 OK\r\n") && text.contains("\"timestamp\":"), "{text}");
    }
}
