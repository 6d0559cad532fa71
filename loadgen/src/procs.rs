//! What processes cost, read from /proc: CPU time of a process with all its children, memory, and which CPUs there are.

use std::collections::HashMap;
use std::fs;
use std::process::Command;

use crate::Result;

/// /proc counts CPU time in ticks of 1/100 s on every Linux a program can ask (`USER_HZ`); the kernel scales the ticks
/// to the scheduler's exact sum, so only the last digit is coarse.
const TICKS_PER_SECOND: f64 = 100.0;

/// User and system time, in seconds, of these processes and everything they started.
///
/// Includes the times of children that have ended and were waited for, so that the sum never falls when a helper leaves.
///
/// # Errors
/// When one of `roots` has ended: a figure without it would be wrong.
pub(crate) fn cpu_seconds(roots: &[u32]) -> Result<f64> {
    Ok(each_cpu_seconds(roots)?.iter().sum())
}

/// The same of each by itself.
///
/// # Errors
/// When one of `roots` has ended.
pub(crate) fn each_cpu_seconds(roots: &[u32]) -> Result<Vec<f64>> {
    let mut ticks = HashMap::new();
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    for entry in fs::read_dir("/proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        // A process may end between the listing and the reading.
        let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { continue };
        if let Some((parent, spent)) = parse_stat(&stat) {
            ticks.insert(pid, spent);
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut sums = Vec::with_capacity(roots.len());
    for root in roots {
        if !ticks.contains_key(root) {
            return Err(format!("process {root} has ended while it was measured").into());
        }
        let (mut sum, mut open) = (0_u32, vec![*root]);
        while let Some(pid) = open.pop() {
            sum = sum.saturating_add(ticks.get(&pid).copied().unwrap_or(0));
            open.extend(children.get(&pid).into_iter().flatten());
        }
        sums.push(f64::from(sum) / TICKS_PER_SECOND);
    }
    Ok(sums)
}

/// User and system time of this process alone, in seconds: what the load generator itself costs.
///
/// # Errors
/// When /proc is not there.
pub(crate) fn own_cpu_seconds() -> Result<f64> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let fields = stat.rsplit_once(')').map(|(_, fields)| fields.split_whitespace().collect::<Vec<_>>());
    let ticks =
        |at: usize| fields.as_ref().and_then(|fields| fields.get(at)?.parse::<u32>().ok()).unwrap_or(0);
    Ok(f64::from(ticks(11) + ticks(12)) / TICKS_PER_SECOND)
}

/// Parent and spent ticks (user, system, and those of children already gone) of one line of /proc/PID/stat.
fn parse_stat(stat: &str) -> Option<(u32, u32)> {
    // The name stands in parentheses and may hold anything, also parentheses: the fields begin behind the last one.
    let fields: Vec<&str> = stat.get(stat.rfind(')')? + 2..)?.split(' ').collect();
    let field = |number: usize| fields.get(number - 3).and_then(|text| text.parse::<u32>().ok());
    Some((field(4)?, field(14)? + field(15)? + field(16)? + field(17)?))
}

/// Resident memory of one process in bytes.
///
/// # Errors
/// When the process has ended.
pub(crate) fn resident_bytes(pid: u32) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    let kib: u32 = line.trim().trim_end_matches(" kB").trim().parse()?;
    Ok(f64::from(kib) * 1024.0)
}

/// Which CPUs carry what is measured, and which carry the load.
#[derive(Clone)]
pub(crate) struct Pinning {
    pub(crate) server: String,
    pub(crate) load: String,
    /// False on a machine with one CPU, where figures mean little.
    pub(crate) apart: bool,
}

impl Pinning {
    /// One CPU for the server's side (one worker each, the same for everybody), another one for the load.
    ///
    /// # Errors
    /// When /proc does not say which CPUs this process may use.
    pub(crate) fn choose() -> Result<Self> {
        let status = fs::read_to_string("/proc/self/status")?;
        let list =
            status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).ok_or("no CPU list")?;
        let cpus = parse_cpus(list.trim())?;
        let server = *cpus.first().ok_or("no CPU allowed")?;
        let load = cpus.get(1).copied().unwrap_or(server);
        Ok(Self { server: server.to_string(), load: load.to_string(), apart: server != load })
    }

    /// Moves this process, with all its threads, to the CPU of the load.
    ///
    /// # Errors
    /// When `taskset` is missing or refuses.
    pub(crate) fn move_self(&self) -> Result<()> {
        let me = std::process::id().to_string();
        let done = Command::new("taskset").args(["-a", "-c", "-p", &self.load, &me]).output()?;
        if done.status.success() { Ok(()) } else { Err("taskset could not pin the load generator".into()) }
    }
}

/// `0-2,5` as numbers.
fn parse_cpus(list: &str) -> Result<Vec<usize>> {
    let mut cpus = Vec::new();
    for part in list.split(',') {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        cpus.extend(from.parse::<usize>()?..=to.parse()?);
    }
    Ok(cpus)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_with_a_hostile_name() {
        let line = "12 (a) b) S 7 1 1 0 -1 4194560 100 0 0 0 30 12 5 3 20 0 4 0 100 1000 50";
        assert_eq!(parse_stat(line), Some((7, 50)));
    }

    #[test]
    fn cpu_lists() {
        assert_eq!(parse_cpus("0-2,5").unwrap(), [0, 1, 2, 5]);
        assert!(parse_cpus("").is_err());
    }

    #[test]
    fn own_cpu_and_memory_are_seen() {
        let me = std::process::id();
        let before = cpu_seconds(&[me]).unwrap();
        let mut waste = 0_u64;
        while cpu_seconds(&[me]).unwrap() < before + 0.05 {
            waste = crate::stats::mix(waste);
        }
        assert!(resident_bytes(me).unwrap() > 500_000.0, "{waste}");
        assert!(cpu_seconds(&[u32::MAX]).is_err());
    }
}
