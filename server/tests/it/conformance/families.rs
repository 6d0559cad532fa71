//! The table of rotation for sessions with refresh, row by row through each store: lost answers, thieves, old session
//! tokens, and both sides of each boundary in time.

use super::refreshes::{GRACE, policy};
use super::small::{Pair, Small, Told, login};
use super::world::{World, cases};
use handstamp_core::event::EventKind;
use handstamp_core::id::SessionId;
use handstamp_core::refusal::Code;
use handstamp_core::session::State;
use handstamp_core::time::Span;
use handstamp_core::transition::create::NewSession;
use handstamp_server::store::StoreError;
use handstamp_server::store::faulty::{Call, Fault, Faulty};
use std::sync::Arc;

cases![
    a_lost_answer_is_repeated,
    a_stolen_refresh_token_ends_the_family,
    old_session_tokens_obey_the_table_and_lead_nowhere,
    both_sides_of_the_end_of_a_family,
];

const SUPERSEDED: Told = Told::Refused(Code::TokenSuperseded);
const REUSED: Told = Told::Refused(Code::TokenReused);

async fn is_live(small: &Small, id: SessionId) -> bool {
    small.load(id).await.unwrap().session.is_live()
}

/// A session, its first pair and the one that follows, which nobody has presented yet.
async fn refreshed(small: &Small) -> (SessionId, Pair, Pair) {
    let (id, first) = small.create(login("ada", true)).await;
    let second = small.present(first.refresh()).await.pair();
    assert_eq!(small.load(id).await.unwrap().session.chain.generation, 1);
    (id, first, second)
}

/// The store did it and the answer never came: asking again gives the same again, over a restart as well. If the store
/// never heard of it, asking again is asking for the first time.
async fn a_lost_answer_is_repeated(mut world: World) {
    let small = Small::new(&world.store, policy());
    for (fault, done) in [(Fault::LoseAnswer, true), (Fault::Before, false), (Fault::Conflict, true)] {
        let small = small.over(world.store.clone());
        let (id, first) = small.create(login("ada", true)).await;
        let faulty = Arc::new(Faulty::new(world.store.clone()));
        faulty.plan(Call::Commit, [fault.clone()]);
        let told = small.over(faulty.clone()).try_present(first.refresh()).await;
        match (&fault, &told) {
            // Nobody came first: decided again, it goes through.
            (Fault::Conflict, Ok(Told::Allowed(Some(_)))) => {}
            (_, Err(StoreError::Unavailable(_))) => {}
            _ => panic!("{fault:?}: {told:?}"),
        }
        assert_eq!(faulty.left(), 0);
        let found = small.load(id).await.unwrap();
        assert_eq!(found.session.chain.generation, u32::from(done), "{fault:?}");
        let second = small.present(first.refresh()).await.pair();
        if let Ok(told) = told {
            assert_eq!(told.pair(), second);
        }
        let version = small.load(id).await.unwrap().version;
        assert_eq!(version, found.version + u64::from(!done), "it was made once");
        // Nobody holds the successor for sure: the same again, however late.
        small.pass(Span::minutes(5));
        assert_eq!(small.present(first.refresh()).await.pair(), second);
        let small = if world.durable() {
            world.reopen().await;
            small.over(world.store.clone())
        } else {
            small
        };
        assert_eq!(small.present(first.refresh()).await.pair(), second);
        assert_eq!(small.load(id).await.unwrap().version, version, "a repetition changes nothing");
        // The first presentation of the successor starts the grace, its own lost answer included.
        let faulty = Arc::new(Faulty::new(world.store.clone()));
        faulty.plan(Call::Commit, [Fault::LoseAnswer]);
        assert!(small.over(faulty).try_present(second.refresh()).await.is_err());
        small.pass(Span(GRACE.0 - 1));
        assert_eq!(small.present(first.refresh()).await, SUPERSEDED, "two back: nothing is repeated");
        let third = small.present(second.refresh()).await.pair();
        assert_eq!(small.present(&third.session).await, Told::Allowed(None));
        assert_eq!(small.story(id).await.len(), 1, "nothing but its creation");
        assert!(small.revoke(id).await);
    }
}

/// How the successor comes to be presented.
#[derive(Clone, Copy, PartialEq, Debug)]
enum By {
    Session,
    Refresh,
}

/// A millisecond before the grace is over the token before is late; at its end, presenting it is a theft, which ends the
/// family for the thief and for the owner.
async fn a_stolen_refresh_token_ends_the_family(world: World) {
    let small = Small::new(&world.store, policy());
    let grace = GRACE;
    for by in [By::Session, By::Refresh] {
        for (after, stolen) in [(0, false), (grace.0 - 1, false), (grace.0, true), (grace.0 + 1, true)] {
            let (id, first, second) = refreshed(&small).await;
            // As long as nobody has presented the successor the owner may just have lost it.
            small.pass(Span::minutes(5));
            assert_eq!(small.present(first.refresh()).await.pair(), second);
            let mut owner = second.clone();
            match by {
                By::Session => assert_eq!(small.present(&second.session).await, Told::Allowed(None)),
                By::Refresh => owner = small.present(second.refresh()).await.pair(),
            }
            small.pass(Span(after));
            let told = small.present(first.refresh()).await;
            let expected = match (stolen, by) {
                (true, _) => REUSED,
                (false, By::Session) => Told::Allowed(Some(second.clone())),
                (false, By::Refresh) => SUPERSEDED,
            };
            assert_eq!(told, expected, "{by:?}, {after} ms");
            assert_eq!(is_live(&small, id).await, !stolen);
            let story = small.story(id).await;
            assert_eq!(story.len(), 1 + usize::from(stolen));
            if !stolen {
                assert_eq!(small.present(&owner.session).await, Told::Allowed(None));
                assert!(matches!(small.present(owner.refresh()).await, Told::Allowed(Some(_))));
                assert!(small.revoke(id).await);
                continue;
            }
            assert_eq!((story[1].kind, story[1].code), (EventKind::Ended, Some(Code::TokenReused)));
            assert_eq!((story[1].at, story[1].rule.as_deref()), (small.now(), Some("rotation")));
            for pair in [&first, &second, &owner] {
                assert_eq!(small.present(&pair.session).await, REUSED);
                assert_eq!(small.present(pair.refresh()).await, REUSED);
            }
        }
    }
    assert_eq!((small.tally().await, small.counted("ada").await), (0, 0));
}

/// A session with refresh rotates by refresh only. Its old session tokens are late, then stolen, at the times of the
/// table, and at no time bring a successor.
async fn old_session_tokens_obey_the_table_and_lead_nowhere(world: World) {
    let small = Small::new(&world.store, policy());
    let grace = GRACE;
    for (after, stolen) in [(grace.0 - 1, false), (grace.0, true)] {
        let (id, first) = small.create(login("ada", true)).await;
        // Long due for a rotation, were it one without refresh.
        small.pass(Span::minutes(5));
        assert_eq!(small.present(&first.session).await, Told::Allowed(None));
        assert_eq!(small.load(id).await.unwrap().session.chain.generation, 0);
        let second = small.present(first.refresh()).await.pair();
        for _ in 0..3 {
            assert_eq!(small.present(&first.session).await, SUPERSEDED, "late, and no way to the successor");
            small.pass(Span::minutes(1));
        }
        assert_eq!(small.present(&second.session).await, Told::Allowed(None));
        small.pass(Span(after));
        assert_eq!(small.present(&first.session).await, if stolen { REUSED } else { SUPERSEDED });
        assert_eq!(is_live(&small, id).await, !stolen);
        let expected = if stolen { REUSED } else { Told::Allowed(None) };
        assert_eq!(small.present(&second.session).await, expected);
        let chain = small.load(id).await.unwrap().session.chain;
        assert_eq!(chain.generation, 1, "no session token made a generation");
        small.revoke(id).await;
    }
    // One without refresh, for comparison: the same presentations bring and repeat a successor.
    let (id, first) = small.create(login("bob", false)).await;
    small.pass(Span::minutes(5));
    let second = small.present(&first.session).await.pair();
    assert_eq!(second.refresh, None);
    assert_eq!(small.present(&first.session).await.pair(), second);
    assert_eq!(small.load(id).await.unwrap().session.chain.generation, 1);
}

/// A family lives for `refresh_timeout` from its login, however often it is refreshed, and `absolute_timeout` means
/// others; `expires_in` may shorten it; a refresh is activity, and comes too late at the very end of the idle time.
async fn both_sides_of_the_end_of_a_family(world: World) {
    let small = Small::new(&world.store, policy());
    let (idle, own) = (Span::minutes(10), Span::minutes(95));
    let ask = |refresh, expires_in| NewSession { expires_in, ..login("ada", refresh) };
    for (new, life, code) in [
        (ask(true, None), Span::hours(2), Code::SessionExpired),
        (ask(true, Some(own)), own, Code::SessionExpired),
        (ask(false, None), Span::hours(1), Code::SessionExpired),
        (ask(true, None), idle, Code::SessionIdle),
    ] {
        for over in [false, true] {
            let refresh = new.refresh;
            let (id, mut pair) = small.create(new.clone()).await;
            let (made, end) = (small.now(), small.now().plus(life));
            let token = |pair: &Pair| if refresh { pair.refresh().to_owned() } else { pair.session.clone() };
            // Active to the last, where it is not about idleness; each refresh keeps the session from being idle.
            while code == Code::SessionExpired && small.now().plus(idle) < end {
                small.pass(Span(idle.0 - 1));
                pair = small.present(&token(&pair)).await.pair();
            }
            let left = end.since(small.now()).0 - i64::from(!over);
            small.pass(Span(left));
            let told = small.present(&token(&pair)).await;
            assert_eq!(is_live(&small, id).await, !over, "{code:?} after {life}");
            if !over {
                let Told::Allowed(given) = told else { panic!("{told:?} a millisecond before the end") };
                assert!(given.is_some() || !refresh);
                assert!(small.revoke(id).await);
                continue;
            }
            assert_eq!(told, Told::Refused(code), "at {life}");
            assert_eq!(small.present(&pair.session).await, Told::Refused(code));
            // The refusal wrote it down, once, dated to that instant.
            let State::Ended(written) = small.load(id).await.unwrap().session.state else { panic!() };
            assert_eq!((written.at, written.code), (made.plus(life), code));
            assert_eq!(small.story(id).await.len(), 2);
            assert!(!small.settle(id).await && !small.revoke(id).await);
        }
    }
    assert_eq!((small.tally().await, small.counted("ada").await), (0, 0));
    // The same family under a policy with no time left for it.
    let tight = Small::new(
        &world.store,
        policy().with(|rules| {
            rules.refresh_timeout = Some(Span::secs(1));
        }),
    );
    let (_, pair) = tight.create(login("cy", true)).await;
    tight.pass(Span(999));
    let next = tight.present(pair.refresh()).await.pair();
    tight.pass(Span(1));
    assert_eq!(tight.present(next.refresh()).await, Told::Refused(Code::SessionExpired));
}
