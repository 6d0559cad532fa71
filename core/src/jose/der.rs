//! The two numbers of an RSA public key, out of the DER in which the library of primitives writes it (ITU-T X.690).

/// Modulus and exponent of an `RSAPublicKey` (RFC 8017, appendix A.1.1), as the library writes it.
pub(super) fn rsa_numbers(der: &[u8]) -> Option<(&[u8], &[u8])> {
    const INTEGER: u8 = 2;
    const SEQUENCE: u8 = 0x30;
    let (inside, after) = der_value(der, SEQUENCE)?;
    let (n, rest) = der_value(inside, INTEGER)?;
    let (e, end) = der_value(rest, INTEGER)?;
    // A zero in front says that the number is not negative.
    let bare = |number: &'_ [u8]| number.iter().take_while(|byte| **byte == 0).count();
    (after.is_empty() && end.is_empty()).then_some((n.get(bare(n)..)?, e.get(bare(e)..)?))
}

/// What a DER value of this kind has in it, and what comes after it.
fn der_value(der: &[u8], kind: u8) -> Option<(&[u8], &[u8])> {
    let (head, rest) = der.split_first_chunk::<2>()?;
    let [found, length] = *head;
    if found != kind {
        return None;
    }
    let (length, rest) = if length < 0x80 {
        (usize::from(length), rest)
    } else {
        let (bytes, rest) = rest.split_at_checked(usize::from(length & 0x7f))?;
        let length =
            bytes.iter().try_fold(0_usize, |sum, byte| sum.checked_mul(256)?.checked_add(usize::from(*byte)));
        (length?, rest)
    };
    rest.split_at_checked(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_der() {
        assert_eq!(rsa_numbers(&[0x30, 7, 2, 2, 0, 0x80, 2, 1, 3]), Some((&[0x80][..], &[3][..])));
        for wrong in
            [&[][..], &[0x30], &[0x30, 9, 2, 1, 1, 2, 1, 3], &[0x31, 6, 2, 1, 1, 2, 1, 3], &[0x30, 0x89, 1]]
        {
            assert_eq!(rsa_numbers(wrong), None);
        }
    }
}
