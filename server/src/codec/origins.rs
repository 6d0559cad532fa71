//! Lists of origins as bytes: what was said over the API of one purpose.

use super::bytes::{Reader, Writer};
use super::session::{read_by, write_by};
use super::{CONTROL, Unreadable, damaged, kind};
use crate::store::{Key, Record, Space, StoreError, Versioned};
use handstamp_core::id::EnvironmentId;
use handstamp_core::origin::WebOrigin;
use handstamp_core::session::By;
use handstamp_core::time::Millis;

/// What origins are listed for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Purpose {
    /// Pages that may call the browser API.
    Cors,
    /// Pages that a login may lead back to.
    Redirect,
}

impl Purpose {
    /// Both.
    pub const ALL: [Purpose; 2] = [Purpose::Cors, Purpose::Redirect];

    /// As addresses and history name it.
    pub const fn text(self) -> &'static str {
        match self {
            Purpose::Cors => "cors",
            Purpose::Redirect => "redirect-origins",
        }
    }
}

/// A list, as it was last said.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OriginList {
    /// Begins at 1 and rises by 1.
    pub number: u64,
    /// When it was said.
    pub at: Millis,
    /// Who said it.
    pub by: By,
    /// In the order in which they were said.
    pub origins: Vec<WebOrigin>,
}

/// The lists of an environment.
pub const fn origin_lists(env: EnvironmentId) -> Space {
    Space { kind: kind::ORIGINS, env: env.0 }
}

/// The key of one.
pub fn origins_key(env: EnvironmentId, purpose: Purpose) -> Key {
    Key { space: origin_lists(env), id: purpose.text().as_bytes().into() }
}

/// The purpose that a key names.
///
/// # Errors
/// [`StoreError::Damaged`].
pub fn purpose(key: &Key) -> Result<Purpose, StoreError> {
    let named = Purpose::ALL.into_iter().find(|purpose| purpose.text().as_bytes() == &*key.id);
    named.ok_or_else(|| damaged(key))
}

/// A list as a record.
pub fn write_origins(key: Key, list: &OriginList) -> Record {
    let mut w = Writer::new(1);
    w.number(list.number);
    w.signed(list.at.0);
    write_by(&mut w, &list.by);
    w.list(list.origins.iter(), |w, origin| w.text(origin.as_str()));
    Record { key, bucket: CONTROL.get(), facets: Vec::new(), seen: None, forget_at: None, body: w.finish() }
}

/// Reads it.
///
/// # Errors
/// [`StoreError::Damaged`].
pub fn read_origins(found: &Versioned) -> Result<OriginList, StoreError> {
    let read = || -> Result<OriginList, Unreadable> {
        let mut r = Reader::new(&found.record.body, &[1])?;
        let number = r.number()?;
        let at = Millis(r.signed()?);
        let by = read_by(&mut r)?;
        let origins = r.list(|r| WebOrigin::parse(r.text()?).map_err(|_| Unreadable))?;
        r.end()?;
        Ok(OriginList { number, at, by, origins })
    };
    read().map_err(|_| damaged(&found.record.key))
}
