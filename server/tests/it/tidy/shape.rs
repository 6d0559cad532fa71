//! The shape of files: each begins with its story, and none grows beyond one story.

use super::{Text, clean, finds, texts};

/// The most lines of a file.
const MOST: usize = 400;

/// Files that are longer, with the lines they have now. A ratchet: the numbers only fall, and no line is added here.
const LONGER: &[(&str, usize)] = &[];

fn heads(files: &[Text]) -> Vec<String> {
    let silent = |t: &&Text| !t.text.starts_with("//! ");
    let problem = |t: &Text| format!("{}: begins with no `//!` line that says what story it tells", t.path);
    files.iter().filter(silent).map(problem).collect()
}

fn lengths(files: &[Text], longer: &[(&str, usize)]) -> Vec<String> {
    let mut problems = Vec::new();
    for file in files {
        let lines = file.text.lines().count();
        match longer.iter().find(|(path, _)| *path == file.path) {
            None if lines > MOST => {
                problems.push(format!(
                    "{}: {lines} lines, and {MOST} is the most: it tells more than one story",
                    file.path
                ));
            }
            Some((_, allowed)) if lines > *allowed => {
                problems
                    .push(format!("{}: grew from {allowed} to {lines} lines; it may only shrink", file.path));
            }
            Some((_, allowed)) if lines <= MOST => {
                problems.push(format!(
                    "{}: {lines} lines; well done, take it ({allowed}) out of LONGER",
                    file.path
                ));
            }
            Some((_, allowed)) if lines < *allowed => {
                problems.push(format!(
                    "{}: shrank from {allowed} to {lines} lines; write {lines} into LONGER",
                    file.path
                ));
            }
            _ => {}
        }
    }
    let gone = longer.iter().filter(|(path, _)| !files.iter().any(|t| t.path == *path));
    problems.extend(gone.map(|(path, _)| format!("{path}: is gone; take it out of LONGER")));
    problems
}

#[test]
fn every_file_says_what_it_is() {
    clean(&heads(&texts(&[".rs"])));
    finds(&heads(&[Text::new("a.rs", "use std::fmt;\n"), Text::new("b.rs", "//! B.\n")]), "a.rs");
}

#[test]
fn no_file_grows_beyond_one_story() {
    clean(&lengths(&texts(&[".rs"]), LONGER));
    let of = |lines| [Text::new("a.rs", &"x\n".repeat(lines))];
    clean(&lengths(&of(400), &[]));
    clean(&lengths(&of(500), &[("a.rs", 500)]));
    finds(&lengths(&of(401), &[]), "401 lines");
    finds(&lengths(&of(501), &[("a.rs", 500)]), "grew");
    finds(&lengths(&of(499), &[("a.rs", 500)]), "write 499");
    finds(&lengths(&of(400), &[("a.rs", 500)]), "take it");
    finds(&lengths(&of(400), &[("b.rs", 500)]), "is gone");
}
