//! The only place that draws random bytes: the operating system's generator, through AWS-LC.

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use std::sync::Mutex;
use zeroize::Zeroizing;

/// A source of random bytes.
pub trait Entropy: Send + Sync + 'static {
    /// Fills `out`. Returns false when the source failed; then nothing may be made with it.
    #[must_use]
    fn fill(&self, out: &mut [u8]) -> bool;
}

/// The operating system's.
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&self, out: &mut [u8]) -> bool {
        #[expect(clippy::disallowed_methods, reason = "this is the one place")]
        aws_lc_rs::rand::fill(out).is_ok()
    }
}

/// A new RSA key of 3072 bits (NIST SP 800-57: 128 bits of strength) as PKCS #8, drawn by AWS-LC itself. Takes up to some
/// seconds; `None` when the source failed.
pub fn rsa_key() -> Option<Zeroizing<Vec<u8>>> {
    let pair = KeyPair::generate(KeySize::Rsa3072).ok()?;
    Some(Zeroizing::new(pair.as_der().ok()?.as_ref().to_vec()))
}

/// Repeats itself from a seed, for tests: HMAC-SHA-256 over a counter.
pub struct SeededEntropy(Mutex<(aws_lc_rs::hmac::Key, u64)>);

impl SeededEntropy {
    /// From a seed.
    pub fn new(seed: u64) -> SeededEntropy {
        SeededEntropy(Mutex::new((
            aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &seed.to_be_bytes()),
            0,
        )))
    }
}

impl Entropy for SeededEntropy {
    fn fill(&self, out: &mut [u8]) -> bool {
        let Ok(mut state) = self.0.lock() else { return false };
        for chunk in out.chunks_mut(32) {
            state.1 += 1;
            let block = aws_lc_rs::hmac::sign(&state.0, &state.1.to_be_bytes());
            chunk.iter_mut().zip(block.as_ref()).for_each(|(to, from)| *to = *from);
        }
        true
    }
}
