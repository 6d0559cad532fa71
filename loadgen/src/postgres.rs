//! A PostgreSQL cluster of its own, for the peers and for nodes that share one: made in a temporary folder, durable, on a free port, stopped afterwards.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::Result;
use crate::child::{Child, find_program, free_port};
use crate::context::Context;
use crate::drive::Figures;
use crate::progress::Progress;

/// What is changed of the defaults. Durability stays as it is shipped (both are said again, so that nobody has to
/// know); the rest only helps PostgreSQL: no checkpoint inside a window, memory for all pages, no line in a log.
const SETTINGS: [&str; 8] = [
    "fsync=on",
    "synchronous_commit=on",
    "shared_buffers=512MB",
    "max_wal_size=8GB",
    "checkpoint_timeout=1h",
    "max_connections=300",
    "unix_socket_directories=",
    "listen_addresses=127.0.0.1",
];

pub(crate) struct Cluster {
    server: Child,
    port: u16,
    folder: PathBuf,
}

impl Cluster {
    /// # Errors
    /// When PostgreSQL is not installed or does not start.
    pub(crate) fn start(context: &Context, name: &str) -> Result<Self> {
        let _progress = Progress::start("PostgreSQL: making a cluster", 1);
        let folder = context.fresh_folder(name)?;
        let programs = debian_folders();
        let (initdb, postgres) = (find_program("initdb", &programs)?, find_program("postgres", &programs)?);
        // PostgreSQL refuses to run as root; its package has made a user for it.
        let root = std::fs::metadata("/proc/self")?.uid() == 0;
        if root {
            succeed(Command::new("chown").arg("postgres").arg(&folder), "chown")?;
        }
        let data = folder.join("data");
        let (program, first) = as_user(root, &initdb);
        let mut init = Command::new(program);
        init.args(first)
            .args(["--username=bench", "--auth=trust", "--encoding=UTF8", "--no-locale", "-D"])
            .arg(&data);
        succeed(init.current_dir(&folder), "initdb")?;
        let port = free_port()?;
        let (program, first) = as_user(root, &postgres);
        let program = find_program(&program.to_string_lossy(), &[]).unwrap_or(program);
        let server = Child::start(name, &context.pinning.server, &context.logs(), &program, |command| {
            command.args(first).arg("-D").arg(&data).args(["-p", &port.to_string()]).current_dir(&folder);
            for setting in SETTINGS {
                command.args(["-c", setting]);
            }
        })?;
        Ok(Self { server, port, folder })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.server.pid()
    }

    /// The address of a database of it, as everybody writes it.
    pub(crate) fn url(&self, database: &str) -> String {
        format!("postgres://bench@127.0.0.1:{}/{database}?sslmode=disable", self.port)
    }

    /// What a query answers, one line a row, columns with `|` between them.
    ///
    /// # Errors
    /// When PostgreSQL refuses it, or is not there within a minute.
    pub(crate) fn ask(&self, database: &str, query: &str) -> Result<String> {
        let psql = find_program("psql", &debian_folders())?;
        let until = Instant::now() + Duration::from_secs(60);
        loop {
            let mut command = Command::new(&psql);
            command.args(["-XAtq", "-v", "ON_ERROR_STOP=1", "-c", query, &self.url(database)]);
            match command.output()? {
                output if output.status.success() => {
                    return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
                }
                // 2 is its word for no connection: it has only just been started.
                output if output.status.code() == Some(2) && Instant::now() < until => {
                    std::thread::sleep(Duration::from_millis(50));
                }
                output => {
                    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
                    return Err(format!("PostgreSQL: {said}").into());
                }
            }
        }
    }

    /// A number that a query answers.
    ///
    /// # Errors
    /// The same, and when it is no number.
    pub(crate) fn number(&self, database: &str, query: &str) -> Result<f64> {
        let said = self.ask(database, query)?;
        said.parse().map_err(|_| format!("PostgreSQL answered {said} to {query}").into())
    }

    /// Bytes of log written since the cluster was made.
    ///
    /// # Errors
    /// When PostgreSQL does not answer.
    pub(crate) fn log_bytes(&self) -> Result<f64> {
        self.number("postgres", "select pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')")
    }

    /// One run of the client, which is a process of its own because its CPU time counts too.
    ///
    /// # Errors
    /// When a transaction fails.
    pub(crate) fn run(&self, context: &Context, connections: usize, round: usize) -> Result<Figures> {
        let label = format!("create at {connections}: PostgreSQL, round {round} of {}", context.rounds);
        let crate::drive::Until::Window { warm, measure } = context.window() else {
            return Err("no window".into());
        };
        let _progress = Progress::start(&label, 1);
        let program = std::env::current_exe()?;
        let client =
            Child::start("postgres-client", &context.pinning.server, &context.logs(), &program, |command| {
                command.arg("peer-postgres").args(["--port", &self.port.to_string()]);
                command.args([
                    "--server-pid",
                    &self.server.pid().to_string(),
                    "--connections",
                    &connections.to_string(),
                ]);
                command.args([
                    "--warm-ms",
                    &warm.as_millis().to_string(),
                    "--measure-ms",
                    &measure.as_millis().to_string(),
                ]);
            })?;
        let patience = Duration::from_secs(60) + warm + measure;
        client.wait_line(patience, |line| serde_json::from_str(line).ok())
    }

    /// # Errors
    /// When it does not stop or leave its folder.
    pub(crate) fn stop(self, _context: &Context) -> Result<()> {
        self.server.stop("INT")?;
        crate::context::remove(&self.folder)
    }
}

/// The program to start, and what comes before its own arguments, so that it does not run as root.
fn as_user(root: bool, program: &Path) -> (PathBuf, Vec<String>) {
    if !root {
        return (program.to_owned(), Vec::new());
    }
    // setpriv becomes the program, so the process id is the program's. A change of user clears the signal of death.
    let user =
        ["--reuid=postgres", "--regid=postgres", "--init-groups", "--pdeathsig", "INT"].map(str::to_owned);
    let program = program.to_string_lossy().into_owned();
    ("setpriv".into(), user.into_iter().chain([program]).collect())
}

/// Debian keeps each version's programs out of PATH.
fn debian_folders() -> Vec<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut folders: Vec<PathBuf> = versions.map(|version| version.path().join("bin")).collect();
    folders.sort();
    folders.reverse();
    folders
}

fn succeed(command: &mut Command, name: &str) -> Result<()> {
    let output = command.output().map_err(|error| format!("cannot run {name}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{name} failed: {}", String::from_utf8_lossy(&output.stderr).trim()).into())
}
