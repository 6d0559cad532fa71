//! The binary: reads the environment once, then does what the command line says.

use handstamp_server::cli;
use handstamp_server::config::Environment;
use handstamp_server::run::Service;
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // Before anything else asks for memory.
    let service = Service::begin();
    cli::main(Environment::of_this_process(), &service)
}
