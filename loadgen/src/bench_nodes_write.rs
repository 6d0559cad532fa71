//! Durable writes by nodes that share a PostgreSQL: creations and refreshes at 1, 2 and 4 nodes, beside the embedded store
//! and logins with tower-sessions; and how large everything becomes: rows, and the log.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::Result;
use crate::bench_nodes::{connected, split};
use crate::bench_refresh::{FAMILIES, Families};
use crate::context::{Context, size};
use crate::drive::{Figures, Source};
use crate::handstamp::Handstamp;
use crate::http::Answer;
use crate::nodes::{COUNTS, Fleet, named};
use crate::peers::{self, Peer};
use crate::population::Population;
use crate::procs::each_cpu_seconds;
use crate::report::{Row, number};
use crate::requests::Create;
use crate::rounds::{Entrant, rounds};

/// Creations; each makes sessions that nobody else does.
///
/// # Errors
/// When a server does not start or a run fails.
pub(crate) async fn create(context: &Context) -> Result<()> {
    let (alone, fleet) = servers(context)?;
    let first = fleet.first()?;
    let tower = match context.wants_peer("tower-postgres") {
        true => Some(peers::tower_postgres(context, &fleet.cluster, 1, 0)?),
        false => None,
    };
    let next = Rc::new(Cell::new(0));
    for connections in [1, context.connections] {
        let what = format!("durable create, {}", connected(connections));
        let source = |server: &Handstamp| -> Rc<RefCell<dyn Source>> {
            let population = context.population.clone();
            // Far from those of the other runs.
            next.set(next.get() + 10_000_000);
            let next = Rc::new(Cell::new(next.get()));
            Rc::new(RefCell::new(Create::new(server.address, &server.key, population, next, usize::MAX)))
        };
        let mut entrants = vec![Entrant {
            name: "embedded store".to_owned(),
            addresses: vec![alone.address],
            watched: vec![alone.child.pid()],
            source: Box::new(|_| source(&alone)),
        }];
        entrants.extend(COUNTS.map(|count| Entrant {
            name: named(count),
            addresses: addresses(&fleet, count),
            watched: fleet.watched(count),
            source: Box::new(|_| source(first)),
        }));
        entrants.extend(tower.iter().map(|tower| Entrant {
            name: tower.name.to_owned(),
            addresses: vec![tower.address],
            watched: tower.watched(),
            source: Box::new(|round| Rc::new(RefCell::new(Login::new(tower, round)))),
        }));
        let medians = rounds(context, &what, connections, &entrants).await?;
        report(context, &what, &medians, tower.as_ref());
    }
    drop(tower);
    stop(context, alone, fleet)
}

/// Refreshes; the next one of a session may go to any node.
///
/// # Errors
/// When a server does not start or a run fails.
pub(crate) async fn refresh(context: &Context) -> Result<()> {
    let (alone, fleet) = servers(context)?;
    let of_alone = families(context, &alone).await?;
    let of_fleet = families(context, fleet.first()?).await?;
    for connections in [1, context.connections] {
        let what = format!("durable refresh, {}", connected(connections));
        let mut entrants = vec![Entrant {
            name: "embedded store".to_owned(),
            addresses: vec![alone.address],
            watched: vec![alone.child.pid()],
            source: Box::new(|_| of_alone.clone() as Rc<RefCell<dyn Source>>),
        }];
        entrants.extend(COUNTS.map(|count| Entrant {
            name: named(count),
            addresses: addresses(&fleet, count),
            watched: fleet.watched(count),
            source: Box::new(|_| of_fleet.clone() as Rc<RefCell<dyn Source>>),
        }));
        let medians = rounds(context, &what, connections, &entrants).await?;
        report(context, &what, &medians, None);
    }
    stop(context, alone, fleet)
}

/// Bytes of a live and of an ended session in the database, and of the log that a creation, a refresh and an end write.
///
/// # Errors
/// When a node does not start or a run fails.
pub(crate) async fn sizes(context: &Context) -> Result<()> {
    let sessions = if context.options.quick { 20_000 } else { 100_000 };
    let fleet = Fleet::start(context, 1, None)?;
    let first = fleet.first()?;
    let idle = idle(context, &fleet).await?;
    context.report.borrow_mut().row(idle);
    let each = |bytes: f64| bytes / f64::from(u32::try_from(sessions).unwrap_or(u32::MAX));
    // What is there without a session, and what one takes that stays.
    let empty = tidied(&fleet)?;
    let log = fleet.cluster.log_bytes()?;
    let (ids, _) = first.fill(context, sessions, "id").await?;
    let written = fleet.cluster.log_bytes()? - log;
    let live = tidied(&fleet)? - empty;
    let at = size(sessions);
    let mut rows = vec![
        Row::new(&format!("PostgreSQL, a live session at {at}"), "B", each(live)).note(
            "rows and indexes, with its facets, its event and a quarter of its user's record".to_owned(),
        ),
        Row::new("PostgreSQL, log of a creation", "B", each(written)),
    ];
    let families = families(context, first).await?;
    let log = fleet.cluster.log_bytes()?;
    let watched = fleet.watched(1);
    let drive = crate::drive::Drive {
        label: "refreshing",
        addresses: &[first.address],
        connections: context.connections,
        until: context.window(),
        watched: &watched,
    };
    let commits = first.metric("handstamp_commit_seconds_count").await?;
    drive.run(families).await?;
    let written = fleet.cluster.log_bytes()? - log;
    let commits = first.metric("handstamp_commit_seconds_count").await? - commits;
    rows.push(Row::new("PostgreSQL, log of a refresh", "B", written / commits.max(1.0)));
    let before = tidied(&fleet)?;
    let log = fleet.cluster.log_bytes()?;
    let names: Vec<String> =
        (0..ids.len()).map(|index| String::from_utf8_lossy(ids.get(index)).into_owned()).collect();
    first.end(&names).await?;
    let written = fleet.cluster.log_bytes()? - log;
    rows.push(Row::new("PostgreSQL, log of an end", "B", each(written)));
    // Rewritten, so that what has left the hot partition is not counted.
    let ended = tidied(&fleet)? - before + live;
    rows.push(
        Row::new(&format!("PostgreSQL, an ended session at {at}"), "B", each(ended))
            .note("until its retention is over; rows and indexes".to_owned()),
    );
    context.report.borrow_mut().rows.extend(rows);
    fleet.stop(context)
}

/// What a node costs that nobody asks for anything: its probes, and looking whether there is something to do.
async fn idle(context: &Context, fleet: &Fleet) -> Result<Row> {
    let watched = fleet.watched(1);
    let begun = (Instant::now(), each_cpu_seconds(&watched)?);
    tokio::time::sleep(Duration::from_secs(if context.options.quick { 5 } else { 20 })).await;
    let (seconds, spent) = (begun.0.elapsed().as_secs_f64(), each_cpu_seconds(&watched)?);
    let parts = spent.iter().zip(&begun.1).map(|(after, before)| (after - before) * 1e3 / seconds);
    let parts: Vec<f64> = parts.collect();
    let row = Row::new("an idle node", "CPU ms/s", parts.iter().sum());
    let (node, store) = (parts.first().copied().unwrap_or(0.0), parts.last().copied().unwrap_or(0.0));
    Ok(row.note(format!("node {} and PostgreSQL {} ms", number(node), number(store))))
}

/// Size of the database, as small as it can be.
fn tidied(fleet: &Fleet) -> Result<f64> {
    fleet.cluster.ask("handstamp", "vacuum full")?;
    fleet.cluster.number("handstamp", "select pg_database_size(current_database())")
}

fn servers(context: &Context) -> Result<(Handstamp, Fleet)> {
    let alone = Handstamp::start(context, &context.fresh_folder("nodes-embedded")?, None)?;
    Ok((alone, Fleet::start(context, COUNTS.into_iter().max().unwrap_or(1), None)?))
}

fn stop(context: &Context, alone: Handstamp, fleet: Fleet) -> Result<()> {
    alone.child.stop("TERM")?;
    crate::context::remove(&context.folder("nodes-embedded"))?;
    fleet.stop(context)
}

fn addresses(fleet: &Fleet, count: usize) -> Vec<std::net::SocketAddr> {
    fleet.nodes.iter().take(count).map(|node| node.address).collect()
}

async fn families(context: &Context, server: &Handstamp) -> Result<Rc<RefCell<Families>>> {
    let (mut kept, _) = server.fill_with(context, FAMILIES, ",\"refresh\":true", &["refresh_token"]).await?;
    let kept = kept.pop().ok_or("no refresh tokens")?;
    Ok(Rc::new(RefCell::new(Families::new(context, server, &kept))))
}

/// Embedded store, then the counts of nodes, then the peer.
fn report(context: &Context, what: &str, medians: &[Figures], tower: Option<&Peer>) {
    let Some((embedded, rest)) = medians.split_first() else { return };
    let peer = tower.and_then(|tower| Some((tower.name, rest.get(COUNTS.len())?)));
    for (count, figures) in COUNTS.into_iter().zip(rest) {
        let mut row = Row::new(&format!("{what}, {}", named(count)), "CPU us/request", figures.cpu_us);
        let mut note = format!("{}; {:.0} req/s", split(figures), figures.per_second);
        match peer {
            Some((name, other)) => {
                row = row.against(name, other.cpu_us);
                note.push_str(&format!(" against {:.0}", other.per_second));
            }
            None => row = row.against("embedded store", embedded.cpu_us),
        }
        note.push_str(&format!(
            "; p50 {} us; embedded store {} us CPU, {:.0} req/s, p50 {} us",
            number(figures.p50_us),
            number(embedded.cpu_us),
            embedded.per_second,
            number(embedded.p50_us)
        ));
        context.report.borrow_mut().row(row.note(note));
    }
}

/// Logs in at a peer.
struct Login {
    address: std::net::SocketAddr,
    next: usize,
}

impl Login {
    fn new(peer: &Peer, round: u64) -> Self {
        Self { address: peer.address, next: usize::try_from(round).unwrap_or(0) * 10_000_000 }
    }
}

impl Source for Login {
    fn next(&mut self, out: &mut Vec<u8>) -> Option<usize> {
        self.next += 1;
        let head = format!("POST /login/{} HTTP/1.1\r\nhost: {}\r\n", self.next, self.address);
        out.extend_from_slice(head.as_bytes());
        out.extend_from_slice(b"content-length: 0\r\n\r\n");
        Some(self.next)
    }

    fn check(&mut self, ticket: usize, answer: &Answer<'_>) -> std::result::Result<(), String> {
        let cookie = String::from_utf8_lossy(answer.head).to_ascii_lowercase().contains("set-cookie: id=");
        let right = answer.status == 200
            && cookie
            && answer.text("user_id") == Some(Population::user(ticket).as_bytes());
        if right { Ok(()) } else { Err(answer.complaint("a login with a cookie")) }
    }
}
