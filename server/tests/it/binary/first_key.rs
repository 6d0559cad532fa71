//! The first access key is told once, by the first start that comes to serve, and only where it was made.

use super::{Place, Server};
use serde_json::Value as Json;
use std::fs;
use std::process::Command;

/// `serve` with other words than the place's own.
fn serve(place: &Place, listen: &str) -> Command {
    let mut command = place.plain(&["serve", "--listen", listen, "--data-dir"]);
    command.arg(place.data());
    command
}

#[test]
fn a_start_that_cannot_listen_makes_no_key() {
    let place = Place::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let ran = Server::start(serve(&place, &address), &place).err().unwrap();
    ran.failed(&[&address, "--listen"]);
    assert!(!place.data().exists(), "something was made for a start that failed");
    place.configure(&format!("[metrics]\nlisten = \"{address}\"\n"));
    place.does_not_serve().failed(&[&address, "metrics"]);
    assert!(!place.data().exists());
    place.configure("");
    let server = place.serve();
    assert!(server.welcome.contains(&server.key) && server.welcome.contains("curl "), "{}", server.welcome);
    server.stop();
}

/// The second one of two equal starts: the port is taken by the first, and that is what is said.
#[test]
fn a_port_that_the_same_store_is_served_on() {
    let place = Place::new();
    let server = place.serve();
    let ran = Server::start(serve(&place, &server.address.clone()), &place).err().unwrap();
    ran.failed(&["handstamp.db", "in use", &server.address, &server.pid().to_string()]);
    server.stop();
}

/// A key that was given is known to who gave it, and where the output goes is not known.
#[test]
fn a_key_that_was_given_is_not_printed() {
    let made = Place::new().run(&["keys", "generate"]).out;
    let key = made.trim();
    let file = |place: &Place| {
        let path = place.path("it's a key");
        fs::write(&path, format!("{key}\n")).unwrap();
        path
    };
    for how in ["variable", "file", "configuration"] {
        let place = Place::new();
        let mut command = serve(&place, "127.0.0.1:0");
        let mut shell = Command::new("sh");
        shell.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin");
        let named = match how {
            "variable" => {
                command.env("HANDSTAMP_BOOTSTRAP__ACCESS_KEY", key);
                shell.env("HANDSTAMP_BOOTSTRAP__ACCESS_KEY", key);
                "HANDSTAMP_BOOTSTRAP__ACCESS_KEY".to_owned()
            }
            "file" => {
                command.env("HANDSTAMP_BOOTSTRAP__ACCESS_KEY_FILE", file(&place));
                file(&place).display().to_string()
            }
            _ => {
                place.configure(&format!("[bootstrap]\naccess_key = \"{key}\"\n"));
                shell.env("KEY", key);
                "handstamp.toml".to_owned()
            }
        };
        let server = Server::start(command, &place).unwrap_or_else(|ran| panic!("{ran:?}"));
        assert!(!server.welcome.contains(key), "{how}: {}", server.welcome);
        assert!(server.welcome.contains(&named), "{how}: {}", server.welcome);
        let joined = server.welcome.replace("\\\n", " ");
        let line = joined.lines().map(str::trim).find(|line| line.starts_with("curl ")).unwrap();
        let ran = shell.arg("-c").arg(line).output().unwrap();
        let said = String::from_utf8_lossy(&ran.stdout);
        assert!(said.contains("hst_"), "{how}: {line}: {said} {}", String::from_utf8_lossy(&ran.stderr));
        assert!(!server.stop().contains(key), "{how}");
    }
}

/// For machines: one object in the place of the page.
#[test]
fn with_json_the_welcome_is_an_object() {
    let place = Place::new();
    let said = |place: &Place| {
        let server =
            Server::start(place.command(&["serve", "--json"]), place).unwrap_or_else(|ran| panic!("{ran:?}"));
        let said: Json =
            serde_json::from_str(&server.welcome).unwrap_or_else(|why| panic!("{why}: {}", server.welcome));
        assert_eq!(said["address"], format!("http://{}", server.address));
        server.stop();
        said
    };
    let first = said(&place);
    let key = fs::read_to_string(place.data().join("access.key")).unwrap();
    assert_eq!(first["access_key"], key.trim());
    assert_eq!(first["data_dir"], place.data().display().to_string());
    assert_eq!(first["access_key_file"], place.data().join("access.key").display().to_string());
    let second = said(&place);
    assert!(second.get("access_key").is_none() && second["address"].is_string(), "{second}");
}
