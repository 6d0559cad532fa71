//! Several servers measured in turn, round after round, so that a busy minute of the machine hits all of them alike.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;

use crate::Result;
use crate::context::Context;
use crate::drive::{Drive, Figures, Source, Until};
use crate::stats::median;

/// One of those who are compared.
pub(crate) struct Entrant<'a> {
    pub(crate) name: String,
    /// Its connections go to these in turn.
    pub(crate) addresses: Vec<SocketAddr>,
    pub(crate) watched: Vec<u32>,
    /// The requests of one run; the argument is the round, to ask for different sessions in each.
    pub(crate) source: Box<dyn Fn(u64) -> Rc<RefCell<dyn Source>> + 'a>,
}

impl Entrant<'_> {
    /// The same under another name.
    pub(crate) fn named(self, name: &str) -> Self {
        Self { name: name.to_owned(), ..self }
    }
}

/// Runs every entrant once per round; answers their medians in the order of the entrants, and reports them.
///
/// # Errors
/// When any run fails.
pub(crate) async fn rounds(
    context: &Context,
    what: &str,
    connections: usize,
    entrants: &[Entrant<'_>],
) -> Result<Vec<Figures>> {
    run(context, what, connections, entrants, (context.rounds, context.window())).await
}

/// The same measured span in three times as many turns, for a ratio that is to be known within a few percent: a machine that
/// is fast for ten seconds and slow for the next ten makes that much of a difference by itself.
///
/// # Errors
/// When any run fails.
pub(crate) async fn short_rounds(
    context: &Context,
    what: &str,
    connections: usize,
    entrants: &[Entrant<'_>],
) -> Result<Vec<Figures>> {
    run(context, what, connections, entrants, (3 * context.rounds, context.short_window())).await
}

async fn run(
    context: &Context,
    what: &str,
    connections: usize,
    entrants: &[Entrant<'_>],
    (rounds, until): (usize, Until),
) -> Result<Vec<Figures>> {
    let mut runs: Vec<Vec<Figures>> = entrants.iter().map(|_| Vec::new()).collect();
    for round in 1..=rounds {
        for (entrant, runs) in entrants.iter().zip(&mut runs) {
            let label = format!("{what}: {}, round {round} of {rounds}", entrant.name);
            let drive = Drive {
                label: &label,
                addresses: &entrant.addresses,
                connections,
                until,
                watched: &entrant.watched,
            };
            runs.push(drive.run((entrant.source)(round as u64)).await?);
        }
    }
    let medians: Vec<Figures> = runs.iter().map(|runs| middle(runs)).collect();
    for (entrant, figures) in entrants.iter().zip(&medians) {
        context.report.borrow_mut().run(&format!("{what}: {}", entrant.name), connections, figures);
    }
    Ok(medians)
}

/// The median of each figure by itself.
pub(crate) fn middle(runs: &[Figures]) -> Figures {
    let of = |figure: fn(&Figures) -> f64| median(runs.iter().map(figure));
    Figures {
        requests: of(|run| run.requests),
        seconds: of(|run| run.seconds),
        per_second: of(|run| run.per_second),
        p50_us: of(|run| run.p50_us),
        p99_us: of(|run| run.p99_us),
        cpu_us: of(|run| run.cpu_us),
        parts_us: (0..runs.first().map_or(0, |run| run.parts_us.len()))
            .map(|at| median(runs.iter().filter_map(|run| run.parts_us.get(at).copied())))
            .collect(),
        load_us: of(|run| run.load_us),
        errors: runs.iter().map(|run| run.errors).sum(),
    }
}
