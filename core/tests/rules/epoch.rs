//! Ending many at once: everybody, one user, a tag, a set of tags; and what was made or tagged afterwards.

use crate::support::{Held, World, plain, tag, user};
use handstamp_core::epoch::{Ledger, Scope};
use handstamp_core::session::{By, HeldTag, Session};
use handstamp_core::time::{Millis, Span};
use handstamp_core::transition::create::NewSession;
use handstamp_core::transition::update::{Patch, update};

fn tagged(world: &mut World, name: &str, tags: &[&str]) -> Held {
    let new = NewSession { user: user(name), tags: tags.iter().map(|t| tag(t)).collect(), ..plain() };
    world.create(new).0
}
fn raise(world: &mut World, scope: Scope) -> u64 {
    world.ledger.raise(scope, world.now, By::System, Some("because".into()))
}
fn patched(world: &mut World, held: &mut Held, add: &[&str], remove: &[&str]) {
    let patch = Patch {
        add_tags: add.iter().map(|t| tag(t)).collect(),
        remove_tags: remove.iter().map(|t| tag(t)).collect(),
        ..Patch::default()
    };
    let entropy = world.draw();
    let living = world.ground().living(&held.session, held.seen).unwrap();
    let change = update(living, &patch, By::System, &entropy).unwrap().unwrap();
    held.keep(change);
}

#[test]
fn each_scope_ends_whom_it_names() {
    let scopes = [
        (Scope::All, [true, true, true, true]),
        (Scope::User(user("ada")), [true, true, false, false]),
        (Scope::User(user("ad")), [false, false, false, false]),
        (Scope::Tags(vec![tag("a:1")]), [true, false, true, false]),
        (Scope::Tags(vec![tag("a:1"), tag("b:1")]), [true, false, false, false]),
        (Scope::Tags(vec![tag("a:2")]), [false, false, false, false]),
        (Scope::Tags(vec![]), [false, false, false, false]),
    ];
    for (scope, ended) in scopes {
        let mut world = World::new();
        let all = [
            tagged(&mut world, "ada", &["a:1", "b:1"]),
            tagged(&mut world, "ada", &["b:1"]),
            tagged(&mut world, "bob", &["a:1"]),
            tagged(&mut world, "bob", &[]),
        ];
        assert!(all.iter().all(|held| world.over(held).is_none()));
        raise(&mut world, scope.clone());
        let over: Vec<bool> = all.iter().map(|held| world.over(held).is_some()).collect();
        assert_eq!(over, ended, "{scope:?}");
        let later = tagged(&mut world, "ada", &["a:1", "b:1"]);
        assert_eq!(world.over(&later), None, "what is made afterwards lives");
        raise(&mut world, Scope::All);
        assert!(world.over(&later).is_some(), "until the next raise");
    }
}

#[test]
fn a_tag_counts_from_when_the_session_got_it() {
    let mut world = World::new();
    let mut early = tagged(&mut world, "ada", &[]);
    let mut late = early.clone();
    let keeps = tagged(&mut world, "ada", &["a:1"]);
    patched(&mut world, &mut early, &["a:1"], &[]);
    raise(&mut world, Scope::Tags(vec![tag("a:1")]));
    patched(&mut world, &mut late, &["a:1"], &[]);
    assert!(world.over(&early).is_some() && world.over(&keeps).is_some());
    assert_eq!(world.over(&late), None, "it got the tag after the raise");
    // in a set, each tag counts by itself
    patched(&mut world, &mut late, &["b:1"], &[]);
    raise(&mut world, Scope::Tags(vec![tag("a:1"), tag("b:1")]));
    assert!(world.over(&late).is_some());
}

#[test]
fn a_tag_that_was_carried_all_the_time_keeps_its_epoch() {
    let mut world = World::new();
    let mut held = tagged(&mut world, "ada", &["a:1"]);
    raise(&mut world, Scope::User(user("nobody")));
    let since = |held: &Held| held.session.tags.iter().find(|t| t.tag == tag("a:1")).map(|t| t.since);
    patched(&mut world, &mut held, &["a:1", "z:9"], &[]);
    assert_eq!(since(&held), Some(0), "added again");
    patched(&mut world, &mut held, &["a:1"], &["a:1"]);
    assert_eq!(since(&held), Some(0), "removed and added by one patch");
    patched(&mut world, &mut held, &[], &["a:1"]);
    assert_eq!(since(&held), None);
    patched(&mut world, &mut held, &["a:1"], &[]);
    assert_eq!(since(&held), Some(1), "a new one after it was gone");
    assert!(held.session.tags.is_sorted_by(|a, b| a.tag < b.tag));
}

#[test]
fn the_first_raise_that_fits_is_the_one_that_ended_it() {
    let mut world = World::new();
    let held = tagged(&mut world, "ada", &["a:1"]);
    raise(&mut world, Scope::User(user("bob")));
    let second = raise(&mut world, Scope::Tags(vec![tag("a:1")]));
    raise(&mut world, Scope::All);
    assert_eq!(world.ledger.ended(&held.session).map(|r| r.at), Some(second));
}

#[test]
fn settled_raises_are_kept_for_a_day_and_unsettled_ones_for_ever() {
    let mut ledger = Ledger::default();
    let at = |ms| Millis(ms);
    ledger.raise(Scope::All, at(0), By::System, None);
    ledger.raise(Scope::User(user("ada")), at(0), By::System, None);
    ledger.raised[0].settled = true;
    ledger.raise(Scope::User(user("bob")), at(Ledger::KEPT.0), By::System, None);
    assert_eq!(ledger.raised.len(), 3, "at the very end of the day it is still there");
    ledger.raise(Scope::User(user("bob")), at(Ledger::KEPT.0 + 1), By::System, None);
    assert_eq!(ledger.raised.iter().map(|r| r.at).collect::<Vec<_>>(), [2, 3, 4]);
    ledger.raise(Scope::All, at(Ledger::KEPT.0 * 100), By::System, None);
    assert_eq!((ledger.raised.len(), ledger.counter), (4, 5));
}

#[test]
fn both_sides_of_the_counter() {
    let mut world = World::new();
    let held = tagged(&mut world, "ada", &["a:1"]);
    for _ in 0..3 {
        raise(&mut world, Scope::User(user("nobody")));
    }
    let with = |born: u64, since: u64| Session {
        born,
        tags: [HeldTag { tag: tag("a:1"), since }].into(),
        ..held.session.clone()
    };
    let ended = |ledger: &Ledger, session: &Session| ledger.ended(session).is_some();
    let by = |scope| {
        let mut ledger = world.ledger.clone();
        ledger.raise(scope, world.now.plus(Span(1)), By::System, None);
        // a later raise of no concern, so that the counter itself is above them all
        for _ in 0..3 {
            ledger.raise(Scope::User(user("nobody")), world.now.plus(Span(1)), By::System, None);
        }
        ledger
    };
    let (all, one) = (by(Scope::All), by(Scope::Tags(vec![tag("a:1")])));
    let ada = by(Scope::User(user("ada")));
    for (born, since, by_all, by_tag) in [
        (3, 3, true, true),
        (4, 4, false, false),
        (5, 5, false, false),
        (3, 4, true, false),
        (3, 5, true, false),
    ] {
        assert_eq!(ended(&all, &with(born, since)), by_all, "{born} {since}");
        assert_eq!(ended(&ada, &with(born, since)), by_all, "{born} {since}");
        assert_eq!(ended(&one, &with(born, since)), by_tag, "{born} {since}");
    }
}
