//! Finding live sessions for callers that know no cursors: pages by number, with a total, and all that there are at once.
//!
//! A page by number is walked to from the first one, and a session that begins or ends meanwhile moves the others: who goes
//! through many sessions does better with [`App::search`].

use super::callers::Caller;
use super::search::{COUNT_MOST, Filter};
use super::view::View;
use super::{App, Stop};
use handstamp_core::caller::Scope;

/// One page of many.
pub struct Numbered {
    /// Its sessions, newest first.
    pub items: Vec<View>,
    /// How many fit the filter: exact up to [`COUNT_MOST`], and then at least so many.
    pub total: usize,
    /// Whether there is another page after it.
    pub more: bool,
}

impl App {
    /// The live sessions of a filter from number `page * size` on, counted from 0; at most `size`.
    ///
    /// # Errors
    /// `insufficient_scope`; faults.
    pub async fn numbered(
        &self,
        caller: &Caller,
        filter: &Filter,
        page: usize,
        size: usize,
    ) -> Result<Numbered, Stop> {
        caller.allow(Scope::SessionsRead)?;
        let env = self.env(caller.env.record.id)?;
        let begin = page.saturating_mul(size);
        let end = begin.saturating_add(size);
        // As far as the total is exact, and far enough to know whether there is more.
        let enough = end.saturating_add(1).max(COUNT_MOST);
        let (mut items, mut total, mut cursor) = (Vec::new(), 0_usize, None);
        loop {
            let (found, next) = self.candidates(&env, filter, 1_000, cursor).await?;
            for loaded in found {
                if (begin..end).contains(&total) {
                    items.push(self.view(&env, loaded, self.now())?);
                }
                total += 1;
            }
            cursor = next;
            if cursor.is_none() || total >= enough {
                return Ok(Numbered { items, total: total.min(enough), more: total > end });
            }
        }
    }

    /// All live sessions of a filter, newest first.
    ///
    /// # Errors
    /// `insufficient_scope`; faults.
    pub async fn all_live(&self, caller: &Caller, filter: &Filter) -> Result<Vec<View>, Stop> {
        caller.allow(Scope::SessionsRead)?;
        let env = self.env(caller.env.record.id)?;
        let (mut items, mut cursor) = (Vec::new(), None);
        loop {
            let (found, next) = self.candidates(&env, filter, 1_000, cursor).await?;
            for loaded in found {
                items.push(self.view(&env, loaded, self.now())?);
            }
            match next {
                None => return Ok(items),
                next => cursor = next,
            }
        }
    }
}
