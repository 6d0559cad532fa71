//! Why a command failed, as one line: what happened, and what to do about it.

use super::Exit;
use super::table::clean;
use crate::config::Problems;
use clap::error::ErrorKind;
use serde_json::{Value as Json, json};
use std::fmt;
use std::io;

/// Why a command failed. Never holds a secret.
#[derive(Clone, Debug)]
pub struct Failure {
    code: Option<String>,
    message: String,
    help: Option<String>,
    problem: Option<Json>,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Failed,
    Usage,
    BrokenPipe,
}

impl Failure {
    /// What happened.
    pub fn new(message: impl Into<String>) -> Failure {
        Failure { code: None, message: message.into(), help: None, problem: None, kind: Kind::Failed }
    }

    /// What to do about it.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Failure {
        self.help = Some(help.into());
        self
    }

    pub(super) fn usage(message: impl Into<String>, help: impl Into<String>) -> Failure {
        Failure { kind: Kind::Usage, ..Failure::new(message).help(help) }
    }

    /// Words that are none of the command line's: the first paragraph is what is wrong, the others what would be right.
    pub(super) fn not_understood(error: &clap::Error) -> Failure {
        let text = error.render().to_string();
        let line = |part: &str| part.split_whitespace().collect::<Vec<_>>().join(" ");
        let usage = || text.lines().find(|line| line.starts_with("Usage:")).map(line);
        if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
            let help = usage().unwrap_or_default();
            return Failure::usage("a command is missing", format!("{help}; --help lists them"));
        }
        let mut parts = text.trim().split("\n\n").map(line);
        let message = parts.next().unwrap_or_default();
        let message = message.strip_prefix("error: ").unwrap_or(&message).to_owned();
        Failure::usage(message, parts.collect::<Vec<_>>().join(". "))
    }

    pub(super) fn configuration(problems: Problems) -> Failure {
        Failure::not_right("the configuration", problems)
    }

    /// A file that somebody wrote is not right.
    pub(super) fn not_right(what: &str, problems: Problems) -> Failure {
        let Problems(all) = problems;
        let lines: Vec<String> = all.iter().map(ToString::to_string).collect();
        let list = all.iter().map(|problem| {
            json!({"place": problem.place.to_string(), "key": problem.key, "message": problem.message})
        });
        Failure {
            code: Some(format!("{}_invalid", what.trim_start_matches("the "))),
            problem: Some(json!({"problems": list.collect::<Vec<_>>()})),
            ..Failure::new(format!("{what} is not right\n  {}", lines.join("\n  ")))
        }
    }

    pub(super) fn output(error: io::Error) -> Failure {
        let kind = if error.kind() == io::ErrorKind::BrokenPipe { Kind::BrokenPipe } else { Kind::Failed };
        Failure { kind, ..Failure::new(format!("cannot write: {error}")) }
    }

    /// From a problem document of the server.
    pub(super) fn from_answer(status: u16, document: Json) -> Failure {
        let text = |name: &str| document.get(name).and_then(Json::as_str).map(clean);
        let Some(code) = text("code") else {
            return Failure::new(format!("the server answered {status} without saying why"))
                .help("is --url the address of a Handstamp server?");
        };
        let mut message = text("detail").or(text("title")).unwrap_or_default();
        for error in document.get("errors").and_then(Json::as_array).into_iter().flatten() {
            let part = |name: &str| error.get(name).and_then(Json::as_str).map(clean).unwrap_or_default();
            // Where there is one only, the detail may have said it.
            if !message.contains(&part("message")) {
                message.push_str(&format!("; {} {}", part("pointer"), part("message")));
            }
        }
        let retry = document.get("retry_after").and_then(Json::as_u64);
        let help = match (advice(&code, status), retry) {
            (_, Some(seconds)) => Some(format!("try again in {seconds} s")),
            (Some(advice), None) => Some(advice.to_owned()),
            (None, None) => text("type").map(|page| format!("see {page} on the server")),
        };
        Failure { code: Some(code), message, help, problem: Some(document), kind: Kind::Failed }
    }

    pub(super) const fn is_broken_pipe(&self) -> bool {
        matches!(self.kind, Kind::BrokenPipe)
    }

    pub(super) const fn exit(&self) -> Exit {
        match self.kind {
            Kind::Usage => Exit::Usage,
            Kind::Failed | Kind::BrokenPipe => Exit::Failed,
        }
    }

    /// The code of the server's answer, or of ours.
    pub fn code(&self) -> Option<&str> {
        self.code.as_deref()
    }

    pub(super) fn to_json(&self) -> Json {
        json!({"error": {
            "code": self.code,
            "message": self.message,
            "help": self.help,
            "details": self.problem,
        }})
    }
}

/// What helps against the refusals that a person at a command line meets.
fn advice(code: &str, status: u16) -> Option<&'static str> {
    match (code, status) {
        ("insufficient_scope", _) => {
            Some("use a key that has the scope, in HANDSTAMP_KEY or HANDSTAMP_KEY_FILE")
        }
        ("publishable_key_forbidden", _) => Some("use an access key (hsk_...), not a publishable one"),
        ("session_not_found", _) => {
            Some("is it of another environment? An operator's key chooses with --env")
        }
        ("policy_changed", _) => {
            Some("somebody changed it meanwhile: look with `handstamp policy show`, and try again")
        }
        ("settings_changed", _) => Some("somebody changed it meanwhile: run the command again"),
        ("policy_managed_by_file", _) => {
            Some("put the rules under [policy] of the server's file, then `handstamp config reload`")
        }
        ("access_key_suspended", _) => Some("`handstamp keys resume` with another key takes it back"),
        ("access_key_expired", _) => Some("`handstamp keys create` with another key makes a new one"),
        (code, 401) if code.starts_with("access_key") => Some(
            "the key in HANDSTAMP_KEY, HANDSTAMP_KEY_FILE or the data directory's access.key is not this server's",
        ),
        ("store_unavailable", _) => {
            Some("the store does not answer: look at the server's log, or run `handstamp doctor`")
        }
        (_, 500..=599) => Some("look at the server's log for the request id"),
        _ => None,
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let (Some(code), None) = (&self.code, self.problem.as_ref().and_then(|p| p.get("problems"))) {
            write!(f, "{code}: ")?;
        }
        f.write_str(&self.message)?;
        match &self.help {
            Some(help) => write!(f, " ({help})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Failure {}
