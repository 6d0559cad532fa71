//! What lies in two stores is compared by digests: SHA-256 of one layout of bytes that each store can make, also inside
//! of its database. All numbers are big-endian.
//!
//! * A record: version (8 bytes), bucket (4), `seen` (1 and 8 bytes, or a 0), `forget_at` (likewise), length of the facets
//!   (4), facets, body. A facet is its name (1), the length of its value (2) and its value.
//! * A line of history: length of the subject (4), subject, `at` (8), body. A subject is kind (1), environment (8) and id.

use super::super::rows::{KeyBytes, encode_facets};
use super::super::{Millis, StoredEvent, Versioned};
use aws_lc_rs::digest::{Context, SHA256};

/// SHA-256.
pub type Digest = [u8; 32];

/// The digest of a record. Its key is not in it: digests are compared key by key.
pub fn of_record(found: &Versioned) -> Digest {
    let record = &found.record;
    let mut facets = Vec::new();
    encode_facets(&record.facets, &mut facets);
    let mut hash = Context::new(&SHA256);
    hash.update(&found.version.to_be_bytes());
    hash.update(&u32::from(record.bucket).to_be_bytes());
    for instant in [record.seen, record.forget_at] {
        match instant {
            None => hash.update(&[0]),
            Some(Millis(at)) => {
                hash.update(&[1]);
                hash.update(&at.to_be_bytes());
            }
        }
    }
    part(&mut hash, &facets);
    hash.update(&record.body);
    finish(hash)
}

/// The digest of a line of history. Its position is not in it.
pub fn of_line(line: &StoredEvent) -> Digest {
    let mut hash = Context::new(&SHA256);
    part(&mut hash, &KeyBytes::new(&line.subject));
    hash.update(&line.at.0.to_be_bytes());
    hash.update(&line.body);
    finish(hash)
}

fn part(hash: &mut Context, bytes: &[u8]) {
    hash.update(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
    hash.update(bytes);
}

fn finish(hash: Context) -> Digest {
    let mut digest = [0; 32];
    for (slot, byte) in digest.iter_mut().zip(hash.finish().as_ref()) {
        *slot = *byte;
    }
    digest
}
