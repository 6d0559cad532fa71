//! Idle times with several nodes: what one of them knows and has not written counts on all of them.

use super::cluster::{Cluster, Node};
use crate::engine::house::{Plan, Said, good, of_user};
use handstamp_core::id::SessionId;
use handstamp_core::refusal::Code;
use handstamp_core::time::Span;
use handstamp_server::app::end::{Revoked, Target};
use handstamp_server::app::search::Filter;
use handstamp_server::store::faulty::{Call, Fault, Gate};
use std::time::Duration;
use tokio::task::{JoinHandle, yield_now};

const IDLE: Said = Said::Refused(Code::SessionIdle);
const ALLOWED: Said = Said::Allowed(None);

/// Waits for what is under way while these nodes go on hearing.
async fn while_hearing<T>(task: JoinHandle<T>, nodes: &[&Node]) -> T {
    while !task.is_finished() {
        for node in nodes {
            node.app.hear_waiting().await;
        }
        yield_now().await;
    }
    task.await.unwrap()
}

fn asking(node: &Node, token: &str) -> JoinHandle<Said> {
    let (node, token) = (node.clone(), token.to_owned());
    tokio::spawn(async move { node.validate(&token).await })
}

/// A node saw the session half a minute ago and has not written that; another one is asked when it seems idle.
#[tokio::test(start_paused = true)]
async fn activity_elsewhere_counts() {
    let (cluster, a, b) = Cluster::pair(Plan::idle(Span::minutes(20))).await;
    let (id, token) = a.create("ada", &[]).await;
    cluster.pass(Span::secs(30));
    a.keep_up().await;
    assert_eq!(a.validate(&token).await, ALLOWED);
    cluster.pass(Span(20 * 60_000 - 1));
    a.keep_up().await;
    b.keep_up().await;
    a.keep_up().await;
    // By the store it has been idle for half a minute.
    assert_eq!(while_hearing(asking(&b, &token), &[&a, &b]).await, ALLOWED);
    assert_eq!(a.get(id).await.seen, a.now());
    // Nobody knows more, and then all say so.
    cluster.pass(Span::minutes(20));
    a.keep_up().await;
    b.keep_up().await;
    assert_eq!(while_hearing(asking(&a, &token), &[&a, &b]).await, IDLE);
}

/// Nor does housekeeping end it, nor is it missing from a list, nor does a limit forget it.
#[tokio::test(start_paused = true)]
async fn nobody_takes_it_for_idle() {
    let (cluster, a, b) = Cluster::pair(Plan::idle(Span::minutes(20))).await;
    let mut tokens = Vec::new();
    for _ in 0..10 {
        tokens.push(a.create("ada", &[]).await.1);
    }
    cluster.pass(Span::secs(30));
    a.keep_up().await;
    for token in &tokens {
        assert_eq!(a.validate(token).await, ALLOWED);
    }
    cluster.pass(Span(20 * 60_000 - 1));
    a.keep_up().await;
    b.keep_up().await;
    a.keep_up().await;
    let listing = tokio::spawn({
        let b = b.clone();
        async move { b.found(&of_user("ada")).await.len() }
    });
    assert_eq!(while_hearing(listing, &[&a, &b]).await, 10);
    // The others were asked once: what they knew is written.
    b.tidy().await;
    assert_eq!(b.tally("live").await, 10);
    let making = tokio::spawn({
        let b = b.clone();
        async move { good(b.make(crate::engine::house::asked("ada", &[])).await).evicted.len() }
    });
    assert_eq!(while_hearing(making, &[&a, &b]).await, 1, "ten may live");
}

/// A node that says nothing is waited for a moment, and one that is not known to live not at all.
#[tokio::test(start_paused = true)]
async fn who_says_nothing_is_not_waited_for_long() {
    for lives in [true, false] {
        let (cluster, a, b) = Cluster::pair(Plan::idle(Span::minutes(20))).await;
        let (_, token) = a.create("ada", &[]).await;
        cluster.pass(Span::secs(30));
        a.keep_up().await;
        assert_eq!(a.validate(&token).await, ALLOWED);
        b.keep_up().await;
        cluster.pass(Span(20 * 60_000 - 1));
        if lives {
            a.keep_up().await;
        }
        b.keep_up().await;
        let began = tokio::time::Instant::now();
        let asking = asking(&b, &token);
        assert_eq!(asking.await.unwrap(), IDLE, "no more than what is written is known");
        let waited = began.elapsed();
        assert_eq!(waited >= Duration::from_millis(300), lives);
        assert!(waited < Duration::from_millis(400));
    }
}

/// Many at once share their questions, and who goes away keeps nobody waiting.
#[tokio::test(start_paused = true)]
async fn many_are_asked_for_together() {
    let (cluster, a, b) = Cluster::pair(Plan::idle(Span::minutes(20)).roomy()).await;
    let mut tokens = Vec::new();
    for n in 0..300 {
        tokens.push(a.create(&format!("u{n}"), &[]).await.1);
    }
    cluster.pass(Span::secs(30));
    a.keep_up().await;
    for token in &tokens {
        assert_eq!(a.validate(token).await, ALLOWED);
    }
    cluster.pass(Span(20 * 60_000 - 1));
    a.keep_up().await;
    b.keep_up().await;
    let mut all: Vec<_> = tokens.iter().map(|token| asking(&b, token)).collect();
    for _ in 0..20 {
        yield_now().await;
    }
    all.drain(..50).for_each(|gone| gone.abort());
    for one in all {
        assert_eq!(while_hearing(one, &[&a, &b]).await, ALLOWED);
    }
}

/// A session that `a` saw half a minute after it was made, which it has not written, and that looks idle to `b`, which does
/// not reach `a`; it will be idle in a millisecond.
async fn at_the_last_moment() -> (Node, Node, String) {
    let (cluster, a, b) = Cluster::pair(Plan::idle(Span::minutes(20))).await;
    let (_, token) = a.create("ada", &[]).await;
    cluster.pass(Span::secs(30));
    a.keep_up().await;
    assert_eq!(a.validate(&token).await, ALLOWED);
    cluster.pass(Span(20 * 60_000 - 1));
    b.keep_up().await;
    (a, b, token)
}

/// Waits until what was planned has come up; time that is stopped goes on while everybody waits.
async fn until_all_came_up(node: &Node) {
    while node.faults.left() > 0 {
        tokio::time::advance(Duration::from_millis(1)).await;
    }
}

/// Whoever is about to end it as idle learns of activity that was written meanwhile.
#[tokio::test(start_paused = true)]
async fn activity_at_the_last_moment_counts() {
    let (a, b, token) = at_the_last_moment().await;
    let gate = Gate::default();
    b.faults.plan(Call::Commit, [Fault::Hold(gate.clone())]);
    let ending = asking(&b, &token);
    until_all_came_up(&b).await;
    assert_eq!(a.validate(&token).await, ALLOWED);
    gate.open(1);
    assert_eq!(ending.await.unwrap(), ALLOWED);
    assert_eq!((a.tally("live").await, a.validate(&token).await), (1, ALLOWED));
}

/// And whose activity comes after the end is told of the end, not let in once more.
#[tokio::test(start_paused = true)]
async fn activity_after_the_end_is_none() {
    let (a, b, token) = at_the_last_moment().await;
    let gate = Gate::default();
    a.faults.plan(Call::Touch, [Fault::Hold(gate.clone())]);
    let late = asking(&a, &token);
    until_all_came_up(&a).await;
    assert_eq!(b.validate(&token).await, IDLE);
    gate.open(1);
    assert_eq!(late.await.unwrap(), IDLE);
    assert_eq!(a.tally("live").await, 0);
}

/// Every way to ask for the end of a session.
fn ends(id: SessionId, token: &str) -> [Option<Target>; 4] {
    let of = |filter| Some(Target::Filter(filter));
    let found = Filter { created_after: Some(id.made_at()), ..Filter::default() };
    [None, Some(Target::Token(token.to_owned())), of(of_user("ada")), of(found)]
}

/// Says how many it ended.
fn ending(node: &Node, id: SessionId, how: Option<Target>) -> JoinHandle<u64> {
    let node = node.clone();
    tokio::spawn(async move {
        match how {
            None => u64::from(good(node.end(id).await)),
            Some(target) => match good(node.revoke(target, None).await) {
                Revoked::Ended { count, .. } => count,
                Revoked::Raised { .. } => unreachable!(),
            },
        }
    })
}

/// Who asks for an end and finds the session idle is answered once that is stored: activity on its way into the store does
/// not bring it back.
#[tokio::test(start_paused = true)]
async fn an_end_of_what_looks_idle_stays() {
    for door in 0..4 {
        let (a, b, token) = at_the_last_moment().await;
        let [id] = a.found(&of_user("ada")).await[..] else { unreachable!() };
        let gate = Gate::default();
        a.faults.plan(Call::Touch, [Fault::Hold(gate.clone())]);
        let late = asking(&a, &token);
        until_all_came_up(&a).await;
        let how = ends(id, &token).into_iter().nth(door).unwrap();
        assert_eq!(ending(&b, id, how).await.unwrap(), 0, "it was idle before");
        gate.open(1);
        assert_eq!(late.await.unwrap(), IDLE, "an acknowledged end stays, however it was asked for ({door})");
        assert_eq!((a.tally("live").await, a.validate(&token).await), (0, IDLE));
    }
}

/// And where the activity comes first, the session lives, and is ended.
#[tokio::test(start_paused = true)]
async fn an_end_of_what_was_active_is_one() {
    for door in 0..4 {
        let (a, b, token) = at_the_last_moment().await;
        let [id] = a.found(&of_user("ada")).await[..] else { unreachable!() };
        let gate = Gate::default();
        b.faults.plan(Call::Commit, [Fault::Hold(gate.clone())]);
        let how = ends(id, &token).into_iter().nth(door).unwrap();
        let ending = ending(&b, id, how);
        for _ in 0..1_000 {
            if b.faults.left() == 0 {
                break;
            }
            tokio::time::advance(Duration::from_millis(1)).await;
        }
        assert_eq!(b.faults.left(), 0, "nothing was committed ({door})");
        assert_eq!(a.validate(&token).await, ALLOWED);
        gate.open(1);
        assert_eq!(ending.await.unwrap(), 1, "{door}");
        assert_eq!(
            (a.tally("live").await, a.validate(&token).await),
            (0, Said::Refused(Code::SessionRevoked))
        );
    }
}
