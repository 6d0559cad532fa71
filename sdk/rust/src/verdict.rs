//! What a verifier answers: it passes, it does not, or nobody can tell.
//!
//! The last two are different types on purpose. A refusal says something about the user: log in again, or you may not. That nobody
//! can tell says something about machines: answer 503 and log nobody out.

use handstamp_core::jose::claims::Claims;
use handstamp_core::offline::Ask;
use handstamp_core::refusal::Code;
use std::fmt;
use std::sync::Arc;

/// Who judged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum By {
    /// The verifier, from what it holds.
    Verifier,
    /// The server, because the verifier could not say.
    Server,
}

/// A token that passes.
#[derive(Clone, Debug)]
pub struct Verified {
    pub(crate) claims: Arc<Claims>,
    pub(crate) by: By,
}

impl Verified {
    /// Everything that the token says.
    pub fn claims(&self) -> &Claims {
        &self.claims
    }
    /// The user.
    pub fn user(&self) -> &str {
        &self.claims.subject
    }
    /// The session's id.
    pub fn session(&self) -> String {
        self.claims.session.to_string()
    }
    /// Who acts in the user's place, if somebody does.
    pub fn actor(&self) -> Option<&str> {
        self.claims.actor.as_deref()
    }
    /// Whether it carries this tag (`name:value`).
    pub fn has_tag(&self, tag: &str) -> bool {
        self.claims.tags.iter().any(|held| held == tag)
    }
    /// Who judged.
    pub const fn by(&self) -> By {
        self.by
    }
}

/// A token that does not pass.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refused {
    /// Why: the same codes as the server's.
    pub code: Code,
    /// The same in a sentence, for logs and for people. No secret is in it.
    pub why: String,
    /// Who judged.
    pub by: By,
}

impl Refused {
    /// The status that fits the answer to the client: 401 (log in again, or get a new token) or 403 (not enough).
    pub const fn status(&self) -> u16 {
        self.code.status()
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code.text(), self.why)
    }
}

impl std::error::Error for Refused {}

/// What went wrong between verifier and server. No secret is in it.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Trouble {
    /// No connection, or it broke.
    #[error("the server cannot be reached: {0}")]
    Unreachable(String),
    /// It did not answer in time.
    #[error("the server did not answer in time")]
    Late,
    /// It answered with a status that is none of the expected ones.
    #[error("the server answered {status} ({code})")]
    Status {
        /// The status.
        status: u16,
        /// The code in the answer, or a dash.
        code: String,
    },
    /// It answered with something else than expected.
    #[error("the server's answer cannot be read: {0}")]
    Unreadable(&'static str),
    /// A rule of the server looks at what the question did not carry: the client's address ([`Demand::ip`]) or a proof by its
    /// device. That says nothing about the user.
    ///
    /// [`Demand::ip`]: handstamp_core::offline::Demand::ip
    #[error("the server has a rule for what it was not told ({})", .0.text())]
    Untold(Code),
    /// As many questions as may be asked at once were under way already.
    #[error("too many questions to the server are under way")]
    Busy,
    /// It revoked more than is held.
    #[error("the server has revoked more than is held")]
    Full,
    /// This machine stood still, or its wall clock was set forward: what was heard before is not believed.
    #[error("this machine stood still, or its clock was set")]
    StoodStill,
    /// It ended the stream, as it does when it leaves or the access key may no longer listen.
    #[error("the server ended the stream")]
    Ended,
}

/// Nobody can tell: the verifier does not trust what it holds, and the server could not be asked.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{doubt}, and when asked: {trouble}")]
pub struct CannotTell {
    /// Why the verifier could not say.
    pub doubt: Ask,
    /// Why the server could not.
    pub trouble: Trouble,
}

/// Why a request does not pass.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Stop {
    /// An answer.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// An accident: answer 503, and log nobody out.
    #[error(transparent)]
    CannotTell(#[from] CannotTell),
}

impl Stop {
    /// The status that fits the answer to the client.
    pub const fn status(&self) -> u16 {
        match self {
            Stop::Refused(refused) => refused.status(),
            Stop::CannotTell(_) => 503,
        }
    }
}

/// What a verifier can say without asking.
#[derive(Clone, Debug)]
pub enum Local {
    /// It passes.
    Verified(Verified),
    /// It does not.
    Refused(Refused),
    /// Only the server can say.
    AskServer(Ask),
}
