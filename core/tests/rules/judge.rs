//! What a request demands, and the order of the rules: the first refusal is the answer.

use crate::support::{Held, Texts, World, code, group, plain, tag};
use handstamp_core::epoch::Scope;
use handstamp_core::judge::{Demand, Effect};
use handstamp_core::refusal::{Code, Evidence, Value};
use handstamp_core::session::{By, Client};
use handstamp_core::time::Span;
use handstamp_core::transition::create::NewSession;
use handstamp_core::transition::finish::revoke;

fn member(world: &mut World) -> (Held, Texts) {
    let (tags, groups) = (vec![tag("role:user"), tag("org:acme")], vec![group("readers")]);
    world.create(NewSession { tags, groups, ..plain() })
}

#[test]
fn every_required_tag_and_group_must_be_there() {
    let mut world = World::new();
    let (held, texts) = member(&mut world);
    for (tags, groups, expected, missing) in [
        (vec![], vec![], None, ""),
        (vec!["role:user"], vec!["readers"], None, ""),
        (vec!["role:user", "org:acme"], vec![], None, ""),
        (vec!["role:admin"], vec![], Some(Code::TagMissing), "role:admin"),
        (vec!["role:user", "role:admin"], vec![], Some(Code::TagMissing), "role:admin"),
        (vec!["role:use"], vec![], Some(Code::TagMissing), "role:use"),
        (vec![], vec!["writers"], Some(Code::AccessGroupMissing), "writers"),
        (vec![], vec!["readers", "writers"], Some(Code::AccessGroupMissing), "writers"),
        (vec!["role:admin"], vec!["writers"], Some(Code::TagMissing), "role:admin"),
    ] {
        let tags: Vec<_> = tags.into_iter().map(tag).collect();
        let groups: Vec<_> = groups.into_iter().map(group).collect();
        let verdict = world.verdict(
            &held,
            &texts.session,
            Demand { tags: &tags, groups: &groups, can_deliver: false, ..Demand::default() },
        );
        assert_eq!(code(verdict.refusal.as_ref()), expected);
        if let Some(refusal) = verdict.refusal {
            let Some(Evidence::Limit { allowed: Value::Texts(lacks), .. }) = refusal.evidence else {
                panic!("evidence names what lacks")
            };
            assert_eq!(lacks, [missing.into()]);
        }
    }
}

#[test]
fn what_is_refused_for_lack_of_a_tag_neither_rotates_nor_brings_a_successor_but_is_noted() {
    let mut world = World::new();
    let (mut held, first) = member(&mut world);
    let admin = [tag("role:admin")];
    let demand = Demand { tags: &admin, groups: &[], can_deliver: true, ..Demand::default() };
    world.tick(Span::minutes(5));
    let verdict = world.verdict(&held, &first.session, demand);
    assert_eq!((code(verdict.refusal.as_ref()), verdict.effect), (Some(Code::TagMissing), Effect::Nothing));
    let second = world.show(&mut held, &first.session, true).1.unwrap();
    let again = world.verdict(&held, &first.session, demand);
    assert_eq!((code(again.refusal.as_ref()), again.effect), (Some(Code::TagMissing), Effect::Nothing));
    world.tick(Span::minutes(5)); // the successor is due as well
    let newest = world.verdict(&held, &second.session, demand);
    assert_eq!((code(newest.refusal.as_ref()), newest.effect), (Some(Code::TagMissing), Effect::Note));
    assert!(world.carry_out(&held, &second.session, &newest).issued.is_none());
}

/// Everything is wrong at once; one after the other is put right.
#[test]
fn the_first_refusal_is_the_answer() {
    let mut world = World::new();
    let (mut held, first) = member(&mut world);
    world.tick(Span::minutes(5));
    let second = world.show(&mut held, &first.session, true).1.unwrap();
    world.show(&mut held, &second.session, false);
    world.tick(Span::minutes(1)); // the first token is stolen by now
    let alive = (held.clone(), world.now);
    let admin = [tag("role:admin")];
    let demand = Demand { tags: &admin, groups: &[], can_deliver: true, ..Demand::default() };

    let living = world.ground().living(&held.session, held.seen).unwrap();
    let change = revoke(living, held.user.clone(), By::Client, Some("bye".into()), Client::default());
    held.keep(change);
    world.ledger.raise(Scope::All, world.now, By::System, None);
    world.tick(Span::hours(2));
    let ended = world.verdict(&held, &first.session, demand);
    assert_eq!((code(ended.refusal.as_ref()), ended.effect), (Some(Code::SessionRevoked), Effect::Nothing));
    assert_eq!(ended.refusal.unwrap().rule, "ended");

    let (held, now) = alive;
    let raised = world.verdict(&held, &first.session, demand);
    assert_eq!(raised.refusal.unwrap().rule, "epoch");
    world.ledger = Default::default();
    let over = world.verdict(&held, &first.session, demand);
    assert_eq!((code(over.refusal.as_ref()), over.effect), (Some(Code::SessionIdle), Effect::Settle));
    world.now = now;
    let stolen = world.verdict(&held, &first.session, demand);
    assert_eq!((code(stolen.refusal.as_ref()), stolen.effect), (Some(Code::TokenReused), Effect::EndStolen));
    let lacks = world.verdict(&held, &second.session, demand);
    assert_eq!(code(lacks.refusal.as_ref()), Some(Code::TagMissing));
    assert_eq!(world.verdict(&held, &second.session, Demand::default()).refusal, None);
}

#[test]
fn an_ended_session_refuses_every_genuine_token_with_its_own_code() {
    let mut world = World::new();
    let (mut held, first) = world.create(NewSession { refresh: true, ..plain() });
    let second = world.show(&mut held, first.refresh.as_ref().unwrap(), false).1.unwrap();
    let living = world.ground().living(&held.session, held.seen).unwrap();
    let change = revoke(living, held.user.clone(), By::System, None, Client::default());
    held.keep(change);
    for text in
        [&first.session, &second.session, first.refresh.as_ref().unwrap(), second.refresh.as_ref().unwrap()]
    {
        let verdict = world.verdict(&held, text, Demand { can_deliver: true, ..Demand::default() });
        assert_eq!(
            (code(verdict.refusal.as_ref()), verdict.effect),
            (Some(Code::SessionRevoked), Effect::Nothing)
        );
    }
}

#[test]
fn another_environment_and_another_ring_open_nothing() {
    let mut world = World::new();
    let (_, texts) = member(&mut world);
    for env in [handstamp_core::id::EnvironmentId(8), handstamp_core::id::EnvironmentId(0)] {
        let opened = handstamp_core::token::opaque::open(
            handstamp_core::token::Kind::Session,
            env,
            &texts.session,
            &world.keys,
        );
        assert!(opened.is_err());
    }
}
