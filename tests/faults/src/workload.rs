//! What clients do, all at once and on all nodes: sessions begin, are used by slow and hasty clients, rotate, are
//! refreshed, and end in every way; crowds press against limits; somebody looks at what has ended; an operator changes
//! a rule and deletes keys.

use crate::calls::{How, New, text};
use crate::client::Ask;
use crate::history::{Answer, Call, Scope};
use crate::world::{Held, Person, World, lock};
use hyper::Method;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::task::JoinHandle;

/// How many sessions one user may have with a tag whose name says so.
pub(crate) const MOST: usize = 2;
/// How many seats `org:seats` has.
pub(crate) const SEATS: usize = 4;

/// The rules of the environment, in which only tags limit anything, however long it goes on: `allows` says whether watched sessions may come from where they come.
pub(crate) fn policy(allows: bool) -> Value {
    let networks = if allows { ["198.51.100.0/24"] } else { ["203.0.113.0/24"] };
    json!({
        "default": {"rotate_every": "1s", "rotation_grace": "60s", "max_sessions": 10_000},
        "tag": {
            "limit:reject": {"max_sessions": MOST, "on_limit": "reject"},
            "limit:evict": {"max_sessions": MOST, "on_limit": "end_oldest"},
            "org:seats": {"seats": SEATS, "on_limit": "end_oldest"},
            "watched:yes": {"ip_allow": networks},
        }
    })
}

/// Starts everybody; they stop when the world is over.
pub(crate) fn start(world: &Arc<World>, seed: u64) -> Vec<JoinHandle<()>> {
    let person = |number: u64| Person::new(world, seed.wrapping_mul(1_000) + number);
    let mut all = Vec::new();
    for number in 0..3 {
        all.push(tokio::spawn(wander(person(number), number)));
        all.push(tokio::spawn(crowd(person(10 + number))));
        all.push(tokio::spawn(look_back(person(20 + number))));
    }
    for number in 0..2 {
        all.push(tokio::spawn(two_tabs(person(30 + number), person(40 + number), number)));
        all.push(tokio::spawn(refresh(person(50 + number), person(60 + number), number)));
    }
    all.push(tokio::spawn(revoke(person(70))));
    all.push(tokio::spawn(govern(person(80))));
    all.push(tokio::spawn(keys(person(90))));
    all
}

/// Logs in again and again, and uses what it has; verifiers elsewhere have to hear of the end.
async fn wander(mut person: Person, number: u64) {
    let mut round = 0;
    while !person.world.over() {
        round += 1;
        let tags = if person.random.chance(60) { vec!["group:one"] } else { vec!["group:two"] };
        let idempotency = person.random.chance(30).then(|| person.random.next());
        let user = format!("wanderer-{number}-{}", round % 7);
        let new = New { user, tags, offline: true, idempotency, refresh: false };
        let mut held = None;
        // Under an idempotency key it is asked again, elsewhere, until there is an answer.
        for _ in 0..if idempotency.is_some() { 5 } else { 1 } {
            let node = person.any_node();
            held = person.create(node, &new).await;
            if held.is_some() || person.world.over() {
                break;
            }
        }
        let Some(held) = held else { continue };
        for _ in 0..5 + person.random.below(25) {
            if person.world.over() || held.over.load(Ordering::Relaxed) {
                break;
            }
            use_it(&mut person, &held, 40).await;
            person.rest(60).await;
        }
    }
}

/// One validation on any node, mostly of the newest token.
async fn use_it(person: &mut Person, held: &Held, rotates: u64) {
    let node = person.any_node();
    let token = if person.random.chance(85) { held.newest() } else { held.older() };
    let how = How { strong: person.random.chance(25), rotate: person.random.chance(rotates) };
    person.validate(node, held, &token, how).await;
}

/// Two tabs of one browser, each on its own node, rotate the same session at the same time.
async fn two_tabs(mut one: Person, mut other: Person, number: u64) {
    (one.hasty, other.hasty) = (25, 25);
    let mut round = 0;
    while !one.world.over() {
        round += 1;
        let user = format!("tabs-{number}-{}", round % 5);
        let node = one.any_node();
        let new = New { user, tags: vec!["group:two"], ..New::default() };
        let Some(held) = one.create(node, &new).await else { continue };
        for _ in 0..20 {
            if one.world.over() || held.over.load(Ordering::Relaxed) {
                break;
            }
            let token = held.newest();
            let how = How { strong: false, rotate: true };
            let (here, there) = (one.any_node(), other.any_node());
            tokio::join!(one.validate(here, &held, &token, how), other.validate(there, &held, &token, how));
            one.rest(700).await;
        }
    }
}

/// Two programs share a refresh token and often do not wait for the answer.
async fn refresh(mut one: Person, mut other: Person, number: u64) {
    (one.hasty, other.hasty) = (25, 25);
    let mut round = 0;
    while !one.world.over() {
        round += 1;
        let user = format!("refresher-{number}-{}", round % 5);
        let new = New { user, tags: vec!["group:two"], refresh: true, offline: true, ..New::default() };
        let node = one.any_node();
        let Some(held) = one.create(node, &new).await else { continue };
        for _ in 0..30 {
            if one.world.over() || held.over.load(Ordering::Relaxed) {
                break;
            }
            let (here, there) = (one.any_node(), other.any_node());
            tokio::join!(one.refresh(here, &held), other.refresh(there, &held));
            one.rest(150).await;
        }
    }
}

/// More logins than a limit allows, and a look at who is in.
async fn crowd(mut person: Person) {
    while !person.world.over() {
        let which = person.random.below(3);
        let (name, tag) = match which {
            0 => ("reject", "limit:reject"),
            1 => ("evict", "limit:evict"),
            _ => ("seats", "org:seats"),
        };
        let user = format!("{name}-{}", person.random.below(if which == 2 { 6 } else { 2 }));
        let node = person.any_node();
        let new = New { user, tags: vec![tag], offline: person.random.chance(50), ..New::default() };
        person.create(node, &new).await;
        let living = person.world.living();
        let mine: Vec<_> = living.iter().filter(|held| held.tags.iter().any(|own| &**own == tag)).collect();
        for _ in 0..3 {
            let Some(held) = person.random.pick(&mine).copied() else { break };
            let node = person.any_node();
            let how = How { strong: person.random.chance(70), rotate: false };
            person.validate(node, held, &held.newest(), how).await;
        }
        // Room is made, sometimes.
        if person.random.chance(35)
            && let Some(held) = person.random.pick(&mine).copied()
        {
            let node = person.any_node();
            person.end(node, Scope::One(held.name.clone())).await;
        }
        person.rest(80).await;
    }
}

/// Tries those that have ended lately, everywhere.
async fn look_back(mut person: Person) {
    while !person.world.over() {
        let gone: Vec<Arc<Held>> = {
            let sessions = lock(&person.world.sessions);
            sessions.iter().rev().filter(|held| held.over.load(Ordering::Relaxed)).take(12).cloned().collect()
        };
        if let Some(held) = person.random.pick(&gone).cloned() {
            use_it(&mut person, &held, 10).await;
        }
        person.rest(30).await;
    }
}

/// Ends one, all of a user, all of a tag; and tries them elsewhere until well after the second in which they must be refused.
async fn revoke(mut person: Person) {
    let mut round = 0;
    while !person.world.over() {
        round += 1;
        let living: Vec<_> = person.world.living().into_iter().filter(|held| !pinned(held)).collect();
        let Some(held) = person.random.pick(&living).cloned() else {
            person.rest(100).await;
            continue;
        };
        // Everywhere in memory first, so that there is something to forget.
        for node in 0..person.world.nodes.len() {
            person.validate(node, &held, &held.newest(), How::default()).await;
        }
        let scope = match round % 6 {
            1 => Scope::Tag("group:one".into()),
            3 | 4 => Scope::User(held.user.clone()),
            _ => Scope::One(held.name.clone()),
        };
        let node = person.any_node();
        person.end(node, scope).await;
        for _ in 0..8 {
            let node = person.any_node();
            let how = How { strong: person.random.chance(20), rotate: false };
            person.validate(node, &held, &held.newest(), how).await;
            person.rest(350).await;
        }
    }
}

/// Sessions that nobody ends, because rules and keys are watched with them.
fn pinned(held: &Held) -> bool {
    held.tags.iter().any(|tag| &**tag == "watched:yes" || &**tag == "pinned:yes")
}

/// Changes the watched rule, on one node after the other, and sees what the others make of it.
async fn govern(mut person: Person) {
    let new = New { user: "watched".to_owned(), tags: vec!["watched:yes"], ..New::default() };
    let Some(held) = insist(&mut person, &new).await else { return };
    let key = person.world.key.clone();
    let (mut value, mut allows) = (0, true);
    let mut version: Option<String> = None;
    while !person.world.over() {
        let node = person.any_node();
        let Some(seen) = version.take() else {
            let answer = person.look(node, Ask::new(Method::GET, "/v1/policies", &key, None)).await;
            version = answer
                .filter(|(status, _)| *status == 200)
                .map(|(_, body)| format!("\"{}\"", body["version"]));
            person.rest(100).await;
            continue;
        };
        (value, allows) = (value + 1, !allows);
        // With If-Match, so that a change without an answer cannot come after one that was acknowledged later.
        let mut ask = Ask::new(Method::PUT, "/v1/policies", &key, Some(policy(allows)));
        ask.headers.push(("if-match", seen));
        let read = |status: u16, body: &Value| match (status, text(body, "code")) {
            (200, _) => Answer::Done,
            (412, Some(code)) => Answer::Refused(code.into()),
            _ => Answer::Wrong("".into()),
        };
        let (answer, body) = person.ask(node, Call::Rule { value, allows }, ask, read).await;
        if answer == Answer::Done {
            version = Some(format!("\"{}\"", body["version"]));
        }
        for _ in 0..10 {
            let node = person.any_node();
            let how = How { strong: person.random.chance(20), rotate: false };
            person.validate(node, &held, &held.newest(), how).await;
            person.rest(250).await;
        }
    }
}

/// Makes keys, uses them everywhere, deletes them, and tries them again.
async fn keys(mut person: Person) {
    let new = New { user: "pinned".to_owned(), tags: vec!["pinned:yes"], ..New::default() };
    let Some(held) = insist(&mut person, &new).await else { return };
    let operator = person.world.key.clone();
    let mut number = 0;
    while !person.world.over() {
        number += 1;
        let node = person.any_node();
        let body = json!({"name": format!("key {number}"), "scopes": ["sessions:read"]});
        let made = person.look(node, Ask::new(Method::POST, "/v1/keys", &operator, Some(body))).await;
        let secret = made.as_ref().and_then(|(_, body)| text(body, "secret"));
        let id = made.as_ref().and_then(|(_, body)| text(&body["key"], "id"));
        let (Some(secret), Some(id)) = (secret, id) else {
            person.rest(200).await;
            continue;
        };
        for _ in 0..5 {
            let node = person.any_node();
            person.use_key(node, number, secret, &held.newest()).await;
            person.rest(60).await;
        }
        let node = person.any_node();
        person.delete_key(node, number, id).await;
        for _ in 0..8 {
            let node = person.any_node();
            person.use_key(node, number, secret, &held.newest()).await;
            person.rest(350).await;
        }
    }
}

/// Until it is made, or everything is over.
async fn insist(person: &mut Person, new: &New) -> Option<Arc<Held>> {
    while !person.world.over() {
        let node = person.any_node();
        if let Some(held) = person.create(node, new).await {
            return Some(held);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    None
}

/// When all is well again: everybody who should live does, everywhere, and everybody who has ended has not come back.
pub(crate) async fn look_at_all(world: &Arc<World>, seed: u64) {
    let mut person = Person::new(world, seed);
    person.hasty = 0;
    let all: Vec<Arc<Held>> = lock(&world.sessions).clone();
    // Who lives, all of them; of the others those that ended last.
    let gone = all.iter().rev().filter(|held| held.over.load(Ordering::Relaxed)).take(100).cloned();
    let living: Vec<Arc<Held>> = world.living();
    for held in living.into_iter().chain(gone.collect::<Vec<_>>()) {
        for node in 0..world.nodes.len() {
            let how = How { strong: node == 0, rotate: false };
            person.validate(node, &held, &held.newest(), how).await;
        }
    }
}
