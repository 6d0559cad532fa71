//! The feed of revocations, with a hundred verifiers that listen: how long a token still passes after its session was ended, and
//! what a thousand revocations a second cost.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::task::{JoinSet, LocalSet};

use crate::Result;
use crate::context::{Context, size};
use crate::disk::nanos;
use crate::drive::Figures;
use crate::handstamp::Handstamp;
use crate::http::Connection;
use crate::listeners::{LISTENERS, Listeners, PATIENCE, passes};
use crate::procs::{cpu_seconds, own_cpu_seconds, resident_bytes};
use crate::report::{Row, number};
use crate::stats::{Random, median, percentile};
use crate::tokens::Tokens;

/// Revocations a second, while their cost is measured.
const RATE: u32 = 1000;
/// How long nothing happens before.
const REST: Duration = Duration::from_secs(3);
/// Connections over which they come.
const CONNECTIONS: usize = 64;

/// From the sending of `DELETE /v1/sessions/{id}` until each verifier refuses a token of that session. One after the other.
///
/// # Errors
/// When the server does not start, or a verifier says anything wrong.
pub(crate) async fn latency(context: &Context) -> Result<()> {
    let server = Handstamp::start(context, &context.fresh_folder("feed")?, None)?;
    let count = context.repeat(500);
    let (ids, tokens) = sessions(context, &server, count).await?;
    let times = LocalSet::new().run_until(revoke_each(&server, &ids, &tokens)).await?;
    let what = format!("revoke to refused, {LISTENERS} verifiers");
    let mut report = context.report.borrow_mut();
    for (from, mut all) in [("", times.sent), (", from the answer", times.answered)] {
        all.sort_unstable();
        let [p50, p99, most] = [500, 990, 1000].map(|permille| percentile(&all, permille) / 1e6);
        let row = Row::new(&format!("{what}{from}, p99"), "ms", p99).at_most(1000.0);
        report.row(row.note(format!(
            "p50 {}, most {} ms; {count} revocations, {} refusals",
            number(p50),
            number(most),
            all.len()
        )));
    }
    drop(report);
    server.child.stop("TERM")?;
    crate::context::remove(&context.folder("feed"))
}

/// Nanoseconds, one for each revocation and verifier.
#[derive(Default)]
struct Times {
    sent: Vec<u32>,
    answered: Vec<u32>,
}

async fn revoke_each(server: &Handstamp, ids: &Tokens, tokens: &Tokens) -> Result<Times> {
    let listeners = Listeners::start(server).await?;
    let mut connection = Connection::open(server.address).await?;
    let mut random = Random::new(5);
    let mut times = Times::default();
    for index in 0..ids.len() {
        let token = std::str::from_utf8(tokens.get(index))?;
        for verifier in &listeners.verifiers {
            if !passes(verifier, token)? {
                return Err("a token was refused before its session was ended".into());
            }
        }
        // The server speaks four times a second anyway, and reads together what comes together: each falls somewhere else between.
        tokio::time::sleep(Duration::from_millis(20 + u64::try_from(random.below(80))?)).await;
        revoke_one(&mut connection, &deletion(server, ids.get(index)), token, &listeners, &mut times).await?;
    }
    Ok(times)
}

/// Asks every verifier again and again, without any sleep in between. Asked about a token that it has seen a verifier answers within a
/// microsecond, so this adds less than a tenth of a millisecond.
async fn revoke_one(
    connection: &mut Connection,
    request: &[u8],
    token: &str,
    listeners: &Listeners,
    times: &mut Times,
) -> Result<()> {
    let mut asking: Vec<_> = listeners.verifiers.iter().collect();
    let mut refused = Vec::with_capacity(asking.len());
    let mut answered = None;
    let sent = Instant::now();
    let mut exchange = pin!(connection.exchange(request));
    while answered.is_none() || !asking.is_empty() {
        if answered.is_none()
            && let Poll::Ready(answer) = poll_fn(|task| Poll::Ready(exchange.as_mut().poll(task))).await
        {
            answered = Some(sent.elapsed());
            let answer = answer?;
            if !answer.holds("\"ended\":1") {
                return Err(answer.complaint("1 ended session").into());
            }
        }
        let mut still = Vec::with_capacity(asking.len());
        for verifier in asking {
            if passes(verifier, token)? {
                still.push(verifier);
            } else {
                refused.push(sent.elapsed());
            }
        }
        asking = still;
        if sent.elapsed() > PATIENCE {
            return Err(
                format!("{} verifiers still let a token pass after {PATIENCE:?}", asking.len()).into()
            );
        }
        tokio::task::yield_now().await;
    }
    let answered = answered.unwrap_or_default();
    times.sent.extend(refused.iter().copied().map(nanos));
    // One that heard it before the answer was here counts as none.
    times.answered.extend(refused.iter().map(|at| nanos(at.saturating_sub(answered))));
    Ok(())
}

/// A thousand revocations a second, without a listener and with a hundred, each time on a server of its own.
///
/// # Errors
/// When the server does not start, or a verifier does not hear of all.
pub(crate) async fn cost(context: &Context) -> Result<()> {
    let memory = memory(context).await?;
    let (mut without, mut with) = (Vec::new(), Vec::new());
    for round in 1..=context.rounds {
        for (listening, runs) in [(false, &mut without), (true, &mut with)] {
            eprintln!(
                "  {RATE} revocations a second, listeners: {listening}, round {round} of {}",
                context.rounds
            );
            runs.push(run(context, listening).await?);
        }
    }
    let of = |runs: &[Run], figure: fn(&Run) -> f64| median(runs.iter().map(figure));
    let (base, heard) = (of(&without, |run| run.server), of(&with, |run| run.server));
    let listeners = f64::from(u32::try_from(LISTENERS)?);
    let each = f64::from(RATE) * listeners;
    let mut report = context.report.borrow_mut();
    for (name, runs) in [("no listener", &without), ("100 listeners", &with)] {
        let figures: Vec<Figures> = runs.iter().map(|run| run.figures.clone()).collect();
        let what = format!("{} revocations a second, {name}", size(usize::try_from(RATE)?));
        report.run(&what, CONNECTIONS, &crate::rounds::middle(&figures));
    }
    let what = format!("{} revocations/s", size(usize::try_from(RATE)?));
    let added = Row::new(&format!("{what}, {LISTENERS} listeners"), "CPU ms/s", heard);
    report.row(added.against("no listener", base).note(format!(
        "{} us for each revocation told; {LISTENERS} listeners to whom nothing is told: {} ms/s",
        number((heard - base) * 1e3 / each),
        number(of(&with, |run| run.idle))
    )));
    let lag =
        Row::new(&format!("{what}, most that a verifier was behind"), "ms", of(&with, |run| run.behind));
    report.row(
        lag.at_most(1000.0)
            .note(format!("all had all {} ms after the last answer", number(of(&with, |run| run.lag)))),
    );
    let bytes = Row::new(&format!("{what}, sent to a listener"), "KiB/s", of(&with, |run| run.sent));
    report.row(bytes.note(format!(
        "{} KiB of the server's memory for each; {} CPU us of the verifier for each revocation",
        number(memory),
        number((of(&with, |run| run.load) - of(&without, |run| run.load)) * 1e3 / each),
    )));
    Ok(())
}

/// KiB of the server's memory for one listener, on a server that has done little: after a crowd its memory shrinks by itself.
async fn memory(context: &Context) -> Result<f64> {
    let server = Handstamp::start(context, &context.fresh_folder("feed")?, None)?;
    sessions(context, &server, 1).await?;
    let listening = async {
        let before = resident_bytes(server.child.pid())?;
        let listeners = Listeners::start(&server).await?;
        tokio::time::sleep(REST).await;
        let grown = resident_bytes(server.child.pid())? - before;
        drop(listeners);
        Ok::<_, Box<dyn std::error::Error>>(grown)
    };
    let grown = LocalSet::new().run_until(listening).await?;
    server.child.stop("TERM")?;
    Ok(grown / 1024.0 / f64::from(u32::try_from(LISTENERS)?))
}

/// What one run came to.
#[derive(Serialize)]
struct Run {
    figures: Figures,
    /// CPU of the server, and of this process, in milliseconds a second.
    server: f64,
    load: f64,
    /// CPU of the server while all listen and nothing happens, in milliseconds a second.
    idle: f64,
    /// The most that a verifier was behind, and how long after the last answer all had all, in milliseconds.
    behind: f64,
    lag: f64,
    /// KiB a second to one listener.
    sent: f64,
}

async fn run(context: &Context, listening: bool) -> Result<Run> {
    let server = Handstamp::start(context, &context.fresh_folder("feed")?, None)?;
    let seconds = if context.options.quick { 2 } else { 10 };
    let count = usize::try_from(RATE * seconds)?;
    let (ids, tokens) = sessions(context, &server, count).await?;
    let run = LocalSet::new().run_until(revoke_all(&server, &ids, &tokens, listening)).await?;
    server.child.stop("TERM")?;
    crate::context::remove(&context.folder("feed"))?;
    Ok(run)
}

async fn revoke_all(server: &Handstamp, ids: &Tokens, tokens: &Tokens, listening: bool) -> Result<Run> {
    let pid = [server.child.pid()];
    let listeners = if listening { Some(Listeners::start(server).await?) } else { None };
    // What the creations left to be done is done after a while.
    tokio::time::sleep(REST).await;
    let quiet = (Instant::now(), cpu_seconds(&pid)?);
    tokio::time::sleep(REST).await;
    let idle = (cpu_seconds(&pid)? - quiet.1) * 1e3 / quiet.0.elapsed().as_secs_f64();

    let sent = || listeners.as_ref().map_or(0, |listeners| listeners.sent.get());
    let before = (cpu_seconds(&pid)?, own_cpu_seconds()?, sent());
    let paced = Rc::new(Paced {
        begun: Instant::now(),
        requests: (0..ids.len()).map(|index| deletion(server, ids.get(index))).collect(),
        next: Cell::new(0),
        latencies: RefCell::default(),
    });
    let mut tasks = JoinSet::new();
    for _ in 0..CONNECTIONS {
        let connection = Connection::open(server.address).await?;
        tasks.spawn_local(paced.clone().converse(connection));
    }
    let mut behind = 0;
    let watch = async {
        loop {
            tokio::time::sleep(Duration::from_millis(10)).await;
            let answered = paced.latencies.borrow().len();
            let fewest = listeners.as_ref().map_or(answered, Listeners::fewest);
            behind = behind.max(answered.saturating_sub(fewest));
        }
    };
    let all = async {
        while let Some(done) = tasks.join_next().await {
            done??;
        }
        Ok::<_, Box<dyn std::error::Error>>(())
    };
    both(watch, all).await?;
    let seconds = paced.begun.elapsed().as_secs_f64();
    let (server_cpu, load_cpu) = (cpu_seconds(&pid)? - before.0, own_cpu_seconds()? - before.1);
    let ended = Instant::now();
    if let Some(listeners) = &listeners {
        listeners.hold(ids.len()).await?;
    }
    let lag = ended.elapsed().as_secs_f64() * 1e3;
    let told = sent() - before.2;
    if let Some(listeners) = &listeners {
        refuse(listeners, tokens)?;
    }
    let mut latencies = paced.latencies.take();
    latencies.sort_unstable();
    let requests = f64::from(u32::try_from(latencies.len())?);
    let figures = Figures {
        requests,
        seconds,
        per_second: requests / seconds,
        p50_us: percentile(&latencies, 500) / 1e3,
        p99_us: percentile(&latencies, 990) / 1e3,
        cpu_us: server_cpu * 1e6 / requests,
        parts_us: Vec::new(),
        load_us: load_cpu * 1e6 / requests,
        errors: 0,
    };
    // As fast as it was meant to be, or the figures are of another load.
    if figures.per_second < f64::from(RATE) * 0.95 {
        eprintln!("  only {:.0} revocations a second were possible", figures.per_second);
    }
    Ok(Run {
        figures,
        server: server_cpu * 1e3 / seconds,
        load: load_cpu * 1e3 / seconds,
        idle,
        behind: f64::from(u32::try_from(behind)?) * 1e3 / f64::from(RATE),
        lag,
        sent: f64::from(u32::try_from(told)?) / 1024.0 / seconds,
    })
}

/// The second one to its end, with the first one, which has none, beside it.
async fn both<T>(watch: impl Future<Output = ()>, work: impl Future<Output = T>) -> T {
    tokio::select! {
        () = watch => std::future::pending().await,
        done = work => done,
    }
}

/// Every verifier refuses some of the tokens: that it holds as many entries is one thing, that they are the right ones another.
fn refuse(listeners: &Listeners, tokens: &Tokens) -> Result<()> {
    for index in (0..tokens.len()).step_by((tokens.len() / 20).max(1)) {
        let token = std::str::from_utf8(tokens.get(index))?;
        for verifier in &listeners.verifiers {
            if passes(verifier, token)? {
                return Err("a verifier that heard everything lets a token of an ended session pass".into());
            }
        }
    }
    Ok(())
}

/// Requests that are sent at their times, whether or not those before are answered, as long as there is a connection.
struct Paced {
    begun: Instant,
    requests: Vec<Vec<u8>>,
    next: Cell<u32>,
    latencies: RefCell<Vec<u32>>,
}

impl Paced {
    async fn converse(self: Rc<Self>, mut connection: Connection) -> std::result::Result<(), String> {
        loop {
            let turn = self.next.get();
            let Some(request) = self.requests.get(usize::try_from(turn).unwrap_or(usize::MAX)) else {
                return Ok(());
            };
            self.next.set(turn + 1);
            let due = self.begun + Duration::from_secs(1) * turn / RATE;
            tokio::time::sleep_until(due.into()).await;
            // From when it was due: what had to wait for a connection waited.
            let answer = connection.exchange(request).await.map_err(|error| error.to_string())?;
            self.latencies.borrow_mut().push(nanos(due.elapsed()));
            if answer.status != 200 || !answer.holds("\"ended\":1") {
                return Err(answer.complaint("1 ended session"));
            }
        }
    }
}

/// Sessions of each of which an access token was made, as only such are on the feed: their ids and those tokens.
async fn sessions(context: &Context, server: &Handstamp, count: usize) -> Result<(Tokens, Tokens)> {
    let members = ["id", "access_token/token"];
    let (mut kept, _) = server.fill_with(context, count, ",\"access_token\":{}", &members).await?;
    match (kept.pop(), kept.pop()) {
        (Some(tokens), Some(ids)) => Ok((ids, tokens)),
        _ => Err("no tokens".into()),
    }
}

fn deletion(server: &Handstamp, id: &[u8]) -> Vec<u8> {
    format!(
        "DELETE /v1/sessions/{} HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {}\r\n\r\n",
        String::from_utf8_lossy(id),
        server.address,
        server.key
    )
    .into_bytes()
}
