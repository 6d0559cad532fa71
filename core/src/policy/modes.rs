//! The words that a rule can say: each a closed list, in rising strictness, so that the stricter of two is the greater.

use crate::time::Span;
use std::cmp::Ordering;
use std::fmt;

macro_rules! modes {
    ($($(#[$about:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $text:literal),+ $(,)? })+) => { $(
        $(#[$about])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum $name { $($(#[$doc])* $variant),+ }

        impl $name {
            /// All, in rising strictness.
            pub const ALL: &'static [$name] = &[$($name::$variant),+];
            /// The word of files and bodies.
            pub const fn text(self) -> &'static str {
                match self { $($name::$variant => $text),+ }
            }
            /// Takes back what [`Self::text`] gave.
            ///
            /// # Errors
            /// A sentence that names all words.
            pub fn parse(text: &str) -> Result<$name, String> {
                let found = $name::ALL.iter().copied().find(|mode| mode.text() == text);
                found.ok_or_else(|| format!("`{}` is not one of {}", text.escape_debug(), [$($text),+].join(", ")))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.text())
            }
        }
    )+ };
}

modes! {
    /// What happens at a limit of sessions. To be refused is stricter than to make room.
    OnLimit {
        /// Those used least recently end.
        EndLeastRecent = "end_least_recent",
        /// Those made first end.
        EndOldest = "end_oldest",
        /// The new one is refused.
        Reject = "reject",
    }
    /// What a user agent of another browser, system or device class brings about.
    OnAgent {
        /// Nothing.
        Ignore = "ignore",
        /// A line of history.
        Log = "log",
        /// The request is refused.
        Refuse = "refuse",
        /// The session ends.
        End = "end",
    }
    /// What an address of another network brings about.
    OnAddress {
        /// Nothing.
        Ignore = "ignore",
        /// A line of history.
        Log = "log",
        /// The user must authenticate again; the session stays.
        Reauthenticate = "reauthenticate",
        /// The request is refused.
        Refuse = "refuse",
        /// The session ends.
        End = "end",
    }
    /// Whether the client must prove to have the key of its device.
    DeviceMode {
        /// No.
        Off = "off",
        /// When the session has one.
        IfRegistered = "if_registered",
        /// Always.
        Required = "required",
    }
    /// An authenticator assurance level of NIST SP 800-63B-4, as far as it speaks of sessions (2.1.3, 2.2.3, 2.3.3).
    Assurance {
        /// Authenticated again after 30 days.
        Aal1 = "aal1",
        /// After 24 hours, or an hour without activity.
        Aal2 = "aal2",
        /// After 12 hours, or 15 minutes without activity.
        Aal3 = "aal3",
    }
}

impl DeviceMode {
    /// Whether a session is asked for a proof, `registered` being whether it has a device. The first question of every
    /// validation, and for nearly all the last one.
    pub const fn asks(self, registered: bool) -> bool {
        match self {
            DeviceMode::Off => false,
            DeviceMode::IfRegistered => registered,
            DeviceMode::Required => true,
        }
    }
}

impl Assurance {
    /// The longest time from an authentication.
    pub const fn absolute(self) -> Span {
        match self {
            Assurance::Aal1 => Span::days(30),
            Assurance::Aal2 => Span::hours(24),
            Assurance::Aal3 => Span::hours(12),
        }
    }
    /// The longest time without activity; the first level names none.
    pub const fn idle(self) -> Option<Span> {
        match self {
            Assurance::Aal1 => None,
            Assurance::Aal2 => Some(Span::hours(1)),
            Assurance::Aal3 => Some(Span::minutes(15)),
        }
    }
    /// The longest that a key of a policy may be.
    pub fn bound(self, key: &str) -> Option<Span> {
        match key {
            "absolute_timeout" | "refresh_timeout" => Some(self.absolute()),
            "idle_timeout" => self.idle(),
            _ => None,
        }
    }
    /// Whether [`Assurance::absolute`] is a "shall", which no reason lifts; everything else is a "should".
    pub const fn absolute_is_strict(self) -> bool {
        matches!(self, Assurance::Aal3)
    }
}

/// So many requests in such a time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rate {
    /// At least 1.
    pub requests: u32,
    /// From 1 s to 1 d.
    pub time: Span,
}

impl Rate {
    /// Reads `15000/1h`.
    ///
    /// # Errors
    /// A sentence that says what would be right.
    pub fn parse(text: &str) -> Result<Rate, String> {
        let read = || {
            let (requests, time) = text.split_once('/')?;
            let (requests, time) = (requests.parse().ok()?, Span::parse(time).ok()?);
            (requests > 0 && time >= Span::secs(1) && time <= Span::days(1))
                .then_some(Rate { requests, time })
        };
        read().ok_or_else(|| {
            format!(
                "`{}` is not a rate: write requests/time, such as \"15000/1h\", with a time from 1s to 1d",
                text.escape_debug()
            )
        })
    }

    /// Of two, the one that lets fewer through in the long run; of two alike, the one of the shorter time.
    #[must_use]
    pub fn stricter(self, other: Rate) -> Rate {
        let weigh = |a: Rate, b: Rate| i128::from(a.requests) * i128::from(b.time.0);
        match weigh(self, other).cmp(&weigh(other, self)) {
            Ordering::Less => self,
            Ordering::Greater => other,
            Ordering::Equal => {
                if self.time <= other.time {
                    self
                } else {
                    other
                }
            }
        }
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.requests, self.time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stricter_is_the_greater() {
        assert!(OnLimit::Reject > OnLimit::EndOldest && OnLimit::EndOldest > OnLimit::EndLeastRecent);
        assert!(
            OnAgent::End > OnAgent::Refuse
                && OnAgent::Refuse > OnAgent::Log
                && OnAgent::Log > OnAgent::Ignore
        );
        assert!(OnAddress::Refuse > OnAddress::Reauthenticate && OnAddress::Reauthenticate > OnAddress::Log);
        assert!(
            DeviceMode::Required > DeviceMode::IfRegistered && DeviceMode::IfRegistered > DeviceMode::Off
        );
        for mode in OnAddress::ALL {
            assert_eq!(OnAddress::parse(mode.text()), Ok(*mode));
        }
        assert!(OnAddress::parse("End").unwrap_err().contains("ignore, log, reauthenticate, refuse, end"));
    }

    #[test]
    fn rates() {
        let rate = |text| Rate::parse(text).unwrap();
        assert_eq!(rate("100/1m").stricter(rate("101/1m")), rate("100/1m"));
        assert_eq!(rate("100/1m").stricter(rate("5999/1h")), rate("5999/1h"));
        assert_eq!(rate("100/1m").stricter(rate("6000/1h")), rate("100/1m"));
        assert_eq!(rate("6000/1h").stricter(rate("100/1m")), rate("100/1m"));
        for bad in ["", "5", "0/1h", "5/0s", "5/999ms", "5/25h", "-1/1h", "4294967296/1h", "5/1h/1h"] {
            assert!(Rate::parse(bad).is_err(), "{bad}");
        }
        assert!(Rate::parse("1/1s").is_ok() && Rate::parse("4294967295/1d").is_ok());
        assert_eq!(rate("15000/1h").to_string(), "15000/1h");
    }
}
