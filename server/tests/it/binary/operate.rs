//! Backup, restore, doctor, reload: what an operator does beside the server.

use super::{Place, eventually};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt;

fn doctor(place: &Place) -> (Option<i32>, String) {
    let ran = place.run(&["doctor"]);
    (ran.code, ran.out + &ran.err)
}

#[test]
fn a_backup_is_put_back_and_revives_nobody() {
    let place = Place::new();
    let server = place.serve();
    let (_, kept) = server.create("ada");
    let (ended_id, ended) = server.create("bob");
    let file = place.path("backup.db");
    let name = file.display().to_string();
    let said = place.run(&["backup", &name]).done();
    assert!(said.contains("master key is not in it"), "{said}");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    place.run(&["backup", &name]).failed(&["backup.db"]);
    server.call("DELETE", &format!("/v1/sessions/{ended_id}"), None);
    let (_, later) = server.create("cy");
    let kids = |server: &super::Server| {
        let sets = ["/.well-known/jwks.json", "/v1/keys/data"].map(|path| server.call("GET", path, None).1);
        let of =
            |set: &Value| set["keys"].as_array().unwrap().iter().map(|key| key["kid"].to_string()).collect();
        let kids: Vec<Vec<String>> = sets.iter().map(of).collect();
        assert!(kids.iter().all(|some| !some.is_empty()), "signing and data keys: {kids:?}");
        kids.concat()
    };
    let signed_with = kids(&server);

    // Not while a server runs, and not over a store unless told so; each time nothing has changed.
    place.run(&["restore", &name, "--replace"]).failed(&["handstamp.db", "in use", "stop the server"]);
    server.stop();
    place.run(&["restore", &name]).failed(&["handstamp.db", "--replace"]);
    let server = place.serve();
    assert_eq!((server.validate(&later), server.validate(&kept)), (None, None));
    server.kill();

    // What was written just before a kill is in the log beside the file: it is put aside, too.
    let said = place.run(&["restore", &name, "--replace"]).done();
    assert!(said.contains("master key was not in it"), "{said}");
    let aside: Vec<_> = names(&place).into_iter().filter(|name| name.contains("before-restore")).collect();
    assert_eq!(aside.len(), 1, "{aside:?}");
    assert!(names(&place).iter().all(|name| !name.contains("restoring")), "{:?}", names(&place));
    assert_eq!(fs::metadata(place.data().join("handstamp.db")).unwrap().permissions().mode() & 0o777, 0o600);
    let server = place.serve();
    for token in [&kept, &ended] {
        assert_eq!(server.validate(token).as_deref(), Some("session_revoked"));
    }
    assert_eq!(server.validate(&later).as_deref(), Some("session_not_found"));
    // A key that was removed since the backup, because it was in wrong hands, must not sign again.
    let after = kids(&server);
    assert!(after.iter().all(|kid| !signed_with.contains(kid)));
    let (id, _) = server.create("ada");
    assert_eq!(server.get(&id)["state"], "live");
    let (_, found) = server.call("GET", "/v1/sessions?state=ended&user_id=ada", None);
    assert_eq!(found["items"][0]["ended"]["reason"], "restored from a backup", "{found}");
    server.stop();

    // The old one, which was put aside, is whole: it can be put back like a backup.
    let old = place.data().join(&aside[0]).display().to_string();
    place.run(&["restore", &old, "--replace", "--keep-sessions"]).done();
    let server = place.serve();
    assert_eq!((server.validate(&later), server.validate(&kept)), (None, None));
    assert_eq!(server.validate(&ended).as_deref(), Some("session_revoked"));
    // Also where sessions are kept: what happened to a key since, that store does not know.
    assert!(kids(&server).iter().all(|kid| !signed_with.contains(kid) && !after.contains(kid)));
    server.stop();
}

fn names(place: &Place) -> Vec<String> {
    fs::read_dir(place.data())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

/// With `--keep-sessions` the store is as it was, also what was ended since.
#[test]
fn a_restore_can_keep_sessions_and_make_a_new_place() {
    let place = Place::new();
    let server = place.serve();
    let (id, token) = server.create("ada");
    let file = place.path("backup.db").display().to_string();
    place.run(&["backup", &file]).done();
    server.call("DELETE", &format!("/v1/sessions/{id}"), None);
    server.stop();
    let other = Place::new();
    // A machine that was never started: without the master key nothing is made.
    other.run(&["restore", &file]).failed(&["master.key", "none is in a backup"]);
    assert!(!other.data().exists(), "a restore that cannot be made leaves a directory");
    fs::create_dir_all(other.data()).unwrap();
    fs::set_permissions(other.data(), fs::Permissions::from_mode(0o700)).unwrap();
    fs::copy(place.data().join("master.key"), other.data().join("master.key")).unwrap();
    other.run(&["restore", &file, "--keep-sessions"]).done();
    fs::copy(place.data().join("access.key"), other.data().join("access.key")).unwrap();
    let server = other.serve();
    assert_eq!(server.validate(&token), None);
    server.stop();
}

#[test]
fn a_restore_refuses_what_is_no_good_before_it_moves_anything() {
    let place = Place::new();
    let server = place.serve();
    let (_, token) = server.create("ada");
    let file = place.path("backup.db");
    let name = file.display().to_string();
    place.run(&["backup", &name]).done();
    server.stop();
    let whole = fs::read(&file).unwrap();
    let mut damaged = whole.clone();
    let half = damaged.len() / 2;
    damaged[half..].fill(0x5A);
    fs::write(&file, &damaged).unwrap();
    place.run(&["restore", &name, "--replace"]).failed(&["backup.db", "damaged"]);
    fs::write(&file, "no database at all").unwrap();
    place.run(&["restore", &name, "--replace"]).failed(&["backup.db"]);
    fs::write(&file, &whole).unwrap();
    let key = place.data().join("master.key");
    let right = fs::read(&key).unwrap();
    fs::write(&key, "cd".repeat(32)).unwrap();
    place.run(&["restore", &name, "--replace"]).failed(&["backup.db", "another master key"]);
    fs::write(&key, right).unwrap();
    let before = names(&place);
    assert!(before.iter().all(|name| !name.contains("restoring") && !name.contains("before")), "{before:?}");
    let server = place.serve();
    assert_eq!(server.validate(&token), None);
    server.stop();
}

#[test]
fn the_doctor_finds_what_is_wrong() {
    let place = Place::new();
    let (code, said) = doctor(&place);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("first start makes it"), "{said}");
    let server = place.serve();
    server.create("ada");
    let (code, said) = doctor(&place);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("is ready at") && said.contains(&server.pid().to_string()), "{said}");
    assert!(said.contains("is the one the store was made with") && !said.contains("problem"), "{said}");

    let key = place.data().join("master.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    fs::set_permissions(place.data(), fs::Permissions::from_mode(0o755)).unwrap();
    let (code, said) = doctor(&place);
    assert_eq!(code, Some(1));
    assert!(said.contains("chmod 600") && said.contains("chmod 700"), "{said}");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    fs::set_permissions(place.data(), fs::Permissions::from_mode(0o700)).unwrap();

    // A server that is stuck.
    server.signal(rustix::process::Signal::STOP);
    let (code, said) = doctor(&place);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("does not answer"), "{said}");
    server.signal(rustix::process::Signal::CONT);
    server.stop();
    let (code, said) = doctor(&place);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("none runs on this store"), "{said}");

    let right = fs::read(&key).unwrap();
    fs::write(&key, "cd".repeat(32)).unwrap();
    let (code, said) = doctor(&place);
    assert!(code == Some(1) && said.contains("not the one"), "{said}");
    fs::write(&key, right).unwrap();

    // The clock was set wrong once, and is right now.
    let conn = rusqlite::Connection::open(place.data().join("handstamp.db")).unwrap();
    conn.execute("UPDATE counters SET value = value + 3600000 WHERE name = ?1", [b"floor".as_slice()])
        .unwrap();
    drop(conn);
    let (code, said) = doctor(&place);
    assert!(code == Some(1) && said.contains("do not age"), "{said}");
}

#[test]
fn the_doctor_reads_the_end_of_the_certificate() {
    let place = Place::new();
    place.serve().stop();
    for (year, level, word) in [(2_020, Some(1), "has ended"), (2_099, Some(0), "is good until 2099")] {
        let mut wanted = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        wanted.not_before = rcgen::date_time_ymd(2_019, 1, 1);
        wanted.not_after = rcgen::date_time_ymd(year, 1, 2);
        let key = rcgen::KeyPair::generate().unwrap();
        let made = wanted.self_signed(&key).unwrap();
        fs::write(place.path("tls.crt"), made.pem()).unwrap();
        fs::write(place.path("tls.key"), key.serialize_pem()).unwrap();
        fs::set_permissions(place.path("tls.key"), fs::Permissions::from_mode(0o600)).unwrap();
        place.configure(&format!(
            "[server]\ntls_cert = \"{}\"\ntls_key = \"{}\"\n",
            place.path("tls.crt").display(),
            place.path("tls.key").display()
        ));
        let (code, said) = doctor(&place);
        assert!(code == level && said.contains(word), "{said}");
    }
}

#[test]
fn the_doctor_sees_rotations_that_stall() {
    let place = Place::new();
    place.configure("[policy.default]\nrotate_every = \"1s\"\n");
    let server = place.serve();
    let (_, token) = server.create("ada");
    let ask = serde_json::json!({"token": token, "rotate": "auto"});
    eventually("a rotation", || {
        let (_, said) = server.call("POST", "/v1/sessions/validate", Some(ask.clone()));
        said["rotated_token"].as_str().map(str::to_owned)
    });
    server.stop();
    let (_, said) = doctor(&place);
    assert!(said.contains("no session of 1 waits"), "{said}");
    // It goes on to be used with the old one.
    let conn = rusqlite::Connection::open(place.data().join("handstamp.db")).unwrap();
    conn.execute("UPDATE records SET seen = seen + 1200000 WHERE seen IS NOT NULL", []).unwrap();
    drop(conn);
    let (_, said) = doctor(&place);
    assert!(said.contains("1 of 1 sessions"), "{said}");
}

#[test]
fn a_reload_without_a_server() {
    let place = Place::new();
    place.run(&["config", "reload"]).failed(&["no server works on", "handstamp.db"]);
    let server = place.serve();
    server.create("ada");
    server.kill();
    // A killed one leaves its note behind; it is not believed.
    assert!(place.data().join("handstamp.db.run").exists());
    place.run(&["config", "reload"]).failed(&["no server works on"]);
}

/// What was erased is not in the file any more, however large it is; everybody else is logged in as before.
#[test]
fn a_store_is_compacted_while_it_is_stopped() {
    let place = Place::new();
    place.run(&["compact"]).failed(&["there is no store", "--data-dir"]);
    let server = place.serve();
    let (_, kept) = server.create("ada");
    let data = serde_json::json!({ "text": "x".repeat(15_000) });
    for n in 0..100 {
        let ask =
            serde_json::json!({ "user_id": "planted", "user_agent": format!("PLANTED-{n}"), "data": data });
        assert_eq!(server.call("POST", "/v1/sessions", Some(ask)).0, 201);
    }
    let (status, answer) = server.call("POST", "/v1/users/planted/erase", None);
    assert_eq!((status, &answer["statement"]["sessions_erased"]), (200, &serde_json::json!(100)));
    place.run(&["compact"]).failed(&["in use", "stop the server"]);
    server.stop();
    let file = place.data().join("handstamp.db");
    let before = fs::metadata(&file).unwrap().len();
    let said = place.run(&["compact"]).done();
    assert!(said.contains(&format!("before, it had {before}")), "{said}");
    let bytes = fs::read(&file).unwrap();
    assert!(bytes.len() as u64 <= before && memchr::memmem::find(&bytes, b"PLANTED").is_none());
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let mut names = names(&place);
    names.retain(|name| name.starts_with("handstamp.db"));
    assert_eq!(names, ["handstamp.db", "handstamp.db.lock"]);
    let server = place.serve();
    assert_eq!(server.validate(&kept), None);
    server.stop();
}
