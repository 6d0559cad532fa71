//! A session as bytes.

use super::Unreadable;
use super::bytes::{Reader, Writer};
use super::packed::{FORMAT, Outline, WITH_TOKENS, read_ip};
use handstamp_core::agent::{Agent, Device};
use handstamp_core::device::Registered;
use handstamp_core::device::key::{DeviceId, PublicKey};
use handstamp_core::id::{KeyId, SessionId, UserId};
use handstamp_core::policy::Origin;
use handstamp_core::policy::modes::Assurance;
use handstamp_core::refusal::{Code, Evidence, Value};
use handstamp_core::rotation::{Chain, MadeBy, Verifiers};
use handstamp_core::sealing::Sealed;
use handstamp_core::secret::Verifier;
use handstamp_core::session::{Actor, By, Client, End, HeldTag, Session, State};
use handstamp_core::step_up::Auth;
use handstamp_core::subject::{Endpoint, Subject};
use handstamp_core::tag::{Group, Tag};
use handstamp_core::time::{Millis, Span};
use std::net::IpAddr;
use std::sync::Arc;

/// `seen` is the last activity, kept in the body for ended sessions.
pub fn write(s: &Session, seen: Millis) -> Vec<u8> {
    let tokens = s.tokens_until.is_some() || s.status_index.is_some();
    let mut w = Writer::new(if tokens { WITH_TOKENS } else { FORMAT });
    w.text(s.user.as_str());
    w.list(s.tags.iter(), |w, held| {
        w.text(held.tag.as_str());
        w.number(held.since);
    });
    w.list(s.groups.iter(), |w, group| w.text(group.as_str()));
    w.option(s.data.as_deref(), |w, sealed| {
        w.byte(sealed.key);
        w.fixed(&sealed.nonce);
        w.bytes(&sealed.bytes);
    });
    w.signed(s.created_at.0);
    w.signed(s.authenticated_at.0);
    w.signed(seen.0);
    w.number(s.born);
    w.option(s.expires_in, |w, span| w.signed(span.0));
    w.signed(s.limits.absolute.0);
    w.signed(s.limits.idle.0);
    write_chain(&mut w, &s.chain);
    write_endpoint(&mut w, &s.client);
    w.option(s.last_client.as_deref(), write_endpoint);
    match &s.state {
        State::Live => w.byte(0),
        State::Ended(end) => {
            w.byte(1);
            write_end(&mut w, end);
        }
    }
    w.option(s.device.as_deref(), |w, device| {
        w.fixed(&device.id.0);
        w.bytes(device.key.bytes());
        w.signed(device.at.0);
    });
    w.option(s.auth.as_deref(), |w, auth| {
        w.byte(auth.level.get());
        w.list(auth.methods.iter(), |w, method| w.text(method));
    });
    w.option(s.actor.as_deref(), |w, actor| {
        w.text(actor.id.as_str());
        w.text(&actor.reason);
    });
    w.option(s.anchor.as_deref(), write_endpoint);
    if tokens {
        w.option(s.tokens_until, |w, until| w.signed(until.0));
        w.option(s.status_index, Writer::number);
    }
    w.finish()
}

/// The session and its last activity, as a store gave it back: every text is looked at again, for whoever can write to a
/// store could have put anything there.
///
/// # Errors
/// [`Unreadable`].
pub fn read(id: SessionId, body: &[u8]) -> Result<(Session, Millis), Unreadable> {
    let outline = Outline::read(id, body)?;
    let packed = outline.over(body, [None; 2]);
    let held = |r: &mut Reader<'_>| {
        Ok(HeldTag { tag: Tag::parse(r.text()?).map_err(|_| Unreadable)?, since: r.number()? })
    };
    let sealed =
        packed.data().map(|(key, nonce, bytes)| Box::new(Sealed { key, nonce, bytes: bytes.into() }));
    let (times, seen) = (packed.times(), packed.seen());
    let (user, tags) = (UserId::new(packed.user()).map_err(|_| Unreadable)?, packed.tag_list().read(held)?);
    let groups = packed.group_list().read(|r| Group::parse(r.text()?).map_err(|_| Unreadable))?;
    let (client, last_client) =
        (owned(packed.client()), packed.last_client().map(|last| Box::new(owned(last))));
    let device = packed.device_parts().map(registered).transpose()?;
    let methods =
        packed.method_list().map(|list| list.read(|r| Auth::method(r.text()?).map_err(|_| Unreadable)));
    let methods = methods.transpose()?.unwrap_or_default().into();
    let auth = packed.level().map(|level| Box::new(Auth { methods, level }));
    let actor = packed.actor().map(acting).transpose()?;
    let anchor = packed.own_anchor().map(|anchor| Box::new(owned(anchor)));
    let (tokens_until, status_index) = (packed.tokens_until(), packed.status_index());
    let Outline { chain, end, .. } = outline;
    let session = Session {
        id,
        user,
        tags: tags.into(),
        groups: groups.into(),
        data: sealed,
        created_at: times.created_at,
        authenticated_at: times.authenticated_at,
        born: times.born,
        expires_in: times.expires_in,
        limits: times.limits,
        chain,
        client,
        last_client,
        device,
        auth,
        actor,
        anchor,
        tokens_until,
        status_index,
        state: end.map_or(State::Live, State::Ended),
    };
    Ok((session, seen))
}

fn acting((id, reason): (&str, &str)) -> Result<Box<Actor>, Unreadable> {
    let id = UserId::new(id).map_err(|_| Unreadable)?;
    Ok(Box::new(Actor { id, reason: reason.into() }))
}

fn registered((id, key, at): (&[u8], &[u8], Millis)) -> Result<Box<Registered>, Unreadable> {
    let id = DeviceId(<[u8; 32]>::try_from(id).map_err(|_| Unreadable)?);
    let key = PublicKey::from_bytes(key).ok_or(Unreadable)?;
    Ok(Box::new(Registered { id, key, at }))
}

fn owned(endpoint: Endpoint<'_>) -> Client {
    let agent = endpoint.agent.map(|agent| Arc::new(agent.keep()));
    Client { ip: endpoint.ip, user_agent: endpoint.user_agent.map(Into::into), agent }
}

fn write_chain(w: &mut Writer, c: &Chain) {
    w.number(u64::from(c.generation));
    w.signed(c.made_at.0);
    w.byte(match c.made_by {
        MadeBy::Creation => 0,
        MadeBy::Timer => 1,
        MadeBy::Refresh => 2,
        MadeBy::Authentication => 3,
    });
    w.byte(c.key_id);
    write_verifiers(w, &c.current);
    w.option(c.previous.as_deref(), write_verifiers);
    w.byte(u8::from(c.awaiting));
    w.list(c.noted.iter(), |w, (generation, at)| {
        w.number(u64::from(*generation));
        w.signed(at.0);
    });
    w.number(u64::from(c.stolen_below));
}

pub(super) fn read_chain(r: &mut Reader<'_>) -> Result<Chain, Unreadable> {
    Ok(Chain {
        generation: small(r)?,
        made_at: Millis(r.signed()?),
        made_by: match r.byte()? {
            0 => MadeBy::Creation,
            1 => MadeBy::Timer,
            2 => MadeBy::Refresh,
            3 => MadeBy::Authentication,
            _ => return Err(Unreadable),
        },
        key_id: r.byte()?,
        current: read_verifiers(r)?,
        previous: r.option(read_verifiers)?.map(Box::new),
        awaiting: r.flag()?,
        noted: r.list(|r| Ok((small(r)?, Millis(r.signed()?))))?,
        stolen_below: small(r)?,
    })
}

fn small(r: &mut Reader<'_>) -> Result<u32, Unreadable> {
    u32::try_from(r.number()?).map_err(|_| Unreadable)
}

fn write_verifiers(w: &mut Writer, v: &Verifiers) {
    w.fixed(v.session.bytes());
    w.option(v.refresh.as_ref(), |w, refresh| w.fixed(refresh.bytes()));
}

fn read_verifiers(r: &mut Reader<'_>) -> Result<Verifiers, Unreadable> {
    Ok(Verifiers {
        session: Verifier::from_bytes(r.fixed()?),
        refresh: r.option(|r| Ok(Verifier::from_bytes(r.fixed()?)))?,
    })
}

/// Who sat at the other end, and what was read of the agent.
fn write_endpoint(w: &mut Writer, c: &Client) {
    write_client(w, c);
    w.option(c.agent.as_deref(), |w, agent| {
        w.option(agent.browser.as_deref(), Writer::text);
        w.option(agent.major, |w, major| w.number(u64::from(major)));
        w.option(agent.os.as_deref(), Writer::text);
        w.option(agent.os_version.as_deref(), Writer::text);
        w.option(agent.model.as_deref(), Writer::text);
        w.byte(match agent.device {
            Device::Desktop => 0,
            Device::Mobile => 1,
            Device::Tablet => 2,
            Device::Tv => 3,
            Device::Bot => 4,
            Device::Other => 5,
        });
        w.byte(u8::from(agent.is_browser));
    });
}

/// What [`write_endpoint`] wrote of an agent; `text` says how a text is kept.
pub(super) fn read_agent<'a, T>(
    r: &mut Reader<'a>,
    mut text: impl FnMut(&mut Reader<'a>) -> Result<T, Unreadable>,
) -> Result<Agent<T>, Unreadable> {
    Ok(Agent {
        browser: r.option(&mut text)?,
        major: r.option(small)?,
        os: r.option(&mut text)?,
        os_version: r.option(&mut text)?,
        model: r.option(&mut text)?,
        device: match r.byte()? {
            0 => Device::Desktop,
            1 => Device::Mobile,
            2 => Device::Tablet,
            3 => Device::Tv,
            4 => Device::Bot,
            5 => Device::Other,
            _ => return Err(Unreadable),
        },
        is_browser: r.flag()?,
    })
}

/// Who sat at the other end, without what was read of the agent: history has many lines, and the text says it again.
pub(super) fn write_client(w: &mut Writer, c: &Client) {
    match c.ip {
        None => w.byte(0),
        Some(IpAddr::V4(ip)) => {
            w.byte(4);
            w.fixed(&ip.octets());
        }
        Some(IpAddr::V6(ip)) => {
            w.byte(6);
            w.fixed(&ip.octets());
        }
    }
    w.option(c.user_agent.as_deref(), Writer::text);
}

pub(super) fn read_client(r: &mut Reader<'_>) -> Result<Client, Unreadable> {
    Ok(Client { ip: read_ip(r)?, user_agent: r.option(|r| r.text().map(Into::into))?, agent: None })
}

fn write_end(w: &mut Writer, end: &End) {
    w.signed(end.at.0);
    w.text(end.code.text());
    write_by(w, &end.by);
    w.option(end.rule.as_deref(), Writer::text);
    w.option(end.origin.as_ref(), write_origin);
    w.option(end.evidence.as_ref(), write_evidence);
    w.option(end.reason.as_deref(), Writer::text);
}

pub(super) fn read_end(r: &mut Reader<'_>) -> Result<End, Unreadable> {
    Ok(End {
        at: Millis(r.signed()?),
        code: Code::parse(r.text()?).ok_or(Unreadable)?,
        by: read_by(r)?,
        rule: r.option(|r| r.text().map(Into::into))?,
        origin: r.option(read_origin)?,
        evidence: r.option(read_evidence)?,
        reason: r.option(|r| r.text().map(Into::into))?,
    })
}

pub(super) fn write_by(w: &mut Writer, by: &By) {
    match by {
        By::System => w.byte(0),
        By::Client => w.byte(1),
        By::Key(id) => {
            w.byte(2);
            w.fixed(&id.0);
        }
    }
}

pub(super) fn read_by(r: &mut Reader<'_>) -> Result<By, Unreadable> {
    match r.byte()? {
        0 => Ok(By::System),
        1 => Ok(By::Client),
        2 => Ok(By::Key(KeyId(r.fixed()?))),
        _ => Err(Unreadable),
    }
}

pub(super) fn write_origin(w: &mut Writer, origin: &Origin) {
    match origin {
        Origin::Default => w.byte(0),
        Origin::Creation => w.byte(1),
        Origin::Stored => w.byte(2),
        Origin::Tag(pattern) => {
            w.byte(3);
            w.text(pattern);
        }
        Origin::Preset(level, of) => {
            w.byte(4);
            w.text(level.text());
            w.option(of.as_deref(), Writer::text);
        }
        Origin::SessionType(name) => {
            w.byte(5);
            w.text(name);
        }
    }
}

pub(super) fn read_origin(r: &mut Reader<'_>) -> Result<Origin, Unreadable> {
    match r.byte()? {
        0 => Ok(Origin::Default),
        1 => Ok(Origin::Creation),
        2 => Ok(Origin::Stored),
        3 => Ok(Origin::Tag(r.text()?.into())),
        4 => Ok(Origin::Preset(
            Assurance::parse(r.text()?).map_err(|_| Unreadable)?,
            r.option(|r| r.text().map(Into::into))?,
        )),
        5 => Ok(Origin::SessionType(r.text()?.into())),
        _ => Err(Unreadable),
    }
}

pub(super) fn write_evidence(w: &mut Writer, evidence: &Evidence) {
    let (choice, a, b) = match evidence {
        Evidence::Limit { allowed, seen } => (0, allowed, seen),
        Evidence::Change { before, after } => (1, before, after),
    };
    w.byte(choice);
    write_value(w, a);
    write_value(w, b);
}

pub(super) fn read_evidence(r: &mut Reader<'_>) -> Result<Evidence, Unreadable> {
    let choice = r.byte()?;
    let (a, b) = (read_value(r)?, read_value(r)?);
    match choice {
        0 => Ok(Evidence::Limit { allowed: a, seen: b }),
        1 => Ok(Evidence::Change { before: a, after: b }),
        _ => Err(Unreadable),
    }
}

fn write_value(w: &mut Writer, value: &Value) {
    match value {
        Value::Span(span) => {
            w.byte(0);
            w.signed(span.0);
        }
        Value::Time(at) => {
            w.byte(1);
            w.signed(at.0);
        }
        Value::Number(n) => {
            w.byte(2);
            w.number(*n);
        }
        Value::Text(text) => {
            w.byte(3);
            w.text(text);
        }
        Value::Texts(texts) => {
            w.byte(4);
            w.list(texts.iter(), |w, text| w.text(text));
        }
    }
}

fn read_value(r: &mut Reader<'_>) -> Result<Value, Unreadable> {
    Ok(match r.byte()? {
        0 => Value::Span(Span(r.signed()?)),
        1 => Value::Time(Millis(r.signed()?)),
        2 => Value::Number(r.number()?),
        3 => Value::Text(r.text()?.into()),
        4 => Value::Texts(r.list(|r| r.text().map(Into::into))?),
        _ => return Err(Unreadable),
    })
}
