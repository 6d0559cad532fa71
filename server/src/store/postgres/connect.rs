//! Connections to the server that takes writes: found among the hosts, asked what it is, and set up.
//!
//! Every connection is checked, each time: a server that was promoted is found, and one that became a standby is left.

use super::super::StoreError;
use super::address::{Address, Host, Trust};
use super::fault::{starts, words};
use super::pool::Pauses;
use super::tls::{Stream, Tls, TlsError};
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::{Notify, Semaphore};
use tokio::task::AbortHandle;
use tokio_postgres::config::SslMode;
use tokio_postgres::{Client, Config, Connection, SimpleQueryMessage, Socket};

/// How long a server may take from the first packet to the first answer.
const CONNECT: Duration = Duration::from_millis(2_000);
/// How long sent bytes may stay without an acknowledgement: a line that swallows everything is noticed then.
const UNACKNOWLEDGED: Duration = Duration::from_millis(1_800);
/// How many connections a node makes at a time. All of them at once would, where little time is to be had, all be late, and
/// late again; and of several hosts each would find out for itself which one is good.
const TOGETHER: usize = 3;
/// How long a start waits for a server that does not answer: it may be starting, too.
const START: Duration = Duration::from_secs(10);
/// The oldest version that is taken, as PostgreSQL counts.
const OLDEST: u32 = 150_000;

/// What a connection is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Purpose {
    /// Short statements.
    Short,
    /// Searches and history.
    Long,
    /// Commits.
    Writing,
    /// Migrations and partitions, which may wait for locks.
    Schema,
    /// Notifications.
    Listening,
    /// Everything into another store: not for a service.
    Moving,
}

/// Makes connections.
pub(super) struct Connector {
    address: Address,
    tls: Tls,
    /// The host that was good last.
    good: AtomicUsize,
    making: Semaphore,
    /// One of its connections holds every service off; the others need no admission.
    alone: bool,
    /// Rung when the server seems to be gone without a word.
    alarm: Notify,
}

/// What the server said of itself when it was connected.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Facts {
    /// As PostgreSQL counts: 150014 is 15.14.
    pub version: u32,
    /// What a commit waits for, as the server was configured for this role and database.
    pub synchronous_commit: String,
    /// Which host it was, with its port.
    pub host: String,
}

/// A connection that works in the background for as long as its client is used. It can be shared: what several ask goes
/// out at once, and is answered in that order.
pub(super) struct Link {
    client: Client,
    work: AbortHandle,
}

/// Why none of the hosts will do, and whether that may pass by itself.
struct Refusal {
    why: StoreError,
    passes: bool,
}

/// The same of one host, in its words.
struct No {
    why: String,
    passes: bool,
}

impl No {
    fn of(error: &tokio_postgres::Error) -> No {
        No { why: words(error), passes: starts(error) }
    }
}

/// What moves the bytes of a connection.
pub(super) type Driver = Connection<Socket, Stream<Socket>>;

impl Deref for Link {
    type Target = Client;
    fn deref(&self) -> &Client {
        &self.client
    }
}

impl Link {
    /// Cuts it at once: nobody waits for answers that do not come.
    pub(super) fn cut(&self) {
        self.work.abort();
    }
}

impl Connector {
    /// Reads the certificates to trust; nothing is connected.
    ///
    /// # Errors
    /// They cannot be read.
    pub(super) fn new(address: Address) -> Result<Arc<Connector>, TlsError> {
        Connector::with(address, false)
    }

    /// The same; `alone`: for whoever holds every service off with a [`claim`].
    ///
    /// # Errors
    /// As [`Connector::new`].
    pub(super) fn with(address: Address, alone: bool) -> Result<Arc<Connector>, TlsError> {
        let tls = Tls::new(&address.trust)?;
        Ok(Arc::new(Connector {
            address,
            tls,
            good: AtomicUsize::new(0),
            making: Semaphore::new(TOGETHER),
            alone,
            alarm: Notify::new(),
        }))
    }

    /// The name of the schema.
    pub(super) fn schema(&self) -> &str {
        &self.address.schema
    }

    /// A connection that works by itself.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]: what each host said.
    pub(super) async fn link(self: &Arc<Connector>, purpose: Purpose) -> Result<Link, StoreError> {
        let (client, driver, _) = self.raw(purpose).await?;
        Ok(self.attend(client, driver))
    }

    /// The same, with what the server says of itself.
    ///
    /// # Errors
    /// As [`Connector::link`].
    pub(super) async fn known(self: &Arc<Connector>, purpose: Purpose) -> Result<(Link, Facts), StoreError> {
        let (client, driver, facts) = self.raw(purpose).await?;
        Ok((self.attend(client, driver), facts))
    }

    /// The same, of a start: a server that does not answer yet is waited for.
    ///
    /// # Errors
    /// As [`Connector::link`].
    pub(super) async fn first(
        self: &Arc<Connector>,
        purpose: Purpose,
        seed: u64,
    ) -> Result<(Link, Facts), StoreError> {
        let mut pauses = Pauses::new(seed);
        let mut why = StoreError::Unavailable("it does not answer".to_owned());
        let attempts = async {
            loop {
                match self.made(purpose).await {
                    Ok((client, driver, facts)) => return Ok((self.attend(client, driver), facts)),
                    Err(refusal) if !refusal.passes => return Err(refusal.why),
                    Err(refusal) => why = refusal.why,
                }
                pauses.pause().await;
            }
        };
        match tokio::time::timeout(START, attempts).await {
            Ok(outcome) => outcome,
            Err(_) => Err(why),
        }
    }

    /// A connection whose driver the caller moves, to hear notifications.
    ///
    /// # Errors
    /// As [`Connector::link`].
    pub(super) async fn raw(&self, purpose: Purpose) -> Result<(Client, Driver, Facts), StoreError> {
        self.made(purpose).await.map_err(|refusal| refusal.why)
    }

    async fn made(&self, purpose: Purpose) -> Result<(Client, Driver, Facts), Refusal> {
        let hosts = &self.address.hosts;
        // Never closed, so there is always one.
        let _turn = self.making.acquire().await;
        let first = self.good.load(Ordering::Relaxed);
        let (mut failed, mut passes) = (Vec::new(), false);
        for turn in 0..hosts.len() {
            let number = (first + turn) % hosts.len();
            let Some(host) = hosts.get(number) else { continue };
            match tokio::time::timeout(CONNECT, self.one(host, purpose)).await {
                Ok(Ok(found)) => {
                    self.good.store(number, Ordering::Relaxed);
                    return Ok(found);
                }
                Ok(Err(no)) => {
                    passes |= no.passes;
                    failed.push(format!("{}: {}", host.text(), no.why));
                }
                Err(_) => {
                    passes = true;
                    failed.push(format!("{}: it does not answer", host.text()));
                }
            }
        }
        Err(Refusal { why: StoreError::Unavailable(failed.join("; ")), passes })
    }

    /// The server does not answer: all connections are cut, for none of them can be better.
    pub(super) fn ring(&self) {
        self.alarm.notify_waiters();
    }

    /// Waits for the next [`Connector::ring`].
    pub(super) async fn rung(&self) {
        self.alarm.notified().await;
    }

    fn attend(self: &Arc<Connector>, client: Client, driver: Driver) -> Link {
        let connector = Arc::clone(self);
        let work = tokio::spawn(async move {
            // Its end is told to whoever waits for an answer.
            tokio::select! {
                _ = driver => {}
                () = connector.rung() => {}
            }
        });
        Link { client, work: work.abort_handle() }
    }

    async fn one(&self, host: &Host, purpose: Purpose) -> Result<(Client, Driver, Facts), No> {
        let mut config = Config::new();
        config
            .host(&host.name)
            .port(host.port)
            .user(&self.address.user)
            .dbname(&self.address.database)
            .application_name(purpose.name())
            .connect_timeout(CONNECT)
            .tcp_user_timeout(UNACKNOWLEDGED)
            .keepalives_idle(Duration::from_secs(1))
            .keepalives_interval(Duration::from_secs(1))
            .keepalives_retries(2)
            .ssl_mode(match self.address.trust {
                Trust::Plain => SslMode::Disable,
                Trust::Verified(_) => SslMode::Require,
            });
        if let Some(password) = &self.address.password {
            config.password(password.as_bytes());
        }
        let (client, mut driver) = config.connect(self.tls.clone()).await.map_err(|why| No::of(&why))?;
        let facts = {
            // The driver is moved from here: the caller may want it.
            let set_up = self.set_up(&client, host, purpose);
            tokio::pin!(set_up);
            tokio::select! {
                facts = &mut set_up => facts.map_err(|why| No { why, passes: false })?,
                ended = &mut driver => {
                    let hung_up = || No { why: "it hung up".to_owned(), passes: true };
                    return Err(ended.err().map_or_else(hung_up, |why| No::of(&why)));
                }
            }
        };
        Ok((client, driver, facts))
    }

    /// One round trip: what the server is, and how the connection is to behave.
    async fn set_up(&self, client: &Client, host: &Host, purpose: Purpose) -> Result<Facts, String> {
        let sql = format!("{}{FACTS}, {}", self.settings(purpose), self.admission(purpose));
        let said = client.simple_query(&sql).await.map_err(|why| words(&why))?;
        let row = said.iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(row),
            _ => None,
        });
        let column = |at: usize| row.and_then(|row| row.try_get(at).ok().flatten()).unwrap_or_default();
        let facts = Facts {
            version: column(0).parse().unwrap_or(0),
            synchronous_commit: column(3).to_owned(),
            host: host.text(),
        };
        if facts.version < OLDEST {
            return Err(format!("it is PostgreSQL {}; 15 or later is needed", facts.version / 10_000));
        }
        if column(1) != "off" {
            return Err("it takes no writes (it is a standby, or was made read-only)".to_owned());
        }
        if column(2) != "UTF8" {
            return Err("the encoding of the database is not UTF8: make one with ENCODING 'UTF8'".to_owned());
        }
        if column(4) != "t" {
            return Err(
                "everything in it is being moved, or a command works on it alone, and until that has ended no service does"
                    .to_owned()
            );
        }
        if !column(5).is_empty() {
            return Err(column(5).to_owned());
        }
        Ok(facts)
    }

    /// Whether a service may work here: with the lock that whoever moves the store wants for himself, held for as long as
    /// the connection is; and what is to be said where it was moved away, also to a node that was cut off meanwhile.
    fn admission(&self, purpose: Purpose) -> String {
        if purpose == Purpose::Moving {
            return "true, NULL".to_owned();
        }
        let schema = self.schema();
        let admitted = if self.alone {
            "true".to_owned()
        } else {
            format!("pg_try_advisory_lock_shared(1213420614, hashtext('{schema}'))")
        };
        format!("{admitted}, obj_description(to_regclass('{schema}.moved_away'), 'pg_class')")
    }

    fn settings(&self, purpose: Purpose) -> String {
        let statement = purpose.longest().map_or(0, |longest| longest.as_millis());
        // Names of tables are found in the schema and nowhere else. A node that stands still in the middle of a
        // transaction loses it soon, and with it the locks that others wait for. Plans are made once, when a table may
        // still be empty: they must not change their minds about indexes.
        format!(
            "SET search_path = \"{schema}\"; SET statement_timeout = {statement};
             SET idle_in_transaction_session_timeout = 3000; SET tcp_keepalives_idle = 2;
             SET tcp_keepalives_interval = 1; SET tcp_keepalives_count = 3; SET tcp_user_timeout = 4000;
             SET TimeZone = 'UTC'; SET jit = off; SET plan_cache_mode = force_generic_plan;
             SET max_parallel_workers_per_gather = 0; SET enable_seqscan = off; SET enable_bitmapscan = off;
             SET enable_hashjoin = off; SET enable_mergejoin = off;",
            schema = self.schema()
        )
    }
}

/// Every connection of a service holds this lock with others.
const CLAIM: &str = "SELECT pg_try_advisory_lock(1213420614, hashtext($1))";

/// Whether no service works here; from then on none can, for as long as the connection is.
///
/// # Errors
/// As [`Connector::link`].
pub(super) async fn claim(link: &Link, schema: &str) -> Result<bool, StoreError> {
    let found = link.query_one(CLAIM, &[&schema]).await.and_then(|row| row.try_get(0));
    found.map_err(|why| super::fault::fault(&why))
}

const FACTS: &str = "SELECT current_setting('server_version_num'), current_setting('transaction_read_only'),
    current_setting('server_encoding'), current_setting('synchronous_commit')";

impl Purpose {
    /// What administrators see in `pg_stat_activity`.
    fn name(self) -> &'static str {
        match self {
            Purpose::Short => "handstamp short",
            Purpose::Long => "handstamp long",
            Purpose::Writing => "handstamp writing",
            Purpose::Schema => "handstamp schema",
            Purpose::Listening => "handstamp listening",
            Purpose::Moving => "handstamp moving",
        }
    }

    /// The longest that the server works at one statement.
    pub(super) fn longest(self) -> Option<Duration> {
        match self {
            Purpose::Short | Purpose::Listening => Some(Duration::from_secs(5)),
            Purpose::Long => Some(Duration::from_secs(30)),
            Purpose::Writing => Some(Duration::from_secs(10)),
            Purpose::Schema | Purpose::Moving => None,
        }
    }
}
