//! What nodes say to each other: a version byte, a kind byte, who says it, and what.
//!
//! Nothing of it is kept, and nothing rests on its being heard. Other nodes may be older or newer than this one: what has
//! a version or a kind that is not known here is nothing that was said.

use crate::codec::Unreadable;
use crate::codec::bytes::{Reader, Writer};
use crate::store::bounds::LONGEST_SAYING;
use handstamp_core::id::{EnvironmentId, SessionId};

/// One process on a store that several use: drawn at its start, and never again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct NodeId(pub [u8; 16]);

/// The version of all that is said.
const VERSION: u8 = 1;

/// The most sessions that one message names.
pub const SESSIONS: usize = 128;
/// The most bytes of what is left to whoever says it: the longest message, less version, kind, node and length.
pub const ROOM: usize = LONGEST_SAYING - 32;

const PROBE: u8 = 1;
const SPENT: u8 = 2;
const ASKED: u8 = 3;
const WRITTEN: u8 = 4;
const ERASED: u8 = 5;
const CONFIGURED: u8 = 6;

/// Something that a node said.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Message {
    /// Who.
    pub from: NodeId,
    /// What.
    pub said: Said,
}

/// What can be said.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Said {
    /// Everything that was changed before this was said is known to who hears it.
    Probe(u64),
    /// What was taken out of budgets, as the room of rates writes it: at most [`ROOM`] bytes.
    Spent(Box<[u8]>),
    /// Who knows of activity of these sessions that is not written yet, writes it and says so; at most [`SESSIONS`].
    Asked {
        /// For the answer.
        number: u64,
        /// Which.
        sessions: Vec<(EnvironmentId, SessionId)>,
    },
    /// A user was erased: whoever has noted anything of them forgets it.
    Erased {
        /// Where.
        env: EnvironmentId,
        /// What the user is called from then on.
        name: Box<str>,
    },
    /// What recognises the part of the configuration that is to be the same on all nodes.
    Configured([u8; 32]),
    /// There is no unwritten activity of those sessions any more.
    Written {
        /// Who asked.
        asker: NodeId,
        /// What for.
        number: u64,
    },
}

impl Message {
    /// As bytes.
    pub fn write(&self) -> Vec<u8> {
        let mut w = Writer::new(VERSION);
        w.byte(match &self.said {
            Said::Probe(_) => PROBE,
            Said::Spent(_) => SPENT,
            Said::Asked { .. } => ASKED,
            Said::Written { .. } => WRITTEN,
            Said::Erased { .. } => ERASED,
            Said::Configured(_) => CONFIGURED,
        });
        w.fixed(&self.from.0);
        match &self.said {
            Said::Probe(number) => w.number(*number),
            Said::Spent(spent) => w.bytes(spent),
            Said::Asked { number, sessions } => {
                w.number(*number);
                w.list(sessions.iter(), |w, (env, session)| {
                    w.number(env.0);
                    w.fixed(&session.0);
                });
            }
            Said::Erased { env, name } => {
                w.number(env.0);
                w.text(name);
            }
            Said::Configured(digest) => w.fixed(digest),
            Said::Written { asker, number } => {
                w.fixed(&asker.0);
                w.number(*number);
            }
        }
        w.finish()
    }

    /// Reads it. `None`: nothing that is understood here.
    pub fn read(bytes: &[u8]) -> Option<Message> {
        Message::taken_apart(bytes).ok()
    }

    fn taken_apart(bytes: &[u8]) -> Result<Message, Unreadable> {
        let mut r = Reader::new(bytes, &[VERSION])?;
        let kind = r.byte()?;
        let from = NodeId(r.fixed()?);
        let said = match kind {
            PROBE => Said::Probe(r.number()?),
            SPENT => Said::Spent(r.bytes()?.into()),
            ASKED => {
                let number = r.number()?;
                let sessions = r.list(|r| Ok((EnvironmentId(r.number()?), SessionId(r.fixed()?))))?;
                if sessions.len() > SESSIONS {
                    return Err(Unreadable);
                }
                Said::Asked { number, sessions }
            }
            ERASED => Said::Erased { env: EnvironmentId(r.number()?), name: r.text()?.into() },
            CONFIGURED => Said::Configured(r.fixed()?),
            WRITTEN => Said::Written { asker: NodeId(r.fixed()?), number: r.number()? },
            _ => return Err(Unreadable),
        };
        r.end()?;
        Ok(Message { from, said })
    }
}
