//! Another master key on real files: whoever is cut short, at each step or killed at any moment, leaves a server that
//! starts with one of the two keys, and everybody is still logged in.

use super::{Place, clock};
use crate::config::{Said, load};
use handstamp_server::cli::Failure;
use handstamp_server::config::Flags;
use handstamp_server::run::master_key::{Step, rotate_watched};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;
use std::time::Duration;

fn read(place: &Place, name: &str) -> Option<String> {
    fs::read_to_string(place.data().join(name)).ok()
}

/// A store with a session, and no server.
fn begun() -> (Place, String) {
    let place = Place::new();
    let server = place.serve();
    let token = server.create("ada").1;
    server.stop();
    (place, token)
}

#[test]
fn everybody_stays_logged_in_and_older_backups_need_the_older_key() {
    let (place, token) = begun();
    let backups = ["before.db", "after.db"].map(|name| place.path(name).display().to_string());
    place.run(&["backup", &backups[0]]).done();
    let old = read(&place, "master.key").unwrap();
    let server = place.serve();
    place.run(&["master-key", "rotate"]).failed(&["in use", "stop the server"]);
    assert_eq!(read(&place, "master.key").unwrap(), old);
    server.stop();
    let said = place.run(&["master-key", "rotate"]).done();
    assert!(said.contains("master.key.old") && said.contains("1 environments"), "{said}");
    let new = read(&place, "master.key").unwrap();
    assert!(new != old && new.trim().len() == 64);
    assert_eq!(read(&place, "master.key.old").unwrap(), old);
    assert!(read(&place, "master.key.next").is_none());
    for name in ["master.key", "master.key.old"] {
        assert_eq!(
            fs::metadata(place.data().join(name)).unwrap().permissions().mode() & 0o777,
            0o600,
            "{name}"
        );
    }
    let server = place.serve();
    assert_eq!(server.validate(&token), None);
    let later = server.create("grace").1;
    place.run(&["doctor"]).done();
    place.run(&["keys", "signing", "list", "--url", &format!("http://{}", server.address)]).done();
    server.stop();
    place.run(&["backup", &backups[1]]).done();

    place.run(&["restore", &backups[0], "--replace"]).failed(&["another master key", "master.key.old"]);
    place.run(&["restore", &backups[1], "--replace", "--keep-sessions"]).done();
    let server = place.serve();
    assert_eq!((server.validate(&token), server.validate(&later)), (None, None));
    server.stop();
    // The older backup, with the older key.
    fs::rename(place.data().join("master.key.old"), place.data().join("master.key")).unwrap();
    place.does_not_serve().failed(&["another master key"]);
    place.run(&["restore", &backups[0], "--replace", "--keep-sessions"]).done();
    let server = place.serve();
    assert_eq!(
        (server.validate(&token), server.validate(&later).as_deref()),
        (None, Some("token_malformed"))
    );
}

/// Every backup can be put back, of whichever key it is.
#[test]
fn keys_that_were_put_aside_are_never_written_over() {
    let place = begun().0;
    let first = read(&place, "master.key").unwrap();
    place.run(&["master-key", "rotate", "--yes"]).done();
    let second = read(&place, "master.key").unwrap();
    place.run(&["master-key", "rotate", "--yes"]).done();
    let third = read(&place, "master.key").unwrap();
    place.run(&["master-key", "rotate", "--yes"]).done();
    let aside =
        ["master.key.old", "master.key.old.1", "master.key.old.2"].map(|name| read(&place, name).unwrap());
    assert_eq!(aside.into_iter().collect::<BTreeSet<_>>(), [first, second, third].into_iter().collect());
    assert_eq!(
        fs::metadata(place.data().join("master.key.old.1")).unwrap().permissions().mode() & 0o777,
        0o600
    );
    place.serve().stop();
}

#[test]
fn a_leaked_key_is_replaced_with_everything_that_it_made() {
    let (place, token) = begun();
    let ran = place.run(&["master-key", "rotate", "--end-sessions"]);
    assert!(ran.code == Some(2) && ran.err.contains("--yes"), "{ran:?}");
    let key = read(&place, "master.key").unwrap();
    let said = place.run(&["master-key", "rotate", "--end-sessions", "--yes", "--json"]).done();
    let said: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!((&said["sessions_ended"], &said["access_keys_deleted"]), (&true.into(), &1.into()));
    assert_ne!(read(&place, "master.key").unwrap(), key);
    let server = place.serve();
    let (status, _) = server.call("GET", "/v1/sessions", None);
    assert_eq!(status, 401, "the first access key is gone");
    assert!(!token.is_empty());
    server.stop();
}

/// At each step the process is gone. The next start has one of the two keys, and nobody is logged out.
#[test]
fn a_change_that_is_cut_short_at_any_step_is_finished_or_undone() {
    for (at, finished) in
        [(Step::Prepared, false), (Step::Committed, true), (Step::PutAside, true), (Step::Done, true)]
    {
        let (place, token) = begun();
        let before = read(&place, "master.key").unwrap();
        let flags = Flags { data_dir: Some(place.data().display().to_string()), ..Flags::default() };
        let config = load(&Said { flags, ..Said::default() }).ok().unwrap();
        let outcome = rotate_watched(&config, false, &mut |step| {
            if step == at { Err(Failure::new("gone")) } else { Ok(()) }
        });
        assert!(outcome.is_err(), "{at:?}");
        let next = read(&place, "master.key.next");
        assert_eq!(next.is_some(), at != Step::Done, "{at:?}");
        if let Some(next) = &next {
            assert_eq!(read(&place, "master.key").unwrap(), before, "{at:?}");
            assert!(place.run(&["doctor"]).out.contains("cut short"), "{at:?}");
            let backup = place.path("b.db").display().to_string();
            place.run(&["backup", &backup]).done();
            place.run(&["restore", &backup, "--replace"]).failed(&["cut short", "start the server once"]);
            assert_eq!(read(&place, "master.key.next").as_ref(), Some(next), "nobody took it away");
        }
        for start in 0..2 {
            let server = place.serve();
            assert_eq!(server.validate(&token), None, "{at:?} {start}");
            server.stop();
            assert!(read(&place, "master.key.next").is_none(), "{at:?}");
            let now = read(&place, "master.key").unwrap();
            assert_eq!(now != before, finished, "{at:?}");
            if let Some(next) = next.as_ref().filter(|_| finished) {
                assert_eq!(&now, next, "{at:?}");
                assert_eq!(read(&place, "master.key.old").as_ref(), Some(&before), "{at:?}");
            }
        }
        place.run(&["master-key", "rotate"]).done();
        let server = place.serve();
        assert_eq!(server.validate(&token), None, "{at:?}");
        server.stop();
    }
}

/// Killed at moments over the whole of its work, again and again on one store.
#[test]
fn a_change_that_is_killed_at_any_moment_is_finished_or_undone() {
    let (place, token) = begun();
    let began = clock();
    place.run(&["master-key", "rotate"]).done();
    let whole = began.elapsed();
    let (mut same, mut changed) = (0, 0);
    let rounds = 24_u32;
    for round in 0..2 * rounds {
        // Once it was killed before it had begun and after it was done. A busy machine may take its time.
        if round >= rounds && same > 0 && changed > 0 {
            break;
        }
        let before = read(&place, "master.key").unwrap();
        let mut child = place
            .command(&["master-key", "rotate"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let span = match round.checked_sub(rounds) {
            Some(more) if changed == 0 => whole * (more + 2),
            Some(more) => whole / (more + 2),
            None => whole * round / (rounds - 1),
        };
        let until = clock() + span;
        wait(until.saturating_duration_since(clock()));
        let _ = child.kill();
        child.wait().unwrap();
        let server = place.serve();
        assert_eq!(server.validate(&token), None, "{round}");
        server.stop();
        assert!(read(&place, "master.key.next").is_none());
        let after = read(&place, "master.key").unwrap();
        if after == before { same += 1 } else { changed += 1 }
    }
    assert!(same > 0 && changed > 0, "{same} {changed}: it was not killed in between");
}

#[expect(clippy::disallowed_methods, reason = "the moment of the kill is chosen, not waited for")]
fn wait(span: Duration) {
    std::thread::sleep(span);
}
