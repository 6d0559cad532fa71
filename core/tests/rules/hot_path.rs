//! What one validation costs inside the rules. No assertion: figures for people.
//!
//!     cargo test --release -p handstamp-core --test rules hot_path -- --ignored --nocapture

use crate::support::{World, plain, tag};
use handstamp_core::judge::{Demand, judge};
use handstamp_core::token::Kind;
use handstamp_core::token::opaque::{Holder, open};
use handstamp_core::transition::create::NewSession;
use std::hint::black_box;
use std::time::Instant;

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
}
