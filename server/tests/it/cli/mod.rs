//! The command line, tried from outside: real arguments, a real server on a socket, what a person would read.

#![cfg(test)]

mod arguments;
mod client;
mod configuration;
mod devices;
#[cfg(test)]
mod events;
mod keys;
mod local;
mod migrate;
mod policy;
mod revocations;
mod server;
mod session_types;
mod sessions;
mod settings;
mod users;

use crate::config::directory;
use handstamp_server::cli::{
    self, BackupDone, CompactDone, Exit, Failure, Finding, Hooks, Level, MasterKeyDone, MoveDone, MoveNews,
    MoveOrder, MoveWatch, Progress, RestoreDone, RestoreOptions, Terminal,
};
use handstamp_server::config::setting::Word;
use handstamp_server::config::store::StoreUrl;
use handstamp_server::config::{Config, Environment, Secret, Sources};
use std::cell::RefCell;
use std::ffi::OsString;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Stands in for the rooms that the command line does not know, and writes down what it was asked.
#[derive(Default)]
struct Rooms {
    asked: RefCell<Vec<String>>,
    findings: Vec<Finding>,
    fails: bool,
}

impl Rooms {
    fn note(&self, what: String) -> Result<(), Failure> {
        self.asked.borrow_mut().push(what);
        if self.fails { Err(Failure::new("the disk is full").help("make room")) } else { Ok(()) }
    }
}

impl Hooks for Rooms {
    fn serve(&self, config: Config, _: Sources, _: bool) -> Result<(), Failure> {
        self.note(format!("serve {}", config.server.listen))
    }
    fn objection(&self, _: &Config) -> Option<String> {
        None
    }
    fn backup(&self, _: &Config, file: &Path, progress: &dyn Progress) -> Result<BackupDone, Failure> {
        progress.at(1, 2);
        self.note(format!("backup {}", file.file_name().unwrap().display()))?;
        Ok(BackupDone { bytes: 42 })
    }
    fn compact(&self, config: &Config) -> Result<CompactDone, Failure> {
        self.note(format!("compact {}", config.server.data_dir.display()))?;
        Ok(CompactDone { before: 44, after: 43 })
    }
    fn restore(
        &self,
        _: &Config,
        file: &Path,
        options: RestoreOptions,
        _: &dyn Progress,
    ) -> Result<RestoreDone, Failure> {
        let RestoreOptions { keep_sessions, replace } = options;
        self.note(format!("restore {} {keep_sessions} {replace}", file.file_name().unwrap().display()))?;
        Ok(RestoreDone { bytes: 43 })
    }
    fn restore_in_place(&self, _: &Config, keep_sessions: bool) -> Result<String, Failure> {
        self.note(format!("restore in place {keep_sessions}"))?;
        Ok("the store".to_owned())
    }
    fn rotate_master_key(&self, _: &Config, end_sessions: bool) -> Result<MasterKeyDone, Failure> {
        self.note(format!("master-key rotate {end_sessions}"))?;
        let (file, aside) = ("/d/master.key".into(), "/d/master.key.old".into());
        Ok(MasterKeyDone { file, aside, keys: 7, environments: 2, access_keys: 3 })
    }
    fn doctor(&self, _: &Config) -> Result<Vec<Finding>, Failure> {
        self.note("doctor".to_owned())?;
        Ok(self.findings.clone())
    }
    fn operator_key(&self, _: &Config) -> Option<Secret> {
        None
    }

    fn generate_key(&self) -> Result<Secret, Failure> {
        self.note("generate".to_owned())?;
        Ok(Secret::new("hsk_fresh"))
    }
    fn migrate_store(&self, order: &MoveOrder, watch: &mut dyn MoveWatch) -> Result<MoveDone, Failure> {
        let MoveOrder { from, to, wait, anew, dry_run } = order;
        let (from, to) = (from.text(), to.text());
        self.note(format!("migrate-store {from} {to} {wait} {anew} {dry_run}"))?;
        watch.tell(&MoveNews::Began { again: false, records: 7, lines: 8 });
        if *dry_run {
            return Ok(MoveDone::Would { records: 7, lines: 8, differ: 9 });
        }
        watch.tell(&MoveNews::RoundDone { number: 1, brought: 15, removed: 2 });
        if !*wait {
            return Ok(MoveDone::NotYet { round: Duration::from_secs(12), lingers: false });
        }
        watch.tell(&MoveNews::StopTheService { round: Duration::from_secs(12) });
        watch.tell(&MoveNews::LastRound);
        watch.tell(&MoveNews::Comparing);
        Ok(MoveDone::Done { records: 7, lines: 8, digest: "0123456789abcdef01".to_owned() })
    }
    fn undo_migration(&self, store: &StoreUrl) -> Result<String, Failure> {
        self.note(format!("undo {}", store.text()))?;
        Ok("sqlite:/b".to_owned())
    }
    fn reload(&self, config: &Config) -> Result<(), Failure> {
        self.note(format!("reload {}", config.server.data_dir.display()))
    }
}

/// One command.
struct Command {
    arguments: Vec<String>,
    environment: Vec<(&'static str, String)>,
    input: String,
    asks: bool,
    rooms: Rooms,
    place: PathBuf,
}

/// What came of it.
struct Ran {
    exit: Exit,
    out: String,
    err: String,
    asked: Vec<String>,
}

/// `handstamp` with these words; the configuration file is one that is not there.
fn handstamp(words: &str) -> Command {
    let place = directory();
    let file = place.join("handstamp.toml");
    std::fs::write(&file, "").unwrap();
    let mut arguments = vec!["--config".to_owned(), file.display().to_string()];
    arguments.extend(words.split_whitespace().map(str::to_owned));
    Command {
        arguments,
        environment: Vec::new(),
        input: String::new(),
        asks: false,
        rooms: Rooms::default(),
        place,
    }
}

impl Command {
    fn with(mut self, name: &'static str, value: impl Into<String>) -> Command {
        self.environment.push((name, value.into()));
        self
    }
    fn argument(mut self, word: impl Into<String>) -> Command {
        self.arguments.push(word.into());
        self
    }
    /// The access key of the tests.
    fn keyed(self) -> Command {
        self.with("HANDSTAMP_KEY", "hsk_PLANTED")
    }
    /// Speaks to `server` with the access key of the tests.
    fn to(self, server: &server::Server) -> Command {
        self.argument("--url").argument(server.url()).keyed()
    }
    fn file(self, text: &str) -> Command {
        std::fs::write(self.place.join("handstamp.toml"), text).unwrap();
        self
    }
    /// A person is there, who types `input`.
    fn person(mut self, input: &str) -> Command {
        self.asks = true;
        self.input = input.to_owned();
        self
    }
    fn input(mut self, input: &str) -> Command {
        self.input = input.to_owned();
        self
    }
    fn rooms(mut self, rooms: Rooms) -> Command {
        self.rooms = rooms;
        self
    }

    fn run(self) -> Ran {
        let (mut out, mut err, mut input) = (Vec::new(), Vec::new(), Cursor::new(self.input));
        let arguments = std::iter::once("handstamp".to_owned()).chain(self.arguments).map(OsString::from);
        let exit = cli::run(
            arguments,
            Environment::new(self.environment),
            &self.rooms,
            &mut Terminal { out: &mut out, err: &mut err, input: &mut input, asks: self.asks, draws: false },
        );
        let [out, err] = [out, err].map(|bytes| String::from_utf8(bytes).unwrap());
        // Whatever is printed, the key is not.
        assert!(!out.contains("PLANTED") && !err.contains("PLANTED"), "{out}{err}");
        Ran { exit, out, err, asked: self.rooms.asked.into_inner() }
    }
}

impl Ran {
    fn done(self) -> String {
        assert_eq!((self.exit, self.exit.code()), (Exit::Done, 0), "{}{}", self.out, self.err);
        self.out
    }
    fn failed(self) -> String {
        assert_eq!((self.exit, self.exit.code()), (Exit::Failed, 1), "{}{}", self.out, self.err);
        self.err
    }
    fn usage(self) -> String {
        assert_eq!((self.exit, self.exit.code()), (Exit::Usage, 2), "{}{}", self.out, self.err);
        assert_eq!(self.out, "");
        self.err
    }
}

fn problem(what: &str) -> Finding {
    Finding { level: Level::Problem, what: what.to_owned(), detail: "is broken: mend it".to_owned() }
}
