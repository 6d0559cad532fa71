//! Refresh tokens and the real server: a crowd over real sockets, kill -9 at any moment, an end that races with refreshes.
//! Whatever was given out is given again, and whatever had ended is dead.

use super::process::Client;
use super::{Place, Server};
use crate::engine::full;
use serde_json::{Value as Json, json};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

const POLICY: &str =
    "[policy.default]\nrotation_grace = \"10m\"\nmax_sessions = 1000000\n[log]\nlevel = \"warn\"\n";

/// Both tokens of a generation, the refresh token first.
type Pair = (String, String);

fn pair(said: &Json) -> Pair {
    let text = |name: &str| said[name].as_str().unwrap_or_else(|| panic!("{said}")).to_owned();
    (text("refresh_token"), text("token"))
}

fn start(client: &mut Client, user: &str) -> (String, Pair) {
    let body = json!({"user_id": user, "refresh": true});
    let (status, said) = client.call("POST", "/v1/sessions", Some(&body)).unwrap();
    assert_eq!(status, 201, "{said}");
    (said["session"]["id"].as_str().unwrap().to_owned(), pair(&said))
}

/// The next pair, or the code of the refusal; an error when no answer came.
fn refresh(client: &mut Client, token: &str) -> std::io::Result<Result<Pair, String>> {
    let (status, said) =
        client.call("POST", "/v1/sessions/refresh", Some(&json!({"refresh_token": token})))?;
    Ok(match status {
        200 => Ok(pair(&said)),
        401 => Err(said["code"].as_str().unwrap().to_owned()),
        _ => panic!("{status}: {said}"),
    })
}

fn asked(server: &Server, token: &str) -> Result<Pair, String> {
    refresh(&mut server.client(), token).unwrap()
}

#[test]
fn a_hundred_sockets_get_one_successor_and_a_restart_repeats_it() {
    let place = Place::new();
    place.configure(POLICY);
    let server = place.serve();
    let (id, first) = start(&mut server.client(), "ada");
    let redeeming: Vec<_> = (0..100)
        .map(|_| {
            let (mut client, token) = (server.client(), first.0.clone());
            thread::spawn(move || refresh(&mut client, &token).unwrap().unwrap())
        })
        .collect();
    let given: BTreeSet<Pair> = redeeming.into_iter().map(|one| one.join().unwrap()).collect();
    assert_eq!(given.len(), 1, "the chain forked");
    assert_eq!(server.get(&id)["generation"], 1);
    let next = given.into_iter().next().unwrap();
    server.kill();
    let server = place.serve();
    assert_eq!(asked(&server, &first.0), Ok(next.clone()));
    let third = asked(&server, &next.0).unwrap();
    server.kill();
    // What was spent before two crashes is known to be spent, and the session is as it was.
    let server = place.serve();
    assert_eq!(asked(&server, &first.0), Err("token_superseded".to_owned()));
    assert_eq!(asked(&server, &next.0), Ok(third.clone()));
    assert_eq!(server.validate(&third.1), None);
    // An end between two exchanges of one token, and a crash after it.
    let (status, _) = server.call("POST", "/v1/sessions/revoke", Some(json!({"token": third.0})));
    assert_eq!(status, 200);
    server.kill();
    let server = place.serve();
    for token in [&first.0, &next.0, &third.0] {
        assert_eq!(asked(&server, token), Err("session_revoked".to_owned()));
    }
    server.stop();
}

/// One session, as its client knows it.
struct Known {
    id: String,
    /// All pairs it was given, in order.
    pairs: Vec<Pair>,
    endangered: bool,
    ended: bool,
}

/// Refreshes, and ends now and then, until the server is gone.
fn work(client: &mut Client, known: &mut [Known], calls: &AtomicU64, mut dice: u64) -> Option<()> {
    loop {
        dice = dice.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(0x1405_7B7E_F767_814F);
        let pick = usize::try_from(dice >> 33).unwrap() % known.len();
        let one = &mut known[pick];
        if one.endangered {
            continue;
        }
        // The session that is picked least often stays, so that the loop has an end.
        if pick > 0 && (dice >> 20).is_multiple_of(60) {
            one.endangered = true;
            let (status, _) = client.call("DELETE", &format!("/v1/sessions/{}", one.id), None).ok()?;
            assert_eq!(status, 200);
            one.ended = true;
        } else {
            let held = one.pairs.last().unwrap().0.clone();
            let next = refresh(client, &held).ok()?.unwrap_or_else(|code| panic!("{}: {code}", one.id));
            one.pairs.push(next);
        }
        calls.fetch_add(1, Ordering::Relaxed);
    }
}

/// Asks about everything that was acknowledged; returns how many answers were checked.
fn check(server: &Server, known: &mut [Known], round: u64) -> u64 {
    let mut checked = 0;
    let mut client = server.client();
    for one in known.iter_mut().filter(|one| one.pairs.len() > 1 || one.endangered) {
        let held = one.pairs.last().unwrap().clone();
        let before = one.pairs.len().checked_sub(2).map(|n| one.pairs[n].clone());
        let said = refresh(&mut client, &held.0).unwrap();
        checked += 1;
        if one.ended || (one.endangered && said.is_err()) {
            assert_eq!(said, Err("session_revoked".to_owned()), "round {round}: {} lives", one.id);
            one.ended = true;
            continue;
        }
        // Whether the last exchange was on the disk or not: there is a successor, the same each time.
        let next = said.unwrap_or_else(|code| panic!("round {round}: {} is refused: {code}", one.id));
        assert_eq!(refresh(&mut client, &held.0).unwrap(), Ok(next.clone()), "round {round}: {}", one.id);
        if let Some(before) = before {
            let said = refresh(&mut client, &before.0).unwrap();
            assert_eq!(said, Err("token_superseded".to_owned()), "round {round}: {}", one.id);
        }
        one.pairs.push(next);
        one.endangered = false;
    }
    checked
}

#[test]
fn kill_at_any_moment_of_a_refresh() {
    let kills = if full() { 200 } else { 15 };
    let place = Place::new();
    place.configure(POLICY);
    let mut server = place.serve();
    let (calls, mut checked) = (Arc::new(AtomicU64::new(0)), 0);
    for round in 0..kills {
        let workers: Vec<_> = (0..4u64)
            .map(|worker| {
                let (mut client, calls) = (server.client(), calls.clone());
                let user = format!("r{round}w{worker}");
                let mut known: Vec<Known> = (0..6)
                    .map(|_| {
                        let (id, pair) = start(&mut client, &user);
                        Known { id, pairs: vec![pair], endangered: false, ended: false }
                    })
                    .collect();
                thread::spawn(move || {
                    let _ = work(&mut client, &mut known, &calls, round * 31 + worker);
                    known
                })
            })
            .collect();
        // At a moment counted in answers, not in time, plus a little.
        let moment = calls.load(Ordering::Relaxed) + 5 + round * 37 % 211;
        while calls.load(Ordering::Relaxed) < moment {
            thread::yield_now();
            assert!(workers.iter().any(|worker| !worker.is_finished()), "the load ended by itself");
        }
        for _ in 0..round * 7_919 % 5_003 {
            std::hint::spin_loop();
        }
        server.kill();
        let mut known: Vec<Vec<Known>> = workers.into_iter().map(|worker| worker.join().unwrap()).collect();
        server = place.serve();
        checked += known.iter_mut().map(|known| check(&server, known, round)).sum::<u64>();
    }
    println!(
        "{kills} kills, {} acknowledged calls, {checked} sessions checked",
        calls.load(Ordering::Relaxed)
    );
    server.stop();
}

/// Over real sockets and a real file: what begins after the end was acknowledged gets nothing, and what was given out
/// before is dead.
#[test]
fn an_end_races_with_refreshes() {
    let rounds = if full() { 1_000 } else { 60 };
    let place = Place::new();
    place.configure(POLICY);
    let server = place.serve();
    let mut through = 0;
    for round in 0..rounds {
        let (id, first) = start(&mut server.client(), "ada");
        let over = Arc::new(AtomicBool::new(false));
        let clients: Vec<_> = (0..4)
            .map(|_| {
                let (mut client, over, mut held) = (server.client(), over.clone(), first.0.clone());
                thread::spawn(move || {
                    let mut given = Vec::new();
                    loop {
                        let late = over.load(Ordering::SeqCst);
                        match refresh(&mut client, &held).unwrap() {
                            Ok(next) => {
                                assert!(!late, "a refresh went through after the end was acknowledged");
                                held = next.0.clone();
                                given.push(next);
                            }
                            // Others went on: the newest that is known here leads nowhere any more.
                            Err(code) if code == "token_superseded" => assert!(!late),
                            Err(code) => {
                                assert_eq!(code, "session_revoked");
                                return given;
                            }
                        }
                    }
                })
            })
            .collect();
        for _ in 0..round * 7_919 % 50_021 {
            std::hint::spin_loop();
        }
        let body = if round % 2 == 0 { json!({"user_id": "ada"}) } else { json!({"token": first.0}) };
        let (status, said) = server.call("POST", "/v1/sessions/revoke", Some(body));
        assert_eq!((status, &said["ended"]), (200, &json!(1)), "{said}");
        over.store(true, Ordering::SeqCst);
        let mut given: Vec<Pair> = clients.into_iter().flat_map(|client| client.join().unwrap()).collect();
        through += given.len();
        given.push(first);
        for (token, session) in &given {
            assert_eq!(asked(&server, token), Err("session_revoked".to_owned()));
            assert_eq!(server.validate(session).as_deref(), Some("session_revoked"));
        }
        assert_eq!(server.get(&id)["state"], "ended");
    }
    println!("{rounds} ends, {through} refreshes came before");
    assert!(through > rounds / 4, "the ends came first, nearly always: {through}");
    server.stop();
}
