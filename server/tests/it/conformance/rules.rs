//! The real rules through each store: what must hold of sessions, whatever races.

use super::world::{World, cases};
use crate::engine::full;
use crate::engine::house::{House, NOW, Plan, Said, good, in_state, of_tag, of_user, user};
use handstamp_core::epoch::Ledger;
use handstamp_core::id::SessionId;
use handstamp_core::limit::{Counted, OnLimit, Room, room};
use handstamp_core::policy::Policy;
use handstamp_core::refusal::Code;
use handstamp_core::sealing::DataKey;
use handstamp_core::secret::Secret;
use handstamp_core::session::{By, Client};
use handstamp_core::time::Span;
use handstamp_core::token::keyring::{Keyring, MasterKey};
use handstamp_core::transition::create::{NewSession, create};
use handstamp_core::transition::finish::evict;
use handstamp_core::transition::{Entropy, Ground};
use handstamp_core::user::User;
use handstamp_server::app::end::{Revoked, Target};
use handstamp_server::app::search::{Filter, Which};
use handstamp_server::codec::{read_session, read_user, session_record, sessions, user_key, user_record};
use handstamp_server::store::{Batch, Condition, Expect, FacetRange, Op, Query, Store, StoreError};
use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use tokio::task::{JoinSet, yield_now};

cases![
    a_hundred_rotations_of_one_token,
    revoke_against_rotation,
    revoke_all_against_creations,
    raise_against_creations_and_validations,
    a_limit_is_never_exceeded,
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

/// The keys of a small world in which creations keep a limit.
struct Small {
    env: handstamp_core::id::EnvironmentId,
    keys: Keyring,
    policy: Policy,
    ledger: Ledger,
    data_key: DataKey,
}

impl Small {
    fn new() -> Small {
        Small {
            env: handstamp_core::id::EnvironmentId(9),
            keys: Keyring::new(&MasterKey::new([1; 32]), 1, &[], &Secret::new([2; 32])),
            policy: Policy::default(),
            ledger: Ledger::default(),
            data_key: DataKey::new(1, Secret::new([3; 32])),
        }
    }
    fn ground(&self) -> Ground<'_> {
        let Small { env, keys, policy, ledger, data_key } = self;
        Ground { env: *env, policy, ledger, keys, data_key, now: NOW }
    }

    /// Makes a session if the limit has room, by load, decide and commit, until it goes through.
    async fn create(&self, store: &dyn Store, who: &str, seed: u64, most: u32, mode: OnLimit) -> bool {
        let who = user(who);
        let bucket = self.keys.bucket(self.env, &who);
        loop {
            let found = store.load(&[user_key(self.env, &who)]).await.unwrap().remove(0);
            let (record, expect) = match &found {
                Some(found) => (read_user(found).unwrap(), Expect::Version(found.version)),
                None => (User::new(who.clone()), Expect::Absent),
            };
            let value: Box<[u8]> = who.as_str().as_bytes().into();
            let of_user = FacetRange { name: handstamp_core::facet::USER, low: value.clone(), high: value };
            let query = Query {
                space: sessions(self.env),
                all: vec![Condition { any: vec![of_user] }],
                from: None,
                until: None,
                cursor: None,
                limit: 1_000,
            };
            let live: Vec<_> = store.search(&query).await.unwrap().items;
            let read: Vec<_> = live.iter().map(|found| read_session(found).unwrap()).collect();
            let counted: Vec<Counted> =
                read.iter().map(|(session, seen)| Counted { id: session.id, seen: *seen }).collect();
            let evicted = match room(&counted, most, mode) {
                Room::Free => Vec::new(),
                Room::Evict(ids) => ids,
                Room::Full { .. } => return false,
            };
            let mut ops = Vec::new();
            let mut record = record;
            for ((session, seen), found) in read.iter().zip(&live) {
                if evicted.contains(&session.id) {
                    let living = self.ground().living(session, *seen).ok().unwrap();
                    let change = evict(living, record.clone(), By::System);
                    record = change.user.unwrap();
                    let after = session_record(self.env, &change.session, NOW, *seen, Span::days(1));
                    ops.push(Op::Put { expect: Expect::Version(found.version), record: after });
                }
            }
            let new = NewSession {
                user: who.clone(),
                tags: Vec::new(),
                groups: Vec::new(),
                data: None,
                expires_in: None,
                refresh: false,
                client: Client::default(),
                by: By::System,
                idempotency: None,
            };
            let mut bytes = [0; 96];
            bytes[..8].copy_from_slice(&seed.to_be_bytes());
            let made = create(self.ground(), new, record, &Entropy::new(bytes)).ok().unwrap();
            let session = session_record(self.env, &made.change.session, NOW, NOW, Span::days(1));
            ops.push(Op::Put { expect: Expect::Absent, record: session });
            let after = user_record(self.env, bucket, &made.change.user.unwrap());
            ops.push(Op::Put { expect, record: after });
            let (events, tallies) = (Vec::new(), Vec::new());
            let batch = Batch { bucket: bucket.get(), at: NOW, ops, events, tallies };
            match store.commit(batch).await {
                Ok(()) => return true,
                Err(StoreError::Conflict) => {}
                Err(error) => panic!("{error}"),
            }
        }
    }

    async fn live(&self, store: &dyn Store, who: &str) -> u32 {
        let found = store.load(&[user_key(self.env, &user(who))]).await.unwrap().remove(0);
        found.map_or(0, |found| read_user(&found).unwrap().live)
    }
}

/// Creations of one user side by side: the limit is never exceeded by one, on the record that all of them change.
async fn a_limit_is_never_exceeded(world: World) {
    let small = Arc::new(Small::new());
    for (who, mode) in
        [("reject", OnLimit::Reject), ("oldest", OnLimit::EndOldest), ("least", OnLimit::EndLeastRecent)]
    {
        for round in 0..times(4, 40) as u64 {
            let mut creating = JoinSet::new();
            for n in 0..40 {
                let (store, small) = (world.store.clone(), small.clone());
                let seed =
                    u64::from(mode == OnLimit::Reject) << 60 | (who.len() as u64) << 40 | round << 20 | n;
                creating.spawn(async move {
                    let made = small.create(store.as_ref(), who, seed, 3, mode).await;
                    assert!(small.live(store.as_ref(), who).await <= 3, "the limit is exceeded");
                    made
                });
            }
            let made = creating.join_all().await.into_iter().filter(|made| *made).count();
            match mode {
                OnLimit::Reject if round == 0 => assert_eq!(made, 3),
                OnLimit::Reject => assert_eq!(made, 0),
                _ => assert_eq!(made, 40),
            }
            assert_eq!(small.live(world.store.as_ref(), who).await, 3);
        }
    }
}
