//! The server that tests stand on is itself what it is taken for.

use super::cluster::{Cluster, Stop, shared};
use crate::binary::process::eventually;

/// A fresh place is empty, a client is the role that it says, commits are synced.
#[tokio::test]
async fn a_server_of_its_own() {
    let (client, admin) = (shared().client().await, shared().admin().await);
    let row = client.query_one("SELECT current_user, current_database()", &[]).await.unwrap();
    assert_eq!((row.get(0), row.get(1)), ("handstamp", "handstamp"));
    for (name, value) in [("is_superuser", "off"), ("fsync", "on"), ("synchronous_commit", "on")] {
        let row = client.query_one(&format!("SHOW {name}"), &[]).await.unwrap();
        assert_eq!(row.get::<_, &str>(0), value, "{name}");
    }
    assert_eq!(admin.query_one("SHOW is_superuser", &[]).await.unwrap().get::<_, &str>(0), "on");
    assert_ne!(shared().fresh(), shared().fresh());
}

/// What was committed is there after the power went, and after a good end.
#[tokio::test]
async fn it_is_stopped_and_started_again() {
    let cluster = Cluster::start();
    let client = cluster.client().await;
    client.batch_execute("CREATE TABLE kept (n int)").await.unwrap();
    for (n, how) in [Stop::Kill, Stop::Fast, Stop::Kill].into_iter().enumerate() {
        let client = cluster.client().await;
        client.execute("INSERT INTO kept VALUES (1)", &[]).await.unwrap();
        cluster.stop(how);
        assert!(client.execute("INSERT INTO kept VALUES (1)", &[]).await.is_err());
        cluster.again();
        let count = cluster.client().await.query_one("SELECT count(*) FROM kept", &[]).await.unwrap();
        assert_eq!(count.get::<_, i64>(0), i64::try_from(n).unwrap() + 1);
    }
    let data = cluster.data();
    drop(cluster);
    assert!(!data.exists());
}

/// A test that dies leaves nothing: the end of its pipe is enough.
#[test]
fn it_ends_with_who_started_it() {
    let cluster = Cluster::start();
    let (data, port) = (cluster.data(), cluster.port());
    cluster.let_go();
    eventually("the end of the folder", || (!data.exists()).then_some(()));
    assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_err());
}
