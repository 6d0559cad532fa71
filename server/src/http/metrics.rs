//! What is counted, for Prometheus: the families, and the page on which they are read. No label is a secret, a user or
//! anything else that a client chose freely; tag names are, and are bounded.

use super::Web;
use super::problem::Answer;
use super::reply::document;
use crate::app::Fault;
use crate::host::process;
use axum::extract::State;
use std::fmt::Write;
use std::sync::Arc;

pub mod recorder;

/// A family of numbers.
pub struct Family {
    /// Its name.
    pub name: &'static str,
    /// `counter`, `gauge` or `histogram`.
    pub kind: &'static str,
    /// The names of its labels.
    pub labels: &'static [&'static str],
    /// What it counts, in which unit.
    pub help: &'static str,
}

/// At most so many tag names of an environment have numbers of their own: the most common.
pub const TAGS_MOST: usize = 100;

const ENVIRONMENT: &[&str] = &["product", "environment"];

macro_rules! families {
    ($($name:literal, $kind:literal, $labels:expr, $help:literal;)*) => {
        /// All families, in the order of the page.
        pub const FAMILIES: &[Family] = &[$(Family { name: $name, kind: $kind, labels: $labels, help: $help },)*];
    };
}

families! {
    "handstamp_build_info", "gauge", &["version"], "Always 1; the version is in the label.";
    "handstamp_uptime_seconds", "gauge", &[], "Seconds since the start.";
    "handstamp_store_up", "gauge", &[], "1 when the store could be read for this page, else 0; then the numbers that come from it are missing.";
    "handstamp_live_sessions", "gauge", ENVIRONMENT, "Live sessions.";
    "handstamp_live_sessions_by_tag", "gauge", &["product", "environment", "tag"], "Live sessions that carry a tag of this name, for the 100 most common names.";
    "handstamp_stalled_rotations", "gauge", ENVIRONMENT, "Live sessions whose rotated token nobody has presented for ten minutes; counted up to 1000.";
    "handstamp_verdicts_total", "counter", &["code"], "Verdicts given, by code; `allowed` is one of them.";
    "handstamp_refreshes_total", "counter", &["code"], "Refresh tokens presented for the next pair, by what came of it; `allowed` is one of the codes.";
    "handstamp_commit_seconds", "histogram", &[], "How long commits to the store took.";
    "handstamp_cache_sessions", "gauge", &[], "Sessions kept in memory.";
    "handstamp_cache_bytes", "gauge", &[], "Bytes of memory they take.";
    "handstamp_cache_capacity_bytes", "gauge", &[], "Bytes they may take.";
    "handstamp_cache_hits_total", "counter", &[], "Validations that found their session in memory.";
    "handstamp_cache_misses_total", "counter", &[], "Validations that did not.";
    "handstamp_activity_waiting", "gauge", &[], "Sessions whose last activity waits to be written.";
    "handstamp_events_dropped_total", "counter", &[], "Events of refusals that found no room to be written behind.";
    "handstamp_rate_limited_total", "counter", &["budget"], "Requests that a budget did not cover, by whose it is: `session`, `key` or `address`. Failing validations are counted under `address`, too; they are answered all the same.";
    "handstamp_rate_budgets", "gauge", &["budget"], "Budgets of which something is spent: only those are kept in memory. Under `cookie`, which is no budget: sessions whose cookie was sent within the last minute.";
    "handstamp_rate_budget_bytes", "gauge", &["budget"], "Bytes of memory that they take.";
    "handstamp_rate_budgets_evicted_total", "counter", &["budget"], "Budgets that were forgotten before they were whole again, for want of room.";
    "handstamp_keeps_house", "gauge", &[], "1 where this node writes down for all what time has ended, and forgets what is past its retention: one of several, and the only one.";
    "handstamp_nodes_differing", "gauge", &[], "Other nodes on the store whose configuration says other rules, origins, tokens, privacy or history than this one's.";
    "handstamp_rate_shared_total", "counter", &["outcome"], "What several nodes tell each other once a second of who spent how much, in payers: `told` to the others, `heard` from them, `left_out` for want of room.";
    "handstamp_revocation_listeners", "gauge", ENVIRONMENT, "Streams of revocations that are open.";
    "handstamp_revocations_held", "gauge", ENVIRONMENT, "Ends kept in memory because an access token of them could still live; 0 where nobody asked in the last minutes.";
    "handstamp_revocation_bytes", "gauge", ENVIRONMENT, "Bytes of memory that they take.";
    "handstamp_edge_connections", "gauge", &[], "Open connections.";
    "handstamp_edge_refused_total", "counter", &["reason"], "Connections that the edge turned away or cut, by reason.";
    "process_resident_memory_bytes", "gauge", &[], "Memory of the process that is really there.";
    "process_cpu_seconds_total", "counter", &[], "Processor time of the process, user and system.";
    "process_open_fds", "gauge", &[], "Open files and sockets of the process.";
}

/// What is counted, in the text format of Prometheus.
#[utoipa::path(
    get, path = "/metrics", tag = "operation", operation_id = "metrics",
    responses((status = 200, description = "The numbers; not here when `[metrics] listen` is set.",
        body = String, content_type = "text/plain"))
)]
pub async fn serve(State(web): State<Arc<Web>>) -> Answer {
    Ok(document("text/plain; version=0.0.4; charset=utf-8", page(&web).await))
}

async fn page(web: &Web) -> String {
    let mut page = Page::default();
    page.add("handstamp_build_info", &[env!("CARGO_PKG_VERSION")], 1);
    page.add("handstamp_uptime_seconds", &[], web.began.elapsed().as_secs());
    let up = sessions(web, &mut page).await.is_ok();
    page.add("handstamp_store_up", &[], u8::from(up));
    let app = &web.app;
    for (code, count) in app.verdict_counts() {
        page.add("handstamp_verdicts_total", &[code.map_or("allowed", |code| code.text())], count);
    }
    for (code, count) in app.refresh_counts() {
        page.add("handstamp_refreshes_total", &[code.map_or("allowed", |code| code.text())], count);
    }
    let ((bytes, capacity), (entries, hits, misses)) = (app.cache_use(), app.cache_counts());
    page.add("handstamp_cache_sessions", &[], entries);
    page.add("handstamp_cache_bytes", &[], bytes);
    page.add("handstamp_cache_capacity_bytes", &[], capacity);
    page.add("handstamp_cache_hits_total", &[], hits);
    page.add("handstamp_cache_misses_total", &[], misses);
    page.add("handstamp_activity_waiting", &[], app.activity_waiting());
    page.add("handstamp_events_dropped_total", &[], app.events_dropped());
    for (budget, count) in app.over_budget() {
        page.add("handstamp_rate_limited_total", &[budget], count);
    }
    for (budget, held) in app.debts() {
        page.add("handstamp_rate_budgets", &[budget], held.held);
        page.add("handstamp_rate_budget_bytes", &[budget], held.bytes);
        page.add("handstamp_rate_budgets_evicted_total", &[budget], held.evicted);
    }
    page.add("handstamp_keeps_house", &[], u8::from(app.is_keeper()));
    page.add("handstamp_nodes_differing", &[], app.nodes_differing());
    let shared = app.rates_shared();
    for (outcome, n) in [("told", shared.told), ("heard", shared.heard), ("left_out", shared.left_out)] {
        page.add("handstamp_rate_shared_total", &[outcome], n);
    }
    for used in app.feed_use() {
        let names = [used.environment.product(), used.environment.environment()];
        page.add("handstamp_revocation_listeners", &names, used.listeners);
        page.add("handstamp_revocations_held", &names, used.entries);
        page.add("handstamp_revocation_bytes", &names, used.bytes);
    }
    if let Some(usage) = process::usage() {
        page.add("process_resident_memory_bytes", &[], usage.resident_bytes);
        page.add("process_cpu_seconds_total", &[], usage.cpu_seconds);
        page.add("process_open_fds", &[], usage.open_files);
    }
    recorder::global().write(|name, lines| page.lines(name, lines));
    page.end()
}

/// The numbers that come from the store; none of them when it fails on the way.
async fn sessions(web: &Web, page: &mut Page) -> Result<(), Fault> {
    let live = web.app.live_sessions().await?;
    let environments = web.app.all_environments();
    let mut stalled = Vec::new();
    for env in &environments {
        stalled.push(web.app.stalled_rotations(env).await?);
    }
    for (env, stalled) in environments.iter().zip(stalled) {
        let (product, environment) = (env.record.name.product(), env.record.name.environment());
        let counted = live.get(&env.record.id.0).cloned().unwrap_or_default();
        page.add("handstamp_live_sessions", &[product, environment], counted.all);
        for (tag, count) in counted.by_tag.iter().take(TAGS_MOST) {
            page.add("handstamp_live_sessions_by_tag", &[product, environment, tag], count);
        }
        page.add("handstamp_stalled_rotations", &[product, environment], stalled);
    }
    Ok(())
}

/// The page in the making: the lines of each family.
#[derive(Default)]
struct Page(Vec<(&'static str, String)>);

impl Page {
    /// One number, with the values of the family's labels in their order.
    fn add(&mut self, name: &str, labels: &[&str], value: impl std::fmt::Display) {
        let Some(family) = FAMILIES.iter().find(|family| family.name == name) else { return };
        let pairs: Vec<(&str, &str)> = family.labels.iter().copied().zip(labels.iter().copied()).collect();
        let line = format!("{name}{} {value}\n", braced(&pairs));
        self.lines(name, &line);
    }

    fn lines(&mut self, name: &str, lines: &str) {
        let Some(family) = FAMILIES.iter().find(|family| family.name == name) else { return };
        match self.0.iter_mut().find(|(known, _)| *known == family.name) {
            Some((_, text)) => text.push_str(lines),
            None => self.0.push((family.name, lines.to_owned())),
        }
    }

    fn end(self) -> String {
        let mut text = String::new();
        for family in FAMILIES {
            let Some((_, lines)) = self.0.iter().find(|(name, _)| *name == family.name) else { continue };
            let _ = write!(
                text,
                "# HELP {0} {1}\n# TYPE {0} {2}\n{lines}",
                family.name,
                family.help.replace('\\', "\\\\"),
                family.kind
            );
        }
        text
    }
}

/// Labels as they are written.
fn braced(pairs: &[(&str, &str)]) -> String {
    if pairs.is_empty() {
        return String::new();
    }
    let escape = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    let all: Vec<String> =
        pairs.iter().map(|(name, value)| format!("{name}=\"{}\"", escape(value))).collect();
    format!("{{{}}}", all.join(","))
}
