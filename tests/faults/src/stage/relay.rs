//! A slow way to the store: whatever passes waits, in order, for as long as it is told. The kernel's own (`tc netem`) is
//! missing from many kernels; this one behaves the same to both ends, but that it never loses anything.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

/// The wait, in milliseconds each way, and how much it varies.
#[derive(Clone, Default)]
pub(crate) struct Delay(Arc<[AtomicU64; 2]>);

impl Delay {
    pub(crate) fn set(&self, wait: u64, jitter: u64) {
        self.0[0].store(wait, Ordering::Relaxed);
        self.0[1].store(jitter, Ordering::Relaxed);
    }

    fn now(&self, turn: u64) -> Duration {
        let [wait, jitter] = [0, 1].map(|at: usize| self.0[at].load(Ordering::Relaxed));
        Duration::from_millis(wait + if jitter == 0 { 0 } else { turn.wrapping_mul(2_654_435_761) % jitter })
    }
}

/// Relays whoever connects to `listen` to `store`, until the runtime ends.
///
/// # Errors
/// When it cannot listen.
pub(crate) async fn relay(listen: SocketAddr, store: SocketAddr, delay: Delay) -> Result<(), String> {
    let listener = TcpListener::bind(listen).await.map_err(|why| format!("{listen}: {why}"))?;
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            let delay = delay.clone();
            tokio::spawn(async move {
                let Ok(far) = TcpStream::connect(store).await else { return };
                let _ = (near.set_nodelay(true), far.set_nodelay(true));
                let (near_in, near_out) = near.into_split();
                let (far_in, far_out) = far.into_split();
                tokio::select! {
                    () = pass(near_in, far_out, &delay) => {}
                    () = pass(far_in, near_out, &delay) => {}
                }
            });
        }
    });
    Ok(())
}

/// One direction: each piece leaves at its time, and never before the one in front of it.
async fn pass(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    delay: &Delay,
) {
    let mut queue: VecDeque<(Instant, Vec<u8>)> = VecDeque::new();
    let mut buffer = vec![0; 64 * 1024];
    let (mut turn, mut last) = (0_u64, Instant::now());
    loop {
        let due = queue.front().map(|(at, _)| *at);
        tokio::select! {
            read = from.read(&mut buffer) => {
                let Ok(count @ 1..) = read else { return };
                turn += 1;
                last = last.max(Instant::now() + delay.now(turn));
                queue.push_back((last, buffer.get(..count).unwrap_or_default().to_vec()));
            }
            () = tokio::time::sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                let Some((_, piece)) = queue.pop_front() else { continue };
                if to.write_all(&piece).await.is_err() {
                    return;
                }
            }
        }
    }
}
