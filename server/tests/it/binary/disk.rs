//! A disk that is full, and one that may only be read: small file systems of their own, taken away afterwards.

use super::{Place, clock, eventually};
use std::fs;
use std::path::Path;
use std::process::Command;

/// A file system in memory on the data directory of a place. Needs the right to mount.
pub(super) struct Mounted<'a>(&'a Path);

impl<'a> Mounted<'a> {
    pub(super) fn new(at: &'a Path, options: &str) -> Mounted<'a> {
        fs::create_dir_all(at).unwrap();
        mount(&["-t", "tmpfs", "-o", options, "handstamp-test"], at);
        Mounted(at)
    }
    pub(super) fn remount(&self, options: &str) {
        mount(&["-o", &format!("remount,{options}")], self.0);
    }
}

fn mount(arguments: &[&str], at: &Path) {
    let ran = Command::new("mount").args(arguments).arg(at).output().unwrap();
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "these tests need the right to mount (run them as root): {said}");
}

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0).output();
    }
}

#[test]
fn a_disk_that_fills_up_and_is_given_room() {
    let place = Place::new();
    let data = place.data();
    let disk = Mounted::new(&data, "size=6m,mode=700");
    let server = place.serve();
    let mut kept = vec![server.create("ada")];
    let roomy = serde_json::json!({"default": {"max_sessions": 1_000_000}});
    assert_eq!(server.call("PUT", "/v1/policies", Some(roomy)).0, 200);
    // Somebody else fills it.
    let other = data.join("somebody-elses");
    let mut bytes = vec![0u8; 5 << 20];
    while fs::write(&other, &bytes).is_err() {
        bytes.truncate(bytes.len() - (64 << 10));
    }
    let big = serde_json::json!({"user_id": "bob", "data": "x".repeat(16_000)});
    let refused = eventually("a full disk", || {
        let (status, said) = server.call("POST", "/v1/sessions", Some(big.clone()));
        match status {
            201 => {
                let text = |json: &serde_json::Value| json.as_str().unwrap().to_owned();
                kept.push((text(&said["session"]["id"]), text(&said["token"])));
                None
            }
            503 => Some(said),
            other => panic!("{other}: {said}"),
        }
    });
    assert_eq!(refused["code"], "store_unavailable");
    assert!(server.log().contains("no space left"), "{}", server.log());
    // Each look writes a little, too; the last bytes go with it.
    eventually("that it is not ready", || (server.call("GET", "/readyz", None).0 == 503).then_some(()));
    assert_eq!(server.call("GET", "/livez", None).0, 200);
    // Until there is room it stays so, whatever small thing still fits beside: through a few rounds of housekeeping,
    // which write nothing. One line of the log says it.
    let until = clock() + std::time::Duration::from_secs(3);
    eventually("three seconds", || {
        assert_eq!(server.call("GET", "/readyz", None).0, 503);
        (clock() > until).then_some(())
    });
    let log = server.log();
    assert_eq!(log.matches("nothing of a group commit was written").count(), 1, "{log}");
    assert!(!log.contains("can be written again"), "{log}");
    // What was acknowledged can be read, though nothing can be written.
    for (id, token) in &kept {
        assert_eq!(server.get(id)["state"], "live");
        assert_eq!(server.validate(token), None);
    }
    // A start without room says so; and so does the doctor.
    let said = place.run(&["doctor"]);
    assert!(said.out.contains("problem") && said.out.contains("disk"), "{}", said.out);
    // Room again: it goes on by itself.
    fs::remove_file(&other).unwrap();
    eventually("readiness", || (server.call("GET", "/readyz", None).0 == 200).then_some(()));
    // The answer goes out before the line.
    eventually("a line that says so", || server.log().contains("can be written again").then_some(()));
    assert_eq!(server.log().matches("can be written again").count(), 1, "{}", server.log());
    let (status, ended) = server.call("DELETE", &format!("/v1/sessions/{}", kept[0].0), None);
    assert_eq!((status, ended["ended"].as_u64()), (200, Some(1)));
    server.create("cy");
    server.stop();
    let server = place.serve();
    assert_eq!(server.validate(&kept[0].1).as_deref(), Some("session_revoked"));
    for (_, token) in &kept[1..] {
        assert_eq!(server.validate(token), None);
    }
    server.kill();
    drop(disk);
}

#[test]
fn a_start_on_a_full_disk() {
    let place = Place::new();
    let data = place.data();
    let disk = Mounted::new(&data, "size=64k,mode=700");
    fs::write(data.join("somebody-elses"), vec![0; 52 << 10]).unwrap();
    place.does_not_serve().failed(&["handstamp.db", "space"]);
    disk.remount("size=16m");
    let server = place.serve();
    server.create("ada");
    server.kill();
}

#[test]
fn a_data_directory_that_may_only_be_read() {
    let place = Place::new();
    let data = place.data();
    let disk = Mounted::new(&data, "size=16m,mode=700");
    let server = place.serve();
    let (_, token) = server.create("ada");
    server.stop();
    disk.remount("ro");
    place.does_not_serve().failed(&["handstamp.db", "may not be written", "writable"]);
    disk.remount("rw");
    let server = place.serve();
    assert_eq!(server.validate(&token), None);
    server.kill();
    // And an empty one.
    let empty = Place::new();
    let data = empty.data();
    let _disk = Mounted::new(&data, "size=16m,mode=700,ro");
    empty.does_not_serve().failed(&["data/master.key", "Read-only", "--data-dir"]);
}
