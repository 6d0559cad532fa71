//! Reading a configuration file: whatever is in it, it is a configuration or a list of sentences that can be logged; and
//! what `handstamp config show` says of it reads to the same again.
#![no_main]

use handstamp_server::config::print::listing;
use handstamp_server::config::{Config, ConfigFile, Environment, Flags, Origin, Problems, Sources};
use libfuzzer_sys::fuzz_target;
use std::path::PathBuf;
use std::sync::LazyLock;

static FILE: LazyLock<PathBuf> =
    LazyLock::new(|| std::env::temp_dir().join(format!("handstamp-fuzz-{}.toml", std::process::id())));

fuzz_target!(|data: &[u8]| {
    match load(data) {
        Err(Problems(all)) => {
            assert!(!all.is_empty());
            for problem in all {
                let said = problem.to_string();
                assert!(!said.chars().any(char::is_control), "{said:?}");
            }
        }
        Ok(config) => {
            let said = listing(&config, false);
            assert_eq!(said.lines().count(), config.entries.len(), "each on a line of its own");
            let lines = said.lines().zip(&config.entries);
            // What only the environment can set, and what is not shown, cannot be written back.
            let set: Vec<&str> = lines
                .filter(|(_, entry)| entry.origin != Origin::Default && !entry.value.is_null())
                .map(|(line, _)| line)
                .filter(|line| !line.ends_with("\"(set)\""))
                .collect();
            let again =
                load(set.join("\n").as_bytes()).unwrap_or_else(|problems| panic!("{problems} in {set:#?}"));
            for entry in config.entries.iter().filter(|entry| entry.value != "(set)") {
                let found = again.entries.iter().find(|other| other.path == entry.path);
                assert!(
                    entry.value.is_null() || found.is_some_and(|found| found.value == entry.value),
                    "{}",
                    entry.path
                );
            }
        }
    }
});

/// As a command that asks the server does it: nothing that is named in the file is opened.
fn load(text: &[u8]) -> Result<Config, Problems> {
    std::fs::write(&*FILE, text).expect("a temporary file can be written");
    Config::load_to_ask(&Sources {
        file: ConfigFile::Named(FILE.clone()),
        environment: Environment::default(),
        flags: Flags::default(),
    })
}
