//! Tags that stay on a live session: which they are, why, and that no walk leads around it.

use crate::support::{Held, World, plain, tag, user};
use handstamp_core::policy::setting::TagNames;
use handstamp_core::policy::{Origin, Pattern, Policy, Rules};
use handstamp_core::session::{Actor, By};
use handstamp_core::transition::create::NewSession;
use handstamp_core::transition::update::{Fixed, Objection, Patch, Stays, update};
use std::collections::BTreeMap;

fn patch(world: &mut World, held: &mut Held, patch: &Patch) -> Result<(), Objection> {
    let entropy = world.draw();
    let living = world.ground().living(&held.session, held.seen).unwrap();
    update(living, patch, By::System, &entropy).unwrap().map(|change| held.keep(change))
}

#[test]
fn create_only_tags_neither_come_nor_go() {
    let mut world = World::new();
    let (mut held, _) = world.create(NewSession { tags: vec![tag("org:acme"), tag("role:user")], ..plain() });
    let add = |one: &str| Patch { add_tags: vec![tag(one)], ..Patch::default() };
    let remove = |one: &str| Patch { remove_tags: vec![tag(one)], ..Patch::default() };
    let stays = |one: &str| Fixed { tag: tag(one), why: Stays::CreateOnly(Origin::Default) };
    let fixed = |some: &[&str]| Err(Objection::Fixed(some.iter().map(|one| stays(one)).collect()));
    assert_eq!(patch(&mut world, &mut held, &add("org:other")), fixed(&["org:other"]));
    assert_eq!(patch(&mut world, &mut held, &remove("org:acme")), fixed(&["org:acme"]));
    // What changes nothing, and other names.
    for good in [add("org:acme"), remove("org:other"), add("role:admin"), remove("role:user"), add("organ:x")]
    {
        assert_eq!(patch(&mut world, &mut held, &good), Ok(()));
    }
    let both =
        Patch { add_tags: vec![tag("org:acme")], remove_tags: vec![tag("org:acme")], ..Patch::default() };
    assert_eq!(patch(&mut world, &mut held, &both), Ok(()));
    let swap = Patch { add_tags: vec![tag("org:b")], remove_tags: vec![tag("org:acme")], ..Patch::default() };
    // All of them are told, each once, and not what changes nothing or may change.
    assert_eq!(patch(&mut world, &mut held, &swap), fixed(&["org:b", "org:acme"]));
    let many = Patch {
        add_tags: ["role:x", "org:c", "org:c", "org:b", "org:acme"].map(tag).into(),
        remove_tags: ["org:c", "org:other", "role:user"].map(tag).into(),
        ..Patch::default()
    };
    assert_eq!(patch(&mut world, &mut held, &many), fixed(&["org:c", "org:b"]));
    world.policy = world.policy.with(|rules| rules.create_only_tags = Some(TagNames::default()));
    assert_eq!(patch(&mut world, &mut held, &swap), Ok(()));
}

#[test]
fn every_tag_that_may_not_come_or_go_is_told_with_its_reason() {
    let mut world = World::new();
    let names = |some: &[&str]| Rules {
        create_only_tags: Some(TagNames::parse(some.iter().copied()).unwrap()),
        ..Rules::default()
    };
    let section = |of: &str, some: &[&str]| (Pattern::parse(of).unwrap(), names(some));
    let sections = [section("role:admin", &["plan"]), section("team:*", &["seat"]), section("x:1", &["y"])];
    world.policy = Policy::new(names(&["org"]), sections.into());
    let actor = Actor { id: user("eve"), reason: "ticket 7".into() };
    let kind = Actor::TAG;
    let carried = ["org:acme", "plan:free", "role:admin", "team:red", "z:1"].map(tag).into();
    let (mut held, _) = world.create(NewSession { tags: carried, actor: Some(actor), ..plain() });
    let change = Patch {
        add_tags: ["plan:paid", "y:1", "x:1"].map(tag).into(),
        remove_tags: ["org:acme", "plan:free", "role:admin", "team:red", "z:1", kind].map(tag).into(),
        ..Patch::default()
    };
    let by = |of: &str| Stays::CreateOnly(Origin::Tag(of.into()));
    let wanted = [
        ("plan:paid", by("role:admin")),
        // The rule that comes in the same breath.
        ("y:1", by("x:1")),
        ("org:acme", Stays::CreateOnly(Origin::Default)),
        ("plan:free", by("role:admin")),
        ("role:admin", Stays::Frees("plan".into())),
        ("team:red", Stays::Frees("seat".into())),
        (kind, Stays::SaysWhoActs),
    ];
    let wanted = wanted.map(|(one, why)| Fixed { tag: tag(one), why });
    assert_eq!(patch(&mut world, &mut held, &change), Err(Objection::Fixed(wanted.into())));
    let good = Patch { add_tags: vec![tag("x:1")], remove_tags: vec![tag("z:1")], ..Patch::default() };
    assert_eq!(patch(&mut world, &mut held, &good), Ok(()));
}

/// Whatever anybody adds and removes, in whatever order, under whatever sections: a name that was in the list of a session
/// once has the same tags for good.
#[test]
fn no_walk_leads_out_of_a_list() {
    let tags = ["a:1", "a:2", "b:1", "b:2", "c:1", "c:2", "d:1"];
    let lists: [&[&str]; 6] = [&[], &["a"], &["b"], &["a", "c"], &["c"], &["b", "d"]];
    let mut chaos: u64 = 0x9E37_79B9_7F4A_7C15;
    let mut next = |below: usize| {
        chaos ^= chaos << 13;
        chaos ^= chaos >> 7;
        chaos ^= chaos << 17;
        usize::try_from(chaos % u64::try_from(below).unwrap()).unwrap()
    };
    let (mut changed, mut refused) = (0, 0);
    for _ in 0..300 {
        let mut world = World::new();
        let mut names = || {
            let names = TagNames::parse(lists[next(lists.len())].iter().copied());
            Rules { create_only_tags: Some(names.unwrap()), ..Rules::default() }
        };
        let default = names();
        let sections = ["a:1", "b:*", "b:2", "c:1", "d:1"].map(|of| (Pattern::parse(of).unwrap(), names()));
        world.policy = Policy::new(default, sections.into());
        let (mut held, _) = world.create(NewSession { tags: vec![tag("a:1"), tag("b:1")], ..plain() });
        let mut fixed: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for _ in 0..40 {
            let mut some = |most: usize| (0..next(most)).map(|_| tag(tags[next(tags.len())])).collect();
            let change = Patch { add_tags: some(3), remove_tags: some(3), ..Patch::default() };
            match patch(&mut world, &mut held, &change) {
                Ok(()) => changed += 1,
                Err(Objection::Fixed(tags)) if !tags.is_empty() => refused += 1,
                Err(other) => panic!("{other:?}"),
            }
            let of = |name: &str| -> Vec<String> {
                let tags = held.session.tags.iter().map(|held| held.tag.as_str().to_owned());
                tags.filter(|tag| tag.split(':').next() == Some(name)).collect()
            };
            let policy = world.policy.of(&held.session);
            for name in policy.create_only_tags.iter().flat_map(|list| list.value.iter()) {
                fixed.entry(name.to_owned()).or_insert_with(|| of(name));
            }
            for (name, tags) in &fixed {
                assert_eq!(of(name), *tags, "{name}");
            }
        }
    }
    assert!(changed > 1_000 && refused > 1_000, "{changed} {refused}");
}
