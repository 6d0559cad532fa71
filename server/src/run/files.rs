//! The data directory: who may read it, the master key, the first access key. Files with secrets are made with mode 0600
//! from their first byte on, and are whole or not there.

use super::new_key;
use crate::cli::Failure;
use crate::config::Config;
use crate::config::server::MasterKey as Where;
use crate::host::entropy::Entropy;
use handstamp_core::token::Kind;
use handstamp_core::token::access_key::Parts;
use handstamp_core::token::keyring::MasterKey;
use std::fs;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// Makes the data directory if it is not there: for its owner only.
pub fn data_dir(config: &Config) -> Result<(), Failure> {
    let dir = &config.server.data_dir;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(|why| {
        Failure::new(format!("cannot make the data directory {}: {why}", dir.display()))
            .help("choose a directory this user may write, with --data-dir")
    })
}

/// Whose master key it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Store {
    /// A store that is made now.
    New,
    /// One that is there already.
    There,
    /// One that several nodes may use: no node may make a key for itself.
    Shared,
}

/// The master key. The first start makes it; a store that is there already must have its own, and nodes share theirs.
pub fn master_key(config: &Config, store: Store, entropy: &dyn Entropy) -> Result<MasterKey, Failure> {
    match &config.server.master_key {
        Where::Given(text) => parse_master(text.expose_secret(), "HANDSTAMP_SERVER__MASTER_KEY"),
        Where::File(file) => read_master(file),
        Where::Made(file) => match fs::metadata(file) {
            Ok(_) => read_master(file),
            Err(why) if why.kind() == ErrorKind::NotFound && store == Store::New => make_master(file, entropy),
            Err(why) if why.kind() == ErrorKind::NotFound && store == Store::Shared => Err(Failure::new(format!(
                "there is no master key at {}, and with PostgreSQL all nodes share one, so none is made",
                file.display()
            ))
            .help("make one once (openssl rand -hex 32), keep a copy of it, and give it to every node: HANDSTAMP_SERVER__MASTER_KEY, or a file of mode 0600 that HANDSTAMP_SERVER__MASTER_KEY_FILE names")),
            Err(why) if why.kind() == ErrorKind::NotFound => Err(Failure::new(format!(
                "the master key {} is gone, but there is a store beside it that was made with it",
                file.display()
            ))
            .help("put the file back from where you keep it; it is not in a backup of the store. Without it no session and no access key can be recognised again")),
            Err(why) => Err(cannot("read the master key", file, &why)),
        },
    }
}

pub(super) fn read_master(file: &Path) -> Result<MasterKey, Failure> {
    let text = fs::read_to_string(file).map_err(|why| cannot("read the master key", file, &why))?;
    let mode = fs::metadata(file).map(|m| m.permissions().mode()).unwrap_or(0);
    if mode & 0o077 != 0 {
        return Err(Failure::new(format!(
            "the master key {} can be read by others (mode {:o})",
            file.display(),
            mode & 0o777
        ))
        .help(format!("chmod 600 {}", file.display())));
    }
    parse_master(text.trim(), &file.display().to_string())
}

fn make_master(file: &Path, entropy: &dyn Entropy) -> Result<MasterKey, Failure> {
    let mut bytes = [0; 32];
    if !entropy.fill(&mut bytes) {
        return Err(Failure::new("the operating system gave no random bytes"));
    }
    write_master(file, &bytes)?;
    Ok(MasterKey::new(bytes))
}

/// Writes a master key down.
pub(super) fn write_master(file: &Path, bytes: &[u8; 32]) -> Result<(), Failure> {
    let text: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
    write_secret(file, &text).map_err(|why| not_written("the master key", file, &why))
}

fn parse_master(text: &str, place: &str) -> Result<MasterKey, Failure> {
    let wrong =
        || Failure::new(format!("{place} is no master key: it is 64 hexadecimal digits (32 random bytes)"));
    let mut bytes = [0; 32];
    if text.len() != 64 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(wrong());
    }
    for (slot, pair) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
        let pair = std::str::from_utf8(pair).map_err(|_| wrong())?;
        *slot = u8::from_str_radix(pair, 16).map_err(|_| wrong())?;
    }
    Ok(MasterKey::new(bytes))
}

/// The first access key of an empty store: given by the configuration, or in the file already, or new. It is in its file
/// before the store knows it, so that it cannot get lost between the two.
pub fn first_key(config: &Config, entropy: &dyn Entropy) -> Result<Parts, Failure> {
    if let Some(given) = &config.bootstrap.access_key {
        return Parts::read(Kind::AccessKey, given.expose_secret()).map_err(|_| {
            Failure::new("[bootstrap] access_key is not a well-formed access key")
                .help("`handstamp keys generate` makes one")
        });
    }
    let file = config.server.access_key_file();
    match fs::read_to_string(&file) {
        Ok(text) => {
            if let Ok(parts) = Parts::read(Kind::AccessKey, text.trim()) {
                return Ok(parts);
            }
            Err(Failure::new(format!("{} is there, but holds no access key", file.display()))
                .help("move it away, and start again"))
        }
        Err(why) if why.kind() == ErrorKind::NotFound => {
            let parts = new_key(entropy)?;
            write_secret(&file, parts.text().reveal())
                .map_err(|why| not_written("the access key", &file, &why))?;
            Ok(parts)
        }
        Err(why) => Err(cannot("read the access key", &file, &why)),
    }
}

pub(super) fn write_secret(file: &Path, text: &str) -> std::io::Result<()> {
    let temporary = file.with_extension("new");
    let _ = fs::remove_file(&temporary);
    let mut out = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
    out.write_all(text.as_bytes())?;
    out.write_all(b"\n")?;
    out.sync_all()?;
    fs::rename(&temporary, file)?;
    match file.parent() {
        Some(dir) => fs::File::open(dir)?.sync_all(),
        None => Ok(()),
    }
}

fn not_written(what: &str, file: &Path, why: &std::io::Error) -> Failure {
    let failure = cannot(&format!("write {what}"), file, why);
    match why.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            failure.help("there is no space left: make room on its disk")
        }
        ErrorKind::ReadOnlyFilesystem | ErrorKind::PermissionDenied => failure.help(
            "make the directory writable for the user that runs Handstamp, or choose another one with --data-dir",
        ),
        _ => failure,
    }
}

pub(super) fn cannot(what: &str, file: &Path, why: &std::io::Error) -> Failure {
    Failure::new(format!("cannot {what} {}: {why}", file.display()))
}
