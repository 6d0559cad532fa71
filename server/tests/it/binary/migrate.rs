//! `migrate-store` beside a server under load, killed again and again: nothing that was acknowledged is lost.

use super::kill::Worker;
use super::process::{Client, eventually};
use super::revocations::{Known, Stream};
use super::{Place, Ran, Server};
use crate::postgres::cluster::shared;
use serde_json::{Value as Json, json};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};

const CLIENTS: usize = 3;
const RULES: &str = "[policy.default]\nrotate_every = \"1s\"\nrotation_grace = \"10m\"\nmax_sessions = 1000000\n[log]\nlevel = \"warn\"\n";

/// Workers that work until they are told to stop, or nobody answers them.
struct Load {
    stop: Arc<AtomicBool>,
    calls: Arc<AtomicU64>,
    threads: Vec<JoinHandle<Worker>>,
}

impl Load {
    fn on(server: &Server, workers: Vec<Worker>) -> Load {
        let (stop, calls) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let start = |mut worker: Worker| {
            let (mut client, calls, stop) = (server.client(), calls.clone(), stop.clone());
            thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) && worker.step(&mut client).is_some() {
                    calls.fetch_add(1, Ordering::Relaxed);
                }
                worker
            })
        };
        let threads = workers.into_iter().map(start).collect();
        Load { stop, calls, threads }
    }

    /// Waits until so many more answers have come.
    fn goes_on_for(&self, answers: u64) {
        let before = self.calls.load(Ordering::Relaxed);
        // Each step has a deadline of its own: a busy machine takes its time.
        for moment in (before + 1..=before + answers)
            .filter(|n| (n - before).is_multiple_of(10) || *n == before + answers)
        {
            eventually("some work", || {
                assert!(self.threads.iter().any(|thread| !thread.is_finished()), "the load ended by itself");
                (self.calls.load(Ordering::Relaxed) >= moment).then_some(())
            });
        }
    }

    fn end(self) -> Vec<Worker> {
        self.stop.store(true, Ordering::Relaxed);
        self.threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    }
}

/// A migration as a process.
struct Migration {
    child: Child,
    lines: BufReader<std::process::ChildStdout>,
}

impl Migration {
    fn start(place: &Place, from: &str, to: &str) -> Migration {
        let mut command: Command = place.command(&["migrate-store", from, to, "--wait", "--json"]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Migration { child, lines }
    }

    /// Reads on to this step.
    fn reaches(&mut self, event: &str) -> Json {
        loop {
            let mut line = String::new();
            if self.lines.read_line(&mut line).unwrap() == 0 {
                let mut said = String::new();
                std::io::Read::read_to_string(self.child.stderr.as_mut().unwrap(), &mut said).unwrap();
                panic!("it ended before `{event}`: {said}");
            }
            let step: Json = serde_json::from_str(&line).unwrap();
            if step["event"] == event {
                return step;
            }
        }
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn ended(mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }
}

fn serve_on(place: &Place, store: &str) -> Result<Server, Ran> {
    Server::start(place.command(&["--store", store, "serve"]), place)
}

/// A start beside a server that runs, with the same master key.
fn other_node(place: &Place, store: &str) -> Result<Server, Ran> {
    let data = place.path("other");
    std::fs::create_dir_all(&data).unwrap();
    std::fs::copy(place.data().join("master.key"), data.join("master.key")).unwrap();
    let mut command = place.plain(&["--listen", "127.0.0.1:0", "--store", store, "serve", "--config"]);
    command.arg(place.path("handstamp.toml")).arg("--data-dir").arg(&data);
    Server::start(command, place)
}

/// All history, from behind an id on.
fn history(server: &Server, after: Option<&str>) -> Vec<Json> {
    let mut client: Client = server.client();
    let mut all: Vec<Json> = Vec::new();
    let mut after = after.map(str::to_owned);
    loop {
        let query = after.iter().map(|id| format!("&after={id}")).collect::<String>();
        let (status, page) = client.call("GET", &format!("/v1/events?limit=200{query}"), None).unwrap();
        assert_eq!(status, 200, "{page}");
        let items = page["items"].as_array().unwrap().clone();
        let Some(last) = items.last() else { return all };
        after = Some(last["id"].as_str().unwrap().to_owned());
        all.extend(items);
    }
}

/// Moves the store of a server under load, with kills, and looks at what came of it.
pub(crate) fn moves(place: &Place, from: &str, to: &str) {
    place.configure(RULES);
    let server = serve_on(place, from).unwrap();
    let load = Load::on(&server, (0..CLIENTS).map(Worker::new).collect());
    load.goes_on_for(300);
    // Killed before it began, at any moment of a round, and while it waits.
    let mut dice = 12_345_u64;
    for kill in 0..12 {
        let mut migration = Migration::start(place, from, to);
        if kill % 3 == 1 {
            migration.reaches("began");
        } else if kill % 3 == 2 {
            migration.reaches("stop_the_service");
        }
        dice = dice.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(0x1405_7B7E_F767_814F);
        load.goes_on_for((dice >> 33) % 60);
        migration.kill();
    }
    // What is not whole is no store, and the one that lives is none to be filled.
    let said = other_node(place, to).err().expect("it is not whole");
    said.failed(&["is not whole: it is being filled from", "migrate-store"]);
    place.run(&["migrate-store", to, from]).failed(&["is itself being filled"]);

    let mut migration = Migration::start(place, from, to);
    migration.reaches("stop_the_service");
    // A listener that hears of one end, and of another one only after the move.
    let me = (server.address.clone(), server.key.clone());
    let mut known = Known::default();
    let make = |user: &str| {
        let body = json!({"user_id": user, "access_token": {}});
        let (status, made) = server.call("POST", "/v1/sessions", Some(body));
        assert_eq!(status, 201, "{made}");
        made["session"]["id"].as_str().unwrap().to_owned()
    };
    let (heard, unheard) = (make("listened"), make("listened"));
    let end = |id: &str| assert_eq!(server.call("DELETE", &format!("/v1/sessions/{id}"), None).0, 200);
    let mut stream = Stream::open(&me, None).unwrap();
    end(&heard);
    while !known.ended.contains(&heard) {
        stream.learn(&mut known).unwrap();
    }
    drop(stream);
    end(&unheard);
    load.goes_on_for(50);
    let before = history(&server, None);
    load.goes_on_for(50);
    // It stops while everybody works: what was acknowledged until the last moment counts.
    server.stop();
    let mut workers = load.end();
    let done = migration.reaches("done");
    assert_eq!(migration.ended(), Some(0));
    assert_eq!(done["already"], false, "{done}");
    println!("{done}");

    let said = serve_on(place, from).err().expect("it has moved away");
    said.failed(&["was moved to", "start the service on that one"]);
    let server = serve_on(place, to).unwrap();
    let checked: u64 = workers.iter_mut().map(|worker| worker.check(&server, 0)).sum();
    assert!(checked > 100, "{checked}");
    let after = history(&server, None);
    assert_eq!(after.get(..before.len()), Some(before.as_slice()));
    let middle = before[before.len() / 2]["id"].as_str().unwrap();
    let from_the_middle = history(&server, Some(middle));
    let known_of_it = &after[before.len() / 2 + 1..];
    // Housekeeping may have added to it.
    assert_eq!(from_the_middle.get(..known_of_it.len()), Some(known_of_it));
    let me = (server.address.clone(), server.key.clone());
    let mut stream = Stream::open(&me, known.last.as_deref()).unwrap();
    while !known.ended.contains(&unheard) {
        stream.learn(&mut known).unwrap();
        assert!(known.ended.contains(&heard), "it had to begin anew");
    }
    drop(stream);
    // It goes on, and can be moved back with all that happened since.
    let load = Load::on(&server, workers);
    load.goes_on_for(100);
    server.stop();
    let mut workers = load.end();
    let said = place.run(&["migrate-store", to, from]).done();
    assert!(said.contains("going on") && said.contains("are equal"), "{said}");
    serve_on(place, to).err().expect("it has moved back").failed(&["was moved to"]);
    let server = serve_on(place, from).unwrap();
    workers.iter_mut().for_each(|worker| {
        worker.check(&server, 1);
    });
    server.stop();
}

#[test]
fn from_file_to_file() {
    let place = Place::new();
    let (from, to) = (place.path("one.db"), place.path("two.db"));
    moves(&place, &format!("sqlite:{}", from.display()), &format!("sqlite:{}", to.display()));
}

/// The master key is in the data directory, as it was; with PostgreSQL it must be there already.
#[test]
fn from_file_to_database_and_back() {
    let place = Place::new();
    let from = place.path("one.db");
    moves(&place, &format!("sqlite:{}", from.display()), &shared().fresh());
}

#[test]
fn from_database_to_database() {
    let place = Place::new();
    place.configure(RULES);
    // Makes the master key.
    serve_on(&place, &format!("sqlite:{}", place.path("other.db").display())).unwrap().stop();
    moves(&place, &shared().fresh(), &shared().fresh());
}

/// Connections that are all lost at once do not mean that somebody has stopped the service: it is about to come back.
#[test]
fn a_service_that_only_lost_its_connections_has_not_stopped() {
    let place = Place::new();
    place.configure("");
    let (from, to) = (shared().fresh(), shared().fresh());
    serve_on(&place, &format!("sqlite:{}", place.path("other.db").display())).unwrap().stop();
    let server = serve_on(&place, &from).unwrap();
    let (_, token) = server.create("ada");
    eventually("it keeps house", || server.log().contains("keeps house for all").then_some(()));
    // As if all of its lines were cut, and none made again yet.
    server.kill();
    let said = place.run(&["migrate-store", &from, &to]);
    assert!(!said.out.contains("are equal"), "{}{}", said.out, said.err);
    said.failed(&["a node was killed, or lost its connections, less than ten seconds ago"]);
    let server = serve_on(&place, &from).unwrap();
    assert_eq!(server.validate(&token), None);
    server.stop();
    let said = place.run(&["migrate-store", &from, &to, "--wait"]).done();
    assert!(said.contains("are equal"), "{said}");
}
