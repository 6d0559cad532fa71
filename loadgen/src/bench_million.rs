//! What changes with the size of the store: memory, search, and the time to the first answer after a kill -9.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use crate::Result;
use crate::bench_create::create_until_killed;
use crate::context::{Context, size};
use crate::drive::{Drive, Figures, Until};
use crate::handstamp::{Filled, Handstamp};
use crate::population::{DATA_BYTES, Population};
use crate::procs::resident_bytes;
use crate::report::{Row, number};
use crate::requests::Prepared;
use crate::stats::Random;

const MIB: f64 = 1024.0 * 1024.0;

/// So many sessions that what they take in memory stands out.
pub(crate) const ENOUGH: usize = 500_000;

/// Enough for every session of the store, so that validation is measured from memory.
pub(crate) fn roomy_cache(context: &Context) -> usize {
    context.sessions * 2048 + 64 * 1024 * 1024
}

/// What a cached session costs, on a server that has just started on the filled store. Afterwards all are cached.
///
/// # Errors
/// When a session is not valid any more.
pub(crate) async fn warm(
    context: &Context,
    server: &Handstamp,
    filled: &Filled,
    reported: bool,
) -> Result<()> {
    let pid = server.child.pid();
    let before = resident_bytes(pid)?;
    let figures =
        server.validate_each(context, &filled.tokens, "handstamp: validating every session once").await?;
    let after = resident_bytes(pid)?;
    if reported {
        let sessions = count(context.sessions);
        let at = size(context.sessions);
        let data = count(DATA_BYTES);
        let mut report = context.report.borrow_mut();
        report.run(&format!("first validation of each at {at}, 64 a request"), 8, &figures);
        report.row(Row::new(&format!("memory, idle, {at} in the store"), "MiB", before / MIB));
        report.row(Row::new(&format!("memory, {at} cached"), "MiB", after / MIB));
        let each =
            Row::new("memory of a cached session without its data", "B", (after - before) / sessions - data);
        let note = format!("growth over {at} sessions, less {DATA_BYTES} B of data");
        // Of few sessions the growth is mostly something else, and less than nothing is no measurement.
        let plain = context.sessions >= ENOUGH && after > before;
        report.row(if plain {
            each.at_most(450.0).note(note)
        } else {
            each.note(format!("{note}; not judged"))
        });
    }
    Ok(())
}

/// A cache far too small for the store must stay so.
///
/// # Errors
/// When the server does not start or a session is not valid.
pub(crate) async fn bounded(context: &Context, filled: &Filled) -> Result<()> {
    // Beside the cache there are pages of the database and queues, which do not grow with the number of sessions.
    const OTHERS: f64 = 64.0 * MIB;
    // An eighth of what the sessions would take.
    let bound = context.sessions * 64;
    let server = Handstamp::start(context, &filled.data, Some(bound))?;
    let before = resident_bytes(server.child.pid())?;
    let label = "handstamp: validating every session once, small cache";
    server.validate_each(context, &filled.tokens, label).await?;
    let growth = resident_bytes(server.child.pid())? - before;
    let allowed = (count(bound) + OTHERS) / MIB;
    let row = Row::new("memory growth under a bounded cache", "MiB", growth / MIB).at_most(allowed);
    let note = format!(
        "cache bound {} MiB, {} sessions validated",
        number(count(bound) / MIB),
        size(context.sessions)
    );
    context.report.borrow_mut().row(row.note(note));
    server.child.stop("TERM").map(drop)
}

/// Every filter of the search, one page at a time on one connection.
///
/// # Errors
/// When a page is not what was asked for.
pub(crate) async fn search(context: &Context, server: &Handstamp, filled: &Filled) -> Result<()> {
    let mut random = Random::new(5);
    let mut pick = || random.below(context.sessions);
    let pages = context.repeat(300).max(50);
    let mut filters: Vec<(&str, Vec<(String, String)>)> = Vec::new();
    let mut add = |name, of: &mut dyn FnMut() -> (String, String)| {
        filters.push((name, (0..pages).map(|_| of()).collect()));
    };
    let page = |query: String| format!("/v1/sessions?{query}&limit=50");
    add("user", &mut || {
        let user = Population::user(pick());
        (page(format!("user_id={user}")), format!("\"user_id\":\"{user}\""))
    });
    add("tag of few", &mut || {
        let tag = Population::organisation(pick());
        (page(format!("tag={tag}")), format!("\"{tag}\""))
    });
    add("tag of nearly all", &mut || (page("tag=role:member".to_owned()), "\"role:member\"".to_owned()));
    add("address", &mut || {
        let address = Population::address(pick());
        (page(format!("ip={address}")), format!("\"ip\":\"{address}\""))
    });
    add("CIDR /24", &mut || {
        let address = Population::address(pick());
        let net = address.rsplit_once('.').map_or("10.0.0", |(net, _)| net).to_owned();
        (page(format!("ip={net}.0/24")), format!("\"ip\":\"{net}."))
    });
    add("state=live", &mut || (page("state=live".to_owned()), "\"state\":\"live\"".to_owned()));
    add("state=ended", &mut || (page("state=ended".to_owned()), "\"state\":\"ended\"".to_owned()));
    add("code", &mut || (page("state=all&code=session_revoked".to_owned()), "session_revoked".to_owned()));
    let times = creation_times(context, server, filled).await?;
    let mut at = 0;
    add("created_after", &mut || {
        at = (at + 1) % times.len().max(1);
        let time = times.get(at).cloned().unwrap_or_default();
        (page(format!("created_after={time}")), "\"items\":[{".to_owned())
    });
    let mut at = 0;
    add("created_before", &mut || {
        at = (at + 1) % times.len().max(1);
        let time = times.get(at).cloned().unwrap_or_default();
        (page(format!("created_before={time}")), "\"items\":[{".to_owned())
    });
    let mut at = 0;
    add("tag of nearly all and created_before", &mut || {
        at = (at + 1) % times.len().max(1);
        let time = times.get(at).cloned().unwrap_or_default();
        (page(format!("tag=role:member&created_before={time}")), "\"role:member\"".to_owned())
    });
    for (name, requests) in filters {
        one_filter(context, server, name, requests).await?;
    }
    Ok(())
}

async fn one_filter(
    context: &Context,
    server: &Handstamp,
    name: &str,
    requests: Vec<(String, String)>,
) -> Result<()> {
    let what = format!("search by {name} at {}", size(context.sessions));
    let until = Until::Empty { total: requests.len() };
    let source = Rc::new(RefCell::new(Prepared::new("GET", server.address, &server.key, requests)));
    let drive = Drive { label: &what, addresses: &[server.address], connections: 1, until, watched: &[] };
    let figures: Figures = drive.run(source).await?;
    let mut report = context.report.borrow_mut();
    report.run(&what, 1, &figures);
    let row = Row::new(&format!("{what}, p99"), "ms", figures.p99_us / 1000.0).at_most(20.0);
    report.row(row.note(format!("p50 {} ms", number(figures.p50_us / 1000.0))));
    Ok(())
}

/// When some sessions were created, as the server says it; neither the first nor the last, so that both sides of
/// each time hold sessions.
async fn creation_times(context: &Context, server: &Handstamp, filled: &Filled) -> Result<Vec<String>> {
    let mut random = Random::new(6);
    let mut times = Vec::new();
    for _ in 0..50 {
        let index = context.sessions / 10 + random.below(context.sessions * 8 / 10);
        let (_, body) = server.one_answer(context, &filled.tokens, index).await?;
        let answer = crate::http::Answer { status: 200, head: &[], body: &body };
        let time = answer.text("created_at").ok_or("an answer without created_at")?;
        times.push(String::from_utf8_lossy(time).into_owned());
    }
    Ok(times)
}

/// kill -9 in the middle of creations, then from the start of the process to the first valid session.
///
/// # Errors
/// When it does not come back, or has lost a session.
pub(crate) async fn restart(context: &Context, filled: &Filled) -> Result<()> {
    let mut times = Vec::new();
    let mut random = Random::new(7);
    for _ in 0..context.rounds {
        let server = Handstamp::start(context, &filled.data, None)?;
        // New users, so that what is created here does not mix with the sessions that are validated.
        server.next.set(context.sessions * 2 + random.below(1 << 30));
        tokio::select! {
            () = create_until_killed(context, &server) => return Err("the creations ended by themselves".into()),
            () = tokio::time::sleep(Duration::from_secs(2)) => {}
        }
        server.child.kill()?;
        let server = Handstamp::start(context, &filled.data, None)?;
        server.one_answer(context, &filled.tokens, random.below(context.sessions)).await?;
        times.push(server.spawned.elapsed().as_secs_f64() * 1000.0);
        server.sample(context, &filled.tokens).await?;
        server.child.stop("TERM")?;
    }
    let worst = times.iter().copied().fold(0.0, f64::max);
    let name = format!("first answer after kill -9 at {}", size(context.sessions));
    let note = format!("worst of {}, killed while creating", times.len());
    context.report.borrow_mut().row(Row::new(&name, "ms", worst).at_most(1000.0).note(note));
    Ok(())
}

fn count(number: usize) -> f64 {
    u32::try_from(number).map_or(f64::INFINITY, f64::from)
}
