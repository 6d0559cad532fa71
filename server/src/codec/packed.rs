//! A session read in place: the bytes that [`super::session::write`] made, without taking a copy of any text.
//!
//! The cache judges this form and answers from it. Reading it allocates nothing for a live session with nothing noted,
//! which is what the cache holds; the owned form is made from it.

use super::Unreadable;
use super::bytes::{List, Reader};
use super::session::{read_chain, read_end};
use handstamp_core::id::SessionId;
use handstamp_core::rotation::Chain;
use handstamp_core::session::{End, Limits};
use handstamp_core::subject::{Endpoint, Subject, Times};
use handstamp_core::time::{Millis, Span};
use std::net::IpAddr;

/// The format of a session's bytes.
pub(super) const FORMAT: u8 = 1;

/// A session's bytes, read in place.
pub struct Packed<'a> {
    id: SessionId,
    /// Whose it is.
    pub user: &'a str,
    pub(super) tags: List<'a>,
    pub(super) groups: List<'a>,
    pub(super) data: Option<PackedData<'a>>,
    times: Times,
    /// The last activity when it was written.
    pub seen: Millis,
    pub(super) chain: Chain,
    /// From where it was made. The cache keeps agents elsewhere, and puts them back here.
    pub client: Endpoint<'a>,
    /// From where it was last used, when that differs.
    pub last_client: Option<Endpoint<'a>>,
    pub(super) end: Option<Box<End>>,
}

/// Sealed data, as [`handstamp_core::sealing::Sealed`].
pub(super) struct PackedData<'a> {
    pub(super) key: u8,
    pub(super) nonce: [u8; 12],
    pub(super) bytes: &'a [u8],
}

impl<'a> Packed<'a> {
    /// Reads the whole body. Of tags and groups only their bounds are looked at, until somebody asks for them.
    ///
    /// # Errors
    /// [`Unreadable`].
    pub fn read(id: SessionId, body: &'a [u8]) -> Result<Packed<'a>, Unreadable> {
        let mut r = Reader::new(body, &[FORMAT])?;
        let user = r.text()?;
        let tags = r.skip_list(|r| r.bytes().and_then(|_| r.number()).map(|_| ()))?;
        let groups = r.skip_list(|r| r.bytes().map(|_| ()))?;
        let data = r.option(|r| Ok(PackedData { key: r.byte()?, nonce: r.fixed()?, bytes: r.bytes()? }))?;
        let created_at = Millis(r.signed()?);
        let authenticated_at = Millis(r.signed()?);
        let seen = Millis(r.signed()?);
        let born = r.number()?;
        let expires_in = r.option(|r| r.signed().map(Span))?;
        let limits = Limits { absolute: Span(r.signed()?), idle: Span(r.signed()?) };
        let chain = read_chain(&mut r)?;
        let client = read_endpoint(&mut r)?;
        let last_client = r.option(read_endpoint)?;
        let end = r.option(read_end)?.map(Box::new);
        r.end()?;
        let times = Times { created_at, authenticated_at, born, expires_in, limits };
        Ok(Packed { id, user, tags, groups, data, times, seen, chain, client, last_client, end })
    }

    pub(super) fn into_parts(self) -> (Chain, Option<Box<End>>) {
        (self.chain, self.end)
    }
}

/// Who sat at the other end.
pub(super) fn read_endpoint<'a>(r: &mut Reader<'a>) -> Result<Endpoint<'a>, Unreadable> {
    let ip = match r.byte()? {
        0 => None,
        4 => Some(IpAddr::from(r.fixed::<4>()?)),
        6 => Some(IpAddr::from(r.fixed::<16>()?)),
        _ => return Err(Unreadable),
    };
    Ok(Endpoint { ip, user_agent: r.option(Reader::text)? })
}

impl Subject for Packed<'_> {
    fn id(&self) -> SessionId {
        self.id
    }
    fn user(&self) -> &str {
        self.user
    }
    fn tags(&self) -> impl Iterator<Item = (&str, u64)> {
        self.tags.items(|r| Ok((r.text()?, r.number()?)))
    }
    fn groups(&self) -> impl Iterator<Item = &str> {
        self.groups.items(Reader::text)
    }
    fn times(&self) -> Times {
        self.times
    }
    fn chain(&self) -> &Chain {
        &self.chain
    }
    fn client(&self) -> Endpoint<'_> {
        self.client
    }
    fn last_client(&self) -> Option<Endpoint<'_>> {
        self.last_client
    }
    fn end(&self) -> Option<&End> {
        self.end.as_deref()
    }
}
