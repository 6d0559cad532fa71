//! Connections to the server that takes writes: found among the hosts, asked what it is, and set up.
//!
//! Every connection is checked, each time: a server that was promoted is found, and one that became a standby is left.

use super::super::StoreError;
use super::address::{Address, Host, Trust};
use super::fault::words;
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
        let tls = Tls::new(&address.trust)?;
        Ok(Arc::new(Connector {
            address,
            tls,
            good: AtomicUsize::new(0),
            making: Semaphore::new(TOGETHER),
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
        let (link, _) = self.known(purpose).await?;
        Ok(link)
    }

    /// The same, with what the server says of itself.
    ///
    /// # Errors
    /// As [`Connector::link`].
    pub(super) async fn known(self: &Arc<Connector>, purpose: Purpose) -> Result<(Link, Facts), StoreError> {
        let (client, driver, facts) = self.raw(purpose).await?;
        Ok((self.attend(client, driver, &facts), facts))
    }

    /// A connection whose driver the caller moves, to hear notifications.
    ///
    /// # Errors
    /// As [`Connector::link`].
    pub(super) async fn raw(&self, purpose: Purpose) -> Result<(Client, Driver, Facts), StoreError> {
        let hosts = &self.address.hosts;
        // Never closed, so there is always one.
        let _turn = self.making.acquire().await;
        let first = self.good.load(Ordering::SeqCst);
        let (mut failed, mut standby, mut silent) = (Vec::new(), false, false);
        for turn in 0..hosts.len() {
            let number = (first + turn) % hosts.len();
            let Some(host) = hosts.get(number) else { continue };
            match tokio::time::timeout(CONNECT, self.one(host, purpose)).await {
                Ok(Ok(found)) => {
                    if self.good.swap(number, Ordering::SeqCst) != number {
                        // What was connected to another one must not stay there: it may live on, and know nothing new.
                        self.ring();
                    }
                    return Ok(found);
                }
                Ok(Err(why)) => {
                    standby |= why == NO_WRITES;
                    failed.push(format!("{}: {why}", host.text()));
                }
                Err(_) => {
                    silent = true;
                    failed.push(format!("{}: it does not answer", host.text()));
                }
            }
        }
        if standby && !silent {
            // Nor is there any behind connections from before, though it may still answer them.
            self.ring();
        }
        Err(StoreError::Unavailable(failed.join("; ")))
    }

    /// The server does not answer: all connections are cut, for none of them can be better.
    pub(super) fn ring(&self) {
        self.alarm.notify_waiters();
    }

    /// Waits for the next [`Connector::ring`] since the call; for none where another host has been found since the
    /// connection with these facts was made.
    pub(super) fn rung(&self, facts: &Facts) -> impl Future<Output = ()> + Send + use<'_> {
        // It hears from now on, also before it is waited for: so no ring comes between it and the look.
        let alarm = self.alarm.notified();
        let left = self.is_left(facts);
        async move {
            if !left {
                alarm.await;
            }
        }
    }

    /// Whether another host was found after the connection with these facts was made.
    pub(super) fn is_left(&self, facts: &Facts) -> bool {
        let good = self.address.hosts.get(self.good.load(Ordering::SeqCst));
        good.is_none_or(|good| good.text() != facts.host)
    }

    fn attend(self: &Arc<Connector>, client: Client, driver: Driver, facts: &Facts) -> Link {
        let (connector, facts) = (Arc::clone(self), facts.clone());
        let work = tokio::spawn(async move {
            // Its end is told to whoever waits for an answer.
            tokio::select! {
                _ = driver => {}
                () = connector.rung(&facts) => {}
            }
        });
        Link { client, work: work.abort_handle() }
    }

    async fn one(&self, host: &Host, purpose: Purpose) -> Result<(Client, Driver, Facts), String> {
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
        let (client, mut driver) = config.connect(self.tls.clone()).await.map_err(|why| words(&why))?;
        let facts = {
            // The driver is moved from here: the caller may want it.
            let set_up = self.set_up(&client, host, purpose);
            tokio::pin!(set_up);
            tokio::select! {
                facts = &mut set_up => facts?,
                ended = &mut driver => return Err(ended.err().map_or("it hung up".to_owned(), |why| words(&why))),
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
            return Err(NO_WRITES.to_owned());
        }
        if column(2) != "UTF8" {
            return Err("the encoding of the database is not UTF8: make one with ENCODING 'UTF8'".to_owned());
        }
        if column(4) != "t" {
            return Err(
                "everything in it is being moved, and until that has ended no service works on it".to_owned()
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
        format!(
            "pg_try_advisory_lock_shared(1213420614, hashtext('{schema}')),
             obj_description(to_regclass('{schema}.moved_away'), 'pg_class')"
        )
    }

    fn settings(&self, purpose: Purpose) -> String {
        let statement = purpose.longest().map_or(0, |longest| longest.as_millis());
        // Names of tables are found in the schema and nowhere else. A node that stands still in the middle of a
        // transaction loses it soon, and with it the locks that others wait for. Plans are made once, when a table may
        // still be empty: they must not change their minds about indexes. What the database's owner has chosen for others
        // decides nothing: each statement of a commit must see what was committed before it.
        format!(
            "SET search_path = \"{schema}\"; SET statement_timeout = {statement};
             SET default_transaction_isolation = 'read committed'; SET lock_timeout = 0;
             SET idle_in_transaction_session_timeout = 3000; SET tcp_keepalives_idle = 2;
             SET tcp_keepalives_interval = 1; SET tcp_keepalives_count = 3; SET tcp_user_timeout = 4000;
             SET TimeZone = 'UTC'; SET jit = off; SET plan_cache_mode = force_generic_plan;
             SET max_parallel_workers_per_gather = 0; SET enable_seqscan = off; SET enable_bitmapscan = off;
             SET enable_hashjoin = off; SET enable_mergejoin = off;",
            schema = self.schema()
        )
    }
}

/// What is said of a server that may be read and no more.
const NO_WRITES: &str = "it takes no writes (it is a standby, or was made read-only)";

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
