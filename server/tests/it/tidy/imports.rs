//! Who may name whom. The walls that the compiler does not hold: inside of a crate it lets everybody name everybody.

use super::source::{code, paths};
use super::{Text, clean, finds, texts};

/// A room of the server: what begins with its path, unless a longer path fits better.
struct Room {
    room: &'static str,
    /// What it may name beside itself and the core.
    may: &'static [&'static str],
    /// What it must not name although it may name what is above it.
    never: &'static [&'static str],
}

/// The import table of ARCHITECTURE.md.
const ROOMS: &[Room] = &[
    // Time, randomness and signals come from the operating system and know nobody.
    Room { room: "host", may: &[], never: &[] },
    // A store keeps bytes under versions. What they mean is nobody's business there.
    Room { room: "store", may: &[], never: &[] },
    // The one place that knows how a domain value lies in a store.
    Room { room: "codec", may: &["store"], never: BACK_ENDS },
    // What user agents say is known to nobody else, and knows nobody.
    Room { room: "agents", may: &[], never: &[] },
    // Load, judge, commit. No HTTP, and no store by name: any store will do.
    Room { room: "app", may: &["store", "codec", "host", "agents", "schema"], never: BACK_ENDS },
    // A door translates: parse, one verb of the service, render. It never touches a store.
    Room {
        room: "http",
        may: &["app", "host::clock", "host::process", "json", "sections", "schema"],
        never: &[],
    },
    // The edge is older than any request: it knows bytes and clients, not even the service.
    Room { room: "http::listener", may: &["host::signals"], never: &[] },
    // How JSON says a policy: the same words in a file and in a body.
    Room { room: "compat", may: &["app", "json"], never: &[] },
    Room { room: "json", may: &[], never: &[] },
    Room { room: "sections", may: &[], never: &[] },
    // What the data of a session must look like. Pure.
    Room { room: "schema", may: &[], never: &[] },
    Room { room: "config", may: &["sections", "schema"], never: &[] },
    // The command line is one more client of the API.
    Room { room: "cli", may: &["config", "sections"], never: &[] },
    // Where all of them meet.
    Room {
        room: "run",
        may: &["app", "cli", "codec", "compat", "config", "host", "http", "store"],
        never: &[],
    },
    Room { room: "main", may: &["cli", "config", "run"], never: &[] },
    Room { room: "lib", may: &[], never: &[] },
];
const BACK_ENDS: &[&str] = &["store::sqlite", "store::memory", "store::faulty", "store::postgres"];

/// Names that break the table, each with the reason why it may for now. One that is no longer needed must go.
const ALLOWED: &[(&str, &str, &str)] = &[];

/// Crates that belong to some rooms only; any other crate may be named anywhere in the server.
const CRATES: &[(&str, &[&str])] = &[
    ("aho_corasick", &["agents"]),
    ("axum", &["http", "compat"]),
    ("clap", &["cli"]),
    ("comfy_table", &["cli"]),
    ("http", &["http", "cli", "compat"]),
    ("http_body_util", &["http", "cli", "compat"]),
    ("hyper", &["http", "cli"]),
    ("hyper_util", &["http", "cli"]),
    ("indicatif", &["cli"]),
    ("regex_automata", &["agents", "schema::pattern"]),
    ("regex_syntax", &["agents"]),
    ("rusqlite", &["store::sqlite"]),
    ("tokio_postgres", &["store::postgres"]),
    // The wire owns its shapes and the codec its bytes: neither may freeze the domain.
    ("serde", &["http", "cli", "config", "compat", "json"]),
    ("tokio", &["app", "cli", "host", "http", "run", "store"]),
    ("toml", &["config"]),
    ("tower", &["http"]),
    ("tracing_subscriber", &["run"]),
    ("utoipa", &["http", "compat"]),
    ("std::env::args_os", &["cli"]),
    ("std::env", &["config"]),
    ("std::fs", &["config", "cli", "run", "store::sqlite", "http::listener::tls", "host::process"]),
    ("std::process", &["cli", "main", "run::presence"]),
    ("std::thread", &["store::sqlite"]),
    ("std::time::SystemTime", &["host::clock"]),
    // All randomness is drawn in one place, so that a test can give its own.
    ("aws_lc_rs::rand", &["host::entropy"]),
];

/// All that the core may name beside itself. What is missing: a clock, a random source, files, the network, async,
/// serde, and tables whose order changes from run to run.
const CORE_MAY: &[&str] = &[
    "aws_lc_rs::aead",
    "aws_lc_rs::agreement",
    "aws_lc_rs::constant_time",
    "aws_lc_rs::digest",
    "aws_lc_rs::hmac",
    "aws_lc_rs::rsa",
    "aws_lc_rs::signature",
    "std::cmp",
    "std::collections::BTreeMap",
    "std::collections::BTreeSet",
    "std::error",
    "std::fmt",
    "std::iter",
    "std::mem",
    "std::net::IpAddr",
    "std::net::Ipv4Addr",
    "std::net::Ipv6Addr",
    "std::num",
    "std::ops",
    "std::str",
    "std::sync::Arc",
    "std::sync::PoisonError",
    "std::sync::RwLock",
    "std::time::Duration",
    "thiserror",
    "zeroize",
];

/// Crates beside the standard library that a name can begin with; everything else is a type or a variable.
const KNOWN: &[&str] = &[
    "std",
    "core",
    "alloc",
    "aws_lc_rs",
    "thiserror",
    "zeroize",
    "tokio",
    "serde",
    "serde_json",
    "rand",
    "proptest",
];

/// `store/sqlite/open.rs` is `store::sqlite::open`.
fn module(path: &str) -> String {
    path.trim_end_matches(".rs").replace('/', "::")
}

fn begins(name: &str, with: &str) -> bool {
    name.strip_prefix(with).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// A name as it is from the crate's root, `None` when it is of another crate: there, as it stands.
fn resolved(names: &[String], module: &str) -> Result<String, String> {
    let mut here: Vec<&str> =
        if matches!(module, "main" | "lib") { Vec::new() } else { module.split("::").collect() };
    let mut rest = names;
    match names[0].as_str() {
        "crate" | "handstamp_server" => here.clear(),
        "self" => {}
        "super" => {
            rest = &names[names.iter().take_while(|name| *name == "super").count()..];
            here.truncate(here.len().saturating_sub(names.len() - rest.len()));
            here.extend(rest.iter().map(String::as_str));
            return Ok(here.join("::"));
        }
        _ => return Err(names.join("::")),
    }
    here.extend(rest[1..].iter().map(String::as_str));
    Ok(here.join("::"))
}

/// What breaks the table in the server's files, whose paths begin below `server/src`. Also says which of the allowed
/// ones were met.
fn server(files: &[Text]) -> (Vec<String>, Vec<usize>) {
    let (mut problems, mut met) = (Vec::new(), Vec::new());
    for file in files {
        let own = module(&file.path);
        let Some(room) = ROOMS.iter().filter(|r| begins(&own, r.room)).max_by_key(|r| r.room.len()) else {
            problems.push(format!("server/src/{}: a room that the import table does not know", file.path));
            continue;
        };
        for names in paths(&code(&file.text)) {
            let (name, good, rule) = match resolved(&names, &own) {
                Ok(name) => {
                    let is_room = ROOMS.iter().any(|r| begins(&name, r.room));
                    let may = !is_room
                        || begins(&name, room.room)
                        || room.may.iter().any(|may| begins(&name, may))
                            && !room.never.iter().any(|never| begins(&name, never));
                    (name, may, format!("the room `{}` may name {:?}", room.room, room.may))
                }
                Err(name) => match CRATES.iter().find(|(of, _)| begins(&name, of)) {
                    None => continue,
                    Some((of, rooms)) => {
                        let may = rooms.iter().any(|room| begins(&own, room));
                        (name, may, format!("`{of}` belongs to {rooms:?}"))
                    }
                },
            };
            if good {
                continue;
            }
            let allowed = |(_, (path, what, _)): &(usize, &(&str, &str, &str))| {
                *path == file.path && begins(&name, what)
            };
            match ALLOWED.iter().enumerate().find(allowed) {
                Some((at, _)) => met.push(at),
                None => problems.push(format!("server/src/{}: names {name}, but {rule}", file.path)),
            }
        }
    }
    (problems, met)
}

/// What the core may not name.
fn core(files: &[Text]) -> Vec<String> {
    let mut problems = Vec::new();
    for file in files {
        for names in paths(&code(&file.text)) {
            let name = names.join("::");
            let foreign = KNOWN.contains(&names[0].as_str()) || names[0].starts_with("handstamp");
            if foreign && !CORE_MAY.iter().any(|may| begins(&name, may)) {
                problems
                    .push(format!("{}: names {name}; see CORE_MAY for what the rules may name", file.path));
            }
        }
    }
    problems
}

/// The dependencies that a manifest names.
fn dependencies(manifest: &str) -> Vec<&str> {
    let section = manifest.split("[dependencies]").nth(1).unwrap_or_default();
    let section = section.split("\n[").next().unwrap_or_default();
    section
        .lines()
        .filter_map(|line| line.split(['.', ' ', '=']).next())
        .filter(|name| !name.is_empty())
        .collect()
}

fn below(folder: &str) -> Vec<Text> {
    let cut = |t: Text| {
        t.path.strip_prefix(folder).map(|path| Text { path: path.to_owned(), text: t.text.clone() })
    };
    texts(&[".rs"]).into_iter().filter_map(cut).collect()
}

#[test]
fn rooms_name_only_whom_they_may() {
    let (mut problems, met) = server(&below("server/src/"));
    for (at, (path, what, _)) in ALLOWED.iter().enumerate() {
        if !met.contains(&at) {
            problems.push(format!("server/src/{path} no longer names {what}: take it out of ALLOWED"));
        }
    }
    clean(&problems);
}

#[test]
fn the_core_is_pure() {
    clean(&core(&below("core/src/")));
    let manifest = std::fs::read_to_string(super::root().join("core/Cargo.toml")).unwrap();
    assert_eq!(dependencies(&manifest), ["aws-lc-rs", "thiserror", "zeroize"], "the rules need nothing else");
}

#[test]
fn breaches_are_found() {
    for (path, text, what) in [
        ("app/create.rs", "use crate::http::wire::SessionBody;", "http::wire::SessionBody"),
        (
            "app/create.rs",
            "use crate::store;\nfn f() { store::sqlite::Sqlite::open() }",
            "store::sqlite::Sqlite",
        ),
        ("app/create.rs", "use super::super::config::Config;", "config::Config"),
        ("app/create.rs", "fn f() { std::fs::read(\"x\") }", "std::fs::read"),
        ("store/sqlite/open.rs", "use crate::{codec, store::Key};", "codec"),
        ("store/memory.rs", "use rusqlite::Connection;", "rusqlite::Connection"),
        ("http/keys.rs", "use crate::store::Store;", "store::Store"),
        ("http/keys.rs", "use crate::host::entropy::Entropy;", "host::entropy"),
        ("http/listener/gate.rs", "use crate::app::App;", "app::App"),
        ("codec.rs", "use serde::Serialize;", "serde::Serialize"),
        ("cli/keys.rs", "use crate::app::App;", "app::App"),
        ("config.rs", "use crate::cli::Failure;", "cli::Failure"),
        ("host/clock.rs", "use crate::app::App;", "app::App"),
        ("host/clock.rs", "fn f() { aws_lc_rs::rand::fill() }", "aws_lc_rs::rand"),
        ("main.rs", "use handstamp_server::app::App;", "app::App"),
        ("attic.rs", "", "does not know"),
    ] {
        finds(&server(&[Text::new(path, text)]).0, what);
    }
    for (text, what) in [
        ("use std::collections::HashMap;", "HashMap"),
        ("use std::time::{Duration, Instant};", "Instant"),
        ("fn f() { let _ = std::env::var(\"X\"); }", "std::env"),
        ("use std::net::TcpStream;", "TcpStream"),
        ("use tokio::sync::Mutex;", "tokio"),
        ("use serde::Serialize;", "serde"),
        ("fn f() { aws_lc_rs::rand::fill(&mut [0; 8]); }", "aws_lc_rs::rand"),
    ] {
        finds(&core(&[Text::new("core/src/judge.rs", text)]), what);
    }
    let good = [
        (
            "app/create.rs",
            "use super::records::Stage; use crate::store::{Store, Op}; use crate::host::clock::Clock;",
        ),
        ("codec.rs", "mod bytes;\nuse crate::store::Key;\nfn f() { bytes::Reader::new() }"),
        ("main.rs", "use handstamp_server::run::Service;"),
    ];
    good.iter().for_each(|(path, text)| clean(&server(&[Text::new(path, text)]).0));
    assert_eq!(
        dependencies("[dependencies]\na.workspace = true\nb = \"1\"\n\n[dev-dependencies]\nc = \"1\"\n"),
        ["a", "b"]
    );
}
