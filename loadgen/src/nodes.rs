//! Several nodes on one PostgreSQL, all on the server's CPU: what they cost, not how much they can do.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;

use crate::Result;
use crate::context::Context;
use crate::handstamp::Handstamp;
use crate::postgres::Cluster;
use crate::tokens::Tokens;

/// How many nodes share a load.
pub(crate) const COUNTS: [usize; 3] = [1, 2, 4];

pub(crate) struct Fleet {
    pub(crate) cluster: Cluster,
    pub(crate) nodes: Vec<Handstamp>,
    folder: PathBuf,
}

impl Fleet {
    /// A cluster of PostgreSQL, and `count` nodes on a database of it. `cache` bounds the cache of each, in bytes.
    ///
    /// # Errors
    /// When one of them does not start.
    pub(crate) fn start(context: &Context, count: usize, cache: Option<usize>) -> Result<Self> {
        let folder = context.fresh_folder("nodes")?;
        let cluster = Cluster::start(context, "nodes-postgres")?;
        cluster.ask("postgres", "create database handstamp")?;
        secrets(context, &folder)?;
        let mut fleet = Self { cluster, nodes: Vec::new(), folder };
        for _ in 0..count {
            fleet.join(context, cache)?;
        }
        Ok(fleet)
    }

    /// One more.
    ///
    /// # Errors
    /// When it does not start.
    pub(crate) fn join(&mut self, context: &Context, cache: Option<usize>) -> Result<()> {
        let data = self.folder.join(format!("node-{}", self.nodes.len() + 1));
        let url = self.cluster.url("handstamp");
        self.nodes.push(Handstamp::join(context, &data, cache, &url, &self.folder)?);
        Ok(())
    }

    /// The one that is asked where it does not matter which.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) fn first(&self) -> Result<&Handstamp> {
        Ok(self.nodes.first().ok_or("no node was started")?)
    }

    /// Whose CPU counts when the first `count` nodes are used; PostgreSQL's is the last.
    pub(crate) fn watched(&self, count: usize) -> Vec<u32> {
        let nodes = self.nodes.iter().take(count).map(|node| node.child.pid());
        nodes.chain([self.cluster.pid()]).collect()
    }

    /// Every node has each of these sessions in memory afterwards.
    ///
    /// # Errors
    /// When one is not valid.
    pub(crate) async fn warm(&self, context: &Context, tokens: &Rc<Tokens>) -> Result<()> {
        for node in &self.nodes {
            node.validate_each(context, tokens, "validating every session once on each node").await?;
        }
        Ok(())
    }

    /// # Errors
    /// When one of them does not stop or leave its folder.
    pub(crate) fn stop(self, context: &Context) -> Result<()> {
        for node in self.nodes {
            node.child.stop("TERM")?;
        }
        self.cluster.stop(context)?;
        crate::context::remove(&self.folder)
    }
}

/// `1 node`, `2 nodes`.
pub(crate) fn named(count: usize) -> String {
    if count == 1 { "1 node".to_owned() } else { format!("{count} nodes") }
}

/// The keys that the nodes share. The master key is no secret here: what it opens is gone when the run is over.
fn secrets(context: &Context, folder: &Path) -> Result<()> {
    let write = |name: &str, text: &str| -> Result<()> {
        use std::io::Write;
        use std::os::unix::fs::OpenOptionsExt;
        let mut options = std::fs::OpenOptions::new();
        let mut file = options.write(true).create_new(true).mode(0o600).open(folder.join(name))?;
        Ok(file.write_all(text.as_bytes())?)
    };
    write("master.key", &"5a".repeat(32))?;
    let made = Command::new(&context.options.server).args(["keys", "generate"]).output()?;
    if !made.status.success() {
        return Err(format!("no access key: {}", String::from_utf8_lossy(&made.stderr)).into());
    }
    write("access.key", &String::from_utf8_lossy(&made.stdout))
}
