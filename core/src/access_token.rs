//! Access tokens: what one says that is made now, and whether one that was read may pass (design, section 3.3).
//!
//! A token is short, and never outlives its session as it stands: neither its absolute end nor the end of its idle time. What is
//! genuine about it, [`crate::jose`] says; whether its session may pass, [`crate::judge::judge_access`].

use crate::id::SessionId;
use crate::jose::LONGEST;
use crate::jose::claims::{AUDIENCE, AUDIENCES, Claims, LONGEST_LIFE, RESERVED, RULE};
use crate::jose::json::Members;
use crate::policy::Effective;
use crate::refusal::{Code, Evidence, Refusal, Value};
use crate::session::Session;
use crate::time::{Millis, Span};

/// The most bytes of data that a token carries.
pub const DATA: usize = 3 * 1_024;
/// The most bytes of the application's own claims, as JSON.
pub const CUSTOM: usize = 2 * 1_024;

/// What the caller wants of a token. Made by [`Wish::new`] only.
#[derive(Clone, Default)]
pub struct Wish {
    audience: Vec<String>,
    lifetime: Option<Span>,
    not_before: Option<Millis>,
    custom: Members,
    issuer: Option<String>,
}

impl Wish {
    /// Checks what a caller asks for: `audience` at most [`AUDIENCES`] texts of 1 to [`AUDIENCE`] bytes without control
    /// characters, `lifetime` a second or more, `not_before` at most a day ahead, `custom` none of [`RESERVED`] and at most
    /// [`CUSTOM`] bytes.
    ///
    /// # Errors
    /// Which of the four, and a sentence that says what would be right.
    pub fn new(
        audience: Vec<String>,
        lifetime: Option<Span>,
        not_before: Option<Millis>,
        custom: Members,
        now: Millis,
    ) -> Result<Wish, (&'static str, String)> {
        if audience.len() > AUDIENCES || !audience.iter().all(|text| is_name(text)) {
            return Err(("audience", format!("1 to {AUDIENCES} texts of 1 to {AUDIENCE} bytes")));
        }
        if lifetime.is_some_and(|life| life < Span::secs(1) || life > LONGEST_LIFE) {
            return Err(("lifetime", format!("seconds, from 1 to {}", LONGEST_LIFE.as_secs())));
        }
        if not_before.is_some_and(|at| at > now.plus(LONGEST_LIFE)) {
            return Err(("not_before", "at most a day from now".to_owned()));
        }
        if let Some(name) = RESERVED.iter().find(|name| custom.has(name)) {
            return Err(("claims", format!("`{name}` is the server's own; choose another name")));
        }
        let mut text = String::new();
        custom.write(&mut text);
        if text.len() > CUSTOM {
            return Err(("claims", format!("at most {CUSTOM} bytes as JSON, these are {}", text.len())));
        }
        Ok(Wish { audience, lifetime, not_before, custom, issuer: None })
    }

    /// The same with another `iss`, of 1 to [`AUDIENCE`] bytes without control characters: for readers who know this service
    /// by a name that it does not have.
    ///
    /// It is a name and nothing more. What stands behind the token is the signature of the environment's own key, so nobody
    /// else's tokens can be made this way; and its session, its epoch and its place in a status list are in it as in any other,
    /// so its end is told like theirs. Readers that take one issuer only, as this server does ([`Reader`]), refuse it.
    ///
    /// # Errors
    /// The field, and a sentence that says what would be right.
    pub fn issued_as(self, issuer: String) -> Result<Wish, (&'static str, String)> {
        if !is_name(&issuer) {
            return Err(("issuer", format!("1 to {AUDIENCE} bytes without control characters")));
        }
        Ok(Wish { issuer: Some(issuer), ..self })
    }

    /// Whether the token is to be good only later than now.
    pub fn begins_later(&self, now: Millis) -> bool {
        self.not_before.is_some_and(|at| at > now)
    }
}

/// Whether a text can stand for somebody who issues or takes tokens.
fn is_name(text: &str) -> bool {
    (1..=AUDIENCE).contains(&text.len()) && !text.chars().any(char::is_control)
}

/// A live session of a user, as far as it matters of which one a token is made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Candidate {
    /// Which.
    pub id: SessionId,
    /// Its last activity, also if it is not written yet.
    pub seen: Millis,
    /// Whether somebody acts in the user's place in it.
    pub acting: bool,
}

/// The session of which a token is made where only the user is named: the one that was active last; of several at the same
/// instant the greatest name, and names begin with the time at which they were made. One in which somebody acts
/// in the user's place is never chosen: who names the user means the user.
pub fn latest(live: impl IntoIterator<Item = Candidate>) -> Option<Candidate> {
    live.into_iter().filter(|one| !one.acting).max_by_key(|one| (one.seen, one.id))
}

/// What a token says beside what its session is and what was asked for.
pub struct Making<'a> {
    /// Whose tokens these are, where the caller did not say.
    pub issuer: &'a str,
    /// For whom, where the caller did not say.
    pub audience: &'a str,
    /// The token's own name, drawn at the edge.
    pub id: String,
    /// The environment's epoch counter: the session was found alive under it.
    pub epoch: u64,
    /// The earliest end of the session that stands now.
    pub ends: Millis,
    /// The session's data, sealed.
    pub data: Option<String>,
    /// Where the status lists have the session, and the list's address.
    pub status: Option<(u64, String)>,
}

/// What a token says that is made of a live session at `now`. Times are whole seconds, rounded so that it is never good for
/// longer than it may be.
pub fn claims(session: &Session, wish: &Wish, making: Making<'_>, policy: &Effective, now: Millis) -> Claims {
    let begins = wish.not_before.map_or(now, |at| at.max(now));
    let most = policy.access_token_ttl.value;
    let life = wish.lifetime.map_or(most, |asked| asked.min(most));
    let ends = begins.plus(life).min(making.ends).min(now.plus(LONGEST_LIFE));
    let issued_at = seconds(now);
    let expires_at = seconds(ends).max(issued_at);
    let auth = session.auth.as_deref();
    Claims {
        issuer: wish.issuer.clone().unwrap_or_else(|| making.issuer.to_owned()),
        audience: if wish.audience.is_empty() {
            vec![making.audience.to_owned()]
        } else {
            wish.audience.clone()
        },
        subject: session.user.as_str().to_owned(),
        session: session.id,
        issued_at,
        not_before: seconds(begins).clamp(issued_at, expires_at),
        expires_at,
        id: making.id,
        tags: session.tags.iter().map(|held| held.tag.as_str().to_owned()).collect(),
        groups: session.groups.iter().map(|group| group.as_str().to_owned()).collect(),
        methods: auth
            .map(|auth| auth.methods.iter().map(|one| String::from(&**one)).collect())
            .unwrap_or_default(),
        level: auth.map(|auth| auth.level.get()),
        authenticated_at: session.authenticated_at,
        actor: session.actor.as_ref().map(|actor| actor.id.as_str().to_owned()),
        epoch: making.epoch,
        data: making.data,
        status: making.status,
        custom: wish.custom.clone(),
    }
}

/// Whether a token with data of so many bytes carries no more than it may ([`DATA`]), and is not longer than readers take.
///
/// # Errors
/// `data_too_large`.
pub fn fits(claims: &Claims, data: Option<usize>) -> Result<(), Refusal> {
    let number = |n: usize| Value::Number(u64::try_from(n).unwrap_or(u64::MAX));
    let refuse = |allowed, seen| Err(refuse(Code::DataTooLarge, number(allowed), number(seen)));
    let sealed = match data {
        Some(data) if data > DATA => return refuse(DATA, data),
        // Its header, nonce and tag, and the claim's name.
        Some(data) => base64(data) + 240,
        None => 0,
    };
    // Header and signature: that of RSA is the longest.
    let text = base64(claims.write().len() + sealed) + 660;
    if text > LONGEST { refuse(LONGEST, text) } else { Ok(()) }
}

/// How many letters so many bytes become.
const fn base64(bytes: usize) -> usize {
    bytes.div_ceil(3) * 4
}

/// Who reads a token, and when.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    /// The one issuer whose tokens these are.
    pub issuer: &'a str,
    /// Who they must be for, byte by byte.
    pub audience: &'a str,
    /// How far the clocks of maker and reader may differ.
    pub leeway: Span,
}

impl Reader<'_> {
    /// Whether a genuine token is for this reader, now. At the very second of its end it is over.
    ///
    /// # Errors
    /// `token_malformed` of another issuer's, `token_audience_mismatch`, `token_not_yet_valid`, `token_expired`.
    pub fn judge(&self, claims: &Claims, now: Millis) -> Result<(), Refusal> {
        if claims.issuer != self.issuer {
            return Err(Refusal::plain(Code::TokenMalformed, RULE));
        }
        if !claims.audience.iter().any(|one| one == self.audience) {
            let texts = |all: &[String]| Value::Text(all.join(", ").into());
            return Err(refuse(
                Code::TokenAudienceMismatch,
                Value::Text(self.audience.into()),
                texts(&claims.audience),
            ));
        }
        let begins = claims.since();
        if begins.minus(self.leeway) > now {
            return Err(refuse(Code::TokenNotYetValid, Value::Time(begins), Value::Time(now)));
        }
        if claims.until().plus(self.leeway) <= now {
            return Err(refuse(Code::TokenExpired, Value::Time(claims.until()), Value::Time(now)));
        }
        Ok(())
    }
}

fn refuse(code: Code, allowed: Value, seen: Value) -> Refusal {
    Refusal { code, rule: RULE, origin: None, evidence: Some(Evidence::Limit { allowed, seen }) }
}

fn seconds(at: Millis) -> u64 {
    u64::try_from(at.0.div_euclid(1_000)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{Bucket, SessionId};

    fn claims() -> Claims {
        Claims {
            issuer: "handstamp:default/prd".to_owned(),
            audience: vec!["default/prd".to_owned()],
            subject: "ada".to_owned(),
            session: SessionId::new(Millis(1_700_000_000_000), Bucket::new(7), [3; 9]),
            issued_at: 1_700_000_000,
            not_before: 1_700_000_000,
            expires_at: 1_700_000_300,
            id: "j1".to_owned(),
            tags: Vec::new(),
            groups: Vec::new(),
            methods: Vec::new(),
            level: None,
            authenticated_at: Millis(1_699_999_999_123),
            actor: None,
            epoch: 0,
            data: None,
            status: None,
            custom: Members::default(),
        }
    }

    const READER: Reader<'static> =
        Reader { issuer: "handstamp:default/prd", audience: "default/prd", leeway: Span(0) };

    fn told(claims: &Claims, now: i64) -> Option<Code> {
        READER.judge(claims, Millis(now)).err().map(|refusal| refusal.code)
    }

    #[test]
    fn times_to_the_second() {
        let all = claims();
        for (now, code) in [
            (1_699_999_999_999, Some(Code::TokenNotYetValid)),
            (1_700_000_000_000, None),
            (1_700_000_299_999, None),
            (1_700_000_300_000, Some(Code::TokenExpired)),
        ] {
            assert_eq!(told(&all, now), code, "{now}");
        }
        let later = Claims { not_before: 1_700_000_100, ..claims() };
        assert_eq!(told(&later, 1_700_000_099_999), Some(Code::TokenNotYetValid));
        assert_eq!(told(&later, 1_700_000_100_000), None);
        let early = Claims { issued_at: 1_700_000_200, ..claims() };
        assert_eq!(told(&early, 1_700_000_199_999), Some(Code::TokenNotYetValid), "made in the future");
        let lenient = Reader { leeway: Span::secs(5), ..READER };
        for (now, passes) in [
            (1_699_999_994_999, false),
            (1_699_999_995_000, true),
            (1_700_000_304_999, true),
            (1_700_000_305_000, false),
        ] {
            assert_eq!(lenient.judge(&all, Millis(now)).is_ok(), passes, "{now}");
        }
    }

    #[test]
    fn issuer_and_audience_byte_by_byte() {
        for issuer in [
            "",
            "handstamp:default/prd/",
            "handstamp:default/PRD",
            "handstamp:default/pr",
            "handstamp:default/stg",
        ] {
            let other = Claims { issuer: issuer.to_owned(), ..claims() };
            assert_eq!(told(&other, 1_700_000_000_000), Some(Code::TokenMalformed), "{issuer}");
        }
        let to = |audience: &[&str]| Claims {
            audience: audience.iter().map(|one| (*one).to_owned()).collect(),
            ..claims()
        };
        for audience in [&["default/PRD"][..], &["default/prd/"], &["default"], &["a", "b"], &[""]] {
            assert_eq!(
                told(&to(audience), 1_700_000_000_000),
                Some(Code::TokenAudienceMismatch),
                "{audience:?}"
            );
        }
        assert_eq!(told(&to(&["x", "default/prd"]), 1_700_000_000_000), None);
    }

    #[test]
    fn the_session_of_whom_only_the_user_is_named() {
        let id = |made| SessionId::new(Millis(made), Bucket::new(7), [3; 9]);
        let own = |made, seen| Candidate { id: id(made), seen: Millis(seen), acting: false };
        let acting = |made, seen| Candidate { acting: true, ..own(made, seen) };
        for (live, chosen) in [
            (&[][..], None),
            (&[own(1, 5)], Some(1)),
            (&[own(1, 5), own(2, 4)], Some(1)),
            (&[own(2, 4), own(1, 5)], Some(1)),
            (&[own(1, 5), own(2, 5)], Some(2)),
            (&[own(2, 5), own(1, 5)], Some(2)),
            (&[own(1, 6), own(2, 5), own(3, 5)], Some(1)),
            (&[acting(1, 5)], None),
            (&[acting(3, 9), own(1, 4), own(2, 3)], Some(1)),
            (&[own(1, 4), acting(1, 4), acting(2, 4)], Some(1)),
        ] {
            assert_eq!(latest(live.iter().copied()).map(|one| one.id), chosen.map(id), "{live:?}");
        }
    }

    #[test]
    fn a_name_of_the_callers_own_choice() {
        let long = "x".repeat(AUDIENCE);
        for (issuer, good) in [
            ("", false),
            ("x", true),
            ("https://shop.example", true),
            (long.as_str(), true),
            (&format!("{long}x"), false),
            ("a\u{0}b", false),
            ("a\nb", false),
            ("a\u{7f}", false),
        ] {
            let wish = Wish::default().issued_as(issuer.to_owned());
            assert_eq!(
                wish.map(|wish| wish.issuer).ok(),
                good.then(|| Some(issuer.to_owned())),
                "{issuer:?}"
            );
        }
    }
}
