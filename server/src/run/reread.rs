//! The configuration read again while the server runs: when a signal asks for it, and when the file changes.

use super::logs;
use super::serve::origins;
use crate::app::App;
use crate::app::erase::sha256;
use crate::config::reload::{reload, to_be_alike};
use crate::config::{Config, ConfigFile, Sources};
use crate::host::signals::Reloads;
use crate::http::listener::Tls;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Interval, MissedTickBehavior, interval};

/// On SIGHUP, and when the file changes: policies, origins, log level and TLS files are read again; what is wrong changes nothing.
pub(super) async fn reread(
    mut reloads: Reloads,
    mut config: Config,
    sources: Sources,
    logs: logs::Logs,
    app: Arc<App>,
    tls: Option<Tls>,
) {
    let mut watch = Watch::of(&sources);
    loop {
        tokio::select! {
            () = reloads.next() => {}
            () = watch.changed() => tracing::info!("the configuration file has changed"),
        }
        let outcome = match reload(&config, &sources) {
            Ok(outcome) => outcome,
            Err(problems) => {
                tracing::error!(%problems, "the configuration was not read again; what was in force stays so");
                continue;
            }
        };
        if let Some(tls) = &tls
            && let Err(why) = tls.reload()
        {
            tracing::error!(%why, "the certificate stays as it was");
        }
        logs.set(outcome.config.log.level);
        app.set_file_policy(outcome.config.policy.in_force()).await;
        app.set_file_types(outcome.config.session_types.in_force()).await;
        app.set_file_origins(origins(&outcome.config)).await;
        app.set_privacy(outcome.config.privacy);
        app.set_configuration(sha256(to_be_alike(&outcome.config).as_bytes()));
        app.set_anonymous_limit(outcome.config.browser.anonymous_limit);
        for change in &outcome.changed {
            tracing::info!(key = change.path, before = %change.before, after = %change.after, "changed");
        }
        for change in &outcome.restart {
            tracing::warn!(key = change.path, "changed in the configuration, but takes a restart");
        }
        config = outcome.config;
        tracing::info!("configuration read again");
    }
}

/// How often the file is looked at.
const LOOK: Duration = Duration::from_millis(500);

/// Looks at the file. What editors and containers do to one (write it, replace it, turn a link) changes what is seen;
/// nothing else of the operating system is needed for that, on any file system.
struct Watch {
    path: PathBuf,
    /// What was last acted on.
    known: Option<Seen>,
    looks: Interval,
}

/// What shows that a file is another one.
#[derive(Clone, PartialEq, Eq)]
struct Seen {
    modified: (i64, i64),
    length: u64,
    file: u64,
}

impl Watch {
    fn of(sources: &Sources) -> Watch {
        let (ConfigFile::Named(path) | ConfigFile::IfPresent(path)) = &sources.file;
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Watch { path: path.clone(), known: seen(path), looks }
    }

    /// Waits until the file is another one, and has stayed so for one look: somebody may be writing it.
    async fn changed(&mut self) {
        let mut before = self.known.clone();
        loop {
            self.looks.tick().await;
            let now = seen(&self.path);
            if now == before && now != self.known {
                self.known = now;
                return;
            }
            before = now;
        }
    }
}

fn seen(path: &PathBuf) -> Option<Seen> {
    use std::os::unix::fs::MetadataExt;
    let found = std::fs::metadata(path).ok()?;
    Some(Seen { modified: (found.mtime(), found.mtime_nsec()), length: found.len(), file: found.ino() })
}
