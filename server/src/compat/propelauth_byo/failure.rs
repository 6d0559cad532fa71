//! What went wrong, in the words of the clients: a type out of the command's own list, and details in the one form that
//! this type has. Where details are a free text, it is our code and sentence.

use crate::app::{Fault, Refused, Stop};
use crate::json::Wrong;
use axum::body::Body;
use handstamp_core::device::challenge::Given;
use handstamp_core::rate::Over;
use handstamp_core::refusal::{Code, Refusal};
use handstamp_core::tag::Tag;
use handstamp_core::time::Millis;
use handstamp_core::transition::Impossible;
use http::{HeaderValue, Response, StatusCode, header};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;

/// A failed command.
pub struct Failure {
    status: u16,
    kind: &'static str,
    details: Option<Value>,
    /// The budget that does not cover the request.
    over: Option<Over>,
    /// What happened, for the log alone.
    fault: Option<Arc<Fault>>,
}

/// The type that every command has.
const UNEXPECTED: &str = "UnexpectedError";

impl Failure {
    /// A type that says it all.
    pub fn unit(kind: &'static str, status: u16) -> Failure {
        Failure { status, kind, details: None, over: None, fault: None }
    }

    /// A code with its own sentence.
    pub fn code(code: Code) -> Failure {
        Failure::said(UNEXPECTED, code, &format!("{} {}", code.means(), code.remedy()))
    }

    /// Bad input in one place.
    pub fn invalid(pointer: &str, message: &str) -> Failure {
        let sentence = if pointer.is_empty() { message.to_owned() } else { format!("{pointer}: {message}") };
        Failure::said(UNEXPECTED, Code::InvalidRequest, &sentence)
    }

    /// The same as a reader found it; `under` is where that what it read lies in the body.
    pub fn wrong(wrong: &Wrong, under: &str) -> Failure {
        Failure::invalid(&format!("{under}{}", wrong.pointer), &wrong.message)
    }

    /// A text that is no tag, where the type repeats it.
    pub fn bad_tag(kind: &'static str, tag: &str) -> Failure {
        Failure { details: Some(json!({ "InvalidTagFormat": tag })), ..Failure::unit(kind, 400) }
    }

    /// A text that is no tag, where no type is about tags.
    pub fn no_tag(pointer: &str) -> Failure {
        Failure::said(UNEXPECTED, Code::TagInvalid, &format!("{pointer}: {}", Tag::FORM))
    }

    /// There is no such session.
    pub fn no_session() -> Failure {
        Failure::unit("SessionNotFound", 404)
    }

    /// Tags that may not come or go, by name; each name once.
    pub fn fixed_tags<'a>(names: impl Iterator<Item = &'a str>) -> Failure {
        let names: BTreeSet<&str> = names.collect();
        let details = Some(json!({ "tag_names": names }));
        Failure { details, ..Failure::unit("CannotModifyOnCreateOnlyTags", Code::TagCreateOnly.status()) }
    }

    /// As many sessions as there may be.
    pub fn full(current: u64, most: u64) -> Failure {
        let details = json!({ "currentCount": current, "maxAllowed": most });
        let status = Code::SessionLimitReached.status();
        Failure { details: Some(details), ..Failure::unit("SessionLimitExceeded", status) }
    }

    /// A fresh challenge, to be signed instead.
    pub fn challenge(given: &Given) -> Failure {
        let details = json!({ "deviceChallenge": given.text, "expiresAt": seconds(given.until) });
        Failure { details: Some(details), ..Failure::unit("NewDeviceChallengeRequired", 403) }
    }

    /// A refusal under another type whose details are a text.
    pub fn refusal(kind: &'static str, refusal: &Refusal) -> Failure {
        Failure::said(kind, refusal.code, &refusal.detail())
    }

    /// The same failure under another type whose details are a text.
    #[must_use]
    pub fn typed(self, kind: &'static str) -> Failure {
        Failure { kind, ..self }
    }

    /// A refusal of a verb: `by` says which type a code has here. An accident is never a type of the command.
    pub fn of(stop: Stop, by: impl FnOnce(&Refused) -> Option<Failure>) -> Failure {
        Failure::of_placed(stop, &[], by)
    }

    /// The same of a verb that names places in what it was told; `places` are their names, and where that lies here.
    pub fn of_placed(
        stop: Stop,
        places: &[(&str, &str)],
        by: impl FnOnce(&Refused) -> Option<Failure>,
    ) -> Failure {
        match stop {
            Stop::Refused(refused) => by(&refused).unwrap_or_else(|| Failure {
                over: refused.over,
                ..Failure::said(UNEXPECTED, refused.refusal.code, &sentence(&refused, places))
            }),
            Stop::Fault(fault) => {
                let code = if fault.is_outage() { Code::StoreUnavailable } else { Code::InternalError };
                // An accident is an accident: nobody is to be told anything else by a number.
                let status = Code::StoreUnavailable.status();
                Failure { status, fault: Some(Arc::new(fault)), ..Failure::code(code) }
            }
        }
    }

    /// Something that cannot be; the log is told what.
    pub fn impossible(what: &'static str) -> Failure {
        Failure::of(Stop::from(Impossible(what)), |_| None)
    }

    /// A refusal under a type whose details are a text.
    pub fn text(kind: &'static str, refused: &Refused) -> Failure {
        Failure::said(kind, refused.refusal.code, &sentence(refused, &[]))
    }

    /// Why the integration key will not do. Their own types for that make most of the clients crash, so each goes by the
    /// type that all know, and stands at the end of the sentence.
    pub fn of_caller(stop: Stop, key: Option<&str>) -> Failure {
        let prefixed = key.is_some_and(|key| key.starts_with("hsk_"));
        let kind = match &stop {
            Stop::Refused(refused) => match refused.refusal.code {
                Code::AccessKeyMissing => Some("NoIntegrationKeyFoundInHeader"),
                Code::PublishableKeyForbidden => Some("InvalidPrefix"),
                Code::AccessKeyInvalid if !prefixed => Some("InvalidPrefix"),
                Code::AccessKeyInvalid | Code::AccessKeySuspended | Code::AccessKeyExpired => {
                    Some("IntegrationKeyNotFound")
                }
                _ => None,
            },
            Stop::Fault(_) => None,
        };
        let failure = Failure::of(stop, |_| None);
        match kind {
            Some(kind) => failure.of_key(kind),
            None => failure,
        }
    }

    /// The same, with their name for what is wrong with the key.
    #[must_use]
    pub fn of_key(mut self, kind: &str) -> Failure {
        if let Some(Value::String(text)) = &mut self.details {
            text.push_str(&format!(" ({kind})"));
        }
        self
    }

    fn said(kind: &'static str, code: Code, sentence: &str) -> Failure {
        let own = if code == Code::InsufficientScope { " (CommandNotAllowed)" } else { "" };
        let details = format!("{}: {sentence}{own}", code.text());
        Failure {
            status: code.status(),
            kind,
            details: Some(Value::String(details)),
            over: None,
            fault: None,
        }
    }

    /// The answer.
    pub fn render(self) -> Response<Body> {
        let mut body = json!({ "type": self.kind });
        if let Some(details) = self.details {
            body["details"] = details;
        }
        let mut answer = Response::new(Body::from(body.to_string()));
        *answer.status_mut() = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = answer.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if self.status == 401 {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(over) = self.over {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(over.retry_after));
            answer.extensions_mut().insert(over.standing);
        } else if self.status == 503 {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(1));
        }
        // The door knows the name of the request, and logs what happened under it.
        if let Some(fault) = self.fault {
            answer.extensions_mut().insert(fault);
        }
        answer
    }
}

/// A refusal in words; what it names of the request is by the name that it has here.
fn sentence(refused: &Refused, places: &[(&str, &str)]) -> String {
    let Some((pointer, message)) = refused.fields.first() else {
        let sentence = refused.sentence();
        return match refused.refusal.code {
            Code::IpMissing => sentence.replace("`ip`", "`ipAddress`"),
            Code::ExceptInvalid => sentence.replace("`except`", "`sessionTokenToKeep`"),
            _ => sentence,
        };
    };
    let within = |place: &str| {
        pointer.strip_prefix(place).filter(|rest| rest.is_empty() || rest.starts_with('/')).map(str::to_owned)
    };
    let placed = places.iter().find_map(|(place, here)| Some(format!("{here}{}", within(place)?)));
    let pointer = placed.unwrap_or_else(|| pointer.clone());
    match refused.fields.len() {
        1 => format!("{pointer}: {message}"),
        many => format!("{pointer}: {message} (and {} more)", many - 1),
    }
}

/// Whole seconds since 1970: what an instant is in this protocol.
pub fn seconds(at: Millis) -> i64 {
    at.0.div_euclid(1_000)
}
