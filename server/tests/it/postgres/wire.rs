//! A line between store and server that a test can let swallow everything, or cut.

use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What the line does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Mode {
    /// Passes everything on.
    Open,
    /// Takes everything, also new connections, and passes nothing on.
    Swallows,
    /// Hangs up.
    Cut,
}

/// A line to one port. It ends with the runtime that it was made in.
pub(crate) struct Wire {
    port: u16,
    mode: Arc<watch::Sender<Mode>>,
}

impl Wire {
    /// To this port of the loopback.
    pub(crate) async fn to(target: u16) -> Wire {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let mode = Arc::new(watch::channel(Mode::Open).0);
        let modes = mode.clone();
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                tokio::spawn(carry(near, target, modes.subscribe()));
            }
        });
        Wire { port, mode }
    }

    /// Where it begins.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Nothing passes, and nobody is told.
    pub(crate) fn swallow(&self) {
        self.mode.send_replace(Mode::Swallows);
    }

    /// All connections end, and new ones at once.
    pub(crate) fn cut(&self) {
        self.mode.send_replace(Mode::Cut);
    }

    /// Everything passes. What was swallowed is not lost: it comes late.
    pub(crate) fn mend(&self) {
        self.mode.send_replace(Mode::Open);
    }
}

async fn carry(near: TcpStream, target: u16, mode: watch::Receiver<Mode>) {
    let mut cuts = mode.clone();
    tokio::select! {
        _ = pass(near, target, mode) => {}
        _ = cuts.wait_for(|mode| *mode == Mode::Cut) => {}
    }
}

/// Until one side hangs up.
async fn pass(mut near: TcpStream, target: u16, mut mode: watch::Receiver<Mode>) -> Option<()> {
    mode.wait_for(|mode| *mode == Mode::Open).await.ok()?;
    let mut far = TcpStream::connect(("127.0.0.1", target)).await.ok()?;
    near.set_nodelay(true).ok()?;
    far.set_nodelay(true).ok()?;
    let (mut up, mut down) = ([0; 16_384], [0; 16_384]);
    loop {
        tokio::select! {
            read = near.read(&mut up) => {
                let read = read.ok().filter(|read| *read > 0)?;
                mode.wait_for(|mode| *mode == Mode::Open).await.ok()?;
                far.write_all(&up[..read]).await.ok()?;
            }
            read = far.read(&mut down) => {
                let read = read.ok().filter(|read| *read > 0)?;
                mode.wait_for(|mode| *mode == Mode::Open).await.ok()?;
                near.write_all(&down[..read]).await.ok()?;
            }
        }
    }
}
