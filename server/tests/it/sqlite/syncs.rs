//! Nobody is told "done" before the disk was: the system calls of a child are watched.

use super::kills::{Child, told};
use crate::conformance::world::{Scratch, batch, create, record};
use handstamp_server::store::Store;
use handstamp_server::store::sqlite::{Options, Sqlite};

const COMMITS: u32 = 25;

/// Needs strace (package of that name): only from outside of the process can be seen what it really asked the disk for.
#[tokio::test]
async fn each_answer_comes_after_a_sync_of_the_log() {
    let scratch = Scratch::new();
    let trace = scratch.path("trace");
    let watch = format!("strace -f -y -e trace=write,fsync,fdatasync -o {}", trace.display());
    let mut child =
        Child::start_under(&watch, "sqlite::syncs::child", &format!("{}", scratch.path("db").display()));
    while child.hear() != "end" {}
    child.end();
    let trace = std::fs::read_to_string(trace).unwrap();
    let (mut answers, mut synced) = (0, false);
    for line in trace.lines() {
        // A call of one thread that another interrupted is told in two lines; the second has its end.
        let sync = line.contains("sync(") || line.contains("sync resumed");
        if sync && line.ends_with("= 0") && (line.contains("db-wal") || line.contains("resumed")) {
            synced = true;
        }
        if line.contains("\"done ") {
            assert!(synced, "answer {answers} came before a sync:\n{trace}");
            (answers, synced) = (answers + 1, false);
        }
    }
    assert_eq!(answers, COMMITS, "{trace}");
}

#[tokio::test]
#[ignore = "a part of another test"]
async fn child() {
    let Some(path) = told() else { return };
    let store = Sqlite::open(path.as_ref(), &Options::default()).unwrap();
    for n in 0..COMMITS {
        store.commit(batch([create(record(n))])).await.unwrap();
        println!("done {n}");
    }
    println!("end");
    told();
}
