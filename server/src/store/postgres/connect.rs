//! Connections to the server that takes writes: found among the hosts, asked what it is, and set up.
//!
//! Every connection is checked, each time: a server that was promoted is found, and one that became a standby is left.

use super::super::StoreError;
use super::address::{Address, Host, Trust};
use super::fault::{starts, words};
use super::pool::Pauses;
pub(super) use super::purpose::Purpose;
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
/// How long a start waits for a server that does not answer, or takes no writes: it may be starting, too, or be promoted.
const START: Duration = Duration::from_secs(10);
/// The oldest version that is taken, as PostgreSQL counts.
const OLDEST: u32 = 150_000;

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

    /// It takes somebody to mend it.
    fn stays(why: impl Into<String>) -> No {
        No { why: why.into(), passes: false }
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
                    Ok((client, driver, facts)) => {
                        return Ok((self.attend(client, driver, &facts), facts));
                    }
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
        let first = self.good.load(Ordering::SeqCst);
        let (mut failed, mut standby, mut silent, mut passes) = (Vec::new(), false, false, false);
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
                Ok(Err(no)) => {
                    standby |= no.why == NO_WRITES;
                    passes |= no.passes;
                    failed.push(format!("{}: {}", host.text(), no.why));
                }
                Err(_) => {
                    (silent, passes) = (true, true);
                    failed.push(format!("{}: it does not answer", host.text()));
                }
            }
        }
        if standby && !silent {
            // Nor is there any behind connections from before, though it may still answer them.
            self.ring();
        }
        Err(Refusal { why: StoreError::Unavailable(failed.join("; ")), passes })
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
                facts = &mut set_up => facts?,
                ended = &mut driver => {
                    let hung_up = || No { why: "it hung up".to_owned(), passes: true };
                    return Err(ended.err().map_or_else(hung_up, |why| No::of(&why)));
                }
            }
        };
        Ok((client, driver, facts))
    }

    /// One round trip: what the server is, and how the connection is to behave.
    async fn set_up(&self, client: &Client, host: &Host, purpose: Purpose) -> Result<Facts, No> {
        let sql = format!("{}{FACTS}, {}", purpose.settings(self.schema()), self.admission(purpose));
        let said = client.simple_query(&sql).await.map_err(|why| No::of(&why))?;
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
            return Err(No::stays(format!(
                "it is PostgreSQL {}; 15 or later is needed",
                facts.version / 10_000
            )));
        }
        if column(1) != "off" {
            // In a failover nobody takes writes for a while.
            return Err(No { why: NO_WRITES.to_owned(), passes: true });
        }
        if column(2) != "UTF8" {
            return Err(No::stays("the encoding of the database is not UTF8: make one with ENCODING 'UTF8'"));
        }
        if column(4) != "t" && self.alone {
            return Err(No::stays("it is held alone no more: run this again"));
        }
        if column(4) != "t" {
            return Err(No::stays(
                "everything in it is being moved, or a command works on it alone, and until that has ended no service does",
            ));
        }
        if !column(5).is_empty() {
            return Err(No::stays(column(5)));
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
        // Who holds the others off sees that nobody could have it with others: so that is still so.
        let not = if self.alone { "NOT " } else { "" };
        let admitted = format!("{not}pg_try_advisory_lock_shared(1213420614, hashtext('{schema}'))");
        format!("{admitted}, obj_description(to_regclass('{schema}.moved_away'), 'pg_class')")
    }
}

/// What is said of a server that may be read and no more.
const NO_WRITES: &str = "it takes no writes (it is a standby, or was made read-only)";

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
