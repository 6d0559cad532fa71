//! Policies as JSON: whatever is accepted is shown as what it was, makes sense as a whole, and combines without a panic;
//! nothing is accepted twice in two ways.
#![no_main]

use handstamp_server::http::policies::PolicyRequest;
use handstamp_server::http::problem::Problem;
use handstamp_server::json;
use handstamp_server::sections::show;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| {
    let read = |body: &[u8]| -> Result<_, Problem> { json::parse::<PolicyRequest>(body)?.read("") };
    let Ok(policy) = read(body) else { return };
    assert!(policy.check().is_empty());
    let shown = show(&policy);
    let again = read(shown.to_string().as_bytes());
    assert!(again.is_ok_and(|again| again == policy), "{shown}");
    let patterns: Vec<String> = policy.tag_rules().map(|(of, _)| of.to_string()).collect();
    let worn = patterns.iter().map(|pattern| pattern.replace('*', "x"));
    let worn: Vec<String> = worn.take(32).collect();
    let listed = policy.of_tags(worn.iter().map(String::as_str)).list();
    assert!(listed.len() >= 12);
});
