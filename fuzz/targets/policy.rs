//! Policies as JSON: whatever is accepted is shown as what it was, makes sense as a whole, and combines without a panic;
//! nothing is accepted twice in two ways.
#![no_main]

use handstamp_server::http::parse::parse;
use handstamp_server::http::policies::PolicyRequest;
use handstamp_server::sections::show;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| {
    let Ok(policy) = parse::<PolicyRequest>(body).and_then(|ask| ask.read("")) else { return };
    assert!(policy.check().is_empty());
    let shown = show(&policy);
    let again = parse::<PolicyRequest>(shown.to_string().as_bytes()).and_then(|ask| ask.read(""));
    assert!(again.is_ok_and(|again| again == policy), "{shown}");
    let patterns: Vec<String> = policy.tag_rules().map(|(of, _)| of.to_string()).collect();
    let worn = patterns.iter().map(|pattern| pattern.replace('*', "x"));
    let worn: Vec<String> = worn.take(32).collect();
    let listed = policy.of_tags(worn.iter().map(String::as_str)).list();
    assert!(listed.len() >= 12);
});
