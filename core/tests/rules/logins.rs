//! One-time codes: who may exchange which, both sides of each boundary; and that nobody has the token before.

use crate::support::{ENV, Held, START, World, login, plain, ring};
use handstamp_core::event::EventKind;
use handstamp_core::id::{EnvironmentId, KeyId};
use handstamp_core::judge::Demand;
use handstamp_core::login::{Ahead, Challenge, KEPT, LIFE, Pending, Presented, is_secret};
use handstamp_core::origin::{Allowed, WebOrigin};
use handstamp_core::redirect::ReturnTo;
use handstamp_core::refusal::{Code, Refusal};
use handstamp_core::session::{By, Client};
use handstamp_core::time::Span;
use handstamp_core::token::opaque::open;
use handstamp_core::token::{Kind, Unreadable};
use handstamp_core::transition::create::{NewSession, create, repeat};
use handstamp_core::transition::redeem::{Redeemed, redeem};
use handstamp_core::transition::update::authenticate;
use handstamp_core::user::User;

const APP: &str = "https://app.example.org";
/// The example of RFC 7636, appendix B.
const SECRET: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

fn allowed(origins: &[&str]) -> Allowed {
    origins.iter().map(|text| WebOrigin::parse(text).unwrap()).collect()
}

fn ahead(challenge: Option<&str>) -> Ahead {
    Ahead {
        return_to: ReturnTo::parse(&format!("{APP}/data?x=1")).unwrap(),
        challenge: challenge.map(|text| Challenge::parse(text).unwrap()),
    }
}

/// A session with a code, the code's text and record, and the token that nobody knows.
struct Made {
    held: Held,
    code: String,
    pending: Pending,
    token: String,
}

fn make(world: &mut World, new: NewSession) -> Made {
    let entropy = world.draw();
    let user = User::new(new.user.clone());
    let made = create(world.ground(), new, user, &entropy).unwrap();
    let (code, pending) = made.code.unwrap();
    let held = Held { session: made.change.session, user: made.change.user.unwrap(), seen: world.now };
    let token = made.issued.session.reveal().to_owned();
    Made { held, code: code.reveal().to_owned(), pending, token }
}

fn plainly(world: &mut World, challenge: Option<&str>) -> Made {
    make(world, NewSession { login: Some(ahead(challenge)), ..plain() })
}

fn exchange(world: &World, made: &Made, presented: Presented<'_>) -> Result<Redeemed, Refusal> {
    let code = open(Kind::LoginCode, world.env, &made.code, &world.keys).ok().unwrap();
    let living = world.ground().living(&made.held.session, made.held.seen)?;
    redeem(living, &made.pending, &code, presented, &allowed(&[APP]), By::Key(KeyId([1; 16])))
}

fn refused(world: &World, made: &Made, origin: &str, secret: Option<&str>) -> Code {
    exchange(world, made, Presented { origin, secret }).err().unwrap().code
}

const PLAIN: Presented<'_> = Presented { origin: APP, secret: None };

#[test]
fn a_code_gives_the_token_that_the_session_was_made_with() {
    let mut world = World::new();
    let made = plainly(&mut world, None);
    assert!(made.code.starts_with("hsc_") && made.token.starts_with("hst_"));
    assert_eq!(
        (made.pending.until, made.pending.forget_at()),
        (START.plus(LIFE), START.plus(LIFE).plus(KEPT))
    );
    world.tick(Span(LIFE.0 - 1));
    let done = exchange(&world, &made, PLAIN).ok().unwrap();
    assert_eq!(done.issued.session.reveal(), made.token);
    assert!(done.issued.refresh.is_none());
    let event = &done.event;
    assert_eq!(
        (event.kind, event.at, event.note.as_deref()),
        (EventKind::LoginExchanged, world.now, Some(APP))
    );
    assert_eq!((event.session, &event.by), (Some(made.held.session.id), &By::Key(KeyId([1; 16]))));
    assert_eq!(done.pending.used_at, Some(world.now));
    assert!(world.verdict(&made.held, &made.token, Demand::default()).refusal.is_none());
    // The code itself opens nothing.
    assert_eq!(open(Kind::Session, ENV, &made.code, &world.keys).err(), Some(Unreadable::WrongKind));
    assert_eq!(open(Kind::LoginCode, ENV, &made.token, &world.keys).err(), Some(Unreadable::WrongKind));
    assert_eq!(
        open(Kind::LoginCode, EnvironmentId(8), &made.code, &world.keys).err(),
        Some(Unreadable::Malformed)
    );
}

#[test]
fn a_code_works_once_and_for_a_minute() {
    let mut world = World::new();
    let made = plainly(&mut world, None);
    world.tick(LIFE);
    let late = exchange(&world, &made, PLAIN).err().unwrap();
    assert_eq!((late.code, late.detail().as_str()), (Code::LoginCodeExpired, "login_code 1m, allowed 1m"));
    let mut world = World::new();
    let mut made = plainly(&mut world, None);
    made.pending = exchange(&world, &made, PLAIN).ok().unwrap().pending;
    assert_eq!(refused(&world, &made, APP, None), Code::LoginCodeUsed);
    world.tick(LIFE);
    assert_eq!(refused(&world, &made, APP, None), Code::LoginCodeUsed, "used is said rather than late");
}

#[test]
fn a_code_is_for_one_origin() {
    let mut world = World::new();
    let made = plainly(&mut world, None);
    for origin in [
        "https://other.example.org",
        "http://app.example.org",
        "https://app.example.org/",
        "https://app.example.org/data?x=1",
        "https://app.example.org:443",
        "https://APP.example.org",
        "",
        "null",
    ] {
        assert_eq!(refused(&world, &made, origin, None), Code::LoginCodeInvalid, "{origin}");
    }
    let code = world.open(&made.code);
    let living = world.ground().living(&made.held.session, made.held.seen).unwrap();
    for list in [&[][..], &["https://other.example.org"]] {
        let done = redeem(living, &made.pending, &code, PLAIN, &allowed(list), By::System);
        assert_eq!(done.err().unwrap().code, Code::RedirectNotAllowed, "taken off the list since");
    }
    assert!(exchange(&world, &made, PLAIN).is_ok(), "none of these has used it up");
}

#[test]
fn a_code_is_for_who_has_the_secret() {
    let mut world = World::new();
    let bound = plainly(&mut world, Some(CHALLENGE));
    assert_eq!(bound.pending.ahead.challenge.unwrap().text(), CHALLENGE);
    let near = SECRET.replace("dBj", "dBk");
    for secret in [None, Some(""), Some(CHALLENGE), Some(near.as_str()), Some(&SECRET[1..])] {
        assert_eq!(refused(&world, &bound, APP, secret), Code::LoginCodeInvalid, "{secret:?}");
    }
    assert!(exchange(&world, &bound, Presented { origin: APP, secret: Some(SECRET) }).is_ok());
    let unbound = plainly(&mut world, None);
    assert_eq!(
        refused(&world, &unbound, APP, Some(SECRET)),
        Code::LoginCodeInvalid,
        "slipped to the application"
    );

    for bad in [
        "",
        "x",
        &CHALLENGE[1..],
        &format!("{CHALLENGE}="),
        &format!("{CHALLENGE}A"),
        &CHALLENGE.replace('-', "+"),
    ] {
        assert!(Challenge::parse(bad).is_none(), "{bad}");
    }
    // The last character has two bits more than the challenge: one way to write it.
    assert!(Challenge::parse(&CHALLENGE.replace("-cM", "-cN")).is_none());
    let of = |n: usize| "a".repeat(n);
    for (text, is) in [
        (of(42), false),
        (of(43), true),
        (of(128), true),
        (of(129), false),
        (of(42) + "+", false),
        (of(42) + "~", true),
    ] {
        assert_eq!(is_secret(&text), is, "{text}");
    }
}

#[test]
fn a_code_is_for_one_session() {
    let mut world = World::new();
    let (one, other) = (plainly(&mut world, None), plainly(&mut world, None));
    let try_with = |held: &Held, pending: &Pending, code: &str| {
        let living = world.ground().living(&held.session, held.seen).unwrap();
        redeem(living, pending, &world.open(code), PLAIN, &allowed(&[APP]), By::System).err().map(|r| r.code)
    };
    assert_eq!(try_with(&one.held, &one.pending, &one.code), None);
    assert_eq!(try_with(&one.held, &one.pending, &other.code), Some(Code::LoginCodeInvalid));
    assert_eq!(try_with(&one.held, &other.pending, &one.code), Some(Code::LoginCodeInvalid));
    // A record that was moved to another session or user.
    let moved = Pending { session: one.held.session.id, ..other.pending.clone() };
    assert_eq!(try_with(&one.held, &moved, &one.code), Some(Code::LoginCodeInvalid));
    let mut renamed = one.held.clone();
    renamed.session.user = crate::support::user("bob");
    assert_eq!(try_with(&renamed, &one.pending, &one.code), Some(Code::LoginCodeInvalid));
    // A session or refresh token in its place.
    assert_eq!(try_with(&one.held, &one.pending, &one.token), Some(Code::LoginCodeInvalid));
}

#[test]
fn a_session_whose_credentials_were_replaced_or_that_is_over_is_not_handed_out() {
    let mut world = World::new();
    let mut made = plainly(&mut world, None);
    let entropy = world.draw();
    let living = world.ground().living(&made.held.session, made.held.seen).unwrap();
    let again = authenticate(living, login(), &Client::default(), By::System, &entropy).unwrap().unwrap();
    let before = made.held.clone();
    made.held.keep(again.0);
    assert_eq!(refused(&world, &made, APP, None), Code::LoginCodeUsed);
    made.held = before;
    made.held.seen = START.minus(Span::hours(2));
    assert_eq!(refused(&world, &made, APP, None), Code::SessionIdle);
}

#[test]
fn older_key_sets_still_exchange() {
    let mut world = World::new();
    let made = plainly(&mut world, None);
    world.keys = ring(2, &[1]);
    assert_eq!(exchange(&world, &made, PLAIN).ok().unwrap().issued.session.reveal(), made.token);
}

#[test]
fn a_repeated_request_gets_the_same_code() {
    let mut world = World::new();
    let request = [7; 32];
    let new = NewSession { login: Some(ahead(None)), idempotency: Some(request), ..plain() };
    let made = make(&mut world, new);
    world.tick(Span::secs(10));
    let again =
        |world: &World, ahead: Option<&Ahead>| repeat(world.ground(), &made.held.session, &request, ahead);
    let same = again(&world, Some(&ahead(None))).unwrap();
    assert_eq!(same.code.unwrap().reveal(), made.code);
    assert_eq!(same.issued.session.reveal(), made.token);
    assert!(again(&world, None).is_none(), "it was made with a code");
    assert!(exchange(&world, &made, PLAIN).is_ok());
}
