//! Refresh against everything that ends a session or replaces its credentials, in thousands of interleavings over a store
//! that fails: nothing is revived, the chain never forks, and what was given out before an end is dead after it.

use super::house::{House, Plan, Said, asked, good, of_tag};
use super::sim::Dice;
use super::{full, house};
use handstamp_core::id::SessionId;
use handstamp_core::policy::{Policy, Rules};
use handstamp_core::refusal::Code;
use handstamp_core::session::Client;
use handstamp_core::step_up::{Auth, Level};
use handstamp_core::time::Span;
use handstamp_core::transition::create::Proved;
use handstamp_server::app::Stop;
use handstamp_server::app::create::Create;
use handstamp_server::app::end::Target;
use handstamp_server::app::update::{Login, Update};
use handstamp_server::app::validate::Ask;
use handstamp_server::store::faulty::{Call, Fault, Faulty};
use handstamp_server::store::memory::Memory;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use tokio::task::{LocalSet, yield_now};

/// The credentials of one generation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Pair {
    pub(super) generation: u32,
    pub(super) session: String,
    pub(super) refresh: String,
}

/// What became of a refresh token.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Told {
    Next(Pair),
    Refused(Code),
}

pub(super) fn with_refresh(of: &str, with: &[&str]) -> Create {
    Create { refresh: true, ..asked(of, with) }
}

/// A session with a refresh token, made without an accident.
pub(super) async fn start(house: &House, of: &str, with: &[&str]) -> (SessionId, Pair) {
    let made = good(house.make(with_refresh(of, with)).await);
    let handstamp_server::app::login::Given::Tokens(issued) = &made.given else { panic!("no tokens") };
    let text = |text: &str| text.to_owned();
    let pair = Pair {
        generation: 0,
        session: text(issued.session.reveal()),
        refresh: text(issued.refresh_text().unwrap()),
    };
    (made.view.session().id, pair)
}

/// An error is a fault.
pub(super) async fn refresh(house: &House, token: &str) -> Result<Told, Stop> {
    match house.app.refresh(&house.caller(), Ask { token, ..Ask::default() }).await {
        Ok(done) => Ok(Told::Next(Pair {
            generation: done.view.session().chain.generation,
            session: done.issued.session.reveal().to_owned(),
            refresh: done.issued.refresh_text().unwrap().to_owned(),
        })),
        Err(Stop::Refused(refused)) => Ok(Told::Refused(refused.refusal.code)),
        Err(fault) => Err(fault),
    }
}

async fn next(house: &House, token: &str) -> Pair {
    match good(refresh(house, token).await) {
        Told::Next(pair) => pair,
        Told::Refused(code) => panic!("{code:?}"),
    }
}

/// Two nodes over one store that fails; of a user's sessions one may live.
async fn two() -> (House, House, Arc<Faulty>) {
    let store = Arc::new(Faulty::new(Arc::new(Memory::new())));
    let policy = Policy::from(Rules { max_sessions: Some(1), ..Rules::default() });
    let plan = |seed| Plan { policy: policy.clone(), seed, ..Plan::default() };
    let one = House::new(store.clone(), plan(1)).await;
    let other = House::at(store.clone(), one.clock.clone(), plan(2)).await;
    (one, other, store)
}

fn trouble(store: &Faulty, dice: &mut Dice) {
    for (call, count) in [(Call::Load, 16), (Call::Commit, 10), (Call::Touch, 4)] {
        let turns = |dice: &mut Dice| u32::try_from(dice.roll(12)).unwrap();
        let script: Vec<Fault> = (0..count)
            .map(|_| match dice.roll(16) {
                0 => Fault::Before,
                1 | 2 if call == Call::Commit => Fault::LoseAnswer,
                3 if call == Call::Commit => Fault::Conflict,
                4..8 => Fault::Delay(turns(dice)),
                8..12 => Fault::DelayAnswer(turns(dice)),
                _ => Fault::None,
            })
            .collect();
        store.plan(call, script);
    }
}

/// One session in the hands of many.
struct Shared {
    given: RefCell<Vec<Pair>>,
    over: Cell<bool>,
    dice: RefCell<Dice>,
}

impl Shared {
    fn roll(&self, sides: u64) -> u64 {
        self.dice.borrow_mut().roll(sides)
    }
    async fn wait(&self, most: u64) {
        for _ in 0..self.roll(most) {
            yield_now().await;
        }
    }
    fn any(&self) -> Pair {
        let given = self.given.borrow();
        given[usize::try_from(self.roll(given.len() as u64)).unwrap()].clone()
    }
    /// One chain: of each generation there is one pair.
    fn is_one_chain(&self) {
        let mut chain = BTreeMap::new();
        for pair in self.given.borrow().iter() {
            assert_eq!(chain.entry(pair.generation).or_insert(pair), &pair, "the chain forked");
        }
    }

    /// A client that refreshes what it got hold of, a few times. What begins once it is over gets no successor.
    async fn refreshes(&self, house: &House, over: Code) -> u32 {
        let mut before = 0;
        for _ in 0..3 {
            self.wait(15).await;
            let (token, late) = (self.any().refresh, self.over.get());
            match refresh(house, &token).await {
                Ok(Told::Next(pair)) => {
                    assert!(!late, "a refresh went through after the end was acknowledged");
                    before += 1;
                    self.given.borrow_mut().push(pair);
                }
                Ok(Told::Refused(Code::TokenSuperseded)) => assert!(!late || over == Code::TokenSuperseded),
                Ok(Told::Refused(code)) => assert_eq!(code, over),
                Err(_) => {}
            }
        }
        before
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum How {
    ById,
    BySessionToken,
    ByRefreshToken,
    OfUser,
    Raised,
    Evicted,
}

/// Ends it, however often it takes until that is acknowledged.
async fn end(house: &House, how: How, id: SessionId, of: &str, first: &Pair) {
    loop {
        let outcome = match how {
            How::ById => house.end(id).await.map(drop),
            How::BySessionToken => house.revoke(Target::Token(first.session.clone()), None).await.map(drop),
            How::ByRefreshToken => house.revoke(Target::Token(first.refresh.clone()), None).await.map(drop),
            How::OfUser => house.revoke_user(of).await.map(drop),
            How::Raised => house.revoke(Target::Filter(of_tag(&format!("of:{of}"))), None).await.map(drop),
            How::Evicted => house.make(asked(of, &[])).await.map(drop),
        };
        match outcome {
            Ok(()) => return,
            Err(Stop::Fault(_)) => {}
            Err(refused) => panic!("{}", house::why(&refused)),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_revived() {
    let rounds = if full() { 30_000 } else { 3_000 };
    let (one, other, store) = two().await;
    let (mut through, mut stopped) = (0, 0);
    for round in 0..rounds {
        let how =
            [How::ById, How::BySessionToken, How::ByRefreshToken, How::OfUser, How::Raised, How::Evicted];
        let how = how[round % how.len()];
        let (of, mut dice) = (format!("u{round}"), Dice(u64::try_from(round).unwrap()));
        let (id, first) = start(&one, &of, &[&format!("of:{of}")]).await;
        let second = next(&one, &first.refresh).await;
        // By another node; what is raised in memory of one is of that one.
        let ender = if how != How::Raised && round % 2 == 0 { other.clone() } else { one.clone() };
        trouble(&store, &mut dice);
        let code = if how == How::Evicted { Code::SessionEvicted } else { Code::SessionRevoked };
        let shared = Rc::new(Shared {
            given: RefCell::new(vec![first.clone(), second]),
            over: Cell::new(false),
            dice: RefCell::new(dice),
        });
        let local = LocalSet::new();
        let clients: Vec<_> = (0..4)
            .map(|n| {
                let (shared, house) = (shared.clone(), if n == 3 { other.clone() } else { one.clone() });
                // The other node hears of a raise only when it asks.
                let house = if how == How::Raised { one.clone() } else { house };
                local.spawn_local(async move { shared.refreshes(&house, code).await })
            })
            .collect();
        let ending = local.spawn_local({
            let (shared, of, first) = (shared.clone(), of.clone(), first.clone());
            async move {
                shared.wait(40).await;
                end(&ender, how, id, &of, &first).await;
                shared.over.set(true);
            }
        });
        local
            .run_until(async {
                ending.await.unwrap();
                for client in clients {
                    through += client.await.unwrap();
                }
            })
            .await;
        store.forget_plans();
        shared.is_one_chain();
        assert!(one.get(id).await.ended.is_some(), "{round} {how:?}: it lives");
        let given = shared.given.borrow().clone();
        for pair in &given {
            assert_eq!(good(refresh(&one, &pair.refresh).await), Told::Refused(code), "{round} {how:?}");
            let said = good(one.try_validate(&pair.session, true, true).await);
            assert_eq!(said, Said::Refused(code), "{round} {how:?}");
            stopped += 1;
        }
        if round % 500 == 0 {
            one.tidy().await;
        }
    }
    one.tidy().await;
    println!("{rounds} ends, {through} refreshes came before, {stopped} pairs dead after");
    assert!(usize::try_from(through).unwrap() > rounds / 2, "the ends came first, nearly always: {through}");
}

/// Another authentication: what is derived of the old never leads to the new, in whatever order they come.
#[tokio::test(start_paused = true)]
async fn the_old_chain_never_leads_over_an_authentication() {
    let rounds = if full() { 10_000 } else { 1_000 };
    let (one, other, store) = two().await;
    for round in 0..rounds {
        let (of, mut dice) = (format!("u{round}"), Dice(u64::try_from(round).unwrap()));
        let (id, first) = start(&one, &of, &[]).await;
        let second = next(&one, &first.refresh).await;
        trouble(&store, &mut dice);
        let shared = Rc::new(Shared {
            given: RefCell::new(vec![first, second]),
            over: Cell::new(false),
            dice: RefCell::new(dice),
        });
        let local = LocalSet::new();
        let clients: Vec<_> = (0..3)
            .map(|_| {
                let (shared, house) = (shared.clone(), one.clone());
                local.spawn_local(async move { shared.refreshes(&house, Code::TokenSuperseded).await })
            })
            .collect();
        let again = local.spawn_local({
            let (shared, house) = (shared.clone(), other.clone());
            async move {
                shared.wait(40).await;
                let pair = authenticate(&house, id).await;
                shared.over.set(true);
                pair
            }
        });
        let newest = local
            .run_until(async {
                for client in clients {
                    client.await.unwrap();
                }
                again.await.unwrap()
            })
            .await;
        store.forget_plans();
        shared.is_one_chain();
        let given = shared.given.borrow().clone();
        assert!(given.iter().all(|pair| pair.generation < newest.generation), "{round}");
        for pair in &given {
            assert_eq!(
                good(refresh(&one, &pair.refresh).await),
                Told::Refused(Code::TokenSuperseded),
                "{round}"
            );
        }
        assert_eq!(next(&one, &newest.refresh).await.generation, newest.generation + 1);
    }
}

async fn authenticate(house: &House, id: SessionId) -> Pair {
    loop {
        let auth = Auth { methods: Box::default(), level: Level::new(2).unwrap() };
        let login = Login { proved: Proved { auth, at: None }, client: Client::default() };
        match house.app.authenticate(&house.caller(), id, login, &Update::default()).await {
            Ok(done) => {
                let issued = done.issued.unwrap();
                return Pair {
                    generation: done.view.session().chain.generation,
                    session: issued.session.reveal().to_owned(),
                    refresh: issued.refresh_text().unwrap().to_owned(),
                };
            }
            Err(Stop::Fault(_)) => {}
            Err(refused) => panic!("{}", house::why(&refused)),
        }
    }
}

/// A refresh is decided; before its commit reaches the store the session ends. Staged once, on purpose.
#[tokio::test]
async fn an_end_between_the_judgement_and_the_commit_wins() {
    let (one, other, store) = two().await;
    let (id, first) = start(&one, "ada", &[]).await;
    let gate = handstamp_server::store::faulty::Gate::default();
    store.plan(Call::Commit, [Fault::Hold(gate.clone())]);
    let refreshing = tokio::spawn({
        let (house, token) = (one.clone(), first.refresh.clone());
        async move { good(refresh(&house, &token).await) }
    });
    while store.left() > 0 {
        yield_now().await;
    }
    assert!(good(other.end(id).await));
    gate.open(1);
    assert_eq!(refreshing.await.unwrap(), Told::Refused(Code::SessionRevoked));
    assert_eq!(one.get(id).await.session().chain.generation, 0);
}

/// What is made is on the disk before it is given: a process that dies then, and one that dies without an answer.
#[tokio::test]
async fn a_crash_loses_no_successor() {
    let (one, _, store) = two().await;
    let (_, first) = start(&one, "ada", &[]).await;
    let second = next(&one, &first.refresh).await;
    let one = one.after_crash(Plan::default()).await;
    assert_eq!(next(&one, &first.refresh).await, second);
    store.plan(Call::Commit, [Fault::LoseAnswer]);
    assert!(refresh(&one, &second.refresh).await.is_err());
    let one = one.after_crash(Plan::default()).await;
    let third = next(&one, &second.refresh).await;
    assert_eq!(third.generation, 2);
    one.pass(Span::hours(20));
    assert_eq!(
        good(refresh(&one, &first.refresh).await),
        Told::Refused(Code::TokenReused),
        "spent tokens are remembered"
    );
}
