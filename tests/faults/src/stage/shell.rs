//! Programs that are run to their end, and processes that are watched, stopped, frozen and killed; none outlives us.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Everything that can go wrong on the stage itself is told to a person.
pub(crate) type Result<T> = std::result::Result<T, String>;

/// Runs a program and answers what it printed.
///
/// # Errors
/// When it is missing or fails, with what it said.
pub(crate) fn run(program: &str, arguments: &[&str]) -> Result<String> {
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .map_err(|why| format!("cannot run {program}: {why}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(format!(
        "{program} {} failed: {}",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stderr).trim()
    ))
}

/// Waits for something, looking every few milliseconds.
///
/// # Errors
/// When it has not come after `patience`.
pub(crate) fn wait_for(what: &str, patience: Duration, mut seen: impl FnMut() -> bool) -> Result<Duration> {
    let begun = Instant::now();
    while !seen() {
        if begun.elapsed() > patience {
            return Err(format!("{what}: not within {patience:?}"));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(begun.elapsed())
}

/// A process of ours, with all that it starts.
pub(crate) struct Process {
    name: String,
    child: Child,
}

impl Process {
    /// Starts it; what it says goes to `log`. It is killed when the thread that starts it is gone, so it must be started
    /// by one that stays.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(crate) fn start(name: &str, log: &Path, command: &mut Command) -> Result<Self> {
        let told = |why: std::io::Error| format!("cannot start {name}: {why}");
        let out = File::options().create(true).append(true).open(log).map_err(told)?;
        let err = out.try_clone().map_err(told)?;
        let child = command.stdin(Stdio::null()).stdout(out).stderr(err).spawn().map_err(told)?;
        Ok(Self { name: name.to_owned(), child })
    }

    pub(crate) fn ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// It and its descendants, itself first.
    fn family(&self) -> Vec<u32> {
        let mut found = vec![self.child.id()];
        let mut next = 0;
        while let Some(parent) = found.get(next) {
            let path = format!("/proc/{parent}/task/{parent}/children");
            let children = std::fs::read_to_string(path).unwrap_or_default();
            found.extend(children.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
            next += 1;
        }
        found
    }

    /// Sends a signal to it and its descendants; those that are gone already do not matter.
    pub(crate) fn signal_all(&self, signal: &str) {
        let pids: Vec<String> = self.family().iter().map(u32::to_string).collect();
        let _ = Command::new("kill").args(["-s", signal]).args(pids).stderr(Stdio::null()).status();
    }

    /// kill -9 of all of it, as when a machine dies: nobody has time to say good-bye.
    pub(crate) fn kill(&mut self) {
        // Frozen first, so that no child sees its parent die.
        self.signal_all("STOP");
        self.signal_all("KILL");
        let _ = self.child.wait();
    }

    /// Asks it to leave.
    ///
    /// # Errors
    /// When it is still there after 20 s.
    pub(crate) fn stop(&mut self, signal: &str) -> Result<Duration> {
        let pid = self.child.id().to_string();
        let _ = Command::new("kill").args(["-s", signal, &pid]).status();
        let name = self.name.clone();
        let stopped = wait_for(&format!("{name} stops"), Duration::from_secs(20), || self.ended());
        if stopped.is_err() {
            self.kill();
        }
        stopped
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.ended() {
            self.kill();
        }
    }
}
