//! Regular expressions as JSON Schema means them (ECMA-262), found in a time that grows with the length of the text alone:
//! what needs more than that (looking around, references back) is refused when the schema is saved.

use regex_automata::nfa::thompson::pikevm::PikeVM;
use regex_automata::nfa::thompson::{self};
use regex_automata::util::syntax;

/// The most bytes of one expression.
const LONGEST: usize = 1_000;
/// The most bytes of what one expression is compiled to.
const LARGEST: usize = 64 * 1_024;

/// A compiled expression.
pub(super) struct Pattern {
    text: Box<str>,
    machine: PikeVM,
}

impl Pattern {
    /// Compiles an expression.
    ///
    /// # Errors
    /// A sentence that says why it cannot be.
    pub(super) fn read(text: &str) -> Result<Pattern, String> {
        if text.len() > LONGEST {
            return Err(format!("an expression has at most {LONGEST} bytes"));
        }
        let syntax = syntax::Config::new().nest_limit(32);
        let compiled = PikeVM::builder()
            .syntax(syntax)
            .thompson(thompson::Config::new().nfa_size_limit(Some(LARGEST)))
            .build(&translated(text)?);
        let machine = compiled.map_err(|why| {
            if why.size_limit().is_some() {
                "is too large: count fewer repetitions".to_owned()
            } else {
                "is not a regular expression of ECMA-262, or looks around or back, which this server does not know"
                    .to_owned()
            }
        })?;
        Ok(Pattern { text: text.into(), machine })
    }

    /// As it was written.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// What it takes, in bytes.
    pub(super) fn size(&self) -> usize {
        self.machine.get_nfa().memory_usage()
    }

    /// How much work it is to look for it in a text.
    pub(super) fn work(&self, text: &str) -> u64 {
        let states = self.machine.get_nfa().states().len();
        let work = states.saturating_mul(text.len() + 8) / 16;
        u64::try_from(work).unwrap_or(u64::MAX).saturating_add(1)
    }

    /// Whether it is anywhere in a text.
    pub(super) fn is_in(&self, text: &str) -> bool {
        self.machine.is_match(&mut self.machine.create_cache(), text)
    }
}

const SPACE: &str = r"\t-\r \u{a0}\u{1680}\u{2000}-\u{200a}\u{2028}\u{2029}\u{202f}\u{205f}\u{3000}\u{feff}";

/// The same expression for our engine, whose classes and brackets differ: `\d` and `\w` are of ASCII, and inside of
/// brackets nothing but `]`, `\`, `^` and `-` has a meaning.
fn translated(text: &str) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut letters = text.chars().peekable();
    let mut inside = false;
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => match letters.next() {
                Some('d') => out.push_str("[0-9]"),
                Some('D') => out.push_str("[^0-9]"),
                Some('w') => out.push_str("[0-9A-Za-z_]"),
                Some('W') => out.push_str("[^0-9A-Za-z_]"),
                Some('s') => out.push_str(&format!("[{SPACE}]")),
                Some('S') => out.push_str(&format!("[^{SPACE}]")),
                Some('b') if inside => out.push_str(r"\x08"),
                Some('b') => out.push_str(r"(?-u:\b)"),
                Some('B') if !inside => out.push_str(r"(?-u:\B)"),
                Some('/') => out.push('/'),
                Some('p' | 'P') => {
                    return Err("has a class by property (\\p), which this server does not know".to_owned());
                }
                Some(other) => out.extend(['\\', other]),
                None => return Err("ends in a backslash".to_owned()),
            },
            '(' if !inside && letters.next_if_eq(&'?').is_some() => {
                // What is asked for here is no more than what is in the standard, whatever else our engine knows.
                let named = letters.peek() == Some(&'<');
                if !named && letters.peek() != Some(&':') {
                    return Err("looks around, or has flags, which this server does not know".to_owned());
                }
                out.push_str("(?");
            }
            '[' if inside => out.push_str(r"\["),
            '&' | '~' if inside => out.extend(['\\', letter]),
            '-' if inside && letters.peek() == Some(&'-') => {
                return Err("has `--` in brackets: write the second one as `\\-`".to_owned());
            }
            '[' => {
                inside = true;
                out.push('[');
                if letters.next_if_eq(&'^').is_some() {
                    out.push('^');
                }
                if letters.peek() == Some(&']') {
                    return Err("has empty brackets".to_owned());
                }
            }
            ']' if inside => {
                inside = false;
                out.push(']');
            }
            other => out.push(other),
        }
    }
    Ok(out)
}
