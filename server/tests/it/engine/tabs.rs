//! Browsers whose twenty tabs share one storage with a refresh token, on a network that loses every twentieth answer, and
//! thieves who copy what lies there. Nobody honest is ever called a thief, and every copy that is used after the grace is found, to
//! the millisecond.
//!
//! It runs in rounds over a store in a file. In a round the tabs of all browsers wake within a few seconds, look into their storage, and
//! refresh where the pair there is old; requests and answers take their time, by the test's clock. Between two rounds thieves come.

use super::full;
use super::house::{House, Plan, Said};
use super::refreshes::{Pair, Told, refresh, start};
use super::sim::Dice;
use crate::conformance::world::Scratch;
use handstamp_core::policy::{Policy, Rules};
use handstamp_core::refusal::Code;
use handstamp_core::time::{Millis, Span};
use handstamp_server::app::Stop;
use handstamp_server::store::faulty::{Call, Fault, Faulty};
use handstamp_server::store::sqlite::{Options, Sqlite};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use tokio::task::JoinSet;

const TABS: u64 = 20;
const GRACE: Span = Span::secs(60);
/// The least time that anything takes.
const STEP: Span = Span(100);
/// So many steps a request or an answer takes, at most.
const LATENCY: u64 = 20;
/// After so many steps without an answer a tab tries again.
const PATIENCE: u64 = 50;
/// A pair that is older than this is exchanged by the next tab that looks.
const OLD: Span = Span::minutes(1);

/// What a tab is about to do.
enum Deed {
    /// It looks into the storage.
    Look,
    /// Its request reaches the server: the pair that it read, and whether it is for the next one.
    Arrive(Pair, bool),
    /// It is given the next pair in exchange for this.
    Keep(Pair, Pair),
}

/// A browser, and what is known of its session.
struct Browser {
    user: String,
    /// What the tabs share, and since when it lies there.
    storage: Pair,
    kept_at: Millis,
    /// Every pair that was given out, with when it was first presented: at the earliest, and for certain.
    chain: BTreeMap<u32, (Pair, Option<Millis>, Option<Millis>)>,
    /// Somebody has used a copy: what follows is the end of the session.
    robbed: bool,
}

#[derive(Default)]
struct Count {
    refreshes: u64,
    advances: u64,
    lost: u64,
    faults: u64,
    superseded: u64,
    used: u64,
    planted: u64,
    late: u64,
    found: u64,
}

impl Browser {
    async fn new(house: &House, user: String) -> Browser {
        let (_, storage) = start(house, &user, &[]).await;
        let chain = [(0, (storage.clone(), None, None))].into();
        Browser { user, storage, kept_at: house.now(), chain, robbed: false }
    }

    /// A pair of a generation was presented, for certain or perhaps.
    fn presented(&mut self, generation: u32, at: Millis, certain: bool) {
        let Some((_, perhaps, known)) = self.chain.get_mut(&generation) else { return };
        perhaps.get_or_insert(at);
        if certain {
            known.get_or_insert(at);
        }
    }

    /// It was given a pair; whether nobody was before.
    fn given(&mut self, pair: &Pair) -> bool {
        let mut news = false;
        let entry = self.chain.entry(pair.generation).or_insert_with(|| {
            news = true;
            (pair.clone(), None, None)
        });
        assert_eq!(entry.0, *pair, "the chain forked");
        if self.chain.len() > 6 {
            self.chain.pop_first();
        }
        news
    }

    /// A copy, of one kind or the other, that counts as stolen from then on; and whether that is so for certain.
    fn loot(&self, dice: &mut Dice) -> Option<(String, Millis, bool)> {
        let mut all = Vec::new();
        for (k, (pair, ..)) in &self.chain {
            let later = self.chain.range(k + 1..);
            let perhaps = later.clone().filter_map(|(_, (_, perhaps, _))| *perhaps).min();
            let known = later.filter_map(|(_, (.., known))| *known).min();
            if let Some(first) = known {
                all.push((pair, first.plus(GRACE), perhaps == known));
            }
        }
        let (pair, due, certain) = all.get(usize::try_from(dice.roll(all.len().max(1) as u64)).ok()?)?;
        let text = if dice.roll(2) == 0 { &pair.refresh } else { &pair.session };
        Some((text.clone(), *due, *certain))
    }
}

/// What a token of either kind is told; asked again where an accident came between.
async fn told(house: &House, token: &str, count: &mut Count) -> Told {
    loop {
        let said = if token.starts_with("hsr_") {
            refresh(house, token).await
        } else {
            house.try_validate(token, false, true).await.map(|said| match said {
                Said::Allowed(_) => panic!("a replaced session token passes"),
                Said::Refused(code) => Told::Refused(code),
            })
        };
        match said {
            Ok(told) => return told,
            Err(Stop::Fault(_)) => count.faults += 1,
            Err(_) => panic!("a refusal of the call"),
        }
    }
}

struct World {
    house: House,
    store: Arc<Faulty>,
    browsers: Vec<Browser>,
    dice: Dice,
    count: Count,
}

type Agenda = BTreeMap<u64, Vec<(usize, Deed)>>;

impl World {
    /// One round of all browsers.
    async fn round(&mut self) {
        let mut agenda = Agenda::new();
        for n in 0..self.browsers.len() {
            // Some are not there, now and then.
            if self.dice.roll(12) == 0 {
                continue;
            }
            for _ in 0..=self.dice.roll(TABS) {
                agenda.entry(self.dice.roll(30)).or_default().push((n, Deed::Look));
            }
        }
        let faults = (0..self.browsers.len()).map(|_| match self.dice.roll(40) {
            0 => Fault::LoseAnswer,
            1 => Fault::Before,
            2 => Fault::Conflict,
            _ => Fault::None,
        });
        self.store.plan(Call::Commit, faults.collect::<Vec<_>>());
        let mut now = 0;
        while let Some((step, deeds)) = agenda.pop_first() {
            self.house.pass(Span(STEP.0 * (step - now).cast_signed()));
            now = step;
            let mut arriving = Vec::new();
            for (n, deed) in deeds {
                match deed {
                    Deed::Look => {
                        let browser = &self.browsers[n];
                        let old = self.house.now().since(browser.kept_at) >= OLD;
                        // Some tabs have a request of their own on the way, with whatever pair lies there.
                        let deed = Deed::Arrive(browser.storage.clone(), old && self.dice.roll(3) > 0);
                        agenda.entry(step + 1 + self.dice.roll(LATENCY)).or_default().push((n, deed));
                    }
                    // Nobody puts an old pair over a newer one.
                    Deed::Keep(sent, next) if self.browsers[n].storage == sent => {
                        let browser = &mut self.browsers[n];
                        (browser.storage, browser.kept_at) = (next, self.house.now());
                    }
                    Deed::Keep(..) => {}
                    Deed::Arrive(pair, exchange) => arriving.push((n, pair, exchange)),
                }
            }
            self.arrive(step, arriving, &mut agenda).await;
        }
        self.store.forget_plans();
    }

    /// What arrives in the same instant, all at once.
    async fn arrive(&mut self, step: u64, arriving: Vec<(usize, Pair, bool)>, agenda: &mut Agenda) {
        let mut asking = JoinSet::new();
        for (n, pair, exchange) in arriving {
            let house = self.house.clone();
            asking.spawn(async move {
                let said = if exchange {
                    refresh(&house, &pair.refresh).await.map(Ok)
                } else {
                    house.try_validate(&pair.session, true, false).await.map(Err)
                };
                (n, pair, said)
            });
        }
        let mut answers = asking.join_all().await;
        // Whichever came first, the dice fall in one order.
        answers.sort_by_key(|answer| (answer.0, answer.1.generation));
        let now = self.house.now();
        for (n, pair, said) in answers {
            let lost = self.dice.roll(20) == 0;
            let (after, later) = (step + 1 + self.dice.roll(LATENCY), step + PATIENCE);
            let browser = &mut self.browsers[n];
            let again = match said {
                Err(Stop::Fault(_)) => {
                    self.count.faults += 1;
                    browser.presented(pair.generation, now, false);
                    later
                }
                Err(Stop::Refused(why)) => panic!("{:?}", why.refusal.code),
                Ok(Ok(Told::Next(next))) => {
                    self.count.refreshes += 1;
                    if browser.given(&next) {
                        self.count.advances += 1;
                    }
                    browser.presented(pair.generation, now, true);
                    if !lost {
                        agenda.entry(after).or_default().push((n, Deed::Keep(pair, next.clone())));
                        if after % 2 == 0 {
                            // The tab goes on with what it was given.
                            agenda.entry(after + 1).or_default().push((n, Deed::Arrive(next, false)));
                        }
                        continue;
                    }
                    self.count.lost += 1;
                    later
                }
                Ok(Ok(Told::Refused(code))) => {
                    assert!(
                        browser.robbed && code == Code::TokenReused,
                        "{}: {code:?} is false",
                        browser.user
                    );
                    continue;
                }
                Ok(Err(Said::Allowed(other))) => {
                    assert_eq!(other, None, "a session token leads to no successor");
                    browser.presented(pair.generation, now, true);
                    self.count.used += 1;
                    continue;
                }
                // Another tab was faster: look again.
                Ok(Err(Said::Refused(Code::TokenSuperseded))) => {
                    browser.presented(pair.generation, now, false);
                    self.count.superseded += 1;
                    later
                }
                Ok(Err(Said::Refused(code))) => {
                    assert!(
                        browser.robbed && code == Code::TokenReused,
                        "{}: {code:?} is false",
                        browser.user
                    );
                    continue;
                }
            };
            agenda.entry(again).or_default().push((n, Deed::Look));
        }
    }

    /// The thieves of a round: some with an old copy, some faster than the browser itself.
    async fn thieves(&mut self) {
        let mut planted = Vec::new();
        for n in 0..self.browsers.len() {
            match self.dice.roll(40) {
                0 | 1 => {
                    let loot = self.browsers[n].loot(&mut self.dice);
                    planted.extend(loot.map(|(text, due, certain)| (due, n, text, certain)));
                }
                2 => self.overtake(n).await,
                _ => {}
            }
        }
        planted.sort();
        for (due, n, text, certain) in planted {
            if certain && due > self.house.now() {
                self.house.pass(Span(due.since(self.house.now()).0 - 1));
                // One millisecond before it is late, as everybody's is, and no theft.
                let early = told(&self.house, &text, &mut self.count).await;
                assert_ne!(early, Told::Refused(Code::TokenReused), "{}", self.browsers[n].user);
                self.count.late += 1;
                self.house.pass(Span(1));
            } else if due > self.house.now() {
                self.house.pass(due.since(self.house.now()));
            }
            self.count.planted += 1;
            let caught = told(&self.house, &text, &mut self.count).await;
            assert_eq!(
                caught,
                Told::Refused(Code::TokenReused),
                "{} was robbed unseen",
                self.browsers[n].user
            );
            self.log_in_again(n).await;
        }
    }

    /// A thief exchanges what lies in the storage, and uses what comes of it, while no tab is awake. The browser's next
    /// exchange shows it: a minute later at the earliest, and before anything else it is told.
    async fn overtake(&mut self, n: usize) {
        self.count.planted += 1;
        let token = self.browsers[n].storage.refresh.clone();
        let Told::Next(next) = told(&self.house, &token, &mut self.count).await else {
            panic!("{}: what the tabs share is no good", self.browsers[n].user)
        };
        while self.house.try_validate(&next.session, false, true).await.is_err() {
            self.count.faults += 1;
        }
        self.browsers[n].robbed = true;
    }

    /// Who was robbed is out: with everything that was ever given.
    async fn log_in_again(&mut self, n: usize) {
        let browser = &self.browsers[n];
        for (pair, ..) in browser.chain.values() {
            for text in [&pair.refresh, &pair.session] {
                let said = told(&self.house, text, &mut self.count).await;
                assert_eq!(said, Told::Refused(Code::TokenReused), "{} lives on", browser.user);
            }
        }
        self.count.found += 1;
        self.browsers[n] = Browser::new(&self.house, browser.user.clone()).await;
    }

    /// Those that a thief has overtaken find out by themselves.
    async fn find_out(&mut self) {
        for n in 0..self.browsers.len() {
            if self.browsers[n].robbed {
                let token = self.browsers[n].storage.refresh.clone();
                let said = told(&self.house, &token, &mut self.count).await;
                assert_eq!(said, Told::Refused(Code::TokenReused), "{}", self.browsers[n].user);
                self.log_in_again(n).await;
            }
        }
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Count { refreshes, advances, lost, faults, superseded, used, planted, late, found } = self;
        write!(
            f,
            "{refreshes} refreshes, {advances} steps of chains, {lost} lost answers, {faults} faults of the store; {used} \
             uses of session tokens, {superseded} of them superseded; {planted} copies used, {late} of them tried 1 ms \
             early, {found} found, no false theft"
        )
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_false_theft_and_every_true_one() {
    let (browsers, refreshes) = if full() { (400, 1_000_000) } else { (60, 20_000) };
    let scratch = Scratch::new();
    let sqlite = Sqlite::open(&scratch.path("db"), &Options::default()).unwrap();
    let store = Arc::new(Faulty::new(Arc::new(sqlite)));
    let plan = |seed| {
        let rules =
            Rules { rotation_grace: Some(GRACE), refresh_timeout: Some(Policy::LONGEST), ..Rules::default() };
        Plan { policy: Policy::from(rules), seed, ..Plan::default() }
    };
    let house = House::new(store.clone(), plan(1)).await;
    let mut all = Vec::new();
    for n in 0..browsers {
        all.push(Browser::new(&house, format!("u{n}")).await);
    }
    let mut world = World { house, store, browsers: all, dice: Dice(42), count: Count::default() };
    let mut rounds = 0;
    while world.count.refreshes < refreshes {
        world.round().await;
        world.thieves().await;
        let wait = GRACE.0 + 1 + world.dice.roll(600_000).cast_signed();
        world.house.pass(Span(wait));
        world.find_out().await;
        rounds += 1;
        if rounds % 50 == 0 {
            // The process dies, and another one goes on.
            world.house = world.house.after_crash(plan(rounds)).await;
            world.house.tidy().await;
        }
    }
    let count = &world.count;
    println!("{browsers} browsers of {TABS} tabs, {rounds} rounds: {count}");
    assert!(count.planted == count.found && count.found > refreshes / 500, "{count}");
    assert!(
        count.lost > refreshes / 40 && count.late > 5 && count.faults > 20 && count.superseded > 20,
        "{count}"
    );
}
