//! The keys behind access tokens: who signs and what verifies at every instant of a rotation, also an urgent one; two
//! rotations at once; and what the store holds of them.

use super::house::{Detached, Gate2, House, MASTER, Plan, good, why};
use crate::conformance::world::Scratch;
use crate::front::Fronted;
use handstamp_core::id::EnvironmentId;
use handstamp_core::jose::jws::{Unverified, sign};
use handstamp_core::jose::key::{Algorithm, Kid};
use handstamp_core::jose::{base64url, jwe};
use handstamp_core::refusal::Code;
use handstamp_core::sealing::unwrap_bytes;
use handstamp_core::signing::{ACTIVATE_IN, Job, LEEWAY, RETIRE_IN, State, TokenKey};
use handstamp_core::time::{Millis, Span};
use handstamp_core::token::keyring::MasterKey;
use handstamp_server::app::Stop;
use handstamp_server::app::control::Env;
use handstamp_server::app::signing::Rotation;
use handstamp_server::codec::token_keys::{read_token_keys, token_keys_key, wrapping, write_token_keys};
use handstamp_server::host::entropy::{Entropy, SeededEntropy};
use handstamp_server::store::memory::Memory;
use handstamp_server::store::sqlite::{Options, Sqlite};
use handstamp_server::store::{Batch, Expect, Op, Versioned};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const TYP: &str = "at+jwt";

pub(super) async fn house() -> House {
    House::new(Arc::new(Memory::new()), Plan::default()).await
}

pub(super) fn env(house: &House) -> Arc<Env> {
    house.app.all_environments().into_iter().next().unwrap()
}

fn usual(job: Job) -> Rotation {
    Rotation { job, activate_in: None, retire_in: None, emergency: false }
}

fn urgent(job: Job) -> Rotation {
    Rotation { emergency: true, ..usual(job) }
}

async fn rotate(house: &House, ask: Rotation) -> String {
    good(house.app.rotate_token_key(&house.caller(), ask).await).0.into()
}

async fn refused(house: &House, ask: Rotation) -> (Code, String) {
    match house.app.rotate_token_key(&house.caller(), ask).await {
        Err(Stop::Refused(refused)) => (refused.refusal.code, refused.detail.unwrap_or_default()),
        Err(Stop::Fault(fault)) => panic!("{fault}"),
        Ok(_) => panic!("it went through"),
    }
}

/// A token of whoever signs now.
fn token(house: &House, algorithm: Option<Algorithm>) -> (String, String) {
    let env = env(house);
    let key = env.tokens.signer(algorithm, house.now()).unwrap();
    let kid = key.public().kid().as_str().to_owned();
    (sign(key, TYP, format!("{}", house.now()).as_bytes()).unwrap(), kid)
}

fn accepted(house: &House, token: &str) -> bool {
    let read = Unverified::read(token, TYP).ok().unwrap();
    let env = env(house);
    let kid = read.kid().clone();
    env.tokens.verifier(&kid, house.now()).is_some_and(|key| read.verify(key).is_ok())
}

async fn stored(house: &House, id: EnvironmentId) -> (Versioned, Vec<TokenKey>) {
    let found = house.store.load(&[token_keys_key(id)]).await.unwrap().remove(0).unwrap();
    let keys = read_token_keys(&found).unwrap();
    (found, keys)
}

#[tokio::test]
async fn an_environment_is_made_with_a_key_to_sign_and_one_to_seal() {
    let house = house().await;
    for env in [env(&house), house.environment("shop/prd").await.env] {
        let keys = stored(&house, env.record.id).await.1;
        assert_eq!(keys.iter().map(|key| key.job).collect::<Vec<_>>(), [Job::EdDsa, Job::Data]);
        assert!(
            keys == env.tokens.stored() && keys.iter().all(|k| k.life.state(house.now()) == State::Active)
        );
        assert_eq!([43, 16], [0, 1].map(|n: usize| keys[n].kid.len()));
        let signer = env.tokens.signer(None, house.now()).unwrap();
        assert_eq!(signer.public().algorithm(), Algorithm::EdDsa);
        for other in [Algorithm::Es256, Algorithm::Rs256] {
            assert!(env.tokens.signer(Some(other), house.now()).is_none());
        }
        let sealing = good(house.app.sealing_key(env.record.id).await);
        let sealed = sealing.seal("x", b"data", [1; 12]).unwrap();
        let read = jwe::Sealed::read(&sealed, "x").ok().unwrap();
        let opener = env.tokens.opener(read.kid(), house.now()).unwrap().clone();
        assert_eq!(read.open(&opener).ok().unwrap(), b"data");
        // No key does another's work.
        assert!(env.tokens.verifier(sealing.kid(), house.now()).is_none());
        assert!(env.tokens.opener(signer.public().kid(), house.now()).is_none());
    }
}

/// Tokens live for as long as the policy allows, and are looked at every minute: none is refused before its end.
#[tokio::test]
async fn a_rotation_refuses_no_token_and_an_emergency_refuses_all() {
    let house = house().await;
    let first = token(&house, None).1;
    let made = house.now();
    let second = rotate(&house, usual(Job::EdDsa)).await;
    assert_ne!(first, second);
    let env_now = env(&house);
    let (a, b) = (env_now.tokens.jwks(house.now()), [&first, &second]);
    assert!(
        b.iter().all(|kid| a.contains(&format!("\"kid\":\"{kid}\""))),
        "published before its first use: {a}"
    );
    let pending = Kid::parse(&second).unwrap();
    assert!(env_now.tokens.verifier(&pending, house.now()).is_none());
    assert!(env_now.tokens.verifier(&pending, made.plus(ACTIVATE_IN).minus(LEEWAY)).is_some());

    let life = Span::days(1);
    let mut out: Vec<(String, Millis)> = Vec::new();
    let mut signers = BTreeMap::new();
    let last = made.plus(ACTIVATE_IN).plus(RETIRE_IN);
    while house.now() < last.plus(Span::minutes(5)) {
        let (text, kid) = token(&house, None);
        let handed_over = house.now() >= made.plus(ACTIVATE_IN);
        assert_eq!(kid, *b[usize::from(handed_over)], "{}", house.now());
        *signers.entry(kid).or_insert(0) += 1;
        out.push((text, house.now().plus(life).plus(LEEWAY)));
        out.retain(|(_, until)| *until > house.now());
        // The oldest, the newest and some in between: all of them would be two million verifications.
        let step = (out.len() / 8).max(1);
        for (text, until) in out.iter().step_by(step).chain(out.last()) {
            assert!(accepted(&house, text), "until {until}, now {}", house.now());
        }
        house.pass(Span::minutes(1));
    }
    assert_eq!(signers.len(), 2);
    assert!(!env(&house).tokens.jwks(house.now()).contains(&first), "removed");
    assert!(out.iter().all(|(text, _)| accepted(&house, text)));

    let third = rotate(&house, urgent(Job::EdDsa)).await;
    assert!(out.iter().all(|(text, _)| !accepted(&house, text)), "none of them, at once");
    let (text, kid) = token(&house, None);
    assert!(kid == third && accepted(&house, &text));
    let jwks = env(&house).tokens.jwks(house.now());
    assert!(!jwks.contains(&second) && jwks.contains(&third));
}

#[tokio::test]
async fn an_emergency_takes_the_key_that_waits_along() {
    let house = house().await;
    let old = token(&house, None).0;
    let waiting = rotate(&house, usual(Job::EdDsa)).await;
    let (code, said) = refused(&house, usual(Job::EdDsa)).await;
    assert!(code == Code::RotationUnderWay && said.contains(&waiting), "{said}");
    let new = rotate(&house, urgent(Job::EdDsa)).await;
    house.pass(Span::days(1));
    assert!(token(&house, None).1 == new && !accepted(&house, &old));
    assert!(env(&house).tokens.verifier(&Kid::parse(&waiting).unwrap(), house.now()).is_none());
    // The secrets of what was removed are gone from the record in the same commit.
    let keys = stored(&house, env(&house).record.id).await.1;
    let has_secret: Vec<bool> = keys.iter().map(|key| !key.wrapped.is_empty()).collect();
    assert_eq!(has_secret, [false, true, false, true]);
}

#[tokio::test]
async fn delays_are_checked_and_other_algorithms_come_when_they_are_asked_for() {
    let house = house().await;
    let brief = Rotation { retire_in: Some(Span::secs(359)), ..usual(Job::EdDsa) };
    let (code, said) = refused(&house, brief).await;
    assert!(
        code == Code::InvalidRequest && said.contains("at least 360 seconds") && said.contains("5m"),
        "{said}"
    );
    let enough =
        Rotation { retire_in: Some(Span::secs(360)), activate_in: Some(Span(0)), ..usual(Job::EdDsa) };
    let old = token(&house, None).0;
    let new = rotate(&house, enough).await;
    assert_eq!(token(&house, None).1, new, "published and used in one");
    house.pass(Span::millis(359_999));
    assert!(accepted(&house, &old));
    house.pass(Span::millis(1));
    assert!(!accepted(&house, &old));
    for (job, algorithm) in [(Job::Es256, Algorithm::Es256), (Job::Rs256, Algorithm::Rs256)] {
        let kid = rotate(&house, usual(job)).await;
        let (text, signer) = token(&house, Some(algorithm));
        assert!(signer == kid && accepted(&house, &text), "the first key of {algorithm:?} signs at once");
    }
    assert_eq!(token(&house, None).1, new, "and nothing else changed");
    // A key is for its algorithm alone: the header says another one, and the signature is good for its own.
    let (text, _) = token(&house, Some(Algorithm::Es256));
    let read = Unverified::read(&text, TYP).ok().unwrap();
    assert!(
        env(&house)
            .tokens
            .verifier(&Kid::parse(&new).unwrap(), house.now())
            .is_some_and(|k| read.verify(k).is_err())
    );
}

/// Random bytes, and how often somebody drew some: who draws a key has looked at the keys that there are.
struct Counted(SeededEntropy, AtomicUsize);

impl Entropy for Counted {
    fn fill(&self, out: &mut [u8]) -> bool {
        self.1.fetch_add(usize::from(out.len() == 32), Ordering::SeqCst);
        self.0.fill(out)
    }
}

/// Everybody looks at the keys before anybody's rotation is there: one goes through, and the others are told.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_rotations_at_once_one_goes_through() {
    for ask in [
        usual(Job::EdDsa),
        Rotation { activate_in: Some(Span(0)), ..usual(Job::EdDsa) },
        urgent(Job::EdDsa),
        Rotation { activate_in: Some(Span(0)), ..usual(Job::Data) },
    ] {
        let gate = Gate2::default();
        let inner = Arc::new(Memory::new());
        let store = Arc::new(Fronted(Detached { inner, gate: gate.clone(), conflicts: Arc::default() }));
        let entropy = Arc::new(Counted(SeededEntropy::new(1), AtomicUsize::new(0)));
        let house = Box::pin(House::drawing(store, entropy.clone())).await;
        let before = env(&house).tokens.stored().len();
        let (drawn, held) = (entropy.1.load(Ordering::SeqCst), gate.shut());
        let all: Vec<_> = (0..8)
            .map(|_| {
                let house = house.clone();
                tokio::spawn(async move { house.app.rotate_token_key(&house.caller(), ask).await })
            })
            .collect();
        while entropy.1.load(Ordering::SeqCst) < drawn + 8 {
            tokio::task::yield_now().await;
        }
        held.open(64);
        gate.stay_open();
        let mut made = 0;
        for one in all {
            match one.await.unwrap() {
                Ok(_) => made += 1,
                Err(Stop::Refused(refused)) => assert_eq!(refused.refusal.code, Code::RotationUnderWay),
                Err(stop) => panic!("{}", why(&stop)),
            }
        }
        let after = env(&house).tokens.stored();
        assert_eq!((made, after.len() - before), (1, 1), "{:?}", ask.job);
        assert!(stored(&house, env(&house).record.id).await.1 == after, "what is listed is what is stored");
    }
}

/// Two nodes on one store.
#[tokio::test]
async fn another_node_that_came_first_is_noticed() {
    let one = house().await;
    let two = House::at(one.store.clone(), one.clock.clone(), Plan { seed: 99, ..Plan::default() }).await;
    let first = rotate(&one, usual(Job::EdDsa)).await;
    let (code, _) = refused(&two, usual(Job::EdDsa)).await;
    assert_eq!(code, Code::RotationUnderWay);
    assert!(env(&two).tokens.stored() == env(&one).tokens.stored(), "and it has learnt of {first}");
    assert_eq!(env(&one).tokens.stored().iter().filter(|key| key.job == Job::EdDsa).count(), 2);
}

#[tokio::test]
async fn a_store_without_keys_gets_them_at_its_next_start() {
    let house = house().await;
    let id = env(&house).record.id;
    let (found, _) = stored(&house, id).await;
    let gone = Op::Delete { key: token_keys_key(id), expect: Expect::Version(found.version) };
    let batch =
        Batch { bucket: 0, at: house.now(), ops: vec![gone], events: Vec::new(), tallies: Vec::new() };
    house.store.commit(batch).await.unwrap();
    let later = house.after_crash(Plan::default()).await;
    assert!(env(&later).tokens.signer(None, later.now()).is_some());
    let same = later.after_crash(Plan::default()).await;
    assert!(env(&same).tokens.stored() == env(&later).tokens.stored());
    let (text, _) = token(&later, None);
    assert!(accepted(&same, &text), "every start has the same keys");
}

/// What is wrapped for one place opens in no other: environment, name and job are part of it.
#[tokio::test]
async fn a_key_that_was_put_elsewhere_does_not_open() {
    type Change = fn(&mut Vec<TokenKey>, &[TokenKey]);
    let changes: [(&str, Change); 5] = [
        ("another environment's", |keys, others| keys[0] = others[0].clone()),
        ("another environment's data key", |keys, others| keys[1] = others[1].clone()),
        ("another name", |keys, others| keys[0].kid = others[0].kid.clone()),
        ("another job", |keys, _| keys[1].job = Job::EdDsa),
        ("another algorithm", |keys, _| keys[0].job = Job::Es256),
    ];
    for (what, change) in changes {
        let house = house().await;
        let other = house.environment("shop/prd").await.env;
        let id = env(&house).record.id;
        let (found, mut keys) = stored(&house, id).await;
        change(&mut keys, &other.tokens.stored());
        let op = Op::Put { expect: Expect::Version(found.version), record: write_token_keys(id, &keys) };
        let batch =
            Batch { bucket: 0, at: house.now(), ops: vec![op], events: Vec::new(), tallies: Vec::new() };
        house.store.commit(batch).await.unwrap();
        let opened = house.reopened().await;
        assert!(opened.is_err_and(|error| error.to_string().contains("does not open")), "{what}");
    }
}

#[tokio::test]
async fn what_time_removed_leaves_the_store() {
    let house = house().await;
    let id = env(&house).record.id;
    rotate(&house, usual(Job::EdDsa)).await;
    house.pass(ACTIVATE_IN);
    house.pass(RETIRE_IN);
    house.pass(Span::millis(-1));
    house.tidy().await;
    assert!(stored(&house, id).await.1.iter().all(|key| !key.wrapped.is_empty()));
    house.pass(Span::millis(1));
    house.tidy().await;
    let (found, keys) = stored(&house, id).await;
    assert_eq!(keys.iter().filter(|key| key.wrapped.is_empty()).count(), 1);
    house.tidy().await;
    assert_eq!(stored(&house, id).await.0.version, found.version, "once");
}

/// Database and log hold no private key, only what opens under the master key.
#[tokio::test]
async fn no_file_of_the_store_holds_a_private_key() {
    let scratch = Scratch::new();
    let path = scratch.path("db");
    let house =
        House::new(Arc::new(Sqlite::open(&path, &Options::default()).unwrap()), Plan::default()).await;
    for job in [Job::Es256, Job::Rs256, Job::Data] {
        rotate(&house, usual(job)).await;
    }
    rotate(&house, urgent(Job::EdDsa)).await;
    let id = env(&house).record.id;
    let (kek, keys) = (MasterKey::new(MASTER).derive("wrap"), stored(&house, id).await.1);
    let files = ["", "-wal"].map(|end| std::fs::read(format!("{}{end}", path.display())).unwrap_or_default());
    let bytes = files.concat();
    let found = |what: &[u8]| memchr::memmem::find(&bytes, what).is_some();
    let mut looked = 0;
    for key in keys.iter().filter(|key| !key.wrapped.is_empty()) {
        assert!(found(key.kid.as_bytes()) && found(&key.wrapped), "what is there is found");
        let secret = unwrap_bytes(&kek, &wrapping(id, &key.kid, key.job), &key.wrapped).ok().unwrap();
        // Of an RSA key any part would do; 16 bytes of it are enough to be sure.
        for part in
            secret.chunks_exact(16).map(|part| part.to_vec()).chain([secret[secret.len() - 32..].to_vec()])
        {
            assert!(!found(&part), "{}", key.kid);
            assert!(
                !found(base64url::encode(&part).as_bytes()) && !found(hex(&part).as_bytes()),
                "{}",
                key.kid
            );
            looked += 1;
        }
    }
    assert!(looked > 50, "{looked}");
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
