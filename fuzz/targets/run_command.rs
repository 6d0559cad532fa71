//! Calls of the foreign door: the envelope, nulls that are the same as nothing, and what each command is told. What is left of
//! a call without its nulls says what the call said, and nothing else.
#![no_main]

use handstamp_server::compat::propelauth_byo::commands::{self, Envelope, envelope, lean};
use handstamp_server::json;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|body: &[u8]| {
    let Ok(Envelope { command, data }) = envelope(body) else { return };
    // What is wrong inside of the data (half of a character, a number beyond all bounds) is found by who reads it.
    let Ok(whole) = serde_json::from_slice::<Value>(body) else { return };
    assert_eq!(whole["command"], Value::from(command.as_str()));
    let Ok(text) = lean(data.as_deref()) else { return };
    assert_eq!(lean(Some(&text)).ok().as_ref(), Some(&text), "nothing is left to take out");
    let kept: Value = serde_json::from_str(&text).expect("an object stays one");
    // Members that are there twice are left to the reader, which refuses them: `Value` keeps the last one.
    if twice(data.as_deref().unwrap_or("{}")) {
        return;
    }
    assert_eq!(kept, without_nulls(whole["data"].clone()));
    let _ = match command.as_str() {
        "Ping" | "GetJwks" => json::parse::<commands::Nothing>(text.as_bytes()).map(drop),
        "CreateSession" => json::parse::<commands::CreateSession>(text.as_bytes()).map(drop),
        "ValidateSession" | "ValidateAndRefreshSession" => {
            json::parse::<commands::ValidateSession>(text.as_bytes()).map(drop)
        }
        "FetchAllSessionsForUser" | "InvalidateAllSessionsForUser" => {
            json::parse::<commands::OfUser>(text.as_bytes()).map(drop)
        }
        "FetchAllSessions" => json::parse::<commands::FetchAllSessions>(text.as_bytes()).map(drop),
        "FetchSessionById" => json::parse::<commands::FetchSessionById>(text.as_bytes()).map(drop),
        "UpdateSession" => json::parse::<commands::UpdateSession>(text.as_bytes()).map(drop),
        "UpdateSessions" => json::parse::<commands::UpdateSessions>(text.as_bytes()).map(drop),
        "InvalidateSessionByToken" => {
            json::parse::<commands::InvalidateSessionByToken>(text.as_bytes()).map(drop)
        }
        "InvalidateSessionById" => json::parse::<commands::InvalidateSessionById>(text.as_bytes()).map(drop),
        "InvalidateAllSessionsForUserExceptOne" => {
            json::parse::<commands::InvalidateOthers>(text.as_bytes()).map(drop)
        }
        "CreateStatelessToken" => json::parse::<commands::CreateStatelessToken>(text.as_bytes()).map(drop),
        "RotateStatelessTokenKey" => {
            json::parse::<commands::RotateStatelessTokenKey>(text.as_bytes()).map(drop)
        }
        "CreateDeviceChallenge" => json::parse::<commands::CreateDeviceChallenge>(text.as_bytes()).map(drop),
        "RegisterDevice" => json::parse::<commands::RegisterDevice>(text.as_bytes()).map(drop),
        _ => Ok(()),
    };
});

/// Whether an object says a member twice, at a level that the door reads itself.
fn twice(data: &str) -> bool {
    let count = |text: &str| serde_json::from_str::<Value>(text).map_or(0, |value| size(&value));
    // Both ways of reading agree on the number of members, unless one of them dropped some.
    count(data) != marks(data)
}

fn size(value: &Value) -> usize {
    match value {
        Value::Object(members) => members.len() + members.values().map(size).sum::<usize>(),
        Value::Array(items) => items.iter().map(size).sum(),
        _ => 0,
    }
}

/// The colons outside of texts: as many as there are members.
fn marks(text: &str) -> usize {
    let (mut inside, mut escaped, mut count) = (false, false, 0);
    for c in text.chars() {
        match c {
            _ if escaped => escaped = false,
            '\\' if inside => escaped = true,
            '"' => inside = !inside,
            ':' if !inside => count += 1,
            _ => {}
        }
    }
    count
}

fn without_nulls(data: Value) -> Value {
    let Value::Object(members) = data else { return Value::Object(serde_json::Map::new()) };
    let own = |name: &str| ["deviceRegistration", "deviceVerification", "filter"].contains(&name);
    let kept = members.into_iter().filter(|(_, value)| !value.is_null());
    let inside = kept.map(|(name, value)| match own(&name) && value.is_object() {
        true => (name, without_nulls(value)),
        false => (name, value),
    });
    Value::Object(inside.collect())
}
