//! Says what is going on and how it went: a bar on a terminal, a line for each scene, and JSON for programs.

use crate::scene::{Outcome, Scene};
use crate::stage::shell::Result;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};
use std::io::IsTerminal;
use std::path::Path;
use std::time::{Duration, Instant};

pub(crate) struct Report {
    bar: Option<ProgressBar>,
    seed: u64,
    begun: Instant,
    scene: Instant,
    scenes: Vec<Value>,
    broken: usize,
}

impl Report {
    pub(crate) fn begin(scenes: usize, seed: u64) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(scenes as u64);
            if let Ok(style) = ProgressStyle::with_template("  {bar:30} {pos}/{len} {elapsed} {msg}") {
                bar.set_style(style);
            }
            bar.enable_steady_tick(Duration::from_millis(250));
            bar
        });
        Self { bar, seed, begun: Instant::now(), scene: Instant::now(), scenes: Vec::new(), broken: 0 }
    }

    pub(crate) fn next(&mut self, scene: &Scene) {
        self.scene = Instant::now();
        match &self.bar {
            Some(bar) => bar.set_message(format!("{}: {}", scene.name, scene.about)),
            None => eprintln!("  {}: {}", scene.name, scene.about),
        }
    }

    pub(crate) fn done(&mut self, scene: &Scene, outcome: Outcome) {
        let [good, refused, unknown] = outcome.answers;
        let seconds = self.scene.elapsed().as_secs_f64();
        let slowest = outcome.served_after.iter().max().map(Duration::as_secs_f64);
        let back = slowest.map_or_else(String::new, |slowest| format!(", served again after {slowest:.1} s"));
        let verdict = if outcome.violations.is_empty() { "held" } else { "BROKEN" };
        let line = format!(
            "{:16} {verdict:7} {:6} calls: {good} done, {refused} refused, {unknown} unknown{back} ({seconds:.0} s)",
            scene.name, outcome.operations
        );
        self.say(&line);
        for (name, value) in &outcome.figures {
            self.say(&format!("    {name} {value:.1}"));
        }
        for violation in &outcome.violations {
            self.say(&format!("    {}: {}", violation.promise, violation.what));
        }
        self.broken += outcome.violations.len();
        let violations: Vec<Value> =
            outcome.violations.iter().map(|one| json!({"promise": one.promise, "what": one.what})).collect();
        self.scenes.push(json!({
            "scene": scene.name, "calls": outcome.operations, "done": good, "refused": refused, "unknown": unknown,
            "figures": outcome.figures.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect::<serde_json::Map<_, _>>(),
            "served_again_after_s": slowest, "seconds": seconds, "violations": violations,
        }));
        if let Some(bar) = &self.bar {
            bar.inc(1);
        }
    }

    pub(crate) fn say(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| println!("{line}")),
            None => println!("{line}"),
        }
    }

    /// Whether everything held.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(crate) fn end(self, folder: &Path, keep: bool, file: Option<&Path>) -> Result<bool> {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        let seconds = self.begun.elapsed().as_secs_f64();
        println!(
            "{} scenes in {seconds:.0} s, seed {}: {} violations",
            self.scenes.len(),
            self.seed,
            self.broken
        );
        if let Some(file) = file {
            let all = json!({"seed": self.seed, "seconds": seconds, "violations": self.broken, "scenes": self.scenes});
            std::fs::write(file, all.to_string()).map_err(|why| format!("{}: {why}", file.display()))?;
        }
        if self.broken > 0 || keep {
            println!("what was recorded and logged is in {}", folder.display());
        } else {
            let _ = std::fs::remove_dir_all(folder);
        }
        Ok(self.broken == 0)
    }
}
