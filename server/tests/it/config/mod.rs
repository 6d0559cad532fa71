//! The configuration, tried from outside: real files, an environment as a map, flags.

#![cfg(test)]

mod errors;
mod precedence;
mod print;
mod privacy;
mod reload;
mod unsafe_combinations;

use handstamp_server::config::{Config, ConfigFile, Environment, Flags, Origin, Problems, Sources};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// What one test says in each layer.
#[derive(Default)]
pub(crate) struct Said {
    pub(crate) file: Option<&'static str>,
    pub(crate) environment: Vec<(&'static str, String)>,
    pub(crate) flags: Flags,
}

/// A directory of its own for one test.
pub(crate) fn directory() -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let name = format!("config-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    // An earlier run may have had the same process id, and left its files.
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir_all(&path).unwrap();
    path
}

/// Writes `text` where it can be read again.
pub(crate) fn written(name: &str, text: &str) -> PathBuf {
    let path = directory().join(name);
    std::fs::write(&path, text).unwrap();
    path
}

/// A whole access key, the same for the same seed.
pub(crate) fn access_key(seed: u8) -> String {
    use handstamp_core::token::{Kind, access_key::Parts};
    Parts::new(Kind::AccessKey, [seed; 16], [7; 32]).text().reveal().to_owned()
}

/// Text that lives as long as the tests do.
pub(crate) fn kept(text: String) -> &'static str {
    Box::leak(text.into_boxed_str())
}

pub(crate) fn sources(said: &Said) -> Sources {
    let file = match said.file {
        Some(text) => ConfigFile::Named(written("handstamp.toml", text)),
        None => ConfigFile::IfPresent(directory().join("handstamp.toml")),
    };
    Sources { file, environment: Environment::new(said.environment.clone()), flags: said.flags.clone() }
}

pub(crate) fn load(said: &Said) -> Result<Config, Problems> {
    Config::load(&sources(said))
}

/// The configuration of a file that is right.
pub(crate) fn good(file: &'static str) -> Config {
    match load(&Said { file: Some(file), ..Said::default() }) {
        Ok(config) => config,
        Err(problems) => panic!("{problems}"),
    }
}

/// The problems of a file, each as `line: key: message`.
pub(crate) fn problems(file: &'static str) -> Vec<String> {
    lines(load(&Said { file: Some(file), ..Said::default() }))
}

pub(crate) fn lines(result: Result<Config, Problems>) -> Vec<String> {
    let Err(Problems(all)) = result else { return Vec::new() };
    all.iter()
        .map(|problem| {
            let text = problem.to_string();
            // The directory differs from run to run.
            match text.split_once("handstamp.toml:") {
                Some((_, rest)) => rest.to_owned(),
                None => text,
            }
        })
        .collect()
}

pub(crate) fn origin_of(config: &Config, path: &str) -> Origin {
    config.entries.iter().find(|entry| entry.path == path).unwrap().origin.clone()
}
