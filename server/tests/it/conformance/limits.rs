//! Limits through each store: whatever races, a user never has one session too many, and who made room is told why.

use super::rules::times;
use super::small::{Small, Told, login};
use super::world::{World, cases};
use handstamp_core::event::EventKind;
use handstamp_core::limit::OnLimit;
use handstamp_core::policy::{Policy, Rules};
use handstamp_core::refusal::Code;
use handstamp_core::time::Span;
use std::collections::HashSet;
use tokio::task::JoinSet;

cases![a_limit_is_never_exceeded, a_limit_counts_the_living_only, room_is_made_by_the_rule];

const MODES: [(&str, OnLimit); 3] =
    [("reject", OnLimit::Reject), ("oldest", OnLimit::EndOldest), ("least", OnLimit::EndLeastRecent)];

/// A hundred creations of one user side by side, each of which goes on to refresh what it got: at no instant are there
/// more than three, and those that had to go stay gone, whatever they were doing.
async fn a_limit_is_never_exceeded(world: World) {
    let small = Small::new(&world.store, Policy::default());
    for (who, mode) in MODES {
        let mut gone = 0;
        for round in 0..times(2, 20) {
            let mut creating = JoinSet::new();
            for _ in 0..100 {
                let small = small.clone();
                creating.spawn(async move {
                    let (id, pair) = small.create_within(login(who, true), 3, mode).await?;
                    assert!(small.living(who).await.len() <= 3, "the limit is exceeded");
                    Some((id, pair.clone(), small.present(pair.refresh()).await))
                });
            }
            let made: Vec<_> = creating.join_all().await.into_iter().flatten().collect();
            match mode {
                OnLimit::Reject => assert_eq!(made.len(), if round == 0 { 3 } else { 0 }),
                OnLimit::EndOldest | OnLimit::EndLeastRecent => assert_eq!(made.len(), 100),
            }
            let living: HashSet<_> = small.living(who).await.into_iter().collect();
            assert_eq!((living.len(), small.counted(who).await), (3, 3));
            for (id, first, told) in made {
                let lives = living.contains(&id);
                let evicted = Told::Refused(Code::SessionEvicted);
                assert!(!lives || told != evicted);
                let tokens = match told {
                    Told::Allowed(Some(next)) => vec![next.session.clone(), next.refresh().to_owned()],
                    other => {
                        assert_eq!(other, evicted);
                        vec![first.session.clone(), first.refresh().to_owned()]
                    }
                };
                for token in tokens {
                    let told = small.present(&token).await;
                    assert_eq!(told == evicted, !lives, "{told:?}");
                }
                let story = small.story(id).await;
                assert_eq!(story.len(), 1 + usize::from(!lives), "created, and ended once");
                if let Some(end) = story.get(1) {
                    assert_eq!((end.kind, end.code), (EventKind::Ended, Some(Code::SessionEvicted)));
                    assert_eq!(end.rule.as_deref(), Some("max_sessions"));
                    gone += 1;
                }
            }
            // So that in the next round these are the oldest, and the ones that were used least recently.
            small.pass(Span::secs(1));
        }
        let rounds = times(2, 20);
        match mode {
            OnLimit::Reject => assert_eq!(gone, 0),
            OnLimit::EndOldest | OnLimit::EndLeastRecent => assert_eq!(gone, rounds * 97),
        }
    }
    assert_eq!(small.tally().await, 9);
}

/// Whom time has ended takes no place, also before housekeeping has written that down, and both sides of that instant.
async fn a_limit_counts_the_living_only(world: World) {
    let policy = Policy::from(Rules { idle_timeout: Some(Span::minutes(10)), ..Rules::default() });
    let small = Small::new(&world.store, policy);
    for (who, mode) in MODES {
        let mut made = Vec::new();
        for _ in 0..3 {
            made.push(small.create_within(login(who, true), 3, mode).await.unwrap());
            small.pass(Span(1));
        }
        // The first one's last millisecond.
        small.pass(Span(Span::minutes(10).0 - 4));
        if mode == OnLimit::Reject {
            assert!(small.create_within(login(who, true), 3, mode).await.is_none());
        }
        small.pass(Span(1));
        let creating: JoinSet<_> = (0..100)
            .map(|_| {
                let small = small.clone();
                async move { small.create_within(login(who, true), 3, mode).await.is_some() }
            })
            .collect();
        let new = creating.join_all().await.into_iter().filter(|made| *made).count();
        assert_eq!(new, if mode == OnLimit::Reject { 1 } else { 100 });
        // By time, not to make room: that is what it is told, and what housekeeping writes.
        assert_eq!(small.present(made[0].1.refresh()).await, Told::Refused(Code::SessionIdle));
        assert_eq!(small.story(made[0].0).await[1].code, Some(Code::SessionIdle));
        assert!(!small.settle(made[0].0).await);
        assert_eq!((small.living(who).await.len(), small.counted(who).await), (3, 3));
    }
}

/// The oldest by creation, or the one that was used least recently: and nobody else.
async fn room_is_made_by_the_rule(world: World) {
    let small = Small::new(&world.store, Policy::default());
    for (who, mode, goes) in [("oldest", OnLimit::EndOldest, 0), ("least", OnLimit::EndLeastRecent, 1)] {
        let mut made = Vec::new();
        for _ in 0..3 {
            made.push(small.create_within(login(who, true), 3, mode).await.unwrap());
            small.pass(Span::secs(1));
        }
        // A refresh of the oldest is activity; the second has now been quiet for longest.
        let next = small.present(made[0].1.refresh()).await.pair();
        small.pass(Span::secs(1));
        let (id, _) = small.create_within(login(who, true), 3, mode).await.unwrap();
        let living: HashSet<_> = small.living(who).await.into_iter().collect();
        assert!(living.len() == 3 && living.contains(&id));
        for (n, (id, _)) in made.iter().enumerate() {
            assert_eq!(living.contains(id), n != goes, "{who}, {n}");
        }
        let told = small.present(next.refresh()).await;
        assert_eq!(told == Told::Refused(Code::SessionEvicted), goes == 0);
    }
}
