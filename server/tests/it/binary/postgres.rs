//! The real binary on a real PostgreSQL: what it keeps when it is killed, what it says when it cannot start, and what the
//! other commands say.

use super::{Place, Server, clock, eventually};
use crate::postgres::cluster::{Cluster, PASSWORD, Stop, shared};
use serde_json::json;
use std::time::Duration;

const MASTER: &str = "5f1c7a7e9b1d4c3f8a2e6b5d0c9f8e7d6c5b4a39281706f5e4d3c2b1a0918273";

/// A place whose server keeps everything in this database.
fn on(address: &str) -> Place {
    let place = Place::new();
    place.configure(&format!("[store]\nurl = \"{address}\"\n"));
    place
}

fn serve(place: &Place) -> Server {
    let mut command = place.command(&["serve"]);
    command.env("HANDSTAMP_SERVER__MASTER_KEY", MASTER);
    Server::start(command, place).unwrap_or_else(|ran| panic!("{ran:?}"))
}

/// Everything that was acknowledged is there after a kill, and on another node of the same database.
#[test]
fn nothing_is_lost() {
    let address = shared().fresh();
    let place = on(&address);
    let server = serve(&place);
    assert!(server.welcome.contains("PostgreSQL 127.0.0.1:"), "{}", server.welcome);
    assert!(!server.welcome.contains(PASSWORD), "{}", server.welcome);
    assert!(server.log().contains("not encrypted"), "{}", server.log());
    let key = server.key.clone();
    let (live, token) = server.create("ada");
    let (ended, gone) = server.create("bob");
    assert_eq!(server.validate(&token), None);
    let (status, _) = server.call("DELETE", &format!("/v1/sessions/{ended}"), None);
    assert_eq!(status, 200);
    assert_eq!(server.validate(&gone).as_deref(), Some("session_revoked"));
    server.kill();

    let server = serve(&place);
    assert_eq!(server.validate(&token), None);
    assert_eq!(server.validate(&gone).as_deref(), Some("session_revoked"));
    assert_eq!(server.get(&live)["state"], "live");
    assert_eq!(server.get(&ended)["state"], "ended");
    let (status, found) = server.call("GET", "/v1/sessions?user_id=bob&state=all", None);
    assert_eq!((status, &found["items"][0]["id"]), (200, &json!(ended)), "{found}");

    let beside = on(&address);
    let mut second = serve(&beside);
    second.key = key;
    assert_eq!(second.validate(&token), None);
    assert_eq!(second.validate(&gone).as_deref(), Some("session_revoked"));
    let (_, made) = second.create("cleo");
    assert_eq!(server.validate(&made), None);
    for log in [server.stop(), second.stop()] {
        assert!(!log.contains(PASSWORD), "{log}");
    }
}

/// Each reason not to start is a sentence, and none repeats the password.
#[test]
fn why_it_does_not_start() {
    let address = shared().fresh();
    let said = |place: &Place, key: bool| {
        let mut command = place.command(&["serve"]);
        if key {
            command.env("HANDSTAMP_SERVER__MASTER_KEY", MASTER);
        }
        let Err(ran) = Server::start(command, place) else { panic!("it serves") };
        assert!(!ran.err.contains(PASSWORD) && !ran.out.contains(PASSWORD), "{ran:?}");
        ran
    };
    // All nodes share one: none makes one for itself.
    said(&on(&address), false).failed(&[
        "no master key",
        "all nodes share one",
        "HANDSTAMP_SERVER__MASTER_KEY",
    ]);
    said(&on(&address.replace("@127", ":x@127")), true).failed(&["[store] url is no address", "as %XX"]);
    said(&on(&address.replace("sslmode=disable", "sslmode=require")), true).failed(&["verify-full"]);
    said(&on(&address.replace("sslmode=disable&", "")), true).failed(&["offers no TLS", "sslmode=disable"]);
    said(&on(&address.replace(PASSWORD, "wrong")), true).failed(&["password authentication failed"]);
    let place = on(&address);
    let server = serve(&place);
    said(&place, true).failed(&["is in use", "data directory of its own"]);
    // Another key than the one that the store was made with.
    let other = on(&address);
    let mut command = other.command(&["serve"]);
    command.env("HANDSTAMP_SERVER__MASTER_KEY", MASTER.replace('5', "6"));
    let Err(ran) = Server::start(command, &other) else { panic!("it serves") };
    ran.failed(&["made with another master key"]);
    server.stop();
    // It can be given as a file, too.
    let file = place.path("url");
    std::fs::write(&file, &address).unwrap();
    place.configure("");
    let mut command = place.command(&["serve"]);
    command.env("HANDSTAMP_SERVER__MASTER_KEY", MASTER).env("HANDSTAMP_STORE__URL_FILE", &file);
    Server::start(command, &place).unwrap_or_else(|ran| panic!("{ran:?}")).stop();
}

/// What works on a file says what there is instead; the doctor looks.
#[test]
fn the_other_commands() {
    let cluster = Cluster::start();
    let place = on(&cluster.fresh());
    let run = |words: &[&str]| {
        let mut command = place.command(words);
        super::Ran::of(command.env("HANDSTAMP_SERVER__MASTER_KEY", MASTER).output().unwrap())
    };
    let backup = place.path("backup.db");
    std::fs::write(place.path("other.db"), "x").unwrap();
    run(&["backup", backup.to_str().unwrap()]).failed(&["the store is PostgreSQL", "pg_dump"]);
    run(&["restore", place.path("other.db").to_str().unwrap()])
        .failed(&["the store is PostgreSQL", "pg_restore"]);
    run(&["compact"]).failed(&["the store is PostgreSQL", "autovacuum"]);
    assert!(!backup.exists());

    std::fs::create_dir_all(place.data()).unwrap();
    std::fs::set_permissions(place.data(), std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    let said = run(&["doctor"]).done();
    assert!(said.contains("has no tables: the first start makes them"), "{said}");
    let server = serve(&place);
    server.create("ada");
    let said = run(&["doctor"]).done();
    for words in [
        "takes writes; without TLS",
        "is not encrypted",
        "synchronous_commit is on; no standby is waited for",
        "connections are used\n".trim_start_matches("connections "),
        "agrees with the store's",
        "has version",
        "days have partitions",
        "keeps up",
        "is the one the store was made with",
        "no session of 1 waits",
        "and is ready at",
    ] {
        assert!(said.contains(words), "`{words}` is not said: {said}");
    }
    assert!(!said.contains(PASSWORD) && !said.contains("problem"), "{said}");
    server.stop();
    cluster.stop(Stop::Fast);
    let ran = run(&["doctor"]);
    assert!(ran.out.contains("problem") && ran.out.contains("refused"), "{ran:?}");
}

/// A store that goes away is 503 and nothing else; five seconds after it is back, so is the service.
#[test]
fn a_store_that_goes_away() {
    let cluster = Cluster::start();
    let place = on(&cluster.fresh());
    let server = serve(&place);
    let (_, token) = server.create("ada");
    let (ready, asked) = (server.client(), server.client());
    let (mut ready, mut asked) = (ready, asked);
    for how in [Stop::Fast, Stop::Kill] {
        cluster.stop(how);
        let (status, said) = asked.call("POST", "/v1/sessions", Some(&json!({"user_id": "bob"}))).unwrap();
        assert_eq!((status, &said["code"]), (503, &json!("store_unavailable")), "{said}");
        eventually("/readyz to say so", || {
            let (status, said) = ready.call("GET", "/readyz", None).unwrap();
            assert!(!said.to_string().contains(PASSWORD));
            (status == 503).then_some(())
        });
        cluster.again();
        let began = clock();
        eventually("the service", || {
            let (status, _) = ready.call("GET", "/readyz", None).unwrap();
            let made = asked.call("POST", "/v1/sessions", Some(&json!({"user_id": "bob"}))).unwrap();
            (status == 200 && made.0 == 201).then_some(())
        });
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
        assert_eq!(server.validate(&token), None);
    }
    assert!(!server.stop().contains(PASSWORD));
}

#[test]
fn what_no_start_would_take_for_an_address_is_not_called_right() {
    for url in ["postgres://u:p@h/d?sslmode=require", "postgres://u:pa?ss@h/d", "postgres://h/d"] {
        let place = Place::new();
        place.configure(&format!("[store]\nurl = \"{url}\"\n"));
        let ran = place.run(&["config", "check"]);
        assert!(!ran.out.contains("is right") && !ran.out.contains("ss@"), "{url}: {}", ran.out);
        let said = "store.url: is no address of a PostgreSQL database: ";
        assert!(ran.out.contains("handstamp.toml:2: ") && ran.out.contains(said), "{url}: {}", ran.out);
        assert_eq!(ran.code, Some(1));
    }
    let place = Place::new();
    place.configure("[store]\nurl = \"postgres://u:p@h/d?sslmode=disable\"\n");
    assert!(place.run(&["config", "check"]).done().contains("is right"));
}
