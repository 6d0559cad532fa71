//! One node: the built binary behind a link of its own.

use super::network::Link;
use super::shell::{Process, Result};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

const PORT: u16 = 7411;

pub(crate) struct Node {
    number: usize,
    binary: PathBuf,
    folder: PathBuf,
    pub(crate) link: Link,
    process: Option<Process>,
    /// The rest of its configuration.
    environment: Vec<(&'static str, String)>,
    clock: Option<PathBuf>,
}

impl Node {
    /// Not started yet.
    ///
    /// # Errors
    /// When its network cannot be made.
    pub(crate) fn prepare(
        number: usize,
        binary: &Path,
        folder: &Path,
        environment: Vec<(&'static str, String)>,
    ) -> Result<Self> {
        let link = Link::lay(u8::try_from(number + 1).map_err(|why| why.to_string())?)?;
        let folder = folder.join(format!("node{number}"));
        std::fs::create_dir_all(&folder).map_err(|why| format!("{}: {why}", folder.display()))?;
        Ok(Self { number, binary: binary.to_owned(), folder, link, process: None, environment, clock: None })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        (self.link.address(), PORT).into()
    }

    /// Its clock will be shifted, see [`Node::shift`]; before it starts.
    ///
    /// # Errors
    /// When the file for it cannot be written.
    pub(crate) fn with_clock(&mut self) -> Result<()> {
        self.clock = Some(self.folder.join("clock"));
        self.shift(0)
    }

    /// # Errors
    /// When the file of its clock cannot be written.
    pub(crate) fn shift(&self, seconds: i64) -> Result<()> {
        let Some(file) = &self.clock else { return Ok(()) };
        std::fs::write(file, format!("{seconds:+}\n")).map_err(|why| format!("{}: {why}", file.display()))
    }

    /// # Errors
    /// When it cannot be started. Whether it answers is another question.
    pub(crate) fn start(&mut self) -> Result<()> {
        let mut command = self.link.command();
        if let Some(file) = &self.clock {
            command.args(super::shifted(file)?);
        }
        command.arg(&self.binary).args(["serve", "--listen", &self.address().to_string(), "--data-dir"]);
        command.arg(self.folder.join("data")).current_dir(&self.folder);
        // What is set here for us is not meant for it.
        command.env_clear().env("PATH", std::env::var("PATH").unwrap_or_default());
        command.env("HANDSTAMP_FORWARD_AUTH__LISTEN", "off").envs(self.environment.iter().cloned());
        let name = format!("node {}", self.number);
        self.process = Some(Process::start(&name, &self.folder.join("log"), &mut command)?);
        Ok(())
    }

    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill();
        }
    }

    /// # Errors
    /// When it does not leave.
    pub(crate) fn stop(&mut self) -> Result<()> {
        self.process.take().map_or(Ok(()), |mut process| process.stop("TERM").map(drop))
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

    /// The last lines that it logged.
    pub(crate) fn said(&self) -> String {
        let log = std::fs::read_to_string(self.folder.join("log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines.get(lines.len().saturating_sub(8)..).unwrap_or_default().join("\n")
    }
}
