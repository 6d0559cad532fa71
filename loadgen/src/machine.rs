//! On what, when, and how it was measured: no figure without it.

use std::fs;
use std::process::Command;

use serde::Serialize;

use crate::Result;
use crate::context::Context;

#[derive(Serialize)]
pub(crate) struct Machine {
    cpu: String,
    cores: usize,
    memory_gib: u32,
    kernel: String,
    date: String,
    command: String,
    commit: String,
    sessions: usize,
    rounds: usize,
    server_cpu: String,
    load_cpu: String,
    /// Runnable processes per minute before we began: a busy machine gives worse figures.
    load_average: String,
}

impl Machine {
    /// # Errors
    /// When /proc is not there.
    pub(crate) fn look(context: &Context) -> Result<Self> {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo")?;
        let cpu = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("");
        let meminfo = fs::read_to_string("/proc/meminfo")?;
        let memory = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:")).unwrap_or("");
        let kib: u32 = memory.trim().trim_end_matches(" kB").trim().parse().unwrap_or(0);
        let average = fs::read_to_string("/proc/loadavg")?;
        Ok(Self {
            cpu: cpu.trim_start_matches([' ', '\t', ':']).to_owned(),
            cores: cpuinfo.lines().filter(|line| line.starts_with("processor")).count(),
            memory_gib: kib / 1024 / 1024,
            kernel: said("uname", &["-sr"]),
            date: said("date", &["-u", "+%Y-%m-%d %H:%M UTC"]),
            command: context.options.command.clone(),
            commit: said("git", &["describe", "--always", "--dirty"]),
            sessions: context.sessions,
            rounds: context.rounds,
            server_cpu: context.pinning.server.clone(),
            load_cpu: context.pinning.load.clone(),
            load_average: average.split(' ').next().unwrap_or("").to_owned(),
        })
    }

    pub(crate) fn markdown(&self) -> String {
        format!(
            "- Machine: {}, {} cores, {} GiB, {}\n- Date: {}, commit {}, load average before: {}\n- Command: `{}` ({} sessions, {} rounds, server on CPU {}, load on CPU {})\n",
            self.cpu,
            self.cores,
            self.memory_gib,
            self.kernel,
            self.date,
            self.commit,
            self.load_average,
            self.command,
            self.sessions,
            self.rounds,
            self.server_cpu,
            self.load_cpu,
        )
    }
}

/// What a small program answers; empty when it is not there, which is no reason to fail a measurement.
fn said(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
}
