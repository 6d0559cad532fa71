//! A database that was put back to an earlier moment by its own tools, and the master key of nodes that share one: the real
//! commands, the real `pg_dump` and `pg_restore`.

use super::{Place, Ran, Server};
use crate::postgres::cluster::{PASSWORD, program, shared};
use serde_json::json;
use std::path::Path;
use std::process::Command;

const MASTER: &str = "7d1c7a7e9b1d4c3f8a2e6b5d0c9f8e7d6c5b4a39281706f5e4d3c2b1a0918273";

/// A place whose server keeps everything in this database, and has its master key in a file.
fn on(address: &str, master: &Path) -> Place {
    let place = Place::new();
    place.configure(&format!(
        "[store]\nurl = \"{address}\"\n[server]\nmaster_key_file = \"{}\"\n",
        master.display()
    ));
    place
}

fn key_in(place: &Place, text: &str) -> std::path::PathBuf {
    use std::os::unix::fs::PermissionsExt;
    let file = place.path("the.key");
    std::fs::write(&file, text).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    file
}

fn serve(place: &Place) -> Server {
    let mut command = place.command(&["serve"]);
    command.env_remove("HANDSTAMP_SERVER__MASTER_KEY");
    Server::start(command, place).unwrap_or_else(|ran| panic!("{ran:?}"))
}

/// One of PostgreSQL's own programs, on this database.
fn tool(name: &str, words: &[&str]) {
    let mut command = Command::new(program(name));
    command.env("PGPASSWORD", PASSWORD).args(["-h", "127.0.0.1", "-U", "handstamp", "-d", "handstamp"]);
    command.args(["-p", &shared().port().to_string()]).args(words);
    Ran::of(command.output().unwrap()).done();
}

#[test]
fn what_must_not_come_back_with_a_database_that_was_put_back() {
    let keys = Place::new();
    let master = key_in(&keys, MASTER);
    let place = on(&shared().address("put_back"), &master);
    let server = serve(&place);
    let key = server.key.clone();
    let (_, stays) = server.create("ada");
    let (ended, gone) = server.create("bob");
    let mint = |server: &Server| {
        server.call("POST", "/v1/sessions", Some(json!({"user_id": "cleo", "access_token": {}})))
    };
    assert_eq!(mint(&server).0, 201);
    let kids = |server: &Server| {
        let (status, keys) = server.call("GET", "/.well-known/jwks.json", None);
        assert_eq!(status, 200);
        let kids = keys["keys"].as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap().to_owned());
        kids.collect::<Vec<_>>()
    };
    let kids_before = kids(&server);
    assert!(!kids_before.is_empty());
    let dump = place.path("dump").display().to_string();
    tool("pg_dump", &["-Fc", "-n", "put_back", "-f", &dump]);
    assert_eq!(server.call("DELETE", &format!("/v1/sessions/{ended}"), None).0, 200);

    // Never behind the back of a node: from its own directory, and from another one.
    let place_of_another = on(&shared().address("put_back"), &master);
    std::fs::create_dir_all(place_of_another.data()).unwrap();
    place_of_another
        .run(&["restore", "--in-place", "--yes"])
        .failed(&["a node is at work", "stop every node first"]);
    place.run(&["restore", "--in-place", "--yes"]).failed(&["is in use"]);
    assert_eq!(server.validate(&stays), None);
    server.stop();

    let put_back = || tool("pg_restore", &["--clean", "--if-exists", "-n", "put_back", &dump]);
    // Nobody was told: who was logged out is logged in again. It is what this is about.
    put_back();
    let mut server = serve(&place);
    server.key.clone_from(&key);
    assert_eq!(server.validate(&gone), None);
    server.stop();

    put_back();
    place.run(&["restore", "--in-place", "--keep-sessions"]).done();
    let mut server = serve(&place);
    server.key.clone_from(&key);
    assert_eq!((server.validate(&stays), server.validate(&gone)), (None, None));
    // Keys behind access tokens are others at once.
    let kids_after = kids(&server);
    assert!(
        kids_after.iter().all(|kid| !kids_before.contains(kid)) && !kids_after.is_empty(),
        "{kids_after:?}"
    );
    server.stop();

    put_back();
    let said = place.run(&["restore", "--in-place", "--yes", "--json"]).done();
    let said: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!(said["sessions_kept"], json!(false));
    assert!(!said.to_string().contains(PASSWORD), "{said}");
    let mut server = serve(&place);
    server.key.clone_from(&key);
    for token in [&stays, &gone] {
        assert_eq!(server.validate(token).as_deref(), Some("session_revoked"));
    }
    assert_eq!(mint(&server).0, 201);
    server.stop();

    // Without tables, or with another key, there is nothing to do.
    let empty = on(&shared().fresh(), &master);
    // A machine that no node has run on yet will do, and stays as it was.
    empty.run(&["restore", "--in-place", "--yes"]).failed(&["is empty"]);
    assert!(!empty.data().exists());
    let other = Place::new();
    let wrong = on(&shared().address("put_back"), &key_in(&other, &MASTER.replace('7', "8")));
    std::fs::create_dir_all(wrong.data()).unwrap();
    wrong.run(&["restore", "--in-place", "--yes"]).failed(&["another master key"]);
}

/// It is changed once, for all nodes, while none of them runs; who goes on with the old one does not start.
#[test]
fn another_master_key_for_all_nodes() {
    let keys = Place::new();
    let master = key_in(&keys, MASTER);
    let address = shared().fresh();
    let (place, beside) = (on(&address, &master), on(&address, &master));
    let server = serve(&place);
    let key = server.key.clone();
    let (_, token) = server.create("ada");
    for dir in [&place, &beside] {
        std::fs::create_dir_all(dir.data()).unwrap();
    }
    beside.run(&["master-key", "rotate"]).failed(&["a node is at work"]);
    server.stop();
    let old = std::fs::read_to_string(&master).unwrap();
    let said = beside.run(&["master-key", "rotate"]).done();
    assert!(said.contains("the new master key is in"), "{said}");
    assert_ne!(std::fs::read_to_string(&master).unwrap(), old);
    let nodes = [serve(&place), serve(&beside)].map(|mut server| {
        server.key.clone_from(&key);
        assert_eq!(server.validate(&token), None);
        server
    });
    let (_, made) = nodes[0].create("bob");
    assert_eq!(nodes[1].validate(&made), None);
    nodes.into_iter().for_each(|server| drop(server.stop()));
    let behind = Place::new();
    let place = on(&address, &key_in(&behind, &old));
    let Err(ran) = Server::start(place.command(&["serve"]), &place) else { panic!("it serves") };
    ran.failed(&["made with another master key"]);
}
