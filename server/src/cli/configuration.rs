//! `handstamp config`: is it right, what stands and who said so, and files to begin with.

use super::args::ConfigVerb;
use super::{Context, Exit, Failure};
use crate::config::{Config, Problem, Problems, print};
use serde_json::json;

impl Context<'_, '_> {
    pub(super) fn configuration(&mut self, verb: ConfigVerb) -> Result<Exit, Failure> {
        match verb {
            ConfigVerb::Check => self.check(),
            ConfigVerb::Show { origin } => {
                let config = self.config()?;
                if self.json {
                    self.print_json(&print::listing_json(&config, origin))?;
                } else {
                    self.line(print::listing(&config, origin).trim_end())?;
                }
                Ok(Exit::Done)
            }
            ConfigVerb::Init if self.json => {
                self.print_json(&json!({"handstamp.toml": print::sample()}))?;
                Ok(Exit::Done)
            }
            ConfigVerb::Init => {
                self.line(print::sample().trim_end())?;
                Ok(Exit::Done)
            }
            ConfigVerb::Schema => {
                self.print_json(&print::schema())?;
                Ok(Exit::Done)
            }
            ConfigVerb::Reload => self.reload(),
        }
    }

    /// Problems are the answer here, so they go to standard output.
    fn check(&mut self) -> Result<Exit, Failure> {
        let (problems, warnings, file) = match Config::load(&self.sources) {
            Ok(config) => {
                let objection = self.hooks.objection(&config);
                let problem = objection.map(|why| config.problem("store.url", why));
                (problem.into_iter().collect(), config.warnings, config.file)
            }
            Err(Problems(problems)) => (problems, Vec::new(), None),
        };
        let what = file.map_or_else(|| "the configuration".to_owned(), |file| file.display().to_string());
        self.checked(&what, &problems, &warnings)
    }

    /// Tells what a look at `what` has found.
    pub(super) fn checked(
        &mut self,
        what: &str,
        problems: &[Problem],
        warnings: &[String],
    ) -> Result<Exit, Failure> {
        let exit = if problems.is_empty() { Exit::Done } else { Exit::Failed };
        if self.json {
            let problems: Vec<_> = problems
                .iter()
                .map(|p| json!({"place": p.place.to_string(), "key": p.key, "message": p.message}))
                .collect();
            let ok = problems.is_empty();
            self.print_json(&json!({"ok": ok, "problems": problems, "warnings": warnings}))?;
            return Ok(exit);
        }
        for problem in problems {
            self.line(format!("error: {problem}"))?;
        }
        for warning in warnings {
            self.line(format!("warning: {warning}"))?;
        }
        if problems.is_empty() {
            self.line(format!("{what} is right"))?;
        }
        Ok(exit)
    }

    /// A file that is not right never reaches the running server.
    fn reload(&mut self) -> Result<Exit, Failure> {
        let config = self.config()?;
        self.hooks.reload(&config)?;
        if self.json {
            self.print_json(&json!({"reloaded": true}))?;
        } else {
            self.line("the server was told to read its configuration again; its log says what changed")?;
        }
        Ok(Exit::Done)
    }
}
