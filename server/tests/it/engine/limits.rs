//! Limits of one user's sessions under races: a thousand at once, changes of tags against creations, and a store that
//! fails, forgets its answers and is slow. Somebody looks all the time, and there is never one too many.

use super::house::{House, Plan, asked, good, in_state, of_tag, of_user, tags};
use super::sim::Dice;
use handstamp_core::id::SessionId;
use handstamp_core::limit::OnLimit;
use handstamp_core::policy::{Pattern, Policy, Rules};
use handstamp_core::refusal::{Code, Evidence, Value};
use handstamp_core::time::Span;
use handstamp_server::app::Stop;
use handstamp_server::app::search::{Filter, Which};
use handstamp_server::app::update::{Update, Updated};
use handstamp_server::store::Store;
use handstamp_server::store::faulty::{Call, Fault, Faulty, Gate};
use handstamp_server::store::memory::Memory;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::task::{JoinHandle, JoinSet, yield_now};

pub(crate) const MODES: [OnLimit; 3] = [OnLimit::Reject, OnLimit::EndOldest, OnLimit::EndLeastRecent];

pub(crate) fn most(sessions: u32, mode: OnLimit) -> Rules {
    Rules { max_sessions: Some(sessions), on_limit: Some(mode), ..Rules::default() }
}

pub(crate) fn policy(default: Rules, of_tags: &[(&str, Rules)]) -> Plan {
    let of_tags = of_tags.iter().map(|(of, rules)| (Pattern::parse(of).unwrap(), rules.clone()));
    Plan { policy: Policy::new(default, of_tags.collect()), ..Plan::default() }
}

pub(crate) async fn faulty(plan: Plan) -> (House, Arc<Faulty>) {
    let store = Arc::new(Faulty::new(Arc::new(Memory::new())));
    (House::new(store.clone(), plan).await, store)
}

/// Accidents of every kind, one call in five.
pub(crate) fn accidents(store: &Faulty, seed: u64, count: usize) {
    let mut dice = Dice(seed);
    for call in [Call::Load, Call::Commit, Call::Search] {
        let mut one = || match dice.roll(25) {
            0 => Fault::Before,
            1 => Fault::LoseAnswer,
            2 if call == Call::Commit => Fault::Conflict,
            3 => Fault::Delay(3),
            4 => Fault::DelayAnswer(5),
            _ => Fault::None,
        };
        store.plan(call, (0..count).map(|_| one()).collect::<Vec<_>>());
    }
}

/// The house, and another one over the same store: between the two no turns are kept, and the store alone decides.
pub(crate) async fn nodes(house: &House, plan: &Plan) -> [House; 2] {
    let plan = Plan { seed: plan.seed + 50, ..plan.clone() };
    [house.clone(), House::at(house.store.clone(), house.clock.clone(), plan).await]
}

/// Looks at a second reader of the store all the time, so that what it sees is not arranged by the turns of the first;
/// in the end, how often it looked.
pub(crate) struct Watcher {
    stop: Arc<AtomicBool>,
    task: JoinHandle<u32>,
}

impl Watcher {
    pub(crate) async fn new(
        house: &House,
        store: Arc<dyn Store>,
        plan: Plan,
        filter: Filter,
        most: usize,
    ) -> Watcher {
        let eyes = House::at(store, house.clock.clone(), Plan { seed: 77, ..plan }).await;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let task = tokio::spawn(async move {
            let mut looks = 0;
            loop {
                let last = stopped.load(Ordering::Acquire);
                let (count, _) = good(eyes.app.count(&eyes.caller(), &filter).await);
                assert!(count <= most, "{count} live, allowed {most}");
                looks += 1;
                if last {
                    return looks;
                }
                yield_now().await;
            }
        });
        Watcher { stop, task }
    }
    pub(crate) async fn looked(self) -> u32 {
        self.stop.store(true, Ordering::Release);
        self.task.await.unwrap()
    }
}

async fn change(house: &House, id: SessionId, add: &[&str]) -> Result<Updated, Stop> {
    let mut ask = Update::default();
    ask.patch.add_tags = tags(add);
    house.app.update(&house.caller(), id, &ask).await
}

pub(crate) fn is_refused<T>(result: &Result<T, Stop>) -> bool {
    matches!(result, Err(Stop::Refused(why)) if why.refusal.code == Code::SessionLimitReached)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_thousand_at_once_in_each_mode() {
    for mode in MODES {
        let plan = policy(most(10, mode), &[]);
        let (house, store) = faulty(plan.clone()).await;
        let watcher = Watcher::new(&house, store.clone(), plan.clone(), of_user("ada"), 10).await;
        let nodes = nodes(&house, &plan).await;
        let mut crowd = JoinSet::new();
        for house in nodes.iter().cycle().take(1_000) {
            let house = house.clone();
            crowd.spawn(async move { house.make(asked("ada", &[])).await });
        }
        let (mut made, mut evicted) = (BTreeSet::new(), BTreeSet::new());
        for outcome in crowd.join_all().await {
            match outcome {
                Ok(new) => {
                    made.insert(new.view.session().id);
                    for id in new.evicted {
                        assert!(evicted.insert(id), "evicted twice");
                    }
                }
                other => assert!(mode == OnLimit::Reject && is_refused(&other)),
            }
        }
        assert!(watcher.looked().await > 10);
        let live: BTreeSet<SessionId> = house.found(&of_user("ada")).await.into_iter().collect();
        assert_eq!(live.len(), 10);
        assert_eq!(made.len(), if mode == OnLimit::Reject { 10 } else { 1_000 });
        assert_eq!(made.difference(&evicted).copied().collect::<BTreeSet<_>>(), live, "{mode}");
        assert_eq!(house.tally("live").await, 10);
        for id in evicted.iter().take(20) {
            let end = house.get(*id).await.ended.unwrap();
            assert_eq!((end.code, end.rule.as_deref()), (Code::SessionEvicted, Some("max_sessions")));
            let (allowed, seen) = (Value::Number(10), Value::Number(11));
            assert_eq!(end.evidence, Some(Evidence::Limit { allowed, seen }));
            assert_eq!(end.origin.unwrap().text(), "default");
        }
    }
}

/// Whatever the store does to those who ask: what is acknowledged is there or was evicted, and nothing is beside it.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn never_one_too_many_on_a_store_with_accidents() {
    for (round, mode) in (0..if super::full() { 60 } else { 6 }).zip(MODES.into_iter().cycle()) {
        let plan = policy(most(5, mode), &[]);
        let memory: Arc<dyn Store> = Arc::new(Memory::new());
        let store = Arc::new(Faulty::new(memory.clone()));
        let house = House::new(store.clone(), plan.clone()).await;
        let watcher = Watcher::new(&house, memory, plan.clone(), of_user("ada"), 5).await;
        let nodes = nodes(&house, &plan).await;
        accidents(&store, round, 1_500);
        let mut crowd = JoinSet::new();
        for house in nodes.iter().cycle().take(300) {
            let house = house.clone();
            crowd.spawn(async move { house.make(asked("ada", &[])).await });
        }
        let outcomes = crowd.join_all().await;
        store.forget_plans();
        watcher.looked().await;
        let live: BTreeSet<SessionId> = house.found(&of_user("ada")).await.into_iter().collect();
        assert!(live.len() <= 5, "{}", live.len());
        let faults = outcomes.iter().filter(|outcome| matches!(outcome, Err(Stop::Fault(_)))).count();
        assert!(faults > 5, "{faults}");
        for made in outcomes.into_iter().flatten() {
            let id = made.view.session().id;
            let ended = house.get(id).await.ended;
            assert_eq!(ended.is_none(), live.contains(&id));
            assert!(ended.is_none_or(|end| end.code == Code::SessionEvicted));
        }
        assert_eq!(house.tally("live").await, live.len() as i64);
    }
}

/// Sessions that get a tag meet creations with it: both take the same places.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_tag_that_comes_against_creations() {
    for mode in MODES {
        let plan = policy(most(1_000, mode), &[("role:*", most(2, mode))]);
        let (house, store) = faulty(plan.clone()).await;
        let mut plain = Vec::new();
        for _ in 0..100 {
            plain.push(house.create("ada", &[]).await.0);
        }
        let watcher = Watcher::new(&house, store.clone(), plan.clone(), of_tag("role:admin"), 2).await;
        let [one, other] = nodes(&house, &plan).await;
        let mut crowd = JoinSet::new();
        for id in plain {
            let (a, b) = (one.clone(), other.clone());
            crowd.spawn(async move { change(&a, id, &["role:admin"]).await.map(|done| done.evicted) });
            crowd.spawn(async move { b.make(asked("ada", &["role:admin"])).await.map(|made| made.evicted) });
        }
        let outcomes = crowd.join_all().await;
        watcher.looked().await;
        assert_eq!(house.found(&of_tag("role:admin")).await.len(), 2);
        let (good, bad): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Result::is_ok);
        if mode == OnLimit::Reject {
            assert!(good.len() == 2 && bad.iter().all(is_refused));
        } else {
            assert!(bad.is_empty());
            assert_eq!(good.into_iter().flatten().flatten().count(), 198);
        }
        // Another value has places of its own.
        good_change(&house, "role:user").await;
        assert_eq!(house.found(&of_tag("role:admin")).await.len(), 2);
    }
}

/// The one that finds room while another node takes it finds out when it commits, though nobody had to go for either.
#[tokio::test]
async fn a_place_is_given_once() {
    for tag_first in [true, false] {
        let plan = policy(most(9, OnLimit::Reject), &[("role:admin", most(1, OnLimit::Reject))]);
        let (house, store) = faulty(plan.clone()).await;
        let [one, other] = nodes(&house, &plan).await;
        let (id, _) = house.create("ada", &[]).await;
        let (tagging, making) = (
            move || async move { change(&one, id, &["role:admin"]).await.map(drop) },
            move || async move { other.make(asked("ada", &["role:admin"])).await.map(drop) },
        );
        let gate = Gate::default();
        store.plan(Call::Commit, [Fault::Hold(gate.clone())]);
        let late = if tag_first { tokio::spawn(tagging.clone()()) } else { tokio::spawn(making.clone()()) };
        while store.left() > 0 {
            yield_now().await;
        }
        good(if tag_first { making().await } else { tagging().await });
        gate.open(1);
        assert!(is_refused(&late.await.unwrap()));
        assert_eq!(house.found(&of_tag("role:admin")).await.len(), 1);
    }
}

async fn good_change(house: &House, tag: &str) {
    let (id, _) = house.create("ada", &[]).await;
    assert!(good(change(house, id, &[tag]).await).evicted.is_empty());
}

/// The session that asks does not count, is not evicted, and a tag that it had already is no news.
#[tokio::test]
async fn a_change_does_not_evict_itself() {
    let (house, _) =
        faulty(policy(most(9, OnLimit::EndOldest), &[("role:admin", most(1, OnLimit::EndOldest))])).await;
    let (first, _) = house.create("ada", &["role:admin"]).await;
    let (second, _) = house.create("ada", &[]).await;
    assert!(good(change(&house, first, &["role:admin", "a:b"]).await).evicted.is_empty());
    assert_eq!(good(change(&house, second, &["role:admin"]).await).evicted, [first]);
    assert_eq!(house.found(&of_user("ada")).await, [second]);
    // Somebody else's sessions are no matter.
    house.create("bob", &["role:admin"]).await;
    assert_eq!(house.found(&of_tag("role:admin")).await.len(), 2);
}

/// What time has ended takes no place, at the very instant, and the commit that takes the place says so.
#[tokio::test]
async fn time_makes_room() {
    let rules = Rules { idle_timeout: Some(Span::secs(60)), ..most(3, OnLimit::Reject) };
    let (house, _) = faulty(policy(rules, &[])).await;
    let mut made = Vec::new();
    for _ in 0..3 {
        made.push(house.create("ada", &[]).await);
        house.pass(Span(1));
    }
    house.pass(Span(59_996));
    assert!(is_refused(&house.make(asked("ada", &[])).await));
    house.pass(Span(1));
    let new = good(house.make(asked("ada", &[])).await);
    assert!(new.evicted.is_empty());
    let ended = in_state(Which::Ended, of_user("ada"));
    assert_eq!(house.found(&ended).await, [made[0].0]);
    assert_eq!(house.get(made[0].0).await.ended.unwrap().code, Code::SessionIdle);
    assert_eq!(house.tally("live").await, 3);
    assert!(is_refused(&house.make(asked("ada", &[])).await));
}

/// Activity that is not written yet counts for who was used least recently, and keeps a session alive.
#[tokio::test]
async fn who_was_used_stays() {
    let (house, _) = faulty(policy(most(2, OnLimit::EndLeastRecent), &[])).await;
    let (first, token) = house.create("ada", &[]).await;
    house.pass(Span::secs(1));
    let (second, _) = house.create("ada", &[]).await;
    house.pass(Span::secs(1));
    house.validate(&token).await;
    let new = good(house.make(asked("ada", &[])).await);
    assert_eq!(new.evicted, [second]);
    assert!(house.get(first).await.ended.is_none());
}

/// The same request again evicts nobody again.
#[tokio::test]
async fn a_repeat_evicts_nobody() {
    let (house, _) = faulty(policy(most(2, OnLimit::EndOldest), &[])).await;
    for _ in 0..2 {
        house.create("ada", &[]).await;
        house.pass(Span(1));
    }
    let ask = || {
        let mut ask = asked("ada", &[]);
        ask.idempotency = Some(("once".into(), "{}".into()));
        ask
    };
    let first = good(house.make(ask()).await);
    assert_eq!(first.evicted.len(), 1);
    for _ in 0..3 {
        let again = good(house.make(ask()).await);
        assert_eq!(again.view.session().id, first.view.session().id);
        assert!(again.evicted.is_empty());
    }
    assert_eq!(house.found(&of_user("ada")).await.len(), 2);
}

/// Rules became much tighter than what there is: it takes several commits, and all who had to go are named.
#[tokio::test]
async fn far_too_many_go_in_pieces() {
    let (house, _) = faulty(policy(most(5_000, OnLimit::EndOldest), &[])).await;
    let mut made = Vec::new();
    for _ in 0..1_203 {
        made.push(house.create("ada", &[]).await.0);
        house.pass(Span(1));
    }
    let caller = house.caller();
    let tighter = |rules: Rules| Policy::from(rules);
    house.app.set_file_policy(Some(tighter(most(3, OnLimit::Reject)))).await;
    let refused = house.make(asked("ada", &[])).await;
    let Err(Stop::Refused(why)) = refused else { panic!("refused") };
    assert_eq!(why.refusal.detail(), "max_sessions would be 1204, allowed 3 by default");
    house.app.set_file_policy(Some(tighter(most(3, OnLimit::EndOldest)))).await;
    let new = good(house.make(asked("ada", &[])).await);
    assert!(new.evicted == made[..1_201], "the first made go, and all are named");
    assert_eq!(good(house.app.count(&caller, &of_user("ada")).await), (3, false));
    assert_eq!(house.tally("live").await, 3);
}

/// All or nobody: where the policy refuses, a change of many that has no room for all changes none.
#[tokio::test]
async fn a_change_of_many_has_room_for_all_or_changes_none() {
    for mode in MODES {
        let (house, _) = faulty(policy(most(99, mode), &[("role:admin", most(3, mode))])).await;
        let mut made = vec![house.create("ada", &["role:admin"]).await.0];
        for _ in 0..3 {
            house.pass(Span(1));
            made.push(house.create("ada", &["team:a"]).await.0);
        }
        house.create("bob", &["team:a"]).await;
        let mut ask = Update::default();
        ask.patch.add_tags = tags(&["role:admin"]);
        let done = house.app.update_all(&house.caller(), &of_tag("team:a"), &ask).await;
        if mode == OnLimit::Reject {
            assert!(is_refused(&done));
            assert_eq!(house.found(&of_tag("role:admin")).await, made[..1]);
            good(house.end(made[0]).await);
            let done = house.app.update_all(&house.caller(), &of_tag("team:a"), &ask).await;
            assert_eq!(good(done).count, 4);
        } else {
            let done = good(done);
            assert_eq!((done.count, done.evicted.as_slice()), (4, &made[..1]));
        }
        assert_eq!(house.found(&of_tag("role:admin")).await.len(), 4);
    }
}
