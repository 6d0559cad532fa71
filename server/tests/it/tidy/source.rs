//! Just enough reading of Rust to see which names a file uses: comments, texts and tests blanked out, `use` trees and
//! paths taken apart, aliases followed.

use std::collections::HashMap;

/// The code alone: comments, texts and characters become blanks, and so do `#[cfg(test)]` items.
pub(super) fn code(text: &str) -> String {
    without_tests(&blanked(text))
}

/// Every path with at least two names in the code, with aliases replaced by what they stand for; single names only
/// from `use`.
pub(super) fn paths(code: &str) -> Vec<Vec<String>> {
    let tokens = tokens(code);
    let mut found = Vec::new();
    let mut aliases: HashMap<String, Vec<String>> = HashMap::new();
    for own in children(&tokens) {
        aliases.insert(own.clone(), vec!["self".to_owned(), own]);
    }
    let mut at = 0;
    while at < tokens.len() {
        let follows =
            at > 0 && tokens[at - 1] == Token::Sep && at > 1 && matches!(tokens[at - 2], Token::Name(_));
        let is_use = matches!(&tokens[at], Token::Name(name) if name == "use");
        let start = if is_use { at + 1 } else { at };
        let start = start + usize::from(tokens.get(start) == Some(&Token::Sep));
        if !follows && matches!(tokens.get(start), Some(Token::Name(_))) {
            let mut leaves = Vec::new();
            at = path(&tokens, start, &[], &mut leaves).max(at + 1);
            for (names, alias) in leaves {
                if is_use {
                    if let Some(alias) = alias.or_else(|| names.last().cloned()) {
                        aliases.entry(alias).or_insert_with(|| names.clone());
                    }
                    found.push(names);
                } else if names.len() > 1 {
                    found.push(names);
                }
            }
        } else {
            at += 1;
        }
    }
    found.into_iter().map(|names| follow(names, &aliases)).collect()
}

/// `store::sqlite::Sqlite` after `use crate::store` is `crate::store::sqlite::Sqlite`.
fn follow(names: Vec<String>, aliases: &HashMap<String, Vec<String>>) -> Vec<String> {
    match aliases.get(&names[0]) {
        Some(full) if *full != names && full[0] != names[0] => [full.as_slice(), &names[1..]].concat(),
        _ => names,
    }
}

#[derive(PartialEq, Debug)]
enum Token {
    Name(String),
    Sep,
    Mark(char),
}

fn tokens(code: &str) -> Vec<Token> {
    let mut out = Vec::new();
    let mut rest = code;
    while let Some(first) = rest.chars().next() {
        let length = if first.is_alphabetic() || first == '_' {
            let length = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            out.push(Token::Name(rest[..length].to_owned()));
            length
        } else if first.is_ascii_digit() {
            rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len())
        } else if rest.starts_with("::") {
            out.push(Token::Sep);
            2
        } else {
            if !first.is_whitespace() {
                out.push(Token::Mark(first));
            }
            first.len_utf8()
        };
        rest = &rest[length..];
    }
    out
}

/// The modules that the file declares: their names lead into itself.
fn children(tokens: &[Token]) -> Vec<String> {
    let declared = |three: &[Token]| match three {
        [Token::Name(word), Token::Name(name), Token::Mark(';')] if word == "mod" => Some(name.clone()),
        _ => None,
    };
    tokens.windows(3).filter_map(declared).collect()
}

type Leaf = (Vec<String>, Option<String>);

/// Reads one path, or one branch of a `use` tree, from `at` on; where it ends.
fn path(tokens: &[Token], mut at: usize, before: &[String], leaves: &mut Vec<Leaf>) -> usize {
    let mut names = before.to_vec();
    loop {
        match tokens.get(at) {
            Some(Token::Name(name)) => {
                if name != "self" || names.is_empty() {
                    names.push(name.clone());
                }
                at += 1;
            }
            Some(Token::Mark('*')) => {
                names.push("*".to_owned());
                leaves.push((names, None));
                return at + 1;
            }
            Some(Token::Mark('{')) => {
                at += 1;
                while !matches!(tokens.get(at), None | Some(Token::Mark('}'))) {
                    at = match tokens[at] {
                        Token::Mark(',') => at + 1,
                        _ => path(tokens, at, &names, leaves).max(at + 1),
                    };
                }
                return at + 1;
            }
            _ => break,
        }
        match (tokens.get(at), tokens.get(at + 1)) {
            (Some(Token::Sep), Some(Token::Name(_) | Token::Mark('*' | '{'))) => at += 1,
            (Some(Token::Name(word)), Some(Token::Name(alias))) if word == "as" => {
                leaves.push((names, Some(alias.clone())));
                return at + 2;
            }
            _ => break,
        }
    }
    leaves.push((names, None));
    at
}

/// Blanks comments, texts and characters, byte for byte, so that lines stay where they are.
fn blanked(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = match bytes[at] {
            b'/' if bytes[at..].starts_with(b"//") => line_end(bytes, at),
            b'/' if bytes[at..].starts_with(b"/*") => after(bytes, at + 2, b"*/"),
            b'"' => quoted(bytes, at + 1),
            b'r' if !(at > 0 && is_word(bytes[at - 1])) => raw(bytes, at).unwrap_or(at),
            // A character, not a lifetime: it closes after one (possibly escaped) character.
            b'\'' if bytes.get(at + 1) == Some(&b'\\') => after(bytes, at + 3, b"'"),
            b'\'' => {
                let one = text[at + 1..].chars().next().map_or(0, char::len_utf8);
                if bytes.get(at + 1 + one) == Some(&b'\'') { at + 2 + one } else { at }
            }
            _ => at,
        };
        for byte in &mut out[at..end] {
            *byte = if *byte == b'\n' { b'\n' } else { b' ' };
        }
        at = end.max(at + 1);
    }
    String::from_utf8(out).unwrap()
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

fn line_end(bytes: &[u8], from: usize) -> usize {
    bytes[from..].iter().position(|b| *b == b'\n').map_or(bytes.len(), |n| from + n)
}

fn after(bytes: &[u8], from: usize, what: &[u8]) -> usize {
    let from = from.min(bytes.len());
    bytes[from..].windows(what.len()).position(|w| w == what).map_or(bytes.len(), |n| from + n + what.len())
}

fn quoted(bytes: &[u8], mut at: usize) -> usize {
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// The end of `r"..."` or `r#"..."#`; `None` when it is no such thing.
fn raw(bytes: &[u8], at: usize) -> Option<usize> {
    let hashes = bytes[at + 1..].iter().take_while(|b| **b == b'#').count();
    let open = at + 1 + hashes;
    if bytes.get(open) != Some(&b'"') {
        return None;
    }
    let close = [b"\"".as_slice(), &vec![b'#'; hashes]].concat();
    Some(after(bytes, open + 1, &close))
}

/// Leaves out each item behind `#[cfg(test)]`, to its closing brace or semicolon.
fn without_tests(code: &str) -> String {
    let mut out = String::new();
    let mut rest = code;
    while let Some(start) = rest.find("#[cfg(test)]") {
        out.push_str(&rest[..start]);
        let item = &rest[start..];
        let mut depth = 0;
        let end = item.char_indices().skip(12).find_map(|(n, c)| {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => {}
            }
            (depth == 0 && (c == '}' || c == ';')).then_some(n + 1)
        });
        rest = &item[end.unwrap_or(item.len())..];
    }
    out + rest
}

#[test]
fn paths_are_found_wherever_they_hide() {
    let text = r##"
        //! crate::comment::one
        use crate::store::{self, sqlite::{Options as O, Sqlite}, *};
        use std::fs as files;
        mod bytes;
        const QUOTED: &str = "crate::text::two"; const RAW: &str = r#"crate::"three"::x"#;
        fn f<'a>(x: &'a str) -> char { let _ = store::memory::Memory::new(); files::read("x"); bytes::Reader::new(); '"' }
        fn g() -> O { let _ = Vec::<u8>::new(); ::tokio::spawn(async {}); super::super::x() }
        #[cfg(test)]
        mod tests { use proptest::prelude::*; fn t() { if true { crate::tested::four() } } }
        fn after() { crate::http::five() }
    "##;
    let mut found: Vec<String> = paths(&code(text)).iter().map(|names| names.join("::")).collect();
    found.sort_unstable();
    found.dedup();
    let wanted = [
        "Vec::<", // stands for whatever is behind a turbofish: nothing to see
        "crate::http::five",
        "crate::store",
        "crate::store::*",
        "crate::store::memory::Memory::new",
        "crate::store::sqlite::Options",
        "crate::store::sqlite::Sqlite",
        "self::bytes::Reader::new",
        "std::fs",
        "std::fs::read",
        "super::super::x",
        "tokio::spawn",
    ];
    assert_eq!(found, wanted.iter().skip(1).map(ToString::to_string).collect::<Vec<_>>());
}
