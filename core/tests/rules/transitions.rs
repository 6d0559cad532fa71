//! What becomes of the records: creation and its repetition, patches and their maxima, authentication, ends and counts.

use crate::support::{ENV, Held, World, code, group, login, plain, tag, texts, user};
use handstamp_core::event::EventKind;
use handstamp_core::judge::Demand;
use handstamp_core::limit::{self, Limit};
use handstamp_core::policy::Origin;
use handstamp_core::refusal::{Code, Evidence, Value};
use handstamp_core::session::{By, Client, State};
use handstamp_core::tag::{Group, Tag};
use handstamp_core::time::Span;
use handstamp_core::transition::create::{NewSession, create, repeat};
use handstamp_core::transition::finish::{end, evict, revoke, settle};
use handstamp_core::transition::update::{Objection, Patch, authenticate, update};
use handstamp_core::transition::{Entropy, Living};
use handstamp_core::user::User;

const REQUEST: [u8; 32] = [7; 32];

fn repeatable(refresh: bool) -> NewSession {
    NewSession { refresh, idempotency: Some(REQUEST), ..plain() }
}
fn patch(world: &mut World, held: &mut Held, patch: &Patch) -> Result<(), Objection> {
    let entropy = world.draw();
    let living = world.ground().living(&held.session, held.seen).unwrap();
    update(living, patch, By::System, &entropy).unwrap().map(|change| held.keep(change))
}
fn tags(n: usize) -> Vec<Tag> {
    (0..n).map(|n| tag(&format!("t:{n}"))).collect()
}
fn groups(n: usize) -> Vec<Group> {
    (0..n).map(|n| group(&format!("g{n}"))).collect()
}

#[test]
fn a_new_session_is_what_was_asked_for() {
    let mut world = World::new();
    let new = NewSession {
        tags: vec![tag("b:2"), tag("a:1"), tag("b:2")],
        groups: vec![group("z"), group("a"), group("z")],
        data: Some(b"{\"n\":1}".to_vec()),
        refresh: true,
        ..plain()
    };
    let (held, texts) = world.create(new);
    let s = &held.session;
    assert_eq!(s.tags.iter().map(|t| t.tag.as_str()).collect::<Vec<_>>(), ["a:1", "b:2"]);
    assert_eq!(s.groups.iter().map(Group::as_str).collect::<Vec<_>>(), ["a", "z"]);
    assert_eq!((s.created_at, s.authenticated_at, s.id.made_at()), (world.now, world.now, world.now));
    assert_eq!(s.id.bucket(), world.keys.bucket(ENV, &s.user));
    assert_eq!(world.data_key.open(ENV, s.id, s.data.as_ref().unwrap()).unwrap(), b"{\"n\":1}");
    assert_eq!((s.limits.absolute, s.limits.idle), (Span::hours(2), Span::minutes(10)));
    assert!(texts.refresh.is_some() && s.is_live() && held.user.live == 1);
}

#[test]
fn no_two_uses_share_random_bytes() {
    // A byte of the entropy that changes may change one use only.
    let world = World::new();
    let make = |changed: Option<usize>| {
        let mut bytes: [u8; 96] = std::array::from_fn(|n| u8::try_from(n).unwrap());
        if let Some(at) = changed {
            bytes[at] ^= 0x80;
        }
        let new = NewSession { refresh: true, data: Some(b"{}".to_vec()), ..plain() };
        let made = create(world.ground(), new, User::new(user("ada")), &Entropy::new(bytes)).unwrap();
        let nonce = |text: &str, kind| {
            let opened = handstamp_core::token::opaque::open(kind, ENV, text, &world.keys).ok().unwrap();
            let derived = opened.successor(kind, handstamp_core::id::EnvironmentId(0), &world.keys).unwrap();
            *derived.expose()
        };
        let (id, set) = (made.change.session.id, texts(&made.issued));
        let sealed = made.change.session.data.unwrap().nonce;
        // the successor depends on the session id too, so that is only compared where the id stayed
        (
            id,
            sealed,
            nonce(&set.session, handstamp_core::token::Kind::Session),
            nonce(set.refresh.as_ref().unwrap(), handstamp_core::token::Kind::Refresh),
        )
    };
    let base = make(None);
    let mut used = [0; 4];
    for at in 0..96 {
        let (id, sealed, session, refresh) = make(Some(at));
        let differs = if id == base.0 {
            [false, sealed != base.1, session != base.2, refresh != base.3]
        } else {
            [true, sealed != base.1, false, false]
        };
        assert!(differs.iter().filter(|d| **d).count() <= 1, "byte {at} is used twice");
        for (count, differs) in used.iter_mut().zip(differs) {
            *count += u32::from(differs);
        }
    }
    assert_eq!(used[1..], [12, 32, 32], "bytes of the seal, the session's and the refresh token's nonce");
    assert!(used[0] >= 8, "and of the id");
}

#[test]
fn a_repeated_request_gets_the_same_credentials_until_one_was_used() {
    for refresh in [false, true] {
        let mut world = World::new();
        let (held, first) = world.create(repeatable(refresh));
        let again = |held: &Held, world: &World, request| {
            repeat(world.ground(), &held.session, request, None).map(|again| texts(&again.issued))
        };
        world.tick(Span::minutes(1));
        assert_eq!(again(&held, &world, &REQUEST), Some(first.clone()));
        assert_eq!(again(&held, &world, &[8; 32]), None, "another request");
        let older = std::mem::replace(&mut world.keys, crate::support::ring(2, &[1]));
        assert_eq!(again(&held, &world, &REQUEST), Some(first.clone()), "by the set that made it");
        world.keys = older;

        let mut presented = held.clone();
        world.show(&mut presented, &first.session, false);
        assert_eq!(again(&presented, &world, &REQUEST), None, "presented");

        let mut replaced = held.clone();
        let entropy = world.draw();
        let living = world.ground().living(&held.session, held.seen).unwrap();
        replaced.keep(
            authenticate(living, login(), &Client::default(), By::System, &entropy).unwrap().unwrap().0,
        );
        assert_eq!(again(&replaced, &world, &REQUEST), None, "authenticated again");

        if let Some(text) = &first.refresh {
            let mut refreshed = held.clone();
            world.show(&mut refreshed, text, false);
            assert_eq!(again(&refreshed, &world, &REQUEST), None, "refreshed");
        }
        let mut ended = held.clone();
        let living = world.ground().living(&held.session, held.seen).unwrap();
        ended.keep(revoke(living, held.user.clone(), By::System, None, Client::default()));
        assert_eq!(again(&ended, &world, &REQUEST), None, "ended");
    }
    let mut world = World::new();
    let (held, _) = world.create(plain());
    assert!(repeat(world.ground(), &held.session, &REQUEST, None).is_none(), "made without a key");
}

#[test]
fn a_patch_may_reach_the_maxima_and_not_pass_them() {
    let mut world = World::new();
    let (mut held, _) = world.create(plain());
    let add = |tags, groups| Patch { add_tags: tags, add_groups: groups, ..Patch::default() };
    assert_eq!(patch(&mut world, &mut held, &add(tags(Tag::MOST + 1), vec![])), Err(Objection::TooManyTags));
    assert_eq!(
        patch(&mut world, &mut held, &add(vec![], groups(Group::MOST + 1))),
        Err(Objection::TooManyGroups)
    );
    assert!(held.session.tags.is_empty() && held.session.groups.is_empty());
    assert_eq!(patch(&mut world, &mut held, &add(tags(Tag::MOST), groups(Group::MOST))), Ok(()));
    assert_eq!((held.session.tags.len(), held.session.groups.len()), (Tag::MOST, Group::MOST));
    assert_eq!(patch(&mut world, &mut held, &add(vec![tag("n:1")], vec![])), Err(Objection::TooManyTags));
    assert_eq!(patch(&mut world, &mut held, &add(vec![], vec![group("n")])), Err(Objection::TooManyGroups));
    assert_eq!(
        patch(&mut world, &mut held, &add(tags(3), groups(3))),
        Ok(()),
        "what is there is no addition"
    );
    let swap = Patch {
        add_tags: vec![tag("n:1")],
        remove_tags: vec![tag("t:0")],
        add_groups: vec![group("n")],
        remove_groups: vec![group("g0")],
        ..Patch::default()
    };
    assert_eq!(patch(&mut world, &mut held, &swap), Ok(()), "room is made first");
}

#[test]
fn a_patch_changes_what_it_names_and_what_is_added_stays() {
    let mut world = World::new();
    let (mut held, texts) = world.create(NewSession { tags: tags(2), groups: groups(2), ..plain() });
    let before = held.clone();
    assert!(Patch::default().is_empty());
    let p = Patch {
        add_tags: vec![tag("t:0"), tag("a:1")],
        remove_tags: vec![tag("t:0"), tag("t:1"), tag("not:there")],
        add_groups: vec![group("g0"), group("a")],
        remove_groups: vec![group("g0"), group("g1"), group("not there")],
        data: Some(b"{\"secret\":1}".to_vec()),
        extend: true,
    };
    assert!(!p.is_empty());
    let entropy = world.draw();
    let living = world.ground().living(&held.session, held.seen).unwrap();
    let change = update(living, &p, By::System, &entropy).unwrap().unwrap();
    assert!(change.user.is_none());
    let [event] = &change.events[..] else { panic!("one event") };
    assert_eq!((event.kind, event.at), (EventKind::Updated, world.now));
    assert!(!event.note.as_ref().unwrap().contains("secret"), "history names data, it does not hold it");
    held.keep(change);
    let s = &held.session;
    assert_eq!(s.tags.iter().map(|t| t.tag.as_str()).collect::<Vec<_>>(), ["a:1", "t:0"]);
    assert_eq!(s.groups.iter().map(Group::as_str).collect::<Vec<_>>(), ["a", "g0"]);
    assert_eq!(world.data_key.open(ENV, s.id, s.data.as_ref().unwrap()).unwrap(), b"{\"secret\":1}");
    assert_eq!(
        (s.created_at, s.authenticated_at, s.born),
        (before.session.created_at, before.session.authenticated_at, 0)
    );
    assert_eq!(world.verdict(&held, &texts.session, Demand::default()).refusal, None, "tokens stay");
}

#[test]
fn a_patch_takes_looser_times_over() {
    let mut world = World::new();
    let (mut held, _) = world.create(plain());
    world.policy = world.policy.with(|rules| rules.idle_timeout = Some(Span::hours(1)));
    patch(&mut world, &mut held, &Patch { extend: true, ..Patch::default() }).unwrap();
    assert_eq!(held.session.limits.idle, Span::hours(1));
}

#[test]
fn authentication_restarts_absolute_time_under_todays_policy() {
    let mut world = World::new();
    let (mut held, _) = world.create(plain());
    world.tick(Span::minutes(9));
    world.policy = world.policy.with(|rules| rules.absolute_timeout = Some(Span::minutes(20)));
    world.policy = world.policy.with(|rules| rules.idle_timeout = Some(Span::minutes(20)));
    let entropy = world.draw();
    let living = world.ground().living(&held.session, held.seen).unwrap();
    let (change, _) =
        authenticate(living, login(), &Client::default(), By::Client, &entropy).unwrap().unwrap();
    assert_eq!(change.events[0].kind, EventKind::RotatedByAuth);
    held.keep(change);
    held.seen = world.now;
    assert_eq!(
        (held.session.limits.absolute, held.session.limits.idle),
        (Span::minutes(20), Span::minutes(20))
    );
    world.tick(Span(Span::minutes(20).0 - 1));
    assert_eq!(world.over(&held), None);
    world.tick(Span(1));
    assert_eq!(code(world.over(&held).as_ref()), Some(Code::SessionExpired));
}

#[test]
fn the_end_of_the_numbers_is_an_accident_and_no_fork() {
    let mut world = World::new();
    let (mut held, _) = world.create(plain());
    held.session.chain.generation = u32::MAX;
    let entropy = world.draw();
    let living = world.ground().living(&held.session, held.seen).unwrap();
    assert!(authenticate(living, login(), &Client::default(), By::System, &entropy).is_err());
}

#[test]
fn ends_are_counted_off_once() {
    let mut world = World::new();
    let (mut held, _) = world.create_for(plain(), User { id: user("ada"), live: 4 });
    assert_eq!(held.user.live, 5);
    let living = world.ground().living(&held.session, held.seen).unwrap();
    let change = revoke(living, held.user.clone(), By::Client, Some("bye".into()), Client::default());
    let [event] = &change.events[..] else { panic!("one event") };
    assert_eq!((event.kind, event.code), (EventKind::Ended, Some(Code::SessionRevoked)));
    assert_eq!((event.at, event.note.as_deref(), &event.by), (world.now, Some("bye"), &By::Client));
    held.keep(change);
    assert_eq!((held.user.live, held.user.is_needed()), (4, true));
    assert!(world.ground().living(&held.session, held.seen).is_err());
    world.tick(Span::days(9));
    assert!(settle(world.ground(), &held.session, held.seen, held.user.clone()).is_none());

    let (held, _) = world.create(plain());
    let living = world.ground().living(&held.session, held.seen).unwrap();
    let origin = Origin::Tag("role:admin".into());
    let limit = Limit { rule: limit::RULE, tag: None, most: 3, origin: origin.clone() };
    let change = evict(living, User { live: 0, ..held.user.clone() }, &limit, 3);
    assert_eq!(change.user.unwrap().live, 0, "never below nothing");
    let State::Ended(end) = change.session.state else { panic!("ended") };
    assert_eq!((end.code, end.rule.as_deref()), (Code::SessionEvicted, Some("max_sessions")));
    let (allowed, seen) = (Value::Number(3), Value::Number(4));
    assert_eq!((end.origin, end.evidence), (Some(origin), Some(Evidence::Limit { allowed, seen })));
}

#[test]
fn a_session_is_ended_once() {
    let mut world = World::new();
    let (held, _) = world.create(plain());
    let living = world.ground().living(&held.session, held.seen).unwrap();
    let mut session = revoke(living, held.user.clone(), By::Client, None, Client::default()).session;
    let State::Ended(first) = session.state.clone() else { panic!("ended") };
    let mut second = (*first).clone();
    second.code = Code::TokenReused;
    assert!(!session.end(second));
    assert_eq!(session.state, State::Ended(first));
}

#[test]
fn housekeeping_writes_nothing_of_what_lives() {
    let mut world = World::new();
    let (held, _) = world.create(plain());
    world.tick(Span(Span::minutes(10).0 - 1));
    assert!(settle(world.ground(), &held.session, held.seen, held.user.clone()).is_none());
    world.tick(Span(1));
    let change = settle(world.ground(), &held.session, held.seen, held.user.clone()).unwrap();
    assert_eq!((change.user.unwrap().live, change.events[0].at), (0, world.now));
}

#[test]
fn who_asks_for_an_end_is_told_whose_it_was() {
    let mut world = World::new();
    let (mut held, _) = world.create(plain());
    let by_hand = |living: Living<'_>, user| revoke(living, user, By::Client, None, Client::default());
    let code = |session: &State| match session {
        State::Ended(end) => end.code,
        State::Live => panic!("ended"),
    };
    world.tick(Span(Span::minutes(10).0 - 1));
    let (change, by_us) = end(world.ground(), &held.session, held.seen, held.user.clone(), by_hand).unwrap();
    assert_eq!((code(&change.session.state), by_us), (Code::SessionRevoked, true));
    // A millisecond later it is over already, and that is written down.
    world.tick(Span(1));
    let (change, by_us) = end(world.ground(), &held.session, held.seen, held.user.clone(), by_hand).unwrap();
    assert_eq!((code(&change.session.state), by_us), (Code::SessionIdle, false));
    assert_eq!((change.events[0].at, change.events.len()), (world.now, 1));
    held.keep(change);
    assert!(end(world.ground(), &held.session, held.seen, held.user.clone(), by_hand).is_none());
}
