//! Sections laid over each other, against an oracle that knows nothing of indexes; and what is wrong with a policy.

use handstamp_core::policy::modes::{Assurance, DeviceMode, OnAgent, OnLimit};
use handstamp_core::policy::rules::Unfit;
use handstamp_core::policy::setting::{Budget, Every, Given, TagNames};
use handstamp_core::policy::{Origin, Pattern, Policy, Rules};
use handstamp_core::refusal::Value;
use handstamp_core::time::Span;
use proptest::prelude::*;
use std::collections::BTreeMap;

fn pattern(text: &str) -> Pattern {
    Pattern::parse(text).unwrap()
}

fn policy(default: Rules, tags: &[(&str, Rules)]) -> Policy {
    Policy::new(default, tags.iter().map(|(of, rules)| (pattern(of), rules.clone())).collect())
}

fn idle(minutes: i64) -> Rules {
    Rules { idle_timeout: Some(Span::minutes(minutes)), ..Rules::default() }
}

#[test]
fn the_default_is_the_base_a_tag_replaces_it_and_of_several_the_strictest_holds() {
    let policy = policy(
        idle(30),
        &[("role:admin", idle(15)), ("kind:kiosk", idle(600)), ("org:*", idle(20)), ("org:acme", idle(40))],
    );
    let said = |tags: &[&str]| {
        let found = policy.of_tags(tags.iter().copied());
        (found.idle_timeout.value, found.idle_timeout.origin.text())
    };
    for (tags, minutes, origin) in [
        (&[][..], 30, "default"),
        (&["role:user"], 30, "default"),
        (&["role:admin"], 15, "tag role:admin"),
        // A tag may also be looser than the default.
        (&["kind:kiosk"], 600, "tag kind:kiosk"),
        (&["kind:kiosk", "role:admin"], 15, "tag role:admin"),
        (&["org:any"], 20, "tag org:*"),
        // Every value of the name is also this one.
        (&["org:acme"], 20, "tag org:*"),
        (&["org:acme", "org:other", "kind:kiosk"], 20, "tag org:*"),
        // Names and values are whole words.
        (&["orga:x", "role:administrator", "xrole:admin"], 30, "default"),
    ] {
        assert_eq!(said(tags), (Span::minutes(minutes), origin.to_owned()), "{tags:?}");
    }
}

#[test]
fn each_value_has_an_order_of_strictness() {
    let one = Rules {
        rotate_every: Some(Every(None)),
        on_limit: Some(OnLimit::EndOldest),
        user_agent: Some(OnAgent::Log),
        device: Some(DeviceMode::Required),
        rate_limit: Some(Budget::parse("100/1m").unwrap()),
        create_only_tags: Some(TagNames::parse(["role"]).unwrap()),
        max_sessions: Some(3),
        seats: Some(500),
        ..Rules::default()
    };
    let other = Rules {
        rotate_every: Some(Every(Some(Span::minutes(5)))),
        on_limit: Some(OnLimit::Reject),
        user_agent: Some(OnAgent::Ignore),
        device: Some(DeviceMode::Off),
        rate_limit: Some(Budget::parse("50/1h").unwrap()),
        create_only_tags: Some(TagNames::parse(["plan", "role"]).unwrap()),
        max_sessions: Some(2),
        ..Rules::default()
    };
    let policy = policy(Rules::default(), &[("a:1", one), ("b:1", other)]);
    let found = policy.of_tags(["a:1", "b:1"]);
    assert_eq!(found.rotate_every.value, Every(Some(Span::minutes(5))));
    assert_eq!(found.on_limit.value, OnLimit::Reject);
    assert_eq!(
        (found.user_agent.value, found.user_agent.origin.text()),
        (OnAgent::Log, "tag a:1".to_owned())
    );
    assert_eq!(found.device.value, DeviceMode::Required);
    assert_eq!(found.rate_limit.value.to_string(), "50/1h");
    let fixed: Vec<String> = found
        .create_only_tags
        .iter()
        .map(|list| format!("{} by {}", list.value.iter().collect::<Vec<_>>().join(" "), list.origin.text()))
        .collect();
    assert_eq!(fixed, ["org by default", "role by tag a:1", "plan role by tag b:1"]);
    // Limits count different sessions, so each of them holds.
    let caps: Vec<_> = found.max_sessions.iter().map(|cap| (cap.most, cap.origin.text())).collect();
    assert_eq!(caps, [(3, "tag a:1".to_owned()), (2, "tag b:1".to_owned())]);
    assert_eq!(found.seats.iter().map(|cap| cap.most).collect::<Vec<_>>(), [500]);
    assert_eq!(found.absolute_timeout.origin, Origin::Default);
    let listed = found.list();
    let of = |key| listed.iter().find(|said| said.0 == key).map(|said| said.1.clone());
    let caps: Vec<_> =
        listed.iter().filter(|said| said.0 == "max_sessions").map(|said| said.1.clone()).collect();
    assert_eq!(caps, [Value::Number(3), Value::Number(2)]);
    assert_eq!(of("rotate_every"), Some(Value::Text("5m".into())));
    assert_eq!(policy.of_tags([]).max_sessions[0].most, 10);
}

#[test]
fn presets_give_the_times_of_the_levels() {
    for (level, absolute, idle) in [
        (Assurance::Aal1, Span::days(30), Span::hours(24)),
        (Assurance::Aal2, Span::hours(24), Span::hours(1)),
        (Assurance::Aal3, Span::hours(12), Span::minutes(15)),
    ] {
        let preset = Rules { preset: Some(level), ..Rules::default() };
        let policy = policy(Rules::default(), &[("role:admin", preset)]);
        let found = policy.of_tags(["role:admin"]);
        assert_eq!((found.absolute_timeout.value, found.idle_timeout.value), (absolute, idle));
        assert_eq!(found.refresh_timeout.value, absolute);
        assert_eq!(found.absolute_timeout.origin.text(), format!("preset {level} of tag role:admin"));
    }
}

#[test]
fn what_no_single_value_shows_is_found() {
    let wrong = |policy: &Policy| {
        let all = policy.check().into_iter();
        all.map(|w| format!("{:?}.{}: {}", w.of.map(|p| p.to_string()), w.key, w.message)).collect::<Vec<_>>()
    };
    let level = |level, absolute: Span, why: Option<&str>| Rules {
        preset: Some(level),
        absolute_timeout: Some(absolute),
        justification: why.map(Into::into),
        ..Rules::default()
    };
    let over = |span: Span| Span(span.0 + 1);
    for (rules, good) in [
        (level(Assurance::Aal3, Span::hours(12), None), true),
        (level(Assurance::Aal3, over(Span::hours(12)), None), false),
        // A "shall" is lifted by no reason, a "should" is.
        (level(Assurance::Aal3, over(Span::hours(12)), Some("because")), false),
        (level(Assurance::Aal2, Span::hours(24), None), true),
        (level(Assurance::Aal2, over(Span::hours(24)), None), false),
        (level(Assurance::Aal2, over(Span::hours(24)), Some("a kiosk in a locked room")), true),
        (level(Assurance::Aal1, over(Span::days(30)), None), false),
        (Rules { preset: Some(Assurance::Aal3), ..idle(15) }, true),
        (Rules { preset: Some(Assurance::Aal3), ..idle(16) }, false),
        (Rules { preset: Some(Assurance::Aal1), ..idle(60 * 24 * 90) }, true),
        (Rules { max_sessions: Some(0), ..Rules::default() }, false),
        (Rules { max_sessions: Some(1), ..Rules::default() }, true),
        (Rules { seats: Some(1), ..Rules::default() }, false),
        (Rules { access_token_ttl: Some(over(Span::days(1))), ..Rules::default() }, false),
        (Rules { rotate_every: Some(Every(Some(Span(999)))), ..Rules::default() }, false),
        (Rules { rotate_every: Some(Every(None)), ..Rules::default() }, true),
    ] {
        assert_eq!(wrong(&Policy::from(rules.clone())).is_empty(), good, "{rules:?}");
    }
    let default = Rules { preset: Some(Assurance::Aal2), ..Rules::default() };
    assert_eq!(
        wrong(&policy(default.clone(), &[("kind:kiosk", idle(61)), ("role:x", Rules::default())])),
        [
            "Some(\"kind:kiosk\").idle_timeout: 1h1m is above preset aal2: at most 1h, or say why in `justification`",
            "Some(\"role:x\").: says nothing: give it a rule, or leave it out",
        ]
    );
    // A section with a level of its own keeps to that.
    let weaker = Rules { preset: Some(Assurance::Aal1), ..idle(61) };
    assert!(wrong(&policy(default, &[("kind:kiosk", weaker)])).is_empty());
    assert!(
        wrong(&policy(Rules::default(), &[("org:acme", Rules { seats: Some(0), ..Rules::default() })])).len()
            == 1
    );
}

#[test]
fn both_sides_of_each_bound() {
    let setters: [(&str, Span, Span); 5] = [
        ("absolute_timeout", Policy::SHORTEST, Policy::LONGEST),
        ("idle_timeout", Policy::SHORTEST, Policy::LONGEST),
        ("refresh_timeout", Policy::SHORTEST, Policy::LONGEST),
        ("rotate_every", Policy::SHORTEST, Policy::LONGEST),
        ("rotation_grace", Span(0), Policy::DAY),
    ];
    for (key, least, most) in setters {
        for (span, good) in
            [(least, true), (Span(least.0 - 1), false), (most, true), (Span(most.0 + 1), false)]
        {
            let mut rules = Rules::default();
            if span.0 >= 0 {
                rules.set(key, &Given::Text(&format!("{}ms", span.0))).unwrap();
                assert_eq!(Policy::from(rules).check().is_empty(), good, "{key} {span}");
            }
        }
    }
}

#[test]
fn sections_that_can_never_match_are_refused() {
    for good in ["role:admin", "org:*", "a:b:*c", "x.y-z_1:Ä"] {
        assert_eq!(pattern(good).to_string(), good);
    }
    for bad in
        ["role", "role:", "Role:x", "role:adm*", "*", "*:x", ":*", "Role:*", "role:a,b", "1:*", "a:b:*"]
    {
        let why = Pattern::parse(bad).unwrap_err();
        assert!(why.starts_with("can never match"), "{bad}: {why}");
    }
}

#[test]
fn every_key_is_read_and_shown_again() {
    let mut rules = Rules::default();
    let said = [
        ("absolute_timeout", Given::Text("12h")),
        ("idle_timeout", Given::Text("15m")),
        ("refresh_timeout", Given::Text("90d")),
        ("rotate_every", Given::Text("never")),
        ("rotation_grace", Given::Text("0s")),
        ("on_limit", Given::Text("reject")),
        ("user_agent", Given::Text("log")),
        ("ip_change", Given::Text("reauthenticate")),
        ("device", Given::Text("if_registered")),
        ("access_token_ttl", Given::Text("5m")),
        ("rate_limit", Given::Text("10/1s")),
        ("create_only_tags", Given::Texts(vec!["org", "plan"])),
        ("max_sessions", Given::Number(5)),
        ("seats", Given::Number(7)),
        ("preset", Given::Text("aal1")),
        ("justification", Given::Text("because")),
    ];
    for (key, given) in &said {
        rules.set(key, given).unwrap();
    }
    let shown = rules.list();
    for (key, given) in &said {
        let value = shown.iter().find(|(name, _)| name == key).map(|(_, value)| value.clone());
        let same = match given {
            Given::Text(text) => Value::Text((*text).into()),
            Given::Number(n) => Value::Number(u64::try_from(*n).unwrap()),
            Given::Texts(texts) => Value::Texts(texts.iter().map(|t| (*t).into()).collect()),
            Given::Other(_) => unreachable!(),
        };
        assert_eq!(value, Some(same), "{key}");
        for wrong in [Given::Other("a table"), Given::Number(-1), Given::Text("\u{1}")] {
            assert!(matches!(rules.set(key, &wrong), Err(Unfit::Wrong(_))), "{key} {wrong:?}");
        }
    }
    assert!(Rules::KEYS.iter().all(|key| matches!(rules.set(key, &Given::Other("x")), Err(Unfit::Wrong(_)))));
    assert_eq!(rules.set("idle", &Given::Text("1h")), Err(Unfit::Unknown));
}

fn section() -> impl Strategy<Value = Rules> {
    let span = || prop::option::of((1_i64..9).prop_map(Span::minutes));
    let cap = || prop::option::of(1_u32..9);
    (span(), span(), prop::option::of(prop::option::of((1_i64..9).prop_map(Span::minutes))), cap(), cap())
        .prop_map(|(absolute_timeout, idle_timeout, every, max_sessions, seats)| Rules {
            absolute_timeout,
            idle_timeout,
            rotate_every: every.map(Every),
            max_sessions,
            seats,
            ..Rules::default()
        })
}

proptest! {
    #[test]
    fn the_index_and_the_memory_change_nothing(
        default in section(),
        tags in prop::collection::btree_map("[ab]:[12*]", section(), 0..7),
        worn in prop::collection::vec(prop::collection::vec("[abc]:[123]", 0..6), 1..4),
    ) {
        let sections: BTreeMap<Pattern, Rules> =
            tags.iter().map(|(of, rules)| (pattern(of), rules.clone())).collect();
        let policy = Policy::new(default.clone(), sections);
        // Twice, because the second time is from memory.
        for worn in worn.iter().chain(&worn) {
            let matching: Vec<(&String, &Rules)> = tags
                .iter()
                .filter(|(of, _)| {
                    worn.iter().any(|tag| match of.strip_suffix('*') {
                        Some(name) => tag.starts_with(name),
                        None => tag == *of,
                    })
                })
                .collect();
            let least = |of: fn(&Rules) -> Option<Span>, base: Span| {
                matching.iter().filter_map(|(_, rules)| of(rules)).min().or(of(&default)).unwrap_or(base)
            };
            let found = policy.of_tags(worn.iter().map(String::as_str));
            prop_assert_eq!(found.absolute_timeout.value, least(|r| r.absolute_timeout, Span::days(30)));
            prop_assert_eq!(found.idle_timeout.value, least(|r| r.idle_timeout, Span::hours(24)));
            let never = Span(i64::MAX);
            let every = least(|r| r.rotate_every.map(|e| e.0.unwrap_or(Span(i64::MAX))), Span::minutes(15));
            prop_assert_eq!(found.rotate_every.value.0.unwrap_or(never), every);
            let caps = |of: fn(&Rules) -> Option<u32>| -> Vec<(String, u32)> {
                matching.iter().filter_map(|(name, rules)| Some(((*name).clone(), of(rules)?))).collect()
            };
            let told = |caps: &[handstamp_core::policy::Cap]| -> Vec<(String, u32)> {
                let mut all: Vec<_> =
                    caps.iter().filter_map(|cap| Some((cap.of.as_ref()?.to_string(), cap.most))).collect();
                all.sort();
                all
            };
            prop_assert_eq!(told(&found.max_sessions), caps(|r| r.max_sessions));
            prop_assert_eq!(told(&found.seats), caps(|r| r.seats));
            if caps(|r| r.max_sessions).is_empty() {
                prop_assert_eq!(found.max_sessions[0].most, default.max_sessions.unwrap_or(10));
            }
            // What is said of a value names a section that said it.
            if let Origin::Tag(name) = &found.idle_timeout.origin {
                prop_assert_eq!(tags[&**name].idle_timeout, Some(found.idle_timeout.value));
            }
        }
    }
}
