//! The table of rotation and theft, row by row, for session tokens and for refresh tokens.

use crate::support::{Held, Texts, World, code, login, plain, texts};
use handstamp_core::judge::{Demand, Effect, Verdict, judge, judge_refresh};
use handstamp_core::policy::setting::Every;
use handstamp_core::refusal::Code;
use handstamp_core::rotation::MadeBy;
use handstamp_core::session::By;
use handstamp_core::session::Client;
use handstamp_core::time::Span;
use handstamp_core::token::Kind;
use handstamp_core::token::opaque::{Holder, mint};
use handstamp_core::transition::create::NewSession;
use handstamp_core::transition::update::authenticate;

const GRACE: i64 = 60_000;
const EVERY: i64 = 300_000;

fn said(verdict: &Verdict) -> (Option<Code>, Effect) {
    (code(verdict.refusal.as_ref()), verdict.effect)
}
fn reauthenticate(world: &mut World, held: &mut Held) -> Texts {
    let entropy = world.draw();
    let living = world.ground().living(&held.session, held.seen).unwrap();
    let (change, issued) =
        authenticate(living, login(), &Client::default(), By::System, &entropy).unwrap().unwrap();
    held.keep(change);
    held.seen = world.now;
    texts(&issued)
}
fn refreshing() -> NewSession {
    NewSession { refresh: true, ..plain() }
}
/// A session of which generation 1 was made by the timer just now and not presented.
fn rotated(world: &mut World) -> (Held, Texts, Texts) {
    let (mut held, first) = world.create(plain());
    world.tick(Span(EVERY));
    let (verdict, second) = world.show(&mut held, &first.session, true);
    assert_eq!(said(&verdict), (None, Effect::Rotate));
    (held, first, second.unwrap())
}
/// The same by refresh.
fn refreshed(world: &mut World) -> (Held, Texts, Texts) {
    let (mut held, first) = world.create(refreshing());
    let (verdict, second) = world.show(&mut held, first.refresh.as_ref().unwrap(), false);
    assert_eq!(said(&verdict), (None, Effect::Rotate));
    (held, first, second.unwrap())
}
fn ended(held: &Held) -> bool {
    !held.session.is_live()
}

#[test]
fn the_newest_is_allowed_and_rotates_when_due_and_deliverable_only() {
    for (age, can_deliver, effect) in [
        (EVERY - 1, true, Effect::Nothing),
        (EVERY, true, Effect::Rotate),
        (EVERY + 1, true, Effect::Rotate),
        (EVERY + 1, false, Effect::Nothing),
    ] {
        let mut world = World::new();
        let (held, texts) = world.create(plain());
        world.tick(Span(age));
        let demand = Demand { can_deliver, ..Demand::default() };
        assert_eq!(
            said(&world.verdict(&held, &texts.session, demand)),
            (None, effect),
            "{age} {can_deliver}"
        );
        world.policy = world.policy.with(|rules| rules.rotate_every = Some(Every(None)));
        assert_eq!(said(&world.verdict(&held, &texts.session, demand)), (None, Effect::Nothing));
    }
}

#[test]
fn a_session_with_refresh_rotates_by_refresh_only() {
    let mut world = World::new();
    let (mut held, texts) = world.create(refreshing());
    world.tick(Span(EVERY + 1));
    let (verdict, issued) = world.show(&mut held, &texts.session, true);
    assert_eq!((said(&verdict), issued), ((None, Effect::Nothing), None));
    let (verdict, next) = world.show(&mut held, texts.refresh.as_ref().unwrap(), false);
    assert_eq!(said(&verdict), (None, Effect::Rotate));
    assert!(next.unwrap().refresh.is_some() && held.session.chain.made_by == MadeBy::Refresh);
}

#[test]
fn the_one_before_brings_the_same_successor_while_late() {
    let mut world = World::new();
    let (mut held, first, second) = rotated(&mut world);
    // nobody has presented the successor: late for as long as the session lives
    for _ in 0..4 {
        world.tick(Span(GRACE * 2));
        let (verdict, again) = world.show(&mut held, &first.session, true);
        assert_eq!((said(&verdict), again.as_ref()), ((None, Effect::Again), Some(&second)));
        let (verdict, none) = world.show(&mut held, &first.session, false);
        assert_eq!((said(&verdict), none), ((None, Effect::Nothing), None), "allowed, nothing to deliver");
    }
    assert_eq!(held.session.chain.generation, 1);
    let (verdict, _) = world.show(&mut held, &second.session, false);
    assert_eq!(said(&verdict), (None, Effect::Note));
    for (after, expected) in [
        (0, (None, Effect::Again)),
        (GRACE - 1, (None, Effect::Again)),
        (GRACE, (Some(Code::TokenReused), Effect::EndStolen)),
        (GRACE + 1, (Some(Code::TokenReused), Effect::EndStolen)),
    ] {
        let now = world.now;
        world.tick(Span(after));
        let mut copy = held.clone();
        let (verdict, again) = world.show(&mut copy, &first.session, true);
        assert_eq!(said(&verdict), expected, "{after}");
        assert_eq!(again.is_some(), expected.0.is_none());
        assert_eq!(ended(&copy), expected.0.is_some());
        world.now = now;
    }
}

#[test]
fn the_refresh_token_before_brings_the_same_pair_while_late() {
    let mut world = World::new();
    let (mut held, first, second) = refreshed(&mut world);
    let old = first.refresh.as_ref().unwrap();
    world.tick(Span(GRACE * 3));
    let (verdict, again) = world.show(&mut held, old, false);
    assert_eq!((said(&verdict), again.as_ref()), ((None, Effect::Again), Some(&second)));
    // either token of the pair is a presentation of the generation
    for which in [&second.session, second.refresh.as_ref().unwrap()] {
        let mut held = held.clone();
        let before = world.now;
        world.show(&mut held, which, false);
        let newest = held.session.chain.generation;
        world.tick(Span(GRACE - 1));
        let expected = if newest == 1 {
            (None, Effect::Again)
        } else {
            (Some(Code::TokenSuperseded), Effect::Nothing) // two behind by now
        };
        assert_eq!(said(&world.verdict(&held, old, Demand::default())), expected);
        world.tick(Span(1));
        let (verdict, none) = world.show(&mut held, old, false);
        assert_eq!((said(&verdict), none), ((Some(Code::TokenReused), Effect::EndStolen), None));
        assert!(ended(&held));
        world.now = before;
    }
}

#[test]
fn an_old_session_token_beside_a_refresh_obeys_the_times_and_brings_nothing() {
    let mut world = World::new();
    let (mut held, first, second) = refreshed(&mut world);
    world.tick(Span(GRACE * 3));
    let (verdict, none) = world.show(&mut held, &first.session, true);
    assert_eq!((said(&verdict), none), ((Some(Code::TokenSuperseded), Effect::Nothing), None));
    world.show(&mut held, &second.session, false);
    world.tick(Span(GRACE - 1));
    assert_eq!(said(&world.verdict(&held, &first.session, Demand::default())).0, Some(Code::TokenSuperseded));
    world.tick(Span(1));
    assert_eq!(said(&world.verdict(&held, &first.session, Demand::default())).0, Some(Code::TokenReused));
}

#[test]
fn authentication_makes_both_old_credentials_late_and_never_exchangeable() {
    for new in [plain(), refreshing()] {
        let mut world = World::new();
        let (mut held, first) = world.create(new);
        let second = reauthenticate(&mut world, &mut held);
        assert_ne!(first, second);
        assert_eq!(first.refresh.is_some(), second.refresh.is_some());
        let old: Vec<&String> =
            [Some(&first.session), first.refresh.as_ref()].into_iter().flatten().collect();
        for text in &old {
            world.tick(Span(GRACE));
            let (verdict, none) = world.show(&mut held, text, true);
            assert_eq!((said(&verdict), none), ((Some(Code::TokenSuperseded), Effect::Nothing), None));
        }
        world.show(&mut held, &second.session, false);
        for (after, expected) in [(GRACE - 1, Code::TokenSuperseded), (1, Code::TokenReused)] {
            world.tick(Span(after));
            for text in &old {
                assert_eq!(
                    code(world.verdict(&held, text, Demand::default()).refusal.as_ref()),
                    Some(expected)
                );
            }
        }
    }
}

#[test]
fn older_ones_are_late_or_stolen_by_the_first_later_presentation() {
    let mut world = World::new();
    world.policy = world.policy.with(|rules| rules.rotate_every = Some(Every(Some(Span(1_000)))));
    let (mut held, first) = world.create(plain());
    world.tick(Span(1_000));
    let second = world.show(&mut held, &first.session, true).1.unwrap();
    world.tick(Span(1_000)); // generation 1 is presented now, for the first time, and is due
    let third = world.show(&mut held, &second.session, true).1.unwrap();
    assert_eq!(held.session.chain.generation, 2);
    world.tick(Span(GRACE - 1));
    world.show(&mut held, &third.session, false); // generation 2, much later
    assert_eq!(
        said(&world.verdict(&held, &first.session, Demand::default())),
        (Some(Code::TokenSuperseded), Effect::Nothing)
    );
    world.tick(Span(1));
    assert_eq!(
        said(&world.verdict(&held, &first.session, Demand::default())),
        (Some(Code::TokenReused), Effect::EndStolen)
    );
    assert_eq!(said(&world.verdict(&held, &second.session, Demand::default())).0, None, "still late");
}

#[test]
fn a_generation_first_presented_when_authentication_had_replaced_it_counts_as_presented() {
    let mut world = World::new();
    let (mut held, first, second) = rotated(&mut world);
    let third = reauthenticate(&mut world, &mut held);
    let (verdict, _) = world.show(&mut held, &second.session, true);
    assert_eq!(said(&verdict), (Some(Code::TokenSuperseded), Effect::Note));
    let (verdict, _) = world.show(&mut held, &second.session, true);
    assert_eq!(said(&verdict), (Some(Code::TokenSuperseded), Effect::Nothing), "noted once");
    world.tick(Span(GRACE - 1));
    assert_eq!(said(&world.verdict(&held, &first.session, Demand::default())).0, Some(Code::TokenSuperseded));
    world.tick(Span(1));
    assert_eq!(said(&world.verdict(&held, &first.session, Demand::default())).0, Some(Code::TokenReused));
    assert_eq!(
        said(&world.verdict(&held, &second.session, Demand::default())).0,
        Some(Code::TokenSuperseded),
        "nothing later than this one was presented"
    );
    let (verdict, _) = world.show(&mut held, &third.session, false);
    assert_eq!(said(&verdict), (None, Effect::Note));
    world.tick(Span(GRACE));
    assert_eq!(said(&world.verdict(&held, &second.session, Demand::default())).0, Some(Code::TokenReused));
}

#[test]
fn what_no_record_knows_is_not_found_and_ends_nothing() {
    let mut world = World::new();
    let (mut held, _, second) = rotated(&mut world);
    let unknown = (Some(Code::SessionNotFound), Effect::StoreBehind);
    // a newer generation than the record has
    let mut behind = held.clone();
    behind.session.chain.generation = 0;
    assert_eq!(said(&world.verdict(&behind, &second.session, Demand::default())), unknown);
    // genuine, of the newest and of the one before, with another nonce
    let set = world.keys.current();
    let holder = Holder { env: world.env, session: held.session.id, user: held.session.user.as_str() };
    for generation in [0, 1] {
        let nonce = handstamp_core::secret::Secret::new([0xAA; 32]);
        let text = mint(Kind::Session, holder, generation, &nonce, set).reveal().to_owned();
        assert_eq!(said(&world.verdict(&held, &text, Demand::default())), unknown);
    }
    // another session's token, another user's row
    let (other, texts) = world.create(plain());
    assert_eq!(said(&world.verdict(&held, &texts.session, Demand::default())), unknown);
    let mut moved = other.clone();
    moved.session.user = crate::support::user("bob");
    assert_eq!(said(&world.verdict(&moved, &texts.session, Demand::default())), unknown);
    // and nothing changes by any of it
    let before = held.session.chain.noted.clone();
    let (_, none) = world.show(&mut held, &texts.session, true);
    assert!(none.is_none() && !ended(&held) && held.session.chain.noted == before);
}

#[test]
fn no_kind_is_judged_as_another() {
    let mut world = World::new();
    let (held, texts) = world.create(refreshing());
    let (bench, effective) = (world.ground().bench(), world.effective(&held.session));
    let refresh = world.open(texts.refresh.as_ref().unwrap());
    let session = world.open(&texts.session);
    let unknown = (Some(Code::SessionNotFound), Effect::StoreBehind);
    let as_session =
        judge(&held.session, held.seen, &refresh, bench, &effective, Demand::default(), world.now);
    assert_eq!(said(&as_session), unknown);
    let demand = Demand { can_deliver: true, ..Demand::default() };
    let as_refresh = judge_refresh(&held.session, held.seen, &session, bench, &effective, demand, world.now);
    assert_eq!(said(&as_refresh), unknown);
}

#[test]
fn a_theft_is_told_with_both_contexts_and_only_of_a_live_session() {
    let mut world = World::new();
    let (mut held, first, second) = rotated(&mut world);
    world.show(&mut held, &second.session, false);
    world.tick(Span(GRACE));
    let verdict = world.verdict(&held, &first.session, Demand::default());
    let done = world.carry_out(&held, &first.session, &verdict);
    let change = done.change.unwrap();
    assert!(done.issued.is_none() && change.events.len() == 1);
    let event = &change.events[0];
    assert_eq!((event.code, event.rule.as_deref()), (Some(Code::TokenReused), Some("rotation")));
    assert!(matches!(&event.evidence, Some(handstamp_core::refusal::Evidence::Change { .. })));
    assert_eq!(change.user.as_ref().unwrap().live, 0);
    held.keep(change);
    for text in [&first.session, &second.session] {
        let verdict = world.verdict(&held, text, Demand::default());
        assert_eq!(said(&verdict), (Some(Code::TokenReused), Effect::Nothing));
        assert!(world.carry_out(&held, text, &verdict).change.is_none());
    }
}

#[test]
fn a_verdict_on_a_live_record_does_not_move_an_ended_one() {
    let mut world = World::new();
    let (held, texts) = world.create(plain());
    world.tick(Span(EVERY));
    let demand = Demand { can_deliver: true, ..Demand::default() };
    let verdict = world.verdict(&held, &texts.session, demand);
    let mut ended = held.clone();
    let living = world.ground().living(&held.session, held.seen).unwrap();
    ended.keep(handstamp_core::transition::finish::revoke(
        living,
        held.user.clone(),
        By::Client,
        None,
        Default::default(),
    ));
    let token = world.open(&texts.session);
    let done = handstamp_core::transition::present::present(
        world.ground(),
        &ended.session,
        ended.seen,
        ended.user.clone(),
        &token,
        &verdict,
        &Default::default(),
    );
    assert!(done.is_err());
}

#[test]
fn a_change_of_the_key_set_in_the_middle_of_a_rotation_keeps_the_chain() {
    let mut world = World::new();
    let (mut held, first, second) = rotated(&mut world); // by set 1
    world.keys = crate::support::ring(2, &[1]);
    let (verdict, again) = world.show(&mut held, &first.session, true);
    assert_eq!((said(&verdict), again), ((None, Effect::Again), Some(second.clone())), "as set 1 made it");
    world.tick(Span(EVERY));
    let third = world.show(&mut held, &second.session, true).1.unwrap(); // by set 2, from a nonce of set 1
    assert_eq!((held.session.chain.key_id, world.open(&third.session).key_id), (2, 2));
    let (verdict, again) = world.show(&mut held, &second.session, true);
    assert_eq!((said(&verdict), again), ((None, Effect::Again), Some(third.clone())));
    assert_eq!(said(&world.show(&mut held, &third.session, false).0), (None, Effect::Note));
    // without the old set its tokens are nobody's
    world.keys = crate::support::ring(2, &[]);
    let opened = handstamp_core::token::opaque::open(Kind::Session, world.env, &second.session, &world.keys);
    assert!(opened.is_err());
    assert_eq!(said(&world.verdict(&held, &third.session, Demand::default())), (None, Effect::Nothing));
}

#[test]
fn pending_says_since_when_a_successor_waits() {
    let mut world = World::new();
    let (mut held, _, second) = rotated(&mut world);
    assert_eq!(held.session.chain.pending_since(), Some(world.now));
    world.show(&mut held, &second.session, false);
    assert_eq!(held.session.chain.pending_since(), None);
}
