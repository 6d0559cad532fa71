//! Base62 in blocks of 8 bytes: 11 characters each, and a shorter last block. No big integers.
//!
//! The alphabet is `0-9A-Za-z` in ASCII order, so that equal-length texts sort as their bytes do.

const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Characters that `n` bytes of a block take: the least k with 62^k >= 256^n.
const fn width(n: usize) -> usize {
    match n {
        0 => 0,
        1 => 2,
        2 => 3,
        3 => 5,
        4 => 6,
        5 => 7,
        6 => 9,
        7 => 10,
        _ => 11,
    }
}

/// How many characters `bytes` bytes become.
pub const fn encoded_len(bytes: usize) -> usize {
    bytes / 8 * 11 + width(bytes % 8)
}

/// Appends the text of `bytes` to `out`.
pub fn encode(bytes: &[u8], out: &mut String) {
    each_block(bytes, |text| out.extend(text.iter().map(|b| char::from(*b))));
}

/// Appends the text of `bytes`, which is ASCII, to a buffer of bytes.
pub fn encode_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    each_block(bytes, |text| out.extend_from_slice(text));
}

fn each_block(bytes: &[u8], mut write: impl FnMut(&[u8])) {
    for block in bytes.chunks(8) {
        let mut value = block.iter().fold(0u64, |v, b| v << 8 | u64::from(*b));
        let mut text = [b'0'; 11];
        let width = width(block.len());
        for slot in text.iter_mut().take(width).rev() {
            let digit = usize::try_from(value % 62).unwrap_or(0);
            *slot = ALPHABET.get(digit).copied().unwrap_or(b'0');
            value /= 62;
        }
        write(text.get(..width).unwrap_or_default());
    }
}

/// Stands for "no digit": no digit has its highest bit.
const NONE: u8 = 0x80;

/// The digit of every byte. A table and not three comparisons, which no processor predicts on random text.
static DIGITS: [u8; 256] = digits();

fn digit(c: u8) -> u8 {
    DIGITS.get(usize::from(c)).copied().unwrap_or(NONE)
}

#[cfg_attr(
    not(test),
    expect(
        clippy::indexing_slicing,
        reason = "evaluated by the compiler, which refuses an index out of bounds"
    )
)]
const fn digits() -> [u8; 256] {
    let mut table = [NONE; 256];
    let mut value: u8 = 0;
    while value < 62 {
        table[ALPHABET[value as usize] as usize] = value;
        value += 1;
    }
    table
}

/// Fills `out` from `text`. `None` when the length or a character is wrong, or a block says more than its bytes can
/// hold, so that exactly one text stands for each value.
pub fn decode(text: &[u8], out: &mut [u8]) -> Option<()> {
    if text.len() != encoded_len(out.len()) {
        return None;
    }
    for (chars, bytes) in text.chunks(11).zip(out.chunks_mut(8)) {
        let (last, before) = chars.split_last()?;
        let mut value: u64 = 0;
        let mut seen = 0;
        for c in before {
            let digit = digit(*c);
            seen |= digit;
            value = value.wrapping_mul(62).wrapping_add(u64::from(digit)); // ten digits fit into 64 bits
        }
        let digit = digit(*last);
        if (seen | digit) & NONE == NONE {
            return None;
        }
        value = value.checked_mul(62)?.checked_add(u64::from(digit))?;
        let all = value.to_be_bytes();
        let (lead, tail) = all.split_at_checked(8 - bytes.len())?;
        if lead.iter().any(|b| *b != 0) {
            return None;
        }
        bytes.copy_from_slice(tail);
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn widths_are_the_least_that_fit() {
        for bytes in 1..=8u32 {
            let width = u32::try_from(width(bytes as usize)).unwrap();
            assert!(
                62u128.pow(width) >= 256u128.pow(bytes) && 62u128.pow(width - 1) < 256u128.pow(bytes),
                "{bytes}"
            );
        }
    }

    #[test]
    fn overflowing_blocks_are_refused() {
        let mut one = [0u8; 1];
        assert_eq!(decode(b"47", &mut one), Some(())); // 4 * 62 + 7 = 255
        assert_eq!(one, [255]);
        assert_eq!(decode(b"48", &mut one), None);
        assert_eq!(decode(b"zzzzzzzzzzz", &mut [0u8; 8]), None);
        assert_eq!(decode(b"4", &mut one), None);
        assert_eq!(decode(b"-1", &mut one), None);
        assert_eq!(decode(b"1-", &mut one), None);
        for byte in 0..=255u8 {
            let known = ALPHABET.iter().position(|c| *c == byte).map(|n| vec![u8::try_from(n).unwrap()]);
            let mut out = vec![0];
            assert_eq!(decode(&[b'0', byte], &mut out).map(|()| out), known, "{byte}");
        }
        assert_eq!(decode(b"LygHa16AHYF", &mut [0u8; 8]), Some(())); // 2^64 - 1
        assert_eq!(decode(b"LygHa16AHYG", &mut [0u8; 8]), None);
    }

    proptest! {
        #[test]
        fn round_trip_and_order(a in proptest::collection::vec(any::<u8>(), 0..80)) {
            let mut text = String::new();
            encode(&a, &mut text);
            prop_assert_eq!(text.len(), encoded_len(a.len()));
            let mut back = vec![0; a.len()];
            prop_assert_eq!(decode(text.as_bytes(), &mut back), Some(()));
            prop_assert_eq!(back, a);
        }
        #[test]
        fn texts_sort_as_their_bytes(a in any::<[u8; 16]>(), b in any::<[u8; 16]>()) {
            let text = |bytes: &[u8]| { let mut s = String::new(); encode(bytes, &mut s); s };
            prop_assert_eq!(a.cmp(&b), text(&a).cmp(&text(&b)));
        }
        #[test]
        fn one_text_for_each_value(text in "[0-9A-Za-z]{18}") {
            let mut bytes = [0u8; 13];
            if decode(text.as_bytes(), &mut bytes).is_some() {
                let mut again = String::new();
                encode(&bytes, &mut again);
                prop_assert_eq!(again, text);
            }
        }
    }
}
