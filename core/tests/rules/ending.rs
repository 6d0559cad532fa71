//! Whatever ends a session, verdicts, lists and housekeeping tell the same story at every instant, before and after it
//! was written down; and what has ended stays ended, whatever anybody does to the record or the policy.

use crate::support::{Held, World, code, plain, tag};
use handstamp_core::epoch::Scope;
use handstamp_core::judge::{Demand, Effect};
use handstamp_core::refusal::Code;
use handstamp_core::session::{By, State};
use handstamp_core::time::{Millis, Span};
use handstamp_core::transition::create::NewSession;
use handstamp_core::transition::finish::settle;

fn settled(world: &World, held: &Held) -> Held {
    let mut after = held.clone();
    let change = settle(world.ground(), &held.session, held.seen, held.user.clone()).unwrap();
    assert_eq!(change.events.len(), 1);
    after.keep(change);
    after
}

fn end_of(held: &Held) -> (Code, Millis) {
    match &held.session.state {
        State::Ended(end) => (end.code, end.at),
        State::Live => panic!("live"),
    }
}

#[test]
fn the_first_of_epoch_and_time_is_the_reason_before_and_after_it_is_written_down() {
    // idle ends it after 10 min; the epoch is raised a millisecond before, at, and after that
    let idle = Span::minutes(10).0;
    for (raised_at, expected, at) in [
        (idle - 1, Code::SessionRevoked, idle - 1),
        (idle, Code::SessionIdle, idle),
        (idle + 1, Code::SessionIdle, idle),
    ] {
        let mut world = World::new();
        let (held, texts) = world.create(plain());
        let start = world.now;
        world.now = start.plus(Span(raised_at));
        world.ledger.raise(Scope::All, world.now, By::System, None);
        for later in [0, 1, 2, 1_000_000] {
            world.now = start.plus(Span(raised_at + later));
            let told = world.over(&held).unwrap();
            assert_eq!(told.code, expected, "{raised_at} {later}");
            let verdict = world.verdict(&held, &texts.session, Demand::default());
            assert_eq!((verdict.refusal.as_ref(), verdict.effect), (Some(&told), Effect::Settle));
            let after = settled(&world, &held);
            assert_eq!(end_of(&after), (expected, start.plus(Span(at))));
            assert_eq!(world.over(&after), Some(told), "the same words once it is written down");
            assert_eq!(world.verdict(&after, &texts.session, Demand::default()).effect, Effect::Nothing);
            assert!(settle(world.ground(), &after.session, after.seen, after.user.clone()).is_none());
        }
    }
}

#[test]
fn a_session_over_by_time_or_epoch_cannot_be_changed_or_ended_again() {
    let mut world = World::new();
    let tags = vec![tag("role:admin")];
    let (held, _) = world.create(NewSession { tags, ..plain() });
    world.ledger.raise(Scope::Tags(vec![tag("role:admin")]), world.now, By::System, None);
    assert_eq!(
        code(world.ground().living(&held.session, held.seen).err().as_ref()),
        Some(Code::SessionRevoked),
        "taking the tag off would bring it back"
    );
    let (held, _) = world.create(plain());
    world.tick(Span(Span::minutes(10).0 - 1));
    assert!(world.ground().living(&held.session, held.seen).is_ok());
    world.tick(Span(1));
    assert_eq!(
        code(world.ground().living(&held.session, held.seen).err().as_ref()),
        Some(Code::SessionIdle),
        "authentication or extension would bring it back"
    );
    let after = settled(&world, &held);
    assert_eq!(
        code(world.ground().living(&after.session, world.now).err().as_ref()),
        Some(Code::SessionIdle)
    );
}

#[test]
fn a_verdict_once_given_stands_when_the_policy_is_loosened_afterwards() {
    let mut world = World::new();
    let (mut held, texts) = world.create(plain());
    let loose = world.policy.clone();
    world.policy = world.policy.with(|rules| rules.idle_timeout = Some(Span::minutes(2)));
    world.tick(Span::minutes(3));
    let (verdict, _) = world.show(&mut held, &texts.session, false);
    assert_eq!((code(verdict.refusal.as_ref()), verdict.effect), (Some(Code::SessionIdle), Effect::Settle));
    world.policy = loose;
    let (verdict, _) = world.show(&mut held, &texts.session, false);
    assert_eq!(code(verdict.refusal.as_ref()), Some(Code::SessionIdle));
    assert_eq!(held.user.live, 0);
}

#[test]
fn an_end_is_never_dated_before_the_session_was_made_or_last_allowed() {
    let mut world = World::new();
    let raised = world.now.minus(Span(5));
    world.ledger.raise(Scope::All, raised, By::System, None);
    let (mut held, _) = world.create(plain());
    held.session.born = 0; // as if the creation had not known of the raise
    assert_eq!(end_of(&settled(&world, &held)), (Code::SessionRevoked, world.now));

    let (mut held, texts) = world.create(plain());
    world.tick(Span::minutes(9));
    let (verdict, _) = world.show(&mut held, &texts.session, false);
    assert_eq!(verdict.refusal, None);
    world.policy = world.policy.with(|rules| rules.absolute_timeout = Some(Span::minutes(5)));
    assert_eq!(end_of(&settled(&world, &held)), (Code::SessionExpired, world.now));
}
