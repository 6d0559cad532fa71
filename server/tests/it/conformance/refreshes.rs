//! Refresh through each store, many at once: against itself, against ends of every kind, against thieves and the clock.

use super::rules::times;
use super::small::{Pair, Small, Told, login};
use super::world::{World, cases};
use handstamp_core::epoch::Scope;
use handstamp_core::event::EventKind;
use handstamp_core::id::SessionId;
use handstamp_core::policy::setting::Every;
use handstamp_core::policy::{Policy, Rules};
use handstamp_core::refusal::Code;
use handstamp_core::session::State;
use handstamp_core::time::Span;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use tokio::task::{JoinSet, yield_now};

cases![
    a_hundred_redeems_of_one_refresh_token,
    revoke_against_refresh,
    raise_against_refresh,
    theft_against_refresh,
    the_end_in_time_against_refresh,
];

/// How long a replaced token is late.
pub(super) const GRACE: Span = Span::secs(30);

/// Absolute 1 h, idle 10 min, refresh 2 h, grace 30 s; a session token would be old enough to rotate after 10 s.
pub(super) fn policy() -> Policy {
    Policy::from(Rules {
        absolute_timeout: Some(Span::hours(1)),
        idle_timeout: Some(Span::minutes(10)),
        refresh_timeout: Some(Span::hours(2)),
        rotate_every: Some(Every(Some(Span::secs(10)))),
        rotation_grace: Some(GRACE),
        ..Rules::default()
    })
}

/// One session in the hands of many: every pair that was ever given, and whether its end was acknowledged.
#[derive(Clone)]
struct Shared {
    small: Small,
    id: SessionId,
    given: Arc<Mutex<Vec<Pair>>>,
    over: Arc<AtomicBool>,
}

impl Shared {
    async fn new(small: &Small, who: &str) -> Shared {
        let (id, pair) = small.create(login(who, true)).await;
        Shared { small: small.clone(), id, given: Arc::new(Mutex::new(vec![pair])), over: Arc::default() }
    }
    fn all(&self) -> Vec<Pair> {
        self.given.lock().unwrap().clone()
    }
    fn newest(&self) -> Pair {
        self.all().pop().unwrap()
    }
    fn give(&self, pair: Pair) {
        let mut given = self.given.lock().unwrap();
        if !given.contains(&pair) {
            given.push(pair);
        }
    }

    /// Refreshes over and over, first the token that all of them hold, until the session's end stops it; tells the code.
    /// What begins after the end was acknowledged must not go through.
    async fn refresh_to_the_end(self, mut held: Pair) -> Code {
        loop {
            let over = self.over.load(Ordering::SeqCst);
            match self.small.present(held.refresh()).await {
                Told::Allowed(Some(next)) => {
                    assert!(!over, "a refresh went through after the end was acknowledged");
                    self.give(next.clone());
                    held = next;
                    // A store in memory never makes anybody wait, and there are more of us than threads.
                    yield_now().await;
                }
                // Others went on without us: take what they hold.
                Told::Refused(Code::TokenSuperseded) => {
                    assert!(!over, "an ended session says that it lives");
                    held = self.newest();
                }
                Told::Refused(code) => return code,
                Told::Allowed(None) => panic!("a refresh without a successor"),
            }
        }
    }
    /// So many of them, that begin with the same token.
    fn refreshing(&self, many: usize) -> JoinSet<Code> {
        (0..many).map(|_| self.clone().refresh_to_the_end(self.newest())).collect()
    }

    /// Whatever was given out is dead, history has one end of this code, and the session counts no more.
    async fn is_ended(&self, small: &Small, code: Code) {
        for pair in self.all() {
            assert_eq!(small.present(&pair.session).await, Told::Refused(code));
            assert_eq!(small.present(pair.refresh()).await, Told::Refused(code));
        }
        let story: Vec<_> = small.story(self.id).await.iter().map(|line| (line.kind, line.code)).collect();
        assert_eq!(story, [(EventKind::Created, None), (EventKind::Ended, Some(code))]);
        assert!(!small.revoke(self.id).await && !small.settle(self.id).await, "it ended twice");
    }
}

/// Also after a restart the ended are ended.
async fn stay_ended(mut world: World, small: &Small, all: &[(Shared, Code)]) {
    assert_eq!(small.tally().await, 0);
    if world.durable() {
        world.reopen().await;
        let small = small.over(world.store.clone());
        for (shared, code) in all.iter().rev().take(5) {
            shared.is_ended(&small, *code).await;
        }
    }
}

/// All at once exchange one refresh token, and half of them go on with what they get. One chain: everybody is given the
/// same pair, by one change of the record, and nobody is called a thief.
async fn a_hundred_redeems_of_one_refresh_token(world: World) {
    let small = Small::new(&world.store, policy());
    let rounds = times(3, 30);
    for round in 0..rounds {
        let (id, mut pair) = small.create(login(&format!("ada{round}"), true)).await;
        for generation in 1..=3 {
            small.pass(Span::secs(10));
            let before = small.load(id).await.unwrap().version;
            let mut redeeming = JoinSet::new();
            for n in 0..100 {
                let (small, token) = (small.clone(), pair.refresh().to_owned());
                redeeming.spawn(async move {
                    let next = small.present(&token).await.pair();
                    if n % 2 == 0 {
                        assert_eq!(small.present(&next.session).await, Told::Allowed(None));
                    }
                    next
                });
            }
            let given: BTreeSet<Pair> = redeeming.join_all().await.into_iter().collect();
            assert_eq!(given.len(), 1, "the chain forked");
            let found = small.load(id).await.unwrap();
            assert_eq!(found.session.chain.generation, generation);
            assert_eq!(found.version, before + 2, "made once, and presented for the first time once");
            let late = small.present(pair.refresh()).await.pair();
            pair = given.into_iter().next().unwrap();
            assert_eq!(late, pair);
        }
        assert_eq!(small.story(id).await.len(), 1, "nothing but its creation");
    }
    assert_eq!(small.tally().await, i64::try_from(rounds).unwrap());
}

/// Once an end is acknowledged no refresh goes through, and no successor that one before it made is good.
async fn revoke_against_refresh(world: World) {
    let small = Small::new(&world.store, policy());
    let mut ended = Vec::new();
    let mut longest = 0;
    for round in 0..times(80, 3_000) {
        let shared = Shared::new(&small, "ada").await;
        let refreshing = shared.refreshing(6);
        for _ in 0..round % 7 {
            yield_now().await;
        }
        // Every other time not before some have got through.
        while round % 2 == 0 && shared.all().len() < 1 + round % 5 {
            yield_now().await;
        }
        assert!(small.revoke(shared.id).await, "it was live");
        shared.over.store(true, Ordering::SeqCst);
        for code in refreshing.join_all().await {
            assert_eq!(code, Code::SessionRevoked);
        }
        longest = longest.max(shared.all().len());
        shared.is_ended(&small, Code::SessionRevoked).await;
        assert_eq!(small.counted("ada").await, 0);
        ended.push((shared, Code::SessionRevoked));
    }
    assert!(longest > 3, "no refresh came before a revoke");
    stay_ended(world, &small, &ended).await;
}

/// The same when all of an environment or of a user ends by an epoch, whose evidence is written while refreshes still
/// come. Who was not meant goes on.
async fn raise_against_refresh(world: World) {
    let small = Small::new(&world.store, policy());
    let mut ended = Vec::new();
    for round in 0..times(40, 300) {
        let mut all = Vec::new();
        for name in ["ada", "bob", "cy"] {
            all.push(Shared::new(&small, name).await);
        }
        let refreshing: Vec<_> = all.iter().map(|shared| shared.refreshing(2)).collect();
        for _ in 0..round % 7 {
            yield_now().await;
        }
        let scope = match round % 2 {
            0 => Scope::All,
            _ => Scope::User(login("ada", true).user),
        };
        let meant = if scope == Scope::All { 3 } else { 1 };
        small.raise(scope).await;
        let (mut settling, at) = (JoinSet::new(), small.now());
        for shared in &all[..meant] {
            shared.over.store(true, Ordering::SeqCst);
            for _ in 0..3 {
                let (small, id) = (small.clone(), shared.id);
                settling.spawn(async move { usize::from(small.settle(id).await) });
            }
        }
        // Made after it: not meant.
        let (after, pair) = small.create(login("ada", true)).await;
        assert!(matches!(small.present(pair.refresh()).await, Told::Allowed(Some(_))));
        assert!(settling.join_all().await.into_iter().sum::<usize>() <= meant, "an end was written twice");
        for shared in &all[meant..] {
            assert!(small.load(shared.id).await.unwrap().session.is_live());
            assert!(small.revoke(shared.id).await);
            shared.over.store(true, Ordering::SeqCst);
        }
        for codes in refreshing {
            assert!(codes.join_all().await.into_iter().all(|code| code == Code::SessionRevoked));
        }
        for shared in &all {
            shared.is_ended(&small, Code::SessionRevoked).await;
            match small.load(shared.id).await.unwrap().session.state {
                State::Ended(end) => assert_eq!(end.at, at),
                State::Live => panic!("nobody wrote it down"),
            }
        }
        assert!(small.revoke(after).await, "what was made after the raise lives");
        assert_eq!(small.counted("ada").await, 0);
        small.pass(Span::secs(1));
        ended.extend(all.into_iter().map(|shared| (shared, Code::SessionRevoked)));
    }
    stay_ended(world, &small, &ended).await;
}

/// Thieves come with an old refresh token while the owner refreshes, and now and then somebody ends the session at the same
/// time. The family ends once, for all of them.
async fn theft_against_refresh(world: World) {
    let small = Small::new(&world.store, policy());
    let mut ended = Vec::new();
    for round in 0..times(40, 1_500) {
        let shared = Shared::new(&small, "ada").await;
        let stolen = shared.newest();
        shared.give(small.present(stolen.refresh()).await.pair());
        assert_eq!(small.present(&shared.newest().session).await, Told::Allowed(None));
        small.pass(GRACE);
        let refreshing = shared.refreshing(3);
        for _ in 0..round % 5 {
            yield_now().await;
        }
        let mut thieves = JoinSet::new();
        for _ in 0..10 {
            let (small, token) = (small.clone(), stolen.refresh().to_owned());
            thieves.spawn(async move { small.present(&token).await });
        }
        if round % 3 == 0 {
            small.revoke(shared.id).await;
        }
        let mut told = BTreeSet::new();
        for answer in thieves.join_all().await {
            match answer {
                Told::Refused(code @ (Code::TokenReused | Code::SessionRevoked)) => told.insert(code),
                other => panic!("a thief was told {other:?}"),
            };
        }
        shared.over.store(true, Ordering::SeqCst);
        told.extend(refreshing.join_all().await);
        let code = *told.first().unwrap();
        assert!(told.len() == 1 && (code == Code::TokenReused || round % 3 == 0), "{told:?}");
        shared.is_ended(&small, code).await;
        assert_eq!(small.counted("ada").await, 0);
        ended.push((shared, code));
    }
    stay_ended(world, &small, &ended).await;
}

/// The clock reaches the end of the family in the middle of a crowd of refreshes, and housekeeping writes it down.
async fn the_end_in_time_against_refresh(world: World) {
    let small = Small::new(
        &world.store,
        policy().with(|rules| {
            rules.idle_timeout = Some(Span::hours(3));
        }),
    );
    let mut ended = Vec::new();
    for round in 0..times(40, 1_500) {
        let shared = Shared::new(&small, "ada").await;
        let end = small.now().plus(Span::hours(2));
        small.pass(Span(Span::hours(2).0 - 1));
        let refreshing = shared.refreshing(4);
        for _ in 0..round % 7 {
            yield_now().await;
        }
        assert!(!small.settle(shared.id).await, "it was written down before it came");
        small.pass(Span(1));
        let settling: JoinSet<bool> = (0..3)
            .map(|_| {
                let (small, id) = (small.clone(), shared.id);
                async move { small.settle(id).await }
            })
            .collect();
        // From the next request on it is over for everybody.
        assert_eq!(
            small.present(&shared.newest().session).await,
            Told::Refused(Code::SessionExpired),
            "round {round}"
        );
        shared.over.store(true, Ordering::SeqCst);
        assert!(settling.join_all().await.into_iter().filter(|wrote| *wrote).count() <= 1);
        assert!(refreshing.join_all().await.into_iter().all(|code| code == Code::SessionExpired));
        shared.is_ended(&small, Code::SessionExpired).await;
        assert_eq!(small.story(shared.id).await[1].at, end, "the end is dated to the instant it came");
        ended.push((shared, Code::SessionExpired));
    }
    stay_ended(world, &small, &ended).await;
}
