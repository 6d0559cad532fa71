//! What a session remembers of the access tokens that are made of it.

use crate::support::*;
use handstamp_core::event::EventKind;
use handstamp_core::session::{By, Client};
use handstamp_core::time::{Millis, Span};
use handstamp_core::transition::finish::revoke;
use handstamp_core::transition::mint::{mint, minted};

/// Mints a token of a life, and says whether something had to be written.
fn note(world: &World, held: &mut Held, life: Span, index: Option<u64>) -> bool {
    let living = world.ground().living(&held.session, held.seen).unwrap();
    let change = mint(living, world.now.plus(life), index);
    let writes = change.is_some();
    if let Some(change) = change {
        assert!(change.events.is_empty() && change.user.is_none());
        held.keep(change);
    }
    // A minute longer, for clocks that are behind.
    let covers = world.now.plus(life).plus(Span::minutes(1));
    assert!(held.session.tokens_until.unwrap() >= covers, "it covers the token");
    writes
}

#[test]
fn every_token_is_covered_and_every_second_one_needs_no_write() {
    let mut world = World::new();
    let (mut held, _) = world.create(plain());
    assert_eq!((held.session.tokens_until, held.session.status_index), (None, None));
    let life = Span::minutes(5);
    let mut writes = 0;
    for n in 0..10 {
        writes += u32::from(note(&world, &mut held, life, None));
        assert!(held.session.tokens_until.unwrap() <= world.now.plus(Span::minutes(11)), "{n}");
        world.tick(life);
        held.seen = world.now;
    }
    assert_eq!(writes, 5);
    // A short one between never takes back what a long one needs.
    assert!(note(&world, &mut held, Span::hours(1), None));
    let until = held.session.tokens_until;
    assert!(!note(&world, &mut held, Span::secs(1), None));
    assert_eq!(held.session.tokens_until, until);
}

#[test]
fn a_place_in_the_status_lists_is_given_once() {
    let world = &mut World::new();
    let (mut held, _) = world.create(plain());
    assert!(note(world, &mut held, Span::minutes(5), None));
    let until = held.session.tokens_until;
    assert!(note(world, &mut held, Span::minutes(5), Some(77)), "it had none");
    assert_eq!((held.session.tokens_until, held.session.status_index), (until, Some(77)));
    assert!(!note(world, &mut held, Span::minutes(5), Some(78)));
    assert!(note(world, &mut held, Span::hours(2), Some(78)));
    assert_eq!(held.session.status_index, Some(77));
    // Of one that is being made.
    let (fresh, _) = world.create(plain());
    let made = minted(&fresh.session, world.now.plus(Span::minutes(5)), Some(9), world.now).unwrap();
    assert_eq!((made.tokens_until, made.status_index), (Some(world.now.plus(Span::minutes(11))), Some(9)));
    // Nobody lives beyond the end of time.
    let far = minted(&fresh.session, Millis(i64::MAX), None, world.now).unwrap();
    assert_eq!(far.tokens_until, Some(Millis(i64::MAX)));
}

#[test]
fn an_end_says_what_the_session_remembers() {
    let mut world = World::new();
    let (mut held, _) = world.create(plain());
    let end = |held: &Held| {
        let living = world.ground().living(&held.session, held.seen).unwrap();
        revoke(living, held.user.clone(), By::System, None, Client::default())
    };
    let without = end(&held);
    assert_eq!((without.events[0].tokens_until, without.events[0].status_index), (None, None));
    assert!(note(&world, &mut held, Span::minutes(5), Some(77)));
    let with = end(&held);
    assert_eq!(with.events[0].kind, EventKind::Ended);
    assert_eq!(with.events[0].tokens_until, held.session.tokens_until);
    assert_eq!(with.events[0].status_index, Some(77));
    assert_eq!(with.session.tokens_until, held.session.tokens_until, "the ended session says so, too");
}
