//! A peer: the rows and indexes of one durable creation, written to PostgreSQL in one transaction by prepared statements.
//!
//! The statements of a transaction are sent together and their answers awaited together, which is the cheapest way
//! that `tokio-postgres` has: one write and one read per transaction. The CPU time of client and server is counted,
//! because what an application pays is both.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};

use clap::Args;
use tokio::task::{JoinSet, LocalSet};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, NoTls, Statement};

use crate::Result;
use crate::disk::nanos;
use crate::drive::Figures;
use crate::population::Population;
use crate::procs::cpu_seconds;
use crate::stats::{mix, percentile};

#[derive(Args)]
pub(crate) struct Options {
    #[arg(long)]
    port: u16,
    /// Process whose CPU time, with its children's, is counted beside our own
    #[arg(long)]
    server_pid: u32,
    #[arg(long)]
    connections: usize,
    #[arg(long)]
    warm_ms: u64,
    #[arg(long)]
    measure_ms: u64,
}

/// Records with a version, facets to search by, history: the tables and indexes of the embedded store. What that store
/// also keeps per tag (how many sessions live) is left out: here all transactions would wait for the same few rows.
const SCHEMA: &str = "
    create table if not exists record (
        n bigint generated always as identity primary key, key bytea not null unique, version bigint not null,
        bucket int not null, seen bigint, forget_at bigint, facets bytea not null, body bytea not null);
    create index if not exists record_forget on record (forget_at) where forget_at is not null;
    create table if not exists facet (
        place bytea not null, value bytea not null, id bytea not null, primary key (place, value, id));
    create table if not exists event (
        position bigint generated always as identity primary key, subject bytea not null, at bigint not null,
        body bytea not null);
    create index if not exists event_subject on event (subject);
    create sequence if not exists run;";

const SESSION: &str =
    "insert into record (key, version, bucket, seen, facets, body) values ($1, 1, $2, $3, $4, $5)";
const USER: &str = "insert into record (key, version, bucket, facets, body) values ($1, 1, $2, '', $3)
    on conflict (key) do update set version = record.version + 1, body = excluded.body";
/// User, two tags, address, and when housekeeping looks again.
const FACETS: &str = "insert into facet (place, value, id) values
    ('\\x0101', $1, $6), ('\\x0102', $2, $6), ('\\x0102', $3, $6), ('\\x0103', $4, $6), ('\\x0104', $5, $6)";
const EVENT: &str = "insert into event (subject, at, body) values ($1, $2, $3)";

/// Bytes of a session's row beside its key: the facets once more, for a later change, and the session itself.
const FACET_BYTES: usize = 110;
const SESSION_BYTES: usize = 240;
/// Of a user's record, and of an event.
const USER_BYTES: usize = 60;
const EVENT_BYTES: usize = 160;

struct Shared {
    next: Cell<usize>,
    stop: Cell<bool>,
    recording: Cell<bool>,
    served: Cell<u32>,
    latencies: RefCell<Vec<u32>>,
    failure: RefCell<Option<String>>,
}

/// Runs one window and prints its figures as a line of JSON.
///
/// # Errors
/// When a connection or a transaction fails.
pub(crate) fn run(options: &Options) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let figures = LocalSet::new().block_on(&runtime, measure(options))?;
    println!("{}", serde_json::to_string(&figures)?);
    Ok(())
}

async fn measure(options: &Options) -> Result<Figures> {
    let first = reserve(options).await?;
    let shared = Rc::new(Shared {
        next: Cell::new(first),
        stop: Cell::new(false),
        recording: Cell::new(false),
        served: Cell::new(0),
        latencies: RefCell::default(),
        failure: RefCell::default(),
    });
    let mut tasks = JoinSet::new();
    for _ in 0..options.connections {
        let client = connect(options.port).await?;
        let statements = Statements::prepare(&client).await?;
        tasks.spawn_local(write(client, statements, shared.clone()));
    }
    let watched = [std::process::id(), options.server_pid];
    tokio::time::sleep(Duration::from_millis(options.warm_ms)).await;
    let (start, cpu, before) = (Instant::now(), cpu_seconds(&watched)?, shared.served.get());
    shared.recording.set(true);
    tokio::time::sleep(Duration::from_millis(options.measure_ms)).await;
    let cpu = cpu_seconds(&watched)? - cpu;
    let seconds = start.elapsed().as_secs_f64();
    let requests = f64::from(shared.served.get() - before);
    shared.recording.set(false);
    shared.stop.set(true);
    while tasks.join_next().await.is_some() {}
    if let Some(failure) = shared.failure.take() {
        return Err(failure.into());
    }
    let mut latencies = shared.latencies.take();
    latencies.sort_unstable();
    Ok(Figures {
        requests,
        seconds,
        per_second: requests / seconds,
        p50_us: percentile(&latencies, 500) / 1000.0,
        p99_us: percentile(&latencies, 990) / 1000.0,
        cpu_us: cpu * 1e6 / requests.max(1.0),
        parts_us: Vec::new(),
        load_us: 0.0,
        errors: 0,
    })
}

/// Makes the tables on the first run, and takes a range of session numbers that no other run has.
async fn reserve(options: &Options) -> Result<usize> {
    let deadline = Instant::now() + Duration::from_secs(30);
    let client = loop {
        match connect(options.port).await {
            Ok(client) => break client,
            Err(error) if Instant::now() > deadline => return Err(error),
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    };
    client.batch_execute(SCHEMA).await?;
    let run: i64 = client.query_one("select nextval('run')", &[]).await?.get(0);
    Ok(usize::try_from(run)? * 100_000_000)
}

async fn connect(port: u16) -> Result<Client> {
    let mut config = tokio_postgres::Config::new();
    config.host("127.0.0.1").port(port).user("bench").dbname("postgres");
    let (client, connection) = config.connect(NoTls).await?;
    // Ends when the client is dropped.
    tokio::task::spawn_local(async move { drop(connection.await) });
    Ok(client)
}

struct Statements {
    begin: Statement,
    session: Statement,
    user: Statement,
    facets: Statement,
    event: Statement,
    commit: Statement,
}

impl Statements {
    async fn prepare(client: &Client) -> Result<Self> {
        Ok(Self {
            begin: client.prepare("begin").await?,
            session: client.prepare(SESSION).await?,
            user: client.prepare(USER).await?,
            facets: client.prepare(FACETS).await?,
            event: client.prepare(EVENT).await?,
            commit: client.prepare("commit").await?,
        })
    }
}

type Parameter<'a> = &'a (dyn ToSql + Sync);

/// One connection: a transaction after the other.
async fn write(client: Client, statements: Statements, shared: Rc<Shared>) {
    while !shared.stop.get() {
        let turn = shared.next.get();
        shared.next.set(turn + 1);
        let index = Population::in_turn(turn, usize::MAX);
        let begun = Instant::now();
        match create(&client, &statements, index).await {
            Ok(()) => {
                shared.served.set(shared.served.get() + 1);
                if shared.recording.get() {
                    shared.latencies.borrow_mut().push(nanos(begun.elapsed()));
                }
            }
            Err(error) => {
                shared.failure.borrow_mut().get_or_insert(format!("{error}"));
                break;
            }
        }
    }
}

async fn create(
    client: &Client,
    statements: &Statements,
    index: usize,
) -> std::result::Result<(), tokio_postgres::Error> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let now = i64::try_from(now.as_millis()).unwrap_or(0);
    let due = (now + 86_400_000).to_be_bytes().to_vec();
    // Time first, as the session ids of the embedded store: the newest row is the last of the index.
    let mut key = now.to_be_bytes().to_vec();
    key.extend_from_slice(&mix(index as u64).to_be_bytes());
    let user = Population::user(index);
    let bucket = i32::try_from(mix((index / 4) as u64) & 0x3FFF).unwrap_or(0);
    let user_key = [&[1], user.as_bytes()].concat();
    let user = user.into_bytes();
    let [first, second] = Population::tags(index).map(String::into_bytes);
    let address = Population::address(index).into_bytes();
    let (facet_bytes, session_body) = (noise(index, FACET_BYTES), noise(index + 1, SESSION_BYTES));
    let (user_body, event_body) = (noise(index + 2, USER_BYTES), noise(index + 3, EVENT_BYTES));
    let session = [&key as Parameter<'_>, &bucket, &now, &facet_bytes, &session_body];
    let owner = [&user_key as Parameter<'_>, &bucket, &user_body];
    let facets = [&user as Parameter<'_>, &first, &second, &address, &due, &key];
    let event = [&key as Parameter<'_>, &now, &event_body];
    // What is awaited together is sent in the order in which it is polled.
    let outcomes = tokio::join!(
        biased;
        client.execute(&statements.begin, &[]),
        client.execute(&statements.session, &session),
        client.execute(&statements.user, &owner),
        client.execute(&statements.facets, &facets),
        client.execute(&statements.event, &event),
        client.execute(&statements.commit, &[]),
    );
    let (begun, made, counted, found, told, done) = outcomes;
    begun.and(made).and(counted).and(found).and(told).and(done).map(|_| ())
}

/// Bytes that do not compress: what is stored is encrypted.
fn noise(seed: usize, length: usize) -> Vec<u8> {
    let words = (0..length as u64).map(|word| mix((seed as u64) << 16 | word));
    words.flat_map(u64::to_be_bytes).take(length).collect()
}
