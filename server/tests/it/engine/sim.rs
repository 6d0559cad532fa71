//! A simulation: many clients on a service whose store fails, forgets its answers and is slow by a script, under a clock
//! that jumps; and a model that knows what must be true. All of it follows from one seed, which a failure prints.
//!
//! It runs in phases. In a phase everything happens at once and time hardly moves; between two phases everything is at
//! rest, the model compares all it knows, and then time jumps, or the process dies.

use super::full;
use super::house::{House, NOW, Plan, Said, asked, good, in_state, of_tag, of_user, tags, why};
use super::model::{Model, Verdict};
use handstamp_core::policy::setting::Every;
use handstamp_core::policy::{Policy, Rules};
use handstamp_core::refusal::Code;
use handstamp_core::time::Span;
use handstamp_server::app::Stop;
use handstamp_server::app::end::Target;
use handstamp_server::app::search::{Filter, Which};
use handstamp_server::app::update::Update;
use handstamp_server::host::clock::ManualClock;
use handstamp_server::store::faulty::{Call, Fault, Faulty};
use handstamp_server::store::memory::Memory;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;
use tokio::task::{LocalSet, yield_now};

pub(crate) const IDLE: Span = Span::minutes(20);
pub(crate) const ABSOLUTE: Span = Span::hours(3);
pub(crate) const GRACE: Span = Span::secs(60);
pub(crate) const EVERY: Span = Span::minutes(5);
const USERS: u64 = 5;
const WORKERS: usize = 8;

/// Numbers from a seed (splitmix64).
#[derive(Clone)]
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % sides
    }
}

pub(crate) fn plan(seed: u64) -> Plan {
    let policy = Policy::from(Rules {
        absolute_timeout: Some(ABSOLUTE),
        idle_timeout: Some(IDLE),
        rotate_every: Some(Every(Some(EVERY))),
        rotation_grace: Some(GRACE),
        max_sessions: Some(Policy::COUNT),
        ..Rules::default()
    });
    // Some worlds have a cache for a handful of sessions.
    Plan { policy, cache_bytes: if seed.is_multiple_of(3) { 4_096 } else { 1 << 20 }, seed, said: false }
}

struct World {
    house: House,
    store: Arc<Faulty>,
    model: RefCell<Model>,
    dice: RefCell<Dice>,
}

#[tokio::test(start_paused = true)]
async fn fixed_seeds() {
    let (seeds, phases) = if full() { (1_000, 30) } else { (40, 16) };
    let mut done = Model::default();
    // One that failed can be run alone, as long as in the long run.
    if let Some(seed) = super::number("HANDSTAMP_TEST_SEED") {
        println!("{}", simulate(seed, 30).await);
        return;
    }
    for seed in 0..seeds {
        done.add(&simulate(seed, phases).await);
    }
    println!("{seeds} seeds: {done}");
    assert!(done.allowed > 1_000 && done.rotated > 50 && done.stolen > 5 && done.faults > 100);
}

/// The same seed tells the same story.
#[tokio::test(start_paused = true)]
async fn a_seed_can_be_run_again() {
    assert_eq!(simulate(7, 6).await.to_string(), simulate(7, 6).await.to_string());
}

async fn simulate(seed: u64, phases: u32) -> Model {
    println!("seed {seed}");
    let store = Arc::new(Faulty::new(Arc::new(Memory::new())));
    let clock = Arc::new(ManualClock::new(NOW));
    let mut house = House::at(store.clone(), clock, plan(seed)).await;
    let mut dice = Dice(seed.wrapping_mul(0x5851_F42D_4C95_7F2D));
    let mut model = Model::default();
    for phase in 0..phases {
        let world = Rc::new(World {
            house: house.clone(),
            store: store.clone(),
            model: RefCell::new(model),
            dice: RefCell::new(dice),
        });
        play(&world).await;
        let Ok(World { model: left, dice: rest, .. }) = Rc::try_unwrap(world).map_err(|_| ()) else {
            panic!("somebody is still at it")
        };
        (model, dice) = (left.into_inner(), rest.into_inner());
        at_rest(&house, &mut model, &mut dice, seed).await;
        house.pass(match dice.roll(6) {
            0 => Span(1),
            1 => GRACE,
            2 | 3 => EVERY,
            4 => Span(IDLE.0 - 1),
            _ => Span(EVERY.0 + 17),
        });
        if dice.roll(4) == 0 {
            model.crashed();
            house = house.after_crash(plan(seed + u64::from(phase))).await;
        }
        if dice.roll(3) > 0 {
            house.tidy().await;
        }
    }
    model
}

/// One phase: all at once, with accidents.
async fn play(world: &Rc<World>) {
    {
        let mut dice = world.dice.borrow_mut();
        for (call, count) in [(Call::Load, 200), (Call::Commit, 120), (Call::Touch, 20), (Call::Search, 20)] {
            let script: Vec<Fault> = (0..count).map(|_| accident(&mut dice, call)).collect();
            world.store.plan(call, script);
        }
    }
    let local = LocalSet::new();
    let workers: Vec<_> = (0..WORKERS)
        .map(|_| {
            let world = Rc::clone(world);
            local.spawn_local(async move {
                for _ in 0..6 {
                    step(&world).await;
                }
            })
        })
        .collect();
    let keeping = Rc::clone(world);
    let keeper = local.spawn_local(async move {
        for _ in 0..4 {
            let turns = keeping.dice.borrow_mut().roll(60);
            for _ in 0..turns {
                yield_now().await;
            }
            let _ = keeping.house.app.flush_activity().await;
            let _ = keeping.house.app.tidy().await;
        }
    });
    local
        .run_until(async {
            for worker in workers {
                worker.await.unwrap()
            }
            keeper.await.unwrap()
        })
        .await;
    // What was not played is not played later.
    for call in [Call::Load, Call::Commit, Call::Touch, Call::Search] {
        while world.store.left() > 0 && drain(&world.store, call).await {}
    }
}

/// Uses up one planned accident of a call without consequence; whether there was one.
async fn drain(store: &Arc<Faulty>, call: Call) -> bool {
    use handstamp_server::store::{Batch, Query, Space, Store};
    let before = store.left();
    let _ = match call {
        Call::Load => store.load(&[]).await.map(drop),
        Call::Touch => store.touch(&[]).await,
        Call::Search => {
            let space = Space { kind: 0, env: 0 };
            let (all, cursor) = (Vec::new(), None);
            store.search(&Query { space, all, from: None, until: None, cursor, limit: 1 }).await.map(drop)
        }
        _ => {
            let (ops, events, tallies) = (Vec::new(), Vec::new(), Vec::new());
            store.commit(Batch { bucket: 0, at: NOW, ops, events, tallies }).await
        }
    };
    store.left() < before
}

fn accident(dice: &mut Dice, call: Call) -> Fault {
    match dice.roll(40) {
        0 => Fault::Before,
        1 | 2 if call != Call::Load => Fault::LoseAnswer,
        3 if call == Call::Commit => Fault::Conflict,
        4..12 => Fault::Delay(u32::try_from(dice.roll(30)).unwrap()),
        12..20 => Fault::DelayAnswer(u32::try_from(dice.roll(30)).unwrap()),
        _ => Fault::None,
    }
}

/// One thing that a client, an operator or a thief does.
async fn step(world: &Rc<World>) {
    let roll = |sides| world.dice.borrow_mut().roll(sides);
    let turns = roll(20);
    for _ in 0..turns {
        yield_now().await;
    }
    if roll(8) == 0 {
        world.house.pass(Span(roll(200).cast_signed()));
    }
    let (count, client) = {
        let model = world.model.borrow();
        let living: Vec<usize> = (0..model.clients.len()).filter(|n| !model.clients[*n].ended).collect();
        let all = model.clients.len();
        // The dead are asked for now and then.
        let pick = |n: usize| usize::try_from(roll(n.max(1) as u64)).unwrap();
        let client = if living.is_empty() || roll(8) == 0 { pick(all) } else { living[pick(living.len())] };
        (living.len(), client)
    };
    match roll(60) {
        _ if count < 6 => create(world).await,
        0..6 => create(world).await,
        6..8 => end(world, client).await,
        8..12 => update(world, client).await,
        12 => end_user(world, &format!("u{}", roll(USERS))).await,
        13 if roll(2) == 0 => raise(world, Some(format!("t:{}", roll(3)))).await,
        14 if roll(6) == 0 => raise(world, None).await,
        n => present(world, client, n % 3 > 0, n % 4 == 0).await,
    }
}

async fn create(world: &Rc<World>) {
    let (of, tag) = {
        let mut dice = world.dice.borrow_mut();
        (format!("u{}", dice.roll(USERS)), format!("t:{}", dice.roll(3)))
    };
    let ends = world.model.borrow().begin();
    match world.house.make(asked(&of, &[&tag])).await {
        Ok(made) => {
            let (id, token) = (made.view.session().id, made.given.token().unwrap().to_owned());
            world.model.borrow_mut().created(id, (&of, &tag), token, ends);
        }
        Err(Stop::Fault(_)) => world.model.borrow_mut().faults += 1,
        Err(other) => panic!("{}", why(&other)),
    }
}

/// An honest client: it presents the newest token it was given, and some answers never reach it.
async fn present(world: &Rc<World>, client: usize, rotate: bool, strong: bool) {
    let (token, before) = world.model.borrow_mut().presenting(client, world.house.now(), 0, strong);
    let outcome = world.house.try_validate(&token, rotate, strong).await;
    let lost = world.dice.borrow_mut().roll(5) == 0;
    let verdict = match outcome {
        Ok(Said::Allowed(next)) => Verdict::Allowed(next),
        Ok(Said::Refused(code)) => Verdict::Refused(code),
        Err(Stop::Fault(_)) => Verdict::Fault,
        Err(other) => panic!("{}", why(&other)),
    };
    world.model.borrow_mut().presented(client, &before, verdict, lost, world.house.now());
}

async fn end(world: &Rc<World>, client: usize) {
    let id = {
        let mut model = world.model.borrow_mut();
        model.ending(|_, n| n == client);
        model.clients[client].id
    };
    let outcome = world.house.end(id).await;
    let mut model = world.model.borrow_mut();
    match outcome {
        Ok(_) => model.ended(&[client], world.house.now(), 0),
        Err(Stop::Fault(_)) => model.faults += 1,
        Err(other) => panic!("{}", why(&other)),
    }
}

async fn end_user(world: &Rc<World>, of: &str) {
    let all = world.model.borrow_mut().ending(|known, _| known.user == of);
    world.model.borrow_mut().end_begins();
    let outcome = world.house.revoke_user(of).await;
    let mut model = world.model.borrow_mut();
    match outcome {
        Ok(_) => model.ended(&all, world.house.now(), 0),
        Err(Stop::Fault(_)) => model.faults += 1,
        Err(other) => panic!("{}", why(&other)),
    }
    model.end_is_over();
}

async fn raise(world: &Rc<World>, tag: Option<String>) {
    let all = world.model.borrow_mut().ending(|known, _| tag.as_ref().is_none_or(|tag| known.tag == *tag));
    world.model.borrow_mut().end_begins();
    let target = tag.as_deref().map_or(Target::Everybody, |tag| Target::Filter(of_tag(tag)));
    let outcome = world.house.revoke(target, None).await;
    let mut model = world.model.borrow_mut();
    match outcome {
        Ok(_) => model.ended(&all, world.house.now(), 0),
        Err(Stop::Fault(_)) => model.faults += 1,
        Err(other) => panic!("{}", why(&other)),
    }
    model.end_is_over();
}

async fn update(world: &Rc<World>, client: usize) {
    let (id, ended) = {
        let model = world.model.borrow();
        (model.clients[client].id, model.clients[client].ended)
    };
    let mut ask = Update::default();
    ask.patch.add_tags = tags(&["late:tag"]);
    match world.house.update(id, &ask).await {
        Ok(_) => assert!(!ended, "an ended session was changed"),
        Err(Stop::Fault(_)) => world.model.borrow_mut().faults += 1,
        Err(Stop::Refused(why)) => assert_eq!(why.refusal.code, Code::SessionEnded),
    }
}

/// Everything is at rest, nothing fails: what the service says of itself, in every way it can be asked, is one story, and
/// the model's.
async fn at_rest(house: &House, model: &mut Model, dice: &mut Dice, seed: u64) {
    let mut truth = BTreeSet::new();
    // An epoch whose raise was not answered may have been raised all the same; whoever changes something finds out first.
    if let Some(first) = model.clients.first() {
        let _ = house.update(first.id, &Update::default()).await;
    }
    for client in 0..model.clients.len() {
        let known = model.clients[client].clone();
        let view = house.get(known.id).await;
        let live = view.ended.is_none();
        let end = view.ended.as_ref().map(|end| format!("{:?} at {:?}, {:?}", end.code, end.at, end.reason));
        model.at_rest(client, end, view.seen, view.session().chain.generation, house.now(), 0);
        if live {
            truth.insert(known.id);
            let said = house.try_validate(&known.token, false, dice.roll(2) == 0).await;
            assert_eq!(good(said), Said::Allowed(None), "seed {seed}: {} lives and is refused", known.id);
            model.touched(client, house.now());
        }
    }
    // Ghosts: creations whose answer was lost.
    let listed: BTreeSet<_> = house.found(&Filter::default()).await.into_iter().collect();
    let known: BTreeSet<_> = model.clients.iter().map(|client| client.id).collect();
    assert!(truth.is_subset(&listed), "seed {seed}: a living session is not listed");
    assert!(listed.iter().all(|id| truth.contains(id) || !known.contains(id)), "seed {seed}: a dead one is");
    house.tidy().await;
    assert_eq!(house.tally("live").await, listed.len() as i64, "seed {seed}: the gauge of live sessions");
    let mut users = 0;
    for n in 0..USERS {
        users += house.found(&of_user(&format!("u{n}"))).await.len();
    }
    assert_eq!(users, listed.len(), "seed {seed}: sessions by user");
    let mut tagged = 0;
    for n in 0..3 {
        tagged += house.found(&of_tag(&format!("t:{n}"))).await.len();
    }
    assert_eq!((tagged, house.tally("tag t").await), (listed.len(), listed.len() as i64), "seed {seed}");
    let ended = house.found(&in_state(Which::Ended, Filter::default())).await;
    let all = house.found(&in_state(Which::All, Filter::default())).await;
    assert_eq!(ended.len() + listed.len(), all.len(), "seed {seed}");
    assert!(ended.iter().all(|id| !listed.contains(id)), "seed {seed}: both live and ended");
    // A thief, now and then, with a token that was replaced.
    if dice.roll(2) == 0
        && let Some((client, token)) = model.loot(dice, house.now())
    {
        let said = good(house.try_validate(&token, true, false).await);
        assert_eq!(said, Said::Refused(Code::TokenReused), "seed {seed}: a stolen token was not found");
        model.robbed(client, house.now(), 0);
    }
}
