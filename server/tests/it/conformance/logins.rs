//! One-time codes on any store: of all who exchange one, on whatever node, one succeeds; an end is an end; what was used
//! stays used.

use super::rules::{house, times};
use super::world::{World, cases};
use crate::engine::house::{House, Plan, Said, asked, good};
use handstamp_core::id::SessionId;
use handstamp_core::login::{KEPT, LIFE, Presented};
use handstamp_core::origin::WebOrigin;
use handstamp_core::refusal::Code;
use handstamp_server::app::Stop;
use handstamp_server::app::login::{Given, ToLogin};
use handstamp_server::app::origins::Purpose;
use tokio::task::{JoinSet, yield_now};

cases![exchanges_side_by_side, exchange_against_end, a_code_outlives_a_restart_and_not_its_time];

const APP: &str = "https://app.example.org";

async fn list(house: &House) {
    let origins = vec![WebOrigin::parse(APP).unwrap()];
    good(house.app.replace_origins(&house.caller(), Purpose::Redirect, None, origins).await);
}

/// A login, and its code.
async fn begin(house: &House, user: &str) -> (SessionId, String) {
    let login = Some(ToLogin { redirect_uri: format!("{APP}/data"), challenge: None });
    let made = good(house.make(handstamp_server::app::create::Create { login, ..asked(user, &[]) }).await);
    assert!(made.given.token().is_none());
    match made.given {
        Given::Code(given) => (made.view.session().id, given.code.reveal().to_owned()),
        Given::Tokens(_) => panic!("a token was given"),
    }
}

async fn exchange(house: &House, code: &str) -> Result<String, Code> {
    let presented = Presented { origin: APP, secret: None };
    match house.app.exchange_login(&house.caller(), code, presented).await {
        Ok(done) => Ok(done.issued.session.reveal().to_owned()),
        Err(Stop::Refused(refused)) => Err(refused.refusal.code),
        Err(Stop::Fault(fault)) => panic!("{fault}"),
    }
}

async fn exchanges_side_by_side(world: World) {
    let house = house(&world, Plan::default().roomy()).await;
    list(&house).await;
    // A second node: nothing inside of a process keeps the two apart.
    let second =
        House::at(world.store.clone(), house.clock.clone(), Plan { seed: 77, ..Plan::default().roomy() })
            .await;
    for round in 0..times(30, 500) {
        let (_, code) = begin(&house, &format!("ada{}", round % 5)).await;
        let mut asking = JoinSet::new();
        for n in 0..16 {
            let (house, code) = (if n % 2 == 0 { house.clone() } else { second.clone() }, code.clone());
            asking.spawn(async move { exchange(&house, &code).await });
        }
        let answers = asking.join_all().await;
        let tokens: Vec<&String> = answers.iter().filter_map(|answer| answer.as_ref().ok()).collect();
        assert_eq!(tokens.len(), 1, "{answers:?}");
        assert_eq!(
            answers.iter().filter(|answer| **answer == Err(Code::LoginCodeUsed)).count(),
            15,
            "{answers:?}"
        );
        assert_eq!(house.validate(tokens[0]).await, Said::Allowed(None));
    }
}

async fn exchange_against_end(world: World) {
    let house = house(&world, Plan::default().roomy()).await;
    list(&house).await;
    for round in 0..times(40, 500) {
        let (id, code) = begin(&house, "ada").await;
        let exchanging = tokio::spawn({
            let (house, code) = (house.clone(), code.clone());
            async move { exchange(&house, &code).await }
        });
        for _ in 0..round % 7 {
            yield_now().await;
        }
        assert!(good(house.end(id).await));
        match exchanging.await.unwrap() {
            Ok(token) => assert_eq!(house.validate(&token).await, Said::Refused(Code::SessionRevoked)),
            Err(code) => assert_eq!(code, Code::SessionEnded),
        }
        assert_eq!(exchange(&house, &code).await, Err(Code::SessionEnded));
    }
}

async fn a_code_outlives_a_restart_and_not_its_time(mut world: World) {
    if !world.durable() {
        return;
    }
    let plan = Plan::default().roomy();
    let mut house = house(&world, plan.clone()).await;
    list(&house).await;
    let (_, used) = begin(&house, "ada").await;
    let (_, open) = begin(&house, "ada").await;
    let (_, late) = begin(&house, "ada").await;
    let token = exchange(&house, &used).await.unwrap();
    let clock = house.clock.clone();
    world.reopen().await;
    house = House::at(world.store.clone(), clock.clone(), Plan { seed: 5, ..plan.clone() }).await;
    assert_eq!(exchange(&house, &used).await, Err(Code::LoginCodeUsed));
    assert_eq!(house.validate(&token).await, Said::Allowed(None));
    assert!(exchange(&house, &open).await.is_ok());
    house.pass(LIFE);
    assert_eq!(exchange(&house, &late).await, Err(Code::LoginCodeExpired));
    house.pass(KEPT);
    house.tidy().await;
    // Nothing is known of any of them any more, and none of them works.
    for code in [&used, &open, &late] {
        assert_eq!(exchange(&house, code).await, Err(Code::LoginCodeExpired));
    }
}
