//! Honest clients whose answers get lost, and whose requests come several at a time: nobody is called a thief, however
//! often they rotate.

use super::house::{House, Plan, Said, good};
use super::sim::Dice;
use handstamp_core::time::Span;
use handstamp_server::app::Stop;
use handstamp_server::app::search::Filter;
use handstamp_server::store::faulty::{Call, Fault, Faulty};
use handstamp_server::store::memory::Memory;
use std::sync::Arc;
use tokio::task::JoinSet;

const TABS: usize = 3;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_false_theft() {
    let (clients, generations) = if super::full() { (500, 2_600) } else { (100, 30) };
    let store = Arc::new(Faulty::new(Arc::new(Memory::new())));
    let house = House::new(store.clone(), Plan::rotating(Span::secs(10), Span::secs(8))).await;
    let mut dice = Dice(42);
    let mut jars = Vec::new();
    for n in 0..clients {
        jars.push(house.create(&format!("u{n}"), &[]).await);
    }
    let (mut rotations, mut lost, mut faults, mut superseded) = (0u64, 0u64, 0u64, 0u64);
    for generation in 0..generations {
        house.pass(Span::secs(10));
        let script = (0..clients * 2).map(|_| match dice.roll(12) {
            0 => Fault::LoseAnswer,
            1 => Fault::Before,
            2 => Fault::Conflict,
            3 => Fault::Delay(3),
            _ => Fault::None,
        });
        store.plan(Call::Commit, script);
        for jar in &mut jars {
            // Some generations a client does not come by; then it is older than it should be.
            if dice.roll(10) == 0 {
                continue;
            }
            let mut asking = JoinSet::new();
            for tab in 0..TABS {
                let (house, token) = (house.clone(), jar.1.clone());
                asking.spawn(async move { house.try_validate(&token, true, tab == 1).await });
            }
            let mut next = None;
            for answer in asking.join_all().await {
                match answer {
                    // The network loses it, or the browser goes away.
                    _ if dice.roll(3) == 0 => lost += 1,
                    Ok(Said::Allowed(Some(token))) => {
                        assert!(next.as_ref().is_none_or(|known| *known == token), "the chain forked");
                        next = Some(token);
                    }
                    Ok(Said::Allowed(None)) => {}
                    Ok(Said::Refused(handstamp_core::refusal::Code::TokenSuperseded)) => superseded += 1,
                    Ok(Said::Refused(code)) => panic!("{code:?} in generation {generation}"),
                    Err(Stop::Fault(_)) => faults += 1,
                    Err(_) => panic!("a refusal of the call"),
                }
            }
            if let Some(token) = next {
                jar.1 = token;
                rotations += 1;
            }
        }
    }
    assert_eq!(house.found(&Filter::default()).await.len(), clients);
    for (_, token) in &jars {
        let said = loop {
            match house.try_validate(token, false, true).await {
                Err(Stop::Fault(_)) => faults += 1,
                other => break good(other),
            }
        };
        assert_eq!(said, Said::Allowed(None));
    }
    println!(
        "{rotations} rotations, {lost} lost answers, {faults} faults, {superseded} superseded, no theft"
    );
    assert_eq!(superseded, 0);
}
