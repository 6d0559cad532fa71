//! The code map of ARCHITECTURE.md is the tree on disk: nothing missing, nothing that is gone.

use super::{clean, finds, root, texts};
use std::collections::BTreeSet;

/// A map is read in the time of a coffee.
const MOST: usize = 200;

/// The files that the map names: in the first fenced block behind `## Code map`, a line that begins with a folder
/// (ending in a slash) says where the `.rs` names behind it are; one that begins with a crate is whole.
fn named(architecture: &str) -> Vec<String> {
    let section = architecture.split("\n## Code map").nth(1).unwrap_or_default();
    let block = section.split("```").nth(1).unwrap_or_default();
    let mut folder = "";
    let mut found = Vec::new();
    for line in block.lines() {
        if let Some(first) =
            line.split_whitespace().next().filter(|word| word.ends_with('/') && line.starts_with(word))
        {
            folder = first;
        }
        let whole = |name: &str| name.starts_with("core/") || name.starts_with("server/");
        let names = line.split_whitespace().filter(|word| word.ends_with(".rs"));
        found.extend(names.map(|name| if whole(name) { name.to_owned() } else { format!("{folder}{name}") }));
    }
    found
}

fn differences(named: &[String], on_disk: &[String]) -> Vec<String> {
    let (map, disk): (BTreeSet<_>, BTreeSet<_>) = (named.iter().collect(), on_disk.iter().collect());
    let mut problems: Vec<String> = disk
        .difference(&map)
        .map(|path| format!("{path}: is not in the code map of ARCHITECTURE.md"))
        .collect();
    problems.extend(map.difference(&disk).map(|path| format!("{path}: is in the code map, but not on disk")));
    if map.len() != named.len() {
        problems.push("ARCHITECTURE.md: the code map names a file twice".to_owned());
    }
    problems
}

#[test]
fn the_map_is_the_tree() {
    let text = std::fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let files = texts(&[".rs"]).into_iter().map(|t| t.path);
    let on_disk: Vec<String> =
        files.filter(|p| p.starts_with("core/src/") || p.starts_with("server/src/")).collect();
    clean(&differences(&named(&text), &on_disk));
    let lines = text.lines().count();
    assert!(lines <= MOST, "ARCHITECTURE.md has {lines} lines; a map of more than {MOST} is not read");
}

#[test]
fn a_wrong_map_is_found() {
    let text = "# A\n\n## Code map\n\n```\ncore/src/    lib.rs   the front\n  judge.rs   see lib.rs-like files\nserver/src/app/\n  create.rs  x    end.rs  y\nserver/src/app.rs  z\n```\n";
    let map = named(text);
    assert_eq!(
        map,
        [
            "core/src/lib.rs",
            "core/src/judge.rs",
            "server/src/app/create.rs",
            "server/src/app/end.rs",
            "server/src/app.rs"
        ]
    );
    clean(&differences(&map, &map));
    finds(&differences(&map[1..], &map), "core/src/lib.rs: is not in the code map");
    finds(&differences(&map, &map[1..]), "core/src/lib.rs: is in the code map");
    finds(&differences(&[&map[..], &map[..1]].concat(), &map), "twice");
}
