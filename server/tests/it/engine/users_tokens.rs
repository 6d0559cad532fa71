//! Access tokens for who names only the user: of which session they are made, also while sessions end, and what they say.

use super::house::{House, Plan, Said, asked, good, user};
use crate::front::{Front, Fronted};
use async_trait::async_trait;
use handstamp_core::access_token::Wish;
use handstamp_core::id::SessionId;
use handstamp_core::jose::claims::{Claims, TYPE};
use handstamp_core::jose::jws::Unverified;
use handstamp_core::refusal::Code;
use handstamp_core::session::Actor;
use handstamp_core::time::Span;
use handstamp_server::app::Stop;
use handstamp_server::app::access_tokens::Order;
use handstamp_server::app::validate::{Access, Ask, Validated};
use handstamp_server::codec::session_key;
use handstamp_server::store::memory::Memory;
use handstamp_server::store::{Key, Store, StoreError, Versioned};
use std::sync::{Arc, Mutex, OnceLock};

async fn house() -> House {
    House::new(Arc::new(Memory::new()), Plan::default()).await
}

/// What a token says that the environment's own key signed.
fn claims(house: &House, token: &str) -> Claims {
    let read = Unverified::read(token, TYPE).ok().unwrap();
    let env = house.caller().env;
    let key = env.tokens.verifier(read.kid(), house.now()).unwrap();
    Claims::read(&read.verify(key).ok().unwrap()).ok().unwrap()
}

/// Of which session a token of the user is made; or why of none.
async fn chosen(house: &House, of: &str, named: Option<SessionId>) -> Result<SessionId, (Code, String)> {
    match house.app.mint_for(&house.caller(), &user(of), named, &Order::default()).await {
        Ok(made) => {
            let said = claims(house, made.token.reveal());
            assert_eq!((said.subject.as_str(), said.until()), (of, made.expires_at));
            Ok(said.session)
        }
        Err(Stop::Refused(refused)) => Err((refused.refusal.code, refused.detail.unwrap_or_default())),
        Err(Stop::Fault(fault)) => panic!("{fault}"),
    }
}

fn code<T: std::fmt::Debug>(outcome: Result<T, (Code, String)>) -> Code {
    outcome.unwrap_err().0
}

#[tokio::test]
async fn it_is_the_session_that_the_user_was_active_in_last() {
    let house = house().await;
    assert_eq!(code(chosen(&house, "ada", None).await), Code::NotFound, "nobody is there");
    let (first, token) = house.create("ada", &[]).await;
    house.create("bob", &[]).await;
    house.pass(Span::secs(1));
    let (second, other) = house.create("ada", &[]).await;
    assert_eq!(chosen(&house, "ada", None).await, Ok(second));
    // Activity counts before anybody has written it.
    let stored = house.store.load(&[session_key(house.caller().env.record.id, first)]).await.unwrap();
    house.pass(Span::secs(5));
    assert_eq!(house.validate(&token).await, Said::Allowed(None));
    let same = house.store.load(&[session_key(house.caller().env.record.id, first)]).await.unwrap();
    assert!(stored[0].as_ref().unwrap().record.seen == same[0].as_ref().unwrap().record.seen, "not written");
    assert_eq!(chosen(&house, "ada", None).await, Ok(first));
    house.pass(Span::millis(1));
    assert_eq!(house.validate(&other).await, Said::Allowed(None));
    assert_eq!(chosen(&house, "ada", None).await, Ok(second));
    // At the same instant the younger one.
    assert_eq!(house.validate(&token).await, Said::Allowed(None));
    assert_eq!(chosen(&house, "ada", None).await, Ok(first.max(second)));
    // An access token is no activity.
    house.pass(Span::millis(1));
    assert_eq!(chosen(&house, "ada", Some(first)).await, Ok(first));
    assert_eq!(chosen(&house, "ada", None).await, Ok(first.max(second)));
    // Once one has ended it is the other one, then none.
    good(house.end(second).await);
    assert_eq!(chosen(&house, "ada", None).await, Ok(first));
    good(house.revoke_user("ada").await);
    let (code, said) = chosen(&house, "ada", None).await.unwrap_err();
    assert!(code == Code::NotFound && said.contains("no live session"), "{said}");
}

#[tokio::test]
async fn what_time_or_an_epoch_has_ended_is_not_chosen_although_nobody_has_written_it() {
    let house = House::new(Arc::new(Memory::new()), Plan::idle(Span::minutes(10))).await;
    let (old, token) = house.create("ada", &["team:red"]).await;
    house.pass(Span::minutes(9));
    let (young, _) = house.create("ada", &["team:blue"]).await;
    house.pass(Span::minutes(2));
    assert_eq!(chosen(&house, "ada", None).await, Ok(young));
    assert_eq!(code(chosen(&house, "ada", Some(old)).await), Code::SessionEnded);
    assert_eq!(house.validate(&token).await, Said::Refused(Code::SessionIdle));
    let blue = handstamp_server::app::end::Target::Filter(super::house::of_tag("team:blue"));
    good(house.revoke(blue, None).await);
    assert_eq!(code(chosen(&house, "ada", None).await), Code::NotFound);
    assert_eq!(code(chosen(&house, "ada", Some(young)).await), Code::SessionEnded);
}

#[tokio::test]
async fn a_session_that_is_named_must_be_the_users() {
    let house = house().await;
    let (adas, _) = house.create("ada", &[]).await;
    let (bobs, _) = house.create("bob", &[]).await;
    assert_eq!(chosen(&house, "ada", Some(adas)).await, Ok(adas));
    let nobodys = SessionId(bobs.0.map(|byte| byte ^ 1));
    let (strange, gone) =
        (chosen(&house, "ada", Some(bobs)).await, chosen(&house, "ada", Some(nobodys)).await);
    let (strange, gone) = (strange.unwrap_err(), gone.unwrap_err());
    assert_eq!((strange.0, gone.0), (Code::NotFound, Code::NotFound));
    // The two tell nothing apart but the name that was asked for.
    assert_eq!(strange.1.replace(&bobs.to_string(), "x"), gone.1.replace(&nobodys.to_string(), "x"));
    let view = house.get(bobs).await;
    assert_eq!(view.session().tokens_until, None, "and nothing is noted of it");
}

#[tokio::test]
async fn nobody_gets_a_token_of_a_session_in_which_somebody_acts_for_the_user_unless_it_is_named() {
    let house = house().await;
    let actor = Actor { id: user("grace"), reason: "ticket 1".into() };
    let acting = good(
        house.make(handstamp_server::app::create::Create { actor: Some(actor), ..asked("ada", &[]) }).await,
    );
    let acting = acting.view.session().id;
    assert_eq!(code(chosen(&house, "ada", None).await), Code::NotFound);
    let (own, _) = house.create("ada", &[]).await;
    house.pass(Span::secs(1));
    assert_eq!(chosen(&house, "ada", None).await, Ok(own));
    let made = good(house.app.mint_for(&house.caller(), &user("ada"), Some(acting), &Order::default()).await);
    assert_eq!(claims(&house, made.token.reveal()).actor.as_deref(), Some("grace"));
}

/// When a session ends: at a load of it alone.
#[derive(Clone, Copy)]
enum At {
    /// Before that load.
    Before(u32),
    /// After it: whoever asked has an answer that is no longer true.
    After(u32),
}

/// Ends sessions while they are chosen.
#[derive(Default)]
struct EndsFirst {
    inner: Memory,
    house: OnceLock<House>,
    next: Mutex<Vec<(SessionId, At)>>,
}

impl EndsFirst {
    /// Counts a load, and says what is due at it.
    fn due(&self, keys: &[Key]) -> Option<(&House, SessionId, bool)> {
        let mut all = self.next.lock().unwrap();
        let house = self.house.get()?;
        let env = house.caller().env.record.id;
        let (id, at) = all.iter_mut().find(|(id, _)| keys == [session_key(env, *id)])?;
        let (left, after) = match at {
            At::Before(left) => (left, false),
            At::After(left) => (left, true),
        };
        *left = left.checked_sub(1)?;
        (*left == 0).then_some((house, *id, after))
    }
}

#[async_trait]
impl Front for EndsFirst {
    fn inner(&self) -> &dyn Store {
        &self.inner
    }
    async fn load(&self, keys: &[Key]) -> Result<Vec<Option<Versioned>>, StoreError> {
        let due = self.due(keys);
        let found = match &due {
            Some((.., true)) => Some(self.inner.load(keys).await),
            Some((.., false)) | None => None,
        };
        if let Some((house, id, _)) = due {
            assert!(good(Box::pin(house.end(id)).await), "it lived until then");
        }
        match found {
            Some(found) => found,
            None => self.inner.load(keys).await,
        }
    }
}

#[tokio::test]
async fn a_session_that_ends_after_it_was_chosen_gives_way_to_the_next() {
    let front = Arc::new(Fronted(EndsFirst::default()));
    let house = House::new(front.clone(), Plan::default()).await;
    let mut all = Vec::new();
    for _ in 0..3 {
        all.push(house.create("ada", &[]).await.0);
        house.pass(Span::secs(1));
    }
    // The youngest before it is looked at, the next one after that, and before its token is noted.
    let arm = |which: Vec<(SessionId, At)>| *front.0.next.lock().unwrap() = which;
    assert!(front.0.house.set(house.clone()).is_ok());
    arm(vec![(all[2], At::Before(1)), (all[1], At::After(1))]);
    assert_eq!(chosen(&house, "ada", None).await, Ok(all[0]));
    assert!(house.get(all[2]).await.ended.is_some() && house.get(all[1]).await.ended.is_some());
    // The only one that is left is the only one that is loaded: chosen with the first load, gone with the second.
    house.pass(Span::minutes(10));
    arm(vec![(all[0], At::Before(2))]);
    assert_eq!(code(chosen(&house, "ada", None).await), Code::NotFound);
    assert!(house.get(all[0]).await.ended.is_some());
    // One that was named is not replaced by another.
    let (named, _) = house.create("ada", &[]).await;
    house.create("ada", &[]).await;
    arm(vec![(named, At::Before(1))]);
    assert_eq!(code(chosen(&house, "ada", Some(named)).await), Code::SessionEnded);
}

/// Under another issuer's name it is a token like any other: of a session, signed by the environment's key, its end noted; but
/// not one that this server takes.
#[tokio::test]
async fn another_issuer_is_a_name_and_nothing_more() {
    let house = house().await;
    let (id, _) = house.create("ada", &[]).await;
    let wish = Wish::default().issued_as("https://shop.example".to_owned()).ok().unwrap();
    let order = Order { wish, algorithm: None };
    let made = good(house.app.mint_for(&house.caller(), &user("ada"), None, &order).await);
    let said = claims(&house, made.token.reveal());
    assert_eq!((said.issuer.as_str(), said.session), ("https://shop.example", id));
    assert_eq!((said.audience, said.epoch), (vec!["default/prd".to_owned()], 0));
    assert!(house.get(id).await.session().tokens_until.is_some_and(|until| until >= made.expires_at));
    let ask = |token| Ask { token, access: Some(Access::default()), ..Ask::default() };
    match good(house.app.validate(&house.caller().env, ask(made.token.reveal())).await) {
        Validated::Refused { refusal, session, .. } => {
            assert_eq!((refusal.code, session), (Code::TokenMalformed, None));
        }
        Validated::Current(_) | Validated::Allowed { .. } => panic!("it is not ours"),
    }
    // Its own name is no other name.
    let wish = Wish::default().issued_as("handstamp:default/prd".to_owned()).ok().unwrap();
    let made =
        good(house.app.mint_for(&house.caller(), &user("ada"), None, &Order { wish, algorithm: None }).await);
    let again = good(house.app.validate(&house.caller().env, ask(made.token.reveal())).await);
    assert!(matches!(again, Validated::Allowed { .. } | Validated::Current(_)));
}
