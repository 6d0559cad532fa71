//! The measuring side of `./bench`: one program that drives the load, and that is each of the Rust peers when asked to.
//!
//! * `run`: the whole benchmark, in order; `context`, `report`, `machine`: what it is given and what it says.
//! * `bench_validate`, `bench_create`, `bench_million`: the workloads; `rounds` takes servers in turn.
//! * `nodes`, `bench_nodes`, `bench_nodes_write`: several nodes on one PostgreSQL.
//! * `bench_tokens`, `bench_refresh`, `bench_feed`: those of access tokens; `listeners`: a hundred verifiers.
//! * `verify_local`: making and verifying access tokens in one process.
//! * `drive`, `http`, `requests`, `population`, `tokens`: the closed loop and what it sends.
//! * `procs`, `child`, `disk`, `stats`, `progress`: what is read from the machine.
//! * `handstamp`, `peers`, `postgres`: the servers, started and stopped.
//! * `peer_echo`, `peer_tower`, `tower_app`, `peer_postgres`: what runs in the processes of the peers.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command-line tool talks on its standard streams"
)]
#![expect(
    clippy::disallowed_methods,
    reason = "measuring is reading clocks, waiting, and looking at the environment"
)]

mod bench_create;
mod bench_feed;
mod bench_million;
mod bench_nodes;
mod bench_nodes_write;
mod bench_policy;
mod bench_rates;
mod bench_refresh;
mod bench_tokens;
mod bench_validate;
mod child;
mod context;
mod disk;
mod drive;
mod handstamp;
mod http;
mod listeners;
mod machine;
mod nodes;
mod peer_echo;
#[cfg(feature = "peers")]
mod peer_postgres;
#[cfg(feature = "peers")]
mod peer_tower;
mod peers;
mod population;
mod postgres;
mod procs;
mod progress;
mod report;
mod requests;
mod rounds;
mod run;
mod stats;
mod tokens;
#[cfg(feature = "peers")]
mod tower_app;
mod verify_local;

use std::process::ExitCode;

use clap::Parser;

/// The allocator of the server under test, so that the echo peer is not slower for another reason than its work.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Nothing here is recovered from: what went wrong is said, and the run ends.
pub(crate) type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

#[derive(Parser)]
#[command(name = "handstamp-loadgen", about = "Measures Handstamp beside its peers; called by ./bench")]
enum Command {
    /// Run the benchmark
    Run(context::Options),
    /// Measure verifying in the application's own process, and print figures as JSON
    VerifyLocal(verify_local::Options),
    /// Be the echo peer
    #[command(hide = true)]
    PeerEcho(peer_echo::Options),
    /// Be the tower-sessions peer
    #[cfg(feature = "peers")]
    #[command(hide = true)]
    PeerTower(peer_tower::Options),
    /// Be the client of the PostgreSQL peer
    #[cfg(feature = "peers")]
    #[command(hide = true)]
    PeerPostgres(peer_postgres::Options),
}

fn main() -> ExitCode {
    let outcome = match Command::parse() {
        Command::Run(options) => run::run(options),
        Command::VerifyLocal(options) => verify_local::run(&options).map(|()| ExitCode::SUCCESS),
        Command::PeerEcho(options) => peer_echo::serve(&options).map(|()| ExitCode::SUCCESS),
        #[cfg(feature = "peers")]
        Command::PeerTower(options) => peer_tower::serve(&options).map(|()| ExitCode::SUCCESS),
        #[cfg(feature = "peers")]
        Command::PeerPostgres(options) => peer_postgres::run(&options).map(|()| ExitCode::SUCCESS),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("error: {error}");
        ExitCode::FAILURE
    })
}
