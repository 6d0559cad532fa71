//! The first key of an algorithm: made when somebody needs it, once, whoever else needs it at the same time, and while the
//! others go on.

use super::house::{House, Plan, good, is_fault};
use super::token_keys::{env, house};
use handstamp_core::event::EventKind;
use handstamp_core::jose::json::{Json, Members, read_object};
use handstamp_core::jose::key::{Algorithm, VerifyingKey};
use handstamp_core::session::By;
use handstamp_core::signing::{ACTIVATE_IN, Job, RETIRE_IN, State, TokenKey};
use handstamp_server::app::history::Wanted;
use handstamp_server::app::signing::Rotation;
use handstamp_server::host::entropy::{Entropy, SeededEntropy};
use handstamp_server::store::faulty::{Call, Fault, Faulty};
use handstamp_server::store::memory::Memory;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

const RS256: Algorithm = Algorithm::Rs256;

/// The keys of a job, as the environment has them.
fn keys(house: &House, job: Job) -> Vec<TokenKey> {
    env(house).tokens.stored().into_iter().filter(|key| key.job == job).collect()
}

#[tokio::test]
async fn there_is_none_until_it_is_needed_and_then_it_signs_at_once() {
    let house = house().await;
    let history =
        async || good(house.app.history(&house.caller(), &Wanted::default(), None, 1_000).await).lines;
    let before = history().await.len();
    assert!(keys(&house, Job::Rs256).is_empty() && env(&house).tokens.rsa_keys(house.now()).is_empty());
    let had = good(house.app.have_signing_key(&house.caller(), RS256).await);
    let key = &keys(&house, Job::Rs256)[0];
    assert_eq!((key.life.state(house.now()), key.life.activate_at), (State::Active, house.now()));
    assert!(had.tokens.stored() == env(&house).tokens.stored(), "what is given is what there is");
    // It is told once, by nobody in particular.
    let lines = history().await;
    let told: Vec<_> = lines.iter().skip(before).map(|line| &line.event).collect();
    assert_eq!(told.len(), 1);
    assert_eq!((told[0].kind, &told[0].by), (EventKind::KeysRotated, &By::System));
    let note = told[0].note.as_deref().unwrap();
    assert!(
        note.starts_with(&format!("RS256 {}", key.kid)) && note.ends_with("the first of its algorithm"),
        "{note}"
    );
    // Who needs it again finds it, also after a start.
    good(house.app.have_signing_key(&house.caller(), RS256).await);
    let later = house.after_crash(Plan::default()).await;
    good(later.app.have_signing_key(&later.caller(), RS256).await);
    assert!(keys(&later, Job::Rs256) == keys(&house, Job::Rs256) && keys(&house, Job::Rs256).len() == 1);
}

/// The structure says what the text of the public set says, of RSA keys and of no others.
#[tokio::test]
async fn rsa_keys_are_those_of_the_public_set() {
    let house = house().await;
    for algorithm in [Algorithm::Es256, RS256] {
        good(house.app.have_signing_key(&house.caller(), algorithm).await);
    }
    let said = |house: &House| -> Vec<String> {
        let env = env(house);
        let mut kids = Vec::new();
        for key in env.tokens.rsa_keys(house.now()) {
            let mut jwk = Members::default();
            for (name, text) in [
                ("kty", "RSA"),
                ("alg", "RS256"),
                ("use", "sig"),
                ("kid", key.kid),
                ("n", key.modulus),
                ("e", key.exponent),
            ] {
                jwk.add(name, Json::Text(text.to_owned())).ok().unwrap();
            }
            let read = VerifyingKey::from_jwk(jwk).unwrap();
            assert!(env.tokens.jwks(house.now()).contains(&read.to_jwk()), "{}", key.kid);
            kids.push(key.kid.to_owned());
        }
        assert_eq!(env.tokens.jwks(house.now()).matches("RS256").count(), kids.len());
        kids
    };
    let all =
        |house: &House| keys(house, Job::Rs256).iter().map(|key| key.kid.to_string()).collect::<Vec<_>>();
    assert_eq!((said(&house), said(&house).len()), (all(&house), 1));
    // One that waits is published, and one that only verifies; one that is removed is not.
    let ask = Rotation { job: Job::Rs256, activate_in: None, retire_in: None, emergency: false };
    good(house.app.rotate_token_key(&house.caller(), ask).await);
    assert_eq!((said(&house), said(&house).len()), (all(&house), 2));
    house.pass(ACTIVATE_IN);
    assert_eq!(said(&house).len(), 2);
    house.pass(RETIRE_IN);
    assert_eq!(said(&house).len(), 1);
    assert!(
        keys(&house, Job::Rs256).iter().all(|key| !key.wrapped.is_empty()),
        "nobody has cleared it away yet"
    );
    let (last, _) =
        good(house.app.rotate_token_key(&house.caller(), Rotation { emergency: true, ..ask }).await);
    assert_eq!(said(&house), [last.to_string()]);
    assert!(read_object(env(&house).tokens.jwks(house.now()).as_bytes()).is_some());
}

#[tokio::test]
async fn one_that_waits_for_its_time_is_left_to_wait() {
    let house = house().await;
    let ask = Rotation { job: Job::Rs256, activate_in: Some(ACTIVATE_IN), retire_in: None, emergency: false };
    good(house.app.rotate_token_key(&house.caller(), ask).await);
    let had = good(house.app.have_signing_key(&house.caller(), RS256).await);
    assert!(had.tokens.signer(Some(RS256), house.now()).is_none() && keys(&house, Job::Rs256).len() == 1);
    house.pass(ACTIVATE_IN);
    assert!(had.tokens.signer(Some(RS256), house.now()).is_some());
}

/// Random bytes, and how often somebody drew a key.
struct Counted(SeededEntropy, AtomicUsize);

impl Entropy for Counted {
    fn fill(&self, out: &mut [u8]) -> bool {
        self.1.fetch_add(usize::from(out.len() == 32), Ordering::SeqCst);
        self.0.fill(out)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_who_need_it_at_once_get_one_and_one_draws_it() {
    let entropy = Arc::new(Counted(SeededEntropy::new(1), AtomicUsize::new(0)));
    let house = House::drawing(Arc::new(Memory::new()), entropy.clone()).await;
    let drawn = entropy.1.load(Ordering::SeqCst);
    for algorithm in [Algorithm::Es256, RS256] {
        let all: Vec<_> = (0..16)
            .map(|_| {
                let house = house.clone();
                tokio::spawn(async move {
                    let env = good(house.app.have_signing_key(&house.caller(), algorithm).await);
                    env.tokens.signer(Some(algorithm), house.now()).unwrap().public().kid().to_string()
                })
            })
            .collect();
        let mut kids = Vec::new();
        for one in all {
            kids.push(one.await.unwrap());
        }
        kids.dedup();
        assert_eq!((kids.len(), keys(&house, Job::from(algorithm)).len()), (1, 1), "{algorithm:?}");
    }
    assert_eq!(
        entropy.1.load(Ordering::SeqCst) - drawn,
        1,
        "the one for P-256; of RSA the library draws itself"
    );
}

/// Two nodes on one store, the second of which has not heard of the key: it learns of it when it comes too late.
#[tokio::test]
async fn of_two_nodes_one_makes_it() {
    let one = house().await;
    let two = House::at(one.store.clone(), one.clock.clone(), Plan { seed: 99, ..Plan::default() }).await;
    good(one.app.have_signing_key(&one.caller(), RS256).await);
    assert!(keys(&two, Job::Rs256).is_empty());
    let had = good(two.app.have_signing_key(&two.caller(), RS256).await);
    assert!(had.tokens.stored() == env(&one).tokens.stored() && keys(&two, Job::Rs256).len() == 1);
    // Both at once.
    let callers = (one.caller(), two.caller());
    let (a, b) = tokio::join!(
        one.app.have_signing_key(&callers.0, Algorithm::Es256),
        two.app.have_signing_key(&callers.1, Algorithm::Es256)
    );
    good(a);
    good(b);
    let stored = one.after_crash(Plan::default()).await;
    assert!([&one, &two].iter().all(|node| keys(node, Job::Es256) == keys(&stored, Job::Es256)));
    assert_eq!(keys(&stored, Job::Es256).len(), 1);
}

/// On one thread: whoever else has something to do does it while the key is drawn.
#[tokio::test]
async fn nobody_waits_while_it_is_drawn() {
    let house = house().await;
    let (done, turns) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let others = tokio::spawn({
        let (done, turns) = (done.clone(), turns.clone());
        async move {
            while !done.load(Ordering::SeqCst) {
                turns.fetch_add(1, Ordering::SeqCst);
                tokio::task::yield_now().await;
            }
        }
    });
    good(house.app.have_signing_key(&house.caller(), RS256).await);
    done.store(true, Ordering::SeqCst);
    others.await.unwrap();
    let turns = turns.load(Ordering::SeqCst);
    assert!(turns > 200, "{turns}: a commit alone takes some turns, a key of 3072 bits many thousands");
}

/// A commit fails, or seems to, or meets another one: there is one key afterwards, and memory knows what the store knows.
#[tokio::test]
async fn whatever_comes_of_the_commit_there_is_one_in_the_end() {
    for (accident, fails, had) in
        [(Fault::Before, true, 0), (Fault::LoseAnswer, true, 1), (Fault::Conflict, false, 1)]
    {
        let store = Arc::new(Faulty::new(Arc::new(Memory::new())));
        let house = House::new(store.clone(), Plan::default()).await;
        store.plan(Call::Commit, [accident]);
        let outcome = house.app.have_signing_key(&house.caller(), RS256).await;
        assert_eq!(is_fault(&outcome), fails);
        assert_eq!(keys(&house, Job::Rs256).len(), had);
        good(house.app.have_signing_key(&house.caller(), RS256).await);
        assert_eq!(keys(&house, Job::Rs256).len(), 1);
        let later = house.after_crash(Plan::default()).await;
        assert!(keys(&later, Job::Rs256) == keys(&house, Job::Rs256));
    }
}
