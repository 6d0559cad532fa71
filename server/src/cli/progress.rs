//! A bar for what takes longer than a second, on standard error, when a person looks at it.

use super::hooks::Progress;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// What ends sooner is not worth a bar.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);

/// For what a person waits for.
#[expect(clippy::disallowed_methods, reason = "measures how long a person has waited; decides nothing else")]
pub(super) fn now() -> Instant {
    Instant::now()
}

/// A bar that appears after [`PATIENCE`].
pub(super) struct Bar {
    what: Mutex<String>,
    template: &'static str,
    draws: bool,
    started: Instant,
    bar: OnceLock<ProgressBar>,
}

impl Bar {
    pub(super) fn new(what: &str, draws: bool) -> Bar {
        let template = "{msg} [{bar:40}] {percent}% {eta} left";
        Bar { what: Mutex::new(what.to_owned()), template, draws, started: now(), bar: OnceLock::new() }
    }

    /// One for things that are counted, with how many there are in a second.
    pub(super) fn counting(what: &str, draws: bool) -> Bar {
        let template = "{msg} [{bar:30}] {percent}% {human_pos} of {human_len}, {per_sec}, {eta} left";
        Bar { template, ..Bar::new(what, draws) }
    }

    /// Something else begins, from nothing.
    pub(super) fn begin(&self, what: &str) {
        what.clone_into(&mut self.what.lock().unwrap_or_else(PoisonError::into_inner));
        if let Some(bar) = self.bar.get() {
            bar.reset();
            bar.set_message(what.to_owned());
        }
    }

    /// Writes a line above it.
    pub(super) fn aside(&self, write: impl FnOnce()) {
        match self.bar.get() {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }

    /// Takes the bar away again.
    pub(super) fn finish(&self) {
        if let Some(bar) = self.bar.get() {
            bar.finish_and_clear();
        }
    }
}

impl Progress for Bar {
    fn at(&self, done: u64, total: u64) {
        if !self.draws || self.started.elapsed() < PATIENCE {
            return;
        }
        let bar = self.bar.get_or_init(|| {
            let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
            let style = ProgressStyle::with_template(self.template);
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> "));
            bar.set_message(self.what.lock().unwrap_or_else(PoisonError::into_inner).clone());
            bar
        });
        bar.set_length(total);
        bar.set_position(done);
    }
}

/// For what cannot say how far it is. Made when [`PATIENCE`] is over.
pub(super) fn spinner(what: &'static str) -> ProgressBar {
    let spinner = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    let style = ProgressStyle::with_template("{spinner} {msg} {elapsed}");
    spinner.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
    spinner.set_message(what);
    spinner
}

/// For what says how far it is, and not how far it has to go.
pub(super) struct Tally {
    what: &'static str,
    draws: bool,
    spinner: Option<ProgressBar>,
}

impl Tally {
    pub(super) const fn new(what: &'static str, draws: bool) -> Tally {
        Tally { what, draws, spinner: None }
    }

    /// So much of `things` is done. Whoever tells it has let [`PATIENCE`] go by.
    pub(super) fn at(&mut self, done: u64, things: &str) {
        if self.draws {
            let spinner = self.spinner.get_or_insert_with(|| spinner(self.what));
            spinner.set_message(format!("{}: {done} {things}", self.what));
            spinner.tick();
        }
    }
}

impl Drop for Tally {
    fn drop(&mut self) {
        if let Some(spinner) = &self.spinner {
            spinner.finish_and_clear();
        }
    }
}
