//! A policy in a file: the `[policy]` sections of a handstamp.toml, or JSON as the API takes it. Both are read by what reads
//! them in the server, so that what is said of a file here is what the server will say; and every slip has its line.

use super::super::table::clean;
use crate::config::{Config, ConfigFile, Origin, Problem, Problems, Sources};
use crate::sections::{self, Section};
use serde_json::{Map, Value as Json};
use std::collections::BTreeSet;
use std::path::Path;

/// Reads a policy, and gives it as the API takes it: what it says, and nothing that it leaves out. `sources` are those of the command; the file takes the place of theirs.
///
/// # Errors
/// Everything that is wrong with it, each with its line.
pub(super) fn read(path: &Path, sources: &Sources) -> Result<Json, Problems> {
    let file = File { path };
    let text = std::fs::read_to_string(path)
        .map_err(|e| Problems(vec![file.problem(0, "", &format!("cannot be read: {e}"))]))?;
    // No TOML begins with a brace.
    let is_json = path.extension().is_some_and(|of| of == "json") || text.trim_start().starts_with('{');
    if is_json { file.json(&text) } else { file.toml(sources) }
}

struct File<'a> {
    path: &'a Path,
}

impl File<'_> {
    fn problem(&self, line: usize, key: &str, message: &str) -> Problem {
        let place = Origin::File { path: self.path.to_owned(), line };
        Problem { place, key: clean(key), message: clean(message) }
    }

    /// The file is looked at as a whole: a server would not take its policy if another section were wrong.
    fn toml(&self, sources: &Sources) -> Result<Json, Problems> {
        let sources = Sources { file: ConfigFile::Named(self.path.to_owned()), ..sources.clone() };
        let config = Config::load_to_ask(&sources)?;
        if !config.policy.managed_by_file {
            return Err(Problems(vec![self.problem(
                0,
                "policy",
                "is missing: the file has no such section",
            )]));
        }
        Ok(sections::show(&config.policy.policy))
    }

    fn json(&self, text: &str) -> Result<Json, Problems> {
        let whole: Json = serde_json::from_str(text).map_err(|e| {
            let category = if e.is_eof() { "ends too early" } else { "is not JSON" };
            Problems(vec![self.problem(e.line(), "", &format!("{category}, at column {}", e.column()))])
        })?;
        let lines = Lines::of(text);
        let mut slips: Vec<(usize, Problem)> = Vec::new();
        let mut slip = |line: usize, pointer: &str, message: &str| {
            slips.push((line, self.problem(line, pointer, message)));
        };
        for (pointer, line) in lines.twice() {
            slip(line, pointer, "stands here a second time: leave one of them out");
        }
        let (mut default, mut tags) = (Section::new(), Vec::new());
        match &whole {
            Json::Object(members) => {
                for (name, value) in members {
                    let pointer = format!("/{}", pointed(name));
                    match (name.as_str(), value) {
                        (_, Json::Null) if matches!(name.as_str(), "default" | "tag") => {}
                        ("default", Json::Object(keys)) => default = section(keys),
                        ("tag", Json::Object(of)) => {
                            for (tag, value) in of {
                                match value {
                                    Json::Object(keys) => tags.push((tag.clone(), section(keys))),
                                    _ => {
                                        let pointer = format!("/tag/{}", pointed(tag));
                                        slip(lines.at(&pointer), &pointer, "is no object of keys");
                                    }
                                }
                            }
                        }
                        ("default" | "tag", _) => slip(lines.at(&pointer), &pointer, "is no object"),
                        _ => slip(
                            lines.at(&pointer),
                            &pointer,
                            "unknown key; the known ones are default and tag",
                        ),
                    }
                }
            }
            _ => slip(1, "", "is no object: write {\"default\": {...}, \"tag\": {...}}"),
        }
        let read = sections::read(&default, &tags);
        for wrong in read.as_ref().err().into_iter().flatten() {
            slip(lines.at(&wrong.pointer), &wrong.pointer, &wrong.message);
        }
        match read {
            Ok(policy) if slips.is_empty() => Ok(sections::show(&policy)),
            _ => {
                slips.sort_by_key(|(line, _)| *line);
                Err(Problems(slips.into_iter().map(|(_, problem)| problem).collect()))
            }
        }
    }
}

fn section(keys: &Map<String, Json>) -> Section {
    keys.iter().map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// A name in a JSON pointer, as RFC 6901 writes it.
fn pointed(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// On which line each member of a JSON text stands, in the order of the text. The text has been read as JSON before, so
/// nothing is checked here, and its depth has a bound.
struct Lines<'a> {
    bytes: &'a [u8],
    at: usize,
    found: Vec<(String, usize)>,
}

impl<'a> Lines<'a> {
    fn of(text: &'a str) -> Lines<'a> {
        let mut lines = Lines { bytes: text.as_bytes(), at: 0, found: Vec::new() };
        lines.value("");
        lines
    }

    /// The line of a pointer, or of the nearest thing around it that has one. Of members that stand twice the last is
    /// the one that was read.
    fn at(&self, pointer: &str) -> usize {
        let mut pointer = pointer;
        loop {
            if let Some((_, line)) = self.found.iter().rfind(|(known, _)| known == pointer) {
                return *line;
            }
            match pointer.rsplit_once('/') {
                Some((around, _)) => pointer = around,
                None => return 1,
            }
        }
    }

    /// Members that stand more than once, with the line of each but the first; not those inside of one.
    fn twice(&self) -> Vec<(&str, usize)> {
        let mut known = BTreeSet::new();
        let mut again: Vec<(&str, usize)> = Vec::new();
        for (pointer, line) in &self.found {
            let inside = |(whole, _): &(&str, usize)| {
                pointer.strip_prefix(whole).is_some_and(|rest| rest.starts_with('/'))
            };
            if !known.insert(pointer) && !again.iter().any(inside) {
                again.push((pointer, *line));
            }
        }
        again
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn skip(&mut self, while_: impl Fn(u8) -> bool) {
        while self.peek().is_some_and(&while_) {
            self.at += 1;
        }
    }

    fn value(&mut self, pointer: &str) {
        self.skip(|b| b.is_ascii_whitespace());
        match self.peek() {
            Some(b'{') => self.members(pointer),
            Some(b'[') => self.items(pointer),
            Some(b'"') => drop(self.text()),
            _ => self.skip(|b| !matches!(b, b',' | b'}' | b']') && !b.is_ascii_whitespace()),
        }
    }

    fn members(&mut self, pointer: &str) {
        self.at += 1;
        loop {
            self.skip(|b| b.is_ascii_whitespace() || matches!(b, b',' | b':'));
            if self.peek() != Some(b'"') {
                self.at += 1;
                return;
            }
            let line = self.bytes.iter().take(self.at).filter(|b| **b == b'\n').count() + 1;
            let name = self.text();
            let pointer = format!("{pointer}/{}", pointed(&name));
            self.skip(|b| b.is_ascii_whitespace() || b == b':');
            self.found.push((pointer.clone(), line));
            self.value(&pointer);
        }
    }

    fn items(&mut self, pointer: &str) {
        self.at += 1;
        for n in 0_usize.. {
            self.skip(|b| b.is_ascii_whitespace() || b == b',');
            if matches!(self.peek(), None | Some(b']')) {
                self.at += 1;
                return;
            }
            self.value(&format!("{pointer}/{n}"));
        }
    }

    fn text(&mut self) -> String {
        let from = self.at;
        self.at += 1;
        loop {
            self.skip(|b| b != b'"' && b != b'\\');
            match self.peek() {
                Some(b'\\') => self.at += 2,
                _ => break,
            }
        }
        self.at += 1;
        let raw = self.bytes.get(from..self.at).unwrap_or_default();
        serde_json::from_slice(raw).unwrap_or_default()
    }
}
