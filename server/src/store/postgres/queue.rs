//! The way from callers to the tasks that write: bounded, and taken from in handfuls.
//!
//! Callers wait while the queue is full. A task takes everything that is there at once: what queued while the group
//! before was on its way is the next group. While another task has more under way than there is in line, a task waits a
//! little: groups follow each other through one lock, and one that sets out with a few only makes all others wait for
//! one more turn of the disk.

use super::super::StoreError;
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, Semaphore, oneshot};

/// The longest that a task waits for more than there is: as long as a slow disk may take.
const PATIENCE: Duration = Duration::from_millis(50);

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
    /// How many were taken and are not done.
    under_way: usize,
    closed: bool,
}

impl<T> Queue<T> {
    /// A queue with room for that many jobs.
    pub(super) fn new(places: usize) -> Queue<T> {
        let line = Line { jobs: VecDeque::new(), under_way: 0, closed: false };
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
            self.until(|line| line.closed || !line.jobs.is_empty()).await;
            let enough = self.until(|line| line.closed || line.jobs.len() >= line.under_way);
            // Late or not: what is there is taken.
            let _ = tokio::time::timeout(PATIENCE, enough).await;
            if let Some(jobs) = self.take_now(most, budget, &weigh) {
                return jobs;
            }
        }
    }

    /// Waits until the line is so.
    async fn until(&self, so: impl Fn(&Line<T>) -> bool) {
        loop {
            // Told of before the look, so that nothing that comes in between is missed.
            let news = self.news.notified();
            if so(&self.lock()) {
                return;
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
        line.under_way += jobs.len();
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
        line.under_way = line.under_way.saturating_sub(jobs.len());
        for job in jobs.into_iter().rev() {
            line.jobs.push_front(job);
        }
        drop(line);
        self.news.notify_one();
    }

    /// So many of the jobs that were taken are answered.
    pub(super) fn done(&self, jobs: usize) {
        self.places.add_permits(jobs);
        let mut line = self.lock();
        line.under_way = line.under_way.saturating_sub(jobs);
        drop(line);
        self.news.notify_one(); // who waits for more may have waited for these
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    /// A queue with that many callers in line.
    async fn with(callers: usize) -> Arc<Queue<Reply<()>>> {
        let queue = Arc::new(Queue::new(64));
        join(&queue, callers).await;
        queue
    }

    async fn join(queue: &Arc<Queue<Reply<()>>>, callers: usize) {
        let before = queue.lock().jobs.len();
        for _ in 0..callers {
            let queue = Arc::clone(queue);
            tokio::spawn(async move { queue.ask(|reply| reply).await });
        }
        while queue.lock().jobs.len() < before + callers {
            tokio::task::yield_now().await;
        }
    }

    async fn take(queue: &Queue<Reply<()>>) -> usize {
        queue.take(64, usize::MAX, |_| 1).await.len()
    }

    #[tokio::test(start_paused = true)]
    async fn a_few_wait_for_more_while_more_are_under_way() {
        let queue = with(3).await;
        assert_eq!(take(&queue).await, 3);
        join(&queue, 1).await;
        let begun = tokio::time::Instant::now();
        // The others are done before the patience is over, and nobody waits for it to end.
        let (taken, ()) = tokio::join!(take(&queue), async {
            tokio::time::timeout(PATIENCE / 2, std::future::pending::<()>()).await.unwrap_err();
            queue.done(3);
        });
        assert_eq!((taken, begun.elapsed()), (1, PATIENCE / 2));
    }

    #[tokio::test(start_paused = true)]
    async fn as_many_as_are_under_way_set_out_at_once_and_fewer_after_a_while() {
        let queue = with(2).await;
        assert_eq!(take(&queue).await, 2);
        join(&queue, 2).await;
        let begun = tokio::time::Instant::now();
        assert_eq!((take(&queue).await, begun.elapsed()), (2, Duration::ZERO));
        join(&queue, 1).await;
        assert_eq!((take(&queue).await, begun.elapsed()), (1, PATIENCE));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_put_back_is_not_under_way() {
        let queue = with(3).await;
        let jobs = queue.take(64, usize::MAX, |_| 1).await;
        queue.put_back(jobs);
        let begun = tokio::time::Instant::now();
        assert_eq!((take(&queue).await, begun.elapsed()), (3, Duration::ZERO));
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_more_when_it_is_closed() {
        let queue = with(2).await;
        assert_eq!(take(&queue).await, 2);
        join(&queue, 1).await;
        queue.close();
        let begun = tokio::time::Instant::now();
        assert_eq!((take(&queue).await, take(&queue).await, begun.elapsed()), (1, 0, Duration::ZERO));
    }
}
