//! Starts that cannot be: each says which file, and the way out, and leaves everything as it was.

use super::Place;
use std::fs;
use std::io::{Seek, SeekFrom, Write};

/// A place with a store that was used.
fn used() -> (Place, String) {
    let place = Place::new();
    let server = place.serve();
    let (_, token) = server.create("ada");
    server.stop();
    (place, token)
}

fn still_works(place: &Place, token: &str) {
    let server = place.serve();
    assert_eq!(server.validate(token), None);
    server.stop();
}

#[test]
fn a_second_process_on_the_same_data() {
    let place = Place::new();
    let server = place.serve();
    let (_, token) = server.create("ada");
    place.does_not_serve().failed(&["handstamp.db", "in use", "stop that one first"]);
    assert_eq!(server.validate(&token), None);
    server.create("bob");
    server.stop();
    still_works(&place, &token);
}

#[test]
fn a_wrong_master_key() {
    let (place, token) = used();
    let file = place.data().join("master.key");
    let right = fs::read_to_string(&file).unwrap();
    fs::write(&file, format!("{}\n", "ab".repeat(32))).unwrap();
    place.does_not_serve().failed(&["handstamp.db", "another master key", "master.key"]);
    fs::write(&file, "not a key\n").unwrap();
    place.does_not_serve().failed(&["master.key", "64 hexadecimal digits"]);
    fs::write(&file, right).unwrap();
    still_works(&place, &token);
}

#[test]
fn a_lost_master_key() {
    let (place, token) = used();
    let (file, away) = (place.data().join("master.key"), place.path("away"));
    fs::rename(&file, &away).unwrap();
    place.does_not_serve().failed(&["master.key", "is gone", "put the file back"]);
    assert!(!file.exists(), "a new key was made over a store that cannot be read with it");
    fs::rename(&away, &file).unwrap();
    still_works(&place, &token);
}

#[test]
fn a_master_key_that_others_can_read() {
    let (place, token) = used();
    let file = place.data().join("master.key");
    let mode = |mode| fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
    mode(0o644);
    place.does_not_serve().failed(&["master.key", "chmod 600"]);
    mode(0o600);
    still_works(&place, &token);
}

#[test]
fn a_damaged_database() {
    let (place, token) = used();
    let file = place.data().join("handstamp.db");
    let whole = fs::read(&file).unwrap();
    for (at, bytes) in [(0, 100), (4_096, 4_096), (whole.len() / 2, whole.len())] {
        let mut damaged = fs::OpenOptions::new().write(true).open(&file).unwrap();
        damaged.seek(SeekFrom::Start(at as u64)).unwrap();
        damaged.write_all(&vec![0x5A; bytes.min(whole.len() - at)]).unwrap();
        drop(damaged);
        place.does_not_serve().failed(&["handstamp.db", "restore"]);
        let said = place.run(&["doctor"]);
        assert_eq!(said.code, Some(1), "{}", said.out);
        assert!(said.out.contains("handstamp.db") && said.out.contains("problem"), "{}", said.out);
        fs::write(&file, &whole).unwrap();
    }
    fs::OpenOptions::new().write(true).open(&file).unwrap().set_len(whole.len() as u64 / 2).unwrap();
    place.does_not_serve().failed(&["handstamp.db", "damaged", "restore the last backup"]);
    fs::write(&file, &whole).unwrap();
    still_works(&place, &token);
}

/// An empty file is what a lost store looks like, not a first start: nobody is to be logged out by it unasked.
#[test]
fn an_empty_file_in_the_place_of_the_store() {
    let (place, token) = used();
    let file = place.data().join("handstamp.db");
    let whole = fs::read(&file).unwrap();
    for _ in 0..2 {
        fs::write(&file, "").unwrap();
        place.does_not_serve().failed(&["handstamp.db", "is empty", "restore", "delete"]);
        assert_eq!(fs::metadata(&file).unwrap().len(), 0);
        let said = place.run(&["doctor"]);
        assert!(said.code == Some(1) && said.out.contains("is empty"), "{}", said.out);
        // Also where the first key was taken away, as is advised.
        let _ = fs::rename(place.data().join("access.key"), place.path("access.key"));
    }
    fs::rename(place.path("access.key"), place.data().join("access.key")).unwrap();
    fs::write(&file, whole).unwrap();
    still_works(&place, &token);
    // Where nothing was ever kept, deleting it is the way out.
    fs::write(&file, "").unwrap();
    fs::remove_file(&file).unwrap();
    place.serve().stop();
}

/// The store gets its name when it is whole: whatever a killed first start left behind, the next one begins anew.
#[test]
fn a_first_start_that_was_killed() {
    let place = Place::new();
    place.serve().stop();
    let (data, key) = (place.data(), fs::read(place.data().join("master.key")).unwrap());
    for left in ["", "half of a database"] {
        fs::remove_dir_all(&data).unwrap();
        fs::create_dir_all(&data).unwrap();
        fs::set_permissions(&data, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
        fs::write(data.join("master.key"), &key).unwrap();
        fs::set_permissions(data.join("master.key"), std::os::unix::fs::PermissionsExt::from_mode(0o600))
            .unwrap();
        for name in ["handstamp.db.new", "handstamp.db.new-journal"] {
            fs::write(data.join(name), left).unwrap();
        }
        let server = place.serve();
        assert!(server.welcome.contains("curl "), "{}", server.welcome);
        server.create("ada");
        server.stop();
        let names = fs::read_dir(&data).unwrap().map(|entry| entry.unwrap().file_name());
        assert!(names.into_iter().all(|name| !name.to_string_lossy().contains(".new")));
    }
}

#[test]
fn a_newer_schema() {
    let (place, token) = used();
    let file = place.data().join("handstamp.db");
    let version = |sql: &str| {
        let conn = rusqlite::Connection::open(&file).unwrap();
        conn.execute_batch(sql).unwrap();
    };
    version("PRAGMA user_version = 900");
    place.does_not_serve().failed(&["handstamp.db", "newer Handstamp", "900"]);
    version("PRAGMA user_version = 3");
    still_works(&place, &token);
}

#[test]
fn a_file_in_the_place_of_the_directory() {
    let place = Place::new();
    fs::write(place.data(), "here I am").unwrap();
    place.does_not_serve().failed(&["data", "data directory", "--data-dir"]);
    assert_eq!(fs::read_to_string(place.data()).unwrap(), "here I am");
}

#[test]
fn a_port_that_is_taken() {
    let (place, token) = used();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_handstamp"));
    command.env_clear().args(["serve", "--listen", &address]).arg("--data-dir").arg(place.data());
    command.current_dir(place.path(""));
    let ran = super::Server::start(command, &place);
    ran.err().unwrap().failed(&[&address, "--listen"]);
    still_works(&place, &token);
}
