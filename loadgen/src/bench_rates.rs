//! What rate limits cost: a validation by a key that has one beside one by a key that has none, and the memory after ten
//! million addresses have failed.

use std::cell::RefCell;
use std::io::Write;
use std::rc::Rc;

use crate::Result;
use crate::bench_validate::ours;
use crate::context::{Context, size};
use crate::drive::{Drive, Source, Until};
use crate::handstamp::Handstamp;
use crate::http::{Answer, Connection, count};
use crate::procs::resident_bytes;
use crate::report::Row;
use crate::requests::{Head, Pick, Validate};
use crate::rounds::{Entrant, rounds};
use crate::stats::Random;

/// Failing validations of one request, each of another address.
const BATCH: usize = 256;
const MIB: f64 = 1024.0 * 1024.0;
/// What the table of addresses may take, and what the allocator may hold on to beside it, in MiB.
const ROOM: f64 = 16.0 + 8.0;

/// Both.
///
/// # Errors
/// When the server does not start, refuses what it is told, or a run fails.
pub(crate) async fn cost(context: &Context) -> Result<()> {
    let server = Handstamp::start(context, &context.fresh_folder("rates")?, None)?;
    let (tokens, _) = server.fill(context, 1000, "token").await?;
    let tokens = Rc::new(tokens);
    // Never over: what is measured is the counting.
    let key = limited_key(&server, "4294967295/1s").await?;
    let limited = Entrant {
        name: "handstamp, key with a limit".to_owned(),
        addresses: vec![server.address],
        watched: vec![server.child.pid()],
        source: Box::new(|round| {
            let pick = Pick::Random(Random::new(round));
            let population = context.population.clone();
            Rc::new(RefCell::new(Validate::new(server.address, &key, population, tokens.clone(), pick)))
        }),
    };
    let entrants = [ours(context, &server, &tokens, 1).named("handstamp, key without a limit"), limited];
    let medians = rounds(context, "validate", context.connections, &entrants).await?;
    if let [without, with] = medians.as_slice() {
        let added = with.cpu_us - without.cpu_us;
        let row =
            Row::new("what a limit of its key adds to a validation", "CPU us/request", added).at_most(0.7);
        let note = format!("{:.2} with, {:.2} without", with.cpu_us, without.cpu_us);
        context.report.borrow_mut().row(row.note(note));
    }
    drop(entrants);
    flood(context, &server).await?;
    server.child.stop("TERM")?;
    crate::context::remove(&context.folder("rates"))
}

/// Ten million addresses fail, each once. The first thousand requests only make the server's buffers.
async fn flood(context: &Context, server: &Handstamp) -> Result<()> {
    let addresses = if context.options.quick { 1_000_000 } else { 10_000_000 };
    let strangers = Rc::new(RefCell::new(Strangers {
        head: Head::post("/v1/sessions/validate-batch", server.address, &server.key),
        address: 0,
        left: 0,
        body: Vec::new(),
    }));
    let watched = [server.child.pid()];
    let addressed = [server.address];
    let drive = |label: &'static str, total: usize| {
        (strangers.borrow_mut().address, strangers.borrow_mut().left) = (0, total);
        Drive {
            label,
            addresses: &addressed,
            connections: 8,
            until: Until::Empty { total },
            watched: &watched,
        }
    };
    // The same few addresses.
    for _ in 0..20 {
        drive("handstamp: a few strangers", 50).run(strangers.clone()).await?;
    }
    let before = resident_bytes(server.child.pid())?;
    let requests = addresses / BATCH;
    let figures = drive("handstamp: strangers", requests).run(strangers.clone()).await?;
    let growth = (resident_bytes(server.child.pid())? - before) / MIB;
    let what = format!("memory growth by {} failing addresses", size(addresses));
    let mut report = context.report.borrow_mut();
    report.run(
        &format!("failing validations of {} addresses, {BATCH} a request", size(addresses)),
        8,
        &figures,
    );
    let each = figures.cpu_us / f64::from(u16::try_from(BATCH)?);
    let row = Row::new(&what, "MiB", growth).at_most(ROOM);
    report.row(row.note(format!("the table takes at most 16 MiB; {each:.2} CPU us for each")));
    Ok(())
}

/// Failing validations, each of an address of its own.
struct Strangers {
    head: Head,
    address: u32,
    /// Requests.
    left: usize,
    body: Vec<u8>,
}

impl Source for Strangers {
    fn next(&mut self, out: &mut Vec<u8>) -> Option<usize> {
        self.left = self.left.checked_sub(1)?;
        self.body.clear();
        self.body.extend_from_slice(b"{\"requests\":[");
        for n in 0..BATCH {
            let [high, low] = [self.address >> 16, self.address & 0xFFFF];
            let comma = if n == 0 { "" } else { "," };
            // Writing to a Vec cannot fail.
            let _ =
                write!(self.body, "{comma}{{\"token\":\"none\",\"ip\":\"2001:db8:{high:x}:{low:x}::1\"}}");
            self.address += 1;
        }
        self.body.extend_from_slice(b"]}");
        self.head.append(&self.body, out);
        Some(BATCH)
    }

    fn check(&mut self, ticket: usize, answer: &Answer<'_>) -> std::result::Result<(), String> {
        if answer.status == 200 && count(answer.body, b"\"token_malformed\"") == ticket {
            return Ok(());
        }
        Err(answer.complaint(&format!("{ticket} refusals")))
    }
}

/// Makes an access key that may be used so often.
async fn limited_key(server: &Handstamp, rate: &str) -> Result<String> {
    let mut request = Vec::new();
    let body = format!(r#"{{"name":"limited","rate_limit":"{rate}"}}"#);
    Head::post("/v1/keys", server.address, &server.key).append(body.as_bytes(), &mut request);
    let mut connection = Connection::open(server.address).await?;
    let answer = connection.exchange(&request).await?;
    let Some(secret) = answer.text("secret") else { return Err(answer.complaint("a key").into()) };
    Ok(String::from_utf8_lossy(secret).into_owned())
}
