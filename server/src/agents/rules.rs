//! The first rule that matches a text: words rule most of them out, and what is left is tried in order.
//!
//! A pattern is compiled when a text first calls for it. Matching takes time in proportion to the text, whoever wrote it:
//! there is no backtracking into the past.

use super::needles::{Clause, clauses};
use super::table::Row;
use aho_corasick::{AhoCorasick, AhoCorasickKind};
use regex_automata::meta::{Cache, Regex};
use regex_automata::util::syntax;
use regex_syntax::hir::{Hir, HirKind, Repetition};

/// What a rule found.
pub(super) struct Found {
    pub(super) family: String,
    pub(super) major: Option<String>,
    pub(super) minor: Option<String>,
}

/// Rules in their order.
pub(super) struct Rules {
    rules: Vec<Rule>,
    words: Option<AhoCorasick>,
    /// For each word, the clauses it fulfils: rule and number.
    fulfils: Vec<Vec<(usize, u32)>>,
}

struct Rule {
    row: Row,
    clauses: u32,
    compiled: Option<(Regex, Cache)>,
}

/// How long a repetition may be to be counted. Longer ones, which are there for the sake of engines that backtrack, have
/// no bound here; a text has one.
const COUNTED: u32 = 99;
/// What one pattern may need.
const PATTERN_BYTES: usize = 4 << 20;

impl Rules {
    pub(super) fn new(rows: Vec<Row>) -> Rules {
        let mut words: Vec<Vec<u8>> = Vec::new();
        let mut places = std::collections::HashMap::new();
        let mut fulfils: Vec<Vec<(usize, u32)>> = Vec::new();
        let mut rules = Vec::with_capacity(rows.len());
        for (at, row) in rows.into_iter().enumerate() {
            let hir = parsed(row.pattern);
            let needed: Vec<Clause> = hir.as_ref().map(clauses).unwrap_or_default();
            let needed = needed.get(..needed.len().min(32)).unwrap_or_default();
            for (number, clause) in (0u32..).zip(needed) {
                for word in clause {
                    let place = *places.entry(word.clone()).or_insert_with(|| {
                        words.push(word.clone());
                        fulfils.push(Vec::new());
                        words.len() - 1
                    });
                    if let Some(fulfils) = fulfils.get_mut(place) {
                        fulfils.push((at, 1 << number));
                    }
                }
            }
            let clauses = u32::try_from((1_u64 << needed.len()) - 1).unwrap_or(u32::MAX);
            rules.push(Rule { row, clauses, compiled: None });
        }
        let mut builder = AhoCorasick::builder();
        builder.ascii_case_insensitive(true).kind(Some(AhoCorasickKind::ContiguousNFA));
        Rules { rules, words: builder.build(&words).ok(), fulfils }
    }

    /// The first rule that matches.
    pub(super) fn find(&mut self, text: &str) -> Option<Found> {
        let mut fulfilled = vec![0_u32; self.rules.len()];
        if let Some(words) = &self.words {
            for found in words.find_overlapping_iter(text) {
                for (rule, clause) in self.fulfils.get(found.pattern().as_usize()).into_iter().flatten() {
                    if let Some(fulfilled) = fulfilled.get_mut(*rule) {
                        *fulfilled |= clause;
                    }
                }
            }
        }
        let mut possible = self.rules.iter_mut().zip(fulfilled).filter(|(rule, met)| *met == rule.clauses);
        possible.find_map(|(rule, _)| rule.find(text))
    }
}

impl Rule {
    fn find(&mut self, text: &str) -> Option<Found> {
        if self.compiled.is_none() {
            let hir = parsed(self.row.pattern)?;
            // The lazy automata of hundreds of patterns would take more memory than everything else here.
            let config = Regex::config().nfa_size_limit(Some(PATTERN_BYTES)).hybrid(false).utf8_empty(false);
            let regex = Regex::builder().configure(config).build_from_hir(&hir).ok()?;
            let cache = regex.create_cache();
            self.compiled = Some((regex, cache));
        }
        let (regex, cache) = self.compiled.as_mut()?;
        let mut captures = regex.create_captures();
        regex.search_captures_with(cache, &text.into(), &mut captures);
        if !captures.is_match() {
            return None;
        }
        let group = |n: usize| {
            let bytes = text.as_bytes().get(captures.get_group(n)?.range())?;
            Some(String::from_utf8_lossy(bytes).into_owned()).filter(|group| !group.is_empty())
        };
        let filled = |template: Option<&str>, n: usize| match template {
            Some(template) => Some(fill(template, group)).filter(|text| !text.is_empty()),
            None => group(n),
        };
        Some(Found {
            family: filled(self.row.family, 1).unwrap_or_default(),
            major: filled(self.row.major, 2),
            minor: filled(self.row.minor, 3),
        })
    }
}

/// `$1` and so on replaced by the groups.
fn fill(template: &str, group: impl Fn(usize) -> Option<String>) -> String {
    let mut out = String::new();
    let mut chars = template.chars().peekable();
    while let Some(c) = chars.next() {
        match chars.peek().and_then(|next| next.to_digit(10)).filter(|_| c == '$') {
            Some(n) => {
                chars.next();
                out.push_str(&group(usize::try_from(n).unwrap_or(0)).unwrap_or_default());
            }
            None => out.push(c),
        }
    }
    out.trim().to_owned()
}

/// A pattern. Bytes and no characters: what is not ASCII in a user agent is no news.
fn parsed(pattern: &str) -> Option<Hir> {
    let parsed = syntax::parse_with(pattern, &syntax::Config::new().unicode(false).utf8(false));
    parsed.ok().map(|hir| unbounded(&hir))
}

/// The same pattern, with long repetitions not counted.
fn unbounded(hir: &Hir) -> Hir {
    match hir.kind() {
        HirKind::Empty | HirKind::Literal(_) | HirKind::Class(_) | HirKind::Look(_) => hir.clone(),
        HirKind::Repetition(Repetition { min, max, greedy, sub }) => Hir::repetition(Repetition {
            min: *min,
            max: max.filter(|max| *max <= COUNTED || *min > 1),
            greedy: *greedy,
            sub: Box::new(unbounded(sub)),
        }),
        HirKind::Capture(capture) => {
            let mut capture = capture.clone();
            capture.sub = Box::new(unbounded(&capture.sub));
            Hir::capture(capture)
        }
        HirKind::Concat(parts) => Hir::concat(parts.iter().map(unbounded).collect()),
        HirKind::Alternation(parts) => Hir::alternation(parts.iter().map(unbounded).collect()),
    }
}
