//! The stage: nodes of the built binary, PostgreSQL clusters, the network between them; and what can be done to each.

pub(crate) mod network;
pub(crate) mod node;
pub(crate) mod postgres;
pub(crate) mod relay;
pub(crate) mod shell;

use node::Node;
use postgres::Cluster;
use relay::Delay;
use shell::{Result, run};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// Where records live.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Stores {
    /// The embedded store, of one node.
    Embedded,
    /// One PostgreSQL.
    Single,
    /// The same, behind a relay that can be slow.
    Relayed,
    /// The same, on a small disk.
    SmallDisk,
    /// The same, with a clock that is wrong.
    Shifted,
    /// A primary and a synchronous standby.
    Pair,
}

pub(crate) struct Stage {
    pub(crate) nodes: Vec<Node>,
    pub(crate) stores: Vec<Cluster>,
    pub(crate) delay: Delay,
    /// The access key that every node knows from its first start on.
    pub(crate) key: String,
    folder: PathBuf,
    disk: Option<PathBuf>,
}

/// By how many seconds clocks are wrong.
pub(crate) const SHIFT: i64 = 60;

const PRIMARY: u16 = 5432;
const STANDBY: u16 = 5433;
const RELAY: u16 = 5400;

impl Stage {
    /// Everything started, in a new folder inside of `parent`; the nodes may not be ready yet.
    ///
    /// # Errors
    /// When a part cannot be made.
    pub(crate) async fn build(
        parent: &Path,
        name: &str,
        binary: &Path,
        stores: Stores,
        nodes: usize,
        clocks: bool,
    ) -> Result<Self> {
        let folder = parent.join(name);
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).map_err(|why| format!("{}: {why}", folder.display()))?;
        // PostgreSQL's user has to reach its own folder.
        run("chmod", &["755", &parent.display().to_string(), &folder.display().to_string()])?;
        let mut stage = Self {
            nodes: Vec::new(),
            stores: Vec::new(),
            delay: Delay::default(),
            key: run(&binary.display().to_string(), &["keys", "generate"])?.trim().to_owned(),
            folder,
            disk: None,
        };
        let template = parent.join("template");
        let mut environment = vec![
            ("HANDSTAMP_BOOTSTRAP__ACCESS_KEY", stage.key.clone()),
            ("HANDSTAMP_SERVER__MASTER_KEY", "5a".repeat(32)),
            ("HANDSTAMP_LOG__LEVEL", "info".to_owned()),
        ];
        if stores != Stores::Embedded {
            let home = if stores == Stores::SmallDisk { stage.small_disk()? } else { stage.folder.clone() };
            let mut primary = Cluster::make("primary", &home, &template, PRIMARY)?;
            if stores == Stores::Shifted {
                primary.with_clock(SHIFT)?;
            }
            primary.start()?;
            let mut ports = vec![PRIMARY];
            stage.stores.push(primary);
            if stores == Stores::Pair {
                let primary = stage.stores.first_mut().ok_or("no primary")?;
                let standby = Cluster::standby(primary, "standby", &stage.folder, STANDBY)?;
                stage.stores.push(standby);
                ports.push(STANDBY);
            }
            if stores == Stores::Relayed {
                let at = |port| SocketAddr::from((network::STORES, port));
                relay::relay(at(RELAY), at(PRIMARY), stage.delay.clone()).await?;
                ports = vec![RELAY];
            }
            environment.push(("HANDSTAMP_STORE__URL", postgres::address(&ports)));
        }
        for number in 0..nodes {
            let mut node = Node::prepare(number, binary, &stage.folder, environment.clone())?;
            if clocks {
                node.with_clock()?;
            }
            stage.nodes.push(node);
        }
        for node in &mut stage.nodes {
            node.start()?;
        }
        Ok(stage)
    }

    /// A folder on a disk of its own, of 160 MiB.
    fn small_disk(&mut self) -> Result<PathBuf> {
        let place = self.folder.join("disk");
        std::fs::create_dir_all(&place).map_err(|why| why.to_string())?;
        run("mount", &["-t", "tmpfs", "-o", "size=160m,mode=755", "tmpfs", &place.display().to_string()])?;
        self.disk = Some(place.clone());
        Ok(place)
    }

    /// Takes the rest of the small disk away.
    ///
    /// # Errors
    /// When there is no small disk.
    pub(crate) fn fill_disk(&self) -> Result<()> {
        let file = self.ballast()?.display().to_string();
        // It fails when the disk is full, which is what it is for.
        let _ = run("dd", &["if=/dev/zero", &format!("of={file}"), "bs=64k", "status=none"]);
        Ok(())
    }

    /// # Errors
    /// When there is no small disk, or nothing on it to take away.
    pub(crate) fn free_disk(&self) -> Result<()> {
        std::fs::remove_file(self.ballast()?).map_err(|why| format!("the disk stays full: {why}"))
    }

    fn ballast(&self) -> Result<PathBuf> {
        self.disk.as_ref().map(|disk| disk.join("ballast")).ok_or_else(|| "no small disk".to_owned())
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Stops everything; what is left in the folder is kept for whoever looks, when `keep` says so.
    ///
    /// # Errors
    /// When a node does not stop when asked.
    pub(crate) fn strike(mut self, keep: bool) -> Result<()> {
        let stopped: Result<Vec<()>> = self.nodes.iter_mut().map(Node::stop).collect();
        for cluster in &mut self.stores {
            cluster.kill();
        }
        if let Some(disk) = &self.disk {
            run("umount", &["--lazy", &disk.display().to_string()])?;
        }
        if !keep {
            let _ = std::fs::remove_dir_all(&self.folder);
        }
        stopped.map(drop)
    }
}

/// What to write before a program so that it sees a shifted clock: wall clock only, as when the clock of a machine is set.
/// The shift is read from the file again every second.
///
/// # Errors
/// When the library for it is not installed.
pub(crate) fn shifted(file: &Path) -> Result<Vec<String>> {
    let library = ["x86_64-linux-gnu", "aarch64-linux-gnu"]
        .map(|machine| format!("/usr/lib/{machine}/faketime/libfaketimeMT.so.1"))
        .into_iter()
        .find(|path| Path::new(path).exists())
        .ok_or("libfaketime is missing: apt-get install faketime")?;
    // Not as variables of ours: programs between us and this one, of another user, would leave files that are not its own.
    Ok(vec![
        "env".to_owned(),
        format!("LD_PRELOAD={library}"),
        format!("FAKETIME_TIMESTAMP_FILE={}", file.display()),
        "FAKETIME_CACHE_DURATION=1".to_owned(),
        "FAKETIME_DONT_FAKE_MONOTONIC=1".to_owned(),
    ])
}
