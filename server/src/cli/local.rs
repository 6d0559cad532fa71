//! `serve`, `backup`, `restore`, `compact`, `doctor`, `healthcheck`: what concerns the server as a whole.

use super::args::{Backup, Connection, Restore};
use super::client::Client;
use super::hooks::{Level, RestoreOptions};
use super::progress::Bar;
use super::{Context, Exit, Failure, table};
use crate::config::server::MasterKey;
use crate::config::{Config, Problems};
use serde_json::{Value as Json, json};
use std::time::Duration;

/// Container platforms and service managers give a check a few seconds.
const HEALTH: Duration = Duration::from_secs(3);

impl Context<'_, '_> {
    pub(super) fn serve(&self) -> Result<Exit, Failure> {
        let config = self.config()?;
        self.hooks.serve(config, self.sources.clone(), self.json)?;
        Ok(Exit::Done)
    }

    pub(super) fn backup(&mut self, args: &Backup) -> Result<Exit, Failure> {
        let config = self.config()?;
        let file = args.file.display().to_string();
        if args.file.exists() {
            return Err(Failure::new(format!("{file} is there already")).help("name a file that is not"));
        }
        let bar = Bar::new("backup", self.terminal.draws);
        let done = self.hooks.backup(&config, &args.file, &bar);
        bar.finish();
        let done = done?;
        let master = master_key_place(&config);
        if self.json {
            self.print_json(&json!({"file": file, "bytes": done.bytes, "master_key": master}))?;
        } else {
            self.line(format!("wrote {file}, {} bytes", done.bytes))?;
            self.note(format!(
                "the master key is not in it: keep {master} too, in another place; without it the backup opens nothing"
            ))?;
        }
        Ok(Exit::Done)
    }

    pub(super) fn restore(&mut self, args: &Restore) -> Result<Exit, Failure> {
        let config = self.config()?;
        let master = master_key_place(&config);
        let Some(file) = &args.file else {
            let question = "End every session of the store, and replace the keys behind access tokens?";
            if !args.keep_sessions && !self.confirm(args.put_back.yes, question)? {
                return Ok(Exit::Failed);
            }
            let store = self.hooks.restore_in_place(&config, args.keep_sessions)?;
            if self.json {
                let answer =
                    json!({"store": store, "sessions_kept": args.keep_sessions, "master_key": master});
                self.print_json(&answer)?;
                return Ok(Exit::Done);
            }
            self.line(format!("{store} may be used again"))?;
            return self.after_restoring(args.keep_sessions);
        };
        let name = file.display().to_string();
        if !file.is_file() {
            return Err(
                Failure::new(format!("{name} is not a file")).help("name one that `handstamp backup` made")
            );
        }
        let options = RestoreOptions { keep_sessions: args.keep_sessions, replace: args.replace };
        let bar = Bar::new("restore", self.terminal.draws);
        let done = self.hooks.restore(&config, file, options, &bar);
        bar.finish();
        let done = done?;
        if self.json {
            let answer = json!({
                "file": name, "bytes": done.bytes, "sessions_kept": args.keep_sessions, "master_key": master,
            });
            self.print_json(&answer)?;
            return Ok(Exit::Done);
        }
        self.line(format!("restored {name}, {} bytes", done.bytes))?;
        self.note(format!("the master key was not in it: {master} must be the one of the backup"))?;
        self.after_restoring(args.keep_sessions)
    }

    fn after_restoring(&mut self, sessions_kept: bool) -> Result<Exit, Failure> {
        self.note(if sessions_kept {
            "sessions that were ended after the backup was made are live again"
        } else {
            "all sessions of the backup have ended, so that none that was ended since comes back; --keep-sessions keeps \
             them"
        })?;
        self.note("access keys are as they were: revoke again what was revoked since (handstamp keys list)")?;
        Ok(Exit::Done)
    }

    pub(super) fn compact(&mut self) -> Result<Exit, Failure> {
        let config = self.config()?;
        let done = self.hooks.compact(&config)?;
        if self.json {
            self.print_json(&json!({"bytes_before": done.before, "bytes": done.after}))?;
        } else {
            self.line(format!("the store has {} bytes now; before, it had {}", done.after, done.before))?;
        }
        Ok(Exit::Done)
    }

    pub(super) fn rotate_master_key(&mut self, end_sessions: bool, yes: bool) -> Result<Exit, Failure> {
        let config = self.config()?;
        let question = "Replace the master key, end every session and delete every access key?";
        if end_sessions && !self.confirm(yes, question)? {
            return Ok(Exit::Failed);
        }
        let done = self.hooks.rotate_master_key(&config, end_sessions)?;
        let (file, aside) = (done.file.display().to_string(), done.aside.display().to_string());
        if self.json {
            let answer = json!({
                "master_key": file, "old_master_key": aside, "keys": done.keys, "environments": done.environments,
                "sessions_ended": end_sessions, "access_keys_deleted": done.access_keys,
            });
            self.print_json(&answer)?;
            return Ok(Exit::Done);
        }
        let what = format!("{} keys of {} environments", done.keys, done.environments);
        self.line(format!("the new master key is in {file}; {what} are wrapped under it"))?;
        self.note(format!(
            "keep a copy of it in another place. The old one is in {aside}: backups that were made before need it; delete it \
             with the last of them"
        ))?;
        if end_sessions {
            self.note(format!(
                "every session has ended, {} access keys are gone, the keys behind access tokens are new. Make access keys when \
                 the server runs: handstamp keys create NAME --operator. Then run `handstamp compact`, so that nothing which \
                 the old key opens is left in the file",
                done.access_keys
            ))?;
        }
        Ok(Exit::Done)
    }

    pub(super) fn doctor(&mut self) -> Result<Exit, Failure> {
        let config = Config::load_to_ask(&self.sources).map_err(Failure::configuration)?;
        let mut rows: Vec<Json> = Vec::new();
        let row = |level: Level, what: &str, detail: &str| json!({"level": level.word(), "what": what, "detail": detail});
        match Config::load(&self.sources) {
            Ok(config) if config.warnings.is_empty() => {
                rows.push(row(Level::Fine, "configuration", "is right"))
            }
            Ok(config) => {
                rows.extend(config.warnings.iter().map(|w| row(Level::Warning, "configuration", w)))
            }
            Err(Problems(all)) => {
                rows.extend(all.iter().map(|p| row(Level::Problem, "configuration", &p.to_string())));
            }
        }
        rows.extend(self.hooks.doctor(&config)?.iter().map(|f| row(f.level, &f.what, &f.detail)));
        let sick = rows.iter().any(|row| row["level"] == Level::Problem.word());
        if self.json {
            self.print_json(&json!({"ok": !sick, "findings": rows}))?;
        } else {
            self.line(
                table::columns(&[("", "level"), ("", "what"), ("", "detail")], &rows)
                    .trim_start_matches('\n'),
            )?;
        }
        Ok(if sick { Exit::Failed } else { Exit::Done })
    }

    /// Needs no key.
    pub(super) fn healthcheck(&mut self, connection: &Connection) -> Result<Exit, Failure> {
        let config = Config::load_to_ask(&self.sources).map_err(Failure::configuration)?;
        let mut client = Client::new(&config, connection.target(), None, false)?;
        let answer = client.probe("/readyz", HEALTH)?;
        let ready = answer.status == 200;
        if self.json {
            self.print_json(&json!({"ready": ready, "status": answer.status, "url": client.url()}))?;
        } else if ready {
            self.line("ready")?;
        } else {
            let detail = answer.body.get("detail").map(|detail| format!(": {}", table::cell(Some(detail))));
            self.line(format!("not ready ({}){}", answer.status, detail.unwrap_or_default()))?;
        }
        Ok(if ready { Exit::Done } else { Exit::Failed })
    }
}

fn master_key_place(config: &Config) -> String {
    match &config.server.master_key {
        MasterKey::Given(_) => "HANDSTAMP_SERVER__MASTER_KEY".to_owned(),
        MasterKey::File(file) | MasterKey::Made(file) => file.display().to_string(),
    }
}
