//! The closed loop: N connections, each sends its next request when the last one is answered.
//!
//! Everything runs on one thread (the load has one CPU), so the shared state is plain cells. Each answer is checked;
//! a run with one wrong answer is no measurement and fails.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::task::{JoinSet, LocalSet};

use crate::Result;
use crate::disk::nanos;
use crate::http::{Answer, Connection};
use crate::procs::{each_cpu_seconds, own_cpu_seconds};
use crate::progress::Progress;
use crate::stats::percentile;

/// Where requests come from and who knows the right answers.
pub(crate) trait Source {
    /// Appends the next request to `out` and names it; `None` when there is nothing more to send.
    fn next(&mut self, out: &mut Vec<u8>) -> Option<usize>;

    /// Is this the right answer to request `ticket`?
    ///
    /// # Errors
    /// What is wrong with it.
    fn check(&mut self, ticket: usize, answer: &Answer<'_>) -> std::result::Result<(), String>;
}

/// How long to drive.
#[derive(Clone, Copy)]
pub(crate) enum Until {
    /// Until the source is empty: `total` requests.
    Empty { total: usize },
    /// Warm up, then measure for a time.
    Window { warm: Duration, measure: Duration },
}

/// What a run came to. Latencies are microseconds from the first byte sent to the last byte read.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Figures {
    pub(crate) requests: f64,
    pub(crate) seconds: f64,
    pub(crate) per_second: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    /// User and system time of the watched processes over the requests of the window.
    pub(crate) cpu_us: f64,
    /// The same of each of them by itself, in their order.
    #[serde(default)]
    pub(crate) parts_us: Vec<f64>,
    /// The same of the load generator: where it comes near the server's, the server was not kept busy.
    pub(crate) load_us: f64,
    /// Always 0 in a figure that is shown: one wrong answer fails the run.
    pub(crate) errors: usize,
}

/// A run to be made.
pub(crate) struct Drive<'a> {
    pub(crate) label: &'a str,
    /// Connections go to these in turn.
    pub(crate) addresses: &'a [SocketAddr],
    pub(crate) connections: usize,
    pub(crate) until: Until,
    /// Whose CPU time is counted, each with its children.
    pub(crate) watched: &'a [u32],
}

#[derive(Default)]
struct Shared {
    stop: Cell<bool>,
    recording: Cell<bool>,
    served: Cell<u32>,
    latencies: RefCell<Vec<u32>>,
    errors: Cell<usize>,
    first_error: RefCell<Option<String>>,
}

impl Shared {
    fn fail(&self, what: String) {
        self.errors.set(self.errors.get() + 1);
        self.first_error.borrow_mut().get_or_insert(what);
        // The run is lost; a few more errors may show a pattern, thousands do not.
        if self.errors.get() >= 20 {
            self.stop.set(true);
        }
    }
}

impl Drive<'_> {
    /// Runs it to its end.
    ///
    /// # Errors
    /// When a connection breaks or any answer was wrong.
    pub(crate) async fn run(&self, source: Rc<RefCell<dyn Source>>) -> Result<Figures> {
        let shared = Rc::new(Shared::default());
        let local = LocalSet::new();
        let figures = local.run_until(self.watch(&shared, source)).await?;
        match shared.first_error.take() {
            Some(first) => {
                Err(format!("{}: {} wrong answers; the first: {first}", self.label, shared.errors.get())
                    .into())
            }
            None => Ok(figures),
        }
    }

    async fn watch(&self, shared: &Rc<Shared>, source: Rc<RefCell<dyn Source>>) -> Result<Figures> {
        let mut tasks = JoinSet::new();
        for address in self.addresses.iter().cycle().take(self.connections) {
            let connection = Connection::open(*address).await?;
            tasks.spawn_local(converse(connection, shared.clone(), source.clone()));
        }
        // It never sleeps: otherwise waking it would be paid for by whoever answers.
        let awake = shared.clone();
        tokio::task::spawn_local(async move {
            while !awake.stop.get() {
                tokio::task::yield_now().await;
            }
        });
        let tick = Duration::from_millis(200);
        let (start, cpu, mut load, before);
        match self.until {
            Until::Empty { total } => {
                let progress = Progress::start(self.label, total);
                (start, cpu, before) = (Instant::now(), each_cpu_seconds(self.watched)?, 0);
                load = own_cpu_seconds()?;
                shared.recording.set(true);
                while !tasks.is_empty() {
                    let _ = tokio::time::timeout(tick, tasks.join_next()).await;
                    progress.at(u64::from(shared.served.get()));
                }
            }
            Until::Window { warm, measure } => {
                let whole = usize::try_from((warm + measure).as_millis()).unwrap_or(0);
                let progress = Progress::start(self.label, whole);
                let begin = Instant::now();
                let show = || progress.at(u64::try_from(begin.elapsed().as_millis()).unwrap_or(0));
                pass(warm, tick, shared, &show).await;
                (start, cpu, before) = (Instant::now(), each_cpu_seconds(self.watched)?, shared.served.get());
                load = own_cpu_seconds()?;
                shared.recording.set(true);
                pass(measure, tick, shared, &show).await;
            }
        }
        let spent = each_cpu_seconds(self.watched)?;
        let cpu: Vec<f64> = spent.iter().zip(&cpu).map(|(after, before)| after - before).collect();
        load = own_cpu_seconds()? - load;
        let seconds = start.elapsed().as_secs_f64();
        let requests = f64::from(shared.served.get() - before);
        shared.recording.set(false);
        shared.stop.set(true);
        while tasks.join_next().await.is_some() {}
        let mut latencies = shared.latencies.take();
        latencies.sort_unstable();
        Ok(Figures {
            requests,
            seconds,
            per_second: requests / seconds,
            p50_us: percentile(&latencies, 500) / 1000.0,
            p99_us: percentile(&latencies, 990) / 1000.0,
            cpu_us: cpu.iter().sum::<f64>() * 1e6 / requests.max(1.0),
            parts_us: cpu.iter().map(|part| part * 1e6 / requests.max(1.0)).collect(),
            load_us: load * 1e6 / requests.max(1.0),
            errors: shared.errors.get(),
        })
    }
}

/// Lets a span go by in small steps, to show progress and to leave early when the run is lost.
async fn pass(span: Duration, tick: Duration, shared: &Shared, show: &impl Fn()) {
    let end = Instant::now() + span;
    while !shared.stop.get() {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        tokio::time::sleep(left.min(tick)).await;
        show();
    }
}

/// One connection's life.
async fn converse(mut connection: Connection, shared: Rc<Shared>, source: Rc<RefCell<dyn Source>>) {
    let mut request = Vec::with_capacity(4096);
    while !shared.stop.get() {
        request.clear();
        let Some(ticket) = source.borrow_mut().next(&mut request) else { break };
        let sent = Instant::now();
        match connection.exchange(&request).await {
            Ok(answer) => {
                let spent = nanos(sent.elapsed());
                shared.served.set(shared.served.get() + 1);
                if shared.recording.get() {
                    shared.latencies.borrow_mut().push(spent);
                }
                if let Err(what) = source.borrow_mut().check(ticket, &answer) {
                    shared.fail(what);
                }
            }
            Err(error) => {
                shared.fail(format!("the connection broke: {error}"));
                break;
            }
        }
    }
}
