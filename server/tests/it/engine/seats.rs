//! Seats of a tag under races: a thousand users at once, on two nodes, on a store with accidents, with several tags; and
//! who has to go for them.

use super::house::{House, Plan, asked, good, of_tag, of_user, tags};
use super::limits::{MODES, Watcher, accidents, faulty, is_refused, most, nodes, policy};
use handstamp_core::address::network::Network;
use handstamp_core::id::SessionId;
use handstamp_core::limit::OnLimit;
use handstamp_core::policy::Rules;
use handstamp_core::refusal::{Code, Evidence, Value};
use handstamp_core::step_up::{Auth, Level};
use handstamp_core::time::Span;
use handstamp_core::transition::create::Proved;
use handstamp_server::app::Stop;
use handstamp_server::app::update::{Update, Updated};
use handstamp_server::store::Store;
use handstamp_server::store::faulty::Faulty;
use handstamp_server::store::memory::Memory;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

pub(crate) const ACME: &str = "org:acme";

pub(crate) fn seats(most: u32) -> Rules {
    Rules { seats: Some(most), ..Rules::default() }
}

pub(crate) fn plan(most_seats: u32, mode: OnLimit) -> Plan {
    policy(most(10, mode), &[(ACME, seats(most_seats))])
}

async fn change(house: &House, id: SessionId, add: &str) -> Result<Updated, Stop> {
    let mut ask = Update::default();
    ask.patch.add_tags = tags(&[add]);
    house.app.update(&house.caller(), id, &ask).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_thousand_users_at_once_in_each_mode() {
    for mode in MODES {
        let plan = plan(50, mode);
        let (house, store) = faulty(plan.clone()).await;
        let watcher = Watcher::new(&house, store.clone(), plan.clone(), of_tag(ACME), 50).await;
        let mut crowd = JoinSet::new();
        for n in 0..1_000 {
            let house = house.clone();
            crowd.spawn(async move { house.make(asked(&format!("u{n}"), &[ACME])).await });
        }
        let (mut made, mut evicted) = (BTreeSet::new(), BTreeSet::new());
        for outcome in crowd.join_all().await {
            match outcome {
                Ok(new) => {
                    made.insert(new.view.session().id);
                    for id in new.evicted {
                        assert!(evicted.insert(id), "evicted twice");
                    }
                }
                Err(stop) if mode == OnLimit::Reject => assert!(is_refused(&Err::<(), _>(stop))),
                Err(stop) => panic!("{}", super::house::why(&stop)),
            }
        }
        assert!(watcher.looked().await > 10);
        let live: BTreeSet<SessionId> = house.found(&of_tag(ACME)).await.into_iter().collect();
        assert_eq!(live.len(), 50, "{mode}");
        assert_eq!(made.len(), if mode == OnLimit::Reject { 50 } else { 1_000 });
        assert_eq!(made.difference(&evicted).copied().collect::<BTreeSet<_>>(), live);
        for id in evicted.iter().take(20) {
            let end = house.get(*id).await.ended.unwrap();
            assert_eq!((end.code, end.rule.as_deref()), (Code::SessionEvicted, Some("seats")));
            let (allowed, seen) = (Value::Number(50), Value::Number(51));
            assert_eq!(end.evidence, Some(Evidence::Limit { allowed, seen }));
            assert_eq!(end.origin.unwrap().text(), "tag org:acme");
        }
        // Others are no matter.
        good(house.make(asked("zoe", &["org:other"])).await);
        assert_eq!(house.tally("live").await, 51);
    }
}

/// Two nodes keep no turns between them, the store fails and forgets its answers: there are faults, and never one too
/// many; and what is not there any more costs no seat for longer than a lease.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn never_one_too_many_on_a_store_with_accidents() {
    for (round, mode) in (0..if super::full() { 60 } else { 6 }).zip(MODES.into_iter().cycle()) {
        let plan = plan(7, mode);
        let memory: Arc<dyn Store> = Arc::new(Memory::new());
        let store = Arc::new(Faulty::new(memory.clone()));
        let house = House::new(store.clone(), plan.clone()).await;
        let watcher = Watcher::new(&house, memory, plan.clone(), of_tag(ACME), 7).await;
        let nodes = nodes(&house, &plan).await;
        accidents(&store, round, 2_000);
        let mut crowd = JoinSet::new();
        for (n, house) in nodes.iter().cycle().take(200).enumerate() {
            let house = house.clone();
            crowd.spawn(async move {
                let made = house.make(asked(&format!("u{n}"), &[ACME])).await;
                // Some leave again, so that seats change hands.
                if let Ok(made) = &made
                    && n % 3 == 0
                {
                    let _ = house.end(made.view.session().id).await;
                }
                made.map(drop)
            });
        }
        let outcomes = crowd.join_all().await;
        store.forget_plans();
        watcher.looked().await;
        assert!(
            outcomes.iter().any(|o| matches!(o, Err(Stop::Fault(_)))) && outcomes.iter().any(Result::is_ok)
        );
        // Whatever was lost on the way, a lease later all seats that nobody sits on are there.
        house.pass(Span::secs(60));
        let free = 7 - house.found(&of_tag(ACME)).await.len();
        for n in 0..free {
            good(house.make(asked(&format!("late{n}"), &[ACME])).await);
        }
        let full = house.make(asked("last", &[ACME])).await;
        assert_eq!(full.is_ok(), mode != OnLimit::Reject);
        assert_eq!(house.found(&of_tag(ACME)).await.len(), 7);
    }
}

/// Whoever goes frees the seat, by an end or by time, and is noticed where it counts.
#[tokio::test]
async fn seats_become_free() {
    let rules = Rules { idle_timeout: Some(Span::secs(60)), ..most(10, OnLimit::Reject) };
    let (house, _) = faulty(policy(rules, &[("org:*", seats(2))])).await;
    let (first, _) = house.create("ada", &[ACME]).await;
    house.create("bob", &[ACME]).await;
    let refused = house.make(asked("cy", &[ACME])).await;
    let Err(Stop::Refused(why)) = &refused else { panic!("refused") };
    assert_eq!(why.refusal.detail(), "seats would be 3, allowed 2 by tag org:*");
    // Each value has seats of its own.
    house.create("cy", &["org:other"]).await;
    good(house.end(first).await);
    house.create("cy", &[ACME]).await;
    assert!(is_refused(&house.make(asked("dan", &[ACME])).await));
    house.pass(Span(59_999));
    assert!(is_refused(&house.make(asked("dan", &[ACME])).await));
    house.pass(Span(1));
    for user in ["dan", "eve"] {
        house.create(user, &[ACME]).await;
    }
    assert!(is_refused(&house.make(asked("fay", &[ACME])).await));
    // A tag that goes frees a seat, too.
    let of_eve = house.found(&of_user("eve")).await[0];
    let mut ask = Update::default();
    ask.patch.remove_tags = tags(&[ACME]);
    assert_eq!(
        house.update(of_eve, &ask).await.err().map(|why| super::house::why(&why)).unwrap(),
        "refused: tag_create_only"
    );
}

/// Those that the user's own limit ends free their seats before anybody else has to go.
#[tokio::test]
async fn the_users_own_sessions_go_first() {
    let (house, _) = faulty(policy(most(1, OnLimit::EndOldest), &[(ACME, seats(2))])).await;
    let (bob, _) = house.create("bob", &[ACME]).await;
    house.pass(Span(1));
    let (ada, _) = house.create("ada", &[ACME]).await;
    house.pass(Span(1));
    let again = good(house.make(asked("ada", &[ACME])).await);
    assert_eq!(again.evicted, [ada]);
    assert!(house.get(bob).await.ended.is_none());
    house.pass(Span(1));
    assert_eq!(good(house.make(asked("cy", &[ACME])).await).evicted, [bob]);
}

/// A tag that comes takes a seat, meets creations on equal terms, and whoever had it already takes none.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_tag_that_comes_takes_a_seat() {
    for mode in MODES {
        let plan = policy(most(10, mode), &[("plan:pro", seats(5))]);
        let (house, store) = faulty(plan.clone()).await;
        let mut plain = Vec::new();
        for n in 0..60 {
            plain.push(house.create(&format!("u{n}"), &[]).await.0);
        }
        let watcher = Watcher::new(&house, store.clone(), plan, of_tag("plan:pro"), 5).await;
        let mut crowd = JoinSet::new();
        for (n, id) in plain.into_iter().enumerate() {
            let (a, b, c) = (house.clone(), house.clone(), house.clone());
            crowd.spawn(async move { change(&a, id, "plan:pro").await.map(drop) });
            // Twice at once: it takes one.
            crowd.spawn(async move { change(&b, id, "plan:pro").await.map(drop) });
            crowd.spawn(async move { c.make(asked(&format!("v{n}"), &["plan:pro"])).await.map(drop) });
        }
        let outcomes = crowd.join_all().await;
        watcher.looked().await;
        let live = house.found(&of_tag("plan:pro")).await;
        assert_eq!(live.len(), 5, "{mode}");
        for outcome in &outcomes {
            // Of two changes of one session, the second may find that it has ended.
            let ended = matches!(outcome, Err(Stop::Refused(why)) if why.refusal.code == Code::SessionEnded);
            assert!(outcome.is_ok() || (mode == OnLimit::Reject && is_refused(outcome)) || ended);
        }
        assert!(good(change(&house, live[0], "plan:pro").await).evicted.is_empty());
        // Nothing is left over: five may go and five may come.
        for id in live {
            good(house.end(id).await);
        }
        for n in 0..5 {
            assert!(good(house.make(asked(&format!("w{n}"), &["plan:pro"])).await).evicted.is_empty());
        }
    }
}

/// Several tags with seats at once, asked for in every order: nobody waits in a circle.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn several_tags_and_nobody_waits_in_a_circle() {
    let of_tags = [("a:1", seats(4)), ("b:*", seats(3)), ("b:1", seats(6)), ("c:*", seats(2))];
    let plan = policy(most(10, OnLimit::EndOldest), &of_tags);
    let (house, store) = faulty(plan.clone()).await;
    let watcher = Watcher::new(&house, store.clone(), plan, of_tag("b:1"), 3).await;
    let mut crowd = JoinSet::new();
    for n in 0..200usize {
        let house = house.clone();
        crowd.spawn(async move {
            let mut with = ["a:1", "b:1", "c:1", "c:2"];
            with.rotate_left(n % 4);
            good(house.make(asked(&format!("u{n}"), &with[..1 + n % 4])).await);
        });
    }
    let all = tokio::time::timeout(Duration::from_secs(60), crowd.join_all()).await;
    assert!(all.is_ok(), "somebody waits for ever");
    watcher.looked().await;
    for (tag, most) in [("a:1", 4), ("b:1", 3), ("c:1", 2), ("c:2", 2)] {
        // One that had to go for one tag leaves its seat of another empty.
        assert!(house.found(&of_tag(tag)).await.len() <= most, "{tag}");
    }
    assert!(house.tally("live").await > 0);
}

/// The same request again takes no seat and evicts nobody, also when it comes many times at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_repeat_takes_no_seat() {
    let (house, _) = faulty(plan(2, OnLimit::EndOldest)).await;
    house.create("bob", &[ACME]).await;
    house.create("cy", &[ACME]).await;
    let mut crowd = JoinSet::new();
    for _ in 0..20 {
        let house = house.clone();
        crowd.spawn(async move {
            let mut ask = asked("ada", &[ACME]);
            ask.idempotency = Some(("once".into(), "{}".into()));
            good(house.make(ask).await)
        });
    }
    let made = crowd.join_all().await;
    let ids: BTreeSet<_> = made.iter().map(|made| made.view.session().id).collect();
    assert_eq!((ids.len(), made.iter().flat_map(|made| &made.evicted).count()), (1, 1));
    assert_eq!(house.found(&of_tag(ACME)).await.len(), 2);
}

/// A change of many has room for all or changes none where the policy refuses.
#[tokio::test]
async fn a_change_of_many_takes_seats_for_all_or_none() {
    let (house, _) = faulty(policy(most(10, OnLimit::Reject), &[("plan:pro", seats(3))])).await;
    for user in ["ada", "bob", "cy", "dan"] {
        house.create(user, &["team:a"]).await;
    }
    let mut ask = Update::default();
    ask.patch.add_tags = tags(&["plan:pro"]);
    let done = house.app.update_all(&house.caller(), &of_tag("team:a"), &ask).await;
    assert!(is_refused(&done));
    assert!(house.found(&of_tag("plan:pro")).await.is_empty());
    good(house.revoke_user("dan").await);
    assert_eq!(good(house.app.update_all(&house.caller(), &of_tag("team:a"), &ask).await).count, 3);
}

/// Nobody goes for a session that is refused for another reason, nor for a change that is.
#[tokio::test]
async fn nobody_goes_for_what_cannot_be() {
    let here = Arc::new([Network::parse("192.0.2.0/24").unwrap()].into_iter().collect());
    let rules = Rules { ip_allow: Some(here), ..seats(1) };
    let plan = policy(most(10, OnLimit::EndOldest), &[(ACME, rules), ("plan:pro", seats(1))]);
    let (house, _) = faulty(plan).await;
    let from = |user: &str, last: u8| {
        let mut ask = asked(user, &[ACME, "plan:pro"]);
        ask.client.ip = Some([192, 0, last, 7].into());
        ask
    };
    let sits = good(house.make(from("ada", 2)).await).view.session().id;
    let elsewhere = house.make(from("bob", 3)).await;
    assert_eq!(super::house::why(&elsewhere.err().unwrap()), "refused: ip_not_allowed");
    let mut long_ago = from("bob", 2);
    let auth = Auth { methods: Box::new([]), level: Level::new(1).unwrap() };
    long_ago.auth = Some(Proved { auth, at: Some(house.now().plus(Span::days(-31))) });
    let refused = house.make(long_ago).await;
    assert_eq!(super::house::why(&refused.err().unwrap()), "refused: invalid_request");
    // A tag that may not come.
    let (other, _) = house.create("bob", &[]).await;
    let mut ask = Update::default();
    ask.patch.add_tags = tags(&[ACME, "plan:pro"]);
    let refused = house.update(other, &ask).await;
    assert_eq!(super::house::why(&refused.err().unwrap()), "refused: tag_create_only");
    assert!(house.get(sits).await.ended.is_none());
    assert_eq!(good(house.make(from("cy", 2)).await).evicted, [sits]);
}
