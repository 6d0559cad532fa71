//! What commits: tasks that take what queued while the group before was on its way, and commit it together.
//!
//! There are two of them, each with a connection of its own: while one waits for the database's disk, the other reads and
//! decides the next group. They are to each other what two nodes are: the database keeps them apart.

use super::super::bounds;
use super::super::{Amend, Batch, Key, Millis, Op, Scrubbed, StoreError};
use super::apply::{Failed, Session};
use super::chores::{self, Chore, Chores};
use super::connect::Connector;
use super::group::Group;
use super::lane::{Lane, Sender};
use super::parts::Days;
use super::queue::{Queue, Reply};
use super::statements::Statements;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::task::JoinHandle;

/// A batch, and who waits for it.
struct Commit {
    batch: Batch,
    reply: Reply<()>,
}

/// Tasks that commit.
const LANES: usize = 2;
/// The most jobs in line before callers wait.
const PLACES: usize = 4_096;
/// The most batches of one group, and about the most bytes.
const MOST: (usize, usize) = (512, 8 << 20);
/// How often a group is tried that others were in the way of.
const TRIES: u32 = 6;

/// The writing half of the store.
pub(super) struct Writer {
    connector: Arc<Connector>,
    commits: Arc<Queue<Commit>>,
    chores: Arc<Queue<Chore>>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

/// Where whoever waits is told when nobody works any more: tasks hold it, the last one lets the queue go.
struct Working<T>(Arc<Queue<T>>);

impl<T> Drop for Working<T> {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

impl Writer {
    /// Begins to work. `resting`: the kinds of records that may rest.
    pub(super) fn start(connector: &Arc<Connector>, sender: &Sender, resting: &[u8]) -> Writer {
        let (commits, chores) = (Arc::new(Queue::new(PLACES)), Arc::new(Queue::new(PLACES)));
        let days = Arc::new(Days::default());
        let mut tasks = Vec::new();
        let working = Arc::new(Working(Arc::clone(&commits)));
        for _ in 0..LANES {
            let committer = Committer {
                lane: Lane::new(connector),
                sender: sender.clone(),
                resting: resting.into(),
                days: Arc::clone(&days),
            };
            let working = Arc::clone(&working);
            tasks.push(tokio::spawn(async move { committer.work(&working.0).await }));
        }
        let lane: Lane<Chores> = Lane::new(connector);
        let working = Working(Arc::clone(&chores));
        tasks.push(tokio::spawn(async move { chores::work(lane, days, Arc::clone(&working.0)).await }));
        Writer { connector: Arc::clone(connector), commits, chores, tasks: Mutex::new(tasks) }
    }

    /// All or nothing, if every expectation holds.
    pub(super) async fn commit(&self, batch: Batch) -> Result<(), StoreError> {
        bounds::check(&batch)?;
        self.commits.ask(|reply| Commit { batch, reply }).await
    }

    /// Raises activity.
    pub(super) async fn touch(&self, seen: &[(Key, Millis)]) -> Result<(), StoreError> {
        self.chores.ask(|reply| Chore::Touch(seen.to_vec(), reply)).await
    }

    /// Writes lines of history anew; how many.
    pub(super) async fn amend(&self, lines: &[Amend]) -> Result<u32, StoreError> {
        bounds::check_amended(lines)?;
        self.chores.ask(|reply| Chore::Amend(lines.to_vec(), reply)).await
    }

    /// Removes up to `limit` of what may be forgotten; how many.
    pub(super) async fn sweep(&self, now: Millis, limit: u32) -> Result<u32, StoreError> {
        self.chores.ask(|reply| Chore::Sweep(now, limit, reply)).await
    }

    /// Frees the space of what was deleted or written over.
    pub(super) async fn scrub(&self) -> Result<Scrubbed, StoreError> {
        if self.chores.is_closed() {
            return Err(super::queue::closed());
        }
        chores::scrub(&self.connector).await
    }

    /// Finishes what is in line; later calls fail.
    pub(super) async fn close(&self) {
        self.stop();
        let tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        for task in tasks {
            // An error means that it is gone, too.
            let _ = task.await;
        }
    }

    fn stop(&self) {
        self.commits.close();
        self.chores.close();
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.stop();
    }
}

/// One task that commits.
struct Committer {
    lane: Lane<Statements>,
    sender: Sender,
    resting: Box<[u8]>,
    days: Arc<Days>,
}

impl Committer {
    /// Works until the queue is closed and empty.
    async fn work(mut self, queue: &Queue<Commit>) {
        // Before the first one comes; should it fail, that one will say so.
        let _ = self.lane.open().await;
        loop {
            let mut jobs = queue.take(MOST.0, MOST.1, weigh).await;
            if jobs.is_empty() {
                return;
            }
            let resting = self.resting.clone();
            let mut picked = Group::new(&resting);
            let joins: Vec<bool> = jobs.iter().map(|job| picked.add(&job.batch)).collect();
            drop(picked);
            // Who names a key in another way than one before is in the next group, of whoever takes it.
            let mut joins = joins.into_iter();
            let later: Vec<Commit> = jobs.extract_if(.., |_| joins.next() == Some(false)).collect();
            queue.put_back(later);
            let batches: Vec<&Batch> = jobs.iter().map(|job| &job.batch).collect();
            let answers = self.write(&batches).await;
            let many = jobs.len();
            let mut answers = match answers {
                Ok(answers) => answers,
                Err(error) => {
                    self.sender.own.doubt();
                    jobs.iter().map(|_| Err(error.clone())).collect()
                }
            }
            .into_iter();
            for job in jobs {
                // Who does not wait any more is not told; the commit stands.
                let answer = answers.next().unwrap_or_else(|| Err(super::queue::closed()));
                drop(job.reply.send(answer));
            }
            queue.done(many);
        }
    }

    /// One group, tried again where that is worth it.
    async fn write(&mut self, batches: &[&Batch]) -> Result<Vec<Result<(), StoreError>>, StoreError> {
        let (mut tries, mut fresh, mut make_room) = (TRIES, true, false);
        loop {
            let mut group = Group::new(&self.resting);
            let all = batches.iter().all(|batch| group.add(batch));
            debug_assert!(all, "a group was put together that does not go together");
            let open = self.lane.open().await?;
            let name = self.sender.own.name();
            let session = Session {
                client: open.client(),
                statements: &open.statements,
                node: &name,
                channel: &self.sender.channel,
            };
            let work = async {
                let days = self.days.unknown(group.days());
                if !days.is_empty() {
                    self.days.make(session.client, &days).await?;
                }
                session.commit(&mut group, make_room).await
            };
            let failed = match open.in_time(work).await? {
                Ok(answers) => return Ok(answers),
                Err(failed) => failed,
            };
            tries -= 1;
            match failed {
                Failed::Luck if tries > 0 => {}
                Failed::Occupied if tries > 0 => make_room = true,
                Failed::NoPartition if tries > 0 => self.days.forget(),
                // Nothing of it can be written: once more on another connection, for this one may be long gone.
                Failed::Fault { cut: true, begun: false, .. } if fresh => {
                    fresh = false;
                    self.lane.cut();
                }
                Failed::Fault { error, cut, .. } => {
                    if cut {
                        self.lane.cut();
                    }
                    return Err(error);
                }
                Failed::Luck => return Err(StoreError::Conflict),
                Failed::Occupied | Failed::NoPartition => {
                    return Err(StoreError::Unavailable("it refuses what is written".to_owned()));
                }
            }
        }
    }
}

/// About how many bytes a batch is.
fn weigh(job: &Commit) -> usize {
    let record = |op: &Op| match op {
        Op::Put { record, .. } => record.body.len() + 64 * record.facets.len(),
        Op::Delete { .. } | Op::Check { .. } => 0,
    };
    let records: usize = job.batch.ops.iter().map(|op| 256 + record(op)).sum();
    records + job.batch.events.iter().map(|event| 256 + event.body.len()).sum::<usize>()
}
