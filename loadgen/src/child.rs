//! Processes that a benchmark starts: pinned to a CPU, watched until they say they are ready, and never left behind.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use crate::Result;

/// A running process; dropping it kills it.
pub(crate) struct Child {
    name: String,
    process: std::process::Child,
    lines: Receiver<String>,
    log: PathBuf,
}

impl Child {
    /// Starts `program` on the CPUs `cpus`. What it writes to standard error goes to `NAME.log` in `logs`.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(crate) fn start(
        name: &str,
        cpus: &str,
        logs: &Path,
        program: &Path,
        prepare: impl FnOnce(&mut Command),
    ) -> Result<Self> {
        std::fs::create_dir_all(logs)?;
        let log = logs.join(format!("{name}.log"));
        // Both replace themselves by what follows, so the process id is the program's. The signal comes when we die
        // without a chance to clean up.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "taskset", "-c", cpus]).arg(program);
        prepare(&mut command);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(File::create(&log)?);
        let mut process = command.spawn().map_err(|error| format!("cannot start {name}: {error}"))?;
        let stdout = process.stdout.take().ok_or("no standard output")?;
        let (sender, lines) = sync_channel(64);
        // The pipe is read to its end also when nobody waits for a line any more, so that a child never blocks on it.
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(std::result::Result::ok) {
                let _ = sender.try_send(line);
            }
        });
        Ok(Self { name: name.to_owned(), process, lines, log })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Waits for a line of standard output in which `wanted` finds something.
    ///
    /// # Errors
    /// When the process ends, or says nothing at all for `patience`.
    pub(crate) fn wait_line<T>(
        &self,
        patience: Duration,
        mut wanted: impl FnMut(&str) -> Option<T>,
    ) -> Result<T> {
        loop {
            match self.lines.recv_timeout(patience) {
                Ok(line) => {
                    if let Some(found) = wanted(&line) {
                        return Ok(found);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    return Err(format!(
                        "{} is not ready after {patience:?}; see {}",
                        self.name,
                        self.log.display()
                    )
                    .into());
                }
                Err(RecvTimeoutError::Disconnected) => {
                    let log = std::fs::read_to_string(&self.log).unwrap_or_default();
                    let end: Vec<&str> = log.lines().rev().take(5).collect();
                    let end: Vec<&str> = end.into_iter().rev().collect();
                    return Err(format!("{} ended at once: {}", self.name, end.join("\n")).into());
                }
            }
        }
    }

    /// kill -9, the way a machine fails.
    ///
    /// # Errors
    /// When the process is not ours to end.
    pub(crate) fn kill(mut self) -> Result<()> {
        self.process.kill()?;
        self.process.wait()?;
        Ok(())
    }

    /// Asks it to leave (SIGTERM, or SIGINT where that means a fast stop) and answers how many seconds that took. One
    /// that is still there after 30 s is killed, and that is said: it is no reason to lose the figures of a long run.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub(crate) fn stop(mut self, signal: &str) -> Result<f64> {
        let asked = Instant::now();
        Command::new("kill").args(["-s", signal, &self.pid().to_string()]).status()?;
        while asked.elapsed() < Duration::from_secs(30) {
            if self.process.try_wait()?.is_some() {
                return Ok(asked.elapsed().as_secs_f64());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        eprintln!("  {} did not stop within 30 s of SIG{signal}, and is killed", self.name);
        Ok(asked.elapsed().as_secs_f64())
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A port nobody uses now, for programs that cannot pick one themselves.
///
/// # Errors
/// When the loopback has no free port.
pub(crate) fn free_port() -> Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

/// Where a program is: in `PATH`, or in one of the folders where Debian hides versioned ones.
pub(crate) fn find_program(name: &str, more: &[PathBuf]) -> Result<PathBuf> {
    let path = std::env::var("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(more.iter().cloned())
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
        .ok_or_else(|| format!("{name} is not installed").into())
}
