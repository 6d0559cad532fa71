//! Looks at the installation from outside: files and their modes, the master key, the store, the running server, the
//! clock, the certificate. Changes nothing, and works beside a running server.

use super::certificate::end_of;
use super::files;
use super::master_key::is_unfinished;
use super::migrate::course::objection;
use super::presence::{Running, beside, running};
use super::store::{Place, seat};
use crate::cli::client::{Client, Target};
use crate::cli::{Failure, Finding, Level};
use crate::codec::control::{read_root, root_key};
use crate::codec::moving::moving_key;
use crate::codec::{kind, read_session};
use crate::config::Config;
use crate::host::clock::{Clock, SystemClock};
use crate::host::entropy::SystemEntropy;
use crate::store::Versioned;
use crate::store::sqlite::{BackupError, Inspection, NotRead, verify_backup};
use handstamp_core::time::{Millis, Span};
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

mod database;

/// A write-ahead log beyond this is not moved into the database as it should be.
const LONG_LOG: u64 = 256 << 20;
/// Less than this free is little.
const LITTLE_ROOM: u64 = 1 << 30;
/// How many of the newest sessions are looked at for stalled rotations.
const SESSIONS: u32 = 100_000;
/// A successor that nobody presents for this long, while the session is used, does not reach its client.
const STALLED: Span = Span::minutes(10);

/// Everything that can be looked at.
pub fn doctor(config: &Config) -> Result<Vec<Finding>, Failure> {
    let mut report = Report(Vec::new());
    let dir = &config.server.data_dir;
    let found = match fs::metadata(dir) {
        Ok(found) => found,
        Err(why) if why.kind() == ErrorKind::NotFound => {
            report
                .warn("data directory", format!("{} is not there: the first start makes it", dir.display()));
            return Ok(report.0);
        }
        Err(why) => {
            report.problem("data directory", format!("{} cannot be looked at: {why}", dir.display()));
            return Ok(report.0);
        }
    };
    private(&mut report, "data directory", dir, found.permissions().mode());
    // Who may not enter would take every file in it for missing.
    if let Err(why) = fs::read_dir(dir).and_then(|_| fs::symlink_metadata(dir.join("."))) {
        report.problem(
            "data directory",
            format!("{} cannot be entered: {why}{}", dir.display(), whose(found.uid())),
        );
        return Ok(report.0);
    }
    if is_unfinished(config) {
        report.warn("master key", "a change of it was cut short; the next start finishes it".to_owned());
    }
    for file in ["master.key", "master.key.next", "master.key.old", "access.key"].map(|name| dir.join(name)) {
        match fs::metadata(&file) {
            Ok(found) => private(&mut report, "file", &file, found.permissions().mode()),
            Err(why) if why.kind() == ErrorKind::NotFound => {}
            Err(why) => report.problem("file", format!("{} cannot be looked at: {why}", file.display())),
        }
    }
    room(&mut report, dir);
    match Place::of(config)? {
        Place::File(path) => match fs::metadata(&path) {
            Ok(found) => store(&mut report, config, &path, found.uid()),
            Err(why) if why.kind() == ErrorKind::NotFound => {
                report.warn("store", format!("{} is not there: the first start makes it", path.display()));
            }
            Err(why) => report.problem("store", format!("{} cannot be looked at: {why}", path.display())),
        },
        Place::Postgres(address) => database::look(&mut report, config, &address),
    }
    let path = seat(config);
    let lock = beside(&path, ".lock");
    match fs::File::open(&lock) {
        Err(why) if why.kind() != ErrorKind::NotFound => {
            let text =
                format!("whether one runs cannot be told, for {} cannot be read: {why}", lock.display());
            report.problem("server", text);
        }
        _ => server(&mut report, config, running(&path)),
    }
    if let Some(tls) = &config.server.tls {
        certificate(&mut report, &tls.cert);
    }
    Ok(report.0)
}

struct Report(Vec<Finding>);

impl Report {
    fn add(&mut self, level: Level, what: &str, detail: String) {
        self.0.push(Finding { level, what: what.to_owned(), detail });
    }
    fn fine(&mut self, what: &str, detail: impl Into<String>) {
        self.add(Level::Fine, what, detail.into());
    }
    fn warn(&mut self, what: &str, detail: impl Into<String>) {
        self.add(Level::Warning, what, detail.into());
    }
    fn problem(&mut self, what: &str, detail: impl Into<String>) {
        self.add(Level::Problem, what, detail.into());
    }
}

fn private(report: &mut Report, what: &str, path: &Path, mode: u32) {
    if mode & 0o077 == 0 {
        report.fine(what, format!("{} is for its owner only", path.display()));
    } else {
        let tight = if path.is_dir() { "700" } else { "600" };
        report.problem(
            what,
            format!(
                "{} can be read by others (mode {:o}): chmod {tight} {}",
                path.display(),
                mode & 0o777,
                path.display()
            ),
        );
    }
}

/// What to do when the owner of something is somebody else; nothing where it is who asks.
fn whose(owner: u32) -> String {
    if rustix::process::geteuid().as_raw() == owner {
        String::new()
    } else {
        format!(" (it belongs to user {owner}: look as that user, or as root)")
    }
}

fn room(report: &mut Report, dir: &Path) {
    match rustix::fs::statvfs(dir) {
        Ok(disk) => {
            let free = disk.f_bavail.saturating_mul(disk.f_frsize);
            let text = format!("{} MiB are free at {}", free >> 20, dir.display());
            if free < LITTLE_ROOM / 8 {
                report.problem("disk", format!("{text}: make room, or the store cannot be written"));
            } else if free < LITTLE_ROOM {
                report.warn("disk", format!("{text}: that is little"));
            } else {
                report.fine("disk", text);
            }
        }
        Err(why) => report.warn("disk", format!("cannot tell how much is free at {}: {why}", dir.display())),
    }
}

fn store(report: &mut Report, config: &Config, path: &Path, owner: u32) {
    for suffix in ["", "-wal", "-shm"] {
        let file = beside(path, suffix);
        if let Ok(found) = fs::metadata(&file)
            && found.permissions().mode() & 0o077 != 0
        {
            private(report, "store", &file, found.permissions().mode());
        }
    }
    // What another user may not write says nothing of the server; a disk that nobody may write does.
    match rustix::fs::access(path, rustix::fs::Access::WRITE_OK) {
        Err(why) if why == rustix::io::Errno::ROFS || whose(owner).is_empty() => report.problem(
            "store",
            format!("{} may not be written: {why}. The server needs to, also to read it", path.display()),
        ),
        _ => {}
    }
    match verify_backup(path) {
        Ok(()) => {}
        Err(why @ BackupError::Damaged { .. }) => {
            report.problem(
                "store",
                format!(
                    "{why}. Stop the server, keep the file for an inquiry, and put a backup in its place: handstamp restore FILE --replace"
                ),
            );
            return;
        }
        Err(why @ (BackupError::Io { .. } | BackupError::Unread(_))) => {
            report.problem("store", format!("{why}{}. Whether it is whole is not known", whose(owner)));
            return;
        }
        Err(why) => {
            report.problem("store", why.to_string());
            return;
        }
    }
    report.fine("store", format!("{} is whole, every index agrees with its table", path.display()));
    let log = fs::metadata(beside(path, "-wal")).map_or(0, |log| log.len());
    if log > LONG_LOG {
        let text = format!("the write-ahead log has {} MiB", log >> 20);
        report.warn("store", format!("{text}: does a backup run, or another program hold the file open?"));
    }
    let looked = Inspection::open(path).and_then(|store| -> Result<(), NotRead> {
        let name = path.display().to_string();
        master_key(report, config, (&name, files::Store::There), store.record(&root_key())?);
        if let Some(why) = store.record(&moving_key())?.and_then(|note| objection(&name, &note)) {
            report.problem("store", why.to_string());
        }
        clock(report, store.clock_floor()?);
        rotations(report, &store.newest(kind::SESSION, SESSIONS)?);
        Ok(())
    });
    if let Err(why) = looked {
        report.problem("store", format!("{} cannot be read: {why}", path.display()));
    }
}

fn master_key(
    report: &mut Report,
    config: &Config,
    (name, store): (&str, files::Store),
    found: Option<Versioned>,
) {
    let Some(found) = found else {
        report.warn("store", format!("{name} is empty: the first start did not come to its end"));
        return;
    };
    let Ok(root) = read_root(&found) else {
        report.problem("store", format!("the first record of {name} cannot be read"));
        return;
    };
    match files::master_key(config, store, &SystemEntropy) {
        Ok(master) if master.fingerprint() == root.fingerprint => {
            report.fine("master key", "is the one the store was made with");
        }
        Ok(_) => report.problem(
            "master key",
            format!("is not the one that {name} was made with: give the one that was"),
        ),
        Err(why) => report.problem("master key", why.to_string()),
    }
}

fn clock(report: &mut Report, floor: Millis) {
    let now = SystemClock::default().now();
    let ahead = floor.since(now);
    if ahead > Span::secs(1) {
        report.problem(
            "clock",
            format!(
                "the store has seen {floor}, this machine says {now}: sessions do not age for {ahead}. Set the clock right"
            ),
        );
    } else {
        report.fine("clock", "is not behind what the store has seen");
    }
}

/// Sessions whose successor was made, is not presented, and that are used all the same.
fn rotations(report: &mut Report, newest: &[Versioned]) {
    let (mut live, mut stalled) = (0u64, 0u64);
    for found in newest {
        match read_session(found) {
            Ok((session, seen)) => {
                live += 1;
                let pending = session.chain.pending_since();
                stalled += u64::from(pending.is_some_and(|since| seen.since(since) > STALLED));
            }
            Err(why) => report.problem("session", why.to_string()),
        }
    }
    if stalled > 0 {
        report.warn(
            "rotation",
            format!(
                "{stalled} of {live} sessions are used with a token whose successor nobody presents: does the application hand `rotated_token` (or `set_cookie`) on to the client?"
            ),
        );
    } else {
        report.fine("rotation", format!("no session of {live} waits for a successor that does not arrive"));
    }
}

fn server(report: &mut Report, config: &Config, running: Option<Running>) {
    let Some(running) = running else {
        report.fine("server", "none runs on this store");
        return;
    };
    let who = running.pid.map_or_else(String::new, |pid| format!(" (process {pid})"));
    let target = Target { url: running.url.as_deref(), ca: None, environment: None };
    let asked = Client::new(config, target, None, false)
        .and_then(|mut client| client.probe("/readyz", Duration::from_secs(3)));
    let place = running.url.clone().unwrap_or_else(|| config.server.listen.to_string());
    match asked {
        Ok(answer) if answer.status == 200 => {
            report.fine("server", format!("runs{who} and is ready at {place}"));
        }
        Ok(answer) => report.problem(
            "server",
            format!("runs{who} at {place} and says it is not ready ({}): look at its log", answer.status),
        ),
        // Its certificate may be of an authority that is not known here.
        Err(why) if config.server.tls.is_some() => {
            report.warn("server", format!("runs{who}, and could not be asked at {place}: {why}"));
        }
        Err(why) => report.problem("server", format!("runs{who} and does not answer at {place}: {why}")),
    }
}

fn certificate(report: &mut Report, file: &Path) {
    let now = SystemClock::default().now();
    match end_of(file) {
        Err(why) => report.problem("certificate", why),
        Ok(end) if end <= now => {
            report.problem("certificate", format!("{} has ended {end}: renew it", file.display()));
        }
        Ok(end) if end.since(now) < Span::days(14) => {
            report.warn("certificate", format!("{} ends {end}: renew it", file.display()));
        }
        Ok(end) => report.fine("certificate", format!("{} is good until {end}", file.display())),
    }
}
