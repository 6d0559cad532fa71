//! Real signals to this very process. One test, because a signal reaches everybody in it.

use std::process::Command;

use handstamp_server::host::signals;
use tokio::time::timeout;

use super::soon;

fn send(signal: &str) {
    let done = Command::new("kill").args([signal, &std::process::id().to_string()]).status().unwrap();
    assert!(done.success());
}

#[tokio::test]
async fn signals_reach_those_who_wait() {
    let (mut stop, mut reloads) = signals::listen().unwrap();
    send("-HUP");
    soon("the reload", reloads.next()).await;
    send("-HUP");
    soon("the second reload", reloads.next()).await;
    let nothing_yet = timeout(std::time::Duration::from_millis(50), stop.begun()).await;
    assert!(nothing_yet.is_err(), "a reload is no stop");

    send("-TERM");
    soon("the stop", stop.begun()).await;
    let not_urgent = timeout(std::time::Duration::from_millis(50), stop.urgent()).await;
    assert!(not_urgent.is_err(), "one signal is an orderly stop");
    send("-INT");
    soon("the urgent stop", stop.urgent()).await;
    soon("the stop, for one who asks late", stop.clone().begun()).await;
}
