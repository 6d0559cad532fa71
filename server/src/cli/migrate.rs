//! `handstamp migrate-store`: everything into another store, with a bar for people and a line of JSON for each step for
//! machines.

use super::hooks::{MoveDone, MoveNews, MoveOrder, MoveWatch, Progress};
use super::progress::{Bar, now};
use super::{Context, Exit, Failure};
use crate::config::setting::Word;
use crate::config::store::StoreUrl;
use clap::Args;
use serde_json::{Value as Json, json};
use std::io::Write;
use std::time::{Duration, Instant};

/// How often a machine hears how far it is.
const TICK: Duration = Duration::from_secs(1);

#[derive(Args)]
pub(super) struct MigrateStore {
    /// Where everything is now: sqlite:PATH, postgres://..., or @FILE, which holds such an address
    #[arg(required_unless_present = "undo")]
    from: Option<String>,
    /// Where everything is to be: an empty store, or one that this command has begun to fill
    #[arg(required_unless_present = "undo")]
    to: Option<String>,
    #[command(flatten)]
    how: How,
    /// Let a service start on this store again, which has moved away: as it was then
    #[arg(long, value_name = "STORE", conflicts_with_all = ["from", "to", "wait", "dry_run", "anew"])]
    undo: Option<String>,
    /// Do not ask
    #[arg(long, requires = "undo")]
    yes: bool,
}

#[derive(Args)]
struct How {
    /// Wait for the service to stop, also when nobody is looking
    #[arg(long)]
    wait: bool,
    /// Only say how much would be moved
    #[arg(long, conflicts_with_all = ["wait", "anew"])]
    dry_run: bool,
    /// Throw away what an earlier migration, from wherever, has left unfinished in TO
    #[arg(long)]
    anew: bool,
}

impl Context<'_, '_> {
    pub(super) fn migrate_store(&mut self, args: &MigrateStore) -> Result<Exit, Failure> {
        if let Some(store) = &args.undo {
            return self.undo_migration(store, args.yes);
        }
        let (Some(from), Some(to)) = (&args.from, &args.to) else {
            return Err(Failure::usage("FROM and TO are missing", "--help says more"));
        };
        let (from, to) = (self.address("FROM", from)?, self.address("TO", to)?);
        let names = (from.text(), to.text());
        let order = MoveOrder {
            from,
            to,
            wait: args.how.wait || self.terminal.asks,
            anew: args.how.anew,
            dry_run: args.how.dry_run,
        };
        let hooks = self.hooks;
        let mut onlooker = Onlooker::new(self);
        let done = hooks.migrate_store(&order, &mut onlooker);
        onlooker.bar.finish();
        let took = onlooker.began.elapsed().as_secs_f64();
        let pause = onlooker.stopped.map_or(0.0, |since| since.elapsed().as_secs_f64());
        match done? {
            MoveDone::Done { records, lines, digest } => {
                self.told_done((records, lines), &digest, &names, (took, pause))
            }
            MoveDone::Already => {
                if self.json {
                    self.say(&json!({"event": "done", "already": true}))?;
                } else {
                    self.line(format!("everything in {} was moved to {} before", names.0, names.1))?;
                }
                Ok(Exit::Done)
            }
            MoveDone::NotYet { round, lingers } => {
                if self.json {
                    self.say(&stop_the_service(round))?;
                } else {
                    self.line("everything is there but for what the service writes now")?;
                    let first = if lingers { STOPPED } else { "stop the service" };
                    self.note(format!(
                        "{first}, and run the same command again. {} --wait waits for it",
                        expected(round)
                    ))?;
                }
                Ok(Exit::Failed)
            }
            MoveDone::Would { records, lines, differ } => {
                if self.json {
                    let answer =
                        json!({"event": "dry_run", "records": records, "history": lines, "differ": differ});
                    self.say(&answer)?;
                } else {
                    self.line(format!(
                        "{} has {records} records and {lines} lines of history; {differ} of all are not, or not so, in {}",
                        names.0, names.1
                    ))?;
                }
                Ok(Exit::Done)
            }
        }
    }

    fn told_done(
        &mut self,
        (records, lines): (u64, u64),
        digest: &str,
        (from, to): &(String, String),
        (took, pause): (f64, f64),
    ) -> Result<Exit, Failure> {
        if self.json {
            self.say(&json!({
                "event": "done", "already": false, "records": records, "history": lines, "digest": digest,
                "seconds": took, "seconds_stopped": pause,
            }))?;
            return Ok(Exit::Done);
        }
        let short = digest.get(..16).unwrap_or(digest);
        self.line(format!(
            "moved {records} records and {lines} lines of history to {to} in {took:.1} s, the last {pause:.1} s without the \
             service; both stores were compared and are equal ({short})"
        ))?;
        self.note(format!(
            "start the service on it, with the same master key: [store] url = \"{to}\", with the password in place. No service \
             starts on {from} any more; to move everything back: handstamp migrate-store {to} {from}"
        ))?;
        Ok(Exit::Done)
    }

    fn undo_migration(&mut self, store: &str, yes: bool) -> Result<Exit, Failure> {
        let store = self.address("--undo", store)?;
        let name = store.text();
        let question = format!(
            "What happened since {name} was moved away is not in it: sessions that were ended since would live again. Let a \
             service start on it as it was?"
        );
        if !self.confirm(yes, &question)? {
            return Ok(Exit::Failed);
        }
        let other = self.hooks.undo_migration(&store)?;
        if self.json {
            self.say(&json!({"event": "undone", "store": name, "was_moved_to": other}))?;
        } else {
            self.line(format!("{name} is a store of its own again"))?;
            self.note(format!(
                "stop whatever runs on {other}, to where it had moved: they are two from now on"
            ))?;
        }
        Ok(Exit::Done)
    }

    /// An address, from the command line or from a file. Its password is in no error.
    fn address(&mut self, which: &str, text: &str) -> Result<StoreUrl, Failure> {
        let said = |why: String| Failure::usage(format!("{which} {why}"), "--help says more");
        let Some(file) = text.strip_prefix('@') else {
            let url = StoreUrl::parse(text).map_err(said)?;
            if url.has_password() {
                self.note(format!(
                    "warning: everybody on this machine can see the password in {which}; write the address into a file that only \
                     you can read, and say @FILE"
                ))?;
            }
            return Ok(url);
        };
        let text = std::fs::read_to_string(file)
            .map_err(|why| Failure::new(format!("cannot read {file}: {why}")))?;
        StoreUrl::parse(text.trim()).map_err(|why| said(format!("({file}) {why}")))
    }

    /// One step, as a line of JSON.
    fn say(&mut self, value: &Json) -> Result<(), Failure> {
        self.line(value.to_string())
    }
}

/// What is to be done where nobody works on the store, but somebody did a moment ago.
const STOPPED: &str = "a node was killed, or lost its connections, less than ten seconds ago. Stop the service, if it is not stopped, wait for ten \
                       seconds";

/// What the last round and the comparison go through is everything, however little is left to bring over.
fn expected(round: Duration) -> String {
    format!(
        "The last full round took {:.1} s: expect about twice that without the service, and up to three times if it is \
         stopped in the middle of a round.",
        round.as_secs_f64()
    )
}

fn stop_the_service(round: Duration) -> Json {
    json!({"event": "stop_the_service", "round_seconds": round.as_secs_f64()})
}

/// Watches a move for a person or a machine.
struct Onlooker<'c> {
    out: &'c mut dyn Write,
    err: &'c mut dyn Write,
    json: bool,
    bar: Bar,
    /// When it began, and since when there is no service.
    began: Instant,
    stopped: Option<Instant>,
    ticked: Instant,
}

impl<'c> Onlooker<'c> {
    fn new(context: &'c mut Context<'_, '_>) -> Onlooker<'c> {
        let terminal = &mut *context.terminal;
        let bar = Bar::counting("reading", terminal.draws && !context.json);
        let now = now();
        Onlooker {
            out: terminal.out,
            err: terminal.err,
            json: context.json,
            bar,
            began: now,
            stopped: None,
            ticked: now,
        }
    }

    /// A step, in the words of both. Whoever does not read any more is not told; the move goes on.
    fn step(&mut self, machine: &Json, person: &str) {
        if self.json {
            let _ = writeln!(self.out, "{machine}").and_then(|()| self.out.flush());
        } else if !person.is_empty() {
            self.bar.aside(|| drop(writeln!(self.err, "{person}")));
        }
    }
}

impl MoveWatch for Onlooker<'_> {
    fn tell(&mut self, news: &MoveNews) {
        match *news {
            MoveNews::Began { again, records, lines } => {
                let what = if again { "going on: " } else { "" };
                self.step(
                    &json!({"event": "began", "again": again, "records": records, "history": lines}),
                    &format!("{what}about {records} records and {lines} lines of history"),
                );
            }
            MoveNews::Round { number } => self.bar.begin(&format!("round {number}")),
            MoveNews::Went { seen, of, records, lines, brought } => {
                self.bar.at(seen, of);
                if self.json && self.ticked.elapsed() >= TICK {
                    self.ticked = now();
                    let at = json!({
                        "event": "progress", "seen": seen, "of": of, "records": records, "history": lines,
                        "written": brought,
                    });
                    self.step(&at, "");
                }
            }
            MoveNews::RoundDone { number, brought, removed } => self.step(
                &json!({"event": "round", "round": number, "written": brought, "removed": removed}),
                &format!("round {number}: {brought} written, {removed} removed"),
            ),
            MoveNews::StopTheService { round } => self.step(
                &stop_the_service(round),
                &format!(
                    "Stop the service now (all nodes of it). What it writes until then comes along. {} Waiting...",
                    expected(round)
                ),
            ),
            MoveNews::Lingers => self.step(
                &json!({"event": "lingers"}),
                "a node was killed, or lost its connections, less than ten seconds ago: waiting for whether it comes back",
            ),
            MoveNews::LastRound => {
                self.stopped = Some(now());
                self.bar.begin("last round");
                self.step(&json!({"event": "last_round"}), "no service works on it any more: the last round");
            }
            MoveNews::Comparing => {
                self.bar.begin("comparing");
                self.step(&json!({"event": "comparing"}), "comparing everything");
            }
        }
    }
}
