//! Session types as bytes: what a type says lies there as the JSON that it is read from, so that a new key needs no new
//! format.

use super::bytes::{Reader, Writer};
use super::session::{read_by, write_by};
use super::{CONTROL, Unreadable, damaged, digest, kind};
use crate::store::{Key, Record, Space, StoreError, Versioned};
use handstamp_core::id::EnvironmentId;
use handstamp_core::policy::session_type::TypeName;
use handstamp_core::session::By;
use handstamp_core::time::Millis;

/// One session type of an environment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TypeRecord {
    /// Its name.
    pub name: TypeName,
    /// Begins at 1, and rises by 1 with every change.
    pub number: u64,
    /// When it was last changed.
    pub at: Millis,
    /// Who changed it.
    pub by: By,
    /// What it says: JSON text.
    pub said: Box<str>,
}

impl TypeRecord {
    /// Recognises this version of it, also against one of the same number that came after it was deleted.
    pub fn tag(&self) -> String {
        let [a, b, c, d, ..] = digest(&[&self.body()]);
        format!("{}-{a:02x}{b:02x}{c:02x}{d:02x}", self.number)
    }

    fn body(&self) -> Vec<u8> {
        let mut w = Writer::new(1);
        w.text(self.name.as_str());
        w.number(self.number);
        w.signed(self.at.0);
        write_by(&mut w, &self.by);
        w.text(&self.said);
        w.finish()
    }
}

/// The session types of an environment.
pub const fn session_types(env: EnvironmentId) -> Space {
    Space { kind: kind::SESSION_TYPE, env: env.0 }
}

/// The key of one.
pub fn session_type_key(env: EnvironmentId, name: &TypeName) -> Key {
    Key { space: session_types(env), id: name.as_str().as_bytes().into() }
}

/// A session type as a record.
pub fn write_session_type(env: EnvironmentId, said: &TypeRecord) -> Record {
    Record {
        key: session_type_key(env, &said.name),
        bucket: CONTROL.get(),
        facets: Vec::new(),
        seen: None,
        forget_at: None,
        body: said.body(),
    }
}

/// Reads it.
///
/// # Errors
/// [`StoreError::Damaged`].
pub fn read_session_type(found: &Versioned) -> Result<TypeRecord, StoreError> {
    let read = || -> Result<TypeRecord, Unreadable> {
        let mut r = Reader::new(&found.record.body, &[1])?;
        let name = TypeName::parse(r.text()?).map_err(|_| Unreadable)?;
        let number = r.number()?;
        let at = Millis(r.signed()?);
        let by = read_by(&mut r)?;
        let said = r.text()?.into();
        r.end()?;
        Ok(TypeRecord { name, number, at, by, said })
    };
    read().map_err(|_| damaged(&found.record.key))
}
