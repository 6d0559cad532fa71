//! The one thread that writes: everything that queued during the last sync goes into the next transaction.
//!
//! One turn is one transaction and so one sync, however many commits ride in it. Each of them is checked against what
//! the earlier ones left, and a conflict fails alone. Nobody is answered before the sync. If the turn itself fails (the
//! disk is full, or broken), all of it is rolled back and everybody is told `Unavailable`; the next turn starts clean.
//! After that the store counts as failing until a turn has really written something and its disk has room again, for on a
//! full disk a small write still fits here and there where a larger one does not.

use super::super::{Amend, Batch, Key, Millis, Scrubbed, StoreError, Tally};
use super::apply::{Applied, Statements};
use super::fault::{fault, full};
use super::open::directory;
use super::queue::{Reply, Worker};
use super::sweep::Swept;
use rusqlite::Connection;
use std::cell::Cell;
use std::collections::{HashMap, VecDeque};
use std::path::{Path, PathBuf};

/// What is asked of the writer.
pub(super) enum Job {
    /// A batch: all or nothing.
    Commit(Batch, Reply<()>),
    /// Activity.
    Touch(Vec<(Key, Millis)>, Reply<()>),
    /// Lines of history that are written anew.
    Amend(Vec<Amend>, Reply<u32>),
    /// What was deleted is to be taken out of the files.
    Scrub(Reply<Scrubbed>),
    /// A slice of housekeeping.
    Sweep(Millis, u32, Reply<Swept>),
    /// Whether a write goes through.
    Probe(Reply<()>),
}

/// The most jobs and rows of one turn: a turn stays well under the patience of who waits for it.
const MOST_JOBS: usize = 512;
const MOST_ROWS: usize = 8_192;
/// A disk that was full has room again when this much is free: some dozens of the largest sessions.
const ROOM: u64 = 1 << 20;

/// What the counters say: as committed, or as they will be when this turn commits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Marks {
    /// The clock's high-water mark.
    pub(super) floor: i64,
    /// The last event's position.
    pub(super) position: i64,
    /// The latest hour that history has reached.
    pub(super) hour: i64,
}

thread_local! {
    /// How many pages the write-ahead log has, as SQLite said after the last commit of this thread. (Its hook takes a
    /// plain function, so there is no other place to put it.)
    static WAL_PAGES: Cell<u32> = const { Cell::new(0) };
    /// Whether anything was committed since the last look: SQLite calls its hook for no empty transaction.
    static WROTE: Cell<bool> = const { Cell::new(false) };
}

/// The writing thread's things.
pub(super) struct Writer {
    pub(super) conn: Connection,
    pub(super) path: PathBuf,
    pub(super) marks: Marks,
    /// Pages of the write-ahead log from which on it is moved into the database.
    pub(super) checkpoint_at: u32,
}

/// An answer that waits for the sync.
enum Pending {
    Plain(Reply<()>, Result<(), StoreError>),
    Swept(Reply<Swept>, Swept),
    Amended(Reply<u32>, u32),
}

impl Writer {
    /// Works until the queue is closed and empty; then tidies up the write-ahead log.
    pub(super) fn run(mut self, worker: &Worker<Job>) {
        self.conn.wal_hook(Some(|_, pages| {
            WAL_PAGES.set(u32::try_from(pages).unwrap_or(0));
            WROTE.set(true);
            Ok(())
        }));
        self.work(worker);
        // Best effort: what is in the log is safe there, too. A backup that still reads is not waited for.
        let _ = self.conn.busy_timeout(std::time::Duration::ZERO);
        let _ = self.conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
    }

    fn work(&mut self, worker: &Worker<Job>) {
        let mut statements = match Statements::new(&self.conn) {
            Ok(statements) => statements,
            Err(error) => {
                tracing::error!(%error, "the store cannot prepare to write");
                return;
            }
        };
        let mut jobs = VecDeque::new();
        let mut next_checkpoint = self.checkpoint_at;
        let mut failing = false;
        loop {
            worker.take(&mut jobs, MOST_JOBS, MOST_ROWS, weigh);
            if jobs.is_empty() {
                return;
            }
            let cramped = failing && cramped(&self.path);
            if cramped {
                refuse_probes(&self.path, &mut jobs);
            }
            let scrubs = take_scrubs(&mut jobs);
            WROTE.set(false);
            let failed = turn(&self.conn, &mut statements, &mut self.marks, &self.path, &mut jobs).err();
            // A full disk fails every turn: once said is enough, or the log fills what is left of it.
            match &failed {
                Some(error) if !failing => {
                    tracing::error!(%error, "nothing of a group commit was written");
                    failing = true;
                }
                None if failing && !cramped && WROTE.get() => {
                    tracing::info!("the store can be written again");
                    failing = false;
                }
                _ => {}
            }
            if !scrubs.is_empty() {
                // After the turn: what it deleted goes as well.
                let scrubbed = super::scrub::scrub(&self.conn, &self.path);
                for reply in scrubs {
                    drop(reply.send(scrubbed.clone()));
                }
            }
            let pages = WAL_PAGES.get();
            if pages < self.checkpoint_at {
                next_checkpoint = self.checkpoint_at;
            } else if pages >= next_checkpoint {
                // A reader (a backup) can hold the log for long; then it is tried again when it has grown, not each turn.
                next_checkpoint = if self.checkpoint() {
                    self.checkpoint_at
                } else {
                    pages.saturating_add(self.checkpoint_at)
                };
            }
        }
    }

    /// Moves the log into the database; whether all of it went, so that the next commit begins it anew.
    fn checkpoint(&self) -> bool {
        let moved = self.conn.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| {
            Ok(row.get::<_, i64>(0)? == 0 && row.get::<_, i64>(1)? == row.get::<_, i64>(2)?)
        });
        match moved {
            Ok(all) => {
                if all {
                    WAL_PAGES.set(0);
                }
                all
            }
            Err(error) => {
                tracing::warn!(%error, "the write-ahead log could not be moved into the database; it grows until it can");
                false
            }
        }
    }
}

/// Whether the disk has no room worth speaking of. A disk that does not say is taken at its writes.
fn cramped(path: &Path) -> bool {
    rustix::fs::statvfs(directory(path)).is_ok_and(|disk| disk.f_bavail.saturating_mul(disk.f_frsize) < ROOM)
}

/// Who asks whether a write goes through asks for all of them; a small one that still fits says nothing of those.
fn refuse_probes(path: &Path, jobs: &mut VecDeque<Job>) {
    for job in std::mem::take(jobs) {
        match job {
            Job::Probe(reply) => drop(reply.send(Err(full(path)))),
            job => jobs.push_back(job),
        }
    }
}

/// Takes those out that are no part of a transaction.
fn take_scrubs(jobs: &mut VecDeque<Job>) -> Vec<Reply<Scrubbed>> {
    let mut scrubs = Vec::new();
    for job in std::mem::take(jobs) {
        match job {
            Job::Scrub(reply) => scrubs.push(reply),
            job => jobs.push_back(job),
        }
    }
    scrubs
}

fn weigh(job: &Job) -> usize {
    match job {
        Job::Amend(lines, _) => lines.len(),
        Job::Scrub(_) => 1,
        Job::Commit(batch, _) => batch.ops.len() + batch.events.len(),
        Job::Touch(seen, _) => seen.len(),
        Job::Sweep(_, limit, _) => usize::try_from(*limit).unwrap_or(usize::MAX).saturating_mul(8),
        Job::Probe(_) => 1,
    }
}

/// One transaction with all the jobs, and their answers; what everybody was told when it failed.
fn turn(
    conn: &Connection,
    statements: &mut Statements<'_>,
    marks: &mut Marks,
    path: &Path,
    jobs: &mut VecDeque<Job>,
) -> Result<(), StoreError> {
    let mut pending = Vec::with_capacity(jobs.len());
    match transact(statements, *marks, jobs, &mut pending) {
        Ok(after) => {
            *marks = after;
            for answer in pending {
                // Who does not wait any more is not told; the commit stands.
                match answer {
                    Pending::Plain(reply, result) => drop(reply.send(result)),
                    Pending::Swept(reply, swept) => drop(reply.send(Ok(swept))),
                    Pending::Amended(reply, amended) => drop(reply.send(Ok(amended))),
                }
            }
            Ok(())
        }
        Err(error) => {
            if !conn.is_autocommit()
                && let Err(error) = conn.execute_batch("ROLLBACK")
            {
                tracing::error!(%error, "a failed transaction could not be rolled back");
            }
            let error = fault(path, &error);
            for answer in pending {
                match answer {
                    Pending::Plain(reply, _) => drop(reply.send(Err(error.clone()))),
                    Pending::Swept(reply, _) => drop(reply.send(Err(error.clone()))),
                    Pending::Amended(reply, _) => drop(reply.send(Err(error.clone()))),
                }
            }
            for job in jobs.drain(..) {
                match job {
                    Job::Commit(_, reply) | Job::Touch(_, reply) | Job::Probe(reply) => {
                        drop(reply.send(Err(error.clone())))
                    }
                    Job::Sweep(_, _, reply) => drop(reply.send(Err(error.clone()))),
                    Job::Amend(_, reply) => drop(reply.send(Err(error.clone()))),
                    Job::Scrub(reply) => drop(reply.send(Err(error.clone()))),
                }
            }
            Err(error)
        }
    }
}

/// Does the jobs in one transaction and returns the marks as they are committed then. On an error everybody is still in
/// `pending` or in `jobs`.
fn transact(
    statements: &mut Statements<'_>,
    before: Marks,
    jobs: &mut VecDeque<Job>,
    pending: &mut Vec<Pending>,
) -> rusqlite::Result<Marks> {
    let mut marks = before;
    let mut tallies: HashMap<Tally, i64> = HashMap::new();
    statements.begin.execute([])?;
    while let Some(job) = jobs.pop_front() {
        match job {
            Job::Commit(batch, reply) => {
                pending.push(Pending::Plain(reply, Err(super::queue::closed())));
                let result = match statements.apply(&batch, &mut marks)? {
                    Applied::Done => {
                        for (tally, delta) in batch.tallies {
                            let sum = tallies.entry(tally).or_default();
                            *sum = sum.saturating_add(delta);
                        }
                        Ok(())
                    }
                    Applied::Refused(error) => Err(error),
                };
                if let Some(Pending::Plain(_, answer)) = pending.last_mut() {
                    *answer = result;
                }
            }
            Job::Touch(seen, reply) => {
                pending.push(Pending::Plain(reply, Ok(())));
                statements.touch(&seen)?;
            }
            Job::Sweep(now, limit, reply) => {
                pending.push(Pending::Swept(reply, Swept { records: 0, more: false }));
                let swept = statements.sweep(now, limit)?;
                if let Some(Pending::Swept(_, answer)) = pending.last_mut() {
                    *answer = swept;
                }
            }
            Job::Amend(lines, reply) => {
                pending.push(Pending::Amended(reply, 0));
                let amended = statements.amend(&lines)?;
                if let Some(Pending::Amended(_, answer)) = pending.last_mut() {
                    *answer = amended;
                }
            }
            // Was taken out before.
            Job::Scrub(reply) => drop(reply.send(Ok(Scrubbed::Later))),
            Job::Probe(reply) => {
                pending.push(Pending::Plain(reply, Ok(())));
                statements.count(b"probe", 1)?;
            }
        }
    }
    for (tally, delta) in tallies {
        if delta != 0 {
            statements.count(&super::super::rows::tally_name(&tally), delta)?;
        }
    }
    if marks.floor != before.floor {
        statements.set_counter.execute((b"floor".as_slice(), marks.floor))?;
    }
    if marks.position != before.position {
        statements.set_counter.execute((b"position".as_slice(), marks.position))?;
    }
    statements.commit.execute([])?;
    Ok(marks)
}
