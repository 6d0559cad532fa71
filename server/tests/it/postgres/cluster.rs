//! A PostgreSQL server of a test's own: on a free port of the loopback, in a folder that goes with it.
//!
//! `initdb` runs once for each target directory, and is copied from there. The server is the child of a small shell that
//! reads from a pipe of the test: when the test ends, however it ends, the pipe does, and the shell stops the server and
//! removes the folder. Every commit is synced, as in life.

use crate::binary::process::eventually;
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock};
use tokio_postgres::{Client, NoTls};

/// Where Debian keeps a folder for each major version.
const VERSIONS: &str = "/usr/lib/postgresql";
/// Of both roles.
pub(crate) const PASSWORD: &str = "pa55-Wort";
/// Counts the contents of the template: another number makes a new one.
const TEMPLATE: u32 = 2;
/// Commits are synced.
const SETTINGS: &[&str] = &[
    "listen_addresses=127.0.0.1",
    "unix_socket_directories=",
    "shared_buffers=32MB",
    "max_connections=120",
    "fsync=on",
    "log_min_messages=warning",
    "log_line_prefix=%m [%p] ",
    "password_encryption=scram-sha-256",
];

/// How a server is stopped.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Stop {
    /// Its clients are sent away, and everything is written.
    Fast,
    /// As when the power goes: nothing is written any more, and the next start recovers.
    Kill,
}

/// A server. It ends with its owner.
pub(crate) struct Cluster {
    folder: PathBuf,
    port: u16,
    settings: Vec<String>,
    keeper: Mutex<Option<Child>>,
}

/// One for all cases of this process that leave it as it is.
pub(crate) fn shared() -> &'static Cluster {
    static SHARED: OnceLock<Cluster> = OnceLock::new();
    SHARED.get_or_init(Cluster::start)
}

impl Cluster {
    /// A fresh one.
    pub(crate) fn start() -> Cluster {
        Cluster::start_with(&[], |_| {})
    }

    /// A fresh one with settings (`name=value`), after its folder was changed by `prepare`; [`Cluster::give`] gives
    /// files to whom the server runs as.
    pub(crate) fn start_with(settings: &[&str], prepare: impl FnOnce(&Path)) -> Cluster {
        let template = template();
        let folder = folder();
        ran(Command::new("cp").arg("-a").arg(&template).arg(folder.join("data")));
        prepare(&folder.join("data"));
        Cluster::launch(folder, settings)
    }

    /// One that follows another, and takes no writes until it is promoted.
    pub(crate) fn standby_of(primary: &Cluster) -> Cluster {
        let folder = folder();
        let mut copy = own(Command::new(program("pg_basebackup")));
        copy.env("PGPASSWORD", PASSWORD).args([
            "-h",
            "127.0.0.1",
            "-U",
            "postgres",
            "-R",
            "-c",
            "fast",
            "-X",
            "stream",
        ]);
        ran(copy
            .arg("-p")
            .arg(primary.port.to_string())
            .arg("-D")
            .arg(folder.join("data"))
            .current_dir(&folder));
        Cluster::launch(folder, &["hot_standby=on"])
    }

    fn launch(folder: PathBuf, settings: &[&str]) -> Cluster {
        let settings = settings.iter().map(|setting| (*setting).to_owned()).collect();
        let mut cluster = Cluster { folder, port: 0, settings, keeper: Mutex::new(None) };
        eventually("a free port", || {
            cluster.port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            match cluster.begin() {
                Ok(()) => Some(()),
                // Somebody else was faster.
                Err(why) => {
                    assert!(why.contains("could not bind"), "PostgreSQL does not start: {why}");
                    None
                }
            }
        });
        cluster
    }

    /// Starts it again, where it was.
    pub(crate) fn again(&self) {
        eventually("another start of PostgreSQL", || match self.begin() {
            Ok(()) => Some(()),
            Err(why) => {
                // After a kill, processes that served clients may be about to notice.
                assert!(why.contains("still in use"), "PostgreSQL does not start again: {why}");
                None
            }
        });
    }

    /// Stops it; its data stay for [`Cluster::again`].
    pub(crate) fn stop(&self, how: Stop) {
        let Some(mut keeper) = self.keeper.lock().unwrap().take() else { return };
        let word = match how {
            Stop::Fast => "INT",
            Stop::Kill => "KILL",
        };
        let mut pipe = keeper.stdin.take().unwrap();
        writeln!(pipe, "{word}").unwrap();
        drop(pipe);
        keeper.wait().unwrap();
    }

    /// Closes the pipe and waits for nobody, as a test does that dies.
    pub(crate) fn let_go(&self) {
        self.keeper.lock().unwrap().take().map(|mut keeper| keeper.stdin.take());
    }

    /// Where it listens, on 127.0.0.1.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Its data directory.
    pub(crate) fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// What it wrote of itself.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    /// The address of a fresh, empty place in it: a schema that nobody uses.
    pub(crate) fn fresh(&self) -> String {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        self.address(&format!("case_{}", NUMBER.fetch_add(1, Ordering::Relaxed)))
    }

    /// The address of the schema, as the service is told it. The role owns the database and is no superuser.
    pub(crate) fn address(&self, schema: &str) -> String {
        format!(
            "postgres://handstamp:{PASSWORD}@127.0.0.1:{}/handstamp?sslmode=disable&schema={schema}",
            self.port
        )
    }

    /// A connection as the service has it.
    pub(crate) async fn client(&self) -> Client {
        self.connect("handstamp", "handstamp").await
    }

    /// A connection that may do anything.
    pub(crate) async fn admin(&self) -> Client {
        self.connect("postgres", "handstamp").await
    }

    async fn connect(&self, role: &str, database: &str) -> Client {
        let mut config = tokio_postgres::Config::new();
        config.host("127.0.0.1").port(self.port).user(role).password(PASSWORD).dbname(database);
        let (client, connection) = config.connect(NoTls).await.unwrap();
        tokio::spawn(async move {
            // Its end is told to who uses the client.
            let _ = connection.await;
        });
        client
    }

    /// Gives a file or folder to whom the server runs as.
    pub(crate) fn give(path: &Path) {
        if let Some((uid, gid)) = runs_as() {
            chown(path, Some(uid), Some(gid)).unwrap();
        }
    }

    /// Starts it; what it says when it does not.
    fn begin(&self) -> Result<(), String> {
        // A word says how it ends, and leaves the folder; without one the test is over.
        let script = r#"
            "$0" -D "$1/data" "${@:2}" >>"$1/log" 2>&1 </dev/null &
            server=$!
            read -r word
            kill -s "${word:-QUIT}" "$server"
            wait "$server"
            [[ $word ]] || rm -rf "$1"
        "#;
        let mut command = own(Command::new("bash"));
        command.args(["-c", script]).arg(program("postgres")).arg(&self.folder);
        let port = format!("port={}", self.port);
        let settings = SETTINGS.iter().copied().chain([port.as_str()]);
        for setting in settings.chain(self.settings.iter().map(String::as_str)) {
            command.args(["-c", setting]);
        }
        // Its eighth line says how far the server is, the first one which process it is.
        let state = || {
            let text = std::fs::read_to_string(self.data().join("postmaster.pid")).unwrap_or_default();
            let lines: Vec<&str> = text.lines().map(str::trim).collect();
            (lines.first().map(|id| (*id).to_owned()), lines.get(7) == Some(&"ready"))
        };
        let (before, said) = (state().0, self.log().len());
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let keeper = command.spawn().unwrap();
        let began = eventually("a start of PostgreSQL", || {
            let log = self.log();
            // What is said to clients that come too early, and to those of a server that was killed, is about them.
            let of_clients = ["the database system is", "terminating connection"];
            let fatal =
                |line: &&str| line.contains("FATAL") && !of_clients.iter().any(|said| line.contains(said));
            let why = log.get(said..).unwrap_or_default();
            if why.lines().any(|line| fatal(&line)) {
                return Some(Err(why.to_owned()));
            }
            let (id, ready) = state();
            (ready && id != before).then_some(Ok(()))
        });
        *self.keeper.lock().unwrap() = Some(keeper);
        if began.is_err() {
            self.stop(Stop::Kill);
        }
        began
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        match self.keeper.get_mut().unwrap().take() {
            // The end of the pipe is what it waits for.
            Some(mut keeper) => {
                drop(keeper.stdin.take());
                let _ = keeper.wait();
            }
            None => drop(std::fs::remove_dir_all(&self.folder)),
        }
    }
}

/// A fresh folder of whom the server runs as.
fn folder() -> PathBuf {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let folder = std::env::temp_dir().join(format!("handstamp-pg-{}-{number}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir(&folder).unwrap();
    Cluster::give(&folder);
    folder
}

/// A data directory as it is before the first start: two roles, one database.
fn template() -> PathBuf {
    let name = format!("postgres-{}-{TEMPLATE}", version());
    let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join(&name);
    if kept.exists() {
        return kept;
    }
    let made = std::env::temp_dir().join(format!("handstamp-{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&made);
    std::fs::create_dir(&made).unwrap();
    std::fs::write(made.join("password"), PASSWORD).unwrap();
    Cluster::give(&made);
    Cluster::give(&made.join("password"));
    let data = made.join("data");
    let mut init = own(Command::new(program("initdb")));
    init.arg("-D").arg(&data).arg("--pwfile").arg(made.join("password")).args([
        "--no-sync",
        "--encoding=UTF8",
        "--locale=C.UTF-8",
        "--wal-segsize=1",
        "--username=postgres",
        "--auth=scram-sha-256",
    ]);
    ran(init.current_dir(&made));
    let mut single = own(Command::new(program("postgres")));
    single.args(["--single", "-j", "-D"]).arg(&data).arg("postgres").current_dir(&made);
    let mut single =
        single.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let sql = format!(
        "CREATE ROLE handstamp LOGIN PASSWORD '{PASSWORD}';\n\nCREATE DATABASE handstamp OWNER handstamp;\n\n"
    );
    single.stdin.take().unwrap().write_all(sql.as_bytes()).unwrap();
    let single = single.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&single.stderr).into_owned();
    assert!(single.status.success() && !said.contains("ERROR"), "{said}");
    // Whole or not there: another process may do the same.
    let copy = kept.with_extension(std::process::id().to_string());
    ran(Command::new("cp").arg("-a").arg(&data).arg(&copy));
    if std::fs::rename(&copy, &kept).is_err() {
        let _ = std::fs::remove_dir_all(&copy);
    }
    let _ = std::fs::remove_dir_all(&made);
    assert!(kept.exists());
    kept
}

/// The major version: 15, the oldest that the store takes, or what is there instead.
fn version() -> u32 {
    let found = std::fs::read_dir(VERSIONS).into_iter().flatten();
    let names = found.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    names.min().expect("PostgreSQL is not installed: apt-get install postgresql")
}

/// One of PostgreSQL's programs.
pub(crate) fn program(name: &str) -> PathBuf {
    Path::new(VERSIONS).join(version().to_string()).join("bin").join(name)
}

/// A command of whom the server runs as, that leaves the test's group and knows nothing of the test's environment.
fn own(mut command: Command) -> Command {
    if let Some((uid, gid)) = runs_as() {
        command.uid(uid).gid(gid);
    }
    // Who ends the test's group must not end what cleans up after it.
    command.process_group(0).env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin").env("TZ", "UTC");
    command
}

/// PostgreSQL does not run as root: then it is the user that Debian's package makes.
fn runs_as() -> Option<(u32, u32)> {
    if std::fs::metadata("/proc/self").unwrap().uid() != 0 {
        return None;
    }
    let users = std::fs::read_to_string("/etc/passwd").unwrap();
    let user = users.lines().find(|line| line.starts_with("postgres:"));
    let parts: Vec<&str> = user.expect("Debian's postgresql makes a user postgres").split(':').collect();
    Some((parts[2].parse().unwrap(), parts[3].parse().unwrap()))
}

fn ran(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
