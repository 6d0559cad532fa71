//! A node that does not reach its store says that it does not know: never that somebody is logged out, and never what it
//! remembers.

use super::cluster::Cluster;
use crate::engine::house::{Plan, Said, good, is_fault};
use handstamp_core::refusal::Code;
use handstamp_core::time::Span;
use handstamp_server::store::faulty::{Call, Fault};

#[tokio::test]
async fn what_is_in_memory_is_not_told_without_the_store() {
    let (cluster, a, b) = Cluster::pair(Plan::default()).await;
    let (id, token) = a.create("ada", &[]).await;
    assert_eq!(b.validate(&token).await, Said::Allowed(None));
    b.ear.cut();
    for call in [Call::Load, Call::Commit, Call::Touch, Call::Search, Call::Say, Call::Probe] {
        b.faults.plan(call, std::iter::repeat_n(Fault::Before, 1_000));
    }
    assert_eq!(b.validate(&token).await, Said::Allowed(None), "it knows that for a second");
    assert!(good(a.end(id).await));
    cluster.pass(Span::secs(1));
    for _ in 0..20 {
        b.keep_up().await;
        assert!(is_fault(&b.try_validate(&token, false, false).await));
        assert!(is_fault(&b.try_validate(&token, true, false).await));
        assert!(b.app.look_up().await.is_err() && b.app.ready().await.is_err());
        cluster.pass(Span(250));
    }
    // The store is there again: the first probe that comes back is enough.
    b.faults.forget_plans();
    b.ear.release();
    b.keep_up().await;
    assert!(b.app.look_up().await.is_ok() && b.app.ready().await.is_ok());
    assert_eq!(b.validate(&token).await, Said::Refused(Code::SessionRevoked));
}
