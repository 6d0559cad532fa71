//! Several nodes of the built binary under faults that are really made, and a judgement of what every client saw.
//!
//! * `stage`: nodes, PostgreSQL clusters and the network between them, in namespaces of their own; what can break there.
//! * `world`, `client`, `calls`, `workload`, `follow`: the clients, and the record of every call.
//! * `scene`, `trial`, `sights`: one fault, from calm to calm; how it is made; what must have been seen.
//! * `several`: what only several nodes can show, without any fault.
//! * `history`, `check`: what was seen, and which promise it breaks.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command-line tool talks on its standard streams"
)]
#![expect(
    clippy::disallowed_methods,
    reason = "making faults is reading clocks, waiting, and looking at the environment"
)]

mod calls;
mod check;
mod client;
mod follow;
mod history;
mod random;
mod report;
mod scene;
mod several;
mod sights;
mod stage;
mod trial;
mod workload;
mod world;

use clap::Parser;
use scene::{Plan, SCENES};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// Makes faults under several nodes of a binary, and says which promises did not hold.
#[derive(Parser)]
struct Options {
    /// The binary of the server.
    #[arg(long)]
    binary: PathBuf,
    /// Only these scenes; may be given several times.
    #[arg(long)]
    only: Vec<String>,
    /// Names the scenes, and does nothing.
    #[arg(long)]
    list: bool,
    /// Every fault again and again, for so many minutes altogether.
    #[arg(long)]
    minutes: Option<u64>,
    /// How many nodes.
    #[arg(long, default_value_t = 3)]
    nodes: usize,
    /// What clients choose is drawn from this.
    #[arg(long)]
    seed: Option<u64>,
    /// The result also as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Where clusters and data directories are made.
    #[arg(long)]
    folder: Option<PathBuf>,
    /// Keeps what was made, also when all went well.
    #[arg(long)]
    keep: bool,
}

fn main() -> ExitCode {
    let options = Options::parse();
    if options.list {
        for scene in SCENES {
            println!("{:16} {}", scene.name, scene.about);
        }
        return ExitCode::SUCCESS;
    }
    match stage::network::enter().and_then(|()| run(&options)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("faults: {why}");
            ExitCode::FAILURE
        }
    }
}

/// Whether every promise held.
fn run(options: &Options) -> stage::shell::Result<bool> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|why| why.to_string())?;
    let chosen: Vec<_> = SCENES
        .iter()
        .filter(|scene| options.only.is_empty() || options.only.iter().any(|name| name == scene.name))
        .collect();
    if let Some(unknown) = options.only.iter().find(|name| !SCENES.iter().any(|scene| scene.name == **name)) {
        return Err(format!("there is no scene {unknown}; --list names them"));
    }
    let binary =
        options.binary.canonicalize().map_err(|why| format!("{}: {why}", options.binary.display()))?;
    let folder = options
        .folder
        .clone()
        .unwrap_or_else(|| std::env::temp_dir().join(format!("handstamp-faults-{}", std::process::id())));
    std::fs::create_dir_all(&folder).map_err(|why| format!("{}: {why}", folder.display()))?;
    let seed = options.seed.unwrap_or_else(|| u64::from(std::process::id()));
    let rounds = options.minutes.map_or(1, |minutes| rounds(minutes, chosen.len()));
    let mut report = report::Report::begin(chosen.len(), seed);
    for scene in chosen {
        report.next(scene);
        let plan = Plan {
            binary: &binary,
            folder: &folder,
            nodes: options.nodes,
            seed,
            pace: Duration::from_millis(if options.minutes.is_some() { 4_000 } else { 2_000 }),
            rounds,
            ends: if options.minutes.is_some() { 1_000 } else { 200 },
            keep: options.keep,
        };
        let outcome = runtime.block_on(scene::play(scene, &plan))?;
        report.done(scene, outcome);
    }
    report.end(&folder, options.keep, options.json.as_deref())
}

/// A round with its calm takes some twelve seconds.
fn rounds(minutes: u64, scenes: usize) -> u32 {
    u32::try_from(minutes * 60 / 12 / scenes.max(1) as u64).unwrap_or(u32::MAX).max(1)
}
