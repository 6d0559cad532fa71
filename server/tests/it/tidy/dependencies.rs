//! What is built in: licences that this project may pass on, and no crate that was found wanting.

use super::{clean, finds, root};
use std::process::Command;

/// Licences that ask for no more than their text. An expression passes when one side of each `OR`, and both sides of
/// each `AND`, are here.
const LICENCES: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "MIT",
    "Unicode-3.0",
    "Zlib",
];

/// Crates that must not be built in, and why. A version: only those before it.
const BANNED: &[(&str, Option<[u64; 3]>, &str)] = &[
    ("rsa", None, "its timing leaks keys (RUSTSEC-2023-0071)"),
    ("ring", None, "one library for all cryptography, which is aws-lc-rs"),
    ("openssl", None, "one library for all cryptography, which is aws-lc-rs"),
    ("openssl-sys", None, "one library for all cryptography, which is aws-lc-rs"),
    ("native-tls", None, "one library for TLS, which is rustls"),
    ("tracing-subscriber", Some([0, 3, 20]), "logged texts could steer a terminal (CVE-2025-58160)"),
    ("time", Some([0, 3, 47]), "parsing could exhaust the stack (CVE-2026-25727)"),
];

fn passes(expression: &str) -> bool {
    let expression = expression.trim();
    let expression = expression.replace('/', " OR ");
    let any = |word| top(&expression, word);
    match (any(" OR "), any(" AND ")) {
        (sides, _) if sides.len() > 1 => sides.iter().any(|side| passes(side)),
        (_, sides) if sides.len() > 1 => sides.iter().all(|side| passes(side)),
        _ => match expression.trim().strip_prefix('(').and_then(|inner| inner.strip_suffix(')')) {
            Some(inner) => passes(inner),
            None => LICENCES.contains(&expression.trim()),
        },
    }
}

/// Splits at a word that stands in no parentheses.
fn top<'a>(expression: &'a str, word: &str) -> Vec<&'a str> {
    let mut parts = Vec::new();
    let (mut start, mut depth) = (0, 0);
    for (at, c) in expression.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ if depth == 0 && expression[at..].starts_with(word) => {
                parts.push(&expression[start..at]);
                start = at + word.len();
            }
            _ => {}
        }
    }
    parts.push(&expression[start..]);
    parts
}

fn version(text: &str) -> [u64; 3] {
    let mut numbers = text.trim_start_matches('v').split(['.', '-', '+']).map_while(|n| n.parse().ok());
    [(); 3].map(|()| numbers.next().unwrap_or(0))
}

/// Lines of `name vVERSION ...|licence`.
fn wanting(tree: &str) -> Vec<String> {
    let mut lines: Vec<&str> = tree.lines().map(|line| line.trim_end_matches(" (*)")).collect();
    lines.sort_unstable();
    lines.dedup();
    let mut problems = Vec::new();
    for (package, licence) in lines.iter().filter_map(|line| line.split_once('|')) {
        let mut words = package.split(' ');
        let (name, number) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        if !passes(licence) {
            problems.push(format!("{name}: its licence `{licence}` is not in the list"));
        }
        let bad = |(banned, before, _): &&(&str, Option<[u64; 3]>, &str)| {
            *banned == name && before.is_none_or(|before| version(number) < before)
        };
        problems.extend(BANNED.iter().find(bad).map(|(_, _, why)| format!("{name} {number}: {why}")));
    }
    problems
}

#[test]
fn what_is_built_in_may_be_passed_on() {
    let edges = [
        "tree",
        "--locked",
        "--workspace",
        "-e",
        "normal,build,dev",
        "--prefix",
        "none",
        "--format",
        "{p}|{l}",
    ];
    let said = Command::new(env!("CARGO")).args(edges).current_dir(root()).output().unwrap();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    let tree = String::from_utf8(said.stdout).unwrap();
    assert!(tree.contains("rusqlite v"), "cargo tree does not look as it did");
    clean(&wanting(&tree));
}

#[test]
fn what_is_wanting_is_found() {
    clean(&wanting(
        "a v1.2.3|MIT OR Apache-2.0\nb v0.1.0|(MIT OR GPL-3.0-only) AND Unicode-3.0\nc v1|MIT/Apache-2.0 (*)",
    ));
    clean(&wanting(
        "time v0.3.47|MIT OR Apache-2.0\ntime v0.4.0|MIT\naws-lc-sys v0.30.0|ISC AND (Apache-2.0 OR ISC) AND MIT",
    ));
    finds(&wanting("a v1.2.3|GPL-3.0-only"), "GPL-3.0-only");
    finds(&wanting("a v1.2.3|MIT AND AGPL-3.0-only"), "AGPL");
    finds(&wanting("a v1.2.3|"), "its licence ``");
    finds(&wanting("time v0.3.46 (*)|MIT"), "exhaust the stack");
    finds(&wanting("ring v0.17.14|Apache-2.0 AND ISC\nring v0.17.14|Apache-2.0 AND ISC (*)"), "ring");
}
