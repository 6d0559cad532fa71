//! The simulation of [`crate::engine::sim`] with two and three nodes: clients ask now this one and now that one, ends and changes
//! come anywhere, what nodes hear of each other is late, comes in a heap, or is lost, and nodes die and come again. The same
//! model knows what must be true: an end that one node acknowledged is known to that node at once, and to every other one
//! after a second at most, or when it is asked to look.

use super::cluster::{Cluster, Node};
use crate::engine::house::{House, Plan, Said, asked, good, in_state, of_tag, of_user, tags, why};
use crate::engine::model::{Model, Verdict};
use crate::engine::sim::{Dice, EVERY, GRACE, IDLE, plan};
use crate::engine::{full, number};
use handstamp_core::id::SessionId;
use handstamp_core::lease::LENGTH;
use handstamp_core::refusal::Code;
use handstamp_core::time::Span;
use handstamp_server::app::Stop;
use handstamp_server::app::activity::resolution;
use handstamp_server::app::end::Target;
use handstamp_server::app::search::{Filter, Which};
use handstamp_server::app::update::Update;
use handstamp_server::codec::{read_session, session_key};
use handstamp_server::store::faulty::{Call, Fault};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;
use tokio::task::{LocalSet, yield_now};

const USERS: u64 = 5;
const WORKERS: usize = 8;
const CALLS: [(Call, u32); 5] =
    [(Call::Load, 200), (Call::Commit, 120), (Call::Touch, 20), (Call::Search, 20), (Call::Say, 10)];

struct World {
    cluster: Cluster,
    nodes: Vec<Node>,
    model: RefCell<Model>,
    dice: RefCell<Dice>,
}

impl World {
    fn roll(&self, sides: u64) -> u64 {
        self.dice.borrow_mut().roll(sides)
    }
    fn pick(&self) -> usize {
        usize::try_from(self.roll(self.nodes.len() as u64)).unwrap()
    }
    fn passes(&self, most: u64) {
        let span = Span(self.roll(most).cast_signed());
        self.cluster.pass(span);
    }
}

#[tokio::test(start_paused = true)]
async fn several_nodes_tell_one_story() {
    let (seeds, phases) = if full() { (1_000, 30) } else { (16, 14) };
    let mut done = Model::default();
    if let Some(seed) = number("HANDSTAMP_TEST_SEED") {
        println!("{}", simulate(seed, 30).await);
        return;
    }
    for seed in 0..seeds {
        done.add(&simulate(seed, phases).await);
    }
    println!("{seeds} seeds: {done}");
    assert!(done.allowed > 1_000 && done.rotated > 50 && done.stolen > 5 && done.faults > 50);
}

/// The same seed tells the same story.
#[tokio::test(start_paused = true)]
async fn a_seed_can_be_run_again() {
    assert_eq!(simulate(7, 5).await.to_string(), simulate(7, 5).await.to_string());
}

async fn simulate(seed: u64, phases: u32) -> Model {
    println!("seed {seed}");
    let cluster = Cluster::new();
    let mut nodes = Vec::new();
    for n in 0..2 + seed % 2 {
        nodes.push(cluster.node(Plan { seed: seed * 1_000 + n, ..plan(seed) }).await);
    }
    let slack = Span(resolution(IDLE).0 + 2_000);
    let model = Model::of_several(Span::secs(1), slack);
    let dice = RefCell::new(Dice(seed.wrapping_mul(0x5851_F42D_4C95_7F2D) + 1));
    let mut world = World { cluster, nodes, model: RefCell::new(model), dice };
    for phase in 0..phases {
        let playing = Rc::new(world);
        play(&playing).await;
        world = Rc::try_unwrap(playing).map_err(|_| ()).expect("somebody is still at it");
        at_rest(&world, seed).await;
        world.cluster.pass(match world.roll(6) {
            0 => Span(1),
            1 => GRACE,
            2 | 3 => EVERY,
            4 => Span(IDLE.0 - 1),
            _ => Span(EVERY.0 + 17),
        });
        if world.roll(4) == 0 {
            // One dies, and another one takes its place. What it did not write is forgotten.
            let place = world.pick();
            world.model.borrow_mut().crashed();
            let again = Plan { seed: seed * 1_000 + u64::from(phase) + 100, ..plan(seed) };
            world.nodes[place] = world.cluster.node(again).await;
        }
        for node in &world.nodes {
            if world.roll(3) > 0 {
                node.keep_up().await;
            }
        }
        if world.roll(3) > 0 {
            world.nodes[world.pick()].tidy().await;
        }
    }
    world.model.into_inner()
}

/// One phase: all at once, with accidents.
async fn play(world: &Rc<World>) {
    for node in &world.nodes {
        for (call, count) in CALLS {
            let script: Vec<Fault> =
                (0..count).map(|_| accident(&mut world.dice.borrow_mut(), call)).collect();
            node.faults.plan(call, script);
        }
    }
    let local = LocalSet::new();
    let mut workers: Vec<_> = (0..WORKERS)
        .map(|_| {
            let world = Rc::clone(world);
            local.spawn_local(async move {
                for _ in 0..6 {
                    step(&world).await;
                }
            })
        })
        .collect();
    for n in 0..world.nodes.len() {
        let hearing = Rc::clone(world);
        workers.push(local.spawn_local(async move {
            for _ in 0..24 {
                hear(&hearing, n).await;
            }
        }));
        let keeping = Rc::clone(world);
        workers.push(local.spawn_local(async move {
            for _ in 0..3 {
                for _ in 0..keeping.roll(80) {
                    yield_now().await;
                }
                let _ = keeping.nodes[n].app.flush_activity().await;
                let _ = keeping.nodes[n].app.tidy().await;
            }
        }));
    }
    local
        .run_until(async {
            for worker in workers {
                worker.await.unwrap();
            }
        })
        .await;
    world.nodes.iter().for_each(|node| node.faults.forget_plans());
}

fn accident(dice: &mut Dice, call: Call) -> Fault {
    match dice.roll(40) {
        0 => Fault::Before,
        1 | 2 if !matches!(call, Call::Load) => Fault::LoseAnswer,
        3 if call == Call::Commit => Fault::Conflict,
        4..12 => Fault::Delay(u32::try_from(dice.roll(30)).unwrap()),
        12..20 => Fault::DelayAnswer(u32::try_from(dice.roll(30)).unwrap()),
        _ => Fault::None,
    }
}

/// What reaches a node of the others: at once, late, in a heap, or not.
async fn hear(world: &Rc<World>, n: usize) {
    for _ in 0..world.roll(12) {
        yield_now().await;
    }
    let node = &world.nodes[n];
    match world.roll(24) {
        0 | 1 => node.ear.hold(),
        2 | 3 => node.ear.cut(),
        4 => node.ear.release(),
        5..12 => drop(node.app.probe().await),
        _ => node.keep_up().await,
    }
}

/// One thing that a client, an operator or a thief does, at any node.
async fn step(world: &Rc<World>) {
    for _ in 0..world.roll(20) {
        yield_now().await;
    }
    if world.roll(4) == 0 {
        world.passes(700);
    }
    let (count, client) = {
        let model = world.model.borrow();
        let living: Vec<usize> = (0..model.clients.len()).filter(|n| !model.clients[*n].ended).collect();
        let all = model.clients.len();
        let pick = |n: usize| usize::try_from(world.roll(n.max(1) as u64)).unwrap();
        // Who died a moment ago is asked for often: of caches that should have forgotten them.
        let mut dead: Vec<usize> = (0..all).filter(|n| model.clients[*n].ended).collect();
        dead.sort_by_key(|n| std::cmp::Reverse(model.clients[*n].ended_at));
        let client = match world.roll(8) {
            0..3 if !dead.is_empty() => dead[pick(dead.len().min(4))],
            _ if living.is_empty() => pick(all),
            _ => living[pick(living.len())],
        };
        (living.len(), client)
    };
    let node = world.pick();
    match world.roll(60) {
        _ if count < 6 => create(world, node).await,
        0..6 => create(world, node).await,
        6..9 => end(world, node, client).await,
        9..12 => update(world, node, client).await,
        12 => end_user(world, node, &format!("u{}", world.roll(USERS))).await,
        13 | 14 if world.roll(2) == 0 => raise(world, node, Some(format!("t:{}", world.roll(3)))).await,
        15 if world.roll(6) == 0 => raise(world, node, None).await,
        n => present(world, node, client, n % 3 == 0, n % 8 == 0).await,
    }
}

async fn create(world: &Rc<World>, node: usize) {
    let (of, tag) = (format!("u{}", world.roll(USERS)), format!("t:{}", world.roll(3)));
    let ends = world.model.borrow().begin();
    match world.nodes[node].make(asked(&of, &[&tag])).await {
        Ok(made) => {
            let (id, token) = (made.view.session().id, made.given.token().unwrap().to_owned());
            world.model.borrow_mut().created(id, (&of, &tag), token, ends);
        }
        Err(Stop::Fault(_)) => world.model.borrow_mut().faults += 1,
        Err(other) => panic!("{}", why(&other)),
    }
}

async fn present(world: &Rc<World>, n: usize, client: usize, rotate: bool, strong: bool) {
    let node = &world.nodes[n];
    let (token, before) = world.model.borrow_mut().presenting(client, node.now(), n, strong);
    let outcome = node.try_validate(&token, rotate, strong).await;
    let lost = world.roll(5) == 0;
    let verdict = match outcome {
        Ok(Said::Allowed(next)) => Verdict::Allowed(next),
        Ok(Said::Refused(code)) => Verdict::Refused(code),
        Err(Stop::Fault(_)) => Verdict::Fault,
        Err(other) => panic!("{}", why(&other)),
    };
    world.model.borrow_mut().presented(client, &before, verdict, lost, node.now());
}

/// An end was asked for of `node`.
fn answered<T>(world: &World, node: usize, outcome: Result<T, Stop>, whom: &[usize]) {
    let mut model = world.model.borrow_mut();
    match outcome {
        Ok(_) => model.ended(whom, world.nodes[node].now(), node),
        Err(Stop::Fault(_)) => model.faults += 1,
        Err(other) => panic!("{}", why(&other)),
    }
}

async fn end(world: &Rc<World>, node: usize, client: usize) {
    let id = {
        let mut model = world.model.borrow_mut();
        model.ending(|_, n| n == client);
        model.clients[client].id
    };
    let outcome = world.nodes[node].end(id).await;
    answered(world, node, outcome, &[client]);
}

async fn end_user(world: &Rc<World>, node: usize, of: &str) {
    let all = world.model.borrow_mut().ending(|known, _| known.user == of);
    world.model.borrow_mut().end_begins();
    let outcome = world.nodes[node].revoke_user(of).await;
    answered(world, node, outcome, &all);
    world.model.borrow_mut().end_is_over();
}

async fn raise(world: &Rc<World>, node: usize, tag: Option<String>) {
    let all = world.model.borrow_mut().ending(|known, _| tag.as_ref().is_none_or(|tag| known.tag == *tag));
    world.model.borrow_mut().end_begins();
    let target = tag.as_deref().map_or(Target::Everybody, |tag| Target::Filter(of_tag(tag)));
    let outcome = world.nodes[node].revoke(target, None).await;
    answered(world, node, outcome, &all);
    world.model.borrow_mut().end_is_over();
}

async fn update(world: &Rc<World>, node: usize, client: usize) {
    let (id, ended) = {
        let model = world.model.borrow();
        (model.clients[client].id, model.clients[client].ended)
    };
    let mut ask = Update::default();
    ask.patch.add_tags = tags(&["late:tag"]);
    match world.nodes[node].update(id, &ask).await {
        Ok(_) => assert!(!ended, "an ended session was changed"),
        Err(Stop::Fault(_)) => world.model.borrow_mut().faults += 1,
        Err(Stop::Refused(why)) => assert_eq!(why.refusal.code, Code::SessionEnded),
    }
}

/// Everything is at rest, nothing fails, and everybody has heard everything: all nodes tell one story, and it is the model's.
async fn at_rest(world: &World, seed: u64) {
    // One that died may have kept house: somebody else does after this.
    world.cluster.pass(LENGTH);
    for node in &world.nodes {
        node.ear.release();
    }
    for _ in 0..2 {
        for node in &world.nodes {
            node.keep_up().await;
        }
    }
    for node in &world.nodes {
        node.app.flush_all_activity(Duration::from_secs(60)).await.unwrap();
    }
    let n = world.pick();
    let house = &world.nodes[n];
    let mut truth = BTreeSet::new();
    // Nobody else has the model meanwhile; it is borrowed for one call at a time, so that nothing waits with it.
    let clients = world.model.borrow().clients.clone();
    if let Some(first) = clients.first() {
        let _ = house.update(first.id, &Update::default()).await;
    }
    for client in 0..clients.len() {
        let known = world.model.borrow().clients[client].clone();
        let view = house.get(known.id).await;
        let live = view.ended.is_none();
        let end = view.ended.as_ref().map(|end| format!("{:?} at {:?}, {:?}", end.code, end.at, end.reason));
        let generation = view.session().chain.generation;
        world.model.borrow_mut().at_rest(client, end, view.seen, generation, house.now(), n);
        for other in &world.nodes {
            assert_eq!(
                other.get(known.id).await.ended.is_none(),
                live,
                "seed {seed}: nodes tell two stories"
            );
        }
        if live {
            truth.insert(known.id);
            let at = world.pick();
            let said = world.nodes[at].try_validate(&known.token, false, world.roll(2) == 0).await;
            assert_eq!(good(said), Said::Allowed(None), "seed {seed}: {} lives and is refused", known.id);
            world.model.borrow_mut().touched(client, house.now());
        }
    }
    let listed: BTreeSet<_> = house.found(&Filter::default()).await.into_iter().collect();
    let known: BTreeSet<_> = clients.iter().map(|client| client.id).collect();
    assert!(truth.is_subset(&listed), "seed {seed}: a living session is not listed");
    assert!(listed.iter().all(|id| truth.contains(id) || !known.contains(id)), "seed {seed}: a dead one is");
    for node in &world.nodes {
        node.tidy().await;
        node.keep_up().await;
    }
    let all = house.found(&in_state(Which::All, Filter::default())).await;
    let late = unwritten(house, all.iter().filter(|id| !listed.contains(id)), seed).await;
    let gauge = house.tally("live").await;
    assert_eq!(gauge, (listed.len() + late) as i64, "seed {seed}: the gauge of live sessions");
    let mut users = 0;
    for n in 0..USERS {
        users += house.found(&of_user(&format!("u{n}"))).await.len();
    }
    assert_eq!(users, listed.len(), "seed {seed}: sessions by user");
    let ended = house.found(&in_state(Which::Ended, Filter::default())).await;
    assert_eq!(ended.len() + late + listed.len(), all.len(), "seed {seed}");
    let wanted = world.roll(2) == 0;
    let loot =
        wanted.then(|| world.model.borrow_mut().loot(&mut world.dice.borrow_mut(), house.now())).flatten();
    if let Some((client, token)) = loot {
        let at = world.pick();
        let said = good(world.nodes[at].try_validate(&token, true, false).await);
        assert_eq!(said, Said::Refused(Code::TokenReused), "seed {seed}: a stolen token was not found");
        world.model.borrow_mut().robbed(client, house.now(), at);
    }
}

/// How many of these, which have all ended, do not say so themselves. That is for those of which a creation was on its way
/// when everybody was ended, on a node that died before it could look again; and not for longer than until the raise is looked
/// through once more.
async fn unwritten(house: &House, ended: impl Iterator<Item = &SessionId>, seed: u64) -> usize {
    let mut late = 0;
    for id in ended {
        let key = session_key(house.caller().env.record.id, *id);
        let found = house.store.load(&[key]).await.unwrap().remove(0).unwrap();
        if read_session(&found).unwrap().0.is_live() {
            let end = house.get(*id).await.ended.unwrap();
            assert_eq!(end.code, Code::SessionRevoked, "seed {seed}: {id}");
            assert!(house.now().since(end.at) < Span::minutes(11), "seed {seed}: {id} is never written down");
            late += 1;
        }
    }
    late
}
