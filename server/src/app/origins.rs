//! The origins that an environment knows: those of the configuration, and beside them those that were said over the API.
//!
//! An origin counts as soon as one of the two lists it; so a file gives what is always there, and the API adds and takes
//! away again without a restart.

use super::callers::Caller;
use super::control::{Env, put};
use super::{App, Stop};
use crate::codec::control::environment_key;
use crate::codec::new_event;
pub use crate::codec::origins::Purpose;
use crate::codec::origins::{OriginList, origins_key, purpose, read_origins, write_origins};
use crate::store::{Expect, Op, StoreError, Versioned};
use handstamp_core::caller::Scope;
use handstamp_core::event::Event;
use handstamp_core::origin::{Allowed, WebOrigin};
use handstamp_core::refusal::Code;
use std::sync::Arc;

/// How many origins a list has at most.
pub const MOST: usize = 200;

/// What is in force.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Origins {
    /// Pages that may call the browser API.
    pub cors: Allowed,
    /// Pages that a login may lead back to.
    pub redirect: Allowed,
}

/// What the configuration lists.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct FileOrigins {
    /// `[cors] origins`
    pub cors: Vec<WebOrigin>,
    /// `[login] redirect_origins`
    pub redirect: Vec<WebOrigin>,
}

/// What was said over the API, each with the version of its record.
#[derive(Clone, Default)]
pub(super) struct Said {
    cors: Option<(Arc<OriginList>, u64)>,
    redirect: Option<(Arc<OriginList>, u64)>,
}

/// A list as it is told of.
pub struct Listed {
    /// 0 while nobody said anything over the API.
    pub version: u64,
    /// What was said over the API.
    pub stored: Vec<WebOrigin>,
    /// What the configuration lists.
    pub from_file: Vec<WebOrigin>,
}

impl FileOrigins {
    const fn of(&self, purpose: Purpose) -> &Vec<WebOrigin> {
        match purpose {
            Purpose::Cors => &self.cors,
            Purpose::Redirect => &self.redirect,
        }
    }

    pub(super) fn with(&self, said: &Said) -> Origins {
        let all =
            |purpose| -> Allowed { self.of(purpose).iter().chain(said.origins(purpose)).cloned().collect() };
        Origins { cors: all(Purpose::Cors), redirect: all(Purpose::Redirect) }
    }
}

impl Said {
    const fn of(&self, purpose: Purpose) -> Option<&(Arc<OriginList>, u64)> {
        match purpose {
            Purpose::Cors => self.cors.as_ref(),
            Purpose::Redirect => self.redirect.as_ref(),
        }
    }

    fn origins(&self, purpose: Purpose) -> &[WebOrigin] {
        self.of(purpose).map_or(&[], |(list, _)| &list.origins)
    }

    fn with(&self, purpose: Purpose, list: OriginList, version: u64) -> Said {
        let mut next = self.clone();
        let slot = match purpose {
            Purpose::Cors => &mut next.cors,
            Purpose::Redirect => &mut next.redirect,
        };
        *slot = Some((Arc::new(list), version));
        next
    }
}

/// What was said of an environment, from its records.
pub(super) fn said(found: &[Versioned]) -> Result<Said, StoreError> {
    let read = |said: Said, found: &Versioned| {
        Ok(said.with(purpose(&found.record.key)?, read_origins(found)?, found.version))
    };
    found.iter().try_fold(Said::default(), read)
}

impl App {
    /// Whether any environment lists the origin of a page, where nobody knows yet whose the request is.
    pub fn lists_anywhere(&self, origin: &str) -> bool {
        self.control.load().envs().iter().any(|env| env.origins.cors.has(origin))
    }

    /// The origins of a purpose.
    ///
    /// # Errors
    /// `insufficient_scope`; the environment is gone.
    pub fn read_origins(&self, caller: &Caller, purpose: Purpose) -> Result<Listed, Stop> {
        caller.allow(Scope::SessionsRead)?;
        Ok(self.listed(&*self.env(caller.env.record.id)?, purpose))
    }

    fn listed(&self, env: &Env, purpose: Purpose) -> Listed {
        Listed {
            version: env.said.of(purpose).map_or(0, |(list, _)| list.number),
            stored: env.said.origins(purpose).to_vec(),
            from_file: self.control.load().file_origins().of(purpose).clone(),
        }
    }

    /// Replaces what was said over the API. `seen` is the version that the caller saw; `None` replaces any.
    ///
    /// # Errors
    /// `settings_changed`, `insufficient_scope`; faults.
    pub async fn replace_origins(
        &self,
        caller: &Caller,
        purpose: Purpose,
        seen: Option<u64>,
        origins: Vec<WebOrigin>,
    ) -> Result<Listed, Stop> {
        caller.allow(Scope::PolicyWrite)?;
        self.while_overtaken(|| self.put_origins(caller, purpose, seen, origins.clone())).await
    }

    async fn put_origins(
        &self,
        caller: &Caller,
        purpose: Purpose,
        seen: Option<u64>,
        origins: Vec<WebOrigin>,
    ) -> Result<Listed, Stop> {
        let turn = self.control_turn().await?;
        let env = self.env(caller.env.record.id)?;
        let (number, version) =
            env.said.of(purpose).map_or((0, 0), |(list, version)| (list.number, *version));
        if let Some(seen) = seen.filter(|seen| *seen != number) {
            return Err(Stop::refuse(
                Code::SettingsChanged,
                format!("version {number} is in force, and not {seen}: read it, and decide again"),
            ));
        }
        let id = env.record.id;
        let next = OriginList { number: number + 1, at: self.now(), by: caller.by(), origins };
        let note = note(purpose, env.said.origins(purpose), &next);
        let events = vec![new_event(id, &Event::settings_changed(next.at, caller.by(), &note))];
        let ops = vec![
            put(write_origins(origins_key(id, purpose), &next), version),
            Op::Check { key: environment_key(id), expect: Expect::Version(env.version) },
        ];
        let said = Arc::new(env.said.with(purpose, next, version + 1));
        let next = Env { said, ..Env::clone(&env) };
        // Kept until the answer is made, which is about this change and no later one.
        let _turn = self.change_control_telling(turn, ops, events, |control| control.put_env(next)).await?;
        Ok(self.listed(&*self.env(id)?, purpose))
    }
}

/// How many origins history names one by one.
const NAMED: usize = 5;

/// What history says of a change: which pages came, and which went.
fn note(purpose: Purpose, before: &[WebOrigin], after: &OriginList) -> String {
    let only = |of: &[WebOrigin], not_in: &[WebOrigin]| -> Vec<String> {
        of.iter().filter(|origin| !not_in.contains(origin)).map(ToString::to_string).collect()
    };
    let mut text = format!("{}, version {}", purpose.text(), after.number);
    for (what, origins) in
        [("added", only(&after.origins, before)), ("removed", only(before, &after.origins))]
    {
        if origins.is_empty() {
            continue;
        }
        let more = origins.len().saturating_sub(NAMED);
        text.push_str(&format!(
            "; {what} {}",
            origins.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ")
        ));
        if more > 0 {
            text.push_str(&format!(" and {more} more"));
        }
    }
    text
}
