//! What requests say of an authentication, and of somebody in the user's place.

use super::input;
use super::problem::Problem;
use handstamp_core::session::Actor;
use handstamp_core::step_up::{Auth, Level};
use handstamp_core::time::{Millis, Span};
use handstamp_core::transition::create::Proved;
use serde::Deserialize;

/// An authentication.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "methods": ["password", "otp"], "level": 2 }))]
pub struct AuthRequest {
    /// How: `password`, `otp`, `passkey`; your own words, at most 8.
    #[serde(default)]
    methods: Vec<String>,
    /// How much it proves: 1 to 3, as in NIST SP 800-63B-4. Left out: 1.
    level: Option<u8>,
    /// When it was; left out: now. Absolute time counts from here.
    #[schema(format = DateTime)]
    at: Option<String>,
}

/// Who acts in the user's place.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "id": "grace", "reason": "ticket 4711" }))]
pub struct ActorRequest {
    /// Whatever the application calls them.
    id: String,
    /// Why: 1 to 500 bytes, for history.
    reason: String,
}

impl AuthRequest {
    pub(super) fn read(self, at: &str, now: Millis) -> Result<Proved, Problem> {
        if self.methods.len() > Auth::METHODS {
            return Err(Problem::field(format!("{at}/methods"), format!("at most {}", Auth::METHODS)));
        }
        let method = |(n, text): (usize, &String)| {
            Auth::method(text).map_err(|why| Problem::field(format!("{at}/methods/{n}"), why))
        };
        let methods = self.methods.iter().enumerate().map(method).collect::<Result<Box<[_]>, _>>()?;
        let wrong = || Problem::field(format!("{at}/level"), "1, 2 or 3");
        let level = self.level.map_or(Some(Level::WEAKEST), Level::new).ok_or_else(wrong)?;
        let when = format!("{at}/at");
        let instant = self.at.as_deref().map(|text| input::instant(&when, text)).transpose()?;
        // Another machine's clock may be a little ahead.
        if instant.is_some_and(|at| at > now.plus(Span::minutes(1))) {
            return Err(Problem::field(when, "lies in the future"));
        }
        Ok(Proved { auth: Auth { methods, level }, at: instant })
    }
}

impl ActorRequest {
    pub(super) fn read(self, at: &str) -> Result<Actor, Problem> {
        let reason = self.reason.trim();
        if reason.is_empty() || reason.len() > Actor::REASON || reason.chars().any(char::is_control) {
            let message = format!("1 to {} bytes without control characters", Actor::REASON);
            return Err(Problem::field(format!("{at}/reason"), message));
        }
        Ok(Actor { id: input::user(&format!("{at}/id"), &self.id)?, reason: reason.into() })
    }
}
