//! The rules as the uap-core project writes them: a file in which every line is `name: 'text'`.
//!
//! It is YAML of the plainest kind, and part of the program; so it is read by what is needed for it, and a test holds
//! that nothing of it is passed over.

const FILE: &str = include_str!("../../data/uap-core.yaml");

/// One rule: a pattern, and what stands for its groups.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Row {
    /// A regular expression.
    pub(super) pattern: &'static str,
    /// In the place of the first group, with `$1` for it.
    pub(super) family: Option<&'static str>,
    /// In the place of the second.
    pub(super) major: Option<&'static str>,
    /// In the place of the third.
    pub(super) minor: Option<&'static str>,
}

/// The rules for browsers, and those for systems; earlier ones go first.
pub(super) fn sections() -> (Vec<Row>, Vec<Row>) {
    let (browsers, systems) = FILE.split_once("\nos_parsers:").unwrap_or((FILE, ""));
    (rows(browsers), rows(systems))
}

fn rows(section: &'static str) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    for line in section.lines() {
        let line = line.trim_start().trim_start_matches("- ");
        let Some((name, value)) = line.split_once(": ").filter(|_| !line.starts_with('#')) else { continue };
        let value = unquoted(value);
        if name == "regex" {
            rows.push(Row { pattern: value, ..Row::default() });
        }
        let Some(row) = rows.last_mut() else { continue };
        match name {
            "family_replacement" | "os_replacement" => row.family = Some(value),
            "v1_replacement" | "os_v1_replacement" => row.major = Some(value),
            "v2_replacement" | "os_v2_replacement" => row.minor = Some(value),
            _ => {}
        }
    }
    rows
}

fn unquoted(value: &'static str) -> &'static str {
    let value = value.trim();
    value.strip_prefix('\'').and_then(|value| value.rsplit_once('\'')).map_or(value, |(inside, _)| inside)
}
