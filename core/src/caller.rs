//! Who may ask: access keys, their scopes, and the judgement over them (API contract, "Callers").

use crate::id::{EnvironmentId, KeyId};
use crate::policy::modes::Rate;
use crate::policy::setting::Budget;
use crate::refusal::{Code, Evidence, Refusal, Value};
use crate::secret::Verifier;
use crate::time::Millis;
use crate::token::Kind;

/// The rule's name in refusals.
pub const RULE: &str = "scope";
/// The rule of how often a key may be used.
pub const RATE: &str = "rate_limit";

macro_rules! scopes {
    ($($name:ident = $text:literal, $means:literal;)*) => {
        /// What a key allows.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum Scope { $(#[doc = $means] $name,)* }

        impl Scope {
            /// All, in the order of the documentation.
            pub const ALL: &'static [Scope] = &[$(Scope::$name,)*];
            /// The stable text.
            pub const fn text(self) -> &'static str { match self { $(Scope::$name => $text,)* } }
            /// What it allows.
            pub const fn means(self) -> &'static str { match self { $(Scope::$name => $means,)* } }
        }
    };
}

scopes! {
    SessionsRead = "sessions:read", "validate, read, search and count sessions";
    SessionsWrite = "sessions:write", "create, change and end sessions";
    TokensMint = "tokens:mint", "make access tokens of live sessions";
    TokensVerify = "tokens:verify", "follow which sessions end while an access token of theirs could still live";
    TokensOpen = "tokens:open", "read the keys that open the data inside access tokens";
    EventsRead = "events:read", "read the history of sessions";
    PolicyWrite = "policy:write", "replace the policy, and take up an earlier version again";
    UsersWrite = "users:write", "erase users";
    KeysWrite = "keys:write", "list, make, suspend, rotate and revoke keys of the same environment, with scopes it has itself";
}

impl Scope {
    /// Takes back what [`Scope::text`] gave.
    pub fn parse(text: &str) -> Option<Scope> {
        Scope::ALL.iter().copied().find(|scope| scope.text() == text)
    }
}

/// Where a key is at home.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Home {
    /// One environment; it can do nothing elsewhere.
    Environment(EnvironmentId),
    /// The reserved product: an operator, in any environment.
    Operator,
}

/// A key as it is stored.
#[derive(Clone)]
pub struct AccessKey {
    /// Its name in answers and logs.
    pub id: KeyId,
    /// Access or publishable.
    pub kind: Kind,
    /// A person's name for it.
    pub name: Box<str>,
    /// Where it is at home.
    pub home: Home,
    /// What it allows; of an operator's, everything.
    pub scopes: Vec<Scope>,
    /// What recognises it.
    pub verifier: Verifier,
    /// The key set of the verifier.
    pub key_id: u8,
    /// When it was made.
    pub created_at: Millis,
    /// From then on it is refused.
    pub expires_at: Option<Millis>,
    /// Suspended keys are refused until they are resumed.
    pub suspended: bool,
    /// The key that replaces it, after a rotation.
    pub replaced_by: Option<KeyId>,
    /// How often it may be used; without one, as often as it likes.
    pub rate_limit: Option<Rate>,
}

impl AccessKey {
    /// Whether the key may be used at all. `presented` recognises what the caller sent.
    ///
    /// # Errors
    /// The refusal.
    pub fn judge(&self, presented: &Verifier, now: Millis) -> Result<(), Refusal> {
        if !self.verifier.matches(presented) {
            return Err(Refusal::plain(Code::AccessKeyInvalid, "access_key"));
        }
        self.stands(now)
    }

    /// Whether a key that was recognised is still good: what goes on for long asks again.
    ///
    /// # Errors
    /// The refusal.
    pub fn stands(&self, now: Millis) -> Result<(), Refusal> {
        if self.suspended {
            return Err(Refusal::plain(Code::AccessKeySuspended, "access_key"));
        }
        if self.expires_at.is_some_and(|end| end <= now) {
            return Err(Refusal::plain(Code::AccessKeyExpired, "access_key"));
        }
        Ok(())
    }

    /// Whether the key allows `scope`.
    ///
    /// # Errors
    /// `insufficient_scope`, or `publishable_key_forbidden` for a publishable key.
    pub fn allows(&self, scope: Scope) -> Result<(), Refusal> {
        if self.kind != Kind::AccessKey {
            return Err(Refusal::plain(Code::PublishableKeyForbidden, RULE));
        }
        if matches!(self.home, Home::Operator) || self.scopes.contains(&scope) {
            return Ok(());
        }
        Err(Refusal {
            code: Code::InsufficientScope,
            rule: RULE,
            origin: None,
            evidence: Some(Evidence::Limit {
                allowed: Value::Texts(vec![scope.text().into()]),
                seen: Value::Texts(self.scopes.iter().map(|s| s.text().into()).collect()),
            }),
        })
    }

    /// Which scopes it may give to a key it makes: nobody gives what they do not have.
    ///
    /// # Errors
    /// `insufficient_scope` with the first scope that is too much.
    pub fn may_grant(&self, scopes: &[Scope]) -> Result<(), Refusal> {
        scopes.iter().try_for_each(|scope| self.allows(*scope))
    }

    /// Which limit it may give to a key: whoever has one gives none that is looser, and takes none away.
    ///
    /// # Errors
    /// `insufficient_scope` with both.
    pub fn may_grant_rate(&self, given: Option<Rate>) -> Result<(), Refusal> {
        let Some(own) = self.rate_limit else { return Ok(()) };
        if given.is_some_and(|given| given.stricter(own) == given) {
            return Ok(());
        }
        Err(Refusal {
            code: Code::InsufficientScope,
            rule: RATE,
            origin: None,
            evidence: Some(Evidence::Limit {
                allowed: Value::Text(own.to_string().into()),
                seen: Value::Text(Budget(given).to_string().into()),
            }),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(scopes: &[Scope], home: Home) -> AccessKey {
        AccessKey {
            id: KeyId([1; 16]),
            kind: Kind::AccessKey,
            name: "k".into(),
            home,
            scopes: scopes.to_vec(),
            verifier: Verifier::from_bytes([1; 32]),
            key_id: 1,
            created_at: Millis(0),
            expires_at: Some(Millis(100)),
            suspended: false,
            replaced_by: None,
            rate_limit: None,
        }
    }

    #[test]
    fn keys_are_judged_in_order_with_exact_times() {
        let good = Verifier::from_bytes([1; 32]);
        let k = key(&[], Home::Operator);
        assert!(k.judge(&good, Millis(99)).is_ok());
        assert_eq!(k.judge(&good, Millis(100)).unwrap_err().code, Code::AccessKeyExpired);
        assert_eq!(
            k.judge(&Verifier::from_bytes([2; 32]), Millis(100)).unwrap_err().code,
            Code::AccessKeyInvalid
        );
        let suspended = AccessKey { suspended: true, ..k };
        assert_eq!(suspended.judge(&good, Millis(100)).unwrap_err().code, Code::AccessKeySuspended);
        assert_eq!(
            suspended.judge(&Verifier::from_bytes([2; 32]), Millis(0)).unwrap_err().code,
            Code::AccessKeyInvalid
        );
    }

    #[test]
    fn scopes_bind_and_nobody_gives_what_they_lack() {
        let home = Home::Environment(EnvironmentId(1));
        let k = key(&[Scope::SessionsRead], home);
        assert!(k.allows(Scope::SessionsRead).is_ok());
        assert_eq!(k.allows(Scope::SessionsWrite).unwrap_err().code, Code::InsufficientScope);
        assert!(k.may_grant(&[Scope::SessionsRead]).is_ok());
        assert!(k.may_grant(&[Scope::SessionsRead, Scope::KeysWrite]).is_err());
        assert!(key(&[], Home::Operator).may_grant(Scope::ALL).is_ok());
        let rate = |text| Some(Rate::parse(text).unwrap());
        assert!(
            [None, rate("1/1h"), rate("4000000/1s")].iter().all(|given| k.may_grant_rate(*given).is_ok())
        );
        let limited = AccessKey { rate_limit: rate("100/1h"), ..k };
        assert!(
            [rate("100/1h"), rate("99/1h"), rate("1/1m")]
                .iter()
                .all(|given| limited.may_grant_rate(*given).is_ok())
        );
        for given in [None, rate("101/1h"), rate("2/1m"), rate("1/1s")] {
            assert_eq!(limited.may_grant_rate(given).unwrap_err().code, Code::InsufficientScope, "{given:?}");
        }
        let detail = limited.may_grant_rate(None).unwrap_err().detail();
        assert_eq!(detail, "rate_limit off, allowed 100/1h");
        let public = AccessKey { kind: Kind::PublishableKey, ..key(Scope::ALL, home) };
        assert_eq!(public.allows(Scope::SessionsRead).unwrap_err().code, Code::PublishableKeyForbidden);
    }
}
