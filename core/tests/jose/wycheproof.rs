//! The vectors of project Wycheproof for each algorithm that is used, all of them: signatures at the level of
//! [`VerifyingKey::verifies`], which is where every token's signature is decided. AES-256-GCM is the library's own, looked at
//! directly, and our sealing is compared with it: it has associated data of its own, so that no other vector fits it.
//!
//! Wycheproof's vectors of whole JSON Web Signatures, Encryptions and Keys are not in the crate; what they look for is in
//! `confusion` and `headers`.

use crate::support::{b64, ec_jwk, okp_jwk, rsa_jwk};
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use handstamp_core::jose::base64url;
use handstamp_core::jose::jwe::{Sealed, SealingKey};
use handstamp_core::jose::key::{Kid, VerifyingKey};
use handstamp_core::secret::Secret;
use wycheproof::TestResult;

/// How many were run, and what they were expected to be.
#[derive(Default, PartialEq, Eq, Debug)]
struct Run {
    valid: usize,
    invalid: usize,
    acceptable: usize,
}

impl Run {
    /// `acceptable` is refused here: in the sets that we use it is a padding of RSA that lacks a NULL, which no signer of tokens
    /// makes, and a signature has one form only.
    fn take(&mut self, expected: TestResult, passes: bool, what: &dyn std::fmt::Debug) {
        let (count, should) = match expected {
            TestResult::Valid => (&mut self.valid, true),
            TestResult::Invalid => (&mut self.invalid, false),
            TestResult::Acceptable => (&mut self.acceptable, false),
        };
        *count += 1;
        assert_eq!(passes, should, "{what:?}");
    }

    fn all(&self) -> usize {
        self.valid + self.invalid + self.acceptable
    }
}

#[test]
fn ed25519() {
    let set = wycheproof::eddsa::TestSet::load(wycheproof::eddsa::TestName::Ed25519).unwrap();
    let mut run = Run::default();
    for group in &set.test_groups {
        let key = VerifyingKey::parse_jwk(okp_jwk(&group.key.pk).as_bytes()).unwrap();
        for test in &group.tests {
            run.take(test.result, key.verifies(&test.msg, &test.sig), test);
        }
    }
    assert_eq!(run.all(), set.number_of_tests);
    assert_eq!(run, Run { valid: 88, invalid: 63, acceptable: 0 });
}

#[test]
fn ecdsa_on_p256_as_two_numbers() {
    use wycheproof::ecdsa::{TestName, TestSet};
    let set = TestSet::load(TestName::EcdsaSecp256r1Sha256P1363).unwrap();
    let mut run = Run::default();
    for group in &set.test_groups {
        let key = VerifyingKey::parse_jwk(ec_jwk(&group.key.key).as_bytes()).unwrap();
        for test in &group.tests {
            run.take(test.result, key.verifies(&test.msg, &test.sig), test);
        }
    }
    assert_eq!(run.all(), set.number_of_tests);
    assert_eq!(run, Run { valid: 173, invalid: 89, acceptable: 0 });
}

#[test]
fn ecdsa_as_der_never_verifies() {
    use wycheproof::ecdsa::{TestName, TestSet};
    let set = TestSet::load(TestName::EcdsaSecp256r1Sha256).unwrap();
    let mut good = 0;
    for group in &set.test_groups {
        let key = VerifyingKey::parse_jwk(ec_jwk(&group.key.key).as_bytes()).unwrap();
        for test in &group.tests {
            assert!(!key.verifies(&test.msg, &test.sig), "{test:?}");
            good += usize::from(test.result == TestResult::Valid);
        }
    }
    assert!(good > 100, "{good} would be good as DER");
}

#[test]
fn rsa_with_pkcs1_padding() {
    use wycheproof::rsa_pkcs1_verify::{TestName, TestSet};
    let sets = [
        (TestName::Rsa2048Sha256, Run { valid: 9, invalid: 249, acceptable: 1 }),
        (TestName::Rsa3072Sha256, Run { valid: 8, invalid: 250, acceptable: 1 }),
        (TestName::Rsa4096Sha256, Run { valid: 7, invalid: 250, acceptable: 1 }),
        (TestName::Rsa8192Sha256, Run { valid: 7, invalid: 250, acceptable: 1 }),
    ];
    for (name, expected) in sets {
        let set = TestSet::load(name).unwrap();
        let mut run = Run::default();
        for group in &set.test_groups {
            let key = rsa_jwk(&group.key.n, &group.key.e);
            let key = VerifyingKey::parse_jwk(key.as_bytes()).unwrap();
            for test in &group.tests {
                run.take(test.result, key.verifies(&test.msg, &test.sig), test);
            }
        }
        assert_eq!(run.all(), set.number_of_tests, "{name:?}");
        assert_eq!(run, expected, "{name:?}");
    }
}

#[test]
fn rsa_with_another_hash_never_verifies() {
    use wycheproof::rsa_pkcs1_verify::{TestName, TestSet};
    for name in [TestName::Rsa2048Sha384, TestName::Rsa2048Sha512, TestName::Rsa2048Sha3_256] {
        let set = TestSet::load(name).unwrap();
        let mut good = 0;
        for group in &set.test_groups {
            let key = VerifyingKey::parse_jwk(rsa_jwk(&group.key.n, &group.key.e).as_bytes()).unwrap();
            for test in group.tests.iter().filter(|test| test.result == TestResult::Valid) {
                assert!(!key.verifies(&test.msg, &test.sig), "{name:?} {test:?}");
                good += 1;
            }
        }
        assert!(good > 0, "{name:?}");
    }
}

#[test]
fn aes_256_gcm() {
    use wycheproof::aead::{TestName, TestSet};
    let set = TestSet::load(TestName::AesGcm).unwrap();
    let ours = |nonce, key, tag| (nonce, key, tag) == (96, 256, 128);
    let (mut run, mut other) = (Run::default(), 0);
    for group in &set.test_groups {
        if !ours(group.nonce_size, group.key_size, group.tag_size) {
            other += group.tests.len();
            continue;
        }
        for test in &group.tests {
            let key: [u8; 32] = test.key.as_slice().try_into().unwrap();
            let nonce: [u8; 12] = test.nonce.as_slice().try_into().unwrap();
            let library = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &key).unwrap());
            let with = || Nonce::assume_unique_for_key(nonce);
            let mut text = [test.ct.as_slice(), &test.tag].concat();
            let opened = library.open_in_place(with(), Aad::from(test.aad.as_slice()), &mut text);
            run.take(test.result, opened.is_ok_and(|plain| *plain == *test.pt.as_slice()), test);
            // What we seal is the same under the header's text, and we open what the library sealed so.
            let sealing = SealingKey::new(Kid::parse("k").unwrap(), Secret::new(key)).unwrap();
            let sealed = sealing.seal("session+jwe", &test.pt, nonce).unwrap();
            let (header, rest) = sealed.split_once("..").unwrap();
            let mut text = test.pt.to_vec();
            let aad = Aad::from(header.as_bytes());
            library.seal_in_place_append_tag(with(), aad, &mut text).unwrap();
            let (body, tag) = text.split_at(test.pt.len());
            assert_eq!(rest, format!("{}.{}.{}", b64(&nonce), b64(body), b64(tag)));
            assert_eq!(
                Sealed::read(&sealed, "session+jwe").unwrap().open(&sealing).as_deref(),
                Ok(test.pt.as_slice())
            );
            // The vector's own text has no header of ours, whatever its tag is.
            let foreign = format!("{header}..{}.{}.{}", b64(&nonce), b64(&test.ct), b64(&test.tag));
            let read = Sealed::read(&foreign, "session+jwe").unwrap();
            assert!(read.open(&sealing).is_err(), "{test:?}");
        }
    }
    assert_eq!(run, Run { valid: 39, invalid: 27, acceptable: 0 });
    assert_eq!(run.all() + other, set.number_of_tests);
}

#[test]
fn the_other_lengths_of_aes_gcm_are_not_even_read() {
    use wycheproof::aead::{TestName, TestSet};
    let set = TestSet::load(TestName::AesGcm).unwrap();
    let header = base64url::encode(br#"{"alg":"dir","enc":"A256GCM","kid":"k","typ":"session+jwe"}"#);
    let mut seen = 0;
    for group in set.test_groups.iter().filter(|group| group.nonce_size != 96 || group.tag_size != 128) {
        for test in &group.tests {
            let text = format!("{header}..{}.{}.{}", b64(&test.nonce), b64(&test.ct), b64(&test.tag));
            assert!(Sealed::read(&text, "session+jwe").is_err(), "{test:?}");
            seen += 1;
        }
    }
    assert!(seen > 50, "{seen}");
}
