//! base64url without padding (RFC 4648, section 5; RFC 7515, appendix C), in one form only: no padding, no line breaks,
//! no other alphabet, and no bits left over that are not zero. So a value has one text, and a proof cannot be written in
//! two ways.

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// The text of `bytes`.
pub fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for some in bytes.chunks(3) {
        let value =
            some.iter().fold(0_u32, |value, byte| value << 8 | u32::from(*byte)) << (8 * (3 - some.len()));
        for place in 0..=some.len() {
            let digit = usize::try_from(value >> (18 - 6 * place) & 63).unwrap_or(0);
            text.push(ALPHABET.get(digit).map_or('A', |letter| char::from(*letter)));
        }
    }
    text
}

/// The bytes of `text`; `None` of anything that [`encode`] does not make.
pub fn decode(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3 + 2);
    for some in text.as_bytes().chunks(4) {
        let mut value = 0_u32;
        for letter in some {
            value = value << 6 | digit(*letter)?;
        }
        value <<= 6 * (4 - some.len());
        let [_, a, b, c] = value.to_be_bytes();
        let (whole, rest): (&[u8], &[u8]) = match some.len() {
            4 => (&[a, b, c], &[]),
            3 => (&[a, b], &[c]),
            2 => (&[a], &[b, c]),
            _ => return None,
        };
        if rest.iter().any(|byte| *byte != 0) {
            return None;
        }
        bytes.extend_from_slice(whole);
    }
    Some(bytes)
}

/// Exactly `N` bytes.
pub fn decode_to<const N: usize>(text: &str) -> Option<[u8; N]> {
    <[u8; N]>::try_from(decode(text)?).ok()
}

fn digit(letter: u8) -> Option<u32> {
    let (first, value) = match letter {
        b'A'..=b'Z' => (b'A', 0),
        b'a'..=b'z' => (b'a', 26),
        b'0'..=b'9' => (b'0', 52),
        b'-' => return Some(62),
        b'_' => return Some(63),
        _ => return None,
    };
    Some(u32::from(letter - first) + value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_texts() {
        for (bytes, text) in [
            (&b""[..], ""),
            (b"f", "Zg"),
            (b"fo", "Zm8"),
            (b"foo", "Zm9v"),
            (b"foob", "Zm9vYg"),
            (&[0xfb, 0xff, 0xbf], "-_-_"),
        ] {
            assert_eq!(encode(bytes), text);
            assert_eq!(decode(text).as_deref(), Some(bytes));
        }
    }

    #[test]
    fn a_value_has_one_text() {
        for text in
            ["Z", "Zg=", "Zg==", "Zh", "Zm9", "Zm8=", "+/+/", "Zm 9v", "Zm9v\n", "Zm9vY", "Zm9v.", "é"]
        {
            assert_eq!(decode(text), None, "{text}");
        }
        assert_eq!(decode_to::<1>("Zg"), Some([b'f']));
        assert!(decode_to::<2>("Zg").is_none() && decode_to::<0>("Zg").is_none());
    }

    proptest! {
        #[test]
        fn there_and_back(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            prop_assert_eq!(decode(&encode(&bytes)), Some(bytes));
        }
        #[test]
        fn back_and_there(text in "[A-Za-z0-9_-]{0,40}") {
            if let Some(bytes) = decode(&text) {
                prop_assert_eq!(encode(&bytes), text);
            }
        }
    }
}
