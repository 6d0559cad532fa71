//! The way from callers to the tasks that write: bounded, and taken from in handfuls.
//!
//! Callers wait while the queue is full. A task takes everything that is there at once: what queued while the group
//! before was on its way is the next group.

use super::super::StoreError;
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::{Notify, Semaphore, oneshot};

/// How a job is answered.
pub(super) type Reply<T> = oneshot::Sender<Result<T, StoreError>>;

/// Jobs in line, with a bound.
pub(super) struct Queue<T> {
    line: Mutex<Line<T>>,
    news: Notify,
    places: Semaphore,
}

struct Line<T> {
    jobs: VecDeque<T>,
    closed: bool,
}

impl<T> Queue<T> {
    /// A queue with room for that many jobs.
    pub(super) fn new(places: usize) -> Queue<T> {
        let line = Line { jobs: VecDeque::new(), closed: false };
        Queue { line: Mutex::new(line), news: Notify::new(), places: Semaphore::new(places) }
    }

    /// Puts a job in line, made of the sender for its answer, and waits for that answer.
    ///
    /// # Errors
    /// `Unavailable` when the store is closed, or who works on the queue is gone.
    pub(super) async fn ask<A>(&self, job: impl FnOnce(Reply<A>) -> T) -> Result<A, StoreError> {
        let Ok(place) = self.places.acquire().await else { return Err(closed()) };
        place.forget(); // given back when the job is done
        let (reply, answer) = oneshot::channel();
        {
            let mut line = self.lock();
            if line.closed {
                return Err(closed());
            }
            line.jobs.push_back(job(reply));
        }
        self.news.notify_one();
        answer.await.unwrap_or_else(|_| Err(closed()))
    }

    /// Waits for jobs and takes up to `most` of them that together weigh no more than `budget`, at least one. Nothing when
    /// the queue is closed and empty.
    pub(super) async fn take(&self, most: usize, budget: usize, weigh: impl Fn(&T) -> usize) -> Vec<T> {
        loop {
            // Told of before the look, so that nothing that comes in between is missed.
            let news = self.news.notified();
            if let Some(jobs) = self.take_now(most, budget, &weigh) {
                return jobs;
            }
            news.await;
        }
    }

    fn take_now(&self, most: usize, budget: usize, weigh: &impl Fn(&T) -> usize) -> Option<Vec<T>> {
        let mut line = self.lock();
        let (mut jobs, mut weight) = (Vec::new(), 0usize);
        while jobs.len() < most {
            let Some(next) = line.jobs.front() else { break };
            weight = weight.saturating_add(weigh(next).max(1));
            if weight > budget && !jobs.is_empty() {
                break;
            }
            jobs.extend(line.jobs.pop_front());
        }
        if jobs.is_empty() && !line.closed {
            return None;
        }
        if !line.jobs.is_empty() || line.closed {
            self.news.notify_one(); // there may be more, or another one has to hear of the end
        }
        Some(jobs)
    }

    /// Puts jobs that were taken back to the front, in their order.
    pub(super) fn put_back(&self, jobs: Vec<T>) {
        if jobs.is_empty() {
            return;
        }
        let mut line = self.lock();
        for job in jobs.into_iter().rev() {
            line.jobs.push_front(job);
        }
        drop(line);
        self.news.notify_one();
    }

    /// So many of the jobs that were taken are answered.
    pub(super) fn done(&self, jobs: usize) {
        self.places.add_permits(jobs);
    }

    /// Refuses what comes from now on; what is in line is still done.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.places.close();
        self.news.notify_one();
    }

    /// Whether nothing is taken any more.
    pub(super) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// Lets go of what is in line: whoever asked is told that the store is closed.
    pub(super) fn abandon(&self) {
        self.close();
        self.lock().jobs.clear();
    }

    fn lock(&self) -> MutexGuard<'_, Line<T>> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is answered when nobody is there to answer.
pub(super) fn closed() -> StoreError {
    StoreError::Unavailable("it is closed".to_owned())
}
