//! The licence of a node: from the sending of what came back, and never longer.

use handstamp_core::licence::{LIFE, Probes, is_good, knows};
use handstamp_core::offline::clock::Tick;

/// Milliseconds.
fn at(ms: i64) -> Tick {
    Tick(ms * 1_000)
}

/// What happens, and what the licence is then.
enum Then {
    Sent(i64),
    /// Which came back, and until when there is a licence; `None`: no news.
    Back(u64, Option<i64>),
    Gap,
}
use Then::{Back, Gap, Sent};

#[test]
fn what_each_probe_is_worth() {
    let stories: &[(&str, &[Then])] = &[
        ("from the sending, however long the way", &[Sent(0), Back(1, Some(1_000))]),
        ("one after the other", &[Sent(0), Sent(250), Back(1, Some(1_000)), Back(2, Some(1_250))]),
        ("one is lost", &[Sent(0), Sent(250), Back(2, Some(1_250))]),
        (
            "an older one after a newer one says nothing",
            &[Sent(0), Sent(250), Back(2, Some(1_250)), Back(1, None)],
        ),
        ("one counts once", &[Sent(0), Back(1, Some(1_000)), Back(1, None)]),
        ("one that nobody sent", &[Sent(0), Back(7, None), Back(0, None)]),
        ("a gap forgets those on the way", &[Sent(0), Gap, Back(1, None), Sent(250), Back(2, Some(1_250))]),
        (
            "also two gaps",
            &[Sent(0), Gap, Sent(1), Gap, Back(1, None), Back(2, None), Sent(2), Back(3, Some(1_002))],
        ),
        (
            "one that eight others were sent after",
            &[
                Sent(0),
                Sent(1),
                Sent(2),
                Sent(3),
                Sent(4),
                Sent(5),
                Sent(6),
                Sent(7),
                Sent(8),
                Back(1, None),
                Back(2, Some(1_001)),
                Back(9, Some(1_008)),
            ],
        ),
    ];
    for (name, story) in stories {
        let (mut probes, mut sent) = (Probes::default(), 0);
        for (step, then) in story.iter().enumerate() {
            match then {
                Sent(ms) => {
                    sent += 1;
                    assert_eq!(probes.send(at(*ms)), sent, "{name}");
                }
                Back(number, until) => {
                    assert_eq!(probes.came_back(*number), until.map(at), "{name}, step {step}");
                }
                Gap => probes.gap(),
            }
        }
    }
}

#[test]
fn it_ends_at_its_end() {
    let until = Probes::default().send(at(500));
    assert_eq!(until, 1);
    assert_eq!(LIFE.0, 1_000);
    assert!(is_good(at(1_500), Tick(1_499_999)));
    assert!(!is_good(at(1_500), at(1_500)));
    assert!(!is_good(Tick(i64::MIN), Tick(i64::MIN)));
}

#[test]
fn a_licence_knows_what_was_before_its_probe_was_sent() {
    let sent = Tick(5_000_000);
    let until = sent.plus(LIFE);
    for (since, known) in [(4_999_999, true), (5_000_000, false), (5_000_001, false), (i64::MIN, true)] {
        assert_eq!(knows(until, Tick(since)), known, "{since}");
    }
}
