//! A user agent is written by a stranger: whatever it is, it takes little time, little memory, and is told with care.

use super::corpus;
use handstamp_core::agent::TEXT;
use handstamp_core::session::Client;
use handstamp_server::agents::{Agents, cut};
use handstamp_server::host::clock::instant;
use proptest::prelude::*;
use std::time::Duration;

#[test]
fn what_is_remembered_is_bounded() {
    let agents = Agents::default();
    let mut most = 0;
    for n in 0..20_000 {
        agents.parse(&format!("Mozilla/5.0 (made up {n}) {}", "x".repeat(n % 400)));
        most = most.max(agents.remembered());
    }
    assert!((1 << 20..=2 << 20).contains(&most), "{most}");
    let again = agents.parse("curl/8.5.0");
    assert!(std::sync::Arc::ptr_eq(&again, &agents.parse("curl/8.5.0")), "read once");
}

#[test]
fn no_text_takes_long() {
    let agents = Agents::default();
    let texts = corpus::texts();
    let words: Vec<&str> =
        texts.iter().flat_map(|text| text.split_inclusive(|c: char| !c.is_alphanumeric())).collect();
    // All patterns are compiled on the way; what is left is the search.
    texts.iter().for_each(|text| drop(agents.parse(text)));
    let mut hostile: Vec<String> = (0..2_000)
        .map(|n| (0..400).map(|m| words[(n * 7_919 + m * 104_729) % words.len()]).collect())
        .collect();
    for part in [
        "Mozilla/5.0 (",
        "; Android ",
        "CPU OS ",
        "-iPad/1.",
        "a",
        " CFNetwork",
        "AppleWebKit/1 Safari ",
        "1.1.",
        "holmes-",
    ] {
        hostile.push(part.repeat(512));
        hostile.push(format!("Mozilla/5.0 {}", part.repeat(512)));
    }
    let (mut slowest, mut worst) = (Duration::ZERO, "");
    for text in &hostile {
        let began = instant();
        agents.parse(text);
        if began.elapsed() > slowest {
            (slowest, worst) = (began.elapsed(), text);
        }
    }
    println!("slowest of {}: {slowest:?}: {}", hostile.len(), cut(worst));
    // Unoptimised, beside other tests; as released it is about a hundredth of this.
    assert!(slowest < Duration::from_millis(500), "{slowest:?}: {}", cut(worst));
}

#[test]
fn all_threads_read_the_same() {
    let agents = Agents::default();
    let texts = corpus::texts();
    let texts: Vec<&str> = texts.iter().step_by(37).map(String::as_str).collect();
    let alone: Vec<_> = texts.iter().map(|text| Agents::default().parse(text)).take(20).collect();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for (text, expected) in texts.iter().zip(&alone) {
                    assert_eq!(&agents.parse(text), expected, "{text}");
                }
            });
        }
    });
}

proptest! {
    #[test]
    fn whatever_comes_is_read_within_bounds(text in "(?s).{0,700}", tail in "[ -~]{0,60}") {
        let agents = Agents::default();
        for text in [text.clone(), format!("Mozilla/5.0 (Windows NT 10.0) {text}"), format!("{text}/1 CFNetwork {tail}")] {
            prop_assert!(cut(&text).len() <= Client::AGENT);
            let agent = agents.parse(&text);
            let view = agent.view();
            for part in [view.browser, view.os, view.os_version, view.model].into_iter().flatten() {
                prop_assert!(part.len() <= TEXT && !part.is_empty() && !part.chars().any(char::is_control));
            }
            prop_assert!(agent.display_name().len() <= 4 * TEXT + 40);
        }
    }
}
