//! What one validation costs inside the rules: figures for people, and a bound where one was promised.
//!
//!     cargo test --release -p handstamp-core --test rules hot_path -- --ignored --nocapture

use crate::support::{World, plain, tag};
use handstamp_core::address::{AddressRules, Network, Networks, judge as judge_address};
use handstamp_core::judge::{Demand, judge};
use handstamp_core::policy::modes::OnAddress;
use handstamp_core::policy::{Origin, Sourced};
use handstamp_core::policy::{Pattern, Policy, Rules};
use handstamp_core::session::Client;
use handstamp_core::time::Span;
use handstamp_core::token::Kind;
use handstamp_core::token::opaque::{Holder, open};
use handstamp_core::transition::create::NewSession;
use handstamp_core::whereabouts::Whereabouts;
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

#[expect(clippy::disallowed_methods, reason = "a measurement")]
fn measure<T>(what: &str, mut work: impl FnMut() -> T) {
    const ROUNDS: u32 = 200_000;
    let mut best = f64::MAX;
    for _ in 0..5 {
        let start = Instant::now();
        for _ in 0..ROUNDS {
            black_box(work());
        }
        best = best.min(start.elapsed().as_secs_f64() * 1e9 / f64::from(ROUNDS));
    }
    println!("{what:<40} {best:>8.0} ns");
}

#[test]
#[ignore = "a measurement, for a release build"]
fn hot_path() {
    let mut world = World::new();
    let tags = vec![tag("role:admin"), tag("org:acme")];
    let (held, texts) = world.create(NewSession { tags, ..plain() });
    let effective = world.effective(&held.session);
    let text = texts.session.as_str();
    let opened = world.open(text);
    let holder = Holder { env: world.env, session: held.session.id, user: held.session.user.as_str() };
    let changed = text.replace("hst_05", "hst_04");
    let demand = Demand { can_deliver: true, ..Demand::default() };
    measure("open (read, checksum, MAC)", || {
        open(Kind::Session, world.env, black_box(text), &world.keys).is_ok()
    });
    measure("open of garbage", || open(Kind::Session, world.env, black_box(&changed), &world.keys).is_ok());
    measure("verifier", || black_box(&opened).verifier(holder, &world.keys));
    measure("effective policy", || world.effective(black_box(&held.session)));
    measure("judge (with verifier)", || {
        let bench = world.ground().bench();
        judge(black_box(&held.session), held.seen, &opened, bench, &effective, demand, world.now)
    });
    measure("all of it", || {
        let opened = open(Kind::Session, world.env, black_box(text), &world.keys).ok().unwrap();
        let effective = world.effective(&held.session);
        let bench = world.ground().bench();
        judge(&held.session, held.seen, &opened, bench, &effective, demand, world.now)
    });
    measure("entropy and creation", || world.create(plain()));
    addresses();
    five_tags();
}

/// The whole judgement of a session with five tags: without a policy, and with a section for each tag and ten thousand
/// networks.
fn five_tags() {
    let mut world = World::new();
    let tags = ["org:acme", "plan:team", "region:eu", "role:admin", "team:blue"].map(tag).to_vec();
    let client = Client { ip: Some("11.19.134.7".parse().unwrap()), ..Client::default() };
    let (held, texts) = world.create(NewSession { tags, client, ..plain() });
    let opened = world.open(&texts.session);
    let from = Whereabouts { ip: Some("11.19.134.7".parse().unwrap()), agent: None };
    let demand = Demand { from, ..Demand::default() };
    let judged = |world: &World| {
        let effective = world.effective(black_box(&held.session));
        judge(&held.session, held.seen, &opened, world.ground().bench(), &effective, demand, world.now)
    };
    measure("five tags, no sections", || judged(&world));
    let idle = |hours| Rules { idle_timeout: Some(Span::hours(hours)), ..Rules::default() };
    let list = Rules { ip_allow: Some(Arc::new(ten_thousand())), ..idle(12) };
    let logs = Rules { ip_change: Some(OnAddress::Log), ..idle(13) };
    let sections = [
        ("org:*", list),
        ("plan:team", idle(14)),
        ("region:*", logs),
        ("role:*", idle(15)),
        ("team:blue", idle(16)),
    ];
    let sections = sections.into_iter().map(|(of, rules)| (Pattern::parse(of).unwrap(), rules)).collect();
    world.policy = Policy::new(Rules::default(), sections);
    assert_eq!(judged(&world).refusal, None);
    measure("five tags, five sections: effective", || {
        world.effective(black_box(&held.session)).idle_timeout.value
    });
    measure("five tags, five sections: all of it", || judged(&world));
}

/// Of the default and five tags; half of the lists hold ten thousand networks each.
fn addresses() {
    let ip = |text: &str| black_box(text.parse::<IpAddr>().unwrap());
    let (known, now) = (ip("11.19.134.7"), ip("11.19.134.99"));
    let big = Arc::new(ten_thousand());
    let list = || Sourced { value: big.clone(), origin: Origin::Default };
    measure("10,000 networks: contained (v4)", || black_box(&big).contains(now));
    measure("10,000 networks: contained (v6)", || black_box(&big).contains(ip("2001:db8:800::1")));
    measure("10,000 networks: not contained", || black_box(&big).contains(ip("198.51.100.7")));
    let none = Sourced { value: Arc::default(), origin: Origin::Default };
    let change = Sourced { value: OnAddress::End, origin: Origin::Default };
    let rules = AddressRules { allow: vec![list(), list(), list()], block: vec![none; 3], change };
    measure("rule about addresses, 3 lists of 10,000", || {
        judge_address(black_box(&rules), Some(known), Some(now))
    });
}

/// Ten thousand networks of both families, none of which touches another.
fn ten_thousand() -> Networks {
    let four = (0..5_000u32).map(|n| IpAddr::from(Ipv4Addr::from_bits(0x0b00_0000 + (n << 9))));
    let six = (0..5_000u128).map(|n| IpAddr::from(Ipv6Addr::from_bits((0x2001_0db8 << 96) + (n << 81))));
    let networks =
        four.filter_map(|ip| Network::around(ip, 24)).chain(six.filter_map(|ip| Network::around(ip, 48)));
    let networks: Networks = networks.collect();
    assert_eq!(networks.listed().len(), 10_000);
    networks
}

/// The best of many rounds, so that a busy machine does not fail it. An optimised build must keep the promise itself (0.5
/// us); one for tests is about ten times slower, and a look at every entry would still take it fifty times longer.
#[test]
#[expect(clippy::disallowed_methods, reason = "a measurement")]
fn ten_thousand_networks_cost_next_to_nothing() {
    let (networks, ip) = (ten_thousand(), |text: &str| text.parse::<IpAddr>().unwrap());
    let asked = [ip("11.19.134.7"), ip("11.39.15.1"), ip("198.51.100.7"), ip("2001:db8:800::1"), ip("::1")];
    assert_eq!(asked.map(|ip| networks.contains(ip)), [true, false, false, true, false]);
    let best = (0..50).map(|_| {
        let began = Instant::now();
        for _ in 0..200 {
            for ip in asked {
                black_box(black_box(&networks).contains(black_box(ip)));
            }
        }
        began.elapsed() / 1_000
    });
    let best = best.min().unwrap();
    let most = Duration::from_nanos(if cfg!(debug_assertions) { 5_000 } else { 500 });
    assert!(best < most, "{best:?}");
}
