//! The real rules on any store: changes against ends, idempotency, time, paging, restarts, removed environments.

use super::rules::{house, times};
use super::world::{World, cases};
use crate::engine::house::{House, NOW, Plan, Said, asked, good, in_state, of_tag, of_user, tags};
use handstamp_core::environment::EnvironmentName;
use handstamp_core::event::EventKind;
use handstamp_core::policy::{Policy, Rules};
use handstamp_core::refusal::Code;
use handstamp_core::subject::Subject;
use handstamp_core::time::Span;
use handstamp_server::app::end::Target;
use handstamp_server::app::search::{Filter, Which};
use handstamp_server::app::update::{DataChange, Update};
use handstamp_server::codec::{session_key, sessions};
use handstamp_server::host::clock::ManualClock;
use handstamp_server::store::Query;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::task::{JoinSet, yield_now};

cases![
    update_against_end,
    touch_against_end,
    idempotent_creations_side_by_side,
    settle_against_validate,
    paging_while_sessions_come_and_go,
    both_sides_of_each_end_in_time,
    a_restart_in_the_middle,
    one_environment_is_removed,
];

fn tag(text: &str) -> Update {
    let mut update = Update::default();
    update.patch.add_tags = tags(&[text]);
    update
}

/// An end is terminal: an update that comes with it changes nothing that has ended, and updates lose nothing of each
/// other.
async fn update_against_end(world: World) {
    let house = house(&world, Plan::default().roomy()).await;
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
                (n % 2, made.view.session().id, made.given.token().unwrap().to_owned())
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
        let changes = lines.iter().filter(|line| line.event.kind != EventKind::Refused);
        assert_eq!(changes.count(), 2, "created and ended, each once");
    }
}

/// Who was there from the first page to the last is found exactly once.
async fn paging_while_sessions_come_and_go(world: World) {
    let house = house(&world, Plan::default().roomy()).await;
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
    let passes = Arc::new(AtomicUsize::new(0));
    let coming = tokio::spawn({
        let (house, passes) = (house.clone(), passes.clone());
        async move {
            for (n, id) in going.into_iter().enumerate() {
                // Spread over the passes: on a busy machine all of it could be done before the first one begins.
                while passes.load(Ordering::SeqCst) < n / 30 {
                    yield_now().await;
                }
                good(house.end(id).await);
                house.create(&format!("u{}", n % 7), &["a:b"]).await;
            }
        }
    });
    loop {
        yield_now().await;
        let done = coming.is_finished();
        for filter in [Filter::default(), of_tag("a:b"), in_state(Which::All, of_tag("a:b"))] {
            let found = house.found(&filter).await;
            let once: BTreeSet<_> = found.iter().copied().collect();
            assert_eq!(once.len(), found.len(), "one was found twice");
            assert!(staying.is_subset(&once), "one that stayed was not found");
        }
        passes.fetch_add(1, Ordering::SeqCst);
        if done {
            break;
        }
    }
    coming.await.unwrap();
    assert!(passes.load(Ordering::SeqCst) > 4);
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
    let policy = Policy::from(Rules {
        absolute_timeout: Some(Span::secs(100)),
        idle_timeout: Some(Span::secs(60)),
        ..Rules::default()
    });
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
                        match good(house.app.validate(&house.caller().env, ask).await) {
                            handstamp_server::app::validate::Validated::Current(_)
                            | handstamp_server::app::validate::Validated::Allowed { .. } => false,
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
    let text = made.given.token().unwrap().to_owned();
    // Nothing crosses: neither the token nor the id means anything next door.
    assert_eq!(house.validate(&text).await, Said::Refused(Code::TokenMalformed));
    assert!(house.app.get(&house.caller(), made.view.session().id).await.is_err());
    assert!(house.end(made.view.session().id).await.is_err());
    good(house.revoke(Target::Everybody, None).await);
    let (kept_too, token_too) = house.create("ada", &["a:b"]).await;
    let ask = handstamp_server::app::validate::Ask { token: &text, ..Default::default() };
    assert!(matches!(
        good(house.app.validate(&shop.env, ask).await),
        handstamp_server::app::validate::Validated::Current(_)
    ));
    let name = EnvironmentName::parse("shop/prd").unwrap();
    good(house.app.delete_environment(&house.operator("default/prd"), &name).await);
    let ask = handstamp_server::app::validate::Ask { token: &text, ..Default::default() };
    assert!(house.app.validate(&shop.env, ask).await.is_err());
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
