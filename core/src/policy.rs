//! What an operator may choose, and the effective policy in which each value knows where it came from (design,
//! section 4).
//!
//! Today the base is `[policy.default]`; rules by tag lay themselves over it in [`Policy::effective`], which is the
//! only place where values are combined.

use crate::time::Span;

pub mod modes;

/// Where an effective value came from. Refusals and explanations name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The environment's default policy.
    Default,
    /// Asked for when the session was created (`expires_in`), which may only shorten.
    Creation,
    /// What stood when the session was last extended: loosening a policy never revives.
    Stored,
}

impl Origin {
    /// The text that answers and events carry.
    pub const fn text(&self) -> &'static str {
        match self {
            Origin::Default => "default",
            Origin::Creation => "creation",
            Origin::Stored => "stored",
        }
    }
}

/// The rules of an environment, each in the operator's own units.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// From login; re-authentication restarts it.
    pub absolute_timeout: Span,
    /// From the last activity.
    pub idle_timeout: Span,
    /// Life of a refresh family; takes the place of `absolute_timeout` for a session made with `refresh: true`.
    pub refresh_timeout: Span,
    /// Age at which a session token is rotated where the caller can deliver the successor; `None` is "never".
    pub rotate_every: Option<Span>,
    /// How long a superseded token is late and not yet stolen, counted from the first presentation of a later one.
    pub rotation_grace: Span,
}

impl Default for Policy {
    /// The defaults of design section 4.
    fn default() -> Policy {
        Policy {
            absolute_timeout: Span::days(30),
            idle_timeout: Span::hours(24),
            refresh_timeout: Span::days(90),
            rotate_every: Some(Span::minutes(15)),
            rotation_grace: Span::secs(60),
        }
    }
}

impl Policy {
    /// Any duration of at least this is possible.
    pub const SHORTEST: Span = Span::secs(1);
    /// The longest duration that can be asked for: ten years, so that sums never come near the end of time.
    pub const LONGEST: Span = Span::days(3_660);

    /// Checks what no single value can show. Durations are between 1 s and ten years; the grace may be 0.
    ///
    /// # Errors
    /// The key and a sentence that says what would be right.
    pub fn check(&self) -> Result<(), (&'static str, String)> {
        let spans = [
            ("absolute_timeout", Some(self.absolute_timeout)),
            ("idle_timeout", Some(self.idle_timeout)),
            ("refresh_timeout", Some(self.refresh_timeout)),
            ("rotate_every", self.rotate_every),
        ];
        for (key, span) in spans {
            if let Some(span) = span
                && (span < Policy::SHORTEST || span > Policy::LONGEST)
            {
                return Err((key, format!("{span} is out of range: choose between 1s and 3660d")));
            }
        }
        if self.rotation_grace < Span(0) || self.rotation_grace > Span::days(1) {
            return Err((
                "rotation_grace",
                format!("{} is out of range: choose between 0s and 1d", self.rotation_grace),
            ));
        }
        Ok(())
    }

    /// The effective policy of one session: the least of what the policy and the creation say.
    pub fn effective(&self, expires_in: Option<Span>, refresh: bool) -> Effective {
        let base = if refresh { self.refresh_timeout } else { self.absolute_timeout };
        let absolute = match expires_in {
            Some(shorter) if shorter < base => Sourced { value: shorter, origin: Origin::Creation },
            _ => Sourced { value: base, origin: Origin::Default },
        };
        Effective {
            absolute,
            idle: Sourced { value: self.idle_timeout, origin: Origin::Default },
            rotate_every: Sourced { value: self.rotate_every, origin: Origin::Default },
            rotation_grace: Sourced { value: self.rotation_grace, origin: Origin::Default },
        }
    }
}

/// A value and where it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sourced<T> {
    /// The value in force.
    pub value: T,
    /// Who said so.
    pub origin: Origin,
}

/// What applies to one session now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effective {
    /// From the last authentication.
    pub absolute: Sourced<Span>,
    /// From the last activity.
    pub idle: Sourced<Span>,
    /// See [`Policy::rotate_every`].
    pub rotate_every: Sourced<Option<Span>>,
    /// See [`Policy::rotation_grace`].
    pub rotation_grace: Sourced<Span>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expires_in_shortens_and_never_lengthens() {
        let policy =
            Policy { absolute_timeout: Span::hours(1), refresh_timeout: Span::hours(3), ..Policy::default() };
        for (expires_in, refresh, value, origin) in [
            (None, false, Span::hours(1), Origin::Default),
            (Some(Span::minutes(59)), false, Span::minutes(59), Origin::Creation),
            (Some(Span::hours(1)), false, Span::hours(1), Origin::Default),
            (Some(Span::hours(2)), false, Span::hours(1), Origin::Default),
            (Some(Span::hours(2)), true, Span::hours(2), Origin::Creation),
            (None, true, Span::hours(3), Origin::Default),
        ] {
            assert_eq!(policy.effective(expires_in, refresh).absolute, Sourced { value, origin });
        }
    }

    #[test]
    fn both_sides_of_each_bound() {
        let with = |f: fn(&mut Policy, Span), span| {
            let mut p = Policy::default();
            f(&mut p, span);
            p.check().is_ok()
        };
        let setters: [fn(&mut Policy, Span); 4] = [
            |p, s| p.absolute_timeout = s,
            |p, s| p.idle_timeout = s,
            |p, s| p.refresh_timeout = s,
            |p, s| p.rotate_every = Some(s),
        ];
        for set in setters {
            assert!(with(set, Span::secs(1)) && !with(set, Span(999)));
            assert!(with(set, Span::days(3_660)) && !with(set, Span(Span::days(3_660).0 + 1)));
        }
        let grace: fn(&mut Policy, Span) = |p, s| p.rotation_grace = s;
        assert!(
            with(grace, Span(0)) && with(grace, Span::days(1)) && !with(grace, Span(Span::days(1).0 + 1))
        );
    }
}
