//! The service over each store: what must hold of sessions, whatever races. What it does not have yet is in `refreshes`,
//! `families` and `limits`.

use super::world::{World, cases};
use crate::engine::full;
use crate::engine::house::{House, Plan, Said, good, in_state, of_tag, of_user};
use handstamp_core::id::SessionId;
use handstamp_core::refusal::Code;
use handstamp_core::time::Span;
use handstamp_server::app::end::{Revoked, Target};
use handstamp_server::app::search::{Filter, Which};
use std::collections::{BTreeSet, HashSet};
use tokio::task::{JoinSet, yield_now};

cases![
    a_hundred_rotations_of_one_token,
    revoke_against_rotation,
    revoke_all_against_creations,
    raise_against_creations_and_validations,
];

pub(super) async fn house(world: &World, plan: Plan) -> House {
    House::new(world.store.clone(), plan).await
}

/// More in the long run.
pub(super) fn times(short: usize, long: usize) -> usize {
    if full() { long } else { short }
}

/// Now and then all that ended is forgotten, so that the long run does not drag it along.
async fn forget_the_dead(house: &House, round: usize) {
    if round % 100 == 99 {
        house.pass(Span::days(31));
        house.tidy().await;
    }
}

/// All at once present a token whose time has come. One chain: whoever gets a successor gets the same one, and nobody is
/// called a thief.
async fn a_hundred_rotations_of_one_token(world: World) {
    let house = house(&world, Plan::rotating(Span::secs(10), Span::secs(30))).await;
    for round in 0..times(5, 50) {
        let (id, mut token) = house.create(&format!("ada{round}"), &[]).await;
        for generation in 1..=4 {
            house.pass(Span::secs(10));
            let mut asking = JoinSet::new();
            for n in 0..100 {
                let (house, token) = (house.clone(), token.clone());
                asking.spawn(async move { good(house.try_validate(&token, true, n % 3 == 0).await) });
            }
            let answers = asking.join_all().await;
            let successors: BTreeSet<String> = answers
                .iter()
                .map(|said| match said {
                    Said::Allowed(Some(next)) => next.clone(),
                    other => panic!("{other:?}"),
                })
                .collect();
            assert_eq!(successors.len(), 1, "the chain forked");
            token = successors.into_iter().next().unwrap();
            assert_eq!(house.validate(&token).await, Said::Allowed(None));
            assert_eq!(house.get(id).await.session().chain.generation, generation);
        }
    }
    assert_eq!(house.found(&in_state(Which::Ended, Filter::default())).await.len(), 0);
}

/// Once an end is acknowledged no credential of the session is good: not the one before, not one that is just made.
async fn revoke_against_rotation(world: World) {
    let house = house(&world, Plan::rotating(Span::secs(10), Span::secs(30))).await;
    for round in 0..times(100, 3_000) {
        let (id, token) = house.create("ada", &["a:b"]).await;
        house.pass(Span::secs(10));
        let mut rotating = JoinSet::new();
        for _ in 0..4 {
            let (house, token) = (house.clone(), token.clone());
            rotating.spawn(async move { house.rotate(&token).await });
        }
        for _ in 0..round % 7 {
            yield_now().await;
        }
        assert!(good(house.end(id).await), "it was live");
        let mut known = vec![token];
        for said in rotating.join_all().await {
            match said {
                Said::Allowed(next) => known.extend(next),
                Said::Refused(code) => assert_eq!(code, Code::SessionRevoked),
            }
        }
        for token in known {
            assert_eq!(house.validate(&token).await, Said::Refused(Code::SessionRevoked));
            assert_eq!(house.rotate(&token).await, Said::Refused(Code::SessionRevoked));
        }
        assert!(!good(house.end(id).await));
        forget_the_dead(&house, round).await;
    }
    assert_eq!(house.tally("live").await, 0);
}

/// After "end all of this user" is acknowledged, nothing lives that was acknowledged before it was.
async fn revoke_all_against_creations(world: World) {
    let house = house(&world, Plan::default()).await;
    for round in 0..times(250, 10_000) {
        let who = format!("u{}", round % 20);
        let mut creating = JoinSet::new();
        for n in 0..4 {
            let (house, who) = (house.clone(), who.clone());
            creating.spawn(async move {
                for _ in 0..n {
                    yield_now().await;
                }
                house.create(&who, &["a:b"]).await
            });
        }
        let (before_id, before) = house.create(&who, &[]).await;
        for _ in 0..round % 5 {
            yield_now().await;
        }
        let mut acknowledged = vec![before];
        while let Some(made) = creating.try_join_next() {
            acknowledged.push(made.unwrap().1);
        }
        let Revoked::Ended { count, sessions } = good(house.revoke_user(&who).await) else { panic!() };
        assert!(sessions.contains(&before_id) && count >= acknowledged.len() as u64);
        // What was acknowledged while it ran is dead or was made after it: then it is in the list of the living.
        let living: HashSet<SessionId> = house.found(&of_user(&who)).await.into_iter().collect();
        for token in &acknowledged {
            assert_eq!(house.validate(token).await, Said::Refused(Code::SessionRevoked));
        }
        for (id, token) in creating.join_all().await {
            let said = house.validate(&token).await;
            if living.contains(&id) {
                assert_eq!(said, Said::Allowed(None));
            }
            assert_eq!(sessions.contains(&id), said != Said::Allowed(None));
        }
        good(house.revoke_user(&who).await);
        forget_the_dead(&house, round).await;
    }
    assert_eq!(house.tally("live").await, 0);
    assert_eq!(house.tally("tag a").await, 0);
}

/// The same for a whole tag, which no record of a user guards.
async fn raise_against_creations_and_validations(world: World) {
    let house = house(&world, Plan::default()).await;
    for round in 0..times(60, 2_000) {
        let mut creating = JoinSet::new();
        for n in 0..6 {
            let house = house.clone();
            creating.spawn(async move { house.create(&format!("u{n}"), &["a:b"]).await });
        }
        let (_, before) = house.create("before", &["a:b", "c:d"]).await;
        let (_, other) = house.create("other", &["c:d"]).await;
        assert_eq!(house.validate(&before).await, Said::Allowed(None));
        let mut acknowledged = vec![before.clone()];
        while let Some(made) = creating.try_join_next() {
            acknowledged.push(made.unwrap().1);
        }
        let validating = tokio::spawn({
            let (house, before) = (house.clone(), before.clone());
            async move {
                while house.validate(&before).await == Said::Allowed(None) {
                    yield_now().await;
                }
            }
        });
        for _ in 0..round % 5 {
            yield_now().await;
        }
        good(house.revoke(Target::Filter(of_tag("a:b")), None).await);
        for token in &acknowledged {
            assert_eq!(house.validate(token).await, Said::Refused(Code::SessionRevoked));
        }
        validating.await.unwrap();
        assert_eq!(house.validate(&other).await, Said::Allowed(None));
        for (_, token) in creating.join_all().await {
            let said = house.validate(&token).await;
            assert!(said == Said::Allowed(None) || said == Said::Refused(Code::SessionRevoked));
        }
        if round % 10 == 0 {
            house.tidy().await;
        }
        good(house.revoke(Target::Everybody, None).await);
        assert_eq!(house.found(&Filter::default()).await.len(), 0);
        forget_the_dead(&house, round).await;
    }
    house.tidy().await;
    assert_eq!(house.tally("live").await, 0);
}
