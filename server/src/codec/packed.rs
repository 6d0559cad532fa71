//! A session read in place: the bytes that [`super::session::write`] made, without taking a copy of any text.
//!
//! The cache judges this form and answers from it. Reading it allocates nothing for a live session with nothing noted,
//! which is what the cache holds; the owned form is made from it.

use super::Unreadable;
use super::bytes::{List, Reader};
use super::session::{read_agent, read_chain, read_end};
use handstamp_core::agent::Agent;
use handstamp_core::device::key::DeviceId;
use handstamp_core::id::SessionId;
use handstamp_core::rotation::Chain;
use handstamp_core::session::{End, Limits};
use handstamp_core::step_up::Level;
use handstamp_core::subject::{Endpoint, Subject, Times};
use handstamp_core::time::{Millis, Span};
use std::net::IpAddr;

/// The formats of a session's bytes. 1 knew no devices, and nothing of what was read of user agents.
pub(super) const FORMAT: u8 = 2;
/// With what is said of access tokens at the end: the format of sessions that ever had one, and of no other.
pub(super) const WITH_TOKENS: u8 = 3;

/// All of a session that is no text, and where its texts lie.
pub struct Outline {
    id: SessionId,
    user: Part,
    tags: Parts,
    groups: Parts,
    data: Option<(u8, [u8; 12], Part)>,
    times: Times,
    seen: Millis,
    pub(super) chain: Chain,
    client: Ends,
    last_client: Option<Ends>,
    pub(super) end: Option<Box<End>>,
    device: Option<Device>,
    auth: Option<(Level, Parts)>,
    actor: Option<(Part, Part)>,
    anchor: Option<Ends>,
    tokens: Tokens,
}

/// Until when one of its access tokens can live, and its place in the status lists.
type Tokens = (Option<Millis>, Option<u64>);

/// Name, key, and since when.
#[derive(Clone, Copy)]
struct Device(Part, Part, Millis);

/// A session's bytes with their outline.
#[derive(Clone, Copy)]
pub struct Packed<'a> {
    outline: &'a Outline,
    body: &'a [u8],
    agents: [Spoken<'a>; 2],
}

/// A user agent that is kept elsewhere, and what was read of it.
pub type Spoken<'a> = Option<(&'a str, Option<Agent<&'a str>>)>;

/// From where to where.
#[derive(Clone, Copy)]
struct Part(u32, u32);

/// How many, and from where to where.
#[derive(Clone, Copy)]
struct Parts(u32, Part);

/// Who sat at the other end.
#[derive(Clone, Copy)]
struct Ends(Option<IpAddr>, Option<Part>, Option<Agent<Part>>);

impl Outline {
    /// Reads the whole body. Of tags and groups only their bounds are looked at, until somebody asks for them.
    ///
    /// # Errors
    /// [`Unreadable`].
    pub fn read(id: SessionId, body: &[u8]) -> Result<Outline, Unreadable> {
        let mut r = Reader::new(body, &[1, FORMAT, WITH_TOKENS])?;
        let user = text(&mut r, body)?;
        let tags = parts(&mut r, body, |r| r.bytes().and_then(|_| r.number()).map(|_| ()))?;
        let groups = parts(&mut r, body, |r| r.bytes().map(|_| ()))?;
        let data = r.option(|r| Ok((r.byte()?, r.fixed()?, bytes(r, body)?)))?;
        let created_at = Millis(r.signed()?);
        let authenticated_at = Millis(r.signed()?);
        let seen = Millis(r.signed()?);
        let born = r.number()?;
        let expires_in = r.option(|r| r.signed().map(Span))?;
        let limits = Limits { absolute: Span(r.signed()?), idle: Span(r.signed()?) };
        let chain = read_chain(&mut r)?;
        let client = ends(&mut r, body)?;
        let last_client = r.option(|r| ends(r, body))?;
        let end = r.option(read_end)?.map(Box::new);
        let (mut bound, mut auth, mut actor, mut anchor) = (None, None, None, None);
        if r.format > 1 {
            bound = r.option(|r| device(r, body))?;
            auth = r.option(|r| proved(r, body))?;
            actor = r.option(|r| Ok((text(r, body)?, text(r, body)?)))?;
            anchor = r.option(|r| ends(r, body))?;
        }
        let tokens = if r.format == WITH_TOKENS { tokens(&mut r)? } else { (None, None) };
        r.end()?;
        let times = Times { created_at, authenticated_at, born, expires_in, limits };
        Ok(Outline {
            id,
            user,
            tags,
            groups,
            data,
            times,
            seen,
            chain,
            client,
            last_client,
            end,
            device: bound,
            auth,
            actor,
            anchor,
            tokens,
        })
    }

    /// Lays it over its bytes. `agents` are the user agents of client and last client, where the bytes have none.
    pub const fn over<'a>(&'a self, body: &'a [u8], agents: [Spoken<'a>; 2]) -> Packed<'a> {
        Packed { outline: self, body, agents }
    }
}

impl<'a> Packed<'a> {
    /// The last activity when it was written.
    pub(super) const fn seen(&self) -> Millis {
        self.outline.seen
    }

    /// Sealed data: number of the key, nonce, bytes.
    pub(super) fn data(&self) -> Option<(u8, [u8; 12], &'a [u8])> {
        self.outline.data.map(|(key, nonce, part)| (key, nonce, self.bytes(part)))
    }

    /// From where the user last authenticated, when that is not where the session was made.
    pub(super) fn own_anchor(&self) -> Option<Endpoint<'a>> {
        self.outline.anchor.map(|anchor| self.endpoint(anchor, None))
    }

    /// The device: name, key, and since when.
    pub(super) fn device_parts(&self) -> Option<(&'a [u8], &'a [u8], Millis)> {
        self.outline.device.map(|Device(id, key, at)| (self.bytes(id), self.bytes(key), at))
    }

    pub(super) fn tag_list(&self) -> List<'a> {
        self.list(self.outline.tags)
    }

    pub(super) fn group_list(&self) -> List<'a> {
        self.list(self.outline.groups)
    }

    pub(super) fn method_list(&self) -> Option<List<'a>> {
        self.outline.auth.map(|(_, methods)| self.list(methods))
    }

    fn list(&self, Parts(count, part): Parts) -> List<'a> {
        List::new(count, self.bytes(part), FORMAT)
    }

    fn endpoint(&self, Ends(ip, text, agent): Ends, kept: Spoken<'a>) -> Endpoint<'a> {
        if let Some((text, agent)) = kept {
            return Endpoint { ip, user_agent: Some(text), agent };
        }
        let own = |part: Option<Part>| part.map(|part| self.text(part));
        let agent = agent.map(|agent| Agent {
            browser: own(agent.browser),
            major: agent.major,
            os: own(agent.os),
            os_version: own(agent.os_version),
            model: own(agent.model),
            device: agent.device,
            is_browser: agent.is_browser,
        });
        Endpoint { ip, user_agent: own(text), agent }
    }

    /// Was looked at when the outline was made.
    fn text(&self, part: Part) -> &'a str {
        std::str::from_utf8(self.bytes(part)).unwrap_or_default()
    }

    fn bytes(&self, Part(from, to): Part) -> &'a [u8] {
        let place = |n: u32| usize::try_from(n).unwrap_or(usize::MAX);
        self.body.get(place(from)..place(to)).unwrap_or_default()
    }
}

impl Subject for Packed<'_> {
    fn id(&self) -> SessionId {
        self.outline.id
    }
    fn user(&self) -> &str {
        self.text(self.outline.user)
    }
    fn tags(&self) -> impl Iterator<Item = (&str, u64)> {
        self.tag_list().items(|r| Ok((r.text()?, r.number()?)))
    }
    fn groups(&self) -> impl Iterator<Item = &str> {
        self.group_list().items(Reader::text)
    }
    fn times(&self) -> Times {
        self.outline.times
    }
    fn chain(&self) -> &Chain {
        &self.outline.chain
    }
    fn client(&self) -> Endpoint<'_> {
        self.endpoint(self.outline.client, self.agents[0])
    }
    fn last_client(&self) -> Option<Endpoint<'_>> {
        self.outline.last_client.map(|last| self.endpoint(last, self.agents[1]))
    }
    fn device(&self) -> Option<(DeviceId, Millis)> {
        let (id, _, at) = self.device_parts()?;
        // Of this length when the outline was made.
        Some((DeviceId(<[u8; 32]>::try_from(id).unwrap_or_default()), at))
    }
    fn anchor(&self) -> Endpoint<'_> {
        self.own_anchor().unwrap_or_else(|| self.client())
    }
    fn level(&self) -> Option<Level> {
        self.outline.auth.map(|(level, _)| level)
    }
    fn methods(&self) -> impl Iterator<Item = &str> {
        self.method_list().into_iter().flat_map(|list| list.items(Reader::text))
    }
    fn actor(&self) -> Option<(&str, &str)> {
        self.outline.actor.map(|(id, reason)| (self.text(id), self.text(reason)))
    }
    fn end(&self) -> Option<&End> {
        self.outline.end.as_deref()
    }
    fn tokens_until(&self) -> Option<Millis> {
        self.outline.tokens.0
    }
    fn status_index(&self) -> Option<u64> {
        self.outline.tokens.1
    }
}

fn text(r: &mut Reader<'_>, body: &[u8]) -> Result<Part, Unreadable> {
    let length = r.text()?.len();
    ending_here(r, body, length)
}

fn bytes(r: &mut Reader<'_>, body: &[u8]) -> Result<Part, Unreadable> {
    let length = r.bytes()?.len();
    ending_here(r, body, length)
}

fn proved(r: &mut Reader<'_>, body: &[u8]) -> Result<(Level, Parts), Unreadable> {
    let level = Level::new(r.byte()?).ok_or(Unreadable)?;
    Ok((level, parts(r, body, |r| r.bytes().map(|_| ()))?))
}

fn tokens(r: &mut Reader<'_>) -> Result<Tokens, Unreadable> {
    let tokens = (r.option(|r| r.signed().map(Millis))?, r.option(Reader::number)?);
    // Of a session without any there is nothing to say, and another format.
    if tokens == (None, None) { Err(Unreadable) } else { Ok(tokens) }
}

fn device(r: &mut Reader<'_>, body: &[u8]) -> Result<Device, Unreadable> {
    r.fixed::<32>()?;
    let id = ending_here(r, body, 32)?;
    Ok(Device(id, bytes(r, body)?, Millis(r.signed()?)))
}

fn parts(
    r: &mut Reader<'_>,
    body: &[u8],
    skip: impl FnMut(&mut Reader<'_>) -> Result<(), Unreadable>,
) -> Result<Parts, Unreadable> {
    let (count, length) = r.skip_list(skip)?;
    Ok(Parts(small(count)?, ending_here(r, body, length)?))
}

fn ends(r: &mut Reader<'_>, body: &[u8]) -> Result<Ends, Unreadable> {
    let (ip, told) = (read_ip(r)?, r.option(|r| text(r, body))?);
    let agent = if r.format < 2 { None } else { r.option(|r| read_agent(r, |r| text(r, body)))? };
    Ok(Ends(ip, told, agent))
}

fn ending_here(r: &Reader<'_>, body: &[u8], length: usize) -> Result<Part, Unreadable> {
    let to = r.at(body);
    Ok(Part(small(to - length)?, small(to)?))
}

fn small(n: usize) -> Result<u32, Unreadable> {
    u32::try_from(n).map_err(|_| Unreadable)
}

/// An address.
pub(super) fn read_ip(r: &mut Reader<'_>) -> Result<Option<IpAddr>, Unreadable> {
    match r.byte()? {
        0 => Ok(None),
        4 => Ok(Some(IpAddr::from(r.fixed::<4>()?))),
        6 => Ok(Some(IpAddr::from(r.fixed::<16>()?))),
        _ => Err(Unreadable),
    }
}
