//! What the doctor sees of a PostgreSQL database: is it there, is it ours, does it keep what it acknowledges, is it tidy.

use super::{Report, files, master_key, rotations};
use crate::codec::control::root_key;
use crate::codec::kind;
use crate::config::Config;
use crate::host::clock::{Clock, SystemClock};
use crate::run::store::warnings;
use crate::store::postgres::{Address, Inspection, Tables, inspect};
use handstamp_core::time::Span;

/// How many of the newest sessions are looked at for stalled rotations.
const SESSIONS: u32 = 10_000;
/// The one row that every commit writes has this much at most, where vacuum keeps up.
const LARGE_META: i64 = 16 << 20;
/// More days than the store makes partitions for.
const MANY_DAYS: i64 = 120;
/// A machine's clock that is this far from the store's shows that one of them is not set.
const FAR: Span = Span::secs(10);

/// Looks at it.
pub(super) fn look(report: &mut Report, config: &Config, address: &Address) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(why) => return report.problem("store", format!("it cannot be asked: {why}")),
    };
    match runtime.block_on(inspect(address, &root_key(), (kind::SESSION, SESSIONS))) {
        Err(why) => report.problem("store", format!("PostgreSQL {why}")),
        Ok(found) => {
            server(report, address, &found);
            match &found.tables {
                None => report.warn(
                    "store",
                    format!(
                        "schema {} of {} has no tables: the first start makes them",
                        address.schema(),
                        address.place()
                    ),
                ),
                Some(tables) => {
                    self::tables(report, address, tables);
                    let name = address.place();
                    master_key(report, config, (&name, files::Store::Shared), tables.root.clone());
                    rotations(report, &tables.newest);
                }
            }
        }
    }
}

fn server(report: &mut Report, address: &Address, found: &Inspection) {
    let facts = &found.facts;
    let version = format!("{}.{}", facts.version / 10_000, facts.version % 10_000);
    let tls = if address.encrypted() { "its certificate is right" } else { "without TLS" };
    report.fine("store", format!("PostgreSQL {version} at {} takes writes; {tls}", facts.host));
    for warning in warnings(address, facts) {
        report.warn("store", warning);
    }
    if !matches!(facts.synchronous_commit.as_str(), "off" | "local") {
        let standbys = match found.standbys.as_str() {
            "" => "no standby is waited for (synchronous_standby_names is empty): what was acknowledged in the last moment \
                   before a failover can be lost"
                .to_owned(),
            names => format!("commits wait for {names}"),
        };
        report.fine("durability", format!("synchronous_commit is {}; {standbys}", facts.synchronous_commit));
    }
    let (used, most) = found.connections;
    if used * 10 > most * 8 {
        report.warn("connections", format!("{used} of {most} are used: raise max_connections"));
    } else {
        report.fine("connections", format!("{used} of {most} are used"));
    }
    let here = SystemClock::default().now();
    let apart = if here > found.now { here.since(found.now) } else { found.now.since(here) };
    if apart > FAR {
        report.warn(
            "clock",
            format!(
                "the store says {}, this machine {here}: nodes go by the store's; set both right",
                found.now
            ),
        );
    } else {
        report.fine("clock", "agrees with the store's, which nodes go by");
    }
}

fn tables(report: &mut Report, address: &Address, tables: &Tables) {
    let (version, readable_by) = tables.version;
    let schema = address.schema();
    if readable_by > tables.own {
        report.problem(
            "tables",
            format!(
                "schema {schema} has version {version}, made by a newer Handstamp, which this one cannot use"
            ),
        );
    } else if version == tables.own {
        report.fine("tables", format!("schema {schema} has version {version}"));
    } else {
        let text = format!("schema {schema} has version {version}, this program makes {}", tables.own);
        report.warn("tables", format!("{text}: fine while nodes are being upgraded"));
    }
    if tables.days > MANY_DAYS {
        report.warn("partitions", format!("{} days have partitions: does housekeeping run?", tables.days));
    } else {
        report.fine("partitions", format!("{} days have partitions", tables.days));
    }
    if tables.meta_bytes > LARGE_META {
        report.warn(
            "vacuum",
            format!(
                "the row that every commit writes takes {} MiB: does a transaction stay open for long, or is autovacuum off?",
                tables.meta_bytes >> 20
            ),
        );
    } else {
        report.fine("vacuum", "keeps up");
    }
}
