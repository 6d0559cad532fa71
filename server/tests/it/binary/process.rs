//! A server as a process, a directory that goes with its test, and a client that is a socket.

use serde_json::{Value as Json, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// For deadlines and measurements.
#[expect(clippy::disallowed_methods, reason = "a test measures how long a process takes")]
pub(crate) fn clock() -> Instant {
    Instant::now()
}

/// Waits until something is so, and no longer than any machine would take.
#[expect(clippy::disallowed_methods, reason = "between two looks at a condition, with a deadline")]
pub(crate) fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let began = clock();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < Duration::from_secs(20), "{what} did not happen");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A directory for one test, with room for a data directory, a configuration and backups.
pub(crate) struct Place(PathBuf);

impl Place {
    pub(crate) fn new() -> Place {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("binary-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Place(path)
    }
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
    pub(crate) fn data(&self) -> PathBuf {
        self.path("data")
    }
    pub(crate) fn configure(&self, text: &str) {
        std::fs::write(self.path("handstamp.toml"), text).unwrap();
    }

    /// `handstamp` with these words and no others, in this place.
    pub(crate) fn plain(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_handstamp"));
        command.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin").current_dir(&self.0).args(words);
        command
    }
    /// `handstamp` with these words, on this place's data and configuration.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        if !self.path("handstamp.toml").exists() {
            self.configure("");
        }
        let mut command = self.plain(&["--listen", "127.0.0.1:0", "--config"]);
        command.arg(self.path("handstamp.toml")).arg("--data-dir").arg(self.data()).args(words);
        command
    }
    /// Runs a command to its end.
    pub(crate) fn run(&self, words: &[&str]) -> Ran {
        Ran::of(self.command(words).output().unwrap())
    }
    pub(crate) fn serve(&self) -> Server {
        Server::start(self.command(&["serve"]), self).unwrap_or_else(|ran| panic!("{ran:?}"))
    }
    /// A start that fails.
    pub(crate) fn does_not_serve(&self) -> Ran {
        match Server::start(self.command(&["serve"]), self) {
            Ok(_) => panic!("it serves"),
            Err(ran) => ran,
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What a command said.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    pub(crate) fn of(output: Output) -> Ran {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Ran { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }
    #[track_caller]
    pub(crate) fn done(self) -> String {
        assert_eq!(self.code, Some(0), "{}{}", self.out, self.err);
        format!("{}{}", self.out, self.err)
    }
    /// It failed, with code 1, and said all of this.
    #[track_caller]
    pub(crate) fn failed(self, words: &[&str]) {
        assert_eq!(self.code, Some(1), "{}{}", self.out, self.err);
        for word in words {
            assert!(self.err.contains(word), "`{word}` is not said: {}", self.err);
        }
        assert!(!self.err.contains("panicked"), "{}", self.err);
    }
}

/// A server that runs.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: String,
    pub(crate) key: String,
    /// Everything it printed until it listened.
    pub(crate) welcome: String,
    pub(crate) took: Duration,
    log: PathBuf,
}

impl Server {
    /// Starts it and waits until it says where it listens. `Err`: it ended instead.
    pub(crate) fn start(mut command: Command, place: &Place) -> Result<Server, Ran> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let log = place.path(&format!("log-{}", NUMBER.fetch_add(1, Ordering::Relaxed)));
        let began = clock();
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(&log).unwrap())
            .spawn();
        let mut server = Server {
            child: child.unwrap(),
            address: String::new(),
            key: String::new(),
            welcome: String::new(),
            took: Duration::ZERO,
            log,
        };
        let mut lines = BufReader::new(server.child.stdout.take().unwrap());
        loop {
            let before = server.welcome.len();
            if lines.read_line(&mut server.welcome).unwrap() == 0 {
                let code = server.child.wait().unwrap().code();
                return Err(Ran { code, out: std::mem::take(&mut server.welcome), err: server.log() });
            }
            let line = server.welcome[before..].trim();
            // With --json it says so in an object.
            let object: Json = serde_json::from_str(line).unwrap_or_default();
            let url = object["address"].as_str().or_else(|| line.strip_prefix("listening on "));
            if let Some(address) = url.and_then(|url| url.strip_prefix("http://")) {
                server.address = address.to_owned();
                server.took = began.elapsed();
                let key = std::fs::read_to_string(place.data().join("access.key")).unwrap_or_default();
                key.trim().clone_into(&mut server.key);
                return Ok(server);
            }
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).unwrap();
    }
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }
    /// Waits for its end: the exit code and what it logged.
    pub(crate) fn ended(mut self) -> (Option<i32>, String) {
        let code = eventually("the end of the server", || self.child.try_wait().unwrap());
        (code.code(), self.log())
    }
    pub(crate) fn stop(self) -> String {
        self.signal(rustix::process::Signal::TERM);
        let (code, log) = self.ended();
        assert_eq!(code, Some(0), "{log}");
        log
    }
    /// No goodbye.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) fn client(&self) -> Client {
        Client { address: self.address.clone(), key: self.key.clone(), socket: None }
    }
    /// One call that the server answers.
    #[track_caller]
    pub(crate) fn call(&self, method: &str, path: &str, body: Option<Json>) -> (u16, Json) {
        self.client().call(method, path, body.as_ref()).expect("no answer")
    }
    #[track_caller]
    pub(crate) fn create(&self, user: &str) -> (String, String) {
        let (status, made) =
            self.call("POST", "/v1/sessions", Some(json!({"user_id": user, "tags": ["a:b"]})));
        assert_eq!(status, 201, "{made}");
        let text = |json: &Json| json.as_str().unwrap().to_owned();
        (text(&made["session"]["id"]), text(&made["token"]))
    }
    /// `None`: it may pass.
    #[track_caller]
    pub(crate) fn validate(&self, token: &str) -> Option<String> {
        let (status, said) = self.call("POST", "/v1/sessions/validate", Some(json!({"token": token})));
        assert_eq!(status, 200, "{said}");
        said["code"].as_str().map(str::to_owned)
    }
    #[track_caller]
    pub(crate) fn get(&self, id: &str) -> Json {
        let (status, found) = self.call("GET", &format!("/v1/sessions/{id}"), None);
        assert_eq!(status, 200, "{found}");
        found
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One connection, kept open.
pub(crate) struct Client {
    address: String,
    key: String,
    socket: Option<BufReader<TcpStream>>,
}

impl Client {
    /// Status and body; an error when the answer did not come whole.
    pub(crate) fn call(
        &mut self,
        method: &str,
        path: &str,
        body: Option<&Json>,
    ) -> std::io::Result<(u16, Json)> {
        let outcome = self.attempt(method, path, body);
        if outcome.is_err() {
            self.socket = None;
        }
        outcome
    }

    fn attempt(&mut self, method: &str, path: &str, body: Option<&Json>) -> std::io::Result<(u16, Json)> {
        if self.socket.is_none() {
            let socket = TcpStream::connect(&self.address)?;
            socket.set_nodelay(true)?;
            socket.set_read_timeout(Some(Duration::from_secs(30)))?;
            self.socket = Some(BufReader::new(socket));
        }
        let socket = self.socket.as_mut().unwrap();
        let body = body.map(Json::to_string).unwrap_or_default();
        let kind = if body.is_empty() { "" } else { "Content-Type: application/json\r\n" };
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\n{kind}Content-Length: {}\r\n\r\n{body}",
            self.address,
            self.key,
            body.len()
        );
        socket.get_mut().write_all(request.as_bytes())?;
        let mut line = String::new();
        socket.read_line(&mut line)?;
        let cut = || std::io::Error::other("the answer is cut short");
        let status = line.split(' ').nth(1).and_then(|code| code.parse().ok()).ok_or_else(cut)?;
        let (mut length, mut close) = (0, false);
        loop {
            let mut line = String::new();
            if socket.read_line(&mut line)? == 0 {
                return Err(cut());
            }
            let line = line.trim().to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(text) = line.strip_prefix("content-length:") {
                length = text.trim().parse().map_err(|_| cut())?;
            }
            close |= line == "connection: close";
        }
        let mut bytes = vec![0; length];
        socket.read_exact(&mut bytes)?;
        if close {
            self.socket = None;
        }
        Ok((status, serde_json::from_slice(&bytes).unwrap_or(Json::Null)))
    }
}
