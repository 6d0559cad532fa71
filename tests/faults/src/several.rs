//! What only several nodes can show, one by one and counted exactly: an end on one node and the others, one chain, limits
//! and seats, memory and the record's own end, a follower of the feed that changes nodes.

use crate::calls::{How, New, text};
use crate::client::{Ask, Stream};
use crate::history::{Answer, Scope, Violation};
use crate::workload::{MOST, SEATS};
use crate::world::{Held, Person, World};
use hyper::Method;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What was found, and what was measured.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) violations: Vec<Violation>,
    /// In milliseconds.
    pub(crate) figures: Vec<(&'static str, f64)>,
}

impl Seen {
    fn expect(&mut self, promise: &'static str, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.violations.push(Violation { promise, what: what() });
        }
    }
}

/// All of them; `times` ends are measured.
pub(crate) async fn several(world: &Arc<World>, times: usize) -> Seen {
    let mut seen = Seen::default();
    ends(world, times, &mut seen).await;
    chains(world, &mut seen).await;
    limits(world, &mut seen).await;
    expiry(world, &mut seen).await;
    feed(world, &mut seen).await;
    seen
}

/// Ends on one node while another has the session in memory: how long that one lets it in.
async fn ends(world: &Arc<World>, times: usize, seen: &mut Seen) {
    const AT_ONCE: usize = 8;
    let workers: Vec<_> = (0..AT_ONCE)
        .map(|worker| {
            let world = world.clone();
            tokio::spawn(async move {
                let mut person = patient(&world, worker as u64);
                let mut took = Vec::new();
                for turn in 0..times.div_ceil(AT_ONCE) {
                    let (here, there) = (turn % world.nodes.len(), (turn + 1) % world.nodes.len());
                    let new = New { user: format!("ends-{worker}-{turn}"), ..New::default() };
                    let Some(held) = person.create(here, &new).await else { continue };
                    for _ in 0..2 {
                        person.validate(there, &held, &held.newest(), How::default()).await;
                    }
                    if person.end(here, Scope::One(held.name.clone())).await != Answer::Done {
                        continue;
                    }
                    let acknowledged = Instant::now();
                    while acknowledged.elapsed() < Duration::from_secs(3) {
                        let asked = Instant::now();
                        let answer = person.validate(there, &held, &held.newest(), How::default()).await;
                        if answer.refused().is_some() {
                            // It may have been refused from the moment of asking on.
                            took.push(asked.duration_since(acknowledged).as_secs_f64() * 1_000.0);
                            break;
                        }
                    }
                }
                took
            })
        })
        .collect();
    let mut took = Vec::new();
    for worker in workers {
        took.extend(worker.await.unwrap_or_default());
    }
    took.sort_by(f64::total_cmp);
    let at = |share: usize| took.get((took.len() * share / 1_000).min(took.len().saturating_sub(1))).copied();
    for (name, share) in [
        ("refused_elsewhere_p50_ms", 500),
        ("refused_elsewhere_p99_ms", 990),
        ("refused_elsewhere_max_ms", 1_000),
    ] {
        seen.figures.extend(at(share).map(|value| (name, value)));
    }
    seen.expect("several", took.len() * 10 >= times * 9, || {
        format!("only {} of {times} ends were measured", took.len())
    });
    seen.expect("several", at(1_000).is_none_or(|most| most <= 1_000.0), || {
        format!("{:?} ms until refused elsewhere", at(1_000))
    });
}

/// Every node is shown the same token at the same time: one successor, and the same again for who comes late.
async fn chains(world: &Arc<World>, seen: &mut Seen) {
    let mut people: Vec<Person> = (0..6).map(|number| patient(world, 100 + number)).collect();
    let mut sessions = Vec::new();
    for turn in 0..40_usize {
        let (node, new) = (turn % world.nodes.len(), New { user: format!("chain-{turn}"), ..New::default() });
        if let Some(person) = people.first_mut() {
            sessions.extend(person.create(node, &new).await);
        }
    }
    for _ in 0..2 {
        tokio::time::sleep(Duration::from_millis(1_050)).await;
        for held in &sessions {
            let token = held.newest();
            let how = How { rotate: true, strong: false };
            let asked = people.iter_mut().enumerate().map(|(number, person)| {
                let (token, node) = (&token, number % world.nodes.len());
                async move { person.validate(node, held, token, how).await }
            });
            let answers = futures_util::future::join_all(asked).await;
            let successors: BTreeSet<_> = answers
                .iter()
                .map(|answer| if let Answer::Allowed { successor } = answer { *successor } else { None })
                .collect();
            let one = successors.len() == 1 && !successors.contains(&None);
            seen.expect("several", one, || format!("{}: asked six times at once, {answers:?}", held.name));
        }
    }
}

/// Many more than there is room for, from everywhere at once; then who lives is counted.
async fn limits(world: &Arc<World>, seen: &mut Seen) {
    const CROWD: usize = 24;
    let kinds = [
        ("exact-reject", "limit:reject", MOST),
        ("exact-evict", "limit:evict", MOST),
        ("", "org:seats", SEATS),
    ];
    for (user, tag, most) in kinds {
        let asked = (0..CROWD).map(|number| {
            let mut person = patient(world, 200 + number as u64);
            let user = if user.is_empty() { format!("seat-{number}") } else { user.to_owned() };
            async move {
                let new = New { user, tags: vec![tag], ..New::default() };
                person.create(number % person.world.nodes.len(), &new).await
            }
        });
        let made: Vec<Arc<Held>> =
            futures_util::future::join_all(asked).await.into_iter().flatten().collect();
        let mut person = patient(world, 300);
        let path = format!("/v1/sessions?tag={}&state=live&limit=100", tag.replace(':', "%3A"));
        for node in 0..world.nodes.len() {
            let listed = person.look(node, Ask::new(Method::GET, &path, &world.key, None)).await;
            let count = listed.as_ref().and_then(|(_, body)| body["items"].as_array()).map(Vec::len);
            seen.expect("several", count == Some(most), || {
                format!("{CROWD} at once with {tag}: node {node} lists {count:?} live ones, and {most} are allowed")
            });
        }
        let mut alive = 0;
        for held in &made {
            let how = How { strong: true, rotate: false };
            let answer = person.validate(0, held, &held.newest(), how).await;
            alive += usize::from(matches!(answer, Answer::Allowed { .. }));
        }
        seen.expect("several", alive == most, || {
            format!("{alive} of {CROWD} with {tag} are let in, not {most}")
        });
    }
}

/// A session that every node has in memory ends by time: from that instant on no node lets it in.
async fn expiry(world: &Arc<World>, seen: &mut Seen) {
    let mut person = patient(world, 400);
    let body = json!({"user_id": "brief", "expires_in": 2});
    let asked = Instant::now();
    let made = person.look(0, Ask::new(Method::POST, "/v1/sessions", &world.key, Some(body))).await;
    let token = made.as_ref().and_then(|(_, body)| text(body, "token")).unwrap_or_default().to_owned();
    // Made after it was asked for and before it was answered, so it ends between these two.
    let (first, last) = (asked + Duration::from_secs(2), Instant::now() + Duration::from_secs(2));
    let mut let_in = 0;
    while Instant::now() < last + Duration::from_millis(300) {
        for node in 0..world.nodes.len() {
            let body = json!({"token": token, "touch": false});
            let begun = Instant::now();
            let answer = person
                .look(node, Ask::new(Method::POST, "/v1/sessions/validate", &world.key, Some(body)))
                .await;
            let valid = answer.as_ref().and_then(|(_, body)| body["valid"].as_bool());
            let ended = Instant::now();
            let_in += usize::from(valid == Some(true));
            // The clock of the store is known to half a round trip.
            let doubt = Duration::from_millis(30);
            let wrong =
                valid == Some(true) && begun > last + doubt || valid == Some(false) && ended + doubt < first;
            seen.expect("several", !wrong && valid.is_some(), || {
                format!(
                    "a session of 2 s, {:?} after it was asked for, on node {node}: {answer:?}",
                    begun - asked
                )
            });
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    seen.expect("several", let_in > 10, || format!("a session of 2 s was let in {let_in} times only"));
}

/// A place in the feed is one on every node: nobody has to begin again elsewhere, and nothing is missed on the way.
async fn feed(world: &Arc<World>, seen: &mut Seen) {
    let mut person = patient(world, 500);
    let mut place: Option<String> = None;
    let mut ended: Option<Arc<Held>> = None;
    for turn in 0..6_usize {
        let node = turn % world.nodes.len();
        let Some(address) = world.nodes.get(node).copied() else { return };
        let mut ask = Ask::new(Method::GET, "/v1/revocations", &world.key, None);
        ask.headers.push(("accept", "text/event-stream".to_owned()));
        ask.headers.extend(place.iter().map(|id| ("last-event-id", id.clone())));
        let Some(mut stream) = Stream::open(address, &ask).await else {
            seen.expect("several", false, || format!("no feed on node {node}"));
            return;
        };
        let (mut told, mut beats) = (Vec::new(), 0);
        while beats < 2
            && let Some(line) = stream.line(Duration::from_secs(2)).await
        {
            if let Some(id) = line.strip_prefix("id: ") {
                place = Some(id.to_owned());
            }
            let Some(item) =
                line.strip_prefix("data: ").and_then(|data| serde_json::from_str::<Value>(data).ok())
            else {
                continue;
            };
            seen.expect("several", turn == 0 || item.get("reset").is_none(), || {
                format!("node {node} does not know the place {place:?} of another node, and begins again")
            });
            beats += usize::from(item.get("as_of").is_some());
            told.extend(text(&item, "session_id").map(ToOwned::to_owned));
        }
        if let Some(held) = &ended {
            seen.expect("several", told.iter().any(|id| **id == *held.name), || {
                format!(
                    "{} ended between two nodes, and node {node} does not tell it; it told {told:?}",
                    held.name
                )
            });
        }
        drop(stream);
        // While nobody follows, one ends, on the node after next.
        let new = New { user: format!("feed-{turn}"), offline: true, ..New::default() };
        ended = person.create(node, &new).await;
        if let Some(held) = &ended {
            person.end((turn + 2) % world.nodes.len(), Scope::One(held.name.clone())).await;
        }
    }
}

fn patient(world: &Arc<World>, seed: u64) -> Person {
    let mut person = Person::new(world, seed);
    person.hasty = 0;
    person
}
