//! The house rules as a test: who may name whom, how long a file may be, that every file says what it is, that the map
//! is the tree, that links lead somewhere.
//!
//! Each rule is a function from texts to problems, so that it is tried twice: on the tree as it is, where it must find
//! nothing, and on a planted breach, where it must find exactly that.

mod dependencies;
mod documents;
mod imports;
mod map;
mod shape;
mod source;
mod words;

use std::path::{Path, PathBuf};

/// One file of the repository.
struct Text {
    /// From the root, with slashes.
    path: String,
    text: String,
}

impl Text {
    /// A planted file.
    fn new(path: &str, text: &str) -> Text {
        Text { path: path.to_owned(), text: text.to_owned() }
    }
}

/// The root of the repository.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Every file of the repository that people write: by its ending, or a script without one at the root.
fn texts(endings: &[&str]) -> Vec<Text> {
    let mut found = Vec::new();
    walk(&root(), "", &mut |path, file| {
        if endings.iter().any(|ending| path.ends_with(ending)) {
            found.push(Text { path: path.to_owned(), text: std::fs::read_to_string(file).unwrap() });
        }
    });
    assert!(found.len() > 3, "the walk through the repository found nothing");
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

/// Calls `each` with every file, leaving out what is built or fetched.
fn walk(folder: &Path, below: &str, each: &mut impl FnMut(&str, &Path)) {
    const LEFT_OUT: [&str; 6] =
        ["target", "node_modules", "corpus", "artifacts", "handstamp-data", "proptest-regressions"];
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let name = entry.file_name().into_string().unwrap();
        if LEFT_OUT.contains(&name.as_str()) || (name.starts_with('.') && name != ".ci") {
            continue;
        }
        let path = if below.is_empty() { name } else { format!("{below}/{name}") };
        match entry.file_type().unwrap() {
            kind if kind.is_dir() => walk(&entry.path(), &path, each),
            kind if kind.is_file() => each(&path, &entry.path()),
            _ => {}
        }
    }
}

/// Nothing may be wrong; else everything that is, at once.
#[track_caller]
fn clean(problems: &[String]) {
    assert!(problems.is_empty(), "\n\n{}\n", problems.join("\n"));
}

/// A planted breach is found, and is the only one.
#[track_caller]
fn finds(problems: &[String], what: &str) {
    assert!(
        problems.len() == 1 && problems[0].contains(what),
        "wanted one problem with `{what}`, got {problems:#?}"
    );
}
