//! `POST /run-command`, byte by byte: what the published clients cannot show of themselves. They are driven, unmodified, by
//! `tests/byo`.

use crate::world::{Answer, Made, World};
use http::Method;
use serde_json::{Value, json};

mod changes;
mod devices;
mod sessions;
mod tokens;
mod transport;

/// A command with the first access key.
pub(super) async fn run(world: &World, command: &str, data: Value) -> Answer {
    world.post("/run-command", json!({ "command": command, "data": data })).await
}

/// The answer of a command that must succeed.
pub(super) async fn good(world: &World, command: &str, data: Value) -> Value {
    let answer = run(world, command, data).await;
    assert_eq!(answer.header("content-type"), "application/json", "{command}");
    answer.expect(200)
}

/// The whole body of a command that must fail with a status and a type.
pub(super) async fn fails(world: &World, command: &str, data: Value, status: u16, kind: &str) -> Value {
    failed(&run(world, command, data).await, status, kind)
}

/// The body of a failure. Nothing beside type and details is in it: some clients read nothing else.
pub(super) fn failed(answer: &Answer, status: u16, kind: &str) -> Value {
    assert_eq!(answer.header("content-type"), "application/json");
    let body: Value = serde_json::from_str(answer.text()).unwrap();
    assert_eq!((answer.status.as_u16(), body["type"].as_str()), (status, Some(kind)), "{body}");
    let members: Vec<&str> = body.as_object().unwrap().keys().map(String::as_str).collect();
    assert!(matches!(members[..], ["type"] | ["details", "type"]), "{body}");
    body
}

/// The text that details are.
pub(super) fn text(body: &Value) -> &str {
    body["details"].as_str().unwrap_or_else(|| panic!("no text: {body}"))
}

/// A session of a user.
pub(super) async fn login(world: &World, data: Value) -> Made {
    let made = good(world, "CreateSession", data).await;
    let text = |name: &str| made[name].as_str().unwrap().to_owned();
    Made { id: text("sessionId"), token: text("sessionToken") }
}

/// Keys of an object, sorted.
pub(super) fn names(object: &Value) -> Vec<&str> {
    object.as_object().unwrap().keys().map(String::as_str).collect()
}

#[tokio::test]
async fn the_clients_quick_start() {
    let world = World::new().await;
    let made = good(&world, "CreateSession", json!({ "userId": "ada" })).await;
    assert_eq!(names(&made), ["expiresAt", "sessionId", "sessionToken"]);
    let token = made["sessionToken"].as_str().unwrap();
    let valid = good(&world, "ValidateSession", json!({ "sessionToken": token })).await;
    assert_eq!(
        names(&valid),
        ["createdAt", "expiresAt", "hasDeviceRegistered", "sessionId", "tags", "userId"]
    );
    assert_eq!((&valid["sessionId"], &valid["userId"]), (&made["sessionId"], &json!("ada")));
    assert_eq!(good(&world, "InvalidateSessionByToken", json!({ "sessionToken": token })).await, json!({}));
    let body =
        fails(&world, "ValidateSession", json!({ "sessionToken": token }), 401, "InvalidSessionToken").await;
    assert!(text(&body).starts_with("session_revoked: "), "{body}");
    let session = world.call(Method::GET, &format!("/v1/sessions/{}", made["sessionId"].as_str().unwrap()));
    assert_eq!(session.send().await.expect(200)["ended"]["code"], "session_revoked");
}
