//! How answers look to people: plain columns, times in UTC, and nothing that a terminal would obey.

use comfy_table::{CellAlignment, Table, presets};
use serde_json::Value as Json;

/// `text` with everything escaped that a terminal acts on or that turns the direction of writing: user agents, names
/// and data come from strangers.
pub(super) fn clean(text: &str) -> String {
    let turns =
        |c: char| matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() || turns(c) {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

/// One value as a cell: `-` for nothing, lists with commas, times without their fraction.
pub(super) fn cell(value: Option<&Json>) -> String {
    match value {
        None | Some(Json::Null) => "-".to_owned(),
        Some(Json::String(text)) => time(text).unwrap_or_else(|| clean(text)),
        Some(Json::Array(items)) if items.is_empty() => "-".to_owned(),
        Some(Json::Array(items)) => items.iter().map(|item| cell(Some(item))).collect::<Vec<_>>().join(","),
        Some(other) => clean(&other.to_string()),
    }
}

/// `2026-11-22T10:00:00.123Z` as `2026-11-22 10:00:00`; none when it is no such time.
fn time(text: &str) -> Option<String> {
    let shape = b"dddd-dd-ddTdd:dd:dd.dddZ";
    let fits = text.len() == shape.len()
        && text.bytes().zip(shape).all(|(b, s)| if *s == b'd' { b.is_ascii_digit() } else { b == *s });
    if !fits {
        return None;
    }
    let (date, rest) = text.split_once('T')?;
    let (clock, _) = rest.split_once('.')?;
    Some(format!("{date} {clock}"))
}

/// Columns under a head. `columns` are (head, member), a member in a member with a dot.
pub(super) fn columns(columns: &[(&str, &str)], rows: &[Json]) -> String {
    let mut table = plain();
    table.set_header(columns.iter().map(|(head, _)| *head));
    for row in rows {
        table.add_row(columns.iter().map(|(_, member)| cell(member_of(row, member))));
    }
    for (at, _) in columns.iter().enumerate() {
        if let Some(column) = table.column_mut(at) {
            column.set_padding((0, 2)).set_cell_alignment(CellAlignment::Left);
        }
    }
    tidy(&table)
}

/// A member, or with a dot a member in a member.
pub(super) fn member_of<'a>(row: &'a Json, member: &str) -> Option<&'a Json> {
    member.split('.').try_fold(row, |at, name| at.get(name))
}

/// One thing, a member a line.
pub(super) fn record(thing: &Json) -> String {
    let mut table = plain();
    let mut lines = Vec::new();
    flatten("", thing, &mut lines);
    for (name, value) in lines {
        table.add_row([name, value]);
    }
    for at in 0..2 {
        if let Some(column) = table.column_mut(at) {
            column.set_padding((0, 2));
        }
    }
    tidy(&table)
}

/// Session data stays JSON, since its members are the application's.
fn flatten(path: &str, value: &Json, lines: &mut Vec<(String, String)>) {
    match value {
        Json::Object(members) if !path.ends_with("data") => {
            for (name, value) in members {
                let path = if path.is_empty() { clean(name) } else { format!("{path}.{}", clean(name)) };
                flatten(&path, value, lines);
            }
        }
        Json::Null => {}
        value => lines.push((path.to_owned(), cell(Some(value)))),
    }
}

fn plain() -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table
}

/// Without the blanks at the ends of lines.
fn tidy(table: &Table) -> String {
    table.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}
