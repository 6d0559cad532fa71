//! What a start waits for, because it may pass by itself, and what it leaves at once, because it does not.

use super::cluster::{Cluster, PASSWORD, shared};
use super::nodes::open;
use crate::binary::clock;
use handstamp_server::host::clock::pause;
use std::time::Duration;

/// A node that starts in the middle of a failover finds no server that takes writes; then there is one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_waits_for_the_end_of_a_failover() {
    let primary = Cluster::start();
    let standby = Cluster::standby_of(&primary);
    let address = standby.address("failover");
    let start = tokio::spawn(async move { open(&address).await.map(drop) });
    // Long enough to be told that it takes no writes.
    pause(Duration::from_secs(1)).await;
    standby.admin().await.batch_execute("SELECT pg_promote()").await.unwrap();
    start.await.unwrap().unwrap();
}

/// A name that is not known yet and a network that is not there yet are waited for, and named at last.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_waits_for_names_and_networks() {
    let tried = |host: &'static str| {
        tokio::spawn(async move {
            let began = clock();
            let address = format!("postgres://handstamp:{PASSWORD}@{host}/handstamp?sslmode=disable");
            let why = open(&address).await.err().unwrap();
            assert!(began.elapsed() >= Duration::from_secs(9), "{host}: {:?}, {why}", began.elapsed());
            assert!(why.contains(host) && !why.contains(PASSWORD), "{why}");
        })
    };
    for outcome in [tried("nowhere.invalid"), tried("255.255.255.254")] {
        outcome.await.unwrap();
    }
}

/// What an operator has to mend is said at once.
#[tokio::test]
async fn a_start_does_not_wait_for_what_stays_wrong() {
    let port = shared().port();
    for (login, database, words) in [
        ("handstamp:wr0ng", "handstamp", "password authentication failed"),
        ("handstamp", "handstamp", "password"),
        (&format!("handstamp:{PASSWORD}"), "nowhere", "does not exist"),
    ] {
        let began = clock();
        let why =
            open(&format!("postgres://{login}@127.0.0.1:{port}/{database}?sslmode=disable")).await.err();
        let why = why.unwrap();
        assert!(why.contains(words), "{why}");
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}: {why}", began.elapsed());
    }
}
