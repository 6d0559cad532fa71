//! What the server writes of itself, on standard error: text for people, JSON lines for machines.

use crate::config::log::{Format, Level, Log};
use std::io::IsTerminal;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload::{self, Handle};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry};

/// Changes the level while the server runs.
pub struct Logs(Option<Handle<LevelFilter, Registry>>);

/// Begins to log. Called once.
pub fn start(log: &Log) -> Logs {
    let (filter, handle) = reload::Layer::new(level(log.level));
    let on_terminal = std::io::stderr().is_terminal();
    let json = match log.format {
        Format::Json => true,
        Format::Text => false,
        Format::Auto => !on_terminal,
    };
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_target(false);
    let layer = if json {
        layer.json().flatten_event(true).with_current_span(false).with_span_list(false).boxed()
    } else {
        layer.with_ansi(on_terminal).boxed()
    };
    let started = tracing_subscriber::registry().with(filter).with(layer).try_init();
    Logs(started.is_ok().then_some(handle))
}

impl Logs {
    /// From now on.
    pub fn set(&self, to: Level) {
        if let Some(handle) = &self.0 {
            let _ = handle.modify(|filter| *filter = level(to));
        }
    }
}

const fn level(level: Level) -> LevelFilter {
    match level {
        Level::Error => LevelFilter::ERROR,
        Level::Warn => LevelFilter::WARN,
        Level::Info => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
        Level::Trace => LevelFilter::TRACE,
    }
}
