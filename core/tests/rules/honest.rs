//! Honest clients on a bad network: several tabs share one cookie jar, requests are in flight at once, requests and
//! answers get lost, tabs try again with the token they held. None of them is ever taken for a thief, none is left
//! without a way on, and a thief who comes late is always found.
//!
//! The rules a client keeps: a try reaches the server, and is given up, within the grace; answers reach one jar in the
//! order in which they were given; `token_superseded` means "try again with what you hold now", and a client that has a
//! refresh token exchanges that.

use crate::support::{Held, Texts, World, code, full, login, plain, tag};
use handstamp_core::policy::setting::Every;
use handstamp_core::refusal::Code;
use handstamp_core::session::By;
use handstamp_core::session::Client;
use handstamp_core::time::{Millis, Span};
use handstamp_core::transition::create::NewSession;
use handstamp_core::transition::update::authenticate;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

const GRACE: i64 = 10_000;
/// A message is under way for at most this long; four of them are a try and its repetition.
const SLOWEST: i64 = 2_000;

/// A generator with a seed, so that what fails fails again.
struct Chance(u64);
impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
    fn below(&mut self, n: i64) -> i64 {
        i64::try_from(self.next() % u64::try_from(n.max(1)).unwrap()).unwrap()
    }
    fn percent(&mut self, n: i64) -> bool {
        self.below(100) < n
    }
}

#[derive(Clone)]
struct Try {
    tab: usize,
    refresh: bool,
    text: Rc<str>,
    since: i64,
    number: u64,
}

enum Message {
    /// The tab wants something: it takes what the jar holds.
    Want(usize),
    Arrives(Try),
    Answer {
        to: Try,
        jar: Option<Texts>,
        superseded: bool,
    },
    /// Nothing came back in time.
    GivesUp(Try),
}

struct Browser {
    world: World,
    held: Held,
    jar: Texts,
    queue: BTreeMap<(i64, u64), Message>,
    sent: u64,
    answered: BTreeSet<u64>,
    last_answer: i64,
    chance: Chance,
    loss: i64,
    pace: i64,
    waiting_since: Vec<Option<i64>>,
    first_presented: BTreeMap<u32, i64>,
    chain: BTreeMap<u32, Texts>,
}

impl Browser {
    fn new(seed: u64, refresh: bool) -> Browser {
        let mut chance = Chance(seed);
        let mut world = World::new();
        world.policy = world.policy.with(|rules| rules.rotation_grace = Some(Span(GRACE)));
        world.policy = world
            .policy
            .with(|rules| rules.rotate_every = Some(Every(Some(Span(500 + chance.below(20_000))))));
        world.policy = world.policy.with(|rules| rules.absolute_timeout = Some(Span::days(3_000)));
        world.policy = world.policy.with(|rules| rules.refresh_timeout = Some(Span::days(3_000)));
        world.policy = world.policy.with(|rules| rules.idle_timeout = Some(Span::days(3_000)));
        let (held, jar) = world.create(NewSession { refresh, tags: vec![tag("type:web")], ..plain() });
        let tabs = usize::try_from(1 + chance.below(5)).unwrap();
        let mut browser = Browser {
            chain: BTreeMap::from([(0, jar.clone())]),
            world,
            held,
            jar,
            queue: BTreeMap::new(),
            sent: 0,
            answered: BTreeSet::new(),
            last_answer: 0,
            loss: chance.below(45),
            pace: 200 + chance.below(8_000),
            chance,

            waiting_since: vec![None; tabs],
            first_presented: BTreeMap::new(),
        };
        for tab in 0..tabs {
            browser.post(1, Message::Want(tab));
        }
        browser
    }

    fn now(&self) -> i64 {
        self.world.now.0
    }
    fn post(&mut self, after: i64, message: Message) {
        self.sent += 1;
        self.queue.insert((self.now() + after, self.sent), message);
    }
    fn transit(&mut self) -> i64 {
        if self.chance.percent(10) { self.chance.below(SLOWEST) } else { self.chance.below(80) }
    }

    fn send(&mut self, mut this: Try) {
        self.sent += 1;
        this.number = self.sent;
        if !self.chance.percent(self.loss / 2) {
            let transit = self.transit();
            self.post(transit, Message::Arrives(this.clone()));
        }
        self.post(SLOWEST * 2, Message::GivesUp(this));
    }

    fn start(&mut self, tab: usize, refresh: bool) {
        let text = if refresh { self.jar.refresh.as_ref().unwrap() } else { &self.jar.session };
        let this = Try { tab, refresh, text: text.as_str().into(), since: self.now(), number: 0 };
        self.waiting_since[tab].get_or_insert(self.world.now.0);
        self.send(this);
    }

    /// The server: judges, commits, answers.
    fn arrives(&mut self, this: Try) {
        let generation = self.world.open(&this.text).generation;
        self.first_presented.entry(generation).or_insert(self.world.now.0);
        let (verdict, issued) = self.world.show(&mut self.held, &this.text, true);
        let refused = code(verdict.refusal.as_ref());
        assert!(
            matches!(refused, None | Some(Code::TokenSuperseded)),
            "an honest client was refused: {refused:?}, generation {generation} of {}, {:?}",
            self.held.session.chain.generation,
            self.held.session.chain.noted
        );
        assert!(self.held.session.is_live());
        if let Some(texts) = &issued {
            let generation = self.world.open(&texts.session).generation;
            let known = self.chain.entry(generation).or_insert_with(|| texts.clone());
            assert_eq!(known, texts, "one chain");
        }
        if self.chance.percent(self.loss) {
            return;
        }
        // one jar: answers reach it in the order in which they were given
        let at = (self.now() + self.transit()).max(self.last_answer);
        self.last_answer = at;
        let message = Message::Answer { to: this, jar: issued, superseded: refused.is_some() };
        self.post(at - self.now(), message);
    }

    fn step(&mut self) {
        let ((at, _), message) = self.queue.pop_first().unwrap();
        self.world.now = Millis(at.max(self.now()));
        match message {
            Message::Want(tab) => {
                let refresh = self.jar.refresh.is_some() && self.chance.percent(30);
                self.start(tab, refresh);
            }
            Message::Arrives(this) => self.arrives(this),
            Message::Answer { to, jar, superseded } => {
                if let Some(texts) = jar {
                    self.jar = texts; // whether the tab still waits or not
                }
                if !self.answered.insert(to.number) {
                    return;
                }
                let waited = self.now() - self.waiting_since[to.tab].unwrap_or(self.now());
                assert!(waited < 4_000_000, "left without a way on");
                if superseded {
                    self.start(to.tab, self.jar.refresh.is_some());
                } else {
                    self.waiting_since[to.tab] = None;
                    let pause = if self.chance.percent(3) { 120_000 } else { self.pace };
                    let pause = self.chance.below(pause);
                    self.post(pause, Message::Want(to.tab));
                }
            }
            Message::GivesUp(this) => {
                if !self.answered.insert(this.number) {
                    return;
                }
                // an old tab tries again with the token it held, if a try still ends within the grace
                if self.now() - this.since + SLOWEST < GRACE && self.chance.percent(60) {
                    self.send(this);
                } else {
                    self.start(this.tab, this.refresh);
                }
            }
        }
    }

    /// The user authenticates again; the backend's answer reaches the jar.
    fn authenticate(&mut self) {
        let entropy = self.world.draw();
        let living = self.world.ground().living(&self.held.session, self.held.seen).unwrap();
        let (change, issued) =
            authenticate(living, login(), &Client::default(), By::System, &entropy).unwrap().unwrap();
        self.held.keep(change);
        let texts = crate::support::texts(&issued);
        self.chain.insert(self.held.session.chain.generation, texts.clone());
        let to = Try { tab: 0, refresh: false, text: "".into(), since: self.now(), number: 0 };
        let at = (self.now() + self.transit()).max(self.last_answer);
        self.last_answer = at;
        self.post(at - self.now(), Message::Answer { to, jar: Some(texts), superseded: false });
    }

    /// When the tokens of `generation` are stolen, by the definition: a grace after the first later presentation.
    fn stolen_from(&self, generation: u32) -> Option<i64> {
        let later = self.first_presented.range(generation + 1..).map(|(_, at)| *at);
        Some(later.min()? + GRACE)
    }
}

/// Runs one browser until its chain has this many generations, then lets a thief come.
fn one(seed: u64, rotations: u32) -> u64 {
    let refresh = seed.is_multiple_of(3);
    let mut browser = Browser::new(seed, refresh);
    browser.answered.insert(0); // what authentication answers is nobody's try
    let stolen_at = browser.chance.below(i64::from(rotations));
    let mut copied = None;
    while browser.held.session.chain.generation < rotations {
        browser.step();
        if browser.chance.percent(1) && browser.chance.percent(10) {
            browser.authenticate();
        }
        let generation = browser.held.session.chain.generation;
        if copied.is_none() && i64::from(generation) >= stolen_at {
            copied = Some(browser.jar.clone());
        }
    }
    let copied = copied.unwrap();
    let generation = browser.world.open(&copied.session).generation;
    while browser.stolen_from(generation).is_none_or(|from| browser.now() < from + GRACE) {
        browser.step();
    }
    let text = match &copied.refresh {
        Some(text) if browser.chance.percent(50) => text,
        _ => &copied.session,
    };
    let (verdict, issued) = browser.world.show(&mut browser.held, text, true);
    assert_eq!((code(verdict.refusal.as_ref()), issued), (Some(Code::TokenReused), None), "{seed}");
    assert!(!browser.held.session.is_live());
    let (verdict, _) = browser.world.show(&mut browser.held, &browser.jar.session, true);
    assert_eq!(code(verdict.refusal.as_ref()), Some(Code::TokenReused), "for everybody");
    u64::from(browser.held.session.chain.generation)
}

#[test]
fn no_honest_client_is_taken_for_a_thief_and_every_late_thief_is_found() {
    let goal: u64 = if full() { 1_000_000 } else { 20_000 };
    let (mut rotations, mut seed) = (0, 0);
    while rotations < goal {
        rotations += one(seed, 100);
        seed += 1;
    }
}
