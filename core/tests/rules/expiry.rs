//! Absolute and idle time: each limit a millisecond before, at and after, with the origin that refusals name.

use crate::support::{Held, World, code, plain};
use handstamp_core::expiry::{adopt, ends};
use handstamp_core::judge::{Demand, Effect};
use handstamp_core::policy::session_type::{Life, TypeName};
use handstamp_core::policy::{Origin, Pattern, Policy, Rules};
use handstamp_core::refusal::{Code, Evidence, Value};
use handstamp_core::session::Limits;
use handstamp_core::tag::Tag;
use handstamp_core::time::{Millis, Span};
use handstamp_core::transition::create::NewSession;

struct Row {
    expires_in: Option<Span>,
    refresh: bool,
    seen_after: i64,
    limit_at: i64,
    code: Code,
    origin: Origin,
}

#[test]
fn every_limit_a_millisecond_before_at_and_after() {
    const MIN: i64 = 60_000;
    let row = |expires_in: Option<i64>, refresh, seen_after, limit_at, code, origin| Row {
        expires_in: expires_in.map(Span::minutes),
        refresh,
        seen_after,
        limit_at,
        code,
        origin,
    };
    for row in [
        // idle 10 min, absolute 60 min, refresh 120 min
        row(None, false, 0, 10 * MIN, Code::SessionIdle, Origin::Default),
        row(None, false, 7 * MIN, 17 * MIN, Code::SessionIdle, Origin::Default),
        row(None, false, 50 * MIN - 1, 60 * MIN - 1, Code::SessionIdle, Origin::Default),
        row(None, false, 50 * MIN, 60 * MIN, Code::SessionExpired, Origin::Default), // both at once
        row(None, false, 59 * MIN, 60 * MIN, Code::SessionExpired, Origin::Default),
        row(Some(5), false, 0, 5 * MIN, Code::SessionExpired, Origin::Creation),
        row(Some(90), false, 59 * MIN, 60 * MIN, Code::SessionExpired, Origin::Default),
        row(Some(90), true, 89 * MIN, 90 * MIN, Code::SessionExpired, Origin::Creation),
        row(None, true, 0, 10 * MIN, Code::SessionIdle, Origin::Default),
        row(None, true, 119 * MIN, 120 * MIN, Code::SessionExpired, Origin::Default),
    ] {
        let mut world = World::new();
        let new = NewSession { expires_in: row.expires_in, refresh: row.refresh, ..plain() };
        let (mut held, texts) = world.create(new);
        let start = world.now;
        held.seen = start.plus(Span(row.seen_after));
        let end = start.plus(Span(row.limit_at));
        assert_eq!(ends(&held.session, held.seen, &world.effective(&held.session)).earliest(), end);
        world.now = end.minus(Span(1));
        assert_eq!(world.over(&held), None, "{} {:?}", row.limit_at, row.code);
        assert_eq!(world.verdict(&held, &texts.session, Demand::default()).refusal, None);
        for late in [0, 1, 5_000_000] {
            world.now = end.plus(Span(late));
            let told = world.over(&held).unwrap();
            assert_eq!((told.code, told.origin.as_ref()), (row.code, Some(&row.origin)));
            let Some(Evidence::Limit { allowed: Value::Span(allowed), seen: Value::Span(seen) }) =
                &told.evidence
            else {
                panic!("evidence is a limit")
            };
            assert_eq!(seen.0, allowed.0 + late, "evidence says by how much");
            for text in [Some(&texts.session), texts.refresh.as_ref()].into_iter().flatten() {
                let verdict = world.verdict(&held, text, Demand::default());
                assert_eq!((verdict.refusal, verdict.effect), (Some(told.clone()), Effect::Settle));
            }
        }
    }
}

/// The base is 60 minutes, 120 with a refresh token; idle is as long as either.
#[test]
fn a_type_shortens_as_a_creation_does_and_the_shorter_is_named() {
    let of_type = |name: &str| Origin::SessionType(name.into());
    for (tags, expires_in, refresh, limit, origin) in [
        (&["type:short"][..], None, false, 20, of_type("short")),
        (&["type:short"], None, true, 40, of_type("short")),
        (&["type:short"], Some(30), false, 20, of_type("short")),
        // What says the same is not what shortens.
        (&["type:short"], Some(20), false, 20, of_type("short")),
        (&["type:short"], Some(19), false, 19, Origin::Creation),
        (&["type:short"], Some(39), true, 39, Origin::Creation),
        (&["type:same"], None, false, 60, Origin::Default),
        // Never lengthens.
        (&["type:long"], None, false, 60, Origin::Default),
        (&["type:long"], None, true, 120, Origin::Default),
        (&["type:family"], None, false, 60, Origin::Default),
        (&["type:family"], None, true, 50, of_type("family")),
        // A rule of the tag and the type of the same name.
        (&["type:kiosk"], None, false, 25, of_type("kiosk")),
        (&["type:counter"], None, false, 30, Origin::Tag("type:*".into())),
        (&["type:unknown"], None, false, 30, Origin::Tag("type:*".into())),
        // From before there were such types, a session may carry two.
        (&["type:family", "type:short"], None, false, 20, of_type("short")),
    ] {
        let mut world = World::new();
        let life = |name: &str, expires_in: Option<i64>, refresh_expires_in: Option<i64>| {
            let spans = Life {
                expires_in: expires_in.map(Span::minutes),
                refresh_expires_in: refresh_expires_in.map(Span::minutes),
            };
            (TypeName::parse(name).unwrap(), spans)
        };
        if matches!(tags, ["type:kiosk" | "type:counter" | "type:unknown"]) {
            let rules = Rules { absolute_timeout: Some(Span::minutes(30)), ..Rules::default() };
            let tags = [(Pattern::parse("type:*").unwrap(), rules)].into();
            world.policy = Policy::new(world.policy.default_rules().clone(), tags);
        }
        world.policy = world.policy.with(|rules| rules.idle_timeout = Some(Span::hours(9)));
        let types = [
            life("short", Some(20), Some(40)),
            life("same", Some(60), None),
            life("long", Some(61), Some(121)),
            life("family", None, Some(50)),
            life("kiosk", Some(25), None),
            life("counter", Some(45), None),
        ];
        world.policy = world.policy.with_types(types.into());
        let worn = tags.iter().map(|tag| Tag::parse(tag).unwrap()).collect();
        let expires_in = expires_in.map(Span::minutes);
        let (held, _) = world.create(NewSession { expires_in, refresh, tags: worn, ..plain() });
        assert_eq!(held.session.limits.absolute, Span::minutes(limit), "{tags:?}");
        world.tick(Span(Span::minutes(limit).0 - 1));
        assert_eq!(world.over(&held), None, "{tags:?}");
        world.tick(Span(1));
        let told = world.over(&held).unwrap();
        assert_eq!((told.code, told.origin), (Code::SessionExpired, Some(origin)), "{tags:?} {expires_in:?}");
    }
}

#[test]
fn a_type_acts_on_sessions_that_live() {
    let mut world = World::new();
    world.policy = world.policy.with(|rules| rules.idle_timeout = Some(Span::hours(9)));
    let tags = vec![Tag::parse("type:checkout").unwrap()];
    let (held, _) = world.create(NewSession { tags, ..plain() });
    let life = |minutes| {
        let life = Life { expires_in: Some(Span::minutes(minutes)), refresh_expires_in: None };
        [(TypeName::parse("checkout").unwrap(), life)].into()
    };
    world.tick(Span::minutes(30));
    world.policy = world.policy.with_types(life(31));
    assert_eq!(world.over(&held), None);
    world.policy = world.policy.with_types(life(30));
    let told = world.over(&held).unwrap();
    assert_eq!(told.detail(), "absolute 30m, allowed 30m by session_type checkout");
    // Another default leaves the types alone, and none takes their say away.
    world.policy = world.policy.with(|rules| rules.absolute_timeout = Some(Span::minutes(50)));
    assert_eq!(code(world.over(&held).as_ref()), Some(Code::SessionExpired));
    world.policy = world.policy.with_types([].into());
    assert_eq!(world.over(&held), None);
}

fn aged(world: &mut World, minutes: i64) -> Held {
    let (mut held, _) = world.create(plain());
    world.tick(Span::minutes(minutes));
    held.seen = world.now;
    held
}

#[test]
fn a_tighter_policy_acts_at_once_and_a_looser_one_only_on_what_lives() {
    let mut world = World::new();
    let held = aged(&mut world, 30);
    world.policy = world.policy.with(|rules| rules.absolute_timeout = Some(Span::minutes(30)));
    assert_eq!(code(world.over(&held).as_ref()), Some(Code::SessionExpired));
    world.policy = world.policy.with(|rules| rules.absolute_timeout = Some(Span(Span::minutes(30).0 + 1)));
    assert_eq!(world.over(&held), None);

    // Looser: what stood at creation still ends it, and says so.
    let mut world = World::new();
    let held = aged(&mut world, 59);
    world.policy = world.policy.clone().with(|rules| {
        rules.absolute_timeout = Some(Span::hours(9));
        rules.idle_timeout = Some(Span::hours(9));
    });
    world.tick(Span::minutes(1));
    let told = world.over(&held).unwrap();
    assert_eq!((told.code, told.origin), (Code::SessionExpired, Some(Origin::Stored)));
    let mut idle = aged(&mut world, 0);
    idle.session.limits.idle = Span::minutes(10);
    world.tick(Span::minutes(10));
    let told = world.over(&idle).unwrap();
    assert_eq!((told.code, told.origin), (Code::SessionIdle, Some(Origin::Stored)));
}

#[test]
fn a_session_that_lives_takes_looser_times_over_with_its_next_request() {
    let mut world = World::new();
    let (mut held, texts) = world.create(plain());
    world.policy = world.policy.with(|rules| rules.absolute_timeout = Some(Span::hours(9)));
    world.policy = world.policy.with(|rules| rules.idle_timeout = Some(Span::hours(1)));
    world.tick(Span(Span::minutes(10).0 - 1));
    let (verdict, _) = world.show(&mut held, &texts.session, false);
    assert!(verdict.refusal.is_none() && verdict.adopt);
    assert_eq!(held.session.limits, Limits { absolute: Span::hours(9), idle: Span::hours(1) });
    let (verdict, _) = world.show(&mut held, &texts.session, false);
    assert!(!verdict.adopt, "once");
    world.tick(Span(Span::hours(1).0 - 1));
    assert_eq!(world.over(&held), None);
    world.tick(Span(1));
    assert_eq!(code(world.over(&held).as_ref()), Some(Code::SessionIdle));
}

#[test]
fn no_refused_request_takes_looser_times_over() {
    let mut world = World::new();
    let (mut held, texts) = world.create(plain());
    world.tick(Span::minutes(10));
    world.policy = world.policy.with(|rules| rules.idle_timeout = Some(Span::hours(1)));
    let (verdict, _) = world.show(&mut held, &texts.session, false);
    assert!(!verdict.adopt && verdict.refusal.is_some());
    assert_eq!(held.session.limits.idle, Span::minutes(10));
}

#[test]
fn adoption_widens_only() {
    let mut world = World::new();
    let (held, _) = world.create(plain());
    let stored = held.session.limits;
    for (absolute, idle, expected) in [
        (60, 10, None),
        (59, 9, None),
        (61, 10, Some((61, 10))),
        (60, 11, Some((60, 11))),
        (59, 11, Some((60, 11))),
        (61, 9, Some((61, 10))),
    ] {
        world.policy = world.policy.with(|rules| rules.absolute_timeout = Some(Span::minutes(absolute)));
        world.policy = world.policy.with(|rules| rules.idle_timeout = Some(Span::minutes(idle)));
        let expected = expected.map(|(a, i)| Limits { absolute: Span::minutes(a), idle: Span::minutes(i) });
        assert_eq!(adopt(&held.session, &world.effective(&held.session)), expected, "{absolute} {idle}");
    }
    assert_eq!(held.session.limits, stored);
}

#[test]
fn the_end_of_time_does_not_overflow() {
    let mut world = World::new();
    let (held, _) = world.create(plain());
    world.policy = world.policy.with(|rules| rules.absolute_timeout = Some(Span::FOREVER));
    world.policy = world.policy.with(|rules| rules.idle_timeout = Some(Span::FOREVER));
    let mut held = held;
    held.session.limits = Limits { absolute: Span::FOREVER, idle: Span::FOREVER };
    world.now = Millis(i64::MAX - 1);
    assert_eq!(world.over(&held), None);
}
