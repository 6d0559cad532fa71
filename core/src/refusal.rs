//! Every reason we ever give: one closed list of codes, each with its status, its sentence and what to do about it
//! (design, section 5). A refusal is an answer; an accident is no refusal and has no place here.

use crate::limit;
use crate::policy::Origin;
use crate::time::{Millis, Span};
use std::fmt;

macro_rules! codes {
    ($($name:ident = $text:literal, $status:literal, $title:literal, $means:literal, $do:literal;)*) => {
        /// A code. The text is stable; pages under `/docs/errors/` explain each.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum Code { $(#[doc = $means] $name,)* }

        impl Code {
            /// All codes, in the order of the documentation.
            pub const ALL: &'static [Code] = &[$(Code::$name,)*];
            /// The stable text.
            pub const fn text(self) -> &'static str { match self { $(Code::$name => $text,)* } }
            /// The HTTP status that goes with it.
            pub const fn status(self) -> u16 { match self { $(Code::$name => $status,)* } }
            /// A few words.
            pub const fn title(self) -> &'static str { match self { $(Code::$name => $title,)* } }
            /// What it means, in a sentence or two.
            pub const fn means(self) -> &'static str { match self { $(Code::$name => $means,)* } }
            /// What the caller should do.
            pub const fn remedy(self) -> &'static str { match self { $(Code::$name => $do,)* } }
        }
    };
}

codes! {
    TokenMissing = "token_missing", 401, "No token", "No token was presented.", "Log in, and send the token with the request.";
    TokenMalformed = "token_malformed", 401, "Not a token of this environment", "The text is no token that was made here: it is damaged, made up, or belongs to another environment.", "Log in again. If it happens often, look for a proxy or cookie limit that cuts the token short.";
    TokenWrongKind = "token_wrong_kind", 401, "Another kind of credential", "A genuine kind of credential, but not one this place takes: a refresh token, an access token or a key instead of a session token, or the other way round.", "Send the session token (hst_...), or where sessions are refreshed the refresh token (hsr_...).";
    TokenExpired = "token_expired", 401, "The access token is over", "The time of the access token is over. Of the session that says nothing: it may live on.", "Get a new access token with the refresh token, or from whoever made this one.";
    TokenNotYetValid = "token_not_yet_valid", 401, "The access token is not valid yet", "The access token says that it is good from a later time on.", "Wait until then. If it should be good now, compare the clocks of the two machines.";
    TokenAudienceMismatch = "token_audience_mismatch", 401, "The access token is for somebody else", "The access token is genuine, but was made for another audience than this one.", "Ask for an access token with this `audience`; or say with the request which audience you are.";
    TokenSuperseded = "token_superseded", 401, "A newer token was given out", "The token was replaced a moment ago and can no longer be exchanged for its successor. Nothing was ended.", "Retry with the credential you now hold; another tab or request received it.";
    SessionNotFound = "session_not_found", 401, "No such session", "No session stands behind the token: it was forgotten after its retention, the store is behind, or, where clients themselves ask, the token is none of ours.", "Log in again.";
    SessionExpired = "session_expired", 401, "Session expired", "The session reached its absolute end, counted from login.", "Log in again.";
    SessionIdle = "session_idle", 401, "Session idle too long", "Nothing was heard of the session for longer than the policy allows.", "Log in again.";
    SessionRevoked = "session_revoked", 401, "Session ended", "Somebody ended the session: the user logged out, or your application or an operator revoked it.", "Log in again.";
    SessionEvicted = "session_evicted", 401, "Session ended to keep a limit", "A newer login took the place of this one, because there were as many sessions as the policy allows: of this user, or of all users with a tag.", "Log in again.";
    TokenReused = "token_reused", 401, "A stolen token was presented", "A token that had long been replaced was presented again: somebody holds a copy. The session was ended for everybody.", "Log in again, and look at the session's events: both contexts are there.";
    IpChanged = "ip_changed", 401, "Another network", "The request came from another network than the login, and the policy does not let that pass. Whether the session has ended, its record says.", "Log in again; or, if nothing was ended, go back to the network of the login.";
    IpNotAllowed = "ip_not_allowed", 403, "Not from this address", "The session is good, but may be used from certain networks only, and the client's address is in none of them.", "Connect from an allowed network; logging in again does not help.";
    IpBlocked = "ip_blocked", 403, "Blocked address", "The session is good, but the client's address is in a network that it may not be used from.", "Connect from another network; logging in again does not help.";
    IpMissing = "ip_missing", 403, "The client's address is missing", "A rule looks at the client's address, and the request did not say it.", "Send `ip`: the address of the user's client, not your server's own.";
    ReauthenticationRequired = "reauthentication_required", 403, "Authenticate again", "The session is good, but this request takes a fresh proof that the user is there. Nothing was ended.", "Let the user authenticate again, and tell it with `auth`; then repeat the request.";
    UserAgentChanged = "user_agent_changed", 401, "Another user agent", "The session was made by another browser, on another system or kind of device than this request comes from. By policy the request is refused, or the session has ended with it.", "Log in again. If it happens to honest users, look at the session's events: both agents are there; `user_agent = \"log\"` in the policy only notes it.";
    TagMissing = "tag_missing", 403, "A tag is missing", "The session is good, but does not carry a tag that this request requires.", "Tell the user that they lack the permission; logging in again does not help by itself.";
    AccessGroupMissing = "access_group_missing", 403, "An access group is missing", "The session is good, but is not in an access group that this request requires.", "Tell the user that they lack the permission; logging in again does not help by itself.";
    DeviceProofMissing = "device_proof_missing", 403, "No proof by the device", "The session is good, but the policy asks for a proof by its device, and none came; or the session has no device yet.", "Sign the challenge that comes with the refusal, and send the proof with the request. A session without a device gets one shortly after login.";
    DeviceProofStale = "device_proof_stale", 403, "The device's proof is stale", "The session's device signed for this request, but not just now: the challenge is too old, was used, or was not given to this client, or the device's clock is wrong.", "Sign again with the fresh challenge that comes with the refusal.";
    DeviceProofInvalid = "device_proof_invalid", 403, "Not a proof by the session's device", "The proof is damaged, was signed by another key, or is for another session or request.", "Do not try the same proof again. When it happens to a user with the right device, compare method and URL of the request with what was signed.";
    OriginNotAllowed = "origin_not_allowed", 403, "Not from this page", "The browser says that the request comes from a page of an origin that is not listed. Nothing was looked at, and nothing was changed.", "If the page is yours, list its origin under `[cors] origins`, or with `handstamp settings cors add`.";
    SessionLimitReached = "session_limit_reached", 409, "Too many sessions", "There are as many live sessions as the policy allows, of this user or of all users with a tag, and the policy refuses rather than ends one. `current` says how many there are, `maximum` how many are allowed. Nothing was changed.", "End a session first, or let the policy end one (`on_limit`).";
    TagInvalid = "tag_invalid", 400, "Not a tag", "A tag is written name:value; the name is 1 to 64 of a-z 0-9 _ - . beginning with a letter.", "Correct the tag.";
    DataInvalid = "data_invalid", 400, "The data does not fit", "The session is of a type that says what its data must look like, and it does not; `errors` says where.", "Correct the data, or the schema of the session type.";
    RedirectNotAllowed = "redirect_not_allowed", 400, "Not an address to come back to", "The address that the login would lead back to has an origin that is not listed, or is written otherwise than browsers write addresses. Nobody was sent anywhere.", "If the page is yours, list its origin under `[login] redirect_origins`, or with `handstamp settings redirect-origins add`; send the address as `location.href` has it.";
    LoginCodeInvalid = "login_code_invalid", 400, "Not a login code for this", "The one-time code is not one of this environment, or was made for another origin or another browser than the exchange says.", "Let the user log in again. If it happens to honest users, compare `origin` with where the login led back to, and `code_verifier` with the challenge that the login began with.";
    LoginCodeExpired = "login_code_expired", 400, "The login code is too old", "A one-time code can be exchanged for a minute after the login.", "Let the user log in again; exchange the code in the very request that brings it.";
    LoginCodeUsed = "login_code_used", 409, "The login code was used", "The one-time code was exchanged already, or the session's credentials were replaced since. Nothing was ended.", "Use the cookie of the first exchange: a page that was loaded again has it. If nobody of yours exchanged it, end the session.";
    DataTooLarge = "data_too_large", 409, "Too much data for a token", "The session's data is longer than the 3 KiB that an access token carries. No token was made; nothing was changed.", "Keep less in the session's data, or validate the session token, whose answer has all of it.";
    SigningKeyMissing = "signing_key_missing", 409, "No key for this algorithm", "The environment has no signing key of this algorithm, or none that may sign yet. No token was made; nothing was changed.", "Make one with `handstamp keys signing rotate --algorithm`, and give verifiers the time to fetch it; or leave `algorithm` out.";
    RotationUnderWay = "rotation_under_way", 409, "Another rotation came first", "A new key waits for its time already, or somebody else rotated at the same moment. Nothing was changed.", "Look at the keys (`handstamp keys signing list`); rotate again when the new key is in use.";
    InvalidRequest = "invalid_request", 400, "The request is not right", "A field is unknown, missing or has a value it cannot have; `errors` says which.", "Correct the request; the same request will be refused again.";
    RequestMalformed = "request_malformed", 400, "Not a well-formed HTTP request", "The bytes are no HTTP/1.1 request: the request line, a header field or the body's framing is damaged.", "Send well-formed HTTP; a client library does. Behind a proxy, look at what the proxy sends.";
    RequestAmbiguous = "request_ambiguous", 400, "The end of the request is ambiguous", "Where the body ends can be read in two ways, which is how requests are smuggled past a proxy. Nothing of it was looked at.", "Send one `Content-Length`, or `Transfer-Encoding: chunked`, not both.";
    TlsExpected = "tls_expected", 400, "Plain HTTP on a TLS port", "This port speaks TLS, and plain HTTP came.", "Use https:// in the address.";
    AccessKeyMissing = "access_key_missing", 401, "No access key", "This call needs an access key.", "Send `Authorization: Bearer hsk_...`.";
    AccessKeyInvalid = "access_key_invalid", 401, "Not an access key of this server", "The access key is unknown, damaged, revoked, or is not an access key.", "Check the key. `handstamp keys list` shows those that exist, `handstamp keys create` makes one.";
    AccessKeySuspended = "access_key_suspended", 401, "The access key is suspended", "Somebody suspended this key.", "Resume it (`handstamp keys resume`) or use another.";
    AccessKeyExpired = "access_key_expired", 401, "The access key has expired", "The key reached the end it was made with, or of its overlap after a rotation.", "Use the key that replaced it, or make a new one.";
    InsufficientScope = "insufficient_scope", 403, "The key may not do this", "The access key is good, but its scopes do not cover this call.", "Use a key with the scope that `detail` names.";
    CsrfTokenInvalid = "csrf_token_invalid", 403, "Not this page's session", "The request came with the session's cookie, but not with the CSRF token of that session, which pages of your application know and others do not. Nothing was changed.", "Read the CSRF token again (a fresh one came with this answer, as a cookie; `GET /v1/auth/session` also says it), send it as `X-XSRF-TOKEN`, and repeat the request.";
    PublishableKeyForbidden = "publishable_key_forbidden", 403, "Not with a publishable key", "A publishable key is in everybody's hands and may not manage sessions.", "Call from your backend, with an access key.";
    NotFound = "not_found", 404, "Not there", "There is nothing under this name in this environment.", "Check the id and the environment of the access key.";
    MethodNotAllowed = "method_not_allowed", 405, "Not with this method", "The address exists, but not with this method.", "See the `Allow` header.";
    RequestTimeout = "request_timeout", 408, "The request took too long", "The request did not arrive in full in time.", "Send it again.";
    SessionEnded = "session_ended", 409, "The session has ended", "Ended is final: an ended session can be read, not changed.", "Create a new session.";
    IdempotencyKeyReused = "idempotency_key_reused", 409, "The idempotency key stands for another request", "The same `Idempotency-Key` came with another body within 24 hours.", "Use a new key for a new request.";
    IdempotencyKeySpent = "idempotency_key_spent", 409, "The first answer was used", "This `Idempotency-Key` has made a session. Its token has been presented since, or the session has ended, so credentials are not given out again.", "Use the token from the first answer; if the session has ended, create with a new key.";
    ExceptInvalid = "except_invalid", 409, "The session to keep is not among them", "The session named in `except` is dead, another user's or outside the filter. Nothing was ended.", "Check `except`; leave it out to end all.";
    ImpersonationForbidden = "impersonation_forbidden", 403, "Not in somebody else's place", "In this session somebody acts in the user's place. They cannot authenticate as the user, bind a device, or end the user's other sessions.", "Let the user do it, or do it without a session.";
    TagCreateOnly = "tag_create_only", 409, "The tag is fixed at creation", "The policy names this tag in `create_only_tags`: it may not come or go on a live session; or it is the tag whose section names others there, which would be free without it. Nothing was changed.", "Make a new session with the other tag, or change the policy.";
    TooManyMatches = "too_many_matches", 409, "Too many sessions match", "More sessions match than one call may change. Nothing was changed.", "Narrow the filter.";
    PolicyManagedByFile = "policy_managed_by_file", 409, "The file decides", "The server's configuration file has a `[policy]` section, so policies cannot be changed over the API.", "Change the file and reload the server, or take the section out of it.";
    PolicyChanged = "policy_changed", 412, "Another version is in force", "The policy was changed since the version named in `If-Match`. Nothing was replaced.", "Read the policy, and decide again.";
    SessionTypesManagedByFile = "session_types_managed_by_file", 409, "The file decides", "The server's configuration file has a `[session_type]` section, so session types cannot be changed over the API.", "Change the file, or take the section out of it.";
    SessionTypeChanged = "session_type_changed", 412, "Another version is there", "The session type was made, changed or deleted since the version named in `If-Match`, or is there although `If-None-Match` says it is not. Nothing was changed.", "Read the session type, and decide again.";
    SettingsChanged = "settings_changed", 412, "Another version is in force", "The setting was changed since the version named in `If-Match`. Nothing was replaced.", "Read the setting, and decide again.";
    AlreadyExists = "already_exists", 409, "It exists already", "There is something under this name already.", "Choose another name.";
    Reserved = "reserved", 409, "The name is reserved", "This name or key is needed by the server itself.", "Choose another one.";
    BodyTooLarge = "body_too_large", 413, "The body is too large", "Bodies have at most 64 KiB; batches 512 KiB; session data 16 KiB.", "Send less.";
    UriTooLong = "uri_too_long", 414, "The address is too long", "The request line has at most 8 KiB.", "Move parameters to the body, or send fewer.";
    UnsupportedMediaType = "unsupported_media_type", 415, "Not JSON", "Bodies are `application/json`.", "Send `Content-Type: application/json`.";
    TooManyConnections = "too_many_connections", 429, "Too many connections from one address", "This address has as many connections as one address may have.", "Reuse connections, or close some; `max_connections_per_address` raises the limit.";
    HeaderTooLarge = "header_too_large", 431, "The header is too large", "The header of the request has more bytes or more fields than this server takes.", "Send fewer or smaller cookies and header fields.";
    RateLimitExceeded = "rate_limit_exceeded", 429, "Too many requests", "The budget of this caller is spent for now.", "Wait as long as `Retry-After` says.";
    InternalError = "internal_error", 500, "An accident here", "Something failed that should not. Nothing is known about the session.", "Try again; if it stays, send the operator the request id.";
    TransferCodingUnknown = "transfer_coding_unknown", 501, "Unknown transfer coding", "The body came in a transfer coding other than chunked.", "Send the body as it is, or chunked.";
    ServerBusy = "server_busy", 503, "Every connection is taken", "This server has as many connections as it may have.", "Try again in a second; `max_connections` raises the limit.";
    HttpVersionUnknown = "http_version_unknown", 505, "Unknown version of HTTP", "This port speaks HTTP/1.1 and HTTP/1.0.", "Speak HTTP/1.1.";
    StoreUnavailable = "store_unavailable", 503, "The store does not answer", "Sessions cannot be read or written right now. It does not mean that anybody is logged out.", "Try again in a moment; do not log anybody out.";
}

impl Code {
    /// Takes back what [`Code::text`] gave.
    pub fn parse(text: &str) -> Option<Code> {
        Code::ALL.iter().copied().find(|code| code.text() == text)
    }

    /// The codes of a refused validation.
    pub const VERDICTS: &'static [Code] = &[
        Code::TokenMissing,
        Code::TokenMalformed,
        Code::TokenWrongKind,
        Code::TokenExpired,
        Code::TokenNotYetValid,
        Code::TokenAudienceMismatch,
        Code::TokenSuperseded,
        Code::SessionNotFound,
        Code::SessionExpired,
        Code::SessionIdle,
        Code::SessionRevoked,
        Code::SessionEvicted,
        Code::TokenReused,
        Code::IpChanged,
        Code::IpNotAllowed,
        Code::IpBlocked,
        Code::IpMissing,
        Code::ReauthenticationRequired,
        Code::UserAgentChanged,
        Code::TagMissing,
        Code::AccessGroupMissing,
        Code::DeviceProofMissing,
        Code::DeviceProofStale,
        Code::DeviceProofInvalid,
    ];

    /// Whether it says that the request came with no good token: the client is to log in, or to get another token. Any
    /// other refusal is of a session that is good.
    pub fn denies_session(self) -> bool {
        self.status() == 401 && Code::VERDICTS.contains(&self)
    }

    /// Whether a rule of the policy has refused what somebody asked for, which history tells; and not that they asked wrongly, or
    /// may not ask at all.
    pub const fn is_by_rule(self) -> bool {
        let of_a_rule = matches!(self, Code::SessionLimitReached | Code::TagCreateOnly);
        let of_the_key = matches!(self, Code::InsufficientScope | Code::PublishableKeyForbidden);
        of_a_rule || (self.status() == 403 && !of_the_key)
    }

    /// The codes of the network edge, which turns a client away before any call has seen the request.
    pub const EDGE: &'static [Code] = &[
        Code::RequestMalformed,
        Code::RequestAmbiguous,
        Code::TlsExpected,
        Code::RequestTimeout,
        Code::UriTooLong,
        Code::TooManyConnections,
        Code::HeaderTooLarge,
        Code::TransferCodingUnknown,
        Code::ServerBusy,
        Code::HttpVersionUnknown,
    ];

    /// The codes with which a session can end.
    pub const ENDINGS: &'static [Code] = &[
        Code::SessionExpired,
        Code::SessionIdle,
        Code::SessionRevoked,
        Code::SessionEvicted,
        Code::TokenReused,
        Code::IpChanged,
        Code::UserAgentChanged,
    ];
}

/// One value of evidence, in its own unit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Value {
    /// A length of time; answers carry seconds.
    Span(Span),
    /// An instant.
    Time(Millis),
    /// A count.
    Number(u64),
    /// A text.
    Text(Box<str>),
    /// Several texts.
    Texts(Vec<Box<str>>),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Span(span) => write!(f, "{span}"),
            Value::Time(at) => write!(f, "{at}"),
            Value::Number(n) => write!(f, "{n}"),
            Value::Text(text) => f.write_str(text),
            Value::Texts(texts) => f.write_str(&texts.join(", ")),
        }
    }
}

/// What was compared.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Evidence {
    /// What the rule allows, and what was seen.
    Limit {
        /// Allowed.
        allowed: Value,
        /// Seen.
        seen: Value,
    },
    /// What was known, and what came.
    Change {
        /// Known.
        before: Value,
        /// Came.
        after: Value,
    },
}

/// A refusal: exactly one code, the rule that spoke, where its value came from, and the evidence.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refusal {
    /// Why.
    pub code: Code,
    /// Which rule.
    pub rule: &'static str,
    /// Where the rule's value came from.
    pub origin: Option<Origin>,
    /// What was compared.
    pub evidence: Option<Evidence>,
}

impl Refusal {
    /// A refusal without a rule of the policy behind it.
    pub const fn plain(code: Code, rule: &'static str) -> Refusal {
        Refusal { code, rule, origin: None, evidence: None }
    }

    /// With `session_limit_reached`: how many sessions there are, and how many may be. Evidence says how many there would
    /// be with one more.
    pub fn room(&self) -> Option<(u64, u64)> {
        match self.evidence {
            Some(Evidence::Limit { allowed: Value::Number(most), seen: Value::Number(seen) })
                if self.code == Code::SessionLimitReached =>
            {
                Some((seen.saturating_sub(1), most))
            }
            _ => None,
        }
    }

    /// The sentence for key holders: numbers and origin, such as `idle 31m, allowed 15m by default`.
    pub fn detail(&self) -> String {
        detail(self.code, self.rule, self.origin.as_ref(), self.evidence.as_ref())
    }
}

/// See [`Refusal::detail`]; the same sentence is made for ended sessions.
pub fn detail(code: Code, rule: &str, origin: Option<&Origin>, evidence: Option<&Evidence>) -> String {
    let by = origin.map(|o| format!(" by {}", o.text())).unwrap_or_default();
    match evidence {
        Some(Evidence::Limit { allowed: Value::Texts(needed), seen: Value::Texts(held) }) => {
            let held = if held.is_empty() { "nothing".to_owned() } else { held.join(", ") };
            // Of an access key, the rule is its scopes.
            let holder = if rule == crate::caller::RULE { "key" } else { "session" };
            format!("{rule} requires {}, the {holder} has {held}", needed.join(", "))
        }
        Some(Evidence::Limit { allowed, seen }) if code == Code::TokenReused => {
            format!(
                "a token of {seen} was presented long after it had been replaced; the newest is {allowed}"
            )
        }
        Some(Evidence::Change { before, after }) if code == Code::TokenReused => format!(
            "a token was presented long after it had been replaced: the session was in use from {before}, the old token \
             came from {after}"
        ),
        Some(Evidence::Limit { allowed, seen }) if code == Code::TokenAudienceMismatch => {
            format!("the token is for {seen}, and this is {allowed}")
        }
        Some(Evidence::Limit { allowed, seen }) if code == Code::TokenExpired => {
            format!("the token was good until {allowed}, it is {seen}")
        }
        Some(Evidence::Limit { allowed, seen }) if code == Code::TokenNotYetValid => {
            format!("the token is good from {allowed} on, it is {seen}")
        }
        Some(Evidence::Limit { allowed, seen }) if code == Code::DataTooLarge => {
            format!("{seen} bytes, where {allowed} have room")
        }
        // Of a number of sessions, what is seen is what there would be with one more.
        Some(Evidence::Limit { allowed, seen }) if [limit::RULE, limit::SEATS].contains(&rule) => {
            format!("{rule} would be {seen}, allowed {allowed}{by}")
        }
        Some(Evidence::Limit { allowed, seen }) => format!("{rule} {seen}, allowed {allowed}{by}"),
        Some(Evidence::Change { before, after }) if rule == crate::address::rule::CHANGE => {
            format!("the address changed from {before} to {after}; {rule}{by}")
        }
        Some(Evidence::Change { before, after }) => format!("{rule} changed from {before} to {after}{by}"),
        None if code == Code::IpMissing => format!("{rule}{by} looks at the client's address, and none came"),
        None => code.means().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_words_with_a_status_of_their_class() {
        let mut seen = std::collections::BTreeSet::new();
        for code in Code::ALL {
            assert!(seen.insert(code.text()), "{code:?}");
            assert!(code.text().bytes().all(|b| b.is_ascii_lowercase() || b == b'_'));
            assert!((400..=505).contains(&code.status()));
            assert_eq!(Code::parse(code.text()), Some(*code));
            assert!(code.means().ends_with('.') && code.remedy().ends_with('.'), "{code:?}");
        }
        assert_eq!(Code::parse("nonsense"), None);
        assert!(Code::ENDINGS.iter().all(|c| c.denies_session()));
    }

    #[test]
    fn what_a_code_says_of_the_session_and_of_the_rules() {
        for (code, denies, by_rule) in [
            (Code::TokenMissing, true, false),
            (Code::SessionIdle, true, false),
            (Code::IpChanged, true, false),
            (Code::TagMissing, false, true),
            (Code::IpNotAllowed, false, true),
            (Code::ReauthenticationRequired, false, true),
            (Code::ImpersonationForbidden, false, true),
            (Code::SessionLimitReached, false, true),
            (Code::TagCreateOnly, false, true),
            (Code::SessionEnded, false, false),
            (Code::InvalidRequest, false, false),
            (Code::AccessKeyInvalid, false, false),
            (Code::InsufficientScope, false, false),
            (Code::PublishableKeyForbidden, false, false),
            (Code::StoreUnavailable, false, false),
        ] {
            assert_eq!((code.denies_session(), code.is_by_rule()), (denies, by_rule), "{code:?}");
        }
    }

    #[test]
    fn details_say_numbers_and_origin() {
        let refusal = Refusal {
            code: Code::SessionIdle,
            rule: "idle",
            origin: Some(Origin::Default),
            evidence: Some(Evidence::Limit {
                allowed: Value::Span(Span::minutes(15)),
                seen: Value::Span(Span::minutes(31)),
            }),
        };
        assert_eq!(refusal.detail(), "idle 31m, allowed 15m by default");
        let tags = |held: &[&str]| Refusal {
            code: Code::TagMissing,
            rule: "required_tags",
            origin: None,
            evidence: Some(Evidence::Limit {
                allowed: Value::Texts(vec!["role:admin".into()]),
                seen: Value::Texts(held.iter().map(|t| (*t).into()).collect()),
            }),
        };
        assert_eq!(
            tags(&["role:user"]).detail(),
            "required_tags requires role:admin, the session has role:user"
        );
        assert_eq!(tags(&[]).detail(), "required_tags requires role:admin, the session has nothing");
    }
}
