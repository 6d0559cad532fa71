//! Addresses and user agents grow old: each is kept as it is until its time has come, and within an hour and a round
//! after that is what the operator chose; in steps of bounded work; and a restart goes on where it was.

use super::house::{House, Plan, asked, good};
use crate::conformance::world::Scratch;
use crate::front::{Front, Fronted};
use async_trait::async_trait;
use handstamp_core::event::{Event, EventKind};
use handstamp_core::id::SessionId;
use handstamp_core::policy::{Policy, Rules};
use handstamp_core::privacy::{Privacy, shorten_address, shorten_agent};
use handstamp_core::session::Client;
use handstamp_core::time::{Millis, Span};
use handstamp_server::app::create::Create;
use handstamp_server::app::search::{Filter, Which};
use handstamp_server::app::validate::Ask;
use handstamp_server::codec::control::{aging_key, read_aging};
use handstamp_server::codec::{event, read_session, sessions};
use handstamp_server::store::faulty::Call;
use handstamp_server::store::memory::Memory;
use handstamp_server::store::sqlite::{Options, Sqlite};
use handstamp_server::store::{Batch, EventQuery, Query, Store, StoreError};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

const HOUR: Span = Span::hours(1);

fn plan() -> Plan {
    let forever = Span::days(3_000);
    Plan {
        policy: Policy::from(Rules {
            idle_timeout: Some(forever),
            absolute_timeout: Some(forever),
            ..Rules::default()
        }),
        ..Plan::default()
    }
}

fn client(ip: &str, agent: &str) -> Client {
    Client { ip: Some(ip.parse().unwrap()), user_agent: Some(agent.into()), agent: None }
}

fn days(shorten: i64, erase: i64) -> Privacy {
    let after = |days| (days > 0).then(|| Span::days(days));
    Privacy {
        shorten_addresses_after: after(shorten),
        erase_addresses_after: after(erase),
        shorten_user_agents_after: after(shorten),
        erase_user_agents_after: after(erase),
    }
}

async fn made(house: &House, user: &str, from: Client) -> (SessionId, String) {
    let made = good(house.make(Create { client: from, ..asked(user, &[]) }).await);
    (made.view.session().id, made.given.token().unwrap().to_owned())
}

/// A use from somewhere, written down.
async fn used(house: &House, token: &str, ip: &str, agent: &str) {
    let ask =
        Ask { token, touch: true, ip: Some(ip.parse().unwrap()), user_agent: Some(agent), ..Ask::default() };
    assert!(house.app.validate(&house.caller().env, ask).await.is_ok());
    good(house.app.flush_activity().await.map_err(handstamp_server::app::Stop::from));
    good(house.app.tidy().await);
}

fn texts(client: &Client) -> (String, String) {
    let ip = client.ip.map_or_else(|| "-".to_owned(), |ip| ip.to_string());
    (ip, client.user_agent.as_deref().unwrap_or("-").to_owned())
}

async fn clients(house: &House, id: SessionId) -> ((String, String), Option<(String, String)>) {
    let view = house.get(id).await;
    (texts(&view.session().client), view.session().last_client.as_deref().map(texts))
}

fn pair(ip: &str, agent: &str) -> (String, String) {
    (ip.to_owned(), agent.to_owned())
}

#[tokio::test]
async fn the_life_of_an_address() {
    let house = House::new(Arc::new(Memory::new()), plan()).await;
    let (live, token) = made(&house, "ada", client("203.0.113.77", "own/1.2.3")).await;
    let (ended, _) = made(&house, "grace", client("2001:db8:1:2::7", "own/1.2.3")).await;
    good(house.end(ended).await);
    // Off: nothing happens, however old it grows.
    house.pass(Span::days(2));
    house.tidy().await;
    assert_eq!(clients(&house, live).await, (pair("203.0.113.77", "own/1.2.3"), None));
    house.app.set_privacy(days(7, 20));
    house.pass(Span::days(4));
    used(&house, &token, "203.0.113.99", "own/1.2.4").await;
    house.pass(Span::days(1));
    house.tidy().await;
    // The creation is seven days old, the last use one day.
    assert_eq!(
        clients(&house, live).await,
        (pair("203.0.113.0", "own/1.0.0"), Some(pair("203.0.113.99", "own/1.2.4")))
    );
    assert_eq!(clients(&house, ended).await, (pair("2001:db8:1::", "own/1.0.0"), None));
    // It is found by what is kept.
    let by = |ip: &str, prefix| Filter {
        network: Some((ip.parse().unwrap(), prefix)),
        which: Which::All,
        ..Filter::default()
    };
    assert_eq!(house.found(&by("203.0.113.77", 32)).await, []);
    assert_eq!(house.found(&by("203.0.113.0", 24)).await, [live]);
    assert_eq!(house.found(&by("2001:db8:1::", 48)).await, [ended]);
    // The session is as it was, and what it is used from now is known.
    used(&house, &token, "203.0.113.99", "own/1.2.4").await;
    assert_eq!(clients(&house, live).await.1, Some(pair("203.0.113.99", "own/1.2.4")));
    house.pass(Span::days(7));
    house.tidy().await;
    assert_eq!(clients(&house, live).await.1, Some(pair("203.0.113.0", "own/1.0.0")));
    house.pass(Span::days(6));
    house.tidy().await;
    // Twenty days after the creation; thirteen after the last use.
    assert_eq!(clients(&house, live).await, (pair("-", "-"), Some(pair("203.0.113.0", "own/1.0.0"))));
    assert_eq!(clients(&house, ended).await, (pair("-", "-"), None));
    house.pass(Span::days(7));
    house.tidy().await;
    assert_eq!(clients(&house, live).await, (pair("-", "-"), None));
    assert_eq!(house.validate(&token).await, super::house::Said::Allowed(None));
    for line in history(&house).await {
        assert!(line.1.client.is_empty(), "{:?}", line.1);
    }
}

async fn history(house: &House) -> Vec<(Millis, Event)> {
    let (mut lines, mut query) =
        (Vec::new(), EventQuery { subject: None, env: None, after: None, since: None, limit: 1_000 });
    loop {
        let page = house.store.history(&query).await.unwrap();
        query.after = page.last().map(|last| last.position);
        lines.extend(page.iter().map(|stored| (stored.at, event::read(stored).unwrap())));
        if page.len() < 1_000 {
            return lines;
        }
    }
}

async fn records(house: &House) -> Vec<(SessionId, Millis, Client)> {
    let env = house.caller().env.record.id;
    let (mut all, mut query) = (
        Vec::new(),
        Query { space: sessions(env), all: Vec::new(), from: None, until: None, cursor: None, limit: 1_000 },
    );
    loop {
        let page = house.store.search(&query).await.unwrap();
        for found in &page.items {
            let (session, _) = read_session(found).unwrap();
            all.push((session.id, session.created_at, session.client));
        }
        query.cursor = page.next;
        if query.cursor.is_none() {
            return all;
        }
    }
}

/// Forty days of logins, with housekeeping at odd hours: at each look nothing is changed too early and nothing is kept too
/// long, in records and in history. Half-way the server starts anew, and the switches become tighter.
#[tokio::test]
async fn nothing_goes_too_early_and_nothing_stays_too_long() {
    let store: Arc<dyn Store> = Arc::new(Memory::new());
    let mut house = House::new(store, plan()).await;
    let mut privacy = Privacy { erase_user_agents_after: Some(Span::days(5)), ..days(3, 11) };
    house.app.set_privacy(privacy);
    let mut born: HashMap<SessionId, Client> = HashMap::new();
    let mut seed = 12_345u64;
    let mut roll = |sides: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % sides
    };
    let mut checked = [0u32; 6];
    for step in 0..160u32 {
        for _ in 0..roll(9) {
            let from =
                client(&format!("203.0.113.{}", 1 + roll(250)), &format!("own/{}.{}", roll(9), 1 + roll(9)));
            let (id, _) = made(&house, &format!("u{}", roll(40)), from.clone()).await;
            born.insert(id, from);
            if roll(3) == 0 {
                good(house.end(id).await);
            }
        }
        if step == 80 {
            house = house.after_crash(plan()).await;
            privacy = Privacy { erase_addresses_after: Some(Span::days(6)), ..privacy };
            house.app.set_privacy(privacy);
        }
        let hours = i64::try_from(3 + roll(7)).unwrap();
        house.pass(Span::hours(hours));
        house.tidy().await;
        let now = house.now();
        let mut look = |at: Millis, original: &Client, kept: &Client| {
            let age = now.since(at);
            let ip = |fate: u32| match fate {
                0 => original.ip,
                1 => original.ip.map(shorten_address),
                _ => None,
            };
            let agent = |fate: u32| match fate {
                0 => original.user_agent.clone(),
                1 => original.user_agent.as_deref().map(|agent| shorten_agent(agent).into()),
                _ => None,
            };
            let fate = |shorten: Option<Span>, erase: Option<Span>, age: Span| {
                if erase.is_some_and(|erase| age >= erase) {
                    2
                } else {
                    u32::from(shorten.is_some_and(|s| age >= s))
                }
            };
            // What came of age within the last hour may be either way.
            let young = Span(age.0.saturating_sub(HOUR.0));
            let fates = |age| {
                [
                    fate(privacy.shorten_addresses_after, privacy.erase_addresses_after, age),
                    fate(privacy.shorten_user_agents_after, privacy.erase_user_agents_after, age),
                ]
            };
            let ([most_ip, most_agent], [least_ip, least_agent]) = (fates(age), fates(young));
            assert!((least_ip..=most_ip).any(|fate| kept.ip == ip(fate)), "{kept:?} at {age}, step {step}");
            assert!(
                (least_agent..=most_agent).any(|fate| kept.user_agent == agent(fate)),
                "{kept:?} at {age}, step {step}"
            );
            checked[most_ip as usize] += 1;
            checked[3 + most_agent as usize] += 1;
        };
        for (id, at, kept) in records(&house).await {
            look(at, &born[&id], &kept);
        }
        for (at, line) in history(&house).await {
            if line.kind == EventKind::Created {
                look(at, &born[&line.session.unwrap()], &line.client);
            }
        }
    }
    assert!(born.len() > 400 && checked.iter().all(|n| *n > 200), "{checked:?}");
}

#[derive(Default)]
struct Counting {
    inner: Memory,
    looked: AtomicU32,
    written: AtomicU32,
}

#[async_trait]
impl Front for Counting {
    fn inner(&self) -> &dyn Store {
        &self.inner
    }
    fn before(&self, call: Call) {
        if matches!(call, Call::History | Call::Amend) {
            self.looked.fetch_add(1, Ordering::SeqCst);
        }
    }
    async fn commit(&self, batch: Batch) -> Result<(), StoreError> {
        self.written.fetch_add(1, Ordering::SeqCst);
        self.inner.commit(batch).await
    }
}

#[tokio::test]
async fn a_step_has_bounded_work_and_a_restart_goes_on() {
    const SESSIONS: u32 = 2_600;
    let store = Arc::new(Fronted::<Counting>::default());
    let house = House::new(store.clone(), plan()).await;
    for n in 0..SESSIONS {
        made(&house, &format!("u{n}"), client("203.0.113.77", "own/1.2.3")).await;
    }
    house.pass(Span::days(9));
    house.tidy().await;
    assert_eq!(store.0.looked.load(Ordering::SeqCst), 0, "while all is off nobody looks");
    house.app.set_privacy(days(7, 0));
    let old = async |house: &House| {
        let full = |client: &Client| client.ip.is_some_and(|ip| shorten_address(ip) != ip);
        let records = records(house).await.iter().filter(|(.., client)| full(client)).count();
        (records, history(house).await.iter().filter(|(_, line)| full(&line.client)).count())
    };
    let before = store.0.written.load(Ordering::SeqCst);
    good(house.app.tidy().await);
    let (left, lines) = old(&house).await;
    assert!((1_500..2_600).contains(&left) && (1_500..2_600).contains(&lines), "{left}, {lines}");
    assert!(store.0.written.load(Ordering::SeqCst) - before <= 1_024 + 8);
    let through = async || {
        let found = store.load(&[aging_key()]).await.unwrap().remove(0).unwrap();
        read_aging(&found).unwrap().through
    };
    assert_eq!(through().await, [1_024, 0, 1_024, 0]);
    let house = house.after_crash(plan()).await;
    house.app.set_privacy(days(7, 0));
    for _ in 0..3 {
        good(house.app.tidy().await);
    }
    assert_eq!(old(&house).await, (0, 0));
    assert_eq!(through().await, [2_600, 0, 2_600, 0]);
    // All is done: an hour long nothing more is written, and history is not read again and again.
    good(house.app.tidy().await);
    let (written, looked) = (store.0.written.load(Ordering::SeqCst), store.0.looked.load(Ordering::SeqCst));
    for _ in 0..20 {
        house.pass(Span::minutes(2));
        good(house.app.tidy().await);
    }
    assert_eq!(store.0.written.load(Ordering::SeqCst), written);
    assert_eq!(store.0.looked.load(Ordering::SeqCst), looked);
}

/// What grew old is in no file any more either.
#[tokio::test]
async fn the_files_forget_too() {
    let scratch = Scratch::new();
    let path = scratch.path("db");
    let store = Arc::new(Sqlite::open(&path, &Options::default()).unwrap());
    let house = House::new(store, plan()).await;
    for n in 0..200 {
        made(&house, &format!("u{n}"), client("198.51.100.217", &format!("PLANTED/{n}.7"))).await;
    }
    let planted = || {
        let bytes: Vec<u8> = ["", "-wal"]
            .iter()
            .flat_map(|suffix| std::fs::read(format!("{}{suffix}", path.display())).unwrap_or_default())
            .collect();
        let count = |what: &[u8]| memchr::memmem::find_iter(&bytes, what).count();
        [count(b"PLANTED"), count(&[198, 51, 100, 217])]
    };
    assert!(planted().iter().all(|n| *n >= 200));
    house.app.set_privacy(days(0, 1));
    house.pass(Span::days(1));
    house.tidy().await;
    assert_eq!(planted(), [0, 0]);
    assert_eq!(records(&house).await.len(), 200);
}
