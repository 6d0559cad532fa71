//! The command line: reads the arguments, does one thing, says how it went.
//!
//! Verbs about sessions, keys and environments speak HTTP to the running server, as any other caller does. What needs
//! the server's own rooms (serve, backup, restore, doctor, a fresh key) is handed in as [`Hooks`], so that nothing here
//! names them. Everything is written to a [`Terminal`] that is handed in as well, so that tests read what people read.
//!
//! Exit codes: 0 done, 1 failed, 2 not understood. Answers go to standard output, everything else to standard error.

mod address;
mod args;
mod bench;
pub mod client;
mod configuration;
mod devices;
mod environments;
mod events;
pub mod failure;
pub mod hooks;
mod keys;
mod local;
mod migrate;
mod policy;
mod progress;
mod revocations;
mod session_types;
mod sessions;
mod settings;
mod signing;
mod stream;
mod table;
mod tls;
mod users;

pub use self::failure::Failure;
pub use self::hooks::{
    BackupDone, CompactDone, Finding, Hooks, Level, MasterKeyDone, MoveDone, MoveNews, MoveOrder, MoveWatch,
    Progress, RestoreDone, RestoreOptions,
};

use self::args::{Cli, Command, Connection, MasterKeyVerb};
use self::client::Client;
use crate::config::setting::Word;
use crate::config::store::StoreUrl;
use crate::config::{Config, ConfigFile, Environment, Flags, Sources};
use clap::Parser;
use clap::error::ErrorKind;
use serde_json::Value as Json;
use std::ffi::OsString;
use std::io::{BufRead, BufReader, IsTerminal, Write};
use std::process::ExitCode;

/// How a command ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Exit {
    /// It did what was asked.
    Done,
    /// It was understood and could not be done, or the answer is no.
    Failed,
    /// It was not understood, or lacks a yes.
    Usage,
}

impl Exit {
    /// 0, 1 or 2.
    pub const fn code(self) -> u8 {
        match self {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit.code())
    }
}

/// Where a command reads and writes.
pub struct Terminal<'a> {
    /// Answers.
    pub out: &'a mut dyn Write,
    /// Questions, advice, errors.
    pub err: &'a mut dyn Write,
    /// Answers to questions, and tokens.
    pub input: &'a mut dyn BufRead,
    /// Whether a person is there to be asked.
    pub asks: bool,
    /// Whether bars may be drawn on standard error.
    pub draws: bool,
}

/// Runs the command line of this process.
pub fn main(environment: Environment, hooks: &dyn Hooks) -> ExitCode {
    let (stdin, stderr) = (std::io::stdin(), std::io::stderr());
    let draws = stderr.is_terminal();
    let asks = draws && stdin.is_terminal();
    // Nothing is locked: the server's log, its first lines and progress bars are written from other threads.
    let (mut out, mut err, mut input) = (std::io::stdout(), stderr, BufReader::new(stdin));
    let mut terminal = Terminal { out: &mut out, err: &mut err, input: &mut input, asks, draws };
    run(std::env::args_os(), environment, hooks, &mut terminal).into()
}

/// Runs one command. `arguments` begin with the name of the program.
pub fn run(
    arguments: impl IntoIterator<Item = OsString>,
    environment: Environment,
    hooks: &dyn Hooks,
    terminal: &mut Terminal<'_>,
) -> Exit {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    // What was not understood has no flags yet, and who asked for JSON reads nothing else.
    let json = arguments.iter().take_while(|word| *word != "--").any(|word| word == "--json");
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => return say_usage(&error, json, terminal),
    };
    let json = cli.global.json;
    let mut context = Context { sources: sources(&cli, environment), hooks, terminal, json };
    match context.dispatch(cli.command) {
        Ok(exit) => exit,
        // Whoever reads the output has seen enough, as `head` has.
        Err(failure) if failure.is_broken_pipe() => Exit::Done,
        Err(failure) => {
            let text = if json { failure.to_json().to_string() } else { format!("error: {failure}") };
            let _ = writeln!(context.terminal.err, "{text}");
            failure.exit()
        }
    }
}

fn say_usage(error: &clap::Error, json: bool, terminal: &mut Terminal<'_>) -> Exit {
    let text = error.render();
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        let _ = write!(terminal.out, "{text}");
        Exit::Done
    } else if json {
        let _ = writeln!(terminal.err, "{}", Failure::not_understood(error).to_json());
        Exit::Usage
    } else {
        let _ = write!(terminal.err, "{text}");
        Exit::Usage
    }
}

fn sources(cli: &Cli, environment: Environment) -> Sources {
    let global = &cli.global;
    let file = match &global.config {
        Some(path) => ConfigFile::Named(path.clone()),
        None => ConfigFile::IfPresent("handstamp.toml".into()),
    };
    let flags = Flags {
        listen: global.listen.clone(),
        data_dir: global.data_dir.clone(),
        store: global.store.clone(),
        control: global.control.clone(),
    };
    Sources { file, environment, flags }
}

/// What every verb needs.
struct Context<'a, 't> {
    sources: Sources,
    hooks: &'a dyn Hooks,
    terminal: &'a mut Terminal<'t>,
    json: bool,
}

impl Context<'_, '_> {
    fn dispatch(&mut self, command: Command) -> Result<Exit, Failure> {
        self.warn_of_passwords()?;
        match command {
            Command::Serve => self.serve(),
            Command::Config(verb) => self.configuration(verb),
            Command::Environments(group) => self.environments(group),
            Command::Keys(group) => self.keys(group),
            Command::Sessions(group) => self.sessions(group),
            Command::SessionTypes(group) => self.session_types(&group),
            Command::Settings(group) => self.settings(&group),
            Command::Users(group) => self.users(group),
            Command::Policy(group) => self.policy(group),
            Command::Events(args) => self.events(&args),
            Command::Revocations(args) => self.revocations(&args),
            Command::Devices(group) => self.devices(&group),
            Command::Backup(args) => self.backup(&args),
            Command::Compact => self.compact(),
            Command::Restore(args) => self.restore(&args),
            Command::MasterKey(MasterKeyVerb::Rotate { end_sessions, yes }) => {
                self.rotate_master_key(end_sessions, yes)
            }
            Command::MigrateStore(args) => self.migrate_store(&args),
            Command::Doctor => self.doctor(),
            Command::Healthcheck(connection) => self.healthcheck(&connection),
            Command::Bench(args) => self.bench(&args),
        }
    }

    /// What stands on a command line is in the list of processes.
    fn warn_of_passwords(&mut self) -> Result<(), Failure> {
        for (flag, said, variable) in [
            ("--store", self.sources.flags.store.clone(), "HANDSTAMP_STORE__URL_FILE"),
            ("--control", self.sources.flags.control.clone(), "HANDSTAMP_CONTROL__URL_FILE"),
        ] {
            if said.is_some_and(|said| StoreUrl::parse(&said).is_ok_and(|url| url.has_password())) {
                self.note(format!(
                    "warning: everybody on this machine can see the password in {flag}; write the address into a file that only \
                     the server can read, and name the file in {variable}"
                ))?;
            }
        }
        Ok(())
    }

    /// The whole configuration, for what works on the server's own files.
    fn config(&self) -> Result<Config, Failure> {
        Config::load(&self.sources).map_err(Failure::configuration)
    }

    /// A client of the running server, with its access key.
    fn client(&mut self, connection: &Connection) -> Result<Client, Failure> {
        self.client_as(connection, connection.target().environment.is_some())
    }

    /// A client with the key that was given, else with the data directory's; where an operator is needed, with the key
    /// that follows from the master key beside it. That one is never sent to another address than the configured one.
    fn client_as(&mut self, connection: &Connection, operator: bool) -> Result<Client, Failure> {
        let config = Config::load_to_ask(&self.sources).map_err(Failure::configuration)?;
        let environment = &self.sources.environment;
        let given = client::gives_key(environment) || connection.target().url.is_some();
        let derived = if operator && !given { self.hooks.operator_key(&config) } else { None };
        let key = match derived {
            Some(key) => key,
            None => client::access_key(environment, &config)?,
        };
        let client = Client::new(&config, connection.target(), Some(key), self.terminal.draws)?;
        if client.is_in_the_clear() {
            self.note(format!("warning: {} carries the access key in the clear; use https", client.url()))?;
        }
        Ok(client)
    }

    fn line(&mut self, text: impl AsRef<str>) -> Result<(), Failure> {
        writeln!(self.terminal.out, "{}", text.as_ref()).map_err(Failure::output)
    }

    /// Advice, warnings and everything that is no answer.
    fn note(&mut self, text: impl AsRef<str>) -> Result<(), Failure> {
        writeln!(self.terminal.err, "{}", text.as_ref()).map_err(Failure::output)
    }

    fn print_json(&mut self, value: &Json) -> Result<(), Failure> {
        self.line(format!("{value:#}"))
    }

    /// Asks for a yes. Without a person to ask, only `--yes` is one.
    fn confirm(&mut self, yes: bool, question: &str) -> Result<bool, Failure> {
        if yes {
            return Ok(true);
        }
        if !self.terminal.asks {
            return Err(Failure::usage(
                format!("{question} Nobody is here to answer"),
                "say --yes to go on without",
            ));
        }
        write!(self.terminal.err, "{question} [y/N] ").map_err(Failure::output)?;
        self.terminal.err.flush().map_err(Failure::output)?;
        let mut answer = String::new();
        self.terminal.input.read_line(&mut answer).map_err(Failure::output)?;
        let yes = matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes");
        if !yes {
            self.note("nothing was changed")?;
        }
        Ok(yes)
    }
}
