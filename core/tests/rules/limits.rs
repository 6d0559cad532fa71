//! Limits of one user's sessions: tables with both sides of each, several at once, and any of them against an oracle that
//! takes one session away at a time.

use crate::support::{Held, World, plain, tag};
use handstamp_core::id::SessionId;
use handstamp_core::limit::{OnLimit, RULE, of_gained, of_new};
use handstamp_core::policy::{Cap, Origin, Pattern, Policy, Rules};
use handstamp_core::refusal::{Code, Evidence, Refusal, Value};
use handstamp_core::session::{By, State};
use handstamp_core::time::Span;
use handstamp_core::transition::admit::{Admission, admit};
use handstamp_core::transition::create::NewSession;
use handstamp_core::transition::finish::revoke;
use handstamp_core::transition::update::{Patch, update};
use handstamp_core::user::User;
use proptest::prelude::*;

const MODES: [OnLimit; 3] = [OnLimit::Reject, OnLimit::EndOldest, OnLimit::EndLeastRecent];

fn cap(of: &str, most: u32) -> Cap {
    match of {
        "" => Cap { of: None, most, origin: Origin::Default },
        of => Cap { of: Some(Pattern::parse(of).unwrap()), most, origin: Origin::Tag(of.into()) },
    }
}

/// Sessions of one user, a second apart, the first one made used last.
fn house(world: &mut World, all: &[&[&str]]) -> Vec<Held> {
    let mut made: Vec<Held> = Vec::new();
    for tags in all {
        let new = NewSession { tags: tags.iter().map(|text| tag(text)).collect(), ..plain() };
        let user = made.last().map_or_else(|| User::new(new.user.clone()), |last| last.user.clone());
        made.push(world.create_for(new, user).0);
        world.tick(Span::secs(1));
    }
    let now = world.now;
    made.iter_mut().rev().zip(1..).for_each(|(held, n)| held.seen = now.plus(Span(n)));
    world.tick(Span::secs(1));
    made
}

fn ask(
    world: &World,
    house: &[Held],
    caps: &[Cap],
    mode: OnLimit,
    tags: &[&str],
) -> Result<Admission, Refusal> {
    let tags: Vec<_> = tags.iter().map(|text| tag(text)).collect();
    let others: Vec<_> = house.iter().map(|held| (&held.session, held.seen)).collect();
    let user = house.last().map_or_else(|| User::new(plain().user), |held| held.user.clone());
    admit(world.ground(), &of_new(RULE, caps, &tags), mode, &others, user)
}

fn places(house: &[Held], evicted: &[SessionId]) -> Vec<usize> {
    evicted.iter().map(|id| house.iter().position(|held| held.session.id == *id).unwrap()).collect()
}

#[test]
fn both_sides_of_a_limit_in_each_mode() {
    let mut world = World::new();
    let house = house(&mut world, &[&[], &["role:admin"], &[]]);
    for (most, oldest) in [(4, &[][..]), (3, &[0]), (2, &[0, 1]), (1, &[0, 1, 2])] {
        for mode in MODES {
            let told = ask(&world, &house, &[cap("", most)], mode, &["role:admin"]);
            if mode == OnLimit::Reject && most < 4 {
                let refusal = told.err().unwrap();
                let (allowed, seen) = (Value::Number(most.into()), Value::Number(4));
                assert_eq!((refusal.code, refusal.rule), (Code::SessionLimitReached, "max_sessions"));
                assert_eq!(refusal.origin, Some(Origin::Default));
                assert_eq!(refusal.evidence, Some(Evidence::Limit { allowed, seen }));
                continue;
            }
            let admission = told.ok().unwrap();
            // The first one made is the one that was used last.
            let expected: Vec<usize> = match mode {
                OnLimit::EndLeastRecent => oldest.iter().map(|n| 2 - n).collect(),
                OnLimit::EndOldest | OnLimit::Reject => oldest.to_vec(),
            };
            assert_eq!(places(&house, &admission.evicted), expected, "{most} {mode}");
            assert_eq!(admission.user.live as usize, 3 - oldest.len());
            assert_eq!(admission.ended.len(), oldest.len());
            for (_, change) in &admission.ended {
                let State::Ended(end) = &change.session.state else { panic!("ended") };
                assert_eq!((end.code, end.at, &end.by), (Code::SessionEvicted, world.now, &By::System));
                assert_eq!(change.events.len(), 1);
            }
        }
    }
}

/// Each cap counts what it is about, and what one has evicted does not count for the next.
#[test]
fn several_caps() {
    let mut world = World::new();
    let house = house(&mut world, &[&["role:a"], &["role:b"], &["role:a", "plan:x"], &["plan:x"]]);
    for (caps, tags, gone) in [
        (&[cap("role:a", 2)][..], &["role:a"][..], &[0][..]),
        (&[cap("role:a", 3)], &["role:a"], &[]),
        // Each value by itself.
        (&[cap("role:*", 1)], &["role:a"], &[0, 2]),
        (&[cap("role:*", 1)], &["role:b"], &[1]),
        (&[cap("role:*", 2)], &["role:a", "role:b"], &[0]),
        (&[cap("role:*", 1)], &["role:c"], &[]),
        // The first one takes 0 and 2, and leaves one of plan:x for the second.
        (&[cap("role:a", 1), cap("plan:x", 2)], &["role:a", "plan:x"], &[0, 2]),
        (&[cap("role:a", 1), cap("plan:x", 1)], &["role:a", "plan:x"], &[0, 2, 3]),
        (&[cap("plan:x", 2), cap("role:a", 2)], &["role:a", "plan:x"], &[2]),
        (&[cap("", 3), cap("role:b", 1)], &["role:b"], &[0, 1]),
    ] {
        let admission = ask(&world, &house, caps, OnLimit::EndOldest, tags).ok().unwrap();
        assert_eq!(places(&house, &admission.evicted), gone, "{caps:?} {tags:?}");
    }
    let refused =
        ask(&world, &house, &[cap("role:a", 3), cap("plan:x", 2)], OnLimit::Reject, &["role:a", "plan:x"]);
    assert_eq!(refused.err().unwrap().origin.unwrap().text(), "tag plan:x");
}

/// Whom time has ended takes no place, and is written down with the creation, dated to its end.
#[test]
fn the_living_count() {
    let mut world = World::new();
    let mut house = house(&mut world, &[&[], &[], &[]]);
    let idle = Span::minutes(10);
    house[1].seen = world.now.plus(Span(-idle.0 + 1));
    for (pass, ended) in [(0, Code::SessionEvicted), (1, Code::SessionIdle)] {
        world.tick(Span(pass));
        let admission = ask(&world, &house, &[cap("", 3)], OnLimit::EndOldest, &[]).ok().unwrap();
        assert_eq!(admission.evicted.len(), usize::from(pass == 0));
        let [(place, change)] = &admission.ended[..] else { panic!("one") };
        let State::Ended(end) = &change.session.state else { panic!("ended") };
        assert_eq!((*place, end.code, end.at), (usize::from(pass == 1), ended, world.now));
        assert_eq!(admission.user.live, 2);
        assert_eq!(ask(&world, &house, &[cap("", 3)], OnLimit::Reject, &[]).is_ok(), pass == 1);
    }
    // Who was ended is no candidate either.
    let living = world.ground().living(&house[0].session, house[0].seen).unwrap();
    let change = revoke(living, house[0].user.clone(), By::Client, None, Default::default());
    house[0].keep(change);
    assert!(ask(&world, &house, &[cap("", 1)], OnLimit::EndOldest, &[]).ok().unwrap().evicted.len() == 1);
}

/// A live session that gets a tag meets the caps of that tag alone.
#[test]
fn a_tag_that_comes_later() {
    let mut world = World::new();
    world.policy = Policy::from(Rules::default());
    let made = house(&mut world, &[&["role:a", "plan:x"]]).remove(0);
    let caps = [cap("", 1), cap("role:*", 1), cap("plan:x", 1), cap("plan:y", 2)];
    for (add, remove, expected) in [
        (&["role:a"][..], &["role:a"][..], &[][..]),
        (&["role:b"], &[], &["role:b"]),
        (&["plan:y", "role:b", "other:z"], &["plan:x"], &["role:b", "plan:y"]),
        (&[], &["role:a"], &[]),
    ] {
        let tags = |texts: &[&str]| texts.iter().map(|text| tag(text)).collect();
        let patch = Patch { add_tags: tags(add), remove_tags: tags(remove), ..Patch::default() };
        let entropy = world.draw();
        let living = world.ground().living(&made.session, made.seen).unwrap();
        let after = update(living, &patch, By::System, &entropy).unwrap().unwrap().session;
        let found = of_gained(RULE, &caps, &caps, &made.session, &after);
        let found: Vec<_> = found.iter().map(|limit| limit.tag.as_ref().unwrap().as_str()).collect();
        assert_eq!(found, expected);
    }
}

/// What the oracle knows of a session: its place, its tags, how long ago it was used, whether time has ended it.
type Known = (usize, Vec<usize>, u8, bool);

/// Takes one session away at a time, the caps in turn.
fn oracle(all: &[Known], caps: &[(Option<usize>, u32)], mode: OnLimit) -> Result<Vec<usize>, (usize, usize)> {
    let mut living: Vec<&Known> = all.iter().filter(|known| !known.3).collect();
    let mut gone = Vec::new();
    for (which, (of, most)) in caps.iter().enumerate() {
        loop {
            let counted: Vec<&&Known> =
                living.iter().filter(|known| of.is_none_or(|tag| known.1.contains(&tag))).collect();
            if counted.len() < *most as usize {
                break;
            }
            if mode == OnLimit::Reject {
                return Err((which, counted.len()));
            }
            let first = |known: &&&&Known| match mode {
                OnLimit::EndLeastRecent => (255 - known.2, known.0),
                OnLimit::EndOldest | OnLimit::Reject => (0, known.0),
            };
            let victim = counted.iter().min_by_key(first).unwrap().0;
            living.retain(|known| known.0 != victim);
            gone.push(victim);
        }
    }
    Ok(gone)
}

const TAGS: [&str; 4] = ["a:1", "a:2", "b:1", "c:1"];

proptest! {
    #![proptest_config(ProptestConfig { cases: if crate::support::full() { 20_000 } else { 256 }, ..ProptestConfig::default() })]

    #[test]
    fn any_caps_on_any_sessions(
        all in prop::collection::vec((prop::collection::vec(0..4usize, 0..3), 0..20u8, prop::bool::weighted(0.2)), 0..12),
        caps in prop::collection::vec((prop::option::of(0..4usize), 1..5u32), 0..5),
        mode in 0..3usize,
    ) {
        let mode = MODES[mode];
        let mut world = World::new();
        let tags: Vec<Vec<&str>> = all.iter().map(|(tags, ..)| tags.iter().map(|n| TAGS[*n]).collect()).collect();
        let tags: Vec<&[&str]> = tags.iter().map(|tags| &tags[..]).collect();
        let mut house = house(&mut world, &tags);
        world.tick(Span::minutes(1));
        for (held, (_, ago, over)) in house.iter_mut().zip(&all) {
            let ago = if *over { Span::minutes(10) } else { Span::secs(i64::from(*ago)) };
            held.seen = world.now.plus(Span(-ago.0));
        }
        let known: Vec<Known> = all.iter().enumerate().map(|(n, (tags, ago, over))| (n, tags.clone(), *ago, *over)).collect();
        let real: Vec<Cap> = caps.iter().map(|(of, most)| cap(of.map_or("", |n| TAGS[n]), *most)).collect();
        match (ask(&world, &house, &real, mode, &TAGS), oracle(&known, &caps, mode)) {
            (Ok(admission), Ok(gone)) => {
                prop_assert_eq!(places(&house, &admission.evicted), gone.clone());
                let over = known.iter().filter(|known| known.3).count();
                prop_assert_eq!(admission.ended.len(), gone.len() + over);
                prop_assert_eq!(admission.user.live as usize, all.len() - gone.len() - over);
            }
            (Err(refusal), Err((which, current))) => {
                prop_assert_eq!(refusal.origin, Some(real[which].origin.clone()));
                let seen = Value::Number(current as u64 + 1);
                let allowed = Value::Number(real[which].most.into());
                prop_assert_eq!(refusal.evidence, Some(Evidence::Limit { allowed, seen }));
            }
            (real, _) => prop_assert!(false, "refused: {}", real.is_err()),
        }
    }
}
