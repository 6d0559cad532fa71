//! `handstamp migrate-store`: from two addresses to a move that is made, while the service runs until the last moment.
//!
//! Rounds are made until one finds little. Then whoever watches is told that the service can be stopped; rounds go on, so
//! that little stays little, until it has been; the last round and the comparison are all that it misses.

pub mod course;

use self::course::{Begun, Course, End};
use super::restore::Owner;
use crate::cli::{Failure, MoveDone, MoveNews, MoveOrder, MoveWatch};
use crate::codec::kind;
use crate::codec::moving::moving_key;
use crate::config::setting::Word;
use crate::config::store::StoreUrl;
use crate::host::clock::{Clock, SystemClock, instant, pause};
use crate::host::entropy::{Entropy, SystemEntropy};
use crate::run::presence::beside;
use crate::store::postgres::{Address, RawDatabase};
use crate::store::sqlite::RawFile;
use crate::store::transfer::rounds::{Compared, Contents, Part, Round, Watch, compare};
use crate::store::transfer::{Size, Transfer};
use std::path::{Path, absolute};
use std::time::Duration;

/// So many differences are little: the last round brings them over in no time.
const LITTLE: u64 = 1_000;
/// How often it is seen whether the service has stopped.
const LOOK: Duration = Duration::from_millis(200);
/// How long only that is done between two rounds, at the least.
const BETWEEN: Duration = Duration::from_secs(5);
/// ...and so many times as long as a round takes: a service that is stopped in the middle of one waits for its end.
const ROUNDS: u32 = 4;

/// A store that was opened to be moved.
struct Opened {
    store: Box<dyn Transfer>,
    name: String,
    /// A file that is not there yet.
    new_file: Option<std::path::PathBuf>,
}

impl Opened {
    fn end(&self) -> End<'_> {
        End { store: &*self.store, name: &self.name }
    }
}

/// Moves everything from one store to another.
///
/// # Errors
/// Why not. Whatever was brought over stays, and is no work any more when it is tried again.
pub fn migrate_store(order: &MoveOrder, watch: &mut dyn MoveWatch) -> Result<MoveDone, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|why| Failure::new(format!("cannot start threads: {why}")))?;
    runtime.block_on(go(order, watch))
}

/// Takes back that a store has moved away; to where.
///
/// # Errors
/// It has not, or a service works on it.
pub fn undo(url: &StoreUrl) -> Result<String, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|why| Failure::new(format!("cannot start threads: {why}")))?;
    runtime.block_on(async {
        let opened = open(url).await?;
        if opened.new_file.is_some() {
            return Err(Failure::new(format!("there is no store at {}", opened.name)));
        }
        course::undo(opened.end()).await.map(|gone| gone.other)
    })
}

async fn go(order: &MoveOrder, watch: &mut dyn MoveWatch) -> Result<MoveDone, Failure> {
    let (from, to) = (open(&order.from).await?, open(&order.to).await?);
    if from.name == to.name && order.from == order.to {
        return Err(Failure::new(format!("both are {}", from.name)));
    }
    if from.new_file.is_some() {
        return Err(Failure::new(format!("there is no store at {}", from.name))
            .help("is it the address that the service runs with?"));
    }
    let mut teller =
        Teller { watch, size: Size::default(), seen: 0, brought: 0, records: 0, lines: 0, lingers: false };
    if order.dry_run {
        return teller.dry_run(&from, &to).await;
    }
    let mut id = [0; 16];
    if !SystemEntropy.fill(&mut id) {
        return Err(Failure::new("the operating system gave no random bytes"));
    }
    let now = SystemClock::default().now();
    let begun = Course::begin(from.end(), to.end(), now, id, order.anew).await;
    if let Some(file) = &to.new_file {
        give(file)?;
    }
    let Some(course) = begun? else { return Ok(MoveDone::Already) };
    teller.begin(&from, course.begun).await?;
    teller.rounds(&course, &from, order.wait).await
}

/// The store at an address.
async fn open(url: &StoreUrl) -> Result<Opened, Failure> {
    match url {
        StoreUrl::Sqlite(path) => {
            let path = absolute(path).map_err(|why| Failure::new(format!("{}: {why}", path.display())))?;
            let store = RawFile::at(&path).map_err(|why| Failure::new(why.to_string()))?;
            let name = StoreUrl::Sqlite(path.clone()).text();
            let new_file = (!path.exists()).then_some(path);
            Ok(Opened { store: Box::new(store), name, new_file })
        }
        StoreUrl::Postgres(text) => {
            let address = Address::parse(text)
                .map_err(|why| Failure::new(format!("it is no address of a PostgreSQL database: {why}")))?;
            let store = RawDatabase::at(&address, &[kind::SESSION])
                .map_err(|why| Failure::new(format!("PostgreSQL {why}")))?;
            Ok(Opened { store: Box::new(store), name: url.text(), new_file: None })
        }
        StoreUrl::Redis(_) => Err(Failure::new("this version keeps nothing in Redis")),
    }
}

/// To whoever the directory of a new file belongs, the file does: who moves a store is often root, and the server is not.
fn give(file: &Path) -> Result<(), Failure> {
    let Ok(owner) = Owner::of(file.parent().unwrap_or(file)) else { return Ok(()) };
    for suffix in ["", ".lock", "-wal", "-shm"] {
        let name = beside(file, suffix);
        if name.exists() {
            owner.give_path(&name)?;
        }
    }
    Ok(())
}

/// Tells whoever watches.
struct Teller<'w> {
    watch: &'w mut dyn MoveWatch,
    size: Size,
    /// Of this round: gone through, and brought over.
    seen: u64,
    brought: u64,
    records: u64,
    lines: u64,
    /// Nobody worked on the old store when it was last looked, but may only have lost the connections.
    lingers: bool,
}

impl Watch for Teller<'_> {
    fn went(&mut self, part: Part, seen: u64, brought: u64) {
        match part {
            Part::Records => self.records += seen,
            Part::History => self.lines += seen,
            Part::Orphans => {}
        }
        self.seen += seen;
        self.brought += brought;
        let of = self.size.records.max(self.records) + self.size.lines.max(self.lines);
        self.watch.tell(&MoveNews::Went {
            seen: self.seen.min(of),
            of,
            records: self.records,
            lines: self.lines,
            brought: self.brought,
        });
    }
}

impl Teller<'_> {
    async fn begin(&mut self, from: &Opened, begun: Begun) -> Result<(), Failure> {
        self.measure(from).await?;
        let Size { records, lines } = self.size;
        self.watch.tell(&MoveNews::Began { again: begun != Begun::Fresh, records, lines });
        Ok(())
    }

    /// Another round begins.
    async fn measure(&mut self, from: &Opened) -> Result<(), Failure> {
        self.size = from.store.size().await.map_err(|why| Failure::new(format!("{}: {why}", from.name)))?;
        (self.seen, self.brought, self.records, self.lines) = (0, 0, 0, 0);
        Ok(())
    }

    async fn rounds(&mut self, course: &Course<'_>, from: &Opened, wait: bool) -> Result<MoveDone, Failure> {
        let (mut number, mut before, mut told) = (0, u64::MAX, false);
        loop {
            if let Some(contents) = self.finish(course, from).await? {
                return Ok(done(&contents));
            }
            number += 1;
            self.measure(from).await?;
            self.watch.tell(&MoveNews::Round { number });
            let began = instant();
            let Round { brought, removed } = course.round(self).await?;
            let round = began.elapsed();
            self.watch.tell(&MoveNews::RoundDone { number, brought, removed });
            let found = brought + removed;
            // Little, or no longer less: what is left is what the service writes in the time of a round.
            let settled = found <= LITTLE || found > before / 2;
            before = found;
            if !settled && !told {
                continue;
            }
            if !wait {
                return Ok(MoveDone::NotYet { round, lingers: self.lingers });
            }
            if !told {
                self.watch.tell(&MoveNews::StopTheService { round });
                told = true;
            }
            let until = instant() + BETWEEN.max(round.saturating_mul(ROUNDS));
            while instant() < until {
                if let Some(contents) = self.finish(course, from).await? {
                    return Ok(done(&contents));
                }
                pause(LOOK).await;
            }
        }
    }

    /// The last round, if nobody works on the old store.
    async fn finish(&mut self, course: &Course<'_>, from: &Opened) -> Result<Option<Contents>, Failure> {
        if !course.is_quiet().await? {
            self.lingers = false;
            return Ok(None);
        }
        if course::was_kept(from.end(), SystemClock::default().now()).await? {
            from.store.release().await;
            if !std::mem::replace(&mut self.lingers, true) {
                self.watch.tell(&MoveNews::Lingers);
            }
            return Ok(None);
        }
        self.measure(from).await?;
        self.watch.tell(&MoveNews::LastRound);
        course.last_round(self).await?;
        self.measure(from).await?;
        self.watch.tell(&MoveNews::Comparing);
        course.end(self).await.map(Some)
    }

    /// What a round would do.
    async fn dry_run(&mut self, from: &Opened, to: &Opened) -> Result<MoveDone, Failure> {
        self.measure(from).await?;
        let found = compare(&*from.store, &*to.store, &[moving_key()], self).await;
        let differ = match found.map_err(|why| Failure::new(format!("comparing: {why}")))? {
            Compared::Same(_) => [0; 3],
            Compared::Differs { records, lines, orphans, .. } => [records, lines, orphans],
        };
        let [records, lines, orphans] = differ;
        Ok(MoveDone::Would { records: self.records, lines: self.lines, differ: records + lines + orphans })
    }
}

fn done(contents: &Contents) -> MoveDone {
    let digest = contents.digest.iter().map(|byte| format!("{byte:02x}")).collect();
    MoveDone::Done { records: contents.records, lines: contents.lines, digest }
}
