//! kill -9: what was acknowledged is there when the file is opened again, and what is there is whole.

use crate::conformance::world::{
    Ask, Scratch, batch, create, event, facet, is, key, query, record, rewrite, tally, with_facets,
};
use handstamp_server::store::sqlite::{Options, Sqlite, verify_backup};
use handstamp_server::store::{Batch, Query, Store};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Lines, Write};
use std::process::{ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;

/// This test binary again, running one ignored test that we talk with line by line.
pub(super) struct Child {
    process: std::process::Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

impl Child {
    /// Starts the test of that name and tells it one line.
    pub(super) fn start(test: &str, line: &str) -> Child {
        Child::start_under("", test, line)
    }
    /// The same, under another program.
    pub(super) fn start_under(under: &str, test: &str, line: &str) -> Child {
        // A shell, because a write over the file size limit must be an error and not a signal.
        let mut process = Command::new("sh")
            .arg("-c")
            .arg(format!("trap '' XFSZ; exec {under} \"$0\" --exact \"$1\" --ignored --nocapture"))
            .arg(std::env::current_exe().unwrap())
            .arg(test)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (input, output) = (process.stdin.take().unwrap(), process.stdout.take().unwrap());
        let mut child = Child { process, input, output: BufReader::new(output).lines() };
        child.say(line);
        child
    }
    pub(super) fn id(&self) -> String {
        self.process.id().to_string()
    }
    pub(super) fn say(&mut self, line: &str) {
        writeln!(self.input, "{line}").unwrap();
    }
    pub(super) fn hear(&mut self) -> String {
        self.output.next().expect("the child ended").unwrap()
    }
    /// Lets it come to its own end.
    pub(super) fn end(mut self) {
        drop(self.input);
        for line in self.output {
            line.unwrap();
        }
        assert!(self.process.wait().unwrap().success());
    }
    /// kill -9, and then every line that it still got out.
    pub(super) fn kill(mut self) -> Vec<String> {
        self.process.kill().unwrap();
        let rest = self.output.map_while(Result::ok).collect();
        self.process.wait().unwrap();
        rest
    }
}

/// What a child is told; `None` when nobody is there to tell it anything.
pub(super) fn told() -> Option<String> {
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).unwrap();
    let line = line.trim().to_owned();
    (!line.is_empty()).then_some(line)
}

const WRITERS: u32 = 16;

#[tokio::test]
async fn acknowledged_is_there_after_kill_9() {
    let scratch = Scratch::new();
    let path = scratch.path("db");
    // What the children acknowledged: the version of each writer's record.
    let mut acknowledged: BTreeMap<u32, u64> = BTreeMap::new();
    for round in 0..12u32 {
        let mut child = Child::start("sqlite::kills::child", &format!("{}", path.display()));
        let mut lines = Vec::new();
        // Killed at another moment each time.
        while lines.len() < 20 + 97 * round as usize {
            lines.push(child.hear());
        }
        lines.extend(child.kill());
        for line in lines {
            let Some((writer, version)) = line.strip_prefix("has ").and_then(|rest| rest.split_once(' '))
            else {
                continue;
            };
            // The kill can cut a line; the newline is part of the acknowledgement.
            let Some(version) = version.strip_suffix('.') else { continue };
            acknowledged.insert(writer.parse().unwrap(), version.parse().unwrap());
        }
        let store: Arc<dyn Store> = Arc::new(Sqlite::open(&path, &Options::default()).unwrap());
        let mut total = 0;
        for writer in 0..WRITERS {
            let found = store.one(writer).await;
            let there = found.as_ref().map_or(0, |found| found.version);
            let said = acknowledged.get(&writer).copied().unwrap_or(0);
            assert!(
                there == said || there == said + 1,
                "round {round}: writer {writer} heard {said}, {there} is there"
            );
            if let Some(found) = found {
                assert_eq!(found.record, state(writer, there), "round {round}");
                assert_eq!(store.events(Some(writer)).await.len() as u64, there);
            }
            acknowledged.insert(writer, there);
            total += there;
        }
        assert_eq!(store.counted("commits").await.unsigned_abs(), total, "round {round}");
        for tag in 0..5u8 {
            let wanted: Vec<u32> = acknowledged
                .iter()
                .rev()
                .filter(|(_, version)| **version > 0 && *version % 5 == u64::from(tag))
                .map(|(writer, _)| *writer)
                .collect();
            assert_eq!(
                store.pages(query([is(1, [std::str::from_utf8(&[b'a' + tag]).unwrap()])])).await,
                wanted
            );
        }
        store.close().await;
        verify_backup(&path).unwrap();
    }
    assert!(acknowledged.values().sum::<u64>() > 1_000, "the children did too little: {acknowledged:?}");
}

/// A writer's record at a version.
fn state(writer: u32, version: u64) -> handstamp_server::store::Record {
    let tag = b'a' + u8::try_from(version % 5).unwrap();
    handstamp_server::store::Record {
        body: version.to_be_bytes().to_vec(),
        ..with_facets(writer, [facet(1, [tag])])
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a part of another test"]
async fn child() {
    let Some(path) = told() else { return };
    let options = Options { checkpoint_pages: 100, ..Options::default() };
    let store: Arc<dyn Store> = Arc::new(Sqlite::open(path.as_ref(), &options).unwrap());
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..WRITERS {
        let store = Arc::clone(&store);
        writers.spawn(async move {
            let mut version = store.one(writer).await.map_or(0, |found| found.version);
            loop {
                let next = state(writer, version + 1);
                let op = if version == 0 { create(next) } else { rewrite(version, next) };
                let events = vec![event(writer, (version + 1).to_be_bytes())];
                store.done(Batch { events, tallies: vec![(tally("commits"), 1)], ..batch([op]) }).await;
                version += 1;
                println!("has {writer} {version}.");
            }
        });
    }
    writers.join_all().await;
}

/// A store that is dropped in the middle of its work still answers everybody, or tells them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_waits_for_ever() {
    let scratch = Scratch::new();
    for _ in 0..20 {
        let store = Arc::new(Sqlite::open(&scratch.path("db"), &Options::default()).unwrap());
        let mut tasks = tokio::task::JoinSet::new();
        for n in 0..50u32 {
            let store = Arc::clone(&store);
            tasks.spawn(async move {
                let _ = store.commit(batch([create(record(n))])).await;
                let _ = store.load(&[key(n)]).await;
                let _ = store.search(&Query { limit: 3, ..query([]) }).await;
            });
        }
        let closing = tokio::spawn(async move { store.close().await });
        let all = async {
            closing.await.unwrap();
            tasks.join_all().await;
        };
        tokio::time::timeout(std::time::Duration::from_secs(20), all).await.expect("somebody waits for ever");
    }
}
