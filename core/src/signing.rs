//! The life of the keys behind access tokens: when one signs, until when it verifies, and what a rotation does to it.
//!
//! | state | in the published set | signs or seals | verifies or opens |
//! | --- | --- | --- | --- |
//! | pending | yes, so that verifiers hold it before its first signature | no | from [`LEEWAY`] before it is activated |
//! | active | yes | yes, one for each job | yes |
//! | verify_only | yes, for the tokens that are out | no | yes |
//! | removed | no | no | no |
//!
//! The state follows from the key's own four times and `now`, so nothing has to happen for it to change. A key does one
//! job for its whole life: one algorithm, one purpose (ASVS 11.1, RFC 8725 3.1). How often a key may seal: [`budget`].

use crate::jose::key::Algorithm;
use crate::time::{Millis, Span};

pub mod budget;

/// How long whoever fetched the published set may go on with it (`max-age`).
pub const MAX_AGE: Span = Span::secs(300);
/// How far the clocks of those who make and those who read tokens may be apart.
pub const LEEWAY: Span = Span::secs(60);
/// The longest life that any policy can give an access token.
pub const LONGEST_TOKEN: Span = Span::days(1);
/// From publishing to the first signature, unless somebody says otherwise: every verifier has fetched the set by then,
/// also one whose first attempt failed.
pub const ACTIVATE_IN: Span = Span(2 * MAX_AGE.0);
/// From the last signature to the end, unless somebody says otherwise: the last token is dead by then under any policy.
pub const RETIRE_IN: Span = Span(LONGEST_TOKEN.0 + LEEWAY.0 + MAX_AGE.0);
/// The longest that either delay may be.
pub const LONGEST_DELAY: Span = Span::days(366);
/// The most keys of one job that are not removed: what is published stays small.
pub const MOST: usize = 16;
/// How many removed keys of an environment stay listed.
pub const REMEMBERED: usize = 32;

/// What a key is for: one algorithm and one purpose.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Job {
    /// Signs tokens with Ed25519.
    EdDsa,
    /// Signs tokens with ECDSA on P-256.
    Es256,
    /// Signs tokens with RSA, PKCS #1 v1.5.
    Rs256,
    /// Seals the data inside tokens.
    Data,
}

/// The times of a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Life {
    /// When it was made and published.
    pub created_at: Millis,
    /// From then on it signs.
    pub activate_at: Millis,
    /// From then on it signs no longer.
    pub retire_at: Option<Millis>,
    /// From then on it verifies nothing, and is published no longer.
    pub remove_at: Option<Millis>,
}

/// Where a key stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// Published, and not used yet.
    Pending,
    /// In use.
    Active,
    /// Good for what is out already.
    VerifyOnly,
    /// Good for nothing.
    Removed,
}

/// A key of an environment, as it is stored.
#[derive(Clone, PartialEq, Eq)]
pub struct TokenKey {
    /// Its name, in the header of every token: of a signing key the thumbprint of its public key (RFC 7638), of a data
    /// key 16 random letters and digits.
    pub kid: Box<str>,
    /// What it is for.
    pub job: Job,
    /// Its times.
    pub life: Life,
    /// Of a data key, how many sealings were handed out, whether they were used or not.
    pub sealings: u64,
    /// Its secret part, wrapped under the master key; empty once it is removed.
    pub wrapped: Box<[u8]>,
}

/// What whoever rotates asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ask {
    /// Which key is to be replaced.
    pub job: Job,
    /// From publishing to the first use; left out: [`ACTIVATE_IN`], or 0 where no key is active that could go on meanwhile.
    pub activate_in: Option<Span>,
    /// From the last use of the old key to its end; left out: [`RETIRE_IN`].
    pub retire_in: Option<Span>,
    /// The old key is in wrong hands: it and all others of the job are removed at once.
    pub emergency: bool,
    /// The longest life that a token can be made with under the policy in force.
    pub longest_token: Span,
}

/// Why there is no rotation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Refused {
    /// A key waits for its time already.
    Waiting {
        /// Which.
        kid: Box<str>,
        /// Until when.
        until: Millis,
    },
    /// Tokens that are out would be refused before their end.
    TooShort {
        /// The least that `retire_in` may be.
        least: Span,
    },
    /// There are [`MOST`] keys of the job already.
    TooMany {
        /// When the first of them is removed.
        until: Option<Millis>,
    },
}

/// What a rotation will do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Plan {
    job: Job,
    now: Millis,
    /// When the new key begins, and the old one stops.
    activate_at: Millis,
    /// When the old one is removed.
    remove_at: Millis,
    emergency: bool,
}

impl Job {
    /// All, in the order of the documentation.
    pub const ALL: [Job; 4] = [Job::EdDsa, Job::Es256, Job::Rs256, Job::Data];

    /// The algorithm, as JOSE names it.
    pub const fn algorithm(self) -> &'static str {
        match self {
            Job::EdDsa => "EdDSA",
            Job::Es256 => "ES256",
            Job::Rs256 => "RS256",
            Job::Data => "A256GCM",
        }
    }

    /// `sign` or `data`.
    pub const fn purpose(self) -> &'static str {
        match self {
            Job::EdDsa | Job::Es256 | Job::Rs256 => "sign",
            Job::Data => "data",
        }
    }

    /// With which algorithm it signs; `None` of what does not sign.
    pub const fn signs(self) -> Option<Algorithm> {
        match self {
            Job::EdDsa => Some(Algorithm::EdDsa),
            Job::Es256 => Some(Algorithm::Es256),
            Job::Rs256 => Some(Algorithm::Rs256),
            Job::Data => None,
        }
    }

    /// Takes back what [`Job::algorithm`] gave.
    pub fn parse(algorithm: &str) -> Option<Job> {
        Job::ALL.into_iter().find(|job| job.algorithm() == algorithm)
    }
}

impl From<Algorithm> for Job {
    fn from(algorithm: Algorithm) -> Job {
        match algorithm {
            Algorithm::EdDsa => Job::EdDsa,
            Algorithm::Es256 => Job::Es256,
            Algorithm::Rs256 => Job::Rs256,
        }
    }
}

impl State {
    /// The stable text.
    pub const fn text(self) -> &'static str {
        match self {
            State::Pending => "pending",
            State::Active => "active",
            State::VerifyOnly => "verify_only",
            State::Removed => "removed",
        }
    }
}

impl Life {
    /// Of a key that is made now, and in use from `activate_at` on until somebody says otherwise.
    pub const fn new(now: Millis, activate_at: Millis) -> Life {
        Life { created_at: now, activate_at, retire_at: None, remove_at: None }
    }

    /// Where it stands.
    pub fn state(&self, now: Millis) -> State {
        let past = |at: Option<Millis>| at.is_some_and(|at| at <= now);
        match () {
            () if past(self.remove_at) => State::Removed,
            () if past(self.retire_at) => State::VerifyOnly,
            () if now < self.activate_at => State::Pending,
            () => State::Active,
        }
    }

    /// Whether whoever verifies is told of it.
    pub fn is_published(&self, now: Millis) -> bool {
        self.state(now) != State::Removed
    }

    /// Whether a token of it is accepted. Of a pending key there is none, but for one that a node has just made whose
    /// clock is a little ahead.
    pub fn verifies(&self, now: Millis) -> bool {
        match self.state(now) {
            State::Pending => self.activate_at.minus(LEEWAY) <= now,
            State::Active | State::VerifyOnly => true,
            State::Removed => false,
        }
    }

    fn retired(self, at: Millis, remove_at: Millis) -> Life {
        let sooner = |known: Option<Millis>, next: Millis| Some(known.map_or(next, |known| known.min(next)));
        Life { retire_at: sooner(self.retire_at, at), remove_at: sooner(self.remove_at, remove_at), ..self }
    }
}

/// The key that signs or seals: of those that are active, the one that was activated last.
pub fn active<'a>(
    keys: impl IntoIterator<Item = &'a TokenKey>,
    job: Job,
    now: Millis,
) -> Option<&'a TokenKey> {
    keys.into_iter()
        .filter(|key| key.job == job && key.life.state(now) == State::Active)
        .max_by_key(|key| (key.life.activate_at, key.life.created_at))
}

/// The key that will be next.
pub fn pending(keys: &[TokenKey], job: Job, now: Millis) -> Option<&TokenKey> {
    keys.iter().find(|key| key.job == job && key.life.state(now) == State::Pending)
}

/// What a rotation would do. A second one is refused while a key waits for its time: replacing that key would take away
/// from verifiers what they have just been given.
///
/// # Errors
/// [`Refused`]; an emergency is never refused.
pub fn rotate(keys: &[TokenKey], now: Millis, ask: &Ask) -> Result<Plan, Refused> {
    let Ask { job, emergency, .. } = *ask;
    if emergency {
        return Ok(Plan { job, now, activate_at: now, remove_at: now, emergency });
    }
    if let Some(next) = pending(keys, job, now) {
        return Err(Refused::Waiting { kid: next.kid.clone(), until: next.life.activate_at });
    }
    let least = least_retire_in(ask.longest_token);
    if ask.retire_in.is_some_and(|given| given < least) {
        return Err(Refused::TooShort { least });
    }
    let published = || keys.iter().filter(|key| key.job == job && key.life.is_published(now));
    if published().count() >= MOST {
        return Err(Refused::TooMany { until: published().filter_map(|key| key.life.remove_at).min() });
    }
    let usual = if active(keys, job, now).is_some() { ACTIVATE_IN } else { Span(0) };
    let activate_at = now.plus(ask.activate_in.unwrap_or(usual));
    Ok(Plan {
        job,
        now,
        activate_at,
        remove_at: activate_at.plus(ask.retire_in.unwrap_or(RETIRE_IN)),
        emergency,
    })
}

/// The shortest time from a key's last signature to its end in which no token that is out is refused.
pub const fn least_retire_in(longest_token: Span) -> Span {
    Span(longest_token.0.saturating_add(LEEWAY.0))
}

impl Plan {
    /// The keys as they are afterwards, the new one among them.
    #[must_use]
    pub fn apply(&self, keys: &[TokenKey], kid: Box<str>, wrapped: Box<[u8]>) -> Vec<TokenKey> {
        let life = Life::new(self.now, self.activate_at);
        let new = TokenKey { kid, job: self.job, life, sealings: 0, wrapped };
        let others = keys.iter().map(|key| {
            let mut key = key.clone();
            // What was retired before has its own end, which was promised to tokens that are out.
            let promised = key.life.state(self.now) == State::VerifyOnly && !self.emergency;
            if key.job == self.job && key.life.is_published(self.now) && !promised {
                key.life = key.life.retired(self.activate_at, self.remove_at);
            }
            key
        });
        forget(others.chain([new]).collect(), self.now)
    }

    /// Which job gets a new key.
    pub const fn job(&self) -> Job {
        self.job
    }

    /// When the new key begins.
    pub const fn activate_at(&self) -> Millis {
        self.activate_at
    }

    /// When the old ones are removed.
    pub const fn remove_at(&self) -> Millis {
        self.remove_at
    }
}

/// The same without the secret parts of removed keys, and without those that were removed long ago.
#[must_use]
pub fn forget(mut keys: Vec<TokenKey>, now: Millis) -> Vec<TokenKey> {
    for key in &mut keys {
        if !key.life.is_published(now) {
            key.wrapped = Box::default();
        }
    }
    let mut removed: Vec<Millis> =
        keys.iter().filter(|key| !key.life.is_published(now)).filter_map(|key| key.life.remove_at).collect();
    removed.sort_unstable();
    if let Some(over) = removed.len().checked_sub(REMEMBERED).and_then(|over| removed.get(over)) {
        let oldest = *over;
        keys.retain(|key| key.life.is_published(now) || key.life.remove_at >= Some(oldest));
    }
    keys
}

/// Whether [`forget`] would change anything of what is secret.
pub fn has_to_forget(keys: &[TokenKey], now: Millis) -> bool {
    keys.iter().any(|key| !key.wrapped.is_empty() && !key.life.is_published(now))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(kid: &str, job: Job, life: Life) -> TokenKey {
        TokenKey { kid: kid.into(), job, life, sealings: 0, wrapped: Box::new([1]) }
    }

    fn ask(job: Job) -> Ask {
        Ask { job, activate_in: None, retire_in: None, emergency: false, longest_token: Span::minutes(5) }
    }

    fn states(keys: &[TokenKey], at: i64) -> String {
        let text = |key: &TokenKey| format!("{} {}", key.kid, key.life.state(Millis(at)).text());
        keys.iter().map(text).collect::<Vec<_>>().join(", ")
    }

    fn signs(keys: &[TokenKey], at: i64) -> Option<&str> {
        active(keys, Job::EdDsa, Millis(at)).map(|key| &*key.kid)
    }

    #[test]
    fn a_life_on_both_sides_of_every_boundary() {
        let life = Life {
            created_at: Millis(0),
            activate_at: Millis(100_000),
            retire_at: Some(Millis(200_000)),
            remove_at: Some(Millis(300_000)),
        };
        for (at, state, published, verifies) in [
            (0, State::Pending, true, false),
            (39_999, State::Pending, true, false),
            (40_000, State::Pending, true, true),
            (99_999, State::Pending, true, true),
            (100_000, State::Active, true, true),
            (199_999, State::Active, true, true),
            (200_000, State::VerifyOnly, true, true),
            (299_999, State::VerifyOnly, true, true),
            (300_000, State::Removed, false, false),
        ] {
            let now = Millis(at);
            assert_eq!(
                (life.state(now), life.is_published(now), life.verifies(now)),
                (state, published, verifies),
                "{at}"
            );
        }
        let open = Life { retire_at: None, remove_at: None, ..life };
        assert_eq!(open.state(Millis(i64::MAX)), State::Active);
    }

    #[test]
    fn a_rotation_hands_over_without_a_gap_or_a_second_signer() {
        let first = key("a", Job::EdDsa, Life::new(Millis(0), Millis(0)));
        let other = key("x", Job::Es256, Life::new(Millis(0), Millis(0)));
        let now = 1_000_000;
        let plan = rotate(&[first.clone(), other.clone()], Millis(now), &ask(Job::EdDsa)).unwrap();
        let keys = plan.apply(&[first, other.clone()], "b".into(), Box::new([2]));
        let (begin, end) = (now + 600_000, now + 600_000 + 86_400_000 + 60_000 + 300_000);
        for (at, said, signer) in [
            (now, "a active, x active, b pending", "a"),
            (begin - 1, "a active, x active, b pending", "a"),
            (begin, "a verify_only, x active, b active", "b"),
            (end - 1, "a verify_only, x active, b active", "b"),
            (end, "a removed, x active, b active", "b"),
        ] {
            assert_eq!((states(&keys, at).as_str(), signs(&keys, at)), (said, Some(signer)), "{at}");
        }
        assert!(keys.contains(&other), "another job is left alone");
        let chosen = Ask { activate_in: Some(Span(0)), retire_in: Some(Span::minutes(6)), ..ask(Job::EdDsa) };
        let at_once = rotate(&keys, Millis(begin), &chosen).unwrap().apply(&keys, "c".into(), Box::new([3]));
        assert_eq!(states(&at_once, begin), "a verify_only, x active, b verify_only, c active");
        assert_eq!(states(&at_once, begin + 359_999), "a verify_only, x active, b verify_only, c active");
        assert_eq!(states(&at_once, begin + 360_000), "a verify_only, x active, b removed, c active");
        assert_eq!(states(&at_once, end), "a removed, x active, b removed, c active");
    }

    #[test]
    fn the_first_key_of_a_job_is_used_at_once_unless_somebody_says_otherwise() {
        let now = Millis(5);
        assert_eq!(rotate(&[], now, &ask(Job::Rs256)).unwrap().activate_at(), now);
        let later = Ask { activate_in: Some(Span(7)), ..ask(Job::Rs256) };
        assert_eq!(rotate(&[], now, &later).unwrap().activate_at(), Millis(12));
    }

    #[test]
    fn nothing_is_pulled_away_from_under_tokens_or_verifiers() {
        let keys = [key("a", Job::EdDsa, Life::new(Millis(0), Millis(0)))];
        let shorter = |ms| Ask { retire_in: Some(Span(ms)), ..ask(Job::EdDsa) };
        assert_eq!(
            rotate(&keys, Millis(9), &shorter(359_999)),
            Err(Refused::TooShort { least: Span(360_000) })
        );
        assert!(rotate(&keys, Millis(9), &shorter(360_000)).is_ok());
        let keys =
            rotate(&keys, Millis(9), &ask(Job::EdDsa)).unwrap().apply(&keys, "b".into(), Box::new([2]));
        let waiting = Refused::Waiting { kid: "b".into(), until: Millis(600_009) };
        assert_eq!(rotate(&keys, Millis(600_008), &ask(Job::EdDsa)), Err(waiting));
        assert!(rotate(&keys, Millis(600_009), &ask(Job::EdDsa)).is_ok());
        assert!(rotate(&keys, Millis(10), &ask(Job::Data)).is_ok(), "another job waits for nobody");
    }

    #[test]
    fn an_emergency_ends_every_key_of_the_job_in_the_same_instant() {
        let mut keys = vec![
            key("a", Job::EdDsa, Life::new(Millis(0), Millis(0))),
            key("x", Job::Data, Life::new(Millis(0), Millis(0))),
        ];
        keys = rotate(&keys, Millis(9), &ask(Job::EdDsa)).unwrap().apply(&keys, "b".into(), Box::new([2]));
        let urgent = Ask { emergency: true, retire_in: Some(Span(0)), ..ask(Job::EdDsa) };
        let after = rotate(&keys, Millis(10), &urgent).unwrap().apply(&keys, "c".into(), Box::new([3]));
        assert_eq!(states(&after, 10), "a removed, x active, b removed, c active");
        assert_eq!(signs(&after, 10), Some("c"));
        assert!(after.iter().filter(|k| k.life.verifies(Millis(10))).all(|k| ["c", "x"].contains(&&*k.kid)));
        assert!(
            after.iter().all(|k| k.wrapped.is_empty() == ["a", "b"].contains(&&*k.kid)),
            "secrets go too"
        );
        assert!(!has_to_forget(&after, Millis(10)) && has_to_forget(&keys, Millis(i64::MAX)));
    }

    #[test]
    fn the_set_stays_small() {
        let mut keys = vec![key("k", Job::EdDsa, Life::new(Millis(0), Millis(0)))];
        let at_once = Ask { activate_in: Some(Span(0)), ..ask(Job::EdDsa) };
        for n in 1..MOST {
            let now = Millis(i64::try_from(n).unwrap());
            keys = rotate(&keys, now, &at_once).unwrap().apply(&keys, n.to_string().into(), Box::new([2]));
        }
        let until = Some(Millis(1).plus(RETIRE_IN));
        assert_eq!(rotate(&keys, Millis(99), &at_once), Err(Refused::TooMany { until }));
        let urgent = Ask { emergency: true, ..at_once };
        for n in 0..100_u8 {
            let now = Millis(1_000 + i64::from(n));
            keys = rotate(&keys, now, &urgent).unwrap().apply(&keys, format!("u{n}").into(), Box::new([2]));
        }
        assert_eq!(keys.len(), REMEMBERED + 1);
        assert_eq!(signs(&keys, 2_000), Some("u99"));
    }

    #[test]
    fn jobs_and_algorithms_are_one_to_one() {
        for job in Job::ALL {
            assert_eq!(Job::parse(job.algorithm()), Some(job));
            assert_eq!(
                job.signs().map(|algorithm| (Job::from(algorithm), algorithm.text())),
                match job {
                    Job::Data => None,
                    Job::EdDsa | Job::Es256 | Job::Rs256 => Some((job, job.algorithm())),
                }
            );
        }
        assert!(
            Job::parse("none").is_none() && Job::parse("HS256").is_none() && Job::parse("eddsa").is_none()
        );
    }
}
