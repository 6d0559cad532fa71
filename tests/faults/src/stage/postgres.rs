//! PostgreSQL clusters of our own, from the Debian package: durable as shipped, with a password, one alone or a primary
//! with a synchronous standby.

use super::network::STORES;
use super::shell::{Process, Result, run, wait_for};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const USER: &str = "handstamp";
const PASSWORD: &str = "stage";

/// Only what makes a small machine start faster and forget less of its place; what durability needs is as shipped.
const SETTINGS: &[&str] = &[
    "fsync=on",
    "synchronous_commit=on",
    "full_page_writes=on",
    "listen_addresses=10.77.0.1",
    "unix_socket_directories=",
    "max_connections=200",
    "shared_buffers=64MB",
    "wal_level=replica",
    "max_wal_senders=8",
    "wal_keep_size=256MB",
    "hot_standby=on",
    "log_min_messages=warning",
    "wal_receiver_timeout=5s",
    "wal_sender_timeout=5s",
];

/// A cluster, running or not.
pub(crate) struct Cluster {
    name: String,
    data: PathBuf,
    log: PathBuf,
    port: u16,
    process: Option<Process>,
    /// Commits wait for this standby.
    synchronous: Option<String>,
    /// A file with the shift of its clock, in seconds; `None`: its clock is the machine's.
    clock: Option<PathBuf>,
}

impl Cluster {
    /// Where a new cluster will be. `template` is filled by the first one, and copied by all others.
    ///
    /// # Errors
    /// When PostgreSQL is not installed, or the cluster cannot be made.
    pub(crate) fn make(name: &str, folder: &Path, template: &Path, port: u16) -> Result<Self> {
        let data = folder.join(name);
        if !template.join("PG_VERSION").exists() {
            let word = template.with_extension("word");
            write(&word, &format!("{PASSWORD}\n"))?;
            own(template)?;
            own(&word)?;
            let (place, word) = (template.display().to_string(), format!("--pwfile={}", word.display()));
            let initdb = program("initdb")?;
            as_postgres(
                &initdb,
                &["-D", &place, "-U", USER, "-A", "scram-sha-256", "-E", "UTF8", "--no-locale", &word],
            )?;
            let rules =
                "host all all 10.77.0.0/16 scram-sha-256\nhost replication all 10.77.0.0/16 scram-sha-256\n";
            write(&template.join("pg_hba.conf"), rules)?;
        }
        run("cp", &["-a", &template.display().to_string(), &data.display().to_string()])?;
        Ok(Self::at(name, folder, port))
    }

    fn at(name: &str, folder: &Path, port: u16) -> Self {
        let (data, log) = (folder.join(name), folder.join(format!("{name}.log")));
        Self { name: name.to_owned(), data, log, port, process: None, synchronous: None, clock: None }
    }

    /// A copy of a running cluster that follows it. The primary acknowledges nothing any more that is not there, too.
    ///
    /// # Errors
    /// When it cannot be copied, or does not follow.
    pub(crate) fn standby(primary: &mut Self, name: &str, folder: &Path, port: u16) -> Result<Self> {
        let mut standby = Self::at(name, folder, port);
        own(&standby.data)?;
        let from = format!(
            "host={STORES} port={} user={USER} password={PASSWORD} application_name={name}",
            primary.port
        );
        let place = standby.data.display().to_string();
        as_postgres(
            &program("pg_basebackup")?,
            &["-d", &from, "-D", &place, "-R", "-X", "stream", "-c", "fast"],
        )?;
        standby.start()?;
        primary.synchronous = Some(name.to_owned());
        primary.ask(&format!("ALTER SYSTEM SET synchronous_standby_names = '{name}'"))?;
        primary.ask("SELECT pg_reload_conf()")?;
        wait_for("the standby is synchronous", Duration::from_secs(20), || {
            primary
                .ask("SELECT sync_state FROM pg_stat_replication")
                .is_ok_and(|state| state.trim() == "sync")
        })?;
        Ok(standby)
    }

    /// Its clock is wrong by so many seconds, from its next start on.
    ///
    /// # Errors
    /// When the file for it cannot be written.
    pub(crate) fn with_clock(&mut self, seconds: i64) -> Result<()> {
        let file = self.data.with_extension("clock");
        write(&file, &format!("{seconds:+}\n"))?;
        self.clock = Some(file);
        Ok(())
    }

    /// # Errors
    /// When it does not take connections within half a minute.
    pub(crate) fn start(&mut self) -> Result<Duration> {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=postgres", "--regid=postgres", "--init-groups", "--pdeathsig", "KILL"]);
        if let Some(file) = &self.clock {
            command.args(super::shifted(file)?);
        }
        command.arg(program("postgres")?).arg("-D").arg(&self.data).args(["-p", &self.port.to_string()]);
        for setting in SETTINGS {
            command.args(["-c", setting]);
        }
        command.current_dir(self.data.parent().unwrap_or(Path::new("/")));
        self.process = Some(Process::start(&self.name, &self.log, &mut command)?);
        let mut died = false;
        let up = wait_for(&format!("{} answers", self.name), Duration::from_secs(30), || {
            died = self.process.as_mut().is_none_or(Process::ended);
            died || self.ask("SELECT 1").is_ok()
        })?;
        if died { Err(format!("{} ended; see {}", self.name, self.log.display())) } else { Ok(up) }
    }

    /// Runs a statement as its owner.
    ///
    /// # Errors
    /// When it cannot be reached, or fails.
    pub(crate) fn ask(&self, statement: &str) -> Result<String> {
        let address = format!(
            "host={STORES} port={} user={USER} password={PASSWORD} dbname=postgres connect_timeout=3",
            self.port
        );
        run(
            &program("psql")?,
            &["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", &address, "-c", statement],
        )
    }

    pub(crate) fn freeze(&self) {
        self.signal("STOP");
    }

    pub(crate) fn thaw(&self) {
        self.signal("CONT");
    }

    fn signal(&self, name: &str) {
        if let Some(process) = &self.process {
            process.signal_all(name);
        }
    }

    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill();
        }
    }

    /// A standby becomes a primary; what it acknowledged is there.
    ///
    /// # Errors
    /// When it does not.
    pub(crate) fn promote(&self) -> Result<()> {
        let place = self.data.display().to_string();
        as_postgres(&program("pg_ctl")?, &["promote", "-D", &place, "-w", "-t", "30"]).map(drop)
    }
}

/// The address of these clusters for a node; of several, it takes the one that may be written.
pub(crate) fn address(ports: &[u16]) -> String {
    let hosts: Vec<String> = ports.iter().map(|port| format!("{STORES}:{port}")).collect();
    let more = if ports.len() > 1 { "&target_session_attrs=read-write" } else { "" };
    format!("postgres://{USER}:{PASSWORD}@{}/postgres?sslmode=disable{more}", hosts.join(","))
}

/// Debian keeps each version's programs out of `PATH`.
fn program(name: &str) -> Result<String> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> =
        versions.map(|version| version.path().join("bin").join(name)).filter(|file| file.is_file()).collect();
    found.sort();
    let newest = found.pop().ok_or("PostgreSQL is not installed: apt-get install postgresql")?;
    Ok(newest.display().to_string())
}

/// PostgreSQL does not run as root.
fn as_postgres(program: &str, arguments: &[&str]) -> Result<String> {
    let user = ["--reuid=postgres", "--regid=postgres", "--init-groups", program];
    let all: Vec<&str> = user.iter().chain(arguments).copied().collect();
    run("setpriv", &all)
}

/// Makes it where it is missing, a folder, and gives it to PostgreSQL's user, for nobody else.
fn own(place: &Path) -> Result<()> {
    let text = place.display().to_string();
    if !place.exists() {
        run("mkdir", &["-p", &text])?;
    }
    run("chown", &["postgres:postgres", &text])?;
    run("chmod", &[if place.is_dir() { "700" } else { "600" }, &text]).map(drop)
}

fn write(file: &Path, text: &str) -> Result<()> {
    std::fs::write(file, text).map_err(|why| format!("{}: {why}", file.display()))
}
