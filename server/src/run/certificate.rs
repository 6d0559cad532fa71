//! When a certificate ends: the one thing the doctor reads of it.
//!
//! A certificate (RFC 5280, 4.1) is DER: a sequence whose first part has, after an optional version, the serial number,
//! the algorithm, the issuer, and then the two times of its validity.

use handstamp_core::time::Millis;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use std::path::Path;

/// The end of the first certificate in a PEM file.
///
/// # Errors
/// A sentence.
pub fn end_of(file: &Path) -> Result<Millis, String> {
    let first = CertificateDer::from_pem_file(file).map_err(|why| format!("{}: {why}", file.display()))?;
    not_after(&first).ok_or_else(|| format!("{} holds no certificate that can be read", file.display()))
}

const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xA0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

fn not_after(der: &[u8]) -> Option<Millis> {
    let (SEQUENCE, certificate, _) = element(der)? else { return None };
    let (SEQUENCE, mut rest, _) = element(certificate)? else { return None };
    if let (VERSION, _, after) = element(rest)? {
        rest = after;
    }
    for _serial_algorithm_issuer in 0..3 {
        rest = element(rest)?.2;
    }
    let (SEQUENCE, validity, _) = element(rest)? else { return None };
    let (_, _, after) = element(validity)?;
    let (tag, time, _) = element(after)?;
    let text = std::str::from_utf8(time).ok()?;
    match tag {
        // Two digits of the year: 50 to 99 are of the last century (4.1.2.5.1).
        UTC_TIME => {
            let century = if text.get(..2)? < "50" { "20" } else { "19" };
            instant(&format!("{century}{text}"))
        }
        GENERALIZED_TIME => instant(text),
        _ => None,
    }
}

/// `YYYYMMDDhhmmssZ`
fn instant(text: &str) -> Option<Millis> {
    if text.len() != 15 || !text.ends_with('Z') {
        return None;
    }
    let part = |from: usize, to: usize| text.get(from..to);
    let written = format!(
        "{}-{}-{}T{}:{}:{}Z",
        part(0, 4)?,
        part(4, 6)?,
        part(6, 8)?,
        part(8, 10)?,
        part(10, 12)?,
        part(12, 14)?
    );
    Millis::parse(&written).ok()
}

/// Tag, content, and what comes after it.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, rest) = der.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = if *first < 0x80 {
        (usize::from(*first), rest)
    } else {
        let (bytes, rest) = rest.split_at_checked(usize::from(*first & 0x7F))?;
        if bytes.len() > 4 {
            return None;
        }
        (bytes.iter().fold(0usize, |sum, byte| sum << 8 | usize::from(*byte)), rest)
    };
    let (content, after) = rest.split_at_checked(length)?;
    Some((*tag, content, after))
}
