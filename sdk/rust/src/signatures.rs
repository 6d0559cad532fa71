//! Signatures that were verified, so that the same token costs one hash the second time.
//!
//! What is kept is "this very text was signed by that key, and says this": never a judgement. Whether the key is still trusted, and
//! the token still good, is asked each time.
//!
//! Bounded by bytes, in parts with a lock of their own each; a look only shares its lock. Whoever was not looked at since the
//! last round goes first.

use crate::keys::Trusted;
use aws_lc_rs::digest::{SHA256, digest};
use handstamp_core::jose::claims::Claims;
use handstamp_core::jose::json::{Json, Members};
use handstamp_core::time::Millis;
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

const PARTS: usize = 64;
/// What an entry takes beside what the token says: its places in map and ring, allocations, slack of growing tables.
const OVERHEAD: usize = 400;

/// SHA-256 of a whole token.
pub(crate) type Hash = [u8; 32];

/// The hash of a token.
pub(crate) fn hash(token: &str) -> Hash {
    let mut hash = [0; 32];
    // SHA-256 has 32 bytes.
    hash.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
    hash
}

/// The cache.
pub(crate) struct Signatures {
    parts: Vec<RwLock<Part>>,
    most: usize,
}

#[derive(Default)]
struct Part {
    entries: HashMap<Hash, Entry>,
    ring: VecDeque<Hash>,
    bytes: usize,
}

struct Entry {
    claims: Arc<Claims>,
    key: Arc<Trusted>,
    bytes: usize,
    looked_at: AtomicBool,
}

impl Signatures {
    /// Keeps `most` bytes.
    pub(crate) fn new(most: usize) -> Signatures {
        let parts = (0..PARTS).map(|_| RwLock::default()).collect();
        Signatures { parts, most: most / PARTS }
    }

    /// What the token says, if its signature was verified with a key that is still trusted.
    pub(crate) fn get(&self, hash: &Hash) -> Option<Arc<Claims>> {
        let part = self.part(hash)?.read().unwrap_or_else(PoisonError::into_inner);
        let entry = part.entries.get(hash).filter(|entry| entry.key.is())?;
        // Written only when it changes, so that threads do not take the line from each other.
        if !entry.looked_at.load(Ordering::Relaxed) {
            entry.looked_at.store(true, Ordering::Relaxed);
        }
        Some(Arc::clone(&entry.claims))
    }

    /// Keeps that `key` signed the token with this hash.
    pub(crate) fn keep(&self, hash: Hash, claims: &Arc<Claims>, key: &Arc<Trusted>) {
        let Some(part) = self.part(&hash) else { return };
        let bytes = OVERHEAD + weight(claims);
        if bytes > self.most {
            return;
        }
        let mut part = part.write().unwrap_or_else(PoisonError::into_inner);
        let entry = Entry {
            claims: Arc::clone(claims),
            key: Arc::clone(key),
            bytes,
            looked_at: AtomicBool::new(false),
        };
        match part.entries.insert(hash, entry) {
            Some(old) => part.bytes -= old.bytes,
            None => part.ring.push_back(hash),
        }
        part.bytes += bytes;
        while part.bytes > self.most {
            let Some(next) = part.ring.pop_front() else { break };
            let looked_at =
                part.entries.get(&next).is_some_and(|entry| entry.looked_at.swap(false, Ordering::Relaxed));
            if looked_at {
                part.ring.push_back(next);
            } else if let Some(gone) = part.entries.remove(&next) {
                part.bytes -= gone.bytes;
            }
        }
    }

    /// Takes out what is over at `now`, and what was signed by keys that are trusted no more.
    pub(crate) fn tidy(&self, now: Millis) {
        for part in &self.parts {
            let mut part = part.write().unwrap_or_else(PoisonError::into_inner);
            let Part { entries, ring, bytes } = &mut *part;
            entries.retain(|_, entry| {
                let stays = entry.key.is() && entry.claims.until() > now;
                *bytes -= if stays { 0 } else { entry.bytes };
                stays
            });
            ring.retain(|hash| entries.contains_key(hash));
            // A crowd that has gone leaves its room.
            if entries.capacity() > 4 * entries.len().max(16) {
                entries.shrink_to_fit();
                ring.shrink_to_fit();
            }
        }
    }

    /// How many tokens are kept, and how many bytes they take.
    pub(crate) fn usage(&self) -> (usize, usize) {
        self.parts.iter().fold((0, 0), |(tokens, bytes), part| {
            let part = part.read().unwrap_or_else(PoisonError::into_inner);
            (tokens + part.entries.len(), bytes + part.bytes)
        })
    }

    fn part(&self, hash: &Hash) -> Option<&RwLock<Part>> {
        let [first, ..] = hash;
        self.parts.get(usize::from(*first) % PARTS)
    }
}

/// How many bytes of memory claims take.
fn weight(claims: &Claims) -> usize {
    let texts = |all: &[String]| all.iter().map(|one| size_of::<String>() + one.len()).sum::<usize>();
    size_of::<Claims>()
        + claims.issuer.len()
        + texts(&claims.audience)
        + claims.subject.len()
        + claims.id.len()
        + texts(&claims.tags)
        + texts(&claims.groups)
        + texts(&claims.methods)
        + claims.actor.as_ref().map_or(0, String::len)
        + claims.data.as_ref().map_or(0, String::len)
        + claims.status.as_ref().map_or(0, |(_, uri)| uri.len())
        + members(&claims.custom)
}

fn members(all: &Members) -> usize {
    all.iter().map(|(name, value)| size_of::<(String, Json)>() + name.len() + json(value)).sum()
}

fn json(value: &Json) -> usize {
    match value {
        Json::Null | Json::Bool(_) => 0,
        Json::Number(text) => 16 + text.len(),
        Json::Text(text) => 16 + text.len(),
        Json::List(items) => items.iter().map(|item| size_of::<Json>() + json(item)).sum(),
        Json::Object(all) => members(all),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::Keys;
    use handstamp_core::id::SessionId;
    use handstamp_core::jose::json::read_object;
    use handstamp_core::jose::key::SigningKey;
    use handstamp_core::offline::clock::Tick;
    use handstamp_core::secret::Secret;

    fn keys() -> (Keys, Arc<Trusted>) {
        let key = SigningKey::ed25519(&Secret::new([1; 32])).unwrap();
        let keys = Keys::new();
        keys.replace(format!("{{\"keys\":[{}]}}", key.public().to_jwk()).as_bytes(), Tick(1)).unwrap();
        let trusted = keys.get(key.public().kid()).unwrap();
        (keys, trusted)
    }

    fn claims(expires_at: u64, custom: &str) -> Arc<Claims> {
        Arc::new(Claims {
            issuer: "handstamp:default/prd".to_owned(),
            audience: vec!["default/prd".to_owned()],
            subject: "ada".to_owned(),
            session: SessionId([7; 16]),
            issued_at: 0,
            not_before: 0,
            expires_at,
            id: "j".to_owned(),
            tags: vec!["role:admin".to_owned()],
            groups: Vec::new(),
            methods: Vec::new(),
            level: None,
            authenticated_at: Millis(0),
            actor: None,
            epoch: 0,
            data: None,
            status: None,
            custom: read_object(custom.as_bytes()).unwrap(),
        })
    }

    #[test]
    fn bytes_are_bounded_and_who_is_looked_at_stays() {
        let (_keys, key) = keys();
        let most = 256 << 10;
        let signatures = Signatures::new(most);
        let favourite = hash("favourite");
        signatures.keep(favourite, &claims(9, "{}"), &key);
        for n in 0..20_000 {
            signatures.keep(hash(&n.to_string()), &claims(9, "{}"), &key);
            assert!(signatures.get(&favourite).is_some(), "{n}");
        }
        let (tokens, bytes) = signatures.usage();
        assert!(bytes <= most && tokens > 100, "{tokens} take {bytes}");
        assert!(signatures.get(&hash("0")).is_none() && signatures.get(&hash("19999")).is_some());
        // The same again takes nothing more.
        let before = signatures.usage();
        signatures.keep(favourite, &claims(9, "{}"), &key);
        assert_eq!(signatures.usage(), before);
        // A token that says much is heavy by what it becomes in memory, not by its text; one that is too heavy is not kept.
        let long = format!("{{\"a\":[{}]}}", vec!["1"; 500].join(","));
        assert!(weight(&claims(9, &long)) > weight(&claims(9, "{}")) + 500 * 20);
        signatures.keep(hash("long"), &claims(9, &long), &key);
        assert!(signatures.get(&hash("long")).is_none() && signatures.usage().1 <= most);
    }

    #[test]
    fn what_is_over_or_trusted_no_more_goes() {
        let (keys, key) = keys();
        let signatures = Signatures::new(1 << 20);
        signatures.keep(hash("short"), &claims(10, "{}"), &key);
        signatures.keep(hash("long"), &claims(20, "{}"), &key);
        signatures.tidy(Millis(10_000));
        assert!(signatures.get(&hash("short")).is_none() && signatures.get(&hash("long")).is_some());
        assert_eq!(signatures.usage().0, 1);
        keys.replace(b"{\"keys\":[]}", Tick(2)).unwrap();
        assert!(signatures.get(&hash("long")).is_none(), "at once");
        signatures.tidy(Millis(0));
        assert_eq!(signatures.usage(), (0, 0));
    }
}
