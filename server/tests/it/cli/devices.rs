//! `handstamp devices`.

use super::handstamp;
use super::server::{Answer, Server, ok};
use serde_json::{Value as Json, json};

const ID: &str = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I";

#[test]
fn a_list_names_devices_and_shows_nothing_that_a_terminal_obeys() {
    let device = json!({
        "id": ID, "user_id": "ada & co", "name": "\u{1b}[31mlaptop", "key": "P-256",
        "first_seen_at": "2026-11-22T10:00:00.123Z", "last_seen_at": "2026-11-23T10:00:00.000Z",
        "client": { "ip": "203.0.113.7", "user_agent": null }
    });
    let list = json!({ "items": [device], "next_cursor": null });
    let server = Server::start([ok(list.clone()), ok(list)]);
    let said = handstamp("devices list --user").argument("ada & co").to(&server).run().done();
    assert!(said.starts_with("ID ") && said.contains(ID) && said.contains("\\u{1b}[31mlaptop"), "{said}");
    assert!(said.contains("2026-11-22 10:00:00") && said.contains("203.0.113.7"), "{said}");
    let said = handstamp("devices list --user ada --json").to(&server).run().done();
    assert_eq!(serde_json::from_str::<Json>(&said).unwrap()["items"][0]["id"], ID);
    assert_eq!(server.asked()[0].line, "GET /v1/devices?user_id=ada%20%26%20co");
    assert!(handstamp("devices list").keyed().run().usage().contains("--user"));
}

#[test]
fn forgetting_asks_first() {
    let gone = || Answer::Json(200, json!({ "forgotten": 1 }));
    let server = Server::start([gone(), gone()]);
    let words = format!("devices forget {ID} --user ada");
    let ran = handstamp(&words).to(&server).person("n\n").run();
    assert!(ran.failed().contains("nobody is signed out. [y/N]"));
    handstamp(&words).to(&server).run().usage();
    let ran = handstamp(&words).to(&server).person("y\n").run();
    assert_eq!(ran.done(), format!("forgotten {ID}\n"));
    let said = handstamp(&format!("{words} --yes --json")).to(&server).run().done();
    assert_eq!(serde_json::from_str::<Json>(&said).unwrap(), json!({ "forgotten": 1 }));
    let asked = server.asked();
    assert_eq!(asked.len(), 2);
    assert_eq!(asked[0].line, format!("DELETE /v1/devices/{ID}?user_id=ada"));
}
