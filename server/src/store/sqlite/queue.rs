//! The way from async callers to the store's own threads: bounded, and taken from in handfuls.
//!
//! Callers wait (without blocking a thread) while the queue is full. Threads take everything that is there at once:
//! what queued during the last sync is the next group commit. The kernel is only called when somebody sleeps.

use super::super::StoreError;
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use tokio::sync::{Semaphore, oneshot};

/// Which line a job stands in: short ones never wait behind long ones.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Lane {
    /// Done in microseconds.
    Short,
    /// May take milliseconds.
    Long,
}

/// How a job is answered.
pub(super) type Reply<T> = oneshot::Sender<Result<T, StoreError>>;

/// Two lines of jobs with a bound over both.
pub(super) struct Queue<T> {
    lines: Mutex<Lines<T>>,
    wake: Condvar,
    places: Semaphore,
}

struct Lines<T> {
    short: VecDeque<T>,
    long: VecDeque<T>,
    threads: usize,
    sleeping: usize,
    closed: bool,
}

impl<T> Queue<T> {
    /// A queue with room for that many jobs.
    pub(super) fn new(places: usize) -> Queue<T> {
        let lines =
            Lines { short: VecDeque::new(), long: VecDeque::new(), threads: 0, sleeping: 0, closed: false };
        Queue { lines: Mutex::new(lines), wake: Condvar::new(), places: Semaphore::new(places) }
    }

    /// Puts a job in line, made of the sender for its answer, and waits for that answer.
    ///
    /// # Errors
    /// `Unavailable` when the store is closed, or its threads are gone.
    pub(super) async fn ask<A>(&self, lane: Lane, job: impl FnOnce(Reply<A>) -> T) -> Result<A, StoreError> {
        let Ok(place) = self.places.acquire().await else { return Err(closed()) };
        place.forget(); // given back by whoever takes the job out of the line
        let (reply, answer) = oneshot::channel();
        self.put(lane, job(reply))?;
        answer.await.unwrap_or_else(|_| Err(closed()))
    }

    fn put(&self, lane: Lane, job: T) -> Result<(), StoreError> {
        let mut lines = self.lock();
        if lines.closed {
            return Err(closed());
        }
        match lane {
            Lane::Short => lines.short.push_back(job),
            Lane::Long => lines.long.push_back(job),
        }
        self.wake(lines);
        Ok(())
    }

    /// Wakes who can help. A sleeper that takes short jobs only cannot help with a long one, and nobody knows here
    /// who sleeps, so for a long one all look.
    fn wake(&self, lines: MutexGuard<'_, Lines<T>>) {
        let (sleeping, short, long) = (lines.sleeping > 0, !lines.short.is_empty(), !lines.long.is_empty());
        drop(lines);
        if sleeping && long {
            self.wake.notify_all();
        } else if sleeping && short {
            self.wake.notify_one();
        }
    }

    /// Refuses what comes from now on; what is in line is still done.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.places.close();
        self.wake.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Lines<T>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A thread's end of a queue. When the last one is dropped (the thread ended, or panicked), the queue is closed and
/// what is still in line is answered `Unavailable` by losing its senders: nobody waits for ever.
pub(super) struct Worker<T> {
    queue: Arc<Queue<T>>,
    takes_long: bool,
}

impl<T> Worker<T> {
    /// One more thread that takes from the queue.
    pub(super) fn new(queue: &Arc<Queue<T>>, takes_long: bool) -> Worker<T> {
        queue.lock().threads += 1;
        Worker { queue: Arc::clone(queue), takes_long }
    }

    /// Waits for jobs and takes one long one, or up to `most` short ones that together weigh no more than `budget` (at
    /// least one). Takes nothing when the queue is closed and empty.
    pub(super) fn take(
        &self,
        into: &mut VecDeque<T>,
        most: usize,
        budget: usize,
        weigh: impl Fn(&T) -> usize,
    ) {
        let mut lines = self.queue.lock();
        loop {
            if self.takes_long {
                into.extend(lines.long.pop_front());
            }
            let mut weight = 0usize;
            while into.is_empty() || (weight > 0 && into.len() < most) {
                let Some(next) = lines.short.front() else { break };
                weight = weight.saturating_add(weigh(next).max(1));
                if weight > budget && !into.is_empty() {
                    break;
                }
                into.extend(lines.short.pop_front());
            }
            if !into.is_empty() || lines.closed {
                break;
            }
            lines.sleeping += 1;
            lines = self.queue.wake.wait(lines).unwrap_or_else(PoisonError::into_inner);
            lines.sleeping -= 1;
        }
        if !lines.closed {
            self.queue.places.add_permits(into.len());
        }
        self.queue.wake(lines); // there may be more than this thread took
    }
}

impl<T> Drop for Worker<T> {
    fn drop(&mut self) {
        let mut lines = self.queue.lock();
        lines.threads = lines.threads.saturating_sub(1);
        if lines.threads == 0 {
            lines.closed = true;
            lines.short.clear();
            lines.long.clear();
            drop(lines);
            self.queue.close();
        }
    }
}

/// What is answered when nobody is there to answer.
pub(super) fn closed() -> StoreError {
    StoreError::Unavailable("it is closed".to_owned())
}
