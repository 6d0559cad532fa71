//! What a run of `./bench` knows throughout: what to measure, how long, with which programs, and where to put things.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use clap::Args;

use crate::Result;
use crate::drive::Until;
use crate::population::Population;
use crate::procs::Pinning;
use crate::report::Report;

/// What can be named by `--only`: our own workloads, then peers.
pub(crate) const WORKLOADS: [&str; 18] = [
    "validate-1k",
    "policy",
    "rates",
    "tokens",
    "refresh",
    "feed",
    "validate-1m",
    "batch",
    "create",
    "search",
    "memory",
    "restart",
    "nodes-validate",
    "nodes-cold",
    "nodes-create",
    "nodes-refresh",
    "nodes-revoke",
    "nodes-size",
];
pub(crate) const PEERS: [&str; 5] = ["echo", "tower", "tower-postgres", "express", "postgres"];

#[derive(Args)]
pub(crate) struct Options {
    /// A short look (under eight minutes): few sessions, short windows; no figures to publish
    #[arg(long)]
    pub(crate) quick: bool,
    /// Only these, comma separated: validate-1k, policy, rates, tokens, refresh, feed, validate-1m, batch, create, search,
    /// memory, restart, nodes-validate, nodes-cold, nodes-create, nodes-refresh, nodes-revoke, nodes-size; and of the
    /// peers only: echo, tower, tower-postgres, express, postgres
    #[arg(long, value_delimiter = ',', value_name = "NAME,...")]
    pub(crate) only: Vec<String>,
    /// Write everything measured to this file
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// How many sessions the large store holds (default 1000000; 20000 with --quick)
    #[arg(long, value_name = "N")]
    pub(crate) sessions: Option<usize>,
    /// Keep the filled store under .cache/bench, and start from it when it is there
    #[arg(long)]
    pub(crate) keep_filled: bool,
    /// Rewrite the generated section of docs/benchmarks.md (only after a whole, long run)
    #[arg(long)]
    pub(crate) write_docs: bool,
    /// The server under test
    #[arg(long, value_name = "FILE", default_value = "target/release/handstamp")]
    pub(crate) server: PathBuf,
    /// Where data, logs and peers live while it runs; figures of durable writes are of this disk
    #[arg(long, value_name = "DIR", default_value = ".cache/bench")]
    pub(crate) folder: PathBuf,
    /// How it was called, for the report
    #[arg(long, hide = true, default_value = "./bench")]
    pub(crate) command: String,
}

pub(crate) struct Context {
    pub(crate) options: Options,
    pub(crate) sessions: usize,
    pub(crate) rounds: usize,
    pub(crate) connections: usize,
    pub(crate) pinning: Pinning,
    pub(crate) population: Rc<Population>,
    pub(crate) report: RefCell<Report>,
}

impl Context {
    /// # Errors
    /// Names that do not exist, a server that was not built, a folder that cannot be made.
    pub(crate) fn new(mut options: Options) -> Result<Self> {
        for name in &options.only {
            if !WORKLOADS.contains(&name.as_str()) && !PEERS.contains(&name.as_str()) {
                let known = [&WORKLOADS[..], &PEERS[..]].concat().join(", ");
                return Err(format!("--only {name}: there is no such part; there are {known}").into());
            }
        }
        if options.write_docs && (options.quick || !options.only.is_empty() || options.sessions.is_some()) {
            return Err(
                "--write-docs publishes figures: it takes a whole run, without --quick, --only, --sessions"
                    .into(),
            );
        }
        if !options.server.is_file() {
            return Err(format!(
                "{} is not there: build it with cargo build --release",
                options.server.display()
            )
            .into());
        }
        std::fs::create_dir_all(&options.folder)?;
        // Absolute, because some of the programs started change their working folder.
        options.folder = options.folder.canonicalize()?;
        options.server = options.server.canonicalize()?;
        let sessions = options.sessions.unwrap_or(if options.quick { 20_000 } else { 1_000_000 });
        let rounds = if options.quick { 1 } else { 3 };
        let pinning = Pinning::choose()?;
        let population = Rc::new(Population::new());
        Ok(Self {
            options,
            sessions,
            rounds,
            connections: 64,
            pinning,
            population,
            report: RefCell::default(),
        })
    }

    /// Is this workload asked for? Naming only peers asks for all workloads.
    pub(crate) fn wants(&self, workload: &str) -> bool {
        let named = |list: &[&str]| self.options.only.iter().any(|name| list.contains(&name.as_str()));
        !named(&WORKLOADS) || self.options.only.iter().any(|name| name == workload)
    }

    /// Is this peer asked for? Naming only workloads asks for all peers.
    pub(crate) fn wants_peer(&self, peer: &str) -> bool {
        let named = |list: &[&str]| self.options.only.iter().any(|name| list.contains(&name.as_str()));
        !named(&PEERS) || self.options.only.iter().any(|name| name == peer)
    }

    /// Warm-up and measured span of one run in a round.
    pub(crate) fn window(&self) -> Until {
        let seconds = |quick, whole| Duration::from_secs(if self.options.quick { quick } else { whole });
        Until::Window { warm: seconds(1, 2), measure: seconds(2, 10) }
    }

    /// A third of that.
    pub(crate) fn short_window(&self) -> Until {
        let millis = |quick, whole| Duration::from_millis(if self.options.quick { quick } else { whole });
        Until::Window { warm: millis(300, 700), measure: millis(700, 3_400) }
    }

    /// `whole` repetitions, a tenth of it in a short look.
    pub(crate) fn repeat(&self, whole: usize) -> usize {
        if self.options.quick { (whole / 10).max(1) } else { whole }
    }

    pub(crate) fn folder(&self, name: &str) -> PathBuf {
        self.options.folder.join(name)
    }

    /// An empty folder of this name.
    ///
    /// # Errors
    /// When the old one cannot be removed.
    pub(crate) fn fresh_folder(&self, name: &str) -> Result<PathBuf> {
        let folder = self.folder(name);
        remove(&folder)?;
        std::fs::create_dir_all(&folder)?;
        Ok(folder)
    }

    pub(crate) fn logs(&self) -> PathBuf {
        self.folder("logs")
    }

    /// `1M`, `20k`, `1500`: as it stands in names.
    pub(crate) fn size(&self) -> String {
        size(self.sessions)
    }
}

pub(crate) fn size(count: usize) -> String {
    match count {
        _ if count >= 1_000_000 && count.is_multiple_of(1_000_000) => format!("{}M", count / 1_000_000),
        _ if count >= 1000 && count.is_multiple_of(1000) => format!("{}k", count / 1000),
        _ => count.to_string(),
    }
}

/// Removes a folder if it is there.
///
/// # Errors
/// When it is there and stays.
pub(crate) fn remove(folder: &Path) -> Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(format!("cannot remove {}: {error}", folder.display()).into())
        }
        _ => Ok(()),
    }
}
