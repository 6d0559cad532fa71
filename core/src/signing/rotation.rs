//! A key gets a successor: with two delays, so that no verifier meets a signature of a key that it does not hold, and no
//! token is refused before its end; or at once, because the old key is in wrong hands.

use super::{ACTIVATE_IN, Job, LEEWAY, Life, MOST, RETIRE_IN, State, TokenKey, active, forget, pending};
use crate::time::{Millis, Span};

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

/// The shortest time from a key's last signature to its end in which no token that is out is refused, but for one that was
/// made to be good later on: only [`RETIRE_IN`] covers those.
pub const fn least_retire_in(longest_token: Span) -> Span {
    Span(longest_token.0.saturating_add(LEEWAY.0))
}

impl Plan {
    /// A new key from now on, because the one before it must do nothing more; what it did stays good.
    pub(super) const fn at_once(job: Job, now: Millis) -> Plan {
        Plan { job, now, activate_at: now, remove_at: now.plus(RETIRE_IN), emergency: false }
    }

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signing::{REMEMBERED, has_to_forget};

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
}
