//! kill -9 at any moment under load: whatever was acknowledged is so afterwards.
//!
//! Several clients create, validate, rotate, end and end all of a user; each knows what it was told. The server is killed
//! at a moment that a dice chooses, started again, and asked about every answer that it gave.

use super::process::Client;
use super::{Place, Server, clock};
use crate::engine::full;
use serde_json::{Value as Json, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

const CLIENTS: usize = 4;

/// One session, as its client knows it.
#[derive(Clone)]
struct Known {
    id: String,
    user: String,
    /// All tokens it was given, in order.
    tokens: Vec<String>,
    /// Somebody began to end it.
    endangered: bool,
    /// The end was acknowledged.
    ended: bool,
}

pub(super) struct Worker {
    number: usize,
    dice: u64,
    known: Vec<Known>,
    made: u64,
}

impl Worker {
    pub(super) fn new(number: usize) -> Worker {
        Worker { number, dice: 77 + number as u64, known: Vec::new(), made: 0 }
    }

    fn roll(&mut self, sides: u64) -> u64 {
        self.dice = self.dice.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(0x1405_7B7E_F767_814F);
        (self.dice >> 33) % sides
    }

    /// One call; `None` when the answer did not come.
    pub(super) fn step(&mut self, client: &mut Client) -> Option<()> {
        let living: Vec<usize> = (0..self.known.len()).filter(|n| !self.known[*n].endangered).collect();
        let pick = usize::try_from(self.roll(living.len().max(1) as u64)).unwrap();
        let one = living.get(pick).copied();
        match (self.roll(20), one) {
            (0..8, _) | (_, None) => {
                // A user is one client's alone, so that it knows all that is done to it.
                let one_of_three = self.roll(3);
                let user = format!("w{}u{one_of_three}", self.number);
                let body = json!({"user_id": user, "tags": [format!("w:{}", self.number)], "data": {"n": self.made}});
                let made = call(client, "POST", "/v1/sessions", &body, 201)?;
                self.made += 1;
                let text = |json: &Json| json.as_str().unwrap().to_owned();
                self.known.push(Known {
                    id: text(&made["session"]["id"]),
                    user,
                    tokens: vec![text(&made["token"])],
                    endangered: false,
                    ended: false,
                });
            }
            (8..16, Some(n)) => {
                let token = self.known[n].tokens.last().unwrap().clone();
                let said = call(
                    client,
                    "POST",
                    "/v1/sessions/validate",
                    &json!({"token": token, "rotate": "auto"}),
                    200,
                )?;
                assert_eq!(said["valid"], true, "{said}");
                if let Some(next) = said["rotated_token"].as_str() {
                    self.known[n].tokens.push(next.to_owned());
                }
            }
            (16..18, Some(n)) => {
                self.known[n].endangered = true;
                let path = format!("/v1/sessions/{}", self.known[n].id);
                let ended = call(client, "DELETE", &path, &Json::Null, 200)?;
                assert_eq!(ended["ended"], 1);
                self.known[n].ended = true;
            }
            (18, Some(n)) => {
                let body = json!({"user_id": self.known[n].user});
                self.end_many(client, &body, n, |known, user| known.user == user)?;
            }
            (_, Some(n)) => {
                let body = json!({"tags": [format!("w:{}", self.number)]});
                self.end_many(client, &body, n, |_, _| true)?;
            }
        }
        Some(())
    }

    fn end_many(
        &mut self,
        client: &mut Client,
        body: &Json,
        n: usize,
        hit: impl Fn(&Known, &str) -> bool,
    ) -> Option<()> {
        let user = self.known[n].user.clone();
        let hit = |known: &&mut Known| hit(known, &user);
        self.known.iter_mut().filter(hit).for_each(|known| known.endangered = true);
        let (status, said) = client.call("POST", "/v1/sessions/revoke", Some(body)).ok()?;
        assert!(status == 200 || status == 202, "{status}: {said}");
        self.known.iter_mut().filter(hit).for_each(|known| known.ended = true);
        Some(())
    }

    /// Asks about everything that was acknowledged; returns how many answers were checked.
    pub(super) fn check(&mut self, server: &Server, round: u32) -> u64 {
        let mut client = server.client();
        let mut checked = 0;
        for known in &mut self.known {
            checked += 1;
            let newest = known.tokens.last().unwrap();
            let ask = json!({"token": newest, "touch": false});
            let said = call(&mut client, "POST", "/v1/sessions/validate", &ask, 200).unwrap();
            let valid = said["valid"] == true;
            let id = &known.id;
            if known.ended {
                assert!(!valid, "round {round}: {id} had ended and lives: {said}");
                assert_eq!(said["code"], "session_revoked", "round {round}: {id}");
            } else if !known.endangered {
                assert!(valid, "round {round}: the acknowledged session {id} is refused: {said}");
                // The one before it is late: it is allowed, or leads to the same again, and ends nothing.
                if let Some(before) = known.tokens.len().checked_sub(2).map(|n| &known.tokens[n]) {
                    let ask = json!({"token": before, "rotate": "auto", "touch": false});
                    let said = call(&mut client, "POST", "/v1/sessions/validate", &ask, 200).unwrap();
                    let same = said["rotated_token"] == newest.as_str();
                    let late = said["code"] == "token_superseded";
                    assert!(same || late, "round {round}: {id}: {said}");
                }
            } else {
                // Its end was under way: now it is known.
                known.ended = !valid;
                known.endangered = !valid;
            }
        }
        self.known.retain(|known| !known.ended || known.id.as_bytes()[20] % 4 == 0);
        let cut = self.known.len().saturating_sub(60);
        self.known.drain(..cut);
        checked
    }
}

fn call(client: &mut Client, method: &str, path: &str, body: &Json, expect: u16) -> Option<Json> {
    let body = if body.is_null() { None } else { Some(body) };
    let (status, said) = client.call(method, path, body).ok()?;
    assert_eq!(status, expect, "{method} {path}: {said}");
    Some(said)
}

#[test]
fn kill_at_any_moment() {
    let kills = if full() { 500 } else { 60 };
    let place = Place::new();
    place.configure(
        "[policy.default]\nrotate_every = \"1s\"\nrotation_grace = \"10m\"\nmax_sessions = 1000000\n[log]\nlevel = \"warn\"\n",
    );
    let mut workers: Vec<Worker> = (0..CLIENTS).map(Worker::new).collect();
    let (calls, mut checked, mut slowest) = (Arc::new(AtomicU64::new(0)), 0, Duration::ZERO);
    let began = clock();
    let mut server = place.serve();
    for round in 0..kills {
        let stop = Arc::new(AtomicBool::new(false));
        let at_work: Vec<_> = workers
            .drain(..)
            .map(|mut worker| {
                let (mut client, calls, stop) = (server.client(), calls.clone(), stop.clone());
                thread::spawn(move || {
                    while !stop.load(Ordering::Relaxed) && worker.step(&mut client).is_some() {
                        calls.fetch_add(1, Ordering::Relaxed);
                    }
                    worker
                })
            })
            .collect();
        // At a moment counted in answers, not in time, plus a little.
        let moment = calls.load(Ordering::Relaxed) + 5 + u64::from(round * 37 % 211);
        while calls.load(Ordering::Relaxed) < moment {
            thread::yield_now();
            assert!(at_work.iter().any(|worker| !worker.is_finished()), "the load ended by itself");
        }
        for _ in 0..round * 7919 % 5_003 {
            std::hint::spin_loop();
        }
        server.kill();
        stop.store(true, Ordering::Relaxed);
        workers.extend(at_work.into_iter().map(|worker| worker.join().unwrap()));
        server = place.serve();
        slowest = slowest.max(server.took);
        checked += workers.iter_mut().map(|worker| worker.check(&server, round)).sum::<u64>();
    }
    println!(
        "{kills} kills in {:?}, {} acknowledged calls, {checked} sessions checked, slowest start {slowest:?}",
        began.elapsed(),
        calls.load(Ordering::Relaxed)
    );
    let said = place.run(&["doctor"]);
    assert!(!said.out.contains("damaged"), "{}", said.out);
    server.stop();
}
