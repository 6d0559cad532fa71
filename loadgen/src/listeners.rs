//! A hundred real verifiers (the crate `handstamp`) that listen to one server, all in this process; what one of them is sent is counted.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use handstamp::{By, Code, Demand, Local, Verifier};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::Result;
use crate::handstamp::Handstamp;

/// How many.
pub(crate) const LISTENERS: usize = 100;
/// Between the starts of two of them: together they are as long as from one word of the server to the next.
const SPREAD: Duration = Duration::from_micros(2_500);
/// How long anything may take that has to come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Listeners {
    pub(crate) verifiers: Vec<Verifier>,
    /// Bytes that one of them was sent: the one that listens through a relay.
    pub(crate) sent: Rc<Cell<u64>>,
}

impl Listeners {
    /// Starts them, and waits until each trusts itself. To be called in a `LocalSet`.
    ///
    /// # Errors
    /// When one of them does not hear the server.
    pub(crate) async fn start(server: &Handstamp) -> Result<Self> {
        let sent = Rc::new(Cell::new(0));
        let relay = relay(server.address, sent.clone()).await?;
        let mut starting = JoinSet::new();
        for index in 0..u32::try_from(LISTENERS)? {
            let address = if index == 0 { relay } else { server.address };
            let builder = Verifier::builder(&format!("http://{address}"), &server.key);
            starting.spawn_local(async move {
                // Not all at once: what the server says four times a second it says to each at another time.
                tokio::time::sleep(SPREAD * index).await;
                let verifier = builder.build().await.map_err(|why| why.to_string())?;
                match verifier.trusted(PATIENCE).await {
                    Ok(()) => Ok(verifier),
                    Err(doubt) => Err(format!("a verifier cannot begin: {doubt}")),
                }
            });
        }
        let mut verifiers = Vec::new();
        while let Some(started) = starting.join_next().await {
            verifiers.push(started??);
        }
        let listening = server.metric("handstamp_revocation_listeners").await?;
        let all = u32::try_from(LISTENERS)?;
        if (listening - f64::from(all)).abs() > 0.5 {
            return Err(format!("{listening} listen, not {all}").into());
        }
        Ok(Self { verifiers, sent })
    }

    /// How many revocations the one holds that holds the fewest.
    pub(crate) fn fewest(&self) -> usize {
        self.verifiers.iter().map(|verifier| verifier.status().revocations).min().unwrap_or(0)
    }

    /// Waits until each holds as many.
    ///
    /// # Errors
    /// When that does not come.
    pub(crate) async fn hold(&self, count: usize) -> Result<()> {
        let begun = Instant::now();
        while self.fewest() < count {
            if begun.elapsed() > PATIENCE {
                return Err(format!("a verifier holds {} of {count} revocations", self.fewest()).into());
            }
            tokio::task::yield_now().await;
        }
        Ok(())
    }
}

/// Whether a verifier lets a token pass, by what it knows itself.
///
/// # Errors
/// When it says neither that it passes nor that its session was ended.
pub(crate) fn passes(verifier: &Verifier, token: &str) -> Result<bool> {
    match verifier.verify_now(token, &Demand::default()) {
        Local::Verified(_) => Ok(true),
        Local::Refused(refused) if refused.code == Code::SessionRevoked && refused.by == By::Verifier => {
            Ok(false)
        }
        Local::Refused(refused) => Err(format!("a token was refused as {}", refused.code.text()).into()),
        Local::AskServer(doubt) => Err(format!("a verifier does not trust itself: {doubt}").into()),
    }
}

/// Hands on what is sent in both directions, and counts what comes from the server.
async fn relay(server: SocketAddr, sent: Rc<Cell<u64>>) -> Result<SocketAddr> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    tokio::task::spawn_local(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::task::spawn_local(hand_on(client, server, sent.clone()));
        }
    });
    Ok(address)
}

async fn hand_on(client: TcpStream, server: SocketAddr, sent: Rc<Cell<u64>>) -> std::io::Result<()> {
    let server = TcpStream::connect(server).await?;
    for stream in [&client, &server] {
        stream.set_nodelay(true)?;
    }
    let ((mut from_client, mut to_client), (mut from_server, mut to_server)) =
        (client.into_split(), server.into_split());
    let asked = async move { tokio::io::copy(&mut from_client, &mut to_server).await };
    let answered = async move {
        let mut part = vec![0; 64 * 1024];
        loop {
            let read = from_server.read(&mut part).await?;
            if read == 0 {
                return Ok::<_, std::io::Error>(());
            }
            to_client.write_all(part.get(..read).unwrap_or_default()).await?;
            sent.set(sent.get() + u64::try_from(read).unwrap_or(0));
        }
    };
    // Either side may end it.
    tokio::select! {
        done = asked => done.map(drop),
        done = answered => done,
    }
}
