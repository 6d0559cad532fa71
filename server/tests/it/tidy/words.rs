//! Words that stand for work not done, for somebody's own machine, or for a way around the house.

use super::{Text, clean, finds, texts};

/// Where people write; a script without an ending by its whole name.
const WRITTEN: &[&str] =
    &[".rs", ".md", ".toml", ".sh", ".js", ".mjs", ".service", "Dockerfile", "run", "test", "bench"];

/// Put together here, so that this file does not hold them.
const UNDONE: &[&str] =
    &[concat!("TO", "DO"), concat!("FIX", "ME"), concat!("todo", "!("), concat!("unimple", "mented!(")];

/// Folders of the machine that something was built or tried on.
const MACHINES: &[&str] =
    &[concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/ho", "me/"), concat!("/Us", "ers/")];

/// Files of the product that may go around the ban on clocks and randomness of clippy.toml, and why.
const AROUND: &[(&str, &str)] = &[
    ("server/src/cli/bench.rs", "it measures"),
    ("server/src/cli/progress.rs", "a bar that says how long something takes"),
    ("server/src/host/clock.rs", "the one place that reads the clock"),
    ("server/src/host/entropy.rs", "the one place that draws random bytes"),
    ("sdk/rust/src/host.rs", "the one place of the verifier that reads the clock"),
];

fn words(files: &[Text]) -> Vec<String> {
    let mut problems = Vec::new();
    for file in files {
        for (number, line) in file.text.lines().enumerate() {
            let at = format!("{}:{}", file.path, number + 1);
            for word in UNDONE.iter().filter(|word| line.contains(**word)) {
                problems.push(format!("{at}: `{word}`: do it, or open an issue"));
            }
            for word in MACHINES.iter().filter(|word| line.contains(**word)) {
                problems.push(format!("{at}: `{word}`: a folder of one machine"));
            }
        }
    }
    problems
}

fn around(files: &[Text]) -> Vec<String> {
    let goes = |t: &&Text| t.text.contains("clippy::disallowed_");
    let known = |t: &&Text| !AROUND.iter().any(|(path, _)| *path == t.path);
    let rooms = ["core/src/", "server/src/", "sdk/rust/src/"];
    let product = |t: &&Text| rooms.iter().any(|room| t.path.starts_with(room));
    let problem =
        |t: &Text| format!("{}: goes around clippy.toml; time and randomness are arguments", t.path);
    files.iter().filter(product).filter(goes).filter(known).map(problem).collect()
}

#[test]
fn nothing_is_left_undone_and_no_machine_is_named() {
    clean(&words(&texts(WRITTEN)));
    for word in [UNDONE, MACHINES].concat() {
        finds(&words(&[Text::new("a.md", &format!("one\nand {word} here\n"))]), "a.md:2");
    }
}

#[test]
fn time_and_randomness_have_one_place() {
    clean(&around(&texts(&[".rs"])));
    let breach =
        Text::new("server/src/app/end.rs", "#[expect(clippy::disallowed_methods, reason = \"just once\")]");
    finds(&around(&[breach]), "server/src/app/end.rs");
}
