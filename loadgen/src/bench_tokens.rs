//! Access tokens: made by the server, verified by it beside session tokens of the same sessions, and made and verified in one
//! process without any server.

use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};

use handstamp::Claims;
use handstamp_core::jose::base64url;

use crate::bench_validate::ours;
use crate::context::Context;
use crate::drive::{Drive, Source, Until};
use crate::handstamp::Handstamp;
use crate::http::Answer;
use crate::population::Population;
use crate::report::Row;
use crate::requests::{Head, Pick};
use crate::rounds::{Entrant, rounds};
use crate::stats::{Random, median};
use crate::tokens::Tokens;
use crate::{Result, verify_local};

/// Sessions of which tokens are made again and again.
const SESSIONS: usize = 1000;
/// Commits to the store, all of them.
const COMMITS: &str = "handstamp_commit_seconds_count";

/// All of it.
///
/// # Errors
/// When the server does not start, an answer is wrong, or the server writes where it must not.
pub(crate) async fn tokens(context: &Context) -> Result<()> {
    let data = context.fresh_folder("tokens")?;
    let server = Handstamp::start(context, &data, None)?;
    let members = ["id", "token", "access_token/token"];
    let (kept, _) = server.fill_with(context, SESSIONS, ",\"access_token\":{}", &members).await?;
    let [ids, sessions, access] = <[Tokens; 3]>::try_from(kept).map_err(|_| "members are missing")?;
    let [ids, sessions, access] = [ids, sessions, access].map(Rc::new);
    nothing_is_written(context, &server, &data, &access).await?;
    by_the_server(context, &server, [&ids, &sessions, &access]).await?;
    first_of_each(context, &server).await?;
    server.child.stop("TERM")?;
    crate::context::remove(&data)?;
    in_process(context)
}

/// Many validations of access tokens, and no write: neither does the server count a commit, nor does any file change.
async fn nothing_is_written(
    context: &Context,
    server: &Handstamp,
    data: &Path,
    access: &Rc<Tokens>,
) -> Result<()> {
    at_rest(server, data).await?;
    let (commits, files) = (server.metric(COMMITS).await?, listing(data)?);
    let drive = Drive {
        label: "validate: access tokens, nothing is written",
        addresses: &[server.address],
        connections: context.connections,
        until: context.window(),
        watched: &[],
    };
    let source = server.validation(context, access, Pick::Random(Random::new(0)));
    let figures = drive.run(Rc::new(RefCell::new(source))).await?;
    // What is written behind would be written by now.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let commits = server.metric(COMMITS).await? - commits;
    if commits > 0.0 || listing(data)? != files {
        return Err(
            format!("{commits} commits, or a file changed, by {} validations", figures.requests).into()
        );
    }
    let row = Row::new("writes by validations of access tokens", "commits", commits).at_most(0.0);
    context
        .report
        .borrow_mut()
        .row(row.note(format!("{:.0} validations, no file changed", figures.requests)));
    Ok(())
}

/// Waits until the server has written what it still had to write of the creations.
async fn at_rest(server: &Handstamp, data: &Path) -> Result<()> {
    let begun = Instant::now();
    let mut last = listing(data)?;
    while begun.elapsed() < Duration::from_secs(60) {
        tokio::time::sleep(Duration::from_secs(2)).await;
        let now = listing(data)?;
        if now == last && server.metric("handstamp_activity_waiting").await? == 0.0 {
            return Ok(());
        }
        last = now;
    }
    Err("the server goes on writing for a minute after the last creation".into())
}

/// Every file with its length and when it was changed last.
fn listing(folder: &Path) -> Result<Vec<(String, u64, SystemTime)>> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let about = entry.metadata()?;
        // Readers leave their marks in the file of shared memory beside the log, and there only.
        let name = entry.file_name().to_string_lossy().into_owned();
        if about.is_file() && !name.ends_with("-shm") {
            all.push((name, about.len(), about.modified()?));
        }
    }
    all.sort();
    Ok(all)
}

async fn by_the_server(
    context: &Context,
    server: &Handstamp,
    [ids, sessions, access]: [&Rc<Tokens>; 3],
) -> Result<()> {
    let commits = server.metric(COMMITS).await?;
    let random = |round| Pick::Random(Random::new(round));
    let minting = rounds(context, "mint", context.connections, &[minter(server, ids, random)]).await?;
    let commits = server.metric(COMMITS).await? - commits;
    for figures in minting {
        let row = Row::new("mint an access token, EdDSA", "CPU us/token", figures.cpu_us);
        let note = format!("{:.0} tokens/s, {commits:.0} commits in all rounds", figures.per_second);
        context.report.borrow_mut().row(row.note(note));
    }
    let entrants = [
        ours(context, server, access, 1).named("access token"),
        ours(context, server, sessions, 1).named("session token"),
    ];
    let medians = rounds(context, "validate at 1k", context.connections, &entrants).await?;
    if let [access, session] = medians.as_slice() {
        let row = Row::new("validate an access token at 1k", "CPU us/request", access.cpu_us);
        let note = format!("{:.0} against {:.0} req/s", access.per_second, session.per_second);
        context.report.borrow_mut().row(row.against("session token", session.cpu_us).note(note));
    }
    Ok(())
}

/// The first access token of a session, before which the session is told to remember it.
async fn first_of_each(context: &Context, server: &Handstamp) -> Result<()> {
    let count = context.repeat(20_000);
    let from = server.next.get();
    let (ids, _) = server.fill(context, count, "id").await?;
    let ids = Rc::new(ids);
    // The sessions before have had one.
    let entrant = minter(server, &ids, |_| Pick::Each(from));
    let commits = server.metric(COMMITS).await?;
    let drive = Drive {
        label: "mint: the first token of each session",
        addresses: &[server.address],
        connections: context.connections,
        until: Until::Empty { total: count },
        watched: &entrant.watched,
    };
    let figures = drive.run((entrant.source)(1)).await?;
    let commits = server.metric(COMMITS).await? - commits;
    // Also the proof that this number moves, on which it rests that validations write nothing.
    if commits < figures.requests {
        return Err(format!("{commits} commits for the first tokens of {count} sessions").into());
    }
    let mut report = context.report.borrow_mut();
    report.run("mint: the first token of each session, durable", context.connections, &figures);
    let row = Row::new("mint the first access token of a session", "CPU us/token", figures.cpu_us);
    report.row(row.note(format!("{:.0} tokens/s, each with a commit", figures.per_second)));
    Ok(())
}

/// Making and verifying without a server, as `loadgen verify-local` does it.
fn in_process(context: &Context) -> Result<()> {
    let mut all = Vec::new();
    for round in 1..=context.rounds {
        eprintln!("  access tokens in one process, round {round} of {}", context.rounds);
        let tokens = u64::try_from(context.repeat(2_000))?;
        let options = verify_local::Options { tokens, again: context.repeat(2_000_000), threads: 1 };
        // In a thread of its own, because it has a runtime of its own.
        let measured = std::thread::spawn(move || verify_local::measure(&options).map_err(|e| e.to_string()));
        all.push(measured.join().map_err(|_| "the verifier of one process broke")??);
    }
    let us = |figure: fn(&verify_local::Figures) -> f64| median(all.iter().map(figure)) / 1000.0;
    let mut report = context.report.borrow_mut();
    for (what, value) in [
        ("mint in process, EdDSA", us(|f| f.mint_eddsa)),
        ("mint in process, ES256", us(|f| f.mint_es256)),
        ("mint in process, RS256", us(|f| f.mint_rs256)),
        ("verify locally, first, EdDSA", us(|f| f.first_eddsa)),
        ("verify locally, first, ES256", us(|f| f.first_es256)),
        ("verify locally, first, RS256", us(|f| f.first_rs256)),
    ] {
        report.row(Row::new(what, "us", value));
    }
    let again = us(|f| f.again_thousand);
    report.row(Row::new("verify locally, again, 1k tokens in turn", "us", again).at_most(1.0));
    report.row(Row::new("verify locally, again, the same token", "us", us(|f| f.again_same)).at_most(1.0));
    Ok(())
}

fn minter<'a>(server: &'a Handstamp, ids: &'a Rc<Tokens>, pick: impl Fn(u64) -> Pick + 'a) -> Entrant<'a> {
    Entrant {
        name: "handstamp".to_owned(),
        addresses: vec![server.address],
        watched: vec![server.child.pid()],
        source: Box::new(move |round| {
            Rc::new(RefCell::new(Mint {
                address: server.address,
                key: server.key.clone(),
                ids: ids.clone(),
                pick: pick(round),
            }))
        }),
    }
}

/// Makes access tokens of these sessions.
struct Mint {
    address: std::net::SocketAddr,
    key: String,
    ids: Rc<Tokens>,
    pick: Pick,
}

impl Source for Mint {
    fn next(&mut self, out: &mut Vec<u8>) -> Option<usize> {
        let index = self.pick.next(self.ids.len())?;
        let id = String::from_utf8_lossy(self.ids.get(index));
        Head::post(&format!("/v1/sessions/{id}/access-tokens"), self.address, &self.key).append(b"{}", out);
        Some(index)
    }

    fn check(&mut self, ticket: usize, answer: &Answer<'_>) -> std::result::Result<(), String> {
        let claims = answer.text("token").and_then(claims).filter(|_| answer.status == 201);
        let right = claims.is_some_and(|claims| {
            claims.subject == Population::user(ticket)
                && claims.session.to_string().as_bytes() == self.ids.get(ticket)
                && claims.tags == Population::tags(ticket)
                && claims.data.is_some()
        });
        if right { Ok(()) } else { Err(answer.complaint("201 with a token of the session")) }
    }
}

/// What a token says; that it is signed, the validations show.
fn claims(token: &[u8]) -> Option<Claims> {
    let mut parts = std::str::from_utf8(token).ok()?.split('.');
    let (_, payload, _) = (parts.next()?, parts.next()?, parts.next()?);
    Claims::read(&base64url::decode(payload)?).ok()
}
