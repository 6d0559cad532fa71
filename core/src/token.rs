//! What a client holds: kinds of credential, and their text form.
//!
//! `prefix_` + base62 of the body + six base62 characters of CRC-32 over everything before them. The checksum is for
//! secret scanners and typing errors, not for security.
//!
//! * [`keyring`]: the keys that make and recognise them.
//! * [`opaque`]: session and refresh tokens and one-time codes, self-authenticating (design, section 3.1).
//! * [`access_key`]: access keys and publishable keys.

pub mod access_key;
pub mod keyring;
pub mod opaque;

use crate::base62;

/// Which credential a text claims to be. No kind is accepted where another is expected.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// `hst_`: presented by a client on every request.
    Session,
    /// `hsr_`: exchanged for the next pair.
    Refresh,
    /// `hsk_`: a server's secret key.
    AccessKey,
    /// `hsp_`: a browser's public key.
    PublishableKey,
    /// `hsc_`: exchanged once for the session that a login made.
    LoginCode,
}

impl Kind {
    const ALL: [Kind; 5] =
        [Kind::Session, Kind::Refresh, Kind::AccessKey, Kind::PublishableKey, Kind::LoginCode];

    /// The first four characters.
    pub const fn prefix(self) -> &'static str {
        match self {
            Kind::Session => "hst_",
            Kind::Refresh => "hsr_",
            Kind::AccessKey => "hsk_",
            Kind::PublishableKey => "hsp_",
            Kind::LoginCode => "hsc_",
        }
    }

    /// The byte that stands for the kind in every MAC.
    pub(crate) const fn byte(self) -> u8 {
        match self {
            Kind::Session => b't',
            Kind::Refresh => b'r',
            Kind::AccessKey => b'k',
            Kind::PublishableKey => b'p',
            Kind::LoginCode => b'c',
        }
    }

    /// What kind a text claims to be, by its first four characters.
    pub fn of(text: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| text.starts_with(kind.prefix()))
    }
}

/// Why a text is no credential that can be looked at further. Says nothing about any session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unreadable {
    /// Nothing was presented.
    Missing,
    /// Not of our making: wrong form, checksum or MAC.
    Malformed,
    /// A credential of another kind than this place takes.
    WrongKind,
}

/// Characters of the checksum.
const CHECK: usize = 6;

/// How long the text of a credential with `body` bytes is.
pub(crate) const fn text_len(body: usize) -> usize {
    4 + base62::encoded_len(body) + CHECK
}

pub(crate) fn write(kind: Kind, body: &[u8]) -> String {
    let mut text = String::with_capacity(text_len(body.len()));
    text.push_str(kind.prefix());
    base62::encode(body, &mut text);
    let check = crc32(text.as_bytes()).to_be_bytes(); // 4 bytes are 6 characters
    base62::encode(&check, &mut text);
    text
}

/// Reads the body of a credential of `kind` with exactly `N` bytes.
pub(crate) fn read<const N: usize>(kind: Kind, text: &str) -> Result<[u8; N], Unreadable> {
    if text.is_empty() {
        return Err(Unreadable::Missing);
    }
    if !text.starts_with(kind.prefix()) {
        return Err(if Kind::of(text).is_some() { Unreadable::WrongKind } else { Unreadable::Malformed });
    }
    let bytes = text.as_bytes();
    if bytes.len() != text_len(N) {
        return Err(Unreadable::Malformed);
    }
    let (front, check) = bytes.split_at_checked(bytes.len() - CHECK).ok_or(Unreadable::Malformed)?;
    let mut body = [0; N];
    front.get(4..).and_then(|chars| base62::decode(chars, &mut body)).ok_or(Unreadable::Malformed)?;
    let mut said = [0; 4]; // of six characters; exactly one text stands for each value
    base62::decode(check, &mut said).ok_or(Unreadable::Malformed)?;
    if crc32(front) != u32::from_be_bytes(said) {
        return Err(Unreadable::Malformed);
    }
    Ok(body)
}

/// CRC-32 as in ISO 3309 (reflected, polynomial 0xEDB88320), the one that scanners expect.
fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    let mut words = bytes.chunks_exact(4);
    for word in &mut words {
        let [a, b, c, d] = <[u8; 4]>::try_from(word).unwrap_or_default();
        let x = crc ^ u32::from_le_bytes([a, b, c, d]);
        let [x0, x1, x2, x3] = x.to_le_bytes();
        crc = entry(3, x0) ^ entry(2, x1) ^ entry(1, x2) ^ entry(0, x3);
    }
    for byte in words.remainder() {
        let [low, ..] = crc.to_le_bytes();
        crc = entry(0, low ^ byte) ^ (crc >> 8);
    }
    !crc
}

fn entry(table: usize, byte: u8) -> u32 {
    CRC.get(table).and_then(|t| t.get(usize::from(byte))).copied().unwrap_or(0)
}

static CRC: [[u32; 256]; 4] = crc_tables();

#[cfg_attr(
    not(test),
    expect(
        clippy::indexing_slicing,
        reason = "evaluated by the compiler, which refuses an index out of bounds"
    )
)]
const fn crc_tables() -> [[u32; 256]; 4] {
    let mut tables = [[0u32; 256]; 4];
    let mut i = 0;
    while i < 256 {
        #[expect(clippy::cast_possible_truncation, reason = "i < 256; `try_from` is not const")]
        let mut value = i as u32;
        let mut bit = 0;
        while bit < 8 {
            value = if value & 1 == 1 { 0xEDB8_8320 ^ (value >> 1) } else { value >> 1 };
            bit += 1;
        }
        tables[0][i] = value;
        i += 1;
    }
    let mut t = 1;
    while t < 4 {
        let mut i = 0;
        while i < 256 {
            let before = tables[t - 1][i];
            tables[t][i] = tables[0][(before & 0xFF) as usize] ^ (before >> 8);
            i += 1;
        }
        t += 1;
    }
    tables
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn crc_is_the_known_one() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
        assert_eq!(crc32(b""), 0);
        assert_eq!(crc32(b"The quick brown fox jumps over the lazy dog"), 0x414F_A339);
    }

    #[test]
    fn kinds_are_told_apart() {
        let text = write(Kind::Refresh, &[7; 20]);
        assert_eq!(Kind::of(&text), Some(Kind::Refresh));
        assert_eq!(read::<20>(Kind::Refresh, &text), Ok([7; 20]));
        assert_eq!(read::<20>(Kind::Session, &text), Err(Unreadable::WrongKind));
        assert_eq!(read::<21>(Kind::Refresh, &text), Err(Unreadable::Malformed));
        assert_eq!(read::<20>(Kind::Refresh, ""), Err(Unreadable::Missing));
        assert_eq!(read::<20>(Kind::Refresh, "ey"), Err(Unreadable::Malformed));
    }

    proptest! {
        #[test]
        fn one_changed_character_is_caught(body: [u8; 24], at in 4usize..43, to in "[0-9A-Za-z]") {
            let text = write(Kind::Session, &body);
            let mut changed = text.clone();
            changed.replace_range(at..=at, &to);
            if changed == text { return Ok(()); }
            prop_assert_eq!(read::<24>(Kind::Session, &changed), Err(Unreadable::Malformed));
        }
        #[test]
        fn no_text_panics(text in "\\PC{0,140}") {
            for kind in Kind::ALL { let _ = read::<69>(kind, &text); }
        }
    }
}
