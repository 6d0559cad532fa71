//! `[log]`: what the server writes about itself to standard error.

use super::Values;
use super::key::{Key, Section};
use super::problem::Problem;
use super::setting::choices;

pub(super) const SECTION: Section = Section {
    name: "log",
    about: "What the server writes about itself, on standard error",
    keys: &[
        Key::new::<Format>("log", "format", "auto", "text, json, or auto: text on a terminal, else json"),
        Key::new::<Level>("log", "level", "info", "error, warn, info, debug or trace").live(),
    ],
};

choices! {
    /// How a line looks.
    Format {
        /// Text on a terminal, else JSON.
        Auto = "auto",
        /// For people.
        Text = "text",
        /// One object a line.
        Json = "json",
    }
}

choices! {
    /// The least that is written.
    Level {
        /// Something failed.
        Error = "error",
        /// Somebody should look.
        Warn = "warn",
        /// What a start, a stop and a change look like.
        Info = "info",
        /// A line for each request.
        Debug = "debug",
        /// Everything.
        Trace = "trace",
    }
}

/// `[log]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// Text or JSON.
    pub format: Format,
    /// A reload changes it.
    pub level: Level,
}

impl Log {
    pub(super) fn read(values: &Values) -> Result<Log, Problem> {
        let at = values.section("log");
        Ok(Log { format: at.get("format")?, level: at.get("level")? })
    }
}
