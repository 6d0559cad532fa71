//! `handstamp settings`.

use super::handstamp;
use super::server::{Answer, Server, ok};
use handstamp_server::cli::Exit;
use serde_json::{Value as Json, json};

fn listed(version: u64, origins: &[&str], from_file: &[&str]) -> Json {
    json!({"version": version, "origins": origins, "from_file": from_file})
}

fn cells(said: &str) -> Vec<Vec<&str>> {
    said.lines().map(|line| line.split("  ").map(str::trim).filter(|c| !c.is_empty()).collect()).collect()
}

#[test]
fn lists_are_shown_with_where_they_come_from() {
    let list = listed(3, &["https://a.example"], &["http://localhost:3000"]);
    let server = Server::start([ok(list.clone()), ok(list.clone()), ok(list.clone())]);
    for words in ["settings cors", "settings cors show"] {
        let said = handstamp(words).to(&server).run().done();
        assert_eq!(
            cells(&said),
            [
                vec!["ORIGIN", "LISTED IN"],
                vec!["https://a.example", "API"],
                vec!["http://localhost:3000", "configuration file"],
            ]
        );
    }
    let said = handstamp("settings redirect-origins --json").to(&server).run().done();
    assert_eq!(serde_json::from_str::<Json>(&said).unwrap(), list);
    assert_eq!(
        server.lines(),
        ["GET /v1/settings/cors", "GET /v1/settings/cors", "GET /v1/settings/redirect-origins"]
    );
    let server = Server::start([ok(listed(0, &[], &[])), ok(listed(0, &[], &[]))]);
    let said = handstamp("settings cors").to(&server).run().done();
    assert!(said.contains("no origin is listed: only pages of the server's own origin"), "{said}");
    let said = handstamp("settings redirect-origins").to(&server).run().done();
    assert!(said.contains("no origin is listed: a login leads back to nowhere"), "{said}");
}

#[test]
fn lists_are_changed_if_they_are_still_what_was_read() {
    let (a, b, c) = ("https://a.example", "https://b.example", "https://c.example");
    for (words, wanted) in [
        ("set https://c.example https://a.example", vec![c, a]),
        ("set", vec![]),
        ("add https://b.example https://c.example", vec![a, b, c]),
        ("remove https://a.example", vec![b]),
    ] {
        let server = Server::start([ok(listed(3, &[a, b], &[])), ok(listed(4, &wanted, &[]))]);
        let outcome = handstamp(&format!("settings cors {words}")).to(&server).run();
        let (said, err) = (outcome.out.clone(), outcome.err.clone());
        outcome.done();
        assert!(wanted.iter().all(|origin| said.contains(origin)), "{said}");
        assert!(err.contains("in force from the next request on"), "{err}");
        let asked = server.asked();
        assert_eq!(asked[1].line, "PUT /v1/settings/cors");
        assert_eq!(asked[1].body, json!({ "origins": wanted }));
        assert!(asked[1].headers.contains("if-match: \"3\""), "{}", asked[1].headers);
    }
}

#[test]
fn what_changes_nothing_or_cannot_be_is_said() {
    let (a, file) = ("https://a.example", "http://localhost:3000");
    let list = || ok(listed(3, &[a], &[file]));
    let outcome = {
        let server = Server::start([list()]);
        handstamp("settings cors add https://a.example").to(&server).run()
    };
    assert!(outcome.err.contains("nothing was changed"), "{}", outcome.err);
    outcome.done();
    for (origin, says) in [
        (file, "is listed in the server's configuration file"),
        ("https://a.example/", "https://a.example/ is not listed"),
    ] {
        let server = Server::start([list()]);
        let outcome = handstamp("settings cors remove").argument(origin).to(&server).run();
        assert_eq!(outcome.exit, Exit::Failed);
        assert!(outcome.err.contains(says), "{}", outcome.err);
        assert_eq!(server.lines().len(), 1);
    }
    let problem = json!({"code": "settings_changed", "detail": "version 4 is in force, and not 3"});
    let server = Server::start([list(), Answer::Json(412, problem)]);
    let outcome = handstamp("settings cors set https://b.example").to(&server).run();
    assert!(outcome.exit == Exit::Failed && outcome.err.contains("settings_changed"), "{}", outcome.err);
}
