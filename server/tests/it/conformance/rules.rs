//! The real rules through each store: what must hold of sessions, whatever races.

use super::world::{World, cases};
use crate::engine::full;
use crate::engine::house::{House, NOW, Plan, Said, asked, good, in_state, of_tag, of_user, tags, user};
use handstamp_core::environment::EnvironmentName;
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
use handstamp_server::app::update::{DataChange, Update};
use handstamp_server::codec::{
    read_session, read_user, session_key, session_record, sessions, user_key, user_record,
};
use handstamp_server::host::clock::ManualClock;
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
    update_against_end,
    touch_against_end,
    idempotent_creations_side_by_side,
    settle_against_validate,
    paging_while_sessions_come_and_go,
    both_sides_of_each_end_in_time,
    a_restart_in_the_middle,
    one_environment_is_removed,
];

async fn house(world: &World, plan: Plan) -> House {
    House::new(world.store.clone(), plan).await
}

/// More in the long run.
fn times(short: usize, long: usize) -> usize {
    if full() { long } else { short }
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

fn tag(text: &str) -> Update {
    let mut update = Update::default();
    update.patch.add_tags = tags(&[text]);
    update
}

/// An end is terminal: an update that comes with it changes nothing that has ended, and updates lose nothing of each
/// other.
async fn update_against_end(world: World) {
    let house = house(&world, Plan::default()).await;
    for round in 0..times(60, 1_000) {
        let (id, token) = house.create("ada", &["a:b"]).await;
        let mut updating = JoinSet::new();
        for n in 0..8 {
            let house = house.clone();
            updating.spawn(async move {
                let mut ask = tag(&format!("n{n}:x"));
                ask.data = DataChange::Merge(
                    serde_json::value::to_raw_value(&serde_json::json!({ format!("k{n}"): n })).unwrap(),
                );
                (n, house.update(id, &ask).await.is_ok())
            });
        }
        for _ in 0..round % 9 {
            yield_now().await;
        }
        if round % 2 == 0 {
            assert!(good(house.end(id).await));
            assert_eq!(house.validate(&token).await, Said::Refused(Code::SessionRevoked));
        }
        let done = updating.join_all().await;
        let view = house.get(id).await;
        assert_eq!(view.ended.is_some(), round % 2 == 0);
        let data = view.held.data.as_ref().map(|raw| raw.get().to_owned()).unwrap_or_default();
        for (n, done) in done {
            let has = view.session().has_tag(&tags(&[&format!("n{n}:x")])[0]);
            assert_eq!(has, done, "an update that was {done} is {has}");
            assert_eq!(data.contains(&format!("\"k{n}\":{n}")), done);
            assert!(done || round % 2 == 0);
        }
    }
    let live = i64::try_from(times(60, 1_000) / 2).unwrap();
    assert_eq!((house.tally("live").await, house.tally("tag a").await), (live, live));
}

/// Late activity brings nothing back.
async fn touch_against_end(world: World) {
    let house = house(&world, Plan::idle(Span::minutes(10))).await;
    for _ in 0..times(30, 500) {
        let (id, token) = house.create("ada", &[]).await;
        house.pass(Span::minutes(4));
        assert_eq!(house.validate(&token).await, Said::Allowed(None));
        house.pass(Span::minutes(4));
        let (flushing, ending, validating) = (house.clone(), house.clone(), house.clone());
        let token_again = token.clone();
        let (_, ended, _) = tokio::join!(
            tokio::spawn(async move { flushing.app.flush_activity().await.unwrap() }),
            tokio::spawn(async move { ending.end(id).await }),
            tokio::spawn(async move { validating.validate(&token_again).await }),
        );
        assert!(good(ended.unwrap()));
        house.app.flush_all_activity(std::time::Duration::from_secs(60)).await.unwrap();
        let view = house.get(id).await;
        assert_eq!(view.ended.unwrap().code, Code::SessionRevoked);
        let key = session_key(house.caller().env.record.id, id);
        let stored = house.store.load(&[key]).await.unwrap().remove(0).unwrap();
        assert_eq!(stored.record.seen, None, "activity was written to an ended session");
        assert_eq!(house.validate(&token).await, Said::Refused(Code::SessionRevoked));
    }
}

/// The same request many times at once makes one session, and all get its credentials.
async fn idempotent_creations_side_by_side(world: World) {
    let house = house(&world, Plan::default()).await;
    for round in 0..times(15, 200) {
        let mut creating = JoinSet::new();
        for n in 0..30 {
            let house = house.clone();
            creating.spawn(async move {
                // Half of them under another name: that is another request.
                let mut ask = asked("ada", &[]);
                ask.idempotency = Some((format!("{round}-{}", n % 2), vec![1; 32].into()));
                let made = good(house.make(ask).await);
                (n % 2, made.view.session().id, made.issued.session.reveal().to_owned())
            });
        }
        let made: BTreeSet<_> = creating.join_all().await.into_iter().collect();
        assert_eq!(made.len(), 2, "one session each");
        for (half, id, token) in made {
            assert_eq!(house.validate(&token).await, Said::Allowed(None));
            let mut ask = asked("ada", &[]);
            ask.idempotency = Some((format!("{round}-{half}"), vec![1; 32].into()));
            let Err(handstamp_server::app::Stop::Refused(why)) = house.make(ask).await else { panic!() };
            assert_eq!(why.refusal.code, Code::IdempotencyKeySpent);
            assert!(good(house.end(id).await));
        }
    }
    // Of two bodies under one name one is made, whoever they are for.
    let mut creating = JoinSet::new();
    for n in 0..20u8 {
        let house = house.clone();
        creating.spawn(async move {
            let mut ask = asked(&format!("u{n}"), &[]);
            ask.idempotency = Some(("same".to_owned(), vec![n; 32].into()));
            house.make(ask).await.is_ok()
        });
    }
    assert_eq!(creating.join_all().await.into_iter().filter(|made| *made).count(), 1);
}

/// Housekeeping writes an end down while requests present the token at the very instant of the end.
async fn settle_against_validate(world: World) {
    let house = house(&world, Plan::idle(Span::secs(60))).await;
    let mut all = Vec::new();
    for _ in 0..times(15, 150) {
        let mut made = Vec::new();
        for n in 0..10 {
            made.push(house.create(&format!("u{n}"), &["a:b"]).await);
        }
        house.pass(Span(59_999));
        for (_, token) in made.iter().take(3) {
            assert_eq!(house.validate(token).await, Said::Allowed(None));
        }
        house.pass(Span(1));
        let tidying = tokio::spawn({
            let house = house.clone();
            async move { good(house.app.tidy().await) }
        });
        let mut asking = JoinSet::new();
        for (n, (_, token)) in made.iter().enumerate() {
            let (house, token) = (house.clone(), token.clone());
            asking.spawn(async move { (n, house.validate(&token).await) });
        }
        for (n, said) in asking.join_all().await {
            let expected = if n < 3 { Said::Allowed(None) } else { Said::Refused(Code::SessionIdle) };
            assert_eq!(said, expected);
        }
        tidying.await.unwrap();
        all.extend(made);
        house.pass(Span::secs(60));
        house.tidy().await;
    }
    assert_eq!((house.tally("live").await, house.tally("tag a").await), (0, 0));
    for (id, _) in all {
        let view = house.get(id).await;
        let end = view.ended.unwrap();
        assert_eq!(end.at, view.seen.plus(Span::secs(60)), "the end is dated to the instant it came");
        let lines = good(house.app.events(&house.caller(), id, None, 100).await);
        assert_eq!(lines.len(), 2, "created and ended, each once");
    }
}

/// Who was there from the first page to the last is found exactly once.
async fn paging_while_sessions_come_and_go(world: World) {
    let house = house(&world, Plan::default()).await;
    let mut staying = BTreeSet::new();
    let mut going = Vec::new();
    for n in 0..300 {
        let (id, _) = house.create(&format!("u{}", n % 7), &["a:b"]).await;
        if n % 2 == 0 {
            staying.insert(id);
        } else {
            going.push(id);
        }
    }
    let coming = tokio::spawn({
        let house = house.clone();
        async move {
            for (n, id) in going.into_iter().enumerate() {
                good(house.end(id).await);
                house.create(&format!("u{}", n % 7), &["a:b"]).await;
            }
        }
    });
    let mut passes = 0;
    loop {
        yield_now().await;
        let done = coming.is_finished();
        for filter in [Filter::default(), of_tag("a:b"), in_state(Which::All, of_tag("a:b"))] {
            let found = house.found(&filter).await;
            let once: BTreeSet<_> = found.iter().copied().collect();
            assert_eq!(once.len(), found.len(), "one was found twice");
            assert!(staying.is_subset(&once), "one that stayed was not found");
        }
        passes += 1;
        if done {
            break;
        }
    }
    coming.await.unwrap();
    assert!(passes > 1);
    assert_eq!(house.found(&in_state(Which::Ended, Filter::default())).await.len(), 150);
    let users: usize = {
        let mut sum = 0;
        for n in 0..7 {
            sum += house.found(&of_user(&format!("u{n}"))).await.len();
        }
        sum
    };
    assert_eq!(users, 300);
}

/// A millisecond before its end it lives; at its end it is over: for verdicts, lists, counts and updates alike.
async fn both_sides_of_each_end_in_time(world: World) {
    let policy =
        Policy { absolute_timeout: Span::secs(100), idle_timeout: Span::secs(60), ..Policy::default() };
    let house = house(&world, Plan { policy, ..Plan::default() }).await;
    for (active, code) in [(false, Code::SessionIdle), (true, Code::SessionExpired)] {
        for way in ["verdict", "strong", "list", "count", "update", "end"] {
            let (id, token) = house.create(way, &[]).await;
            if active {
                house.pass(Span::secs(50));
                assert_eq!(house.validate(&token).await, Said::Allowed(None));
                house.pass(Span(49_999));
            } else {
                house.pass(Span(59_999));
            }
            for over in [false, true] {
                house.pass(Span(i64::from(over)));
                let said = match way {
                    // Not activity itself, or it would move the idle end.
                    "verdict" | "strong" => {
                        let ask = handstamp_server::app::validate::Ask {
                            token: &token,
                            strong: way == "strong",
                            ..Default::default()
                        };
                        match good(house.app.validate(&house.caller(), ask).await) {
                            handstamp_server::app::validate::Validated::Allowed { .. } => false,
                            handstamp_server::app::validate::Validated::Refused { refusal, .. } => {
                                assert_eq!(refusal.code, code);
                                true
                            }
                        }
                    }
                    "list" => !house.found(&of_user(way)).await.contains(&id),
                    "count" => good(house.app.count(&house.caller(), &of_user(way)).await).0 == 0,
                    "update" => house.update(id, &tag("x:y")).await.is_err(),
                    _ if over => !good(house.end(id).await),
                    _ => house.get(id).await.ended.is_some(),
                };
                assert_eq!(said, over, "{way}, {code:?}");
            }
        }
        house.tidy().await;
        assert_eq!(house.tally("live").await, 0);
    }
}

/// The server ends and begins again between any two steps; whatever was acknowledged is as it was.
async fn a_restart_in_the_middle(mut world: World) {
    if !world.durable() {
        return;
    }
    let plan = Plan::rotating(Span::secs(10), Span::secs(30));
    let clock = Arc::new(ManualClock::new(NOW));
    let mut house = House::at(world.store.clone(), clock.clone(), plan.clone()).await;
    let mut number = 0;
    macro_rules! restart {
        () => {{
            number += 1;
            world.reopen().await;
            let plan = Plan { seed: 100 + number, ..plan.clone() };
            house = House::at(world.store.clone(), clock.clone(), plan).await;
        }};
    }
    let (id, first) = house.create("ada", &["a:b"]).await;
    let (_, other) = house.create("bob", &["a:b"]).await;
    restart!();
    house.pass(Span::secs(10));
    let Said::Allowed(Some(second)) = house.rotate(&first).await else { panic!() };
    restart!();
    // The answer was lost: the same successor again, from another process.
    assert_eq!(house.rotate(&first).await, Said::Allowed(Some(second.clone())));
    assert_eq!(house.validate(&second).await, Said::Allowed(None));
    restart!();
    house.pass(Span::secs(29));
    assert_eq!(house.rotate(&first).await, Said::Allowed(Some(second.clone())));
    good(house.update(id, &tag("c:d")).await);
    restart!();
    assert!(house.get(id).await.session().has_tag(&tags(&["c:d"])[0]));
    house.pass(Span::secs(1));
    assert_eq!(house.validate(&first).await, Said::Refused(Code::TokenReused));
    restart!();
    assert_eq!(house.validate(&second).await, Said::Refused(Code::TokenReused));
    let mut ask = asked("cy", &["a:b"]);
    ask.idempotency = Some(("one".to_owned(), vec![1; 32].into()));
    let made = good(house.make(ask).await).view.session().id;
    restart!();
    let mut ask = asked("cy", &["a:b"]);
    ask.idempotency = Some(("one".to_owned(), vec![1; 32].into()));
    assert_eq!(good(house.make(ask).await).view.session().id, made);
    good(house.revoke(Target::Filter(of_tag("a:b")), None).await);
    restart!();
    assert_eq!(house.validate(&other).await, Said::Refused(Code::SessionRevoked));
    house.tidy().await;
    restart!();
    house.pass(Span::hours(1));
    house.tidy().await;
    assert_eq!(house.validate(&other).await, Said::Refused(Code::SessionRevoked));
    let (_, last) = house.create("bob", &["a:b"]).await;
    restart!();
    assert_eq!(house.validate(&last).await, Said::Allowed(None));
    assert_eq!(house.tally("live").await, 1);
    // A clock that fell back does not: time goes on from what the store has seen.
    world.reopen().await;
    let back = Arc::new(ManualClock::new(NOW));
    let house = House::at(world.store.clone(), back, Plan { seed: 999, ..plan }).await;
    assert!(house.now() >= NOW.plus(Span::hours(1)));
}

/// A removed environment is gone for every caller at once, and its neighbour has lost nothing.
async fn one_environment_is_removed(world: World) {
    let house = house(&world, Plan::default()).await;
    let shop = house.environment("shop/prd").await;
    let (kept, token) = house.create("ada", &["a:b"]).await;
    let made = good(house.app.create(&shop, asked("ada", &["a:b"])).await);
    let text = made.issued.session.reveal().to_owned();
    // Nothing crosses: neither the token nor the id means anything next door.
    assert_eq!(house.validate(&text).await, Said::Refused(Code::TokenMalformed));
    assert!(house.app.get(&house.caller(), made.view.session().id).await.is_err());
    assert!(house.end(made.view.session().id).await.is_err());
    good(house.revoke(Target::Everybody, None).await);
    let (kept_too, token_too) = house.create("ada", &["a:b"]).await;
    let ask = handstamp_server::app::validate::Ask { token: &text, ..Default::default() };
    assert!(matches!(
        good(house.app.validate(&shop, ask).await),
        handstamp_server::app::validate::Validated::Allowed { .. }
    ));
    let name = EnvironmentName::parse("shop/prd").unwrap();
    good(house.app.delete_environment(&house.operator("default/prd"), &name).await);
    let ask = handstamp_server::app::validate::Ask { token: &text, ..Default::default() };
    assert!(house.app.validate(&shop, ask).await.is_err());
    assert!(house.app.create(&shop, asked("ada", &[])).await.is_err());
    house.pass(Span::minutes(11));
    house.tidy().await;
    house.tidy().await;
    let query = Query {
        space: sessions(shop.env.record.id),
        all: Vec::new(),
        from: None,
        until: None,
        cursor: None,
        limit: 10,
    };
    assert_eq!(house.store.search(&query).await.unwrap().items.len(), 0);
    assert_eq!(house.validate(&token).await, Said::Refused(Code::SessionRevoked));
    assert_eq!(house.validate(&token_too).await, Said::Allowed(None));
    assert_eq!(house.get(kept).await.session().id, kept);
    assert_eq!(house.found(&Filter::default()).await, [kept_too]);
}
