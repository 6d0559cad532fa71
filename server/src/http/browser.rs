//! The browser's door, `/v1/auth`: calls of a client about its own session, and about the other sessions of the same user.
//!
//! * [`visit`]: whose request it is. [`guard`]: may it change anything? [`session`]: the calls about the session itself.
//!   [`own`]: those about the user's other sessions. [`answer`]: what all answers have in common.
//!
//! A session that has ended is told, and its cookie is left alone: the answer to a request that was under way during a
//! login would otherwise take the new cookie away. Only a logout clears.

use handstamp_core::environment::{EnvironmentName, Environments};
use handstamp_core::time::Span;

pub mod answer;
pub mod guard;
pub mod own;
pub mod session;
pub mod visit;

/// How the door is set up.
#[derive(Clone)]
pub struct Browsers {
    /// Whose a request is that brings no key.
    pub environments: Environments,
    /// Members of the session's data that a browser is shown.
    pub expose: Vec<String>,
    /// Where somebody without a session is sent.
    pub login: Option<String>,
    /// Whether a logout asks the browser to forget what else it keeps for this origin.
    pub clear_site_data: bool,
    /// Other sessions are ended only by somebody who authenticated within this time (ASVS 7.5.2); `None`: by anybody.
    pub fresh_login: Option<Span>,
}

impl Browsers {
    /// How long a login is fresh where nothing is said.
    pub const FRESH: Span = Span::hours(1);
}

/// As the configuration has it when nothing is said.
impl Default for Browsers {
    fn default() -> Browsers {
        Browsers {
            environments: Environments::One(EnvironmentName::usual()),
            expose: Vec::new(),
            login: None,
            clear_site_data: false,
            fresh_login: Some(Browsers::FRESH),
        }
    }
}
