//! One key of the configuration as data: its name, type, default, and one line that says what it is for.
//!
//! The table of all keys drives everything that is not the value itself: unknown keys and their nearest known
//! neighbour, the sample file, the schema, `config show`, and what a reload may change.

use super::setting::{Given, Setting};
use serde_json::Value as Json;

/// In which layers a key may be said.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Layers {
    /// The file and the environment.
    All,
    /// Policies: the file only (and the API, which is no layer).
    File,
    /// The master key: never in a file that is read by more than one person.
    Environment,
}

/// How a value is handled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Care {
    /// Shown and repeated in errors.
    Plain,
    /// An address that may hold a password: shown without it, repeated in no error, also taken from a file that
    /// `..._FILE` names.
    MayHoldPassword,
    /// Shown as `(set)`, repeated in no error, also taken from a file that `..._FILE` names.
    Secret,
}

/// One key.
pub struct Key {
    /// `server` of `server.listen`.
    pub section: &'static str,
    /// `listen` of `server.listen`.
    pub name: &'static str,
    /// As an environment variable would say it; empty is none.
    pub default: &'static str,
    /// For the sample file, where there is no default to show.
    pub example: &'static str,
    /// One line, without a full stop.
    pub about: &'static str,
    /// How it is handled.
    pub care: Care,
    /// Where it may be said.
    pub layers: Layers,
    /// A reload changes it in the running server; everything else needs a restart.
    pub live: bool,
    /// The flag that sets it, with its dashes.
    pub flag: Option<&'static str>,
    /// Least and most, in the type's smallest unit.
    pub range: Option<(u64, u64)>,
    /// What a person calls its type.
    pub word: &'static str,
    pub(super) schema: fn() -> Json,
    pub(super) rust_type: fn() -> &'static str,
    look: Look,
}

/// Reads a value, checks its range, gives it as it is shown.
type Look = fn(&Given, Option<(u64, u64)>) -> Result<Json, String>;

impl Key {
    /// A key of type `T` that may be said in every layer.
    pub(super) const fn new<T: Setting>(
        section: &'static str,
        name: &'static str,
        default: &'static str,
        about: &'static str,
    ) -> Key {
        Key {
            section,
            name,
            default,
            example: "",
            about,
            care: Care::Plain,
            layers: Layers::All,
            live: false,
            flag: None,
            range: None,
            word: T::WORD,
            schema: T::schema,
            rust_type: std::any::type_name::<T>,
            look: look::<T>,
        }
    }
    pub(super) const fn example(mut self, example: &'static str) -> Key {
        self.example = example;
        self
    }
    pub(super) const fn care(mut self, care: Care) -> Key {
        self.care = care;
        self
    }
    pub(super) const fn live(mut self) -> Key {
        self.live = true;
        self
    }
    pub(super) const fn flag(mut self, flag: &'static str) -> Key {
        self.flag = Some(flag);
        self
    }
    pub(super) const fn only(mut self, layers: Layers) -> Key {
        self.layers = layers;
        self
    }
    pub(super) const fn range(mut self, least: u64, most: u64) -> Key {
        self.range = Some((least, most));
        self
    }

    /// `server.listen`.
    pub fn path(&self) -> String {
        format!("{}.{}", self.section, self.name)
    }

    /// `HANDSTAMP_SERVER__LISTEN`; none for what the file alone can say.
    pub fn variable(&self) -> Option<String> {
        (self.layers != Layers::File)
            .then(|| format!("HANDSTAMP_{}__{}", self.section, self.name).to_ascii_uppercase())
    }

    /// Reads the value, checks its range, and gives it as it is shown.
    ///
    /// # Errors
    /// A sentence that says what is wrong and what would be right; for a secret without its value.
    pub fn look(&self, given: &Given) -> Result<Json, String> {
        (self.look)(given, self.range)
    }
}

fn look<T: Setting>(given: &Given, range: Option<(u64, u64)>) -> Result<Json, String> {
    let value = T::read(given)?;
    if let (Some((least, most)), Some(size)) = (range, value.size())
        && (size < least || size > most)
    {
        let text = T::size_text;
        return Err(format!(
            "{} is out of range: choose between {} and {}",
            text(size),
            text(least),
            text(most)
        ));
    }
    Ok(value.show())
}

/// Some keys and what they have in common.
pub struct Section {
    /// As in the file, between brackets.
    pub name: &'static str,
    /// One line for the sample file.
    pub about: &'static str,
    /// In the order of the sample file.
    pub keys: &'static [Key],
}

/// All sections, in the order of the sample file.
pub const SECTIONS: &[Section] = &[
    super::server::SECTION,
    super::store::STORE,
    super::store::CONTROL,
    super::store::CACHE,
    super::store::HISTORY,
    super::privacy::SECTION,
    super::server::FORWARD_AUTH,
    super::server::METRICS,
    super::server::BOOTSTRAP,
    super::cookie::SECTION,
    super::browser::BROWSER,
    super::browser::CORS,
    super::browser::LOGIN,
    super::tokens::TOKENS,
    super::log::SECTION,
    super::policy::DEFAULT,
];

/// Every key with a fixed name.
pub fn keys() -> impl Iterator<Item = &'static Key> {
    SECTIONS.iter().flat_map(|section| section.keys)
}

/// The key `section.name`.
pub fn find(section: &str, name: &str) -> Option<&'static Key> {
    keys().find(|key| key.section == section && key.name == name)
}

/// Of `known`, the one that takes the fewest slips of the fingers to make `typed` of it.
pub fn nearest(typed: &str, known: impl Iterator<Item = String>) -> Option<String> {
    known.min_by_key(|candidate| distance(typed, candidate))
}

/// The nearest `section.name`. A right name in a wrong section is nearer than a wrong name in the right one.
pub(super) fn nearest_key(section: &str, name: &str) -> Option<String> {
    let typed = format!("{section}.{name}");
    keys()
        .min_by_key(|key| {
            let elsewhere = distance(name, key.name).saturating_mul(2).saturating_add(1);
            distance(&typed, &key.path()).min(elsewhere)
        })
        .map(Key::path)
}

/// How many letters must be put in, left out, replaced or swapped with their neighbour.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let replaced = last[j] + usize::from(x != y);
            let mut least = replaced.min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *x == b[j - 1] && a[i - 1] == *y {
                least = least.min(before[j - 1] + 1);
            }
            row.push(least);
        }
        before = std::mem::replace(&mut last, row);
    }
    last.last().copied().unwrap_or(0)
}
