//! What memory may answer: nothing that another node has replaced, from when that was heard of, and nothing at all without
//! the licence.

use super::cluster::{Cluster, settle};
use crate::engine::house::{Plan, Said, good, in_state, of_tag, of_user, tags};
use handstamp_core::refusal::Code;
use handstamp_core::time::Span;
use handstamp_server::app::end::{Revoked, Target};
use handstamp_server::app::search::{Filter, Which};
use handstamp_server::app::update::Update;
use handstamp_server::app::validate::{Ask, Validated};
use handstamp_server::store::faulty::{Call, Fault, Gate};

const REVOKED: Said = Said::Refused(Code::SessionRevoked);
const ALLOWED: Said = Said::Allowed(None);

/// Whether the node answers from memory: its store would be gone otherwise.
async fn answers_from_memory(node: &super::cluster::Node, token: &str) -> bool {
    node.faults.plan(Call::Load, [Fault::Before]);
    let answered = node.try_validate(token, false, false).await.is_ok();
    node.faults.forget_plans();
    answered
}

#[tokio::test]
async fn an_end_is_known_elsewhere_as_soon_as_it_is_heard_of() {
    let (_cluster, a, b) = Cluster::pair(Plan::default()).await;
    let (id, token) = a.create("ada", &[]).await;
    assert_eq!(b.validate(&token).await, ALLOWED);
    assert!(answers_from_memory(&b, &token).await);
    assert!(good(a.end(id).await));
    b.app.hear_waiting().await;
    assert_eq!(b.validate(&token).await, REVOKED);
    assert!(!answers_from_memory(&b, &token).await);
}

/// The notice does not come. The licence ends a second after the last probe that came back was sent.
#[tokio::test]
async fn an_end_that_is_not_heard_of_is_known_after_a_second() {
    for lost in [false, true] {
        let (cluster, a, b) = Cluster::pair(Plan::default()).await;
        let (id, token) = a.create("ada", &[]).await;
        b.keep_up().await;
        assert_eq!(b.validate(&token).await, ALLOWED);
        if lost {
            b.ear.cut()
        } else {
            b.ear.hold()
        }
        assert!(good(a.end(id).await));
        for _ in 0..3 {
            b.keep_up().await;
            assert_eq!(b.validate(&token).await, ALLOWED, "it cannot know yet");
            cluster.pass(Span(333));
        }
        b.keep_up().await;
        cluster.pass(Span(1));
        assert_eq!(b.validate(&token).await, REVOKED);
        // Nor does it keep what it loads now, once it hears again.
        b.ear.release();
        b.keep_up().await;
        assert_eq!(b.validate(&token).await, REVOKED);
    }
}

/// Without a licence every question is answered by the store; with it again, by memory.
#[tokio::test]
async fn without_a_licence_it_reads_through() {
    let (cluster, a, b) = Cluster::pair(Plan::default()).await;
    let (id, token) = a.create("ada", &[]).await;
    assert_eq!(b.validate(&token).await, ALLOWED);
    assert!(answers_from_memory(&b, &token).await);
    cluster.pass(Span::secs(1));
    assert!(!answers_from_memory(&b, &token).await);
    assert_eq!(b.validate(&token).await, ALLOWED);
    b.keep_up().await;
    assert!(answers_from_memory(&b, &token).await);
    // A node that is cut off serves on, and is never wrong.
    b.ear.cut();
    cluster.pass(Span::secs(5));
    assert_eq!(b.validate(&token).await, ALLOWED);
    assert!(good(a.end(id).await));
    assert_eq!(b.validate(&token).await, REVOKED);
}

/// What was missed may be anything.
#[tokio::test]
async fn a_gap_drops_all_that_is_in_memory() {
    let (_cluster, a, b) = Cluster::pair(Plan::default()).await;
    let (id, token) = a.create("ada", &[]).await;
    let (_, other) = a.create("bob", &[]).await;
    assert_eq!((b.validate(&token).await, b.validate(&other).await), (ALLOWED, ALLOWED));
    b.ear.cut();
    assert!(good(a.end(id).await));
    b.ear.release();
    b.keep_up().await;
    assert!(!answers_from_memory(&b, &other).await, "it was forgotten");
    assert_eq!(b.validate(&token).await, REVOKED);
    assert_eq!(b.validate(&other).await, ALLOWED);
    assert!(!answers_from_memory(&b, &other).await, "the probe was sent before it knew of the gap");
    b.keep_up().await;
    assert!(answers_from_memory(&b, &other).await, "a probe that was sent after the gap came back");
}

/// A load that began before another node's change and is answered after the notice of it came is not kept.
#[tokio::test]
async fn a_slow_load_is_not_kept_past_a_notice() {
    for all in [false, true] {
        let (_cluster, a, b) = Cluster::pair(Plan::default()).await;
        let (id, token) = a.create("ada", &[]).await;
        // It has read, and is not told yet.
        b.faults.plan(Call::Load, [Fault::DelayAnswer(50)]);
        let asking = tokio::spawn({
            let (b, token) = (b.clone(), token.clone());
            async move { b.validate(&token).await }
        });
        while b.faults.left() > 0 {
            tokio::task::yield_now().await;
        }
        if all {
            b.ear.cut();
        }
        assert!(good(a.end(id).await));
        b.ear.release();
        b.keep_up().await;
        assert_eq!(asking.await.unwrap(), ALLOWED, "it was asked before the end, and read before it");
        b.keep_up().await;
        assert_eq!(b.validate(&token).await, REVOKED, "all: {all}");
    }
}

/// An answer that memory gave says how long it may be told: no longer than the licence that it was read under, whatever
/// licences came since. So a process that was stopped between two lines does not tell what was true before.
#[tokio::test]
async fn an_answer_knows_how_long_it_is_true() {
    let (cluster, a, b) = Cluster::pair(Plan::default()).await;
    let (_, token) = a.create("ada", &[]).await;
    assert_eq!(b.validate(&token).await, ALLOWED);
    for strong in [false, true] {
        b.keep_up().await;
        cluster.pass(Span(400));
        let ask = Ask { token: &token, strong, ..Ask::default() };
        let Validated::Current(current) = good(b.app.validate(&b.caller().env, ask).await) else { panic!() };
        // One that was loaded now is as good as one that a probe of now would allow.
        let rest = if strong { 1_000 } else { 600 };
        cluster.pass(Span(rest - 1));
        b.keep_up().await;
        assert!(b.app.is_good(current.good));
        cluster.pass(Span(1));
        b.keep_up().await;
        assert!(!b.app.is_good(current.good), "there is a licence, but not for what was read before it");
    }
}

/// What one node changes of a session another one tells, once it has heard of it.
#[tokio::test]
async fn changes_are_told_elsewhere() {
    let (_cluster, a, b) = Cluster::pair(Plan::default()).await;
    let (id, token) = a.create("ada", &[]).await;
    assert_eq!(b.validate(&token).await, ALLOWED);
    let mut update = Update::default();
    update.patch.add_tags = tags(&["role:admin"]);
    good(a.update(id, &update).await);
    b.app.hear_waiting().await;
    let ask = Ask { token: &token, tags: tags(&["role:admin"]), ..Ask::default() };
    let said = good(b.app.validate(&b.caller().env, ask).await);
    assert!(!matches!(said, Validated::Refused { .. }));
    // All of a user, on a node that knows none of them.
    assert!(b.revoke(Target::Filter(of_user("ada")), None).await.is_ok());
    a.app.hear_waiting().await;
    assert_eq!(a.validate(&token).await, REVOKED);
}

/// Memory is bounded, and so is what a node that does not keep up has to read: it forgets everything instead.
#[tokio::test]
async fn who_does_not_keep_up_forgets_everything() {
    let (_cluster, a, b) = Cluster::pair(Plan::default().roomy()).await;
    let (id, token) = a.create("ada", &[]).await;
    assert_eq!(b.validate(&token).await, ALLOWED);
    assert!(good(a.end(id).await));
    for n in 0..4_200 {
        a.create(&format!("u{}", n % 50), &[]).await;
    }
    b.keep_up().await;
    assert_eq!(b.validate(&token).await, REVOKED);
    b.keep_up().await;
    let (_, token) = a.create("bob", &[]).await;
    assert_eq!(b.validate(&token).await, ALLOWED);
    b.keep_up().await;
    assert!(answers_from_memory(&b, &token).await);
}

/// The control records cannot be read when a change of them is heard of: nothing that comes later counts until they are.
#[tokio::test(start_paused = true)]
async fn a_probe_counts_for_nothing_until_what_came_before_it_is_known() {
    let (cluster, a, b) = Cluster::pair(Plan::default()).await;
    let (_, token) = a.create("ada", &[]).await;
    assert_eq!(b.validate(&token).await, ALLOWED);
    good(a.revoke(Target::Everybody, None).await);
    let gate = Gate::default();
    b.faults.plan(Call::Load, [Fault::Before, Fault::Before, Fault::Hold(gate.clone())]);
    cluster.pass(Span(900));
    let _ = b.app.probe().await;
    let hearing = tokio::spawn({
        let b = b.clone();
        async move { b.app.hear_waiting().await }
    });
    while b.faults.left() > 0 {
        tokio::time::advance(std::time::Duration::from_millis(50)).await;
        settle().await;
    }
    cluster.pass(Span(100));
    // The licence of before is over, and there is no other.
    assert!(!answers_from_memory(&b, &token).await);
    assert_eq!(b.validate(&token).await, REVOKED);
    gate.open(1);
    hearing.await.unwrap();
    assert_eq!(b.validate(&token).await, REVOKED);
}

/// What a node has said itself it may not deny a moment later, whatever it has heard by then: that a session has ended, or that
/// all of a user's have.
#[tokio::test]
async fn what_was_told_to_have_ended_is_not_allowed_after_it() {
    for way in ["end", "user", "found", "strong", "search", "get"] {
        let (cluster, a, b) = Cluster::pair(Plan::default()).await;
        let (id, token) = a.create("ada", &[]).await;
        cluster.pass(Span(1));
        let before = Filter { created_before: Some(a.now()), ..Filter::default() };
        let (_, other) = a.create("bob", &[]).await;
        b.keep_up().await;
        assert_eq!((b.validate(&token).await, b.validate(&other).await), (ALLOWED, ALLOWED));
        b.ear.hold();
        assert!(good(a.end(id).await));
        assert_eq!(b.validate(&token).await, ALLOWED, "it cannot know yet");
        let done = match way {
            "end" => u64::from(good(b.end(id).await)),
            "search" => {
                let ended = b.found(&in_state(Which::Ended, of_user("ada"))).await;
                assert_eq!(ended, [id]);
                0
            }
            "get" => u64::from(b.get(id).await.ended.is_none()),
            "strong" => u64::from(good(b.try_validate(&token, false, true).await) != REVOKED),
            _ => {
                let whom = if way == "user" { of_user("ada") } else { before };
                let Revoked::Ended { count, .. } = good(b.revoke(Target::Filter(whom), None).await) else {
                    panic!("{way}")
                };
                count
            }
        };
        assert_eq!(done, 0, "{way}: it was another node's doing");
        assert_eq!(b.validate(&token).await, REVOKED, "{way}");
        // What has nothing to do with it is answered from memory, or is again as soon as a probe came back.
        b.ear.release();
        b.keep_up().await;
        cluster.pass(Span(1));
        b.keep_up().await;
        assert!(answers_from_memory(&b, &other).await, "{way}");
        assert_eq!(b.validate(&token).await, REVOKED, "{way}");
    }
}

/// A tag that another node gave it counts, too, when all sessions of that tag end here.
#[tokio::test]
async fn what_a_raise_ended_is_not_allowed_after_it() {
    let (_cluster, a, b) = Cluster::pair(Plan::default()).await;
    let (id, token) = a.create("ada", &[]).await;
    b.keep_up().await;
    assert_eq!(b.validate(&token).await, ALLOWED);
    b.ear.hold();
    let mut tagged = Update::default();
    tagged.patch.add_tags = tags(&["team:x"]);
    good(a.update(id, &tagged).await);
    assert_eq!(b.validate(&token).await, ALLOWED);
    let Revoked::Raised { .. } = good(b.revoke(Target::Filter(of_tag("team:x")), None).await) else {
        panic!("it is of tags alone")
    };
    assert_eq!(b.validate(&token).await, REVOKED);
}
