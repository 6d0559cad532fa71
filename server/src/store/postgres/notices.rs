//! What nodes tell each other through NOTIFY, as text: commits, and what was said.
//!
//! One notification has less than 8,000 bytes, so what a group of commits changed takes several; beyond a few of them
//! each node is told to take everything for changed. The text is base64 of a version, a kind, the node that sent it, and
//! the payload. Other writers may use the same channel: what cannot be read counts as "anything".

use super::super::rows::space_bytes;
use super::super::{Change, Key, Space};
use handstamp_core::device::base64url;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Which node; drawn at random when the store is opened.
pub type Node = [u8; 16];

/// By which name this node goes. Where nobody knows whether a commit went through, it may still do so, and its notice come
/// long after what it changed was read again: so from then on the node goes by another name, and hears of that commit as of
/// another node's.
#[derive(Clone, Debug)]
pub struct Own {
    drawn: Node,
    doubts: Arc<AtomicU64>,
}

impl Own {
    /// At first it is the one that was drawn.
    pub fn new(drawn: Node) -> Own {
        Own { drawn, doubts: Arc::default() }
    }

    /// The name of now.
    pub fn name(&self) -> Node {
        let mut name = self.drawn;
        let doubts = self.doubts.load(Ordering::Acquire).to_be_bytes();
        name.iter_mut().rev().zip(doubts.iter().rev()).for_each(|(byte, doubt)| *byte ^= doubt);
        name
    }

    /// A commit may have gone through, or still go.
    pub fn doubt(&self) {
        self.doubts.fetch_add(1, Ordering::AcqRel);
    }
}

/// The most bytes of one notice's text: PostgreSQL takes 7,999.
pub const LONGEST: usize = 7_900;
/// The most notices of one group; what needs more is "anything".
pub const MOST: usize = 8;

const VERSION: u8 = 1;
const COMMITTED: u8 = 1;
const ANYTHING: u8 = 2;
const SAID: u8 = 3;
/// Version, kind, node.
const HEAD: usize = 18;
/// What fits into [`LONGEST`] as base64, behind the head.
const ROOM: usize = LONGEST / 4 * 3 - HEAD;

/// Where nodes that use this schema hear each other. Channels belong to the database, so the schema is a part of the name.
pub fn channel(schema: &str) -> String {
    let hash = schema.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("handstamp_{hash:016x}")
}

/// The notices of one group of commits: the records that were there before and were put or deleted, and the environments
/// with new lines of history. None when there is nothing to tell.
pub fn committed(node: &Node, records: &[Key], told: &[u64]) -> Vec<String> {
    let mut spaces: BTreeMap<Space, Vec<&[u8]>> = BTreeMap::new();
    for key in records {
        spaces.entry(key.space).or_default().push(&key.id);
    }
    let mut parts = Parts { done: Vec::new(), open: Vec::new() };
    for (space, mut ids) in spaces {
        ids.sort_unstable();
        ids.dedup();
        parts.section(RECORDS, &space_bytes(space), &ids);
    }
    let mut told: Vec<[u8; 8]> = told.iter().map(|env| env.to_be_bytes()).collect();
    told.sort_unstable();
    told.dedup();
    for env in &told {
        parts.add(&[&[TOLD], env.as_slice()].concat());
    }
    let parts = parts.end();
    if parts.len() > MOST {
        return vec![text(node, ANYTHING, &[])];
    }
    parts.iter().map(|part| text(node, COMMITTED, part)).collect()
}

/// The notice of what is said; the message has at most [`super::super::bounds::LONGEST_SAYING`] bytes.
pub fn said(node: &Node, message: &[u8]) -> String {
    text(node, SAID, message)
}

/// What a notice tells `node`; `None` of what it committed itself.
pub fn read(node: &Node, text: &str) -> Option<Change> {
    let anything = Some(Change::Anything);
    let Some(bytes) = base64url::decode(text) else { return anything };
    let Some((head, payload)) = bytes.split_first_chunk::<HEAD>() else { return anything };
    let [version, kind, from @ ..] = head;
    match (*version, *kind) {
        (VERSION, SAID) => Some(Change::Said(payload.into())),
        (VERSION, COMMITTED | ANYTHING) if from == node => None,
        (VERSION, COMMITTED) => parts(payload).or(anything),
        _ => anything,
    }
}

const RECORDS: u8 = 1;
const TOLD: u8 = 2;

/// Payloads that each fit into one notice.
struct Parts {
    done: Vec<Vec<u8>>,
    open: Vec<u8>,
}

impl Parts {
    fn add(&mut self, bytes: &[u8]) {
        if self.open.len() + bytes.len() > ROOM {
            self.done.push(std::mem::take(&mut self.open));
        }
        self.open.extend_from_slice(bytes);
    }

    /// Ids of one space; a part that begins in the middle of them names the space again.
    fn section(&mut self, kind: u8, space: &[u8], ids: &[&[u8]]) {
        let mut rest = ids;
        while !rest.is_empty() {
            let head = [&[kind], space, &[0, 0]].concat();
            if self.open.len() + head.len() + 1 + rest.first().map_or(0, |id| id.len()) > ROOM {
                self.done.push(std::mem::take(&mut self.open));
            }
            let at = self.open.len() + head.len() - 2;
            self.open.extend_from_slice(&head);
            let mut count = 0_u16;
            for id in rest {
                if self.open.len() + 1 + id.len() > ROOM || count == u16::MAX {
                    break;
                }
                self.open.push(u8::try_from(id.len()).unwrap_or(u8::MAX));
                self.open.extend_from_slice(id);
                count += 1;
            }
            if let Some(place) = self.open.get_mut(at..at + 2) {
                place.copy_from_slice(&count.to_be_bytes());
            }
            rest = rest.get(usize::from(count.max(1))..).unwrap_or_default();
        }
    }

    fn end(mut self) -> Vec<Vec<u8>> {
        if !self.open.is_empty() {
            self.done.push(self.open);
        }
        self.done
    }
}

/// Reads what [`Parts`] wrote; `None` when it cannot be right.
fn parts(mut bytes: &[u8]) -> Option<Change> {
    let (mut records, mut told) = (Vec::new(), Vec::new());
    while let Some((kind, rest)) = bytes.split_first() {
        bytes = match *kind {
            RECORDS => {
                let (kind, rest) = rest.split_first()?;
                let (env, rest) = rest.split_first_chunk::<8>()?;
                let (count, mut rest) = rest.split_first_chunk::<2>()?;
                let space = Space { kind: *kind, env: u64::from_be_bytes(*env) };
                for _ in 0..u16::from_be_bytes(*count) {
                    let (len, after) = rest.split_first()?;
                    let (id, after) = after.split_at_checked(usize::from(*len))?;
                    records.push(Key { space, id: id.into() });
                    rest = after;
                }
                rest
            }
            TOLD => {
                let (env, rest) = rest.split_first_chunk::<8>()?;
                told.push(u64::from_be_bytes(*env));
                rest
            }
            _ => return None,
        };
    }
    Some(Change::Committed { records, told })
}

fn text(node: &Node, kind: u8, payload: &[u8]) -> String {
    base64url::encode(&[&[VERSION, kind], node.as_slice(), payload].concat())
}
