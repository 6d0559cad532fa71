//! Names of things, each a type of its own, so that one cannot stand where another is meant.

use crate::base62;
use crate::time::Millis;
use std::fmt;

/// Number of buckets: 14 bits, the slots of a Redis Cluster.
pub const BUCKETS: u16 = 1 << 14;

/// Where on a partitioned store all records of one user live together.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Bucket(u16);

impl Bucket {
    /// The low 14 bits of `n`.
    pub const fn new(n: u16) -> Bucket {
        Bucket(n % BUCKETS)
    }
    /// 0 to 16383.
    pub const fn get(self) -> u16 {
        self.0
    }
}

/// A session's name: never reused, no secret, sorts by time of creation (design, section 3.1).
///
/// 48 bits of milliseconds, 14 bits of bucket, 66 random bits; shown as `ses_` and 22 characters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub [u8; 16]);

impl SessionId {
    /// The text before the characters.
    pub const PREFIX: &'static str = "ses_";

    /// Puts an id together. Of `random`, 66 bits are used.
    pub fn new(now: Millis, bucket: Bucket, random: [u8; 9]) -> SessionId {
        let ms = u64::try_from(now.0.max(0)).unwrap_or(0).to_be_bytes();
        let [_, _, m0, m1, m2, m3, m4, m5] = ms;
        let [b0, b1] = (bucket.get() << 2).to_be_bytes();
        let [r0, r1, r2, r3, r4, r5, r6, r7, r8] = random;
        SessionId([m0, m1, m2, m3, m4, m5, b0, b1 | (r8 & 3), r0, r1, r2, r3, r4, r5, r6, r7])
    }

    /// When it was made.
    pub fn made_at(&self) -> Millis {
        let [m0, m1, m2, m3, m4, m5, ..] = self.0;
        Millis(i64::from_be_bytes([0, 0, m0, m1, m2, m3, m4, m5]))
    }

    /// The bucket of its user.
    pub fn bucket(&self) -> Bucket {
        let [_, _, _, _, _, _, b0, b1, ..] = self.0;
        Bucket(u16::from_be_bytes([b0, b1]) >> 2)
    }

    /// The least id that can be made at `at`; ids of earlier instants are below it.
    pub fn floor(at: Millis) -> SessionId {
        SessionId::new(at, Bucket(0), [0; 9])
    }

    /// Reads `ses_...`; anything else is `None`.
    pub fn parse(text: &str) -> Option<SessionId> {
        let mut bytes = [0; 16];
        base62::decode(text.strip_prefix(SessionId::PREFIX)?.as_bytes(), &mut bytes)?;
        Some(SessionId(bytes))
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_id(f, SessionId::PREFIX, &self.0)
    }
}
impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// An access key's name: no secret; shown as `key_` and 22 characters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(pub [u8; 16]);

impl KeyId {
    /// The text before the characters.
    pub const PREFIX: &'static str = "key_";

    /// Reads `key_...`; anything else is `None`.
    pub fn parse(text: &str) -> Option<KeyId> {
        let mut bytes = [0; 16];
        base62::decode(text.strip_prefix(KeyId::PREFIX)?.as_bytes(), &mut bytes)?;
        Some(KeyId(bytes))
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_id(f, KeyId::PREFIX, &self.0)
    }
}
impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn write_id(f: &mut fmt::Formatter<'_>, prefix: &str, bytes: &[u8]) -> fmt::Result {
    let mut text = String::with_capacity(prefix.len() + base62::encoded_len(bytes.len()));
    text.push_str(prefix);
    base62::encode(bytes, &mut text);
    f.write_str(&text)
}

/// An environment's internal name: random, so that an environment made again under an old name is another one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct EnvironmentId(pub u64);

/// Whatever string the application calls its user: 1 to 256 bytes without control characters.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct UserId(Box<str>);

impl UserId {
    /// The most bytes.
    pub const LONGEST: usize = 256;

    /// Checks and keeps `text`, byte for byte.
    ///
    /// # Errors
    /// A sentence that says what would be right.
    pub fn new(text: &str) -> Result<UserId, String> {
        if text.is_empty() || text.len() > UserId::LONGEST {
            return Err(format!("a user id has 1 to {} bytes", UserId::LONGEST));
        }
        if text.chars().any(char::is_control) {
            return Err("a user id has no control characters".to_owned());
        }
        Ok(UserId(text.into()))
    }
    /// The text before the characters of a pseudonym.
    const PSEUDONYM: &'static str = "erased_";

    /// What stands in the place of a user who was erased: `erased_` and 22 characters.
    pub fn pseudonym(digest: [u8; 16]) -> UserId {
        let mut text = UserId::PSEUDONYM.to_owned();
        base62::encode(&digest, &mut text);
        UserId(text.into())
    }
    /// Whether it has the form of a pseudonym: nothing more is to be collected about whom it names.
    pub fn is_pseudonym(&self) -> bool {
        let digest = self.0.strip_prefix(UserId::PSEUDONYM);
        digest.is_some_and(|text| base62::decode(text.as_bytes(), &mut [0; 16]).is_some())
    }
    /// The application's own text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn user_ids() {
        assert!(UserId::new("").is_err());
        assert!(UserId::new(&"u".repeat(256)).is_ok());
        assert!(UserId::new(&"u".repeat(257)).is_err());
        assert!(UserId::new("a\nb").is_err() && UserId::new("a\u{85}b").is_err());
        assert!(UserId::new(" Ünïcode|mail@example.org ").is_ok());
    }

    proptest! {
        #[test]
        fn an_id_tells_its_time_and_bucket(ms in 0i64..(1 << 48), bucket in 0u16..BUCKETS, random: [u8; 9]) {
            let id = SessionId::new(Millis(ms), Bucket::new(bucket), random);
            prop_assert_eq!(id.made_at(), Millis(ms));
            prop_assert_eq!(id.bucket().get(), bucket);
            prop_assert_eq!(SessionId::parse(&id.to_string()), Some(id));
            prop_assert_eq!(id.to_string().len(), 26);
            prop_assert!(SessionId::floor(Millis(ms)) <= id);
            prop_assert!(id < SessionId::floor(Millis(ms + 1)));
        }
        #[test]
        fn later_ids_sort_later_as_text_too(a in 0i64..(1 << 47), b in 0i64..(1 << 47), r: [u8; 9]) {
            let text = |ms| SessionId::new(Millis(ms), Bucket::new(7), r).to_string();
            prop_assert_eq!(a.cmp(&b), text(a).cmp(&text(b)));
        }
    }

    #[test]
    fn all_66_random_bits_count() {
        let base = SessionId::new(Millis(1), Bucket::new(5), [0; 9]);
        for bit in 0..66usize {
            let mut random = [0u8; 9];
            random[bit / 8] |= 1 << (bit % 8);
            assert_ne!(SessionId::new(Millis(1), Bucket::new(5), random), base, "{bit}");
        }
    }
}
