//! `handstamp policy`: slips with their lines, and every verb against a running server.

use super::server::{Answer, Server, ok};
use super::{Ran, handstamp};
use crate::config::written;
use crate::world::World;
use handstamp_core::time::Span;
use handstamp_server::cli::{self, Exit, Terminal};
use handstamp_server::config::Environment;
use http::Method;
use serde_json::{Value, json};
use std::ffi::OsString;
use std::io::{BufRead, Cursor, Read};
use std::path::Path;
use std::sync::Arc;

const TOML: &str = r#"
[policy.default]
idle_timeout = "24h"

[policy.tag."role:admin"]
idle_timeout = "5m"
max_sessions = 1
"#;

fn file(name: &str, text: &str) -> String {
    written(name, text).display().to_string()
}

/// Each slip as line, key and the beginning of what is wrong.
fn slips(name: &str, text: &str) -> Vec<String> {
    let path = file(name, text);
    let ran = handstamp("policy check").argument(&path).run();
    let lines = ran.out.lines().map(|line| {
        let line = line.strip_prefix("error: ").unwrap_or_else(|| panic!("{line}"));
        line.strip_prefix(&path).unwrap_or_else(|| panic!("{line}")).to_owned()
    });
    let lines = lines.collect();
    assert_eq!(ran.failed(), "");
    lines
}

fn begins(found: &[String], wanted: &[&str]) {
    assert_eq!(found.len(), wanted.len(), "{found:#?}");
    for (found, wanted) in found.iter().zip(wanted) {
        assert!(found.starts_with(wanted), "{found} is not {wanted}");
    }
}

#[test]
fn check_names_line_and_key_of_every_slip() {
    let toml = "[policy.default]\nidle_timeot = \"1h\"\nidle_timeout = \"soon\"\n\n[policy.tag.\"role:admin\"]\npreset = \"aal2\"\nabsolute_timeout = \"30d\"\n[policy.tag.\"role\"]\nmax_sessions = 1\n";
    begins(
        &slips("handstamp.toml", toml),
        &[
            ":2: policy.default.idle_timeot: unknown key; the nearest known one is",
            ":3: policy.default.idle_timeout: ",
            ":7: policy.tag.\"role:admin\".absolute_timeout: 30d is above preset aal2",
            ":8: policy.tag.role: ",
        ],
    );
    begins(&slips("none.toml", "[log]\nlevel = \"info\"\n"), &[": policy: is missing"]);
    begins(&slips("x.toml", "[policy.default\n"), &[":1: is not TOML"]);

    let json = r#"{
  "default": {
    "idle_timeot": "1h",
    "idle_timeout": 3
  },
  "tag": {
    "a/b": {"max_sessions": 0},
    "role:admin": {
      "preset": "aal2",
      "ip_allow": ["10.0.0.0/8", "{\"idle", "}"],
      "absolute_timeout": "30d"
    },
    "role:ed\u0069tor": {"max_sessions": 1},
    "role:editor": {"max_sessions": 2},
    "x:y": 7
  },
  "defualt": {}
}"#;
    begins(
        &slips("policy.json", json),
        &[
            ":3: /default/idle_timeot: unknown key",
            ":4: /default/idle_timeout: ",
            ":7: /tag/a~1b: ",
            ":10: /tag/role:admin/ip_allow: ",
            ":11: /tag/role:admin/absolute_timeout: 30d is above preset aal2",
            ":14: /tag/role:editor: stands here a second time",
            ":15: /tag/x:y: is no object of keys",
            ":17: /defualt: unknown key; the known ones are default and tag",
        ],
    );
    begins(&slips("p", "{\"default\":\n{]}"), &[":2: is not JSON, at column 2"]);
    begins(&slips("p.json", "{\n\"default\": {"), &[":2: ends too early"]);
    begins(&slips("p.json", "[]"), &[":1: is no object"]);
    begins(&slips("p.json", "{\"\\u001b[2J\": 1}"), &[":1: /\\u{1b}[2J: unknown key"]);
    let said = handstamp("policy check /nowhere/p.toml").run();
    assert!(said.out.starts_with("error: /nowhere/p.toml: cannot be read"), "{}", said.out);
    said.failed();
}

#[test]
fn check_says_that_it_is_right() {
    for (name, text) in [("handstamp.toml", TOML), ("p.json", "{\"default\": {\"idle_timeout\": \"1h\"}}")] {
        let path = file(name, text);
        assert_eq!(handstamp("policy check").argument(&path).run().done(), format!("{path} is right\n"));
    }
    let path = file("p.json", "{\n\"defualt\": {}}");
    let ran = handstamp("policy check --json").argument(&path).run();
    let said: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((&said["ok"], &said["problems"][0]["key"]), (&json!(false), &json!("/defualt")));
    assert_eq!(said["problems"][0]["place"], json!(format!("{path}:2")));
    ran.failed();
    // What is wrong never reaches a server: none is there.
    for verb in ["preview", "apply --yes"] {
        let said = handstamp(&format!("policy {verb}")).argument(&path).keyed().run().failed();
        assert!(
            said.starts_with("error: the policy is not right\n") && said.contains(":2: /defualt"),
            "{said}"
        );
    }
}

/// Runs a command of the policy against a world.
async fn ask(world: &World, words: &str, more: &[&str], typed: Option<&'static str>) -> Ran {
    let (url, key) = (format!("http://{}", world.address), world.key.clone());
    let words = format!("policy {words}");
    let more: Vec<String> = more.iter().map(|&word| word.to_owned()).collect();
    let run = move || {
        let mut command = handstamp(&words);
        command.arguments.extend(more);
        command = command.argument("--url").argument(url).with("HANDSTAMP_KEY", key);
        if let Some(typed) = typed {
            command = command.person(typed);
        }
        command.run()
    };
    tokio::task::spawn_blocking(run).await.unwrap()
}

/// The cells of the line that begins with `first`.
fn row<'a>(text: &'a str, first: &str) -> Vec<&'a str> {
    let rows = text.lines().map(|line| line.split("  ").map(str::trim).filter(|c| !c.is_empty()).collect());
    let mut rows = rows.filter(|cells: &Vec<&str>| cells.first() == Some(&first));
    rows.next().unwrap_or_else(|| panic!("no line begins with {first}:\n{text}"))
}

#[tokio::test]
async fn a_policy_is_tried_applied_shown_and_taken_back() {
    let world = World::new().await;
    let admin = world.create(json!({"user_id": "ada", "tags": ["role:admin"]})).await;
    world.create(json!({"user_id": "bob"})).await;
    world.advance(Span::minutes(10));
    let path = file("handstamp.toml", TOML);

    let said = ask(&world, "show", &[], None).await.done();
    assert!(said.contains("version 0, in force") && said.contains("it says nothing"), "{said}");

    let ran = ask(&world, "preview", &[&path], None).await;
    assert!(ran.err.contains("handstamp policy apply") && ran.err.contains("loosen"), "{}", ran.err);
    assert!(ran.out.starts_with("SESSIONS  WOULD END  WOULD BE REFUSED"), "{}", ran.out);
    assert_eq!(row(&ran.out, "2"), ["2", "1", "0", "0"]);
    let detail = "idle 10m, allowed 5m by tag role:admin";
    assert_eq!(row(&ran.out, &admin.id), [&admin.id, "session_idle", "tag role:admin", detail]);
    ran.done();
    let said = ask(&world, "preview --json", &[&path], None).await.done();
    assert_eq!(serde_json::from_str::<Value>(&said).unwrap()["would_end"], 1);

    // Nobody to ask, then a no, then a yes.
    let said = ask(&world, "apply", &[&path], None).await.usage();
    assert!(said.contains("--yes"), "{said}");
    let ran = ask(&world, "apply", &[&path], Some("n\n")).await;
    assert_eq!(row(&ran.out, "2"), ["2", "1", "0", "0"]);
    assert!(ran.err.contains("It ends 1 session. [y/N]"), "{}", ran.err);
    assert!(ran.failed().contains("nothing was changed"));
    assert_eq!(world.get("/v1/policies").await.expect(200)["version"], 0);
    let ran = ask(&world, "apply", &[&path], Some("y\n")).await;
    assert!(ran.done().contains("version 1 is in force"));
    assert_eq!(
        world.get("/v1/policies").await.expect(200)["policy"],
        json!({"default": {"idle_timeout": "1d"}, "tag": {"role:admin": {"idle_timeout": "5m", "max_sessions": 1}}})
    );
    // The session is gone, and the same once more changes nothing.
    let ended = world.get(&format!("/v1/sessions/{}", admin.id)).await.expect(200);
    assert_eq!(ended["state"], "ended", "{ended}");
    let said = ask(&world, "apply --yes", &[&path], None).await.done();
    assert!(said.contains("version 1 is in force and says the same"), "{said}");

    let said = ask(&world, "show", &[], None).await.done();
    assert_eq!(row(&said, "default"), ["default", "idle_timeout", "1d"]);
    assert!(said.contains("tag role:admin  max_sessions  1"), "{said}");
    let json_path = file("p.json", "{\"tag\": {\"org:*\": {\"ip_block\": [\"10.0.0.0/8\"]}}}");
    let said = ask(&world, "apply --yes --json", &[&json_path], None).await.done();
    assert_eq!(serde_json::from_str::<Value>(&said).unwrap()["version"], 2);

    let ran = ask(&world, "rollback 1", &[], Some("yes\n")).await;
    assert!(ran.err.contains("policy rollback 2"), "{}", ran.err);
    assert!(ran.done().contains("version 3 is in force"));
    let said = ask(&world, "history", &[], None).await.done();
    assert_eq!(said.lines().count(), 4, "{said}");
    assert_eq!(row(&said, "3")[3..], ["1", "default,tag role:admin"], "{said}");
    assert_eq!(row(&said, "2")[3..], ["-", "tag org:*"], "{said}");
    let said = ask(&world, "history --limit 1 --json", &[], None).await.done();
    assert_eq!(serde_json::from_str::<Value>(&said).unwrap()["items"][0]["restored"], 1);
    let said = ask(&world, "show 2", &[], None).await.done();
    assert!(said.starts_with("version 2, said by key_") && said.contains("10.0.0.0/8"), "{said}");
    let said = ask(&world, "rollback 9 --yes", &[], None).await.failed();
    assert!(said.contains("not_found"), "{said}");
}

#[tokio::test]
async fn sessions_users_and_tags_are_explained() {
    let world = World::new().await;
    let networks: Vec<String> = (0..20).map(|n| format!("10.{n}.0.0/16")).collect();
    let policy = json!({"default": {"ip_block": networks}, "tag": {"role:admin": {"idle_timeout": "5m"}, "org:*": {"max_sessions": 2}}});
    world.call(Method::PUT, "/v1/policies").json(&policy).send().await.expect(200);
    let made = world.create(json!({"user_id": "ada", "tags": ["role:admin"], "ip": "203.0.113.7"})).await;
    world.advance(Span::minutes(4));
    let said = ask(&world, "explain --session", &[&made.id], None).await.done();
    assert!(said.starts_with("KEY"), "{said}");
    assert_eq!(row(&said, "idle_timeout"), ["idle_timeout", "5m", "tag role:admin"]);
    assert!(row(&said, "ip_block")[1].ends_with("10.7.0.0/16, and 12 more"), "{said}");
    assert_eq!(row(&said, "idle"), ["idle", "allowed", "seen 4m, allowed 5m", "tag role:admin"]);
    let said = ask(&world, "explain --user ada", &[], None).await.done();
    assert!(said.starts_with(&format!("session {}\n\nKEY", made.id)) && said.contains("RULE"), "{said}");
    assert_eq!(ask(&world, "explain --user nobody", &[], None).await.done(), "no live session\n");
    let said = ask(&world, "explain --tag role:admin org:acme", &[], None).await.done();
    assert_eq!(row(&said, "idle_timeout"), ["idle_timeout", "5m", "tag role:admin"]);
    assert_eq!(row(&said, "max_sessions"), ["max_sessions", "2", "tag org:*"]);
    assert!(!said.contains("RULE"), "{said}");
    let said = ask(&world, "explain", &[], None).await.done();
    assert_eq!(row(&said, "idle_timeout"), ["idle_timeout", "1d", "default"]);
    let said = ask(&world, "explain --json --tag role:admin", &[], None).await.done();
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(said["policy"]["idle_timeout"], json!({"value": "5m", "origin": "tag role:admin"}));

    world.advance(Span::minutes(1));
    let said = ask(&world, "explain --session", &[&made.id], None).await.done();
    assert_eq!(row(&said, "idle")[1], "session_idle");
    assert!(said.ends_with("\nsession_idle: idle 5m, allowed 5m by tag role:admin\n"), "{said}");
    let said = ask(&world, "explain --tag nonsense", &[], None).await.failed();
    assert!(said.contains("tag_invalid"), "{said}");
}

/// What a person types, and what happens while they think.
struct Thinking<F: FnMut()> {
    meanwhile: F,
    typed: Cursor<&'static str>,
}

impl<F: FnMut()> Read for Thinking<F> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.typed.read(buffer)
    }
}

impl<F: FnMut()> BufRead for Thinking<F> {
    fn fill_buf(&mut self) -> std::io::Result<&[u8]> {
        if self.typed.position() == 0 {
            (self.meanwhile)();
        }
        self.typed.fill_buf()
    }
    fn consume(&mut self, n: usize) {
        self.typed.consume(n);
    }
}

/// Somebody else saves while the person looks at the numbers: theirs stays, and the person is told.
#[tokio::test]
async fn nobody_overwrites_what_they_have_not_seen() {
    let world = Arc::new(World::new().await);
    let shared = world.clone();
    let handle = tokio::runtime::Handle::current();
    let other = json!({"default": {"idle_timeout": "2h"}});
    let theirs = other.clone();
    let command = handstamp("policy apply").argument(file("handstamp.toml", TOML));
    let run = move || {
        let command = command.argument("--url").argument(format!("http://{}", shared.address));
        let command = command.with("HANDSTAMP_KEY", shared.key.clone());
        let arguments = std::iter::once("handstamp".to_owned()).chain(command.arguments).map(OsString::from);
        let meanwhile = || {
            let call = shared.call(Method::PUT, "/v1/policies").json(&other);
            handle.block_on(async { call.send().await.expect(200) });
        };
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut input = Thinking { meanwhile, typed: Cursor::new("y\n") };
        let mut terminal =
            Terminal { out: &mut out, err: &mut err, input: &mut input, asks: true, draws: false };
        let exit = cli::run(arguments, Environment::new(command.environment), &command.rooms, &mut terminal);
        (exit, String::from_utf8(err).unwrap())
    };
    let (exit, err) = tokio::task::spawn_blocking(run).await.unwrap();
    assert_eq!(exit, Exit::Failed);
    assert!(err.contains("error: policy_changed: ") && err.contains("handstamp policy show"), "{err}");
    let now = world.get("/v1/policies").await.expect(200);
    assert_eq!((&now["version"], &now["policy"]["default"]), (&json!(1), &theirs["default"]));
}

#[test]
fn a_file_that_decides_is_not_overruled() {
    let now = json!({"version": 4, "managed_by": "file", "policy": {"default": {}, "tag": {}}});
    let server = Server::start([ok(now.clone()), ok(now)]);
    let said = handstamp("policy show").to(&server).run().done();
    assert!(said.starts_with("as the server's configuration file says"), "{said}");
    let path = file("handstamp.toml", TOML);
    let said = handstamp("policy apply --yes").argument(path).to(&server).run().failed();
    assert!(said.starts_with("error: policy_managed_by_file: ") && said.contains("config reload"), "{said}");
    assert_eq!(server.asked().len(), 2);
}

/// (what the stream says, the result or what the person reads).
#[test]
fn a_preview_that_takes_long_is_followed_to_its_end() {
    let result = json!({"sessions": 300, "would_end": 200, "would_refuse": 1, "would_allow": 0,
        "examples": [{"session_id": "ses_1", "code": "session_idle", "origin": "default", "detail": "gone\u{1b}"}]});
    const DONE: &str = "event: progress\ndata: {\"looked_at\":500}\n\nevent: progress\ndata: {\"looked_at\":900}\n\nevent: result\ndata: {\"sessions\":300,\"would_end\":200,\"would_refuse\":1,\"would_allow\":0,\"examples\":[{\"session_id\":\"ses_1\",\"code\":\"session_idle\",\"origin\":\"default\",\"detail\":\"gone\\u001b\"}]}\n\n";
    const HALF: &str = "event: progress\ndata: {\"looked_at\":500}\n\nevent: result\ndata: {\"sessions\":";
    const TROUBLE: &str =
        "event: error\ndata: {\"code\":\"store_unavailable\",\"detail\":\"the store does not answer\"}\n\n";
    let path = file("handstamp.toml", TOML);
    let preview = |answer: Answer, words: &str| {
        let server = Server::start([answer]);
        let ran = handstamp(&format!("policy preview {words}")).argument(&path).to(&server).run();
        let asked = server.asked().remove(0);
        assert!(asked.headers.contains("accept: text/event-stream"), "{}", asked.headers);
        assert_eq!(asked.body["policy"]["tag"]["role:admin"]["idle_timeout"], "5m");
        ran
    };
    let ran = preview(Answer::Text(200, DONE), "");
    assert_eq!(row(&ran.out, "ses_1")[3], "gone\\u{1b}");
    assert!(ran.err.contains("these are the first 1 of 201"), "{}", ran.err);
    ran.done();
    let said = preview(Answer::Text(200, DONE), "--json").done();
    assert_eq!(serde_json::from_str::<Value>(&said).unwrap(), result);
    assert!(preview(Answer::Text(200, HALF), "").failed().contains("broke off before it had a result"));
    let said = preview(Answer::Text(200, TROUBLE), "").failed();
    assert!(said.starts_with("error: store_unavailable: the store does not answer"), "{said}");
    let refused = json!({"code": "insufficient_scope", "detail": "may not", "status": 403});
    assert!(preview(Answer::Json(403, refused), "").failed().contains("may not"));
    assert!(Path::new(&path).exists());
}
