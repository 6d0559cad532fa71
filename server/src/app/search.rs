//! Finding sessions: a filter becomes facets, and every candidate is judged, so that a list never says "live" of a
//! session that a request would refuse.

use super::callers::Caller;
use super::control::Env;
use super::records::Loaded;
use super::view::View;
use super::{App, Stop};
use crate::codec::{digest, sessions};
use crate::store::{Condition, Cursor, FacetRange, Query, StoreError, Versioned};
use handstamp_core::caller::Scope;
use handstamp_core::device::key::DeviceId;
use handstamp_core::facet;
use handstamp_core::id::{SessionId, UserId};
use handstamp_core::refusal::Code;
use handstamp_core::session::End;
use handstamp_core::tag::Tag;
use handstamp_core::time::Millis;
use std::net::IpAddr;

/// Which sessions.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Which {
    /// Live ones.
    #[default]
    Live,
    /// Ended ones.
    Ended,
    /// Both.
    All,
}

/// What is asked for: all of it must hold.
#[derive(Clone, Default, Debug, PartialEq, Eq)]
pub struct Filter {
    /// Whose.
    pub user: Option<UserId>,
    /// Carrying all of these.
    pub tags: Vec<Tag>,
    /// Made or last used from this network: address and prefix length.
    pub network: Option<(IpAddr, u8)>,
    /// Made or last used with this browser, as [`facet::name`] writes it.
    pub browser: Option<Vec<u8>>,
    /// Made or last used on this system.
    pub os: Option<Vec<u8>>,
    /// Bound to this device.
    pub device: Option<DeviceId>,
    /// Live, ended, or both.
    pub which: Which,
    /// Ended with this code.
    pub code: Option<Code>,
    /// Made at or after this.
    pub created_after: Option<Millis>,
    /// Made before this.
    pub created_before: Option<Millis>,
}

/// A page of sessions.
pub struct Found {
    /// The sessions.
    pub items: Vec<View>,
    /// Where the next page begins, as opaque text.
    pub next: Option<String>,
}

/// Sessions and how each has ended, where the next page begins, and at which instant that was so.
type LookedAt = (Vec<(Loaded, Option<Box<End>>)>, Option<Cursor>, Millis);

/// How often the store is asked for one page, when most of what it finds has ended by now.
const ROUNDS: usize = 40;

/// Counting stops here and says "or more".
pub const COUNT_MOST: usize = 10_000;

impl Filter {
    /// Whether nothing is asked for beside the state.
    pub fn is_empty(&self) -> bool {
        *self == Filter { which: self.which, ..Filter::default() }
    }

    /// Whether tags are the only thing asked for.
    pub fn is_tags_only(&self) -> bool {
        !self.tags.is_empty()
            && *self == Filter { which: self.which, tags: self.tags.clone(), ..Filter::default() }
    }

    /// Whether ended ones are looked for by what their records say.
    fn wants_ended(&self) -> bool {
        self.which == Which::Ended || self.code.is_some()
    }

    /// What a store is asked. `wide`: what has ended is also looked for among the living. Every record that fits is found, and others are: each is judged afterwards.
    pub(super) fn query(&self, env: &Env, wide: bool, limit: u32) -> Query {
        let sides: &[u8] = match self.which {
            Which::Live => &[0],
            Which::All if self.code.is_none() => &[0, facet::ENDED],
            Which::All | Which::Ended if wide => &[0, facet::ENDED],
            Which::All | Which::Ended => &[facet::ENDED],
        };
        let on = |name: u8, low: &[u8], high: &[u8]| Condition {
            any: sides
                .iter()
                .map(|side| FacetRange { name: name + side, low: low.into(), high: high.into() })
                .collect(),
        };
        let exactly = |name: u8, value: &[u8]| FacetRange { name, low: value.into(), high: value.into() };
        let mut all = Vec::new();
        if let Some(user) = &self.user {
            all.push(on(facet::USER, user.as_str().as_bytes(), user.as_str().as_bytes()));
        }
        all.extend(self.tags.iter().map(|t| on(facet::TAG, t.as_str().as_bytes(), t.as_str().as_bytes())));
        if let Some((low, high)) = self.network.and_then(|(ip, prefix)| facet::network(ip, prefix)) {
            all.push(on(facet::IP, &low, &high));
        }
        all.extend(self.device.iter().map(|device| on(facet::DEVICE, &device.0, &device.0)));
        for (name, value) in [(facet::BROWSER, &self.browser), (facet::OS, &self.os)] {
            all.extend(value.as_ref().map(|value| on(name, value, value)));
        }
        if sides.contains(&0) {
            // Only what has ended has a code; who asks for one judges it.
        } else if let Some(code) = self.code {
            all.push(Condition { any: vec![exactly(facet::CODE, facet::code(code))] });
        } else {
            let any = Code::ENDINGS.iter().map(|code| exactly(facet::CODE, facet::code(*code))).collect();
            all.push(Condition { any });
        }
        let edge = |at: Millis| Box::from(SessionId::floor(at).0.as_slice());
        Query {
            space: sessions(env.record.id),
            all,
            from: self.created_after.map(edge),
            until: self.created_before.map(edge),
            cursor: None,
            limit,
        }
    }

    /// Ties a cursor to the environment and the filter it was made for.
    fn seal(&self, env: &Env) -> [u8; 4] {
        let text = format!("{self:?}");
        seal(env, &text)
    }
}

/// Ties a cursor to the environment and what it goes through.
pub(super) fn seal(env: &Env, what: &str) -> [u8; 4] {
    digest(&[&env.record.id.0.to_be_bytes(), what.as_bytes()]).first_chunk().copied().unwrap_or_default()
}

impl App {
    /// Whether all that has ended says so itself, as far as the filter asks for it. What an epoch or tighter rules have
    /// ended does so only after a while, and nothing does while the store cannot be written; until then it is looked for
    /// among the living, too.
    async fn settled(&self, env: &Env, filter: &Filter) -> bool {
        if !filter.wants_ended() {
            return true;
        }
        let behind = env.ledger.raised.iter().any(|raised| !raised.settled) || !self.rules_are_checked(env);
        self.settle_due(env).await.is_ok() && !behind
    }

    /// One page, newest first.
    ///
    /// # Errors
    /// A cursor of another search; faults.
    pub async fn search(
        &self,
        caller: &Caller,
        filter: &Filter,
        limit: u32,
        cursor: Option<&str>,
    ) -> Result<Found, Stop> {
        caller.allow(Scope::SessionsRead)?;
        self.search_in(&caller.env, filter, limit, cursor).await
    }

    pub(super) async fn search_in(
        &self,
        env: &Env,
        filter: &Filter,
        limit: u32,
        cursor: Option<&str>,
    ) -> Result<Found, Stop> {
        let cursor = cursor.map(|text| read_cursor(filter.seal(env), text)).transpose()?;
        let env = self.env(env.record.id)?;
        // A search goes on as it began, for a place in it means nothing in another one.
        let settled = self.settled(&env, filter).await;
        let (wide, cursor) = match cursor {
            Some((wide, cursor)) => (wide, Some(cursor)),
            None => (!settled, None),
        };
        let (items, next) = self.page(&env, filter, wide, limit, cursor).await?;
        Ok(Found { items, next: next.map(|next| write_cursor(filter.seal(&env), wide, &next)) })
    }

    /// How many; exact up to [`COUNT_MOST`], then the second value is true.
    ///
    /// # Errors
    /// Faults.
    pub async fn count(&self, caller: &Caller, filter: &Filter) -> Result<(usize, bool), Stop> {
        caller.allow(Scope::SessionsRead)?;
        let env = self.env(caller.env.record.id)?;
        self.count_up_to(&env, filter, COUNT_MOST).await
    }

    pub(super) async fn count_up_to(
        &self,
        env: &Env,
        filter: &Filter,
        most: usize,
    ) -> Result<(usize, bool), Stop> {
        let wide = !self.settled(env, filter).await;
        let mut count = 0;
        let mut cursor = None;
        loop {
            let query = filter.query(env, wide, 1_000);
            let (items, next, _) = self.judged(env, query, filter, cursor).await?;
            count += items.len();
            if count > most {
                return Ok((most, true));
            }
            match next {
                None => return Ok((count, false)),
                next => cursor = next,
            }
        }
    }

    /// A page of views. Asks the store again while a page has room and there is more, up to a bound.
    async fn page(
        &self,
        env: &Env,
        filter: &Filter,
        wide: bool,
        limit: u32,
        mut cursor: Option<Cursor>,
    ) -> Result<(Vec<View>, Option<Cursor>), Stop> {
        let mut items = Vec::new();
        for _ in 0..ROUNDS {
            let room = limit.saturating_sub(u32::try_from(items.len()).unwrap_or(u32::MAX));
            let (found, next, now) =
                self.judged(env, filter.query(env, wide, room.clamp(1, 1_000)), filter, cursor).await?;
            for loaded in found {
                items.push(self.view(env, loaded, now)?);
            }
            cursor = next;
            if cursor.is_none() || items.len() >= usize::try_from(limit).unwrap_or(usize::MAX) {
                break;
            }
        }
        Ok((items, cursor))
    }

    /// Live sessions that fit the filter at this instant.
    pub(super) async fn candidates(
        &self,
        env: &Env,
        filter: &Filter,
        limit: u32,
        cursor: Option<Cursor>,
    ) -> Result<(Vec<Loaded>, Option<Cursor>), Stop> {
        let query = filter.query(env, false, limit.clamp(1, 1_000));
        let (fitting, next, _) = self.judged(env, query, filter, cursor).await?;
        Ok((fitting, next))
    }

    /// The same, with the instant.
    async fn judged(
        &self,
        env: &Env,
        query: Query,
        filter: &Filter,
        cursor: Option<Cursor>,
    ) -> Result<(Vec<Loaded>, Option<Cursor>, Millis), Stop> {
        let (items, next, now) = self.looked_at(env, query, cursor).await?;
        let mut fitting = Vec::with_capacity(items.len());
        for (loaded, ended) in items {
            let fits = match filter.which {
                Which::Live => ended.is_none(),
                Which::Ended => ended.is_some(),
                Which::All => true,
            };
            if fits && filter.code.is_none_or(|code| ended.as_ref().is_some_and(|end| end.code == code)) {
                fitting.push(loaded);
            }
        }
        Ok((fitting, next, now))
    }

    /// What a store finds, with how each has ended by the instant that comes with it.
    async fn looked_at(&self, env: &Env, query: Query, cursor: Option<Cursor>) -> Result<LookedAt, Stop> {
        let page = self.store.search(&Query { cursor, ..query }).await?;
        let items = page.items.iter().map(|item| self.found(env, item)).collect::<Result<Vec<_>, _>>()?;
        self.ask_for_idle(env, &items).await;
        let now = self.now();
        let mut all = Vec::with_capacity(items.len());
        for found in items {
            all.push(self.certain(env, found, now).await?);
        }
        Ok((all, page.next, now))
    }

    /// A page of those that no record says have ended, also if time has: who ends them answers once that is stored.
    pub(super) async fn unended_page(
        &self,
        env: &Env,
        filter: &Filter,
        limit: u32,
        cursor: Option<Cursor>,
    ) -> Result<(Vec<Loaded>, Option<Cursor>), Stop> {
        let query = filter.query(env, false, limit.clamp(1, 1_000));
        let (found, next, _) = self.looked_at(env, query, cursor).await?;
        let fitting = |found: &Loaded| found.session.is_live() && filter.fits(&found.session);
        Ok((found.into_iter().map(|(found, _)| found).filter(fitting).collect(), next))
    }

    /// Every session of a filter for live ones that nobody has ended, with how it has ended all the same by an instant at
    /// which what is known of each is certain.
    pub(super) async fn unended(
        &self,
        env: &Env,
        filter: &Filter,
    ) -> Result<(Millis, Vec<(Loaded, Option<Box<End>>)>), Stop> {
        let mut query = filter.query(env, false, 1_000);
        let mut found = Vec::new();
        loop {
            let page = self.store.search(&query).await?;
            for item in &page.items {
                found.push(self.found(env, item)?);
            }
            match page.next {
                None => break,
                next => query.cursor = next,
            }
        }
        self.ask_for_idle(env, &found).await;
        let now = self.now();
        let mut all = Vec::with_capacity(found.len());
        for loaded in found {
            all.push(self.certain(env, loaded, now).await?);
        }
        all.retain(|(loaded, _)| loaded.session.is_live());
        Ok((now, all))
    }

    /// A session that a search found, with its last activity also if that is not written yet.
    fn found(&self, env: &Env, found: &Versioned) -> Result<Loaded, StoreError> {
        let (session, stored) = self.read_session(found)?;
        let (seen, offered) = match session.is_live() {
            true => self.unwritten(env.record.id, session.id).over(stored),
            false => (stored, stored),
        };
        Ok(Loaded { session, seen, offered, version: found.version })
    }

    /// Has other nodes write what they know of those that look idle, all together: each of them is loaded again afterwards.
    async fn ask_for_idle(&self, env: &Env, found: &[Loaded]) {
        let id = env.record.id;
        let idle = found.iter().filter(|loaded| self.seems_idle(id, loaded));
        self.ask_for_activity(idle.map(|loaded| (id, loaded.session.id, loaded.seen))).await;
    }

    /// How it has ended by `now`, if it has. Its activity may have been written since the store looked: one that seems
    /// to be over is looked at again.
    async fn certain(
        &self,
        env: &Env,
        loaded: Loaded,
        now: Millis,
    ) -> Result<(Loaded, Option<Box<End>>), StoreError> {
        let (id, is_live) = (loaded.session.id, loaded.session.is_live());
        let ended = self.ended(env, &loaded.session, loaded.seen, now);
        if ended.is_none() || !is_live {
            return Ok((loaded, ended));
        }
        let loaded = self.load_session(env.record.id, id).await?.unwrap_or(loaded);
        let ended = self.ended(env, &loaded.session, loaded.seen, now);
        Ok((loaded, ended))
    }
}

pub(super) fn write_cursor(seal: [u8; 4], wide: bool, cursor: &Cursor) -> String {
    let bytes = seal.into_iter().chain([u8::from(wide)]).chain(cursor.0.iter().copied());
    bytes.map(|b| format!("{b:02x}")).collect()
}

pub(super) fn read_cursor(seal: [u8; 4], text: &str) -> Result<(bool, Cursor), Stop> {
    let wrong =
        || Stop::field("/cursor", "this cursor does not belong to this search; begin again without it");
    if !text.len().is_multiple_of(2) || text.len() > 4_096 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(wrong());
    }
    let pairs = text.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).ok());
    let bytes: Option<Vec<u8>> = pairs.map(|pair| u8::from_str_radix(pair?, 16).ok()).collect();
    let bytes = bytes.ok_or_else(wrong)?;
    match bytes.split_first_chunk::<5>() {
        Some(([a, b, c, d, wide], rest)) if [*a, *b, *c, *d] == seal => Ok((*wide == 1, Cursor(rest.into()))),
        _ => Err(wrong()),
    }
}
