//! What budgets remember: how much memory that takes at most, whom it forgets first, and that it counts exactly.

use super::full;
use handstamp_core::id::EnvironmentId;
use handstamp_core::policy::modes::Rate;
use handstamp_core::rate::{Names, Payer};
use handstamp_core::time::Millis;
use handstamp_core::token::keyring::MasterKey;
use handstamp_server::app::rates::debts::{Debts, Usage};
use handstamp_server::host::process;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Barrier;
use std::sync::atomic::{AtomicU32, Ordering};

const NOW: Millis = Millis(1_767_225_600_000);

fn rate(text: &str) -> Rate {
    Rate::parse(text).unwrap()
}

fn at(ms: i64) -> Millis {
    Millis(NOW.0 + ms)
}

/// The name of the `n`th of many: any numbers will do, as names are keyed hashes.
fn name(n: u64) -> u64 {
    // The finalizer of SplitMix64: one to one.
    let n = (n ^ (n >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let n = (n ^ (n >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    (n ^ (n >> 31)).max(1)
}

fn resident() -> u64 {
    process::usage().expect("this system says it").resident_bytes
}

/// Processor time of this process, in seconds: what else the machine does is not in it.
fn cpu() -> f64 {
    process::usage().expect("this system says it").cpu_seconds
}

/// Lets `count` others spend one request each, at one instant, while somebody goes on who has spent a whole budget; then
/// looks what is left of memory and of that debt.
fn flood(count: u64, name: impl Fn(u64) -> u64) {
    let (debts, rate) = (Debts::default(), rate("50/1h"));
    let known = name(0);
    for _ in 0..50 {
        debts.spend(known, rate, NOW).unwrap();
    }
    let (before, began) = (resident(), cpu());
    let (mut most, mut first) = (Usage::default(), 0.0);
    for n in 1..=count {
        if n == count / 4 {
            first = cpu() - began;
        }
        let standing = debts.spend(name(n), rate, NOW).unwrap();
        assert_eq!(standing.remaining, 49, "{n}: somebody new has a whole budget");
        if n % 100_000 == 0 {
            most.bytes = most.bytes.max(debts.usage().bytes);
            assert!(debts.spend(known, rate, NOW).is_err(), "{n}: whoever owes most is not forgotten");
        }
    }
    let (usage, grown, took) = (debts.usage(), resident().saturating_sub(before), cpu() - began);
    // The first quarter finds the table empty, the last one full.
    assert!(took < 16.0 * first + 1.0, "{first} s for the first quarter, {took} s for all: names crowd");
    println!("{count}: {usage:?}, most {} bytes; resident memory grew by {grown} bytes", most.bytes);
    assert!(most.bytes <= Debts::BYTES && usage.bytes <= Debts::BYTES, "{} and {usage:?}", most.bytes);
    // Beside the table: the copy of one part while it is laid out, and what the allocator holds on to.
    assert!(grown <= Debts::BYTES as u64 + (8 << 20), "{grown}");
    assert!(usage.held >= Debts::ROOM / 2, "{usage:?}");
    assert_eq!(usage.held as u64 + usage.evicted, count + 1, "everybody is held, or was counted as gone");
    // When all is paid, all of it is given back.
    debts.tidy(at(3_600_000));
    assert_eq!(debts.usage(), Usage { held: 0, bytes: debts.usage().bytes, evicted: usage.evicted });
    assert!(debts.usage().bytes <= 64 * 1024, "{:?}", debts.usage());
}

/// Real addresses, each in a network of its own: ten million with `./test --full`, else more than it has room for.
#[test]
fn any_number_of_addresses_takes_no_more_memory_than_was_said() {
    let names = Names::new(&MasterKey::new([5; 32]));
    let ip = |n: u64| IpAddr::V6(Ipv6Addr::from_bits((0x2001_0db8 << 96) | (u128::from(n) << 64) | 1));
    let count = if full() { 10_000_000 } else { Debts::ROOM as u64 / 2 * 3 };
    flood(count, |n| names.of(&Payer::Address(EnvironmentId(1), ip(n))));
}

/// Whoever owes more is remembered longer, also among those who owe different times.
#[test]
fn those_go_first_who_would_have_paid_first() {
    let (debts, rate) = (Debts::default(), rate("1000/1h"));
    // Every hundredth owes nine requests, the others one.
    let heavy = |n: u64| n.is_multiple_of(100);
    let count = Debts::ROOM as u64 / 4 * 5;
    for n in 1..=count {
        for _ in 0..if heavy(n) { 9 } else { 1 } {
            debts.spend(name(n), rate, NOW).unwrap();
        }
    }
    assert!(debts.usage().evicted > count / 4, "{:?}", debts.usage());
    for n in (1..=count).filter(|n| heavy(*n)) {
        assert_eq!(debts.spend(name(n), rate, NOW).unwrap().remaining, 990, "{n}");
    }
}

/// What is paid makes room, so that nobody has to go who owes something.
#[test]
fn whoever_has_paid_goes_before_anybody_who_owes() {
    let (debts, slow, quick) = (Debts::default(), rate("2/1d"), rate("1000/1s"));
    let some = 1_000;
    for n in 1..=some {
        debts.spend(name(n), slow, NOW).unwrap();
    }
    // A crowd that comes and goes: each owes a millisecond.
    for n in 0..Debts::ROOM as u64 {
        debts.spend(name(some + 1 + n), quick, at(i64::try_from(n).unwrap())).unwrap();
    }
    let usage = debts.usage();
    assert_eq!(usage.evicted, 0, "{usage:?}");
    assert!(usage.bytes < Debts::BYTES / 16, "the crowd left no room behind: {usage:?}");
    for n in 1..=some {
        assert_eq!(debts.spend(name(n), slow, at(1)).unwrap().remaining, 0, "{n}");
    }
}

/// Many at once, on names that they share and on names that make the table grow meanwhile.
#[test]
fn however_many_ask_together_exactly_the_budget_passes() {
    const CROWD: u32 = 8;
    const SHARED: u64 = 64;
    let (debts, rate) = (Debts::default(), rate("500/1h"));
    let passed: Vec<AtomicU32> = (0..SHARED).map(|_| AtomicU32::new(0)).collect();
    let start = Barrier::new(CROWD as usize);
    std::thread::scope(|scope| {
        for of in 0..CROWD {
            let (debts, passed, start) = (&debts, &passed, &start);
            scope.spawn(move || {
                start.wait();
                for turn in 0..200_u64 {
                    for (n, passed) in (0..).zip(passed) {
                        // 1,600 tries of each, a third of which there is a place for.
                        if debts.spend(name(n), rate, NOW).is_ok() {
                            passed.fetch_add(1, Ordering::Relaxed);
                        }
                        let other = SHARED + n + SHARED * (turn + 200 * u64::from(of));
                        assert_eq!(debts.spend(name(other), rate, NOW).unwrap().remaining, 499, "{other}");
                    }
                }
            });
        }
    });
    assert!(passed.iter().all(|count| count.load(Ordering::Relaxed) == 500), "{passed:?}");
    let usage = debts.usage();
    assert_eq!((usage.held as u64, usage.evicted), (SHARED + SHARED * 200 * u64::from(CROWD), 0));
}
