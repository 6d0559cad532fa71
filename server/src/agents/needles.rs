//! What a text must contain for a pattern to match: most of hundreds of patterns are ruled out by one look for words.
//!
//! A pattern's clauses are lists of words; of each list, one must be there, in whatever case.

use regex_syntax::hir::{Class, Hir, HirKind};

/// One of these must be there. In small letters.
pub(super) type Clause = Vec<Vec<u8>>;

/// Shorter words are everywhere.
const SHORTEST: usize = 2;

/// The clauses of a pattern; none when it could match anything.
pub(super) fn clauses(hir: &Hir) -> Vec<Clause> {
    if let Some(word) = literal(hir) {
        return of_word(&word);
    }
    match hir.kind() {
        HirKind::Capture(capture) => clauses(&capture.sub),
        HirKind::Repetition(repetition) if repetition.min > 0 => clauses(&repetition.sub),
        HirKind::Concat(parts) => {
            let mut all = Vec::new();
            let mut word = Vec::new();
            for part in parts {
                match literal(part) {
                    Some(more) => word.extend(more),
                    None => {
                        all.extend(of_word(&std::mem::take(&mut word)));
                        all.extend(clauses(part));
                    }
                }
            }
            all.extend(of_word(&word));
            all
        }
        HirKind::Alternation(branches) => {
            // Of each branch the clause that says most; a branch that says nothing lets everything through.
            let best: Option<Vec<Clause>> =
                branches.iter().map(|branch| clauses(branch).into_iter().max_by_key(worth)).collect();
            best.map_or_else(Vec::new, |best| vec![best.concat()])
        }
        HirKind::Repetition(_)
        | HirKind::Class(_)
        | HirKind::Look(_)
        | HirKind::Empty
        | HirKind::Literal(_) => Vec::new(),
    }
}

fn of_word(word: &[u8]) -> Vec<Clause> {
    if word.len() < SHORTEST { Vec::new() } else { vec![vec![word.to_ascii_lowercase()]] }
}

/// The shortest word counts: it lets most through.
fn worth(clause: &Clause) -> usize {
    clause.iter().map(Vec::len).min().unwrap_or(0)
}

/// The one text, but for its case, that this part matches.
fn literal(hir: &Hir) -> Option<Vec<u8>> {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => Some(Vec::new()),
        HirKind::Literal(literal) => Some(literal.0.to_vec()),
        HirKind::Class(class) => one_letter(class).map(|letter| vec![letter]),
        HirKind::Capture(capture) => literal(&capture.sub),
        HirKind::Concat(parts) => Some(parts.iter().map(literal).collect::<Option<Vec<_>>>()?.concat()),
        HirKind::Repetition(_) | HirKind::Alternation(_) => None,
    }
}

/// `[Aa]`.
fn one_letter(class: &Class) -> Option<u8> {
    let Class::Bytes(class) = class else { return None };
    let mut letters = class.iter().flat_map(|range| range.start()..=range.end());
    let first = letters.next()?.to_ascii_lowercase();
    letters.all(|letter| letter.to_ascii_lowercase() == first).then_some(first)
}
