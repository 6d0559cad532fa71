//! Validation, ours beside everybody's: one token a request, and sixteen.

use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;

use crate::Result;
use crate::context::{Context, size};
use crate::drive::Source;
use crate::handstamp::Handstamp;
use crate::peers::{self, Peer};
use crate::report::Row;
use crate::requests::{Cookie, Pick};
use crate::rounds::{Entrant, rounds};
use crate::stats::Random;
use crate::tokens::Tokens;

/// Tokens in one request of the batch workload.
const BATCH: u16 = 16;

/// At a thousand sessions, in a store of its own.
///
/// # Errors
/// When a server does not start or a run fails.
pub(crate) async fn small(context: &Context) -> Result<()> {
    let data = context.fresh_folder("small")?;
    let server = Handstamp::start(context, &data, None)?;
    let (tokens, _) = server.fill(context, 1000, "token").await?;
    compare(context, &server, &Rc::new(tokens), false).await?;
    server.child.stop("TERM").map(drop)
}

/// Every peer that is asked for against a server that holds `tokens`. The targets of the design are for the large
/// store (`judged`).
///
/// # Errors
/// When a peer does not start or a run fails.
pub(crate) async fn compare(
    context: &Context,
    server: &Handstamp,
    tokens: &Rc<Tokens>,
    judged: bool,
) -> Result<()> {
    let (head, body) = server.one_answer(context, tokens, 0).await?;
    let sessions = tokens.len();
    let mut peers = Vec::new();
    if context.wants_peer("echo") {
        peers.push(peers::echo(context, &head, &body)?);
    }
    if context.wants_peer("tower") {
        peers.push(peers::tower(context, sessions, body.len())?);
    }
    if context.wants_peer("express") {
        peers.push(peers::express(context, sessions, body.len())?);
    }
    let what = format!("validate at {}", size(sessions));
    let mut entrants = vec![ours(context, server, tokens, 1)];
    entrants.extend(peers.iter().map(|peer| theirs(context, server, tokens, peer)));
    let medians = rounds(context, &what, context.connections, &entrants).await?;
    let Some((mine, others)) = medians.split_first() else { return Ok(()) };
    for (peer, figures) in peers.iter().zip(others) {
        let mut row = Row::new(&what, "CPU us/request", mine.cpu_us).against(peer.name, figures.cpu_us);
        if judged {
            row = match peer.cookie {
                "" => row.ratio_at_most(1.6, "<= 1.6x"),
                "id" => row.ratio_at_most(0.5, "<= 1/2"),
                _ => row.ratio_at_most(0.05, "<= 1/20"),
            };
        }
        context
            .report
            .borrow_mut()
            .row(row.note(format!("{:.0} against {:.0} req/s", mine.per_second, figures.per_second)));
    }
    if peers.is_empty() {
        context.report.borrow_mut().row(Row::new(&what, "CPU us/request", mine.cpu_us));
    }
    Ok(())
}

/// Sixteen tokens a request.
///
/// # Errors
/// When a run fails.
pub(crate) async fn batch(context: &Context, server: &Handstamp, tokens: &Rc<Tokens>) -> Result<()> {
    let what = format!("validate-batch of {BATCH} at {}", size(tokens.len()));
    let medians =
        rounds(context, &what, context.connections, &[ours(context, server, tokens, BATCH)]).await?;
    for figures in medians {
        let tokens = f64::from(BATCH);
        let row = Row::new(&what, "CPU us/token", figures.cpu_us / tokens).at_most(3.0);
        context.report.borrow_mut().row(row.note(format!("{:.0} tokens/s", figures.per_second * tokens)));
    }
    Ok(())
}

pub(crate) fn ours<'a>(
    context: &'a Context,
    server: &'a Handstamp,
    tokens: &'a Rc<Tokens>,
    batch: u16,
) -> Entrant<'a> {
    Entrant {
        name: "handstamp".to_owned(),
        addresses: vec![server.address],
        watched: vec![server.child.pid()],
        source: Box::new(move |round| {
            let source = server.validation(context, tokens, Pick::Random(Random::new(round)));
            match batch {
                1 => Rc::new(RefCell::new(source)) as Rc<RefCell<dyn Source>>,
                _ => Rc::new(RefCell::new(source.in_batches(batch.into(), server.address, &server.key))),
            }
        }),
    }
}

pub(crate) fn theirs<'a>(
    context: &'a Context,
    server: &'a Handstamp,
    tokens: &'a Rc<Tokens>,
    peer: &'a Peer,
) -> Entrant<'a> {
    Entrant {
        name: peer.name.to_owned(),
        addresses: vec![peer.address],
        watched: peer.watched(),
        source: Box::new(move |round| {
            let pick = Pick::Random(Random::new(round));
            if peer.cookie.is_empty() {
                // The very same requests, so that the difference is what the server does with them.
                return Rc::new(RefCell::new(server.validation(context, tokens, pick).of_anybody()));
            }
            let population = context.population.clone();
            Rc::new(RefCell::new(Cookie::new(
                peer.address,
                peer.cookie,
                population,
                peer.cookies.clone(),
                pick,
            )))
        }),
    }
}

/// Where the small store was.
///
/// # Errors
/// When it cannot be removed.
pub(crate) fn clean(context: &Context) -> Result<()> {
    for name in ["small", "redis-tower", "redis-express"] {
        crate::context::remove(Path::new(&context.folder(name)))?;
    }
    Ok(())
}
