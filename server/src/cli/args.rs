//! The words of the command line. No secret is among them: what stands here can be seen by everybody in `ps`.

use super::address::Target;
use super::devices::Devices;
use super::events::Events;
use super::keys::Keys;
use super::migrate::MigrateStore;
use super::policy::Policy;
use super::revocations::Revocations;
use super::session_types::SessionTypes;
use super::settings::Settings;
use super::users::Users;
use crate::config::setting::seconds;
use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;

/// Handstamp, the session server.
///
/// `handstamp serve` starts it; without a configuration it keeps everything in ./handstamp-data and listens on
/// 127.0.0.1:7411. The other commands ask the running server, with the access key in HANDSTAMP_KEY, in the file that
/// HANDSTAMP_KEY_FILE names, or in access.key of the data directory.
#[derive(Parser)]
#[command(name = "handstamp", version, disable_help_subcommand = true)]
pub(super) struct Cli {
    #[command(flatten)]
    pub(super) global: Global,
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Args)]
#[command(next_help_heading = "Configuration")]
pub(super) struct Global {
    /// The configuration file [default: handstamp.toml, if it is there]
    #[arg(long, global = true, value_name = "PATH")]
    pub(super) config: Option<PathBuf>,
    /// Address and port of the server
    #[arg(long, global = true, value_name = "ADDRESS:PORT")]
    pub(super) listen: Option<String>,
    /// Directory of the server's files
    #[arg(long, global = true, value_name = "DIR")]
    pub(super) data_dir: Option<String>,
    /// Where sessions are kept, such as sqlite:PATH
    #[arg(long, global = true, value_name = "URL")]
    pub(super) store: Option<String>,
    /// Where history and control records are kept
    #[arg(long, global = true, value_name = "URL")]
    pub(super) control: Option<String>,
    /// Answers, and errors, as JSON
    #[arg(long, global = true)]
    pub(super) json: bool,
}

#[derive(Subcommand)]
pub(super) enum Command {
    /// Start the server
    Serve,
    /// Check, show and explain the configuration
    #[command(subcommand, arg_required_else_help = true)]
    Config(ConfigVerb),
    /// Products and their environments
    #[command(arg_required_else_help = true)]
    Environments(Environments),
    /// Access keys
    #[command(arg_required_else_help = true)]
    Keys(Keys),
    /// Sessions
    #[command(arg_required_else_help = true)]
    Sessions(Sessions),
    /// Types of sessions
    #[command(arg_required_else_help = true)]
    SessionTypes(SessionTypes),
    /// Pages that may call the browser API, or be led back to
    #[command(arg_required_else_help = true)]
    Settings(Settings),
    /// Who is logged in
    #[command(arg_required_else_help = true)]
    Users(Users),
    /// The rules of sessions: checked, tried, explained, changed
    #[command(arg_required_else_help = true)]
    Policy(Policy),
    /// What happened in the environment
    Events(Events),
    /// What ended while an access token of it could still live
    Revocations(Revocations),
    /// The devices that users are known to have
    Devices(Devices),
    /// Copy the store into a file while the server runs (without the master key)
    Backup(Backup),
    /// Put a backup in the place of the store, while the server is stopped
    Restore(Restore),
    /// Rewrite the store's file without what was deleted, while the server is stopped
    Compact,
    /// Move everything into another store while the service runs; it is stopped for the last round and a comparison
    MigrateStore(MigrateStore),
    /// The one secret that everything follows from
    #[command(arg_required_else_help = true, subcommand)]
    MasterKey(MasterKeyVerb),
    /// Look for what is wrong with this installation
    Doctor,
    /// Ask the running server whether it is ready; exit code 0 or 1 within three seconds
    Healthcheck(Connection),
    /// Put a load on the running server and say how it took it
    Bench(Bench),
}

#[derive(Subcommand)]
pub(super) enum ConfigVerb {
    /// Say what is wrong with the configuration, or that nothing is
    Check,
    /// Print what stands
    Show {
        /// With who said so
        #[arg(long)]
        origin: bool,
    },
    /// Print a commented configuration file to begin with
    Init,
    /// Print the JSON Schema of the configuration file
    Schema,
    /// Have the running server read policies, origins, log level and TLS files again
    Reload,
}

/// Which server is asked.
#[derive(Args)]
#[command(next_help_heading = "Server")]
pub(super) struct Connection {
    /// Address of the server [default: where the configuration says that it listens]
    #[arg(long, global = true, value_name = "URL")]
    url: Option<String>,
    /// Certificates (PEM) to trust for https [default: tls_cert of the configuration, then the system's]
    #[arg(long, global = true, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// With an operator's key: the environment that is meant
    #[arg(long, global = true, value_name = "PRODUCT/ENVIRONMENT")]
    env: Option<String>,
}

impl Connection {
    pub(super) fn target(&self) -> Target<'_> {
        Target { url: self.url.as_deref(), ca: self.ca.as_deref(), environment: self.env.as_deref() }
    }
}

#[derive(Args)]
pub(super) struct Environments {
    #[command(flatten)]
    pub(super) connection: Connection,
    #[command(subcommand)]
    pub(super) verb: EnvironmentsVerb,
}

#[derive(Subcommand)]
pub(super) enum EnvironmentsVerb {
    /// All of them
    List,
    /// Make one
    Create {
        /// Such as shop/prd
        #[arg(value_name = "PRODUCT/ENVIRONMENT")]
        name: String,
    },
    /// Delete one, with every session and key in it
    Delete {
        /// Such as shop/dev
        #[arg(value_name = "PRODUCT/ENVIRONMENT")]
        name: String,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Args)]
pub(super) struct Sessions {
    #[command(flatten)]
    pub(super) connection: Connection,
    #[command(subcommand)]
    pub(super) verb: SessionsVerb,
}

#[derive(Subcommand)]
pub(super) enum SessionsVerb {
    /// Find sessions
    List {
        #[command(flatten)]
        filter: Filter,
        /// The most that are listed
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=100_000))]
        limit: u32,
    },
    /// Count sessions
    Count {
        #[command(flatten)]
        filter: Filter,
    },
    /// One session, live or ended
    Show {
        /// ses_...
        id: String,
    },
    /// What happened to a session
    Events {
        /// ses_...
        id: String,
    },
    /// Judge a token that is read from standard input; exit code 1 when it is refused
    Validate,
    /// End sessions: by id, or all that a filter finds
    Revoke(Revoke),
}

/// Which sessions.
#[derive(Args)]
pub(super) struct Filter {
    /// Of this user
    #[arg(long, value_name = "ID")]
    pub(super) user: Option<String>,
    /// With this tag; several times: with all of them
    #[arg(long = "tag", value_name = "NAME:VALUE")]
    pub(super) tags: Vec<String>,
    /// From this address or network
    #[arg(long, value_name = "ADDRESS")]
    pub(super) ip: Option<String>,
    /// With this browser, such as Firefox
    #[arg(long, value_name = "NAME")]
    pub(super) browser: Option<String>,
    /// On this system, such as Windows
    #[arg(long, value_name = "NAME")]
    pub(super) os: Option<String>,
    /// Bound to this device
    #[arg(long, value_name = "ID")]
    pub(super) device_id: Option<String>,
    /// live, ended or all
    #[arg(long, value_parser = ["live", "ended", "all"])]
    pub(super) state: Option<String>,
    /// Ended with this code, such as session_idle
    #[arg(long)]
    pub(super) code: Option<String>,
    /// Made after this time, such as 2026-01-31T13:45:00Z
    #[arg(long, value_name = "TIME")]
    pub(super) created_after: Option<String>,
    /// Made before this time
    #[arg(long, value_name = "TIME")]
    pub(super) created_before: Option<String>,
}

#[derive(Args)]
pub(super) struct Revoke {
    /// ses_...
    #[arg(value_name = "ID", conflicts_with_all = ["user", "tags", "ip", "after", "before", "all", "except", "dry_run"])]
    pub(super) ids: Vec<String>,
    /// Of this user
    #[arg(long, value_name = "ID")]
    pub(super) user: Option<String>,
    /// With this tag; several times: with all of them
    #[arg(long = "tag", value_name = "NAME:VALUE")]
    pub(super) tags: Vec<String>,
    /// From this address or network
    #[arg(long, value_name = "ADDRESS")]
    pub(super) ip: Option<String>,
    /// Made at this time or later, such as 2026-01-31T13:45:00Z
    #[arg(long, value_name = "TIME")]
    pub(super) after: Option<String>,
    /// Made before this time
    #[arg(long, value_name = "TIME")]
    pub(super) before: Option<String>,
    /// Every session of the environment
    #[arg(long, conflicts_with_all = ["user", "tags", "ip", "after", "before"])]
    pub(super) all: bool,
    /// But this one
    #[arg(long, value_name = "ID")]
    pub(super) except: Option<String>,
    /// Written into the history of each
    #[arg(long)]
    pub(super) reason: Option<String>,
    /// Only say how many there are
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Do not ask
    #[arg(long)]
    pub(super) yes: bool,
}

#[derive(Args)]
pub(super) struct Backup {
    /// Is made, and must not be there yet
    pub(super) file: PathBuf,
}

#[derive(Args)]
pub(super) struct Restore {
    /// What `handstamp backup` made
    #[arg(required_unless_present = "in_place")]
    pub(super) file: Option<PathBuf>,
    #[command(flatten)]
    pub(super) put_back: PutBack,
    /// Sessions of the backup stay live, also those that were ended after it was made
    #[arg(long)]
    pub(super) keep_sessions: bool,
    /// The store that is there may be replaced
    #[arg(long)]
    pub(super) replace: bool,
}

#[derive(Args)]
pub(super) struct PutBack {
    /// The store was put back by other tools (pg_restore, point-in-time recovery, a snapshot of its disk) while no node ran:
    /// end what must not come back with it
    #[arg(long, conflicts_with_all = ["file", "replace"])]
    pub(super) in_place: bool,
    /// Do not ask whether every session is to end (--in-place)
    #[arg(long, requires = "in_place")]
    pub(super) yes: bool,
}

#[derive(Subcommand)]
pub(super) enum MasterKeyVerb {
    /// Make another one and wrap every key under it, while the server is stopped; sessions and access keys go on
    Rotate {
        /// The old one is in wrong hands: end every session, delete every access key, replace every key
        #[arg(long)]
        end_sessions: bool,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Args)]
pub(super) struct Bench {
    #[command(flatten)]
    pub(super) connection: Connection,
    /// Connections that ask at the same time
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub(super) connections: u32,
    /// How long, a second or more
    #[arg(long, default_value = "5s", value_name = "TIME", value_parser = some_seconds)]
    pub(super) duration: i64,
}

/// A time to measure in.
fn some_seconds(text: &str) -> Result<i64, String> {
    match seconds(text)? {
        0 => Err(format!("`{text}` is no time to measure in: write 1s or more")),
        some => Ok(some),
    }
}
