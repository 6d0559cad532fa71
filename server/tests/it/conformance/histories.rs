//! History: every event once, in the order of commits, for everybody who resumes.

use super::world::{Ask, NOW, World, batch, cases, create, delete, event, key, record, rewrite};
use handstamp_core::time::Millis;
use handstamp_server::store::{Amend, Batch, EventQuery, Key, NewEvent, Scrubbed, Space};
use std::collections::BTreeMap;
use std::sync::Arc;

cases![
    history_by_record_and_in_all,
    history_by_environment,
    history_since_an_instant,
    lines_are_written_anew_if_they_are_what_they_were,
    positions_rise_without_gaps_for_who_resumes,
    positions_are_never_reused
];

async fn history_by_record_and_in_all(world: World) {
    let at = |n, at, body: &str| NewEvent { at: Millis(at), ..event(n, body) };
    let events = vec![at(1, 5, "a"), at(2, 4, "b"), at(1, 3, "c"), at(9, -1, "")];
    world.store.done(Batch { events: events.clone(), ..batch([create(record(1))]) }).await;
    world.store.done(Batch { events: vec![at(2, 1, "d")], ..batch([]) }).await;
    let all = world.store.events(None).await;
    let seen: Vec<NewEvent> = all
        .iter()
        .map(|event| NewEvent { subject: event.subject.clone(), at: event.at, body: event.body.clone() })
        .collect();
    assert_eq!(seen, [events, vec![at(2, 1, "d")]].concat());
    assert!(all.windows(2).all(|pair| pair[0].position < pair[1].position));
    let of = |n| all.iter().filter(move |event| event.subject == key(n)).cloned().collect::<Vec<_>>();
    for n in [1, 2, 3, 9] {
        assert_eq!(world.store.events(Some(n)).await, of(n));
    }
    for (after, limit, wanted) in
        [(None, 2, &all[..2]), (Some(all[1].position), 2, &all[2..4]), (Some(u64::MAX), 9, &[])]
    {
        let query = EventQuery { subject: None, env: None, after, since: None, limit };
        assert_eq!(world.store.history(&query).await.unwrap(), wanted);
        let query = EventQuery { limit: 0, ..query };
        assert!(world.store.history(&query).await.unwrap().len() <= 1);
    }
    let query =
        EventQuery { subject: Some(key(1)), env: None, after: Some(all[0].position), since: None, limit: 10 };
    assert_eq!(world.store.history(&query).await.unwrap(), [all[2].clone()]);
    // A record that is deleted keeps its history.
    world.store.done(batch([delete(1, 1)])).await;
    assert_eq!(world.store.events(Some(1)).await, of(1));
}

async fn history_by_environment(mut world: World) {
    assert_eq!(world.store.head().await, Ok(0));
    let about = |kind, env, body: &str| {
        let subject = Key { space: Space { kind, env }, id: Box::new([1]) };
        NewEvent { subject, at: NOW, body: body.into() }
    };
    // Numbers whose bytes have zeros inside, and neighbours of each other.
    let envs = [1, 0x0100, 0xffff_ffff_ffff_ffff, 0xffff_ffff_ffff_fffe];
    let all: Vec<NewEvent> =
        (0..40u8).map(|n| about(1 + n % 3, envs[usize::from(n % 4)], &format!("{n}"))).collect();
    for some in all.chunks(7) {
        world.store.done(Batch { events: some.to_vec(), ..batch([]) }).await;
    }
    if world.durable() {
        world.reopen().await;
    }
    assert_eq!(world.store.head().await, Ok(40));
    for env in envs.into_iter().chain([0, 2]) {
        let wanted: Vec<&[u8]> =
            all.iter().filter(|event| event.subject.space.env == env).map(|event| &event.body[..]).collect();
        let (mut after, mut seen) = (None, Vec::new());
        loop {
            let query = EventQuery { subject: None, env: Some(env), after, since: None, limit: 3 };
            let page = world.store.history(&query).await.unwrap();
            after = page.last().map(|event| event.position);
            let full = page.len() == 3;
            seen.extend(page);
            if !full {
                break;
            }
        }
        assert_eq!(seen.iter().map(|event| &event.body[..]).collect::<Vec<_>>(), wanted, "{env}");
        assert!(seen.windows(2).all(|pair| pair[0].position < pair[1].position));
    }
    // A record is more than its environment.
    let subject = Some(all[0].subject.clone());
    let query = EventQuery { subject, env: Some(2), after: None, since: None, limit: 100 };
    let seen = world.store.history(&query).await.unwrap();
    assert!(!seen.is_empty() && seen.iter().all(|event| event.subject == all[0].subject));
}

/// Lines are dated as they please: hours apart, late by a day, before 1970, and in a far future.
async fn history_since_an_instant(mut world: World) {
    const HOUR: i64 = 3_600_000;
    let beginning = 1_767_225_600_000;
    let (mut all, mut now) = (Vec::new(), beginning);
    for n in 0..120_i64 {
        now += n * 7_919_003 % (2 * HOUR);
        let at = match n {
            7 => -1,
            8 => i64::MIN,
            60 => beginning,
            110 => i64::MAX,
            _ if n % 9 == 4 => now - 25 * HOUR,
            _ if n % 13 == 5 => now / HOUR * HOUR,
            _ => now,
        };
        let events = vec![NewEvent { at: Millis(at), ..event(u32::try_from(n % 3).unwrap(), n.to_string()) }];
        world.store.done(Batch { events, ..batch([]) }).await;
        if n % 40 == 30 && world.durable() {
            world.reopen().await;
        }
        // Before and after the line of the far future.
        if n != 109 && n != 119 {
            continue;
        }
        all.clone_from(&world.store.events(None).await);
        let edges = all.iter().flat_map(|event| [event.at.0, event.at.0.saturating_add(1)]);
        let hours = all.iter().map(|event| event.at.0.div_euclid(HOUR).saturating_mul(HOUR));
        for since in edges.chain(hours).chain([i64::MIN, 0, i64::MAX]) {
            let ask = |subject, env, after, limit| EventQuery {
                subject,
                env,
                after,
                since: Some(Millis(since)),
                limit,
            };
            let wanted = || all.iter().filter(move |event| event.at.0 >= since);
            for env in [None, Some(key(1).space.env)] {
                let found = world.store.history(&ask(None, env, None, 1_000)).await.unwrap();
                assert_eq!(found, wanted().cloned().collect::<Vec<_>>(), "since {since}");
            }
            let of = world.store.history(&ask(Some(key(1)), None, None, 1_000)).await.unwrap();
            assert_eq!(of, wanted().filter(|event| event.subject == key(1)).cloned().collect::<Vec<_>>());
            // A page is full, or the last.
            let after = Some(all[40].position);
            let page = world.store.history(&ask(None, None, after, 5)).await.unwrap();
            let later = wanted().filter(|event| Some(event.position) > after).take(5);
            assert_eq!(page, later.cloned().collect::<Vec<_>>());
        }
    }
    assert_eq!(all.len(), 120);
}

async fn lines_are_written_anew_if_they_are_what_they_were(mut world: World) {
    let events = ["a", "b", "c", "d"].map(|body| event(1, body)).to_vec();
    world.store.done(Batch { events, ..batch([create(record(1))]) }).await;
    let before = world.store.events(None).await;
    let amend = |n: usize, was: &str, body: &str| Amend {
        position: before[n].position,
        before: was.into(),
        after: body.into(),
    };
    let gone = Amend { position: before[3].position + 1, ..amend(3, "d", "never") };
    let lines = [amend(0, "a", ""), amend(1, "a", "never"), amend(2, "c", &"long ".repeat(3_000)), gone];
    assert_eq!(world.store.amend(&lines).await, Ok(2));
    assert_eq!(world.store.amend(&lines).await, Ok(0), "they are not what they were any more");
    // The same line twice: the second meets what the first left.
    assert_eq!(world.store.amend(&[amend(3, "d", "e"), amend(3, "e", "f")]).await, Ok(2));
    assert_eq!(world.store.amend(&[]).await, Ok(0));
    let too_long = Amend { after: vec![0; (4 << 20) + 1], ..amend(1, "b", "") };
    assert!(world.store.amend(&[too_long]).await.is_err());
    if world.durable() {
        world.reopen().await;
    }
    let after = world.store.events(None).await;
    let bodies: Vec<&[u8]> = after.iter().map(|event| &event.body[..]).collect();
    assert_eq!(bodies, [b"".as_slice(), b"b", "long ".repeat(3_000).as_bytes(), b"f"]);
    for (old, new) in before.iter().zip(&after) {
        assert_eq!((old.position, &old.subject, old.at), (new.position, &new.subject, new.at));
    }
    // Scrubbing changes nothing that can be read.
    assert!(matches!(world.store.scrub().await, Ok(Scrubbed::Clean | Scrubbed::Freed)));
    assert_eq!(world.store.events(None).await, after);
    assert_eq!(world.store.one(1).await.map(|found| found.record), Some(record(1)));
    assert_eq!(world.store.head().await, Ok(after[3].position));
}

async fn positions_rise_without_gaps_for_who_resumes(world: World) {
    const WRITERS: u32 = 8;
    const EACH: u32 = 60;
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..WRITERS {
        world.store.done(batch([create(record(writer))])).await;
        let store = Arc::clone(&world.store);
        writers.spawn(async move {
            for n in 0..EACH {
                // Every third batch fails: its events must leave no trace.
                if n % 3 == 0 {
                    let refused = batch([rewrite(u64::MAX, record(writer))]);
                    store.conflict(Batch { events: vec![event(writer, "never")], ..refused }).await;
                }
                let events = (0..1 + n % 3).map(|part| event(writer, format!("{n}.{part}"))).collect();
                let ops = batch([rewrite(u64::from(n) + 1, record(writer))]);
                store.done(Batch { events, ..ops }).await;
            }
        });
    }
    let total: u32 = WRITERS * (0..EACH).map(|n| 1 + n % 3).sum::<u32>();
    let (mut after, mut seen) = (None, Vec::new());
    while seen.len() < total as usize {
        let page = world
            .store
            .history(&EventQuery { subject: None, env: None, after, since: None, limit: 13 })
            .await
            .unwrap();
        after = page.last().map(|event| event.position).or(after);
        seen.extend(page);
        tokio::task::yield_now().await;
    }
    writers.join_all().await;
    assert_eq!(world.store.events(None).await, seen, "who polls and who reads at the end see the same");
    let mut by_writer: BTreeMap<_, Vec<String>> = BTreeMap::new();
    for event in seen {
        by_writer.entry(event.subject).or_default().push(String::from_utf8(event.body).unwrap());
    }
    let wanted: Vec<String> =
        (0..EACH).flat_map(|n| (0..1 + n % 3).map(move |part| format!("{n}.{part}"))).collect();
    assert_eq!(by_writer.len(), WRITERS as usize);
    assert!(by_writer.values().all(|bodies| *bodies == wanted));
}

async fn positions_are_never_reused(mut world: World) {
    let forgotten = handstamp_server::store::Record { forget_at: Some(NOW), ..record(1) };
    world
        .store
        .done(Batch { events: vec![event(1, "a"), event(1, "b")], ..batch([create(forgotten)]) })
        .await;
    let last = world.store.events(None).await.last().unwrap().position;
    assert_eq!(world.store.sweep(NOW, 10).await, Ok(1));
    assert_eq!(world.store.events(None).await, []);
    if world.durable() {
        world.reopen().await;
    }
    world.store.done(Batch { events: vec![event(2, "c")], ..batch([]) }).await;
    assert!(world.store.events(None).await[0].position > last);
}
