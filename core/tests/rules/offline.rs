//! What a verifier beside the application says: what the feed ends, what needs fresh knowledge and what does not.

use handstamp_core::access_token::Reader;
use handstamp_core::epoch::Scope;
use handstamp_core::id::{Bucket, SessionId, UserId};
use handstamp_core::jose::claims::Claims;
use handstamp_core::jose::json::Members;
use handstamp_core::offline::clock::Tick;
use handstamp_core::offline::revoked::{Entry, Raise, Revoked};
use handstamp_core::offline::{Ask, Demand, Known, Said, judge, said_ago, speaks_of_the_user, unknown_key};
use handstamp_core::refusal::Code;
use handstamp_core::step_up::{Assured, Level};
use handstamp_core::tag::{Group, Tag};
use handstamp_core::time::{Millis, Span};

const NOW: Millis = Millis(1_700_000_100_000);
const READER: Reader<'static> =
    Reader { issuer: "handstamp:default/prd", audience: "default/prd", leeway: Span(0) };
const FRESH: Known = Known {
    now: Some(NOW),
    age: Some(Span(300)),
    bound: Span(2_000),
    whole: true,
    keys_age: Span(0),
    keys_bound: Span(900_000),
};

fn session(byte: u8) -> SessionId {
    SessionId::new(Millis(1_700_000_000_000), Bucket::new(7), [byte; 9])
}

fn claims() -> Claims {
    Claims {
        issuer: "handstamp:default/prd".to_owned(),
        audience: vec!["default/prd".to_owned()],
        subject: "ada".to_owned(),
        session: session(1),
        issued_at: 1_700_000_000,
        not_before: 1_700_000_000,
        expires_at: 1_700_000_300,
        id: "j1".to_owned(),
        tags: vec!["org:acme".to_owned(), "role:admin".to_owned()],
        groups: vec!["staff".to_owned()],
        methods: Vec::new(),
        level: Some(2),
        authenticated_at: Millis(1_700_000_000_000),
        actor: None,
        epoch: 4,
        data: None,
        status: None,
        custom: Members::default(),
    }
}

fn tags(tags: &[&str]) -> Vec<Tag> {
    tags.iter().map(|tag| Tag::parse(tag).unwrap()).collect()
}

fn raise(scope: Scope, epoch: u64, except: Option<SessionId>) -> Entry {
    Entry::Raise(Raise { scope, epoch, except, until: NOW })
}

#[test]
fn what_an_entry_ends() {
    let user = |name: &str| Scope::User(UserId::new(name).unwrap());
    let tagged = |names: &[&str]| Scope::Tags(tags(names));
    for (entry, ends) in [
        (Entry::Session { session: session(1), until: NOW }, true),
        (Entry::Session { session: session(2), until: NOW }, false),
        (raise(Scope::All, 5, None), true),
        (raise(Scope::All, 4, None), false),
        (raise(Scope::All, 3, None), false),
        (raise(Scope::All, u64::MAX, Some(session(1))), false),
        (raise(Scope::All, 5, Some(session(2))), true),
        (raise(user("ada"), 5, None), true),
        (raise(user("Ada"), 5, None), false),
        (raise(user("ada"), 4, None), false),
        (raise(user("ada"), 5, Some(session(1))), false),
        (raise(tagged(&["role:admin"]), 5, None), true),
        (raise(tagged(&["role:admin"]), 4, None), false),
        (raise(tagged(&["org:acme", "role:admin"]), 5, None), true),
        (raise(tagged(&["org:acme", "role:user"]), 5, None), false),
        (raise(tagged(&["role:adm"]), 5, None), false),
        (raise(tagged(&["role:admin"]), 5, Some(session(1))), false),
        (raise(tagged(&[]), 5, None), false),
    ] {
        let mut revoked = Revoked::default();
        assert!(!revoked.ends(&claims()));
        revoked.add(entry.clone());
        assert_eq!(revoked.ends(&claims()), ends, "{entry:?}");
        // One entry never hides another.
        revoked.add(Entry::Session { session: session(9), until: NOW });
        revoked.add(raise(Scope::All, 1, None));
        assert_eq!(revoked.ends(&claims()), ends, "{entry:?}");
    }
}

#[test]
fn an_entry_stays_as_long_as_anybody_said() {
    let later = Millis(NOW.0 + 10);
    for (one, two) in [
        (
            Entry::Session { session: session(1), until: NOW },
            Entry::Session { session: session(1), until: later },
        ),
        (
            raise(Scope::All, 5, None),
            Entry::Raise(Raise { scope: Scope::All, epoch: 5, except: None, until: later }),
        ),
    ] {
        for order in [[one.clone(), two.clone()], [two, one]] {
            let mut revoked = Revoked::default();
            order.into_iter().for_each(|entry| revoked.add(entry));
            assert_eq!(revoked.len(), 1, "the same entry twice is one");
            revoked.forget(later);
            assert!(revoked.ends(&claims()), "at its very end it still stands");
            revoked.forget(Millis(later.0 + 1));
            assert!(!revoked.ends(&claims()) && revoked.is_empty());
        }
    }
    // Two raises that spare different sessions are two: together they spare nobody.
    let mut revoked = Revoked::default();
    revoked.add(raise(Scope::All, 5, Some(session(1))));
    revoked.add(raise(Scope::All, 5, Some(session(2))));
    assert!(revoked.len() == 2 && revoked.ends(&claims()));
}

fn said(claims: &Claims, ended: bool, demand: &Demand, known: &Known) -> String {
    match judge(claims, READER, ended, demand, known) {
        Said::Yes => "yes".to_owned(),
        Said::No(refusal) => refusal.code.text().to_owned(),
        Said::Ask(why) => format!("ask: {}", format!("{why:?}").split(' ').next().unwrap_or_default()),
    }
}

#[test]
fn yes_needs_all_of_it_and_no_needs_nothing() {
    let doubts = [
        (Known { now: None, age: None, ..FRESH }, "ask: NotHeard"),
        (Known { age: None, ..FRESH }, "ask: NotHeard"),
        (Known { age: Some(Span(2_001)), ..FRESH }, "ask: Stale"),
        (Known { whole: false, ..FRESH }, "ask: Incomplete"),
        (Known { keys_age: Span(900_001), ..FRESH }, "ask: OldKeys"),
        (Known { keys_age: Span::FOREVER, ..FRESH }, "ask: NoKeys"),
        (Known { keys_age: Span::FOREVER, keys_bound: Span::FOREVER, ..FRESH }, "ask: NoKeys"),
    ];
    let good = claims();
    let none = Demand::default();
    assert_eq!(said(&good, false, &none, &FRESH), "yes");
    let edge = Known { age: Some(Span(2_000)), keys_age: Span(900_000), ..FRESH };
    assert_eq!(said(&good, false, &none, &edge), "yes", "at the bound");
    let other = |change: fn(&mut Claims)| {
        let mut claims = claims();
        change(&mut claims);
        claims
    };
    for (known, ask) in doubts {
        assert_eq!(said(&good, false, &none, &known), ask);
        assert_eq!(said(&good, true, &none, &known), "session_revoked", "{ask}");
        let elsewhere = other(|all| all.audience = vec!["x".to_owned()]);
        assert_eq!(said(&elsewhere, false, &none, &known), "token_audience_mismatch", "{ask}");
        let strange = other(|all| all.issuer = "x".to_owned());
        assert_eq!(said(&strange, false, &none, &known), "token_malformed", "{ask}");
        let over = other(|all| all.expires_at = 1_700_000_100);
        let code = if known.now.is_some() { "token_expired" } else { "ask: NotHeard" };
        assert_eq!(said(&over, false, &none, &known), code, "{ask}");
        let early = other(|all| all.not_before = 1_700_000_101);
        assert_eq!(said(&early, false, &none, &known), ask, "a newer word may lift it");
        let demand = Demand { tags: tags(&["role:root"]), ..Demand::default() };
        assert_eq!(said(&good, false, &demand, &known), ask, "the session may have it by now");
    }
    assert_eq!(
        said(&other(|all| all.not_before = 1_700_000_101), false, &none, &FRESH),
        "token_not_yet_valid"
    );
    assert_eq!(said(&other(|all| all.expires_at = 1_700_000_100), false, &none, &FRESH), "token_expired");
}

#[test]
fn a_leeway_is_for_the_beginning_alone() {
    let lenient = Reader { leeway: Span::secs(5), ..READER };
    for (from, until, passes) in [
        (1_700_000_105, 1_700_000_300, true),
        (1_700_000_106, 1_700_000_300, false),
        (1_700_000_000, 1_700_000_101, true),
        (1_700_000_000, 1_700_000_100, false),
        (1_700_000_000, 1_700_000_099, false),
    ] {
        let all = Claims { not_before: from, expires_at: until, ..claims() };
        let said = judge(&all, lenient, false, &Demand::default(), &FRESH);
        assert_eq!(said == Said::Yes, passes, "{from} {until}");
    }
}

#[test]
fn the_order_of_refusals() {
    let demand = Demand {
        tags: tags(&["role:root"]),
        groups: vec![Group::parse("board").unwrap()],
        assured: Assured { level: Level::new(3), max_age: None },
        ..Demand::default()
    };
    let mut worst = claims();
    worst.issuer = "x".to_owned();
    worst.audience = vec!["x".to_owned()];
    worst.expires_at = 1_700_000_100;
    let mut seen = Vec::new();
    seen.push(said(&worst, true, &demand, &FRESH));
    worst.issuer = claims().issuer;
    seen.push(said(&worst, true, &demand, &FRESH));
    worst.audience = claims().audience;
    seen.push(said(&worst, true, &demand, &FRESH));
    worst.expires_at = claims().expires_at;
    seen.push(said(&worst, true, &demand, &FRESH));
    seen.push(said(&worst, false, &demand, &FRESH));
    worst.tags.push("role:root".to_owned());
    seen.push(said(&worst, false, &demand, &FRESH));
    worst.groups.push("board".to_owned());
    seen.push(said(&worst, false, &demand, &FRESH));
    worst.level = Some(3);
    seen.push(said(&worst, false, &demand, &FRESH));
    assert_eq!(
        seen,
        [
            "token_malformed",
            "token_audience_mismatch",
            "token_expired",
            "session_revoked",
            "tag_missing",
            "access_group_missing",
            "reauthentication_required",
            "yes"
        ]
    );
}

#[test]
fn demands_look_at_what_the_token_says() {
    let assured = |max_age, level| Demand {
        assured: Assured { max_age, level: Level::new(level) },
        ..Demand::default()
    };
    for (demand, says) in [
        (Demand { tags: tags(&["org:acme", "role:admin"]), ..Demand::default() }, "yes"),
        (Demand { tags: tags(&["org:acme", "role:user"]), ..Demand::default() }, "tag_missing"),
        (Demand { groups: vec![Group::parse("staff").unwrap()], ..Demand::default() }, "yes"),
        (
            Demand { groups: vec![Group::parse("Staff").unwrap()], ..Demand::default() },
            "access_group_missing",
        ),
        (assured(None, 2), "yes"),
        (assured(None, 3), "reauthentication_required"),
        (assured(Some(Span::secs(100)), 0), "yes"),
        (assured(Some(Span(99_999)), 0), "reauthentication_required"),
        (assured(Some(Span::secs(100)), 2), "yes"),
    ] {
        assert_eq!(said(&claims(), false, &demand, &FRESH), says, "{demand:?}");
    }
    let unsaid = Claims { level: None, ..claims() };
    assert_eq!(said(&unsaid, false, &assured(None, 1), &FRESH), "yes");
    assert_eq!(said(&unsaid, false, &assured(None, 2), &FRESH), "reauthentication_required");
}

#[test]
fn rules_that_a_question_gives_nothing_to_say_nothing_of_the_user() {
    for code in Code::VERDICTS {
        let untold = ["ip_missing", "device_proof_missing", "device_proof_stale", "device_proof_invalid"];
        assert_eq!(speaks_of_the_user(*code), !untold.contains(&code.text()), "{}", code.text());
    }
}

#[test]
fn a_key_that_is_not_known_is_no_key_only_when_the_keys_are_newer_than_the_question() {
    for (confirmed, asked, made_up) in
        [(None, 0, false), (Some(999), 1_000, false), (Some(1_000), 1_000, false), (Some(1_001), 1_000, true)]
    {
        match unknown_key(confirmed.map(Tick), Tick(asked)) {
            Said::No(refusal) => assert!(made_up && refusal.code == Code::TokenMalformed),
            said => assert!(!made_up && said == Said::Ask(Ask::UnknownKey), "{confirmed:?} {asked}"),
        }
    }
}

#[test]
fn an_answer_was_said_as_long_ago_as_caches_say() {
    for (age, ago) in [
        (&[][..], Span(0)),
        (&["0"], Span(0)),
        (&["30"], Span::secs(30)),
        (&[" 30 "], Span::secs(30)),
        (&["5, 30"], Span::secs(30)),
        (&["30", "5"], Span::secs(30)),
        // What is no number says nothing (RFC 9111, section 5.1); one that is too great says that it is very old.
        (&["soon"], Span(0)),
        (&["-5"], Span(0)),
        (&["+5"], Span(0)),
        (&["1.5"], Span(0)),
        (&[""], Span(0)),
        (&["99999999999999999999999"], Span::secs(1 << 31)),
        (&["2147483649"], Span::secs(1 << 31)),
    ] {
        assert_eq!(said_ago(age.iter().copied()), ago, "{age:?}");
    }
}
