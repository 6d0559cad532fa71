//! Keys, rules, epochs, origins and environments: what was acknowledged on one node counts on the others, and what several
//! change at once is changed by all of them.

use super::cluster::{Cluster, Node};
use crate::engine::house::{MASTER, Plan, Said, good, of_tag, why};
use handstamp_core::caller::Scope;
use handstamp_core::environment::EnvironmentName;
use handstamp_core::id::KeyId;
use handstamp_core::origin::WebOrigin;
use handstamp_core::policy::{Policy, Rules};
use handstamp_core::refusal::Code;
use handstamp_core::time::Span;
use handstamp_core::token::keyring::MasterKey;
use handstamp_server::app::Stop;
use handstamp_server::app::callers::{Caller, root_key};
use handstamp_server::app::end::Target;
use handstamp_server::app::keys::{KeyPatch, MadeKey, NewKey};
use handstamp_server::app::origins::Purpose;
use handstamp_server::store::faulty::{Call, Fault, Gate};

const REVOKED: Said = Said::Refused(Code::SessionRevoked);
const ALLOWED: Said = Said::Allowed(None);

fn said() -> Plan {
    Plan { said: true, ..Plan::default() }
}

fn operator(node: &Node) -> Caller {
    node.operator("default/prd")
}

async fn make_key(node: &Node) -> MadeKey {
    let ask = NewKey {
        name: "k".to_owned(),
        scopes: vec![Scope::SessionsRead],
        expires_in: None,
        operator: false,
        publishable: false,
        rate_limit: None,
    };
    good(node.app.create_key(&operator(node), ask).await)
}

/// What a request with the key is told first of all.
async fn knocks(node: &Node, key: &MadeKey) -> Result<(), Code> {
    node.app.look_up().await.unwrap();
    match node.app.caller(Some(key.text.reveal()), None) {
        Ok(_) => Ok(()),
        Err(Stop::Refused(refused)) => Err(refused.refusal.code),
        Err(other) => panic!("{}", why(&other)),
    }
}

fn code<T>(outcome: Result<T, Stop>) -> Option<Code> {
    match outcome {
        Ok(_) => None,
        Err(Stop::Refused(refused)) => Some(refused.refusal.code),
        Err(other) => panic!("{}", why(&other)),
    }
}

fn idle(seconds: i64) -> Policy {
    Policy::from(Rules { idle_timeout: Some(Span::secs(seconds)), ..Rules::default() })
}

#[tokio::test]
async fn an_access_key_is_gone_everywhere() {
    let (cluster, a, b) = Cluster::pair(Plan::default()).await;
    let key = make_key(&a).await;
    assert_eq!(knocks(&b, &key).await, Err(Code::AccessKeyInvalid), "nobody has told it yet");
    b.keep_up().await;
    assert_eq!(knocks(&b, &key).await, Ok(()));
    good(a.app.delete_key(&operator(&a), key.key.key.id).await);
    b.app.hear_waiting().await;
    assert_eq!(knocks(&b, &key).await, Err(Code::AccessKeyInvalid));
    // The same where nothing is heard: for as long as the licence lasts, and no longer.
    for lost in [false, true] {
        let key = make_key(&a).await;
        b.keep_up().await;
        assert_eq!(knocks(&b, &key).await, Ok(()));
        if lost {
            b.ear.cut()
        } else {
            b.ear.hold()
        }
        good(a.app.delete_key(&operator(&a), key.key.key.id).await);
        cluster.pass(Span(999));
        b.keep_up().await;
        assert_eq!(knocks(&b, &key).await, Ok(()));
        cluster.pass(Span(1));
        assert_eq!(knocks(&b, &key).await, Err(Code::AccessKeyInvalid));
        b.ear.release();
        b.keep_up().await;
    }
}

/// A key that was made on one node a moment ago can be changed on another one, also before anybody has heard of it.
#[tokio::test]
async fn keys_are_changed_on_any_node() {
    let (_cluster, a, b) = Cluster::pair(Plan::default()).await;
    let key = make_key(&a).await;
    let patch = KeyPatch { suspended: Some(true), ..KeyPatch::default() };
    good(b.app.update_key(&operator(&b), key.key.key.id, patch).await);
    a.app.hear_waiting().await;
    assert_eq!(knocks(&a, &key).await, Err(Code::AccessKeySuspended));
    let next = good(a.app.rotate_key(&operator(&a), key.key.key.id, Span::hours(1)).await);
    assert_eq!(
        code(b.app.rotate_key(&operator(&b), key.key.key.id, Span::hours(1)).await),
        Some(Code::AlreadyExists)
    );
    assert_eq!(knocks(&b, &next).await, Ok(()), "who was refused knows why, and everything else");
    assert_eq!(code(b.app.delete_key(&operator(&b), KeyId([9; 16])).await), Some(Code::NotFound));
}

/// What two nodes change at the same time is changed by both: a conflict is decided again, on what the store has.
#[tokio::test]
async fn nodes_change_keys_side_by_side() {
    let (_cluster, a, b) = Cluster::pair(Plan::default()).await;
    let mut all = tokio::task::JoinSet::new();
    for n in 0..20 {
        let node = if n % 2 == 0 { a.clone() } else { b.clone() };
        all.spawn(async move { make_key(&node).await });
    }
    let made = all.join_all().await;
    let mut all = tokio::task::JoinSet::new();
    for (n, key) in made.into_iter().enumerate().skip(4) {
        let node = if n % 2 == 0 { a.clone() } else { b.clone() };
        all.spawn(async move { good(node.app.delete_key(&operator(&node), key.key.key.id).await) });
    }
    all.join_all().await;
    for node in [&a, &b] {
        node.keep_up().await;
        assert_eq!(node.app.keys(&operator(node)).ok().unwrap().len(), 5, "the first one, and four");
    }
}

#[tokio::test]
async fn who_saw_an_older_policy_overwrites_nothing() {
    let (_cluster, a, b) = Cluster::pair(said()).await;
    assert_eq!(good(a.app.replace_policy(&operator(&a), Some(0), idle(100)).await).version, 1);
    // The other node has not heard of it, and its caller neither.
    assert_eq!(
        code(b.app.replace_policy(&operator(&b), Some(0), idle(200)).await),
        Some(Code::PolicyChanged)
    );
    assert_eq!(good(b.app.replace_policy(&operator(&b), Some(1), idle(200)).await).version, 2);
    // Nor does one of two that come at the same moment, nor is that a fault.
    let gate = Gate::default();
    a.faults.plan(Call::Commit, [Fault::Hold(gate.clone())]);
    let waiting = tokio::spawn({
        let a = a.clone();
        async move { code(a.app.replace_policy(&operator(&a), Some(2), idle(300)).await) }
    });
    while a.faults.left() > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(good(b.app.replace_policy(&operator(&b), Some(2), idle(400)).await).version, 3);
    gate.open(1);
    assert_eq!(waiting.await.unwrap(), Some(Code::PolicyChanged));
    // Who does not say what they saw replaces any.
    assert_eq!(good(a.app.replace_policy(&operator(&a), None, idle(500)).await).version, 4);
    b.app.hear_waiting().await;
    assert_eq!(good(Ok(b.app.read_policy(&operator(&b)).ok().unwrap())).version, 4);
}

/// Rules that were acknowledged on one node count for whatever another one reads from the store, at once.
#[tokio::test]
async fn a_policy_counts_on_every_node() {
    let (cluster, a, b) = Cluster::pair(said()).await;
    let (_, token) = b.create("ada", &[]).await;
    assert_eq!(b.validate(&token).await, ALLOWED);
    b.ear.hold();
    cluster.pass(Span::secs(60));
    b.keep_up().await;
    good(a.app.replace_policy(&operator(&a), None, idle(60)).await);
    assert_eq!(b.validate(&token).await, Said::Refused(Code::SessionIdle), "it has no licence");
    // With a licence, for as long as that lasts.
    b.ear.release();
    b.keep_up().await;
    let (_, token) = b.create("ada", &[]).await;
    assert_eq!(b.validate(&token).await, ALLOWED);
    b.keep_up().await;
    let few = Rules { max_sessions: Some(1), ..Rules::default() };
    b.ear.hold();
    good(a.app.replace_policy(&operator(&a), None, Policy::from(few)).await);
    let made = good(b.make(crate::engine::house::asked("ada", &[])).await);
    assert_eq!(made.evicted.len(), 1, "one session is allowed by now, and a creation knows that at once");
}

#[tokio::test]
async fn origins_and_environments_are_known_everywhere() {
    let (cluster, a, b) = Cluster::pair(Plan::default()).await;
    let page = || vec![WebOrigin::parse("https://app.example").ok().unwrap()];
    good(a.app.replace_origins(&operator(&a), Purpose::Cors, None, page()).await);
    b.keep_up().await;
    assert!(b.app.lists_anywhere("https://app.example"));
    good(a.app.replace_origins(&operator(&a), Purpose::Cors, None, Vec::new()).await);
    cluster.pass(Span::secs(1));
    b.app.look_up().await.unwrap();
    assert!(!b.app.lists_anywhere("https://app.example"));
    // Two pairs of hands on two lists.
    for (node, purpose) in [(&a, Purpose::Cors), (&b, Purpose::Redirect)] {
        good(
            node.app
                .replace_origins(
                    &operator(node),
                    purpose,
                    Some(u64::from(purpose == Purpose::Cors) * 2),
                    page(),
                )
                .await,
        );
    }
    a.keep_up().await;
    for purpose in [Purpose::Cors, Purpose::Redirect] {
        assert_eq!(a.app.read_origins(&operator(&a), purpose).ok().unwrap().stored, page());
    }
    let name = EnvironmentName::parse("shop/prd").unwrap();
    good(a.app.create_environment(&operator(&a), name.clone()).await);
    assert_eq!(code(b.app.create_environment(&operator(&b), name.clone()).await), Some(Code::AlreadyExists));
    let shop = b.operator("shop/prd");
    let made = good(b.app.create(&shop, crate::engine::house::asked("ada", &[])).await);
    let token = made.given.token().unwrap().to_owned();
    good(a.app.delete_environment(&operator(&a), &name).await);
    b.keep_up().await;
    let ask = handstamp_server::app::validate::Ask { token: &token, ..Default::default() };
    assert_eq!(code(b.app.validate(&shop.env, ask).await), Some(Code::NotFound));
}

/// Each of two nodes removes another of the last two environments: no version of a record stands between them, only the
/// stamp does.
#[tokio::test]
async fn the_last_environment_stays() {
    let (_cluster, a, b) = Cluster::pair(Plan::default()).await;
    let [one, two] = ["default/prd", "shop/prd"].map(|name| EnvironmentName::parse(name).unwrap());
    good(a.app.create_environment(&operator(&a), two.clone()).await);
    b.keep_up().await;
    let gate = Gate::default();
    let by = operator(&a);
    a.faults.plan(Call::Commit, [Fault::Hold(gate.clone())]);
    let waiting = tokio::spawn({
        let a = a.clone();
        async move { code(a.app.delete_environment(&by, &two).await) }
    });
    while a.faults.left() > 0 {
        tokio::task::yield_now().await;
    }
    let root = root_key(&MasterKey::new(MASTER)).text();
    let by = b.app.caller(Some(root.reveal()), Some("shop/prd")).ok().unwrap();
    good(b.app.delete_environment(&by, &one).await);
    gate.open(1);
    assert_eq!(waiting.await.unwrap(), Some(Code::Reserved));
}

/// Everybody is ended on one node, and who logs in on another one afterwards stays, whether that has heard of it or not.
#[tokio::test]
async fn who_is_made_after_a_raise_lives() {
    for lost in [false, true] {
        let (_cluster, a, b) = Cluster::pair(Plan::default()).await;
        let (_, before) = b.create("ada", &["role:admin"]).await;
        if lost {
            b.ear.cut()
        } else {
            b.ear.hold()
        }
        good(a.revoke(Target::Filter(of_tag("role:admin")), None).await);
        good(a.revoke(Target::Everybody, None).await);
        let (_, after) = b.create("bob", &["role:admin"]).await;
        assert_eq!(a.validate(&after).await, ALLOWED);
        assert_eq!(b.validate(&after).await, ALLOWED);
        for node in [&a, &b] {
            assert_eq!(node.validate(&before).await, REVOKED);
        }
        b.ear.release();
        b.keep_up().await;
        assert_eq!((b.validate(&before).await, b.validate(&after).await), (REVOKED, ALLOWED));
    }
}

/// Several nodes end many at once: every one of these ends stands.
#[tokio::test]
async fn raises_of_several_nodes_survive_each_other() {
    let (_cluster, a, b) = Cluster::pair(Plan::default().roomy()).await;
    let mut tokens = Vec::new();
    for n in 0..12 {
        let tag = format!("t:{n}");
        tokens.push(a.create("ada", &[&tag]).await.1);
    }
    let mut all = tokio::task::JoinSet::new();
    for n in 0..10 {
        let node = if n % 2 == 0 { a.clone() } else { b.clone() };
        all.spawn(async move { good(node.revoke(Target::Filter(of_tag(&format!("t:{n}"))), None).await) });
    }
    all.join_all().await;
    for node in [&a, &b] {
        node.keep_up().await;
        for (n, token) in tokens.iter().enumerate() {
            let expected = if n < 10 { REVOKED } else { ALLOWED };
            assert_eq!(node.validate(token).await, expected, "{n}");
        }
        node.tidy().await;
        node.keep_up().await;
    }
}

/// A node was busy with a creation when everybody was ended and all of them were written down, and died before it could
/// look again: who was made so late does not come back when nobody remembers the raise.
#[tokio::test]
async fn a_dead_nodes_creation_does_not_outlive_what_ended_it() {
    let (cluster, a, b) = Cluster::pair(Plan::default()).await;
    let gate = Gate::default();
    b.faults.plan(Call::Commit, [Fault::Hold(gate.clone())]);
    let creating = tokio::spawn({
        let b = b.clone();
        async move { b.create("ada", &[]).await.1 }
    });
    while b.faults.left() > 0 {
        tokio::task::yield_now().await;
    }
    good(a.revoke(Target::Everybody, None).await);
    a.tidy().await;
    gate.open(1);
    let token = creating.await.unwrap();
    // From here on nothing is heard of that node.
    drop(b);
    for _ in 0..4 {
        a.keep_up().await;
        assert_eq!(a.validate(&token).await, REVOKED);
        cluster.pass(Span::minutes(6));
        a.tidy().await;
        good(a.revoke(Target::Filter(of_tag("x:y")), None).await);
    }
    assert!(a.caller().env.ledger.raised.len() < 5, "raises are forgotten");
    assert_eq!(a.validate(&token).await, REVOKED);
    assert_eq!(a.tally("live").await, 0);
}

/// A store of before there were several nodes has no stamp; what is new there is heard of all the same.
#[tokio::test]
async fn a_store_without_a_stamp_gets_one() {
    use handstamp_server::codec::control::stamp_key;
    use handstamp_server::store::{Batch, Expect, Op, Store};
    let cluster = Cluster::new();
    let first = cluster.node(Plan::default()).await;
    let version = first.store.load(&[stamp_key()]).await.unwrap().remove(0).unwrap().version;
    let gone = Op::Delete { key: stamp_key(), expect: Expect::Version(version) };
    let (at, events, tallies) = (first.now(), Vec::new(), Vec::new());
    first.ear.commit(Batch { bucket: 0, at, ops: vec![gone], events, tallies }).await.unwrap();
    drop(first);
    let a = cluster.node(Plan::default()).await;
    let b = cluster.node(Plan::default()).await;
    let key = make_key(&a).await;
    b.keep_up().await;
    assert_eq!(knocks(&b, &key).await, Ok(()));
}
