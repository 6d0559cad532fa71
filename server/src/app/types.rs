//! Session types: read, replaced, deleted; and what they ask of a session that is made or changed.

use super::callers::Caller;
use super::control::{Control, Env, put};
use super::{App, Stop};
use crate::codec::control::environment_key;
use crate::codec::new_event;
use crate::codec::session_type::{TypeRecord, read_session_type, session_type_key, write_session_type};
use crate::schema::Slip;
use crate::schema::session_type::{SessionType, SessionTypes};
use crate::store::{Expect, NewEvent, Op, StoreError, Versioned};
use handstamp_core::caller::Scope;
use handstamp_core::event::Event;
use handstamp_core::id::{EnvironmentId, UserId};
use handstamp_core::policy::Policy;
use handstamp_core::policy::session_type::{TypeName, named};
use handstamp_core::refusal::Code;
use handstamp_core::session::Session;
use handstamp_core::subject::Subject;
use handstamp_core::tag::Tag;
use handstamp_core::time::Millis;
use handstamp_core::transition::Impossible;
use handstamp_core::transition::update::Patch;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The session types of an environment that were said over the API.
#[derive(Clone, Default)]
pub(super) struct Kept {
    records: BTreeMap<TypeName, (Arc<TypeRecord>, u64)>,
    /// The same, ready for use.
    pub(super) types: Arc<SessionTypes>,
}

impl Kept {
    /// Whether every record of it has the same version as there.
    pub(super) fn is(&self, other: &Kept) -> bool {
        let versions = |kept: &Kept| -> Vec<(TypeName, u64, u64)> {
            let all = kept.records.iter();
            all.map(|(name, (record, version))| (name.clone(), *version, record.number)).collect()
        };
        versions(self) == versions(other)
    }

    fn with(&self, record: TypeRecord, version: u64, said: Arc<SessionType>) -> Kept {
        let mut next = self.clone();
        Arc::make_mut(&mut next.types).insert(record.name.clone(), said);
        next.records.insert(record.name.clone(), (Arc::new(record), version));
        next
    }

    fn without(&self, name: &TypeName) -> Kept {
        let mut next = self.clone();
        Arc::make_mut(&mut next.types).remove(name);
        next.records.remove(name);
        next
    }
}

/// Makes the types of an environment ready.
pub(super) fn known_types(found: &[Versioned]) -> Result<Arc<Kept>, StoreError> {
    let mut kept = Kept::default();
    for found in found {
        let record = read_session_type(found)?;
        let damaged = || StoreError::Damaged(format!("session type {} cannot be read", record.name));
        let Ok(Value::Object(table)) = serde_json::from_str(&record.said) else { return Err(damaged()) };
        let said = SessionType::read(&table).map_err(|_| damaged())?;
        kept = kept.with(record, found.version, Arc::new(said));
    }
    Ok(Arc::new(kept))
}

/// A session type as it is told of.
pub struct Told {
    /// Its name.
    pub name: TypeName,
    /// What it says.
    pub said: Arc<SessionType>,
    /// Its version; `None` when the configuration says it.
    pub record: Option<Arc<TypeRecord>>,
}

/// What whoever changes a session type has seen of it.
pub enum Seen {
    /// They do not say.
    Anything,
    /// That there is one.
    Something,
    /// That there is none.
    Nothing,
    /// This version: [`TypeRecord::tag`].
    Tag(String),
}

impl Seen {
    fn is(&self, known: Option<&TypeRecord>) -> bool {
        match self {
            Seen::Anything => true,
            Seen::Something => known.is_some(),
            Seen::Nothing => known.is_none(),
            Seen::Tag(tag) => known.is_some_and(|known| known.tag() == *tag),
        }
    }
}

impl App {
    /// All session types in force, by name.
    ///
    /// # Errors
    /// `insufficient_scope`.
    pub fn session_types(&self, caller: &Caller) -> Result<Vec<Told>, Stop> {
        caller.allow(Scope::SessionsRead)?;
        let env = self.env(caller.env.record.id)?;
        let control = self.control.load();
        Ok(env.types.iter().map(|(name, said)| told(&control, &env, name, said)).collect())
    }

    /// One.
    ///
    /// # Errors
    /// `not_found`, `insufficient_scope`.
    pub fn session_type(&self, caller: &Caller, name: &TypeName) -> Result<Told, Stop> {
        caller.allow(Scope::SessionsRead)?;
        let env = self.env(caller.env.record.id)?;
        let said = env.types.get(name).ok_or_else(|| no_type(name))?;
        Ok(told(&self.control.load(), &env, name, said))
    }

    /// Makes or replaces one.
    ///
    /// # Errors
    /// `session_types_managed_by_file`, `session_type_changed`, `insufficient_scope`, too many; faults.
    pub async fn put_session_type(
        &self,
        caller: &Caller,
        name: TypeName,
        seen: Seen,
        said: SessionType,
    ) -> Result<Told, Stop> {
        caller.allow(Scope::PolicyWrite)?;
        let said = Arc::new(said);
        self.while_overtaken(|| self.put_type(caller, &name, &seen, &said)).await
    }

    async fn put_type(
        &self,
        caller: &Caller,
        name: &TypeName,
        seen: &Seen,
        said: &Arc<SessionType>,
    ) -> Result<Told, Stop> {
        let turn = self.control_turn().await?;
        let env = self.changeable(caller.env.record.id)?;
        let (known, version) = known_as(&env, name, seen)?;
        if known.is_none() && env.stored_types.records.len() >= Policy::TYPES {
            let message = format!("an environment has at most {} session types", Policy::TYPES);
            return Err(Stop::field("", message));
        }
        let id = env.record.id;
        let record = TypeRecord {
            name: name.clone(),
            number: known.map_or(0, |known| known.number) + 1,
            at: self.now(),
            by: caller.by(),
            said: said.show().to_string().into(),
        };
        let ops = vec![put(write_session_type(id, &record), version), unchanged(&env)];
        let events = told_in_history(&env, caller, record.at, &format!("session type {name} was changed"));
        let kept = env.stored_types.with(record, version + 1, said.clone());
        let next = Env { stored_types: Arc::new(kept), ..Env::clone(&env) };
        self.change_control_telling(turn, ops, events, |control| control.put_env(next)).await?;
        self.session_type_in_force(id, name)
    }

    fn session_type_in_force(&self, id: EnvironmentId, name: &TypeName) -> Result<Told, Stop> {
        let env = self.env(id)?;
        let said = env.types.get(name).ok_or_else(|| no_type(name))?;
        Ok(told(&self.control.load(), &env, name, said))
    }

    /// Deletes one. Its sessions stay, under the rules of their other tags.
    ///
    /// # Errors
    /// `not_found`, `session_types_managed_by_file`, `session_type_changed`, `insufficient_scope`; faults.
    pub async fn delete_session_type(
        &self,
        caller: &Caller,
        name: &TypeName,
        seen: Seen,
    ) -> Result<(), Stop> {
        caller.allow(Scope::PolicyWrite)?;
        self.while_overtaken(|| self.take_type_away(caller, name, &seen)).await
    }

    async fn take_type_away(&self, caller: &Caller, name: &TypeName, seen: &Seen) -> Result<(), Stop> {
        let turn = self.control_turn().await?;
        let env = self.changeable(caller.env.record.id)?;
        let (known, version) = known_as(&env, name, seen)?;
        if known.is_none() {
            return Err(no_type(name));
        }
        let key = session_type_key(env.record.id, name);
        let ops = vec![Op::Delete { key, expect: Expect::Version(version) }, unchanged(&env)];
        let next = Env { stored_types: Arc::new(env.stored_types.without(name)), ..Env::clone(&env) };
        let events = told_in_history(&env, caller, self.now(), &format!("session type {name} was deleted"));
        self.change_control_telling(turn, ops, events, |control| control.put_env(next)).await?;
        Ok(())
    }

    /// The environment, unless the file decides about its session types.
    fn changeable(&self, id: EnvironmentId) -> Result<Arc<Env>, Stop> {
        let env = self.env(id)?;
        if self.control.load().has_types_from_file() {
            return Err(Stop::code(Code::SessionTypesManagedByFile));
        }
        Ok(env)
    }
}

/// A type is a rule: history says who changed it.
fn told_in_history(env: &Env, caller: &Caller, at: Millis, what: &str) -> Vec<NewEvent> {
    let version = env.stored.as_ref().map_or(0, |(version, _)| version.number);
    vec![new_event(env.record.id, &Event::policy_changed(at, caller.by(), version, Some(what)))]
}

/// The environment must still be as it is when the change is made.
fn unchanged(env: &Env) -> Op {
    Op::Check { key: environment_key(env.record.id), expect: Expect::Version(env.version) }
}

/// What is known under a name and the version of its record, if that is what was seen.
fn known_as<'e>(env: &'e Env, name: &TypeName, seen: &Seen) -> Result<(Option<&'e TypeRecord>, u64), Stop> {
    let (known, version) = match env.stored_types.records.get(name) {
        Some((known, version)) => (Some(&**known), *version),
        None => (None, 0),
    };
    if seen.is(known) {
        return Ok((known, version));
    }
    let there = known.map_or("there is none".to_owned(), |known| format!("\"{}\" is there", known.tag()));
    let detail = format!("{there}, which is not what the request says: read it, and decide again");
    Err(Stop::refuse(Code::SessionTypeChanged, detail))
}

fn told(control: &Control, env: &Env, name: &TypeName, said: &Arc<SessionType>) -> Told {
    let kept = env.stored_types.records.get(name).filter(|_| !control.has_types_from_file());
    Told { name: name.clone(), said: said.clone(), record: kept.map(|(record, _)| record.clone()) }
}

fn no_type(name: &TypeName) -> Stop {
    Stop::refuse(Code::NotFound, format!("there is no session type {name} in this environment"))
}

/// Checks a new session against its type, and finds its user in the data when nobody says whose it is.
pub(super) fn user_of_new(
    env: &Env,
    tags: &[Tag],
    data: Option<&[u8]>,
    user: Option<&UserId>,
) -> Result<UserId, Stop> {
    let nobody = "is missing; it may be left out for a session of a type whose selector finds it in the data";
    if env.types.is_empty() {
        return user.cloned().ok_or_else(|| Stop::field("/user_id", nobody));
    }
    let of_type = of_types(env, tags.iter());
    if let ([_, ..], Some(at)) = (&*of_type, second(tags)) {
        return Err(two_types(&format!("/tags/{at}")));
    }
    let Some((name, said)) = of_type.first() else {
        return user.cloned().ok_or_else(|| Stop::field("/user_id", nobody));
    };
    let data = data.map(parsed).transpose()?;
    let mut slips = said.check(data.as_ref());
    let found = match (user, &said.selector) {
        (Some(user), _) => Some(user.clone()),
        (None, None) => return Err(Stop::field("/user_id", nobody)),
        (None, Some(selector)) => {
            let found = selector.find(data.as_ref().unwrap_or(&Value::Null)).and_then(|text| {
                UserId::new(&text).map_err(|message| Slip { pointer: selector.pointer(), message })
            });
            // The schema may have said the same.
            found
                .map_err(|slip| {
                    if !slips.iter().any(|known| known.pointer == slip.pointer) {
                        slips.push(slip);
                    }
                })
                .ok()
        }
    };
    match found {
        Some(user) if slips.is_empty() => Ok(user),
        _ => Err(unfit(name, "/data", slips)),
    }
}

/// Checks a session that changes: its new data, and, where it becomes of a type, also the data that it has.
pub(super) fn check_change(
    env: &Env,
    session: &Session,
    patch: &Patch,
    place: &str,
    new_data: Option<&[u8]>,
    old_data: impl FnOnce() -> Result<Option<Value>, Stop>,
) -> Result<(), Stop> {
    if env.types.is_empty() {
        return Ok(());
    }
    let stays = session.tags.iter().map(|held| &held.tag).filter(|tag| !patch.remove_tags.contains(tag));
    let after: Vec<Tag> = stays.chain(&patch.add_tags).cloned().collect();
    let of_type = of_types(env, after.iter());
    let becomes = patch.add_tags.iter().rposition(|tag| named(tag).is_some() && !session.has_tag(tag));
    if let (Some(at), [_, ..], Some(_)) = (becomes, &*of_type, second(&after)) {
        return Err(two_types(&format!("/tags/add/{at}")));
    }
    if of_type.iter().all(|(_, said)| said.schema.is_none()) || (new_data.is_none() && becomes.is_none()) {
        return Ok(());
    }
    let data = match new_data {
        Some(text) => Some(parsed(text)?),
        None => old_data()?,
    };
    for (name, said) in of_type {
        let slips = said.check(data.as_ref());
        if !slips.is_empty() {
            return Err(unfit(name, place, slips));
        }
    }
    Ok(())
}

/// The types that tags name and that there are, each once. It is one, unless somebody made a type of a tag that sessions
/// carried beside another one.
fn of_types<'e>(
    env: &'e Env,
    tags: impl Iterator<Item = &'e Tag>,
) -> Vec<(&'e TypeName, &'e Arc<SessionType>)> {
    let mut found: Vec<_> =
        tags.filter_map(|tag| env.types.get_key_value(&TypeName::parse(named(tag)?).ok()?)).collect();
    found.sort_unstable_by_key(|(name, _)| *name);
    found.dedup_by_key(|(name, _)| *name);
    found
}

/// Where the second of two types is, among tags.
fn second(tags: &[Tag]) -> Option<usize> {
    let first = tags.iter().find_map(named)?;
    tags.iter().position(|tag| named(tag).is_some_and(|name| name != first))
}

fn two_types(place: &str) -> Stop {
    let message = "a session is of one type, and this is the second one".to_owned();
    Stop::fields(Code::TagInvalid, vec![(place.to_owned(), message)])
}

fn unfit(name: &TypeName, place: &str, slips: Vec<Slip>) -> Stop {
    let fields = slips.into_iter().map(|slip| (format!("{place}{}", slip.pointer), slip.message));
    Stop::fields(Code::DataInvalid, fields.collect()).about(&format!("session type {name}"))
}

/// The door has looked at it: only what can be read comes here.
pub(super) fn parsed(text: &[u8]) -> Result<Value, Stop> {
    serde_json::from_slice(text).map_err(|_| Stop::from(Impossible("session data is no JSON")))
}
