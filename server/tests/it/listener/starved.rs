//! A process without free file descriptors: it waits for one, without spinning, and goes on when it has one.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::task::spawn_blocking;
use tokio::time::{interval, timeout};

use super::{Client, Server, limits, soon};

/// Runs in a process of its own, started by the test below under a low limit of open files.
#[tokio::test]
#[ignore = "a helper process of the test below, not a test"]
async fn starved_server() {
    let server = Server::start(limits()).await;
    println!("\nport={}", server.address.port());
    // Until the test closes this process's standard input.
    let _ = spawn_blocking(|| std::io::stdin().read(&mut [0])).await;
}

/// The helper process; ends with the test.
struct Helper(Child);

impl Drop for Helper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// User and system time of a process so far, in hundredths of a second.
fn cpu(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

#[tokio::test]
async fn without_file_descriptors_it_waits_and_recovers() {
    let mut helper = Command::new("sh")
        .args(["-c", r#"ulimit -n 40 && exec "$0" --ignored --nocapture --exact "$1""#])
        .arg(std::env::current_exe().unwrap())
        .arg("listener::starved::starved_server")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map(Helper)
        .unwrap();
    let said = BufReader::new(helper.0.stdout.take().unwrap());
    let port = spawn_blocking(|| {
        said.lines()
            .find_map(|line| line.unwrap().strip_prefix("port=").map(|port| port.parse::<u16>().unwrap()))
    });
    let port = soon("the port", port).await.unwrap().expect("the helper to say its port");

    let connect = || async { Client(TcpStream::connect(("127.0.0.1", port)).await.unwrap()) };
    // The kernel completes these connections; the process cannot accept all of them.
    let mut clients = Vec::new();
    for _ in 0..60 {
        clients.push(connect().await);
    }
    assert_eq!(clients[0].get("/").await.status, 200);
    let mut last = clients.pop().unwrap();
    last.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    let nothing = timeout(Duration::from_millis(500), last.0.read_u8()).await;
    assert!(nothing.is_err(), "the limit of open files was meant to be reached");

    // A loop that tries again at once would use nearly all of this second.
    let pid = helper.0.id();
    let before = cpu(pid);
    let mut second = interval(Duration::from_secs(1));
    second.tick().await;
    second.tick().await;
    let used = cpu(pid) - before;
    assert!(used < 30, "{used} hundredths of a second of CPU in one second of waiting");

    drop(clients);
    assert_eq!(last.answer().await.status, 200);
    assert_eq!(connect().await.get("/").await.status, 200);
}
