//! Rotation and theft: one chain of generations per session, never a fork (design, section 3.2).
//!
//! A token of generation k is **late** while no later generation has been presented, or the first such presentation
//! is less than the grace ago; else it is **stolen**. A presentation is news only while neither that generation nor any
//! later one has been presented; only such are noted. That is nearly always the newest generation; it is an older one
//! when the user authenticated again before the one before was ever used.

use crate::id::EnvironmentId;
use crate::secret::{PlainToken, Verifier};
use crate::time::{Millis, Span};
use crate::token::Kind;
use crate::token::keyring::{KeySet, Keyring};
use crate::token::opaque::{Holder, Nonce, Opened, mint, verifier};

/// The rule's name in refusals and events.
pub const RULE: &str = "rotation";

/// The tokens of one session.
#[derive(Clone)]
pub struct Chain {
    /// The newest generation.
    pub generation: u32,
    /// When it was made.
    pub made_at: Millis,
    /// What made it.
    pub made_by: MadeBy,
    /// The key set it was made with.
    pub key_id: u8,
    /// What recognises it.
    pub current: Verifiers,
    /// What recognises the one before it.
    pub previous: Option<Box<Verifiers>>,
    /// The newest generation has not been presented yet, and its first presentation must be committed before the
    /// answer.
    pub awaiting: bool,
    /// First presentations of generations when no later one had been presented, rising in both; at most
    /// [`Chain::NOTED`].
    pub noted: Vec<(u32, Millis)>,
    /// Every generation below this one is stolen by now.
    pub stolen_below: u32,
}

/// What made a generation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MadeBy {
    /// It is the first.
    Creation,
    /// Its time had come when the one before was presented.
    Timer,
    /// A refresh token was exchanged.
    Refresh,
    /// The user authenticated again: the old credentials never lead here.
    Authentication,
}

/// What recognises one generation.
#[derive(Clone)]
pub struct Verifiers {
    /// Its session token.
    pub session: Verifier,
    /// Its refresh token, for sessions that have one.
    pub refresh: Option<Verifier>,
}

/// The credentials of one generation, in text.
pub struct Issued {
    /// For every request.
    pub session: PlainToken,
    /// For the next pair.
    pub refresh: Option<PlainToken>,
}

impl Issued {
    /// The refresh token's text, to be given to its client.
    pub fn refresh_text(&self) -> Option<&str> {
        self.refresh.as_ref().map(PlainToken::reveal)
    }
}

/// Where a presented token stands in the chain.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// It is the newest.
    Current,
    /// It is the one before, late, and leads to the newest: the same successor is given again.
    Again,
    /// It is late, and leads nowhere.
    Late,
    /// It is stolen.
    Stolen,
    /// No record knows it: newer than the newest, or another verifier.
    Unknown,
}

impl Chain {
    /// How many first presentations are kept apart. If more happen within one grace, the newest two are taken
    /// together, which can let a token be late for at most one grace longer.
    pub const NOTED: usize = 8;

    /// The first generation.
    pub const fn new(verifiers: Verifiers, key_id: u8, now: Millis, awaiting: bool) -> Chain {
        Chain {
            generation: 0,
            made_at: now,
            made_by: MadeBy::Creation,
            key_id,
            current: verifiers,
            previous: None,
            awaiting,
            noted: Vec::new(),
            stolen_below: 0,
        }
    }

    /// Whether the session rotates by refresh only.
    pub const fn has_refresh(&self) -> bool {
        self.current.refresh.is_some()
    }

    /// Since when a successor is out that nobody has presented.
    pub fn pending_since(&self) -> Option<Millis> {
        (self.awaiting && self.generation > 0).then_some(self.made_at)
    }

    /// Where the token stands. `grace` and `now` as in the table of design section 3.2.
    pub fn place(
        &self,
        token: &Opened,
        holder: Holder<'_>,
        keys: &Keyring,
        grace: Span,
        now: Millis,
    ) -> Place {
        let Some(behind) = self.generation.checked_sub(token.generation) else {
            return Place::Unknown;
        };
        let known = match behind {
            0 => Some(&self.current),
            1 => self.previous.as_deref(),
            _ => None,
        };
        if behind < 2 {
            let stored = known.and_then(|v| v.of(token.kind));
            let presented = token.verifier(holder, keys);
            if !stored.zip(presented).is_some_and(|(stored, presented)| stored.matches(&presented)) {
                return Place::Unknown;
            }
        }
        if behind == 0 {
            return Place::Current;
        }
        if !self.is_late(token.generation, grace, now) {
            return Place::Stolen;
        }
        match (behind, token.kind, self.made_by) {
            (1, Kind::Session, MadeBy::Timer) | (1, Kind::Refresh, MadeBy::Refresh) => Place::Again,
            _ => Place::Late,
        }
    }

    /// Whether a token of generation `k`, below the newest, is late and not stolen.
    pub fn is_late(&self, k: u32, grace: Span, now: Millis) -> bool {
        if k < self.stolen_below {
            return false;
        }
        match self.noted.iter().find(|(generation, _)| *generation > k) {
            None => true,
            Some((_, first)) => now.since(*first) < grace,
        }
    }

    /// Whether a presentation of `generation` must be noted before it is answered: neither it nor any later one has
    /// been presented so far.
    pub fn is_news(&self, generation: u32) -> bool {
        if generation == self.generation {
            return self.awaiting;
        }
        generation > self.stolen_below && self.noted.last().is_none_or(|(noted, _)| *noted < generation)
    }

    /// Notes a presentation of `generation`, if it is news.
    pub fn note(&mut self, generation: u32, grace: Span, now: Millis) {
        if !self.is_news(generation) {
            return;
        }
        if generation == self.generation {
            self.awaiting = false;
        }
        while let Some((noted, first)) = self.noted.first().copied() {
            if now.since(first) < grace {
                break;
            }
            self.stolen_below = self.stolen_below.max(noted);
            self.noted.remove(0);
        }
        if generation == 0 {
            return; // no token is older than the first
        }
        if self.noted.len() >= Chain::NOTED {
            self.noted.pop();
        }
        self.noted.push((generation, now));
    }

    /// Appends the next generation.
    pub fn advance(&mut self, verifiers: Verifiers, made_by: MadeBy, key_id: u8, now: Millis) {
        let before = std::mem::replace(&mut self.current, verifiers);
        self.previous = Some(Box::new(before));
        self.generation = self.generation.saturating_add(1);
        self.made_at = now;
        self.made_by = made_by;
        self.key_id = key_id;
        self.awaiting = true;
    }
}

impl Verifiers {
    const fn of(&self, kind: Kind) -> Option<&Verifier> {
        match kind {
            Kind::Session => Some(&self.session),
            Kind::Refresh => self.refresh.as_ref(),
            Kind::AccessKey | Kind::PublishableKey | Kind::LoginCode => None,
        }
    }
}

/// Makes the credentials of one generation, and what recognises them.
pub fn issue(
    holder: Holder<'_>,
    generation: u32,
    session: &Nonce,
    refresh: Option<&Nonce>,
    set: &KeySet,
) -> (Issued, Verifiers) {
    let issued = Issued {
        session: mint(Kind::Session, holder, generation, session, set),
        refresh: refresh.map(|nonce| mint(Kind::Refresh, holder, generation, nonce, set)),
    };
    let verifiers = Verifiers {
        session: verifier(Kind::Session, holder, generation, session, set),
        refresh: refresh.map(|nonce| verifier(Kind::Refresh, holder, generation, nonce, set)),
    };
    (issued, verifiers)
}

/// The credentials that follow the presented token: derived, so that asking again gives the same again.
pub fn issue_successor(
    token: &Opened,
    holder: Holder<'_>,
    set: &KeySet,
    keys: &Keyring,
) -> Option<(Issued, Verifiers)> {
    let env: EnvironmentId = holder.env;
    let session = token.successor(Kind::Session, env, keys)?;
    let refresh = match token.kind {
        Kind::Refresh => Some(token.successor(Kind::Refresh, env, keys)?),
        Kind::Session | Kind::AccessKey | Kind::PublishableKey | Kind::LoginCode => None,
    };
    let generation = token.generation.checked_add(1)?;
    Some(issue(holder, generation, &session, refresh.as_ref(), set))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain() -> Chain {
        let blank = Verifiers { session: Verifier::from_bytes([0; 32]), refresh: None };
        Chain::new(blank, 1, Millis(0), false)
    }
    fn advance(chain: &mut Chain, now: i64) {
        let blank = Verifiers { session: Verifier::from_bytes([0; 32]), refresh: None };
        chain.advance(blank, MadeBy::Timer, 1, Millis(now));
    }
    const GRACE: Span = Span(100);

    #[test]
    fn late_until_grace_after_the_first_presentation_of_a_later_one() {
        let mut c = chain();
        advance(&mut c, 1_000);
        assert!(c.is_late(0, GRACE, Millis(9_000_000)), "nobody holds the successor: late for ever");
        c.note(c.generation, GRACE, Millis(2_000));
        assert!(c.is_late(0, GRACE, Millis(2_099)));
        assert!(!c.is_late(0, GRACE, Millis(2_100)));
    }

    #[test]
    fn a_grace_of_nothing_steals_at_once() {
        let mut c = chain();
        advance(&mut c, 1_000);
        c.note(c.generation, Span(0), Millis(2_000));
        assert!(!c.is_late(0, Span(0), Millis(2_000)));
    }

    #[test]
    fn each_generation_counts_from_the_first_later_presentation() {
        let mut c = chain();
        for n in 1..=3 {
            advance(&mut c, n * 30);
            c.note(c.generation, GRACE, Millis(n * 30 + 10)); // presented at 40, 70, 100
        }
        for (k, stolen_from) in [(0, 140), (1, 170), (2, 200)] {
            assert!(c.is_late(k, GRACE, Millis(stolen_from - 1)), "{k}");
            assert!(!c.is_late(k, GRACE, Millis(stolen_from)), "{k}");
        }
        // pruning keeps the answer
        advance(&mut c, 300);
        c.note(c.generation, GRACE, Millis(301));
        assert_eq!((c.stolen_below, c.noted.len()), (3, 1));
        assert!(!c.is_late(2, GRACE, Millis(301)) && c.is_late(3, GRACE, Millis(301)));
    }

    #[test]
    fn unpresented_generations_in_between_do_not_steal() {
        let mut c = chain();
        advance(&mut c, 10); // 1, never presented
        advance(&mut c, 20); // 2, by authentication say
        assert!(c.is_late(0, GRACE, Millis(1_000_000)) && c.is_late(1, GRACE, Millis(1_000_000)));
        c.note(c.generation, GRACE, Millis(1_000_000));
        assert!(c.is_late(1, GRACE, Millis(1_000_099)) && !c.is_late(1, GRACE, Millis(1_000_100)));
        assert!(!c.is_late(0, GRACE, Millis(1_000_100)));
    }

    #[test]
    fn a_crowd_of_rotations_in_one_grace_stays_bounded_and_is_found() {
        let mut c = chain();
        for n in 1..=50 {
            advance(&mut c, n);
            c.note(c.generation, GRACE, Millis(n));
        }
        assert_eq!(c.noted.len(), Chain::NOTED);
        for k in 0..50 {
            assert!(
                !c.is_late(k, GRACE, Millis(50 + GRACE.0)),
                "one grace after the newest all are stolen: {k}"
            );
        }
        assert!(!c.is_late(0, GRACE, Millis(1 + GRACE.0)));
    }

    #[test]
    fn notes_only_the_first_time() {
        let mut c = chain();
        advance(&mut c, 10);
        c.note(c.generation, GRACE, Millis(20));
        c.note(c.generation, GRACE, Millis(90));
        assert_eq!(c.noted, vec![(1, Millis(20))]);
        assert_eq!(c.pending_since(), None);
        advance(&mut c, 100);
        assert_eq!(c.pending_since(), Some(Millis(100)));
    }
}
