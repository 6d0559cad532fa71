//! Several nodes under real faults, and a judgement of what every client saw.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command-line tool talks on its standard streams"
)]
#![expect(
    clippy::disallowed_methods,
    reason = "measuring is reading clocks, waiting, and looking at the environment"
)]

mod check;
mod history;
mod random;

fn main() {
    println!("{:?}", check::check(&history::History::default()));
    eprintln!();
    std::thread::sleep(std::time::Duration::ZERO);
    let _ = random::Random::new(1).chance(3);
}
