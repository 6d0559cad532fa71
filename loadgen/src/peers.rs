//! Starts the peers as an operator would: each with what it needs, on free loopback ports, on the server's CPU.

use std::net::SocketAddr;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use crate::Result;
use crate::child::{Child, find_program, free_port};
use crate::context::{Context, size};
use crate::handstamp::listening;
use crate::postgres::Cluster;
use crate::progress::Progress;
use crate::tokens::Tokens;

/// Sessions are checked for a sign of life at least this often while a peer fills its store.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running peer; dropping it ends its processes.
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    pub(crate) address: SocketAddr,
    pub(crate) children: Vec<Child>,
    /// A server of its that runs anyway.
    pub(crate) beside: Option<u32>,
    pub(crate) cookie: &'static str,
    pub(crate) cookies: Rc<Tokens>,
}

impl Peer {
    pub(crate) fn watched(&self) -> Vec<u32> {
        self.children.iter().map(Child::pid).chain(self.beside).collect()
    }
}

/// The floor: parses the same request and sends the bytes of one real answer, looking nothing up.
///
/// # Errors
/// When it does not start.
pub(crate) fn echo(context: &Context, head: &[u8], body: &[u8]) -> Result<Peer> {
    let file = context.folder("echo-answer.http");
    std::fs::write(&file, [head, body].concat())?;
    let program = std::env::current_exe()?;
    let child = Child::start("echo", &context.pinning.server, &context.logs(), &program, |command| {
        command.args(["peer-echo", "--answer"]).arg(&file);
    })?;
    let address = child.wait_line(PATIENCE, listening)?;
    Ok(Peer {
        name: "echo",
        address,
        children: vec![child],
        beside: None,
        cookie: "",
        cookies: Rc::default(),
    })
}

/// Redis without snapshots and without an append-only file: the fastest it can be, and not durable.
fn redis(context: &Context, name: &str) -> Result<(Child, u16)> {
    let port = free_port()?;
    let folder = context.fresh_folder(name)?;
    let program = find_program("redis-server", &[])?;
    let child = Child::start(name, &context.pinning.server, &context.logs(), &program, |command| {
        command.args([
            "--port",
            &port.to_string(),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--appendonly",
            "no",
        ]);
        command.arg("--dir").arg(&folder);
    })?;
    child.wait_line(PATIENCE, |line| line.contains("Ready to accept connections").then_some(()))?;
    Ok((child, port))
}

/// Waits until a peer has filled its store and listens, showing how far it is.
fn filled(child: &Child, name: &str, store: &str, sessions: usize) -> Result<SocketAddr> {
    let what = format!("{name}: filling {} sessions into {store}", size(sessions));
    let progress = Progress::start(&what, sessions);
    child.wait_line(PATIENCE, |line| {
        if let Some(done) = line.strip_prefix("filled ").and_then(|done| done.parse().ok()) {
            progress.at(done);
        }
        listening(line)
    })
}

/// axum with tower-sessions on Redis, filled with `sessions`; its answers are padded to `bytes`.
///
/// # Errors
/// When Redis is not installed, or one of the two does not start.
pub(crate) fn tower(context: &Context, sessions: usize, bytes: usize) -> Result<Peer> {
    let (redis, port) = redis(context, "redis-tower")?;
    let cookies = context.folder("cookies-tower.txt");
    let program = std::env::current_exe()?;
    let child = Child::start("tower", &context.pinning.server, &context.logs(), &program, |command| {
        command.arg("peer-tower").args(["--redis", &port.to_string()]);
        shared_arguments(command, sessions, bytes, &cookies);
    })?;
    let address = filled(&child, "tower-sessions", "Redis", sessions)?;
    let cookies = take_cookies(&cookies, sessions)?;
    let children = vec![child, redis];
    Ok(Peer { name: "tower-sessions + Redis", address, children, beside: None, cookie: "id", cookies })
}

/// axum with tower-sessions on a database of its own in `cluster`, filled likewise.
///
/// # Errors
/// When it was not built, or does not start.
pub(crate) fn tower_postgres(
    context: &Context,
    cluster: &Cluster,
    sessions: usize,
    bytes: usize,
) -> Result<Peer> {
    cluster.ask("postgres", "create database tower")?;
    let cookies = context.folder("cookies-tower-postgres.txt");
    // A program of its own (see its Cargo.toml), which ./bench has built beside this one.
    let here = std::env::current_exe()?;
    let target = here.ancestors().nth(2).ok_or("this program is in no target folder")?;
    let program = target.join("peers/release/handstamp-peer-tower-postgres");
    let (cpus, logs) = (&context.pinning.server, context.logs());
    let child = Child::start("tower-postgres", cpus, &logs, &program, |command| {
        command.args(["--postgres", &cluster.url("tower")]);
        shared_arguments(command, sessions, bytes, &cookies);
    })?;
    let address = filled(&child, "tower-sessions", "PostgreSQL", sessions)?;
    let cookies = take_cookies(&cookies, sessions)?;
    let (children, beside) = (vec![child], Some(cluster.pid()));
    Ok(Peer { name: "tower-sessions + PostgreSQL", address, children, beside, cookie: "id", cookies })
}

/// express-session with connect-redis, filled likewise.
///
/// # Errors
/// When Redis, Node or the packages are not installed, or one of the two does not start.
pub(crate) fn express(context: &Context, sessions: usize, bytes: usize) -> Result<Peer> {
    let script = Path::new("loadgen/peers/express/server.js").canonicalize()?;
    let (redis, port) = redis(context, "redis-express")?;
    let cookies = context.folder("cookies-express.txt");
    let agents = context.folder("agents.txt");
    std::fs::write(&agents, context.population.agent_lines())?;
    let program = find_program("node", &[])?;
    let child = Child::start("express", &context.pinning.server, &context.logs(), &program, |command| {
        command.env("NODE_ENV", "production").arg(&script).args(["--redis", &port.to_string()]);
        shared_arguments(command, sessions, bytes, &cookies);
        command.arg("--agents").arg(&agents);
    })?;
    let address = filled(&child, "express-session", "Redis", sessions)?;
    let cookies = take_cookies(&cookies, sessions)?;
    Ok(Peer {
        name: "express-session + Redis",
        address,
        children: vec![child, redis],
        beside: None,
        cookie: "connect.sid",
        cookies,
    })
}

fn shared_arguments(command: &mut std::process::Command, sessions: usize, bytes: usize, cookies: &Path) {
    command.args(["--sessions", &sessions.to_string(), "--answer-bytes", &bytes.to_string()]);
    command.arg("--cookies").arg(cookies);
}

fn take_cookies(file: &Path, sessions: usize) -> Result<Rc<Tokens>> {
    let cookies = Tokens::load(file, sessions)?;
    std::fs::remove_file(file)?;
    Ok(Rc::new(cookies))
}
