//! Says what is going on: a moving bar on a terminal, a line per step elsewhere.

use std::cell::Cell;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

pub(crate) struct Progress {
    label: String,
    bar: Option<ProgressBar>,
    total: u64,
    last: Cell<Instant>,
}

impl Progress {
    /// A step of `total` parts.
    pub(crate) fn start(label: &str, total: usize) -> Self {
        let total = total as u64;
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(total);
            if let Ok(style) =
                ProgressStyle::with_template("  {msg:40!} {bar:30} {pos}/{len} {elapsed} (eta {eta})")
            {
                bar.set_style(style);
            }
            bar.set_message(label.to_owned());
            bar
        });
        if bar.is_none() {
            eprintln!("  {label}");
        }
        Self { label: label.to_owned(), bar, total, last: Cell::new(Instant::now()) }
    }

    /// `done` parts are through. Cheap enough for every few thousand requests, not for each.
    pub(crate) fn at(&self, done: u64) {
        match &self.bar {
            Some(bar) => bar.set_position(done.min(self.total)),
            None if self.last.get().elapsed() > Duration::from_secs(10) => {
                self.last.set(Instant::now());
                eprintln!("  {}: {done} of {}", self.label, self.total);
            }
            None => {}
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
