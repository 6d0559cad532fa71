//! Validation by nodes that share a PostgreSQL: from their memory, beside the embedded store, and from the store, beside
//! tower-sessions on the same PostgreSQL; then how long after an end another node still lets a session pass.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::Result;
use crate::bench_validate::{ours, theirs};
use crate::context::{Context, size};
use crate::disk::nanos;
use crate::drive::{Figures, Source};
use crate::handstamp::Handstamp;
use crate::http::Connection;
use crate::nodes::{COUNTS, Fleet, named};
use crate::peers;
use crate::report::{Row, number};
use crate::requests::Pick;
use crate::rounds::{Entrant, rounds, short_rounds};
use crate::stats::{Random, percentile};
use crate::tokens::Tokens;

/// Sessions of the warm caches: as many as in the smallest of the other benchmarks.
const WARM: usize = 1000;
/// The smallest cache that can be set, in bytes: a few thousand sessions.
const SMALL_CACHE: usize = 1 << 20;

/// From memory, at 1, 2 and 4 nodes.
///
/// # Errors
/// When a server does not start or a run fails.
pub(crate) async fn warm(context: &Context) -> Result<()> {
    let alone = Handstamp::start(context, &context.fresh_folder("nodes-embedded")?, None)?;
    let (alone_tokens, _) = alone.fill(context, WARM, "token").await?;
    let alone_tokens = Rc::new(alone_tokens);
    let fleet = Fleet::start(context, COUNTS.into_iter().max().unwrap_or(1), None)?;
    let first = fleet.first()?;
    let (tokens, _) = first.fill(context, WARM, "token").await?;
    let tokens = Rc::new(tokens);
    fleet.warm(context, &tokens).await?;
    let (_, body) = first.one_answer(context, &tokens, 0).await?;
    let tower = match context.wants_peer("tower-postgres") {
        true => Some(peers::tower_postgres(context, &fleet.cluster, WARM, body.len())?),
        false => None,
    };
    let what = format!("validate at {}, near-cache", size(WARM));
    let mut entrants = vec![ours(context, &alone, &alone_tokens, 1).named("embedded store")];
    entrants.extend(COUNTS.map(|count| of_fleet(context, &fleet, first, count, &tokens)));
    entrants.extend(tower.iter().map(|tower| theirs(context, first, &tokens, tower)));
    let misses = misses(&fleet).await?;
    let medians = short_rounds(context, &what, context.connections, &entrants).await?;
    drop(entrants);
    let missed = self::misses(&fleet).await? - misses;
    let mut figures = medians.iter();
    let Some(embedded) = figures.next() else { return Ok(()) };
    for (count, figures) in COUNTS.into_iter().zip(figures.by_ref()) {
        let row = Row::new(&format!("{what}, {}", named(count)), "CPU us/request", figures.cpu_us);
        let mut row = row.against("embedded store", embedded.cpu_us);
        if count == 1 {
            row = row.ratio_at_most(1.1, "within 10 %");
        }
        let note = format!("{}; {missed:.0} misses of the caches in all runs", split(figures));
        context.report.borrow_mut().row(row.note(note));
    }
    if let (Some(tower), Some(mine), Some(peer)) = (figures.next(), medians.get(1), &tower) {
        let row = Row::new(&format!("{what}, 1 node"), "CPU us/request", mine.cpu_us);
        let note = format!("{:.0} against {:.0} req/s", mine.per_second, tower.per_second);
        context.report.borrow_mut().row(row.against(peer.name, tower.cpu_us).note(note));
    }
    drop(tower);
    alone.child.stop("TERM")?;
    crate::context::remove(&context.folder("nodes-embedded"))?;
    fleet.stop(context)
}

/// From the store: two nodes with a cache for few of the sessions, and tower-sessions, which always asks.
///
/// # Errors
/// When a server does not start or a run fails.
pub(crate) async fn cold(context: &Context) -> Result<()> {
    let sessions = if context.options.quick { 50_000 } else { 100_000 };
    let fleet = Fleet::start(context, 2, Some(SMALL_CACHE))?;
    let first = fleet.first()?;
    let (tokens, _) = first.fill(context, sessions, "token").await?;
    let tokens = Rc::new(tokens);
    let alone = Handstamp::start(context, &context.fresh_folder("nodes-embedded")?, Some(SMALL_CACHE))?;
    let (alone_tokens, _) = alone.fill(context, sessions, "token").await?;
    let alone_tokens = Rc::new(alone_tokens);
    let (_, body) = first.one_answer(context, &tokens, 0).await?;
    let tower = match context.wants_peer("tower-postgres") {
        true => Some(peers::tower_postgres(context, &fleet.cluster, sessions, body.len())?),
        false => None,
    };
    // What has just been written is swept up and counted now, and not inside of a window.
    for database in ["handstamp", "tower"].into_iter().take(if tower.is_some() { 2 } else { 1 }) {
        fleet.cluster.ask(database, "vacuum analyze")?;
    }
    for connections in [1, context.connections] {
        let what = format!("cold validate at {}, {}", size(sessions), connected(connections));
        let mut entrants = vec![ours(context, &alone, &alone_tokens, 1).named("embedded store")];
        entrants.extend([1, 2].map(|count| of_fleet(context, &fleet, first, count, &tokens)));
        entrants.extend(tower.iter().map(|tower| theirs(context, first, &tokens, tower)));
        let before = misses(&fleet).await?;
        let medians = rounds(context, &what, connections, &entrants).await?;
        drop(entrants);
        let missed = misses(&fleet).await? - before;
        let [embedded, one, two, others @ ..] = medians.as_slice() else { return Ok(()) };
        for (name, figures) in [("1 node", one), ("2 nodes", two)] {
            let row = Row::new(&format!("{what}, {name}"), "CPU us/request", figures.cpu_us);
            let row = match others.first() {
                Some(tower) => row.against("tower-sessions + PostgreSQL", tower.cpu_us),
                None => row.against("embedded store", embedded.cpu_us),
            };
            let note = format!(
                "{}; p50 {} us, p99 {} us; {missed:.0} misses in all runs",
                split(figures),
                number(figures.p50_us),
                number(figures.p99_us)
            );
            context.report.borrow_mut().row(row.note(note));
        }
    }
    drop(tower);
    alone.child.stop("TERM")?;
    crate::context::remove(&context.folder("nodes-embedded"))?;
    fleet.stop(context)
}

/// A session is ended on one node, and asked for at another one all the time.
///
/// # Errors
/// When a node does not start, or an ended session is never refused.
pub(crate) async fn revoked(context: &Context) -> Result<()> {
    let fleet = Fleet::start(context, 2, None)?;
    let [here, elsewhere] = fleet.nodes.as_slice() else { return Err("not two nodes".into()) };
    let count = context.repeat(1000);
    let (mut kept, _) = here.fill_with(context, count, "", &["token", "id"]).await?;
    let (ids, tokens) = (kept.pop().ok_or("no ids")?, Rc::new(kept.pop().ok_or("no tokens")?));
    fleet.warm(context, &tokens).await?;
    let (mut from_sent, mut from_answered) = (Vec::new(), Vec::new());
    for index in 0..count {
        let id = String::from_utf8_lossy(ids.get(index)).into_owned();
        let begun = Instant::now();
        let (answered, refused) =
            tokio::try_join!(end(here, &id), until_refused(context, elsewhere, &tokens, index))?;
        from_sent.push(nanos(refused.duration_since(begun)));
        from_answered.push(nanos(refused.saturating_duration_since(answered)));
    }
    let what = "from an end to its refusal by another node";
    for (since, mut latencies) in [("the request", from_sent), ("its answer", from_answered)] {
        latencies.sort_unstable();
        let milliseconds = |permille| percentile(&latencies, permille) / 1e6;
        let row = Row::new(&format!("{what}, since {since}, p99"), "ms", milliseconds(990)).at_most(1000.0);
        let (p50, most) = (number(milliseconds(500)), number(milliseconds(1000)));
        let note = format!("p50 {p50} ms, most {most} ms, {count} ends");
        context.report.borrow_mut().row(row.note(note));
    }
    fleet.stop(context)
}

/// Ends it by its id; answers when that was answered.
async fn end(node: &Handstamp, id: &str) -> Result<Instant> {
    let Handstamp { address, key, .. } = node;
    let request = format!(
        "DELETE /v1/sessions/{id} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {key}\r\n\r\n"
    );
    let mut connection = Connection::open(*address).await?;
    let answer = connection.exchange(request.as_bytes()).await?;
    if answer.holds("\"ended\":1") { Ok(Instant::now()) } else { Err(answer.complaint("an end").into()) }
}

/// Asks for it without a pause; answers when it was first refused.
async fn until_refused(
    context: &Context,
    node: &Handstamp,
    tokens: &Rc<Tokens>,
    index: usize,
) -> Result<Instant> {
    let mut request = Vec::new();
    let mut source = node.validation(context, tokens, Pick::Each(index));
    source.next(&mut request).ok_or("no session to validate")?;
    let mut connection = Connection::open(node.address).await?;
    let until = Instant::now() + Duration::from_secs(10);
    while Instant::now() < until {
        let answer = connection.exchange(&request).await?;
        if answer.status == 200 && answer.holds("\"code\":\"session_revoked\"") {
            return Ok(Instant::now());
        }
        if answer.status != 200 || !answer.holds("\"valid\":true") {
            return Err(answer.complaint("a session that is valid, or was revoked").into());
        }
    }
    Err("an ended session is not refused by another node after ten seconds".into())
}

/// The first `count` nodes of it, each with its share of the connections.
fn of_fleet<'a>(
    context: &'a Context,
    fleet: &'a Fleet,
    first: &'a Handstamp,
    count: usize,
    tokens: &'a Rc<Tokens>,
) -> Entrant<'a> {
    Entrant {
        name: named(count),
        addresses: fleet.nodes.iter().take(count).map(|node| node.address).collect(),
        watched: fleet.watched(count),
        source: Box::new(move |round| {
            let source = first.validation(context, tokens, Pick::Random(Random::new(round)));
            Rc::new(RefCell::new(source)) as Rc<RefCell<dyn Source>>
        }),
    }
}

async fn misses(fleet: &Fleet) -> Result<f64> {
    let mut sum = 0.0;
    for node in &fleet.nodes {
        sum += node.metric("handstamp_cache_misses_total").await?;
    }
    Ok(sum)
}

pub(crate) fn connected(connections: usize) -> String {
    format!("{connections} connection{}", if connections == 1 { "" } else { "s" })
}

/// Whose CPU it was.
pub(crate) fn split(figures: &Figures) -> String {
    match figures.parts_us.split_last() {
        Some((store, nodes)) => {
            format!("nodes {} and PostgreSQL {} us", number(nodes.iter().sum()), number(*store))
        }
        None => String::new(),
    }
}
