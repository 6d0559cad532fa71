//! The life of the keys behind access tokens: when one signs, and until when it verifies.
//!
//! | state | in the published set | signs or seals | verifies or opens |
//! | --- | --- | --- | --- |
//! | pending | yes, so that verifiers hold it before its first signature | no | from [`LEEWAY`] before it is activated |
//! | active | yes | yes, one for each job | yes |
//! | verify_only | yes, for the tokens that are out | no | yes |
//! | removed | no | no | no |
//!
//! The state follows from the key's own four times and `now`, so nothing has to happen for it to change. A key does one
//! job for its whole life: one algorithm, one purpose (ASVS 11.1, RFC 8725 3.1). What a rotation does: [`rotation`], also with
//! other words: [`handover`]; how often a key may seal: [`budget`].

use crate::jose::claims::LONGEST_LIFE;
use crate::jose::key::Algorithm;
use crate::time::{Millis, Span};

pub mod budget;
pub mod handover;
pub mod rotation;

pub use rotation::{Ask, Plan, Refused, rotate};

/// How long whoever fetched the published set may go on with it (`max-age`).
pub const MAX_AGE: Span = Span::secs(300);
/// How far the clocks of those who make and those who read tokens may be apart.
pub const LEEWAY: Span = Span::secs(60);
/// The longest that any access token lives from its making, whatever policy it was made under and from when on it is good.
pub const LONGEST_TOKEN: Span = LONGEST_LIFE;
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

/// Whether there is a key of a job that is not removed, also one that waits for its time.
pub fn is_published<'a>(keys: impl IntoIterator<Item = &'a TokenKey>, job: Job, now: Millis) -> bool {
    keys.into_iter().any(|key| key.job == job && key.life.is_published(now))
}

/// The key that will be next.
pub fn pending(keys: &[TokenKey], job: Job, now: Millis) -> Option<&TokenKey> {
    keys.iter().find(|key| key.job == job && key.life.state(now) == State::Pending)
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
