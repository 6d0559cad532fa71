//! Durable creation: ours at 1, 64 and 256 connections, beside the same rows in PostgreSQL and one fdatasync of the disk.

use std::cell::RefCell;
use std::rc::Rc;

use crate::Result;
use crate::context::Context;
use crate::disk;
use crate::drive::{Drive, Figures, Until};
use crate::handstamp::Handstamp;
use crate::postgres::Cluster;
use crate::procs::resident_bytes;
use crate::report::{Row, number};
use crate::requests::Create;
use crate::rounds::middle;
use crate::stats::median;

const CONNECTIONS: [usize; 3] = [1, 64, 256];

/// # Errors
/// When a server does not start or a run fails.
pub(crate) async fn create(context: &Context) -> Result<()> {
    let data = context.fresh_folder("create")?;
    let server = Handstamp::start(context, &data, None)?;
    let postgres = context.wants_peer("postgres").then(|| Cluster::start(context, "postgres")).transpose()?;
    for connections in CONNECTIONS {
        let (mut ours, mut theirs, mut syncs) = (Vec::new(), Vec::new(), Vec::new());
        for round in 1..=context.rounds {
            // The disk is asked before and after, because its speed changes with what else the machine does.
            syncs.push(disk::probe(&data, context.repeat(500))?);
            ours.push(our_run(context, &server, connections, round).await?);
            syncs.push(disk::probe(&data, context.repeat(500))?);
            if let Some(cluster) = &postgres {
                theirs.push(cluster.run(context, connections, round)?);
            }
        }
        report(context, connections, &ours, &theirs, &syncs);
    }
    server.child.stop("TERM")?;
    if let Some(cluster) = postgres {
        cluster.stop(context)?;
    }
    crate::context::remove(&data)
}

async fn our_run(context: &Context, server: &Handstamp, connections: usize, round: usize) -> Result<Figures> {
    let population = context.population.clone();
    let source = Create::new(server.address, &server.key, population, server.next.clone(), usize::MAX);
    let label = format!("create at {connections}: handstamp, round {round} of {}", context.rounds);
    let drive = Drive {
        label: &label,
        addresses: &[server.address],
        connections,
        until: context.window(),
        watched: &[server.child.pid()],
    };
    drive.run(Rc::new(RefCell::new(source))).await
}

fn report(context: &Context, connections: usize, ours: &[Figures], theirs: &[Figures], syncs: &[(f64, f64)]) {
    let what =
        format!("durable create at {connections} connection{}", if connections == 1 { "" } else { "s" });
    let mine = middle(ours);
    let mut report = context.report.borrow_mut();
    report.run(&format!("{what}: handstamp"), connections, &mine);
    if theirs.is_empty() {
        report.row(Row::new(&what, "CPU us/request", mine.cpu_us));
    } else {
        let other = middle(theirs);
        report.run(&format!("{what}: PostgreSQL"), connections, &other);
        let mut row = Row::new(&what, "CPU us/request", mine.cpu_us).against("PostgreSQL", other.cpu_us);
        if connections == 64 {
            row = row.ratio_at_most(0.5, "<= 1/2");
        }
        report.row(row.note(format!("{:.0} against {:.0} req/s", mine.per_second, other.per_second)));
    }
    if connections == 1 {
        let sync = median(syncs.iter().map(|(p50, _)| p50 / 1000.0));
        let slow = median(syncs.iter().map(|(_, p99)| p99 / 1000.0));
        let row =
            Row::new("durable create at 1 connection, p50", "us", mine.p50_us).against("fdatasync", sync);
        report.row(row.ratio_at_most(3.0, "<= 3x").note(format!(
            "p99 {} against {} us",
            number(mine.p99_us),
            number(slow)
        )));
    }
}

/// Resident memory of a server that has nothing to do, on an almost empty store: it has made and checked one session, so
/// that what every request needs is there.
///
/// # Errors
/// When it does not start.
pub(crate) async fn idle_memory(context: &Context) -> Result<()> {
    const MIB: f64 = 1024.0 * 1024.0;
    let data = context.fresh_folder("idle")?;
    let server = Handstamp::start(context, &data, None)?;
    let (tokens, _) = server.fill(context, 1, "token").await?;
    server.one_answer(context, &Rc::new(tokens), 0).await?;
    let row =
        Row::new("memory, idle, one session", "MiB", resident_bytes(server.child.pid())? / MIB).at_most(25.0);
    context.report.borrow_mut().row(row);
    server.child.stop("TERM")?;
    crate::context::remove(&data)
}

/// Load that goes on until its server dies under it.
pub(crate) async fn create_until_killed(context: &Context, server: &Handstamp) {
    let population = context.population.clone();
    let source = Create::new(server.address, &server.key, population, server.next.clone(), usize::MAX);
    let minute = std::time::Duration::from_secs(60);
    let drive = Drive {
        label: "creating while the server is killed",
        addresses: &[server.address],
        connections: context.connections,
        until: Until::Window { warm: minute, measure: minute },
        watched: &[],
    };
    // Broken connections are what is wanted here.
    let _ = drive.run(Rc::new(RefCell::new(source))).await;
}
