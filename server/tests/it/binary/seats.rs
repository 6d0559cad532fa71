//! kill -9 while seats change hands: there is never one too many, what was acknowledged sits, and what was lost on the way
//! costs its seat for a lease.

use super::{Place, Server, clock};
use crate::engine::full;
use serde_json::{Value as Json, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

const CLIENTS: u64 = 4;
/// More than the leases that all kills together can leave behind.
const SEATS: u64 = 40;
const POLICY: &str = "[policy.tag.\"team:ends\"]\nseats = 40\non_limit = \"end_oldest\"\n\
                      [policy.tag.\"team:refuses\"]\nseats = 40\non_limit = \"reject\"\n[log]\nlevel = \"warn\"\n";

fn count(server: &Server, tag: &str) -> u64 {
    let (status, said) = server.call("GET", &format!("/v1/sessions/count?tag={tag}"), None);
    assert_eq!(status, 200, "{said}");
    said["count"].as_u64().unwrap()
}

fn ask(user: u64, tag: &str) -> Json {
    json!({"user_id": format!("u{user}"), "tags": [tag]})
}

#[test]
fn killed_while_seats_change_hands() {
    let kills = if full() { 8 } else { 4 };
    let place = Place::new();
    place.configure(POLICY);
    let (answers, users) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let mut server = place.serve();
    let mut kept: Vec<String> = Vec::new();
    for round in 0..kills {
        let stop = Arc::new(AtomicBool::new(false));
        let workers: Vec<_> = (0..CLIENTS)
            .map(|worker| {
                let (mut client, answers, users) = (server.client(), answers.clone(), users.clone());
                let stop = stop.clone();
                thread::spawn(move || {
                    let mut mine = Vec::new();
                    while !stop.load(Ordering::Relaxed) {
                        let user = users.fetch_add(1, Ordering::Relaxed);
                        // Seats of the second tag are given back now and then.
                        if user.is_multiple_of(11)
                            && let Some(id) = mine.pop()
                        {
                            let Ok(_) = client.call("DELETE", &format!("/v1/sessions/{id}"), None) else {
                                break;
                            };
                        }
                        let tag =
                            if (user + worker).is_multiple_of(2) { "team:ends" } else { "team:refuses" };
                        let body = ask(user, tag);
                        let Ok((status, said)) = client.call("POST", "/v1/sessions", Some(&body)) else {
                            break;
                        };
                        match status {
                            201 if tag == "team:refuses" => {
                                mine.push(said["session"]["id"].as_str().unwrap().to_owned());
                            }
                            201 => {}
                            409 => {
                                assert_eq!((tag, &said["maximum"]), ("team:refuses", &json!(40)), "{said}")
                            }
                            other => panic!("{other}: {said}"),
                        }
                        answers.fetch_add(1, Ordering::Relaxed);
                    }
                    mine
                })
            })
            .collect();
        let moment = answers.load(Ordering::Relaxed) + 150 + round * 37;
        while answers.load(Ordering::Relaxed) < moment {
            for tag in ["team:ends", "team:refuses"] {
                assert!(count(&server, tag) <= SEATS, "{tag}");
            }
            assert!(workers.iter().any(|worker| !worker.is_finished()), "the load ended by itself");
        }
        server.kill();
        stop.store(true, Ordering::Relaxed);
        kept.extend(workers.into_iter().flat_map(|worker| worker.join().unwrap()));
        server = place.serve();
        assert!(count(&server, "team:ends") <= SEATS && count(&server, "team:refuses") <= SEATS);
    }
    // An end whose answer was lost may have gone through; each client has at most one.
    let live = |id: &&String| server.get(id)["state"] == "live";
    let gone = kept.len() - kept.iter().filter(live).count();
    assert!(gone as u64 <= CLIENTS * kills, "{gone} of {} are gone", kept.len());
    // Each lost lease costs a seat until it ends, and then no more.
    let began = clock();
    let mut user = 1_000_000;
    while count(&server, "team:refuses") < SEATS {
        user += 1;
        let (status, said) = server.call("POST", "/v1/sessions", Some(ask(user, "team:refuses")));
        assert!(status == 201 || status == 409, "{status}: {said}");
        assert!(began.elapsed() < Duration::from_secs(75), "a seat is lost for longer than a lease");
    }
    assert_eq!(server.call("POST", "/v1/sessions", Some(ask(0, "team:refuses"))).0, 409);
    assert_eq!(server.call("POST", "/v1/sessions", Some(ask(0, "team:ends"))).0, 201);
    // Of the other tag, no more are missing than leases may have been left.
    let ends = count(&server, "team:ends");
    assert!(ends <= SEATS && ends + CLIENTS * kills >= SEATS, "{ends}");
    server.stop();
}
