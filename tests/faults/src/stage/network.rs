//! A network of our own: everything runs in a network namespace without a way out, and each node in another one behind a
//! pair of virtual cards, so that what passes between it and the store can be dropped as a dead switch drops it.
//!
//! ```text
//! stage: lo 10.77.0.1 (stores)   10.77.N.1 ---- 10.77.N.2 node N
//! ```

use super::shell::{Result, run};
use std::net::Ipv4Addr;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Where the stores listen.
pub(crate) const STORES: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);

/// Tells the second process from the first.
const INSIDE: &str = "FAULTS_INSIDE";

/// Goes on in namespaces of our own; comes back in there, and only in there.
///
/// # Errors
/// When namespaces cannot be made.
pub(crate) fn enter() -> Result<()> {
    if std::env::var_os(INSIDE).is_none() {
        let this = std::env::current_exe().map_err(|why| why.to_string())?;
        let arguments = std::env::args_os().skip(1);
        let why = Command::new("unshare")
            .args(["--net", "--mount"])
            .arg(this)
            .args(arguments)
            .env(INSIDE, "1")
            .exec();
        return Err(format!("cannot run unshare: {why}"));
    }
    // Names of namespaces are files; those of this run are nobody else's.
    std::fs::create_dir_all("/run/netns").map_err(|why| format!("/run/netns: {why}"))?;
    run("mount", &["-t", "tmpfs", "tmpfs", "/run/netns"])?;
    run("ip", &["link", "set", "lo", "up"])?;
    run("ip", &["address", "add", &format!("{STORES}/32"), "dev", "lo"])?;
    Ok(())
}

/// What is dropped between a node and the stores.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Drop {
    Both,
    /// What the node sends does not arrive.
    ToStore,
    /// What the stores send does not arrive.
    FromStore,
}

/// The way to one node.
#[derive(Clone)]
pub(crate) struct Link {
    namespace: String,
    address: Ipv4Addr,
}

impl Link {
    /// # Errors
    /// When the namespace or its cards cannot be made.
    pub(crate) fn lay(number: u8) -> Result<Self> {
        let namespace = format!("node{number}");
        let (outer, inner) = (format!("out{number}"), format!("in{number}"));
        let (gate, address) = (Ipv4Addr::new(10, 77, number, 1), Ipv4Addr::new(10, 77, number, 2));
        // A node that was there before leaves nothing behind; a namespace alone goes when it likes.
        let _ = run("ip", &["link", "delete", &outer]);
        let _ = run("ip", &["netns", "delete", &namespace]);
        run("ip", &["netns", "add", &namespace])?;
        run("ip", &["link", "add", &outer, "type", "veth", "peer", "name", &inner, "netns", &namespace])?;
        run("ip", &["address", "add", &format!("{gate}/30"), "dev", &outer])?;
        run("ip", &["link", "set", &outer, "up"])?;
        let inside = |arguments: &[&str]| {
            let all: Vec<&str> = ["-n", &namespace].iter().chain(arguments).copied().collect();
            run("ip", &all)
        };
        inside(&["address", "add", &format!("{address}/30"), "dev", &inner])?;
        inside(&["link", "set", &inner, "up"])?;
        inside(&["link", "set", "lo", "up"])?;
        inside(&["route", "add", "default", "via", &gate.to_string()])?;
        Ok(Self { namespace, address })
    }

    pub(crate) fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// What runs the program that is its next argument behind it.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.namespace, "setpriv", "--pdeathsig", "KILL"]);
        command
    }

    /// From now on packets vanish, without a word to anybody.
    ///
    /// # Errors
    /// When the rules cannot be set.
    pub(crate) fn cut(&self, what: Drop) -> Result<()> {
        self.heal()?;
        let nft = |rule: &str| run("ip", &["netns", "exec", &self.namespace, "nft", rule]);
        nft("add table inet cut")?;
        if what != Drop::FromStore {
            nft("add chain inet cut to { type filter hook output priority 0; }")?;
            nft(&format!("add rule inet cut to ip daddr {STORES} drop"))?;
        }
        if what != Drop::ToStore {
            nft("add chain inet cut from { type filter hook input priority 0; }")?;
            nft(&format!("add rule inet cut from ip saddr {STORES} drop"))?;
        }
        Ok(())
    }

    /// # Errors
    /// When the rules cannot be taken away.
    pub(crate) fn heal(&self) -> Result<()> {
        run("ip", &["netns", "exec", &self.namespace, "nft", "flush", "ruleset"]).map(drop)
    }
}
