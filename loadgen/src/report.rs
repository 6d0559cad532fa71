//! What came out: rows that compare, the raw runs behind them, as a table, as JSON and as Markdown.

use std::fmt::Write;
use std::path::Path;

use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

use crate::Result;
use crate::drive::Figures;
use crate::machine::Machine;

#[derive(Default, Serialize)]
pub(crate) struct Report {
    pub(crate) rows: Vec<Row>,
    pub(crate) runs: Vec<Run>,
}

/// One comparison, or one figure of ours alone.
#[derive(Serialize)]
pub(crate) struct Row {
    what: String,
    unit: &'static str,
    ours: f64,
    peer: Option<String>,
    peer_value: Option<f64>,
    ratio: Option<f64>,
    target: Option<String>,
    met: Option<bool>,
    note: String,
}

/// One run, or the median of several.
#[derive(Serialize)]
pub(crate) struct Run {
    pub(crate) what: String,
    pub(crate) connections: usize,
    pub(crate) figures: Figures,
}

impl Row {
    pub(crate) fn new(what: &str, unit: &'static str, ours: f64) -> Self {
        Self {
            what: what.to_owned(),
            unit,
            ours,
            peer: None,
            peer_value: None,
            ratio: None,
            target: None,
            met: None,
            note: String::new(),
        }
    }

    /// Beside a peer's figure of the same run.
    pub(crate) fn against(mut self, peer: &str, value: f64) -> Self {
        self.peer = Some(peer.to_owned());
        self.peer_value = Some(value);
        self.ratio = Some(self.ours / value);
        self
    }

    /// The ratio must not be larger; `said` is how the design says it.
    pub(crate) fn ratio_at_most(mut self, bound: f64, said: &str) -> Self {
        self.target = Some(said.to_owned());
        self.met = self.ratio.map(|ratio| ratio <= bound);
        self
    }

    /// Our figure must not be larger.
    pub(crate) fn at_most(mut self, bound: f64) -> Self {
        self.target = Some(format!("<= {} {}", number(bound), self.unit));
        self.met = Some(self.ours <= bound);
        self
    }

    pub(crate) fn note(mut self, note: String) -> Self {
        self.note = note;
        self
    }

    fn verdict(&self) -> &'static str {
        match self.met {
            Some(true) => "met",
            Some(false) => "MISSED",
            None => "",
        }
    }

    fn cells(&self) -> [String; 8] {
        let peer = match (&self.peer, self.peer_value) {
            (Some(peer), Some(value)) => format!("{} {peer}", number(value)),
            _ => String::new(),
        };
        [
            self.what.clone(),
            self.unit.to_owned(),
            number(self.ours),
            peer,
            self.ratio.map(number).unwrap_or_default(),
            self.target.clone().unwrap_or_default(),
            self.verdict().to_owned(),
            self.note.clone(),
        ]
    }
}

const ROW_TITLES: [&str; 8] = ["what", "unit", "ours", "peer", "ours/peer", "target", "", "note"];
const RUN_TITLES: [&str; 9] =
    ["run", "conns", "requests", "req/s", "p50 us", "p99 us", "CPU us/req", "busy", "load us/req"];

impl Run {
    fn cells(&self) -> [String; 9] {
        let Figures { requests, per_second, p50_us, p99_us, cpu_us, load_us, .. } = &self.figures;
        // CPU time comes in steps of 10 ms: of a short run it says nothing.
        let known = |value: f64, text: String| if value > 0.0 { text } else { String::new() };
        [
            self.what.clone(),
            self.connections.to_string(),
            format!("{requests:.0}"),
            format!("{per_second:.0}"),
            number(*p50_us),
            number(*p99_us),
            known(*cpu_us, number(*cpu_us)),
            known(*cpu_us, format!("{:.0} %", cpu_us * per_second / 1e4)),
            known(*cpu_us, number(*load_us)),
        ]
    }
}

impl Report {
    pub(crate) fn row(&mut self, row: Row) {
        self.rows.push(row);
    }

    pub(crate) fn run(&mut self, what: &str, connections: usize, figures: &Figures) {
        self.runs.push(Run { what: what.to_owned(), connections, figures: figures.clone() });
    }

    /// For a terminal.
    pub(crate) fn table(&self) -> String {
        let comparison = aligned(&ROW_TITLES, self.rows.iter().map(|row| row.cells().to_vec()), &[2, 4]);
        let runs =
            aligned(&RUN_TITLES, self.runs.iter().map(|run| run.cells().to_vec()), &[1, 2, 3, 4, 5, 6, 7, 8]);
        format!("{runs}\n\n{comparison}\n")
    }

    /// For docs/benchmarks.md.
    fn markdown(&self, machine: &Machine) -> String {
        let mut text = machine.markdown();
        // Writing to a String cannot fail.
        let _ = writeln!(text, "\n{}", lines(&ROW_TITLES, self.rows.iter().map(|row| row.cells().to_vec())));
        let _ = writeln!(text, "The runs behind it (medians of the rounds where there are several):\n");
        let _ = write!(text, "{}", lines(&RUN_TITLES, self.runs.iter().map(|run| run.cells().to_vec())));
        text
    }

    /// # Errors
    /// When the file cannot be written.
    pub(crate) fn write_json(&self, machine: &Machine, path: &Path) -> Result<()> {
        let whole = serde_json::json!({ "machine": machine, "rows": self.rows, "runs": self.runs });
        Ok(std::fs::write(path, serde_json::to_string_pretty(&whole)? + "\n")?)
    }

    /// Rewrites what stands between the two marks of the document, and nothing else.
    ///
    /// # Errors
    /// When the document or one of its marks is missing.
    pub(crate) fn write_docs(&self, machine: &Machine, path: &Path) -> Result<()> {
        let old = std::fs::read_to_string(path)?;
        let new = replace_section(&old, &self.markdown(machine))
            .ok_or_else(|| format!("{} has lost its marks {BEGIN} and {END}", path.display()))?;
        Ok(std::fs::write(path, new)?)
    }

    /// How many targets were missed.
    pub(crate) fn missed(&self) -> usize {
        self.rows.iter().filter(|row| row.met == Some(false)).count()
    }
}

const BEGIN: &str = "<!-- figures: begin (written by ./bench --write-docs) -->";
const END: &str = "<!-- figures: end -->";

fn replace_section(document: &str, section: &str) -> Option<String> {
    let (before, rest) = document.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n\n{}\n\n{END}{after}", section.trim()))
}

fn aligned(titles: &[&str], rows: impl Iterator<Item = Vec<String>>, right: &[usize]) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_header(titles.to_vec());
    for row in rows {
        table.add_row(row);
    }
    for column in right {
        if let Some(column) = table.column_mut(*column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.to_string()
}

fn lines(titles: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let titles: Vec<String> = titles.iter().map(|title| (*title).to_owned()).collect();
    let rule: Vec<String> = titles.iter().map(|_| "---".to_owned()).collect();
    let mut text = line(&titles) + &line(&rule);
    for row in rows {
        text.push_str(&line(&row));
    }
    text
}

/// Three or so meaningful digits.
pub(crate) fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 0.1 || size == 0.0 => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts() {
        let row = Row::new("validate", "us", 24.0).against("echo", 16.0).ratio_at_most(1.6, "<= 1.6x");
        assert_eq!((row.ratio, row.verdict()), (Some(1.5), "met"));
        assert_eq!(Row::new("memory", "MiB", 26.0).at_most(25.0).verdict(), "MISSED");
        assert_eq!(Row::new("memory", "MiB", 26.0).verdict(), "");
    }

    #[test]
    fn only_the_section_changes() {
        let document = format!("a\n{BEGIN}\nold\n{END}\nz\n");
        assert_eq!(replace_section(&document, "new\n").unwrap(), format!("a\n{BEGIN}\n\nnew\n\n{END}\nz\n"));
        assert!(replace_section("nothing", "new").is_none());
    }

    #[test]
    fn the_document_has_its_marks() {
        let document = include_str!("../../docs/benchmarks.md");
        assert!(replace_section(document, "new").is_some());
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!(
            [number(1234.5), number(12.34), number(1.234), number(0.05)],
            ["1234", "12.3", "1.23", "0.0500"]
        );
    }
}
