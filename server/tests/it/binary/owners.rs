//! Who owns the files, and who may not read them: an operator is often another user than the server.

use super::disk::Mounted;
use super::{Place, Ran};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;
use std::process::Command;

/// A user that is not the one of the tests, as a service has one.
const SERVICE: u32 = 65_534;

/// Gives the data directory and all in it to the service. Needs the right to.
fn give(place: &Place) {
    for entry in fs::read_dir(place.data()).unwrap() {
        chown(entry.unwrap().path(), Some(SERVICE), Some(SERVICE)).unwrap();
    }
    chown(place.data(), Some(SERVICE), Some(SERVICE)).expect("these tests need the right to give files away");
}

#[track_caller]
fn all_of_the_service(place: &Place) {
    for entry in fs::read_dir(place.data()).unwrap() {
        let (path, found) = entry.map(|entry| (entry.path(), entry.metadata().unwrap())).unwrap();
        assert_eq!((found.uid(), found.gid()), (SERVICE, SERVICE), "{} changed hands", path.display());
        assert_eq!(found.permissions().mode() & 0o777, 0o600, "{}", path.display());
    }
}

/// The same command as root without any of root's rights: it may only touch what it owns.
fn without_rights(command: &Command) -> Command {
    let mut plain = Command::new("setpriv");
    plain.args(["--bounding-set=-all", "--inh-caps=-all", "--"]).arg(command.get_program());
    plain.args(command.get_args()).env_clear();
    if let Some(dir) = command.get_current_dir() {
        plain.current_dir(dir);
    }
    plain
}

fn run(mut command: Command) -> Ran {
    Ran::of(command.output().unwrap())
}

#[test]
fn what_is_restored_belongs_to_whom_it_belonged() {
    let place = Place::new();
    let server = place.serve();
    let (_, token) = server.create("ada");
    let backup = place.path("backup.db").display().to_string();
    place.run(&["backup", &backup]).done();
    // In the log beside the file, too.
    server.kill();
    give(&place);
    place.run(&["restore", "--replace", "--keep-sessions", &backup]).done();
    all_of_the_service(&place);
    let server = place.serve();
    assert_eq!(server.validate(&token), None);
    server.stop();

    // Where nothing is replaced, the directory says who.
    let other = Place::new();
    fs::create_dir_all(other.data()).unwrap();
    fs::set_permissions(other.data(), fs::Permissions::from_mode(0o700)).unwrap();
    fs::copy(place.data().join("master.key"), other.data().join("master.key")).unwrap();
    give(&other);
    other.run(&["restore", &backup]).done();
    all_of_the_service(&other);
}

/// Better no restore than one that the server cannot open.
#[test]
fn who_cannot_give_the_files_to_their_owner_replaces_nothing() {
    let place = Place::new();
    let server = place.serve();
    let (_, token) = server.create("ada");
    let backup = place.path("backup.db").display().to_string();
    place.run(&["backup", &backup]).done();
    server.stop();
    let store = place.data().join("handstamp.db");
    let before = fs::read(&store).unwrap();
    chown(&store, Some(SERVICE), Some(SERVICE)).unwrap();
    let ran = run(without_rights(&place.command(&["restore", "--replace", &backup])));
    ran.failed(&["handstamp.db", "belongs to user 65534", "as root"]);
    assert!(fs::read(&store).unwrap() == before);
    let left: Vec<_> = fs::read_dir(place.data()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().contains("restor")), "{left:?}");
    chown(&store, Some(0), Some(0)).unwrap();
    let server = place.serve();
    assert_eq!(server.validate(&token), None);
    server.stop();
}

/// A command with the wrong directory, or none, makes nothing there.
#[test]
fn a_backup_or_restore_in_the_wrong_place_leaves_nothing() {
    let place = Place::new();
    let server = place.serve();
    let backup = place.path("backup.db").display().to_string();
    place.run(&["backup", &backup]).done();
    server.stop();
    let empty = Place::new();
    let nothing = |deep: &Path| {
        assert!(!deep.exists() && !empty.data().exists(), "a directory was made");
        assert!(!empty.path("other.db").exists());
    };
    let (deep, other) = (empty.path("data/a/b"), empty.path("other.db").display().to_string());
    let deep_text = deep.display().to_string();
    empty.run(&["restore", &backup]).failed(&["master.key", "none is in a backup", "--data-dir"]);
    nothing(&deep);
    empty.run(&["backup", &other]).failed(&["data/handstamp.db", "--data-dir"]);
    nothing(&deep);
    // With the master key from elsewhere a new place can be made; it is not, when the backup is no good.
    let text = fs::read(&backup).unwrap();
    fs::write(empty.path("damaged.db"), &text[..text.len() / 2]).unwrap();
    let damaged = empty.path("damaged.db").display().to_string();
    let master = fs::read_to_string(place.data().join("master.key")).unwrap();
    let restore = |file: &str, key: &str| {
        let mut command = empty.plain(&["restore", file, "--data-dir", &deep_text]);
        command.env("HANDSTAMP_SERVER__MASTER_KEY", key);
        run(command)
    };
    restore(&damaged, master.trim()).failed(&["damaged.db"]);
    nothing(&deep);
    restore(&backup, &"ab".repeat(32)).failed(&["backup.db", "another master key"]);
    nothing(&deep);
    restore(&backup, master.trim()).done();
    assert_eq!(fs::metadata(&deep).unwrap().permissions().mode() & 0o777, 0o700);
    assert!(deep.join("handstamp.db").exists());
}

/// A store that may not be read is whole, as far as anybody knows: nobody is told to replace it.
#[test]
fn the_doctor_tells_what_may_not_be_read_from_what_is_damaged() {
    let place = Place::new();
    let data = place.data();
    let disk = Mounted::new(&data, "size=16m,mode=700");
    let server = place.serve();
    server.create("ada");
    // With its log beside it, and without.
    server.kill();
    for _ in 0..2 {
        disk.remount("ro");
        let ran = place.run(&["doctor"]);
        assert!(!ran.out.contains("damaged") && !ran.out.contains("put a backup"), "{}", ran.out);
        assert_eq!(ran.code, Some(1), "{}", ran.out);
        assert!(ran.out.contains("handstamp.db may not be written"), "{}", ran.out);
        disk.remount("rw");
        place.serve().stop();
    }

    let store = data.join("handstamp.db");
    chown(&store, Some(SERVICE), Some(SERVICE)).unwrap();
    let ran = run(without_rights(&place.command(&["doctor"])));
    assert!(!ran.out.contains("damaged") && !ran.out.contains("put a backup"), "{}", ran.out);
    assert!(ran.out.contains("handstamp.db") && ran.out.contains("user 65534"), "{}", ran.out);
    assert_eq!(ran.code, Some(1), "{}", ran.out);

    chown(&data, Some(SERVICE), Some(SERVICE)).unwrap();
    let ran = run(without_rights(&place.command(&["doctor"])));
    assert!(!ran.out.contains("first start makes it"), "{}", ran.out);
    assert!(ran.out.contains("user 65534") && ran.out.contains("Permission denied"), "{}", ran.out);
    assert_eq!(ran.code, Some(1), "{}", ran.out);
    chown(&data, Some(0), Some(0)).unwrap();
    chown(&store, Some(0), Some(0)).unwrap();
    drop(disk);
}
