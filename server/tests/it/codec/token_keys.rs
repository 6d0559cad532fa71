//! Keys behind access tokens, as they were written by the first version that had them.

use handstamp_core::id::EnvironmentId;
use handstamp_core::signing::{Job, Life, TokenKey};
use handstamp_core::time::Millis;
use handstamp_server::codec::token_keys::{read_token_keys, token_keys_key, wrapping, write_token_keys};
use handstamp_server::store::{StoreError, Versioned};

#[test]
fn keys_read_as_they_were_written() {
    let body = b"\x01\x02\
        \x02ab\x01\xd0\x0f\xa0\x1f\x01\xf0\x2e\x01\xc0\x3e\x00\x00\
        \x04data\x04\xd0\x0f\xd0\x0f\x00\x00\x80\x80@\x03\x07\x08\x09";
    let env = EnvironmentId(7);
    let ended = Life {
        created_at: Millis(1_000),
        activate_at: Millis(2_000),
        retire_at: Some(Millis(3_000)),
        remove_at: Some(Millis(4_000)),
    };
    let keys = vec![
        TokenKey { kid: "ab".into(), job: Job::EdDsa, life: ended, sealings: 0, wrapped: Box::default() },
        TokenKey {
            kid: "data".into(),
            job: Job::Data,
            life: Life::new(Millis(1_000), Millis(1_000)),
            sealings: 1 << 20,
            wrapped: Box::new([7, 8, 9]),
        },
    ];
    let written = write_token_keys(env, &keys);
    assert_eq!(written.body.escape_ascii().to_string(), body.escape_ascii().to_string());
    assert_eq!(written.key, token_keys_key(env));
    let mut found = Versioned { record: written, version: 1 };
    assert!(read_token_keys(&found).is_ok_and(|read| read == keys));
    for cut in 0..body.len() {
        found.record.body.truncate(body.len() - cut - 1);
        assert!(matches!(read_token_keys(&found), Err(StoreError::Damaged(_))), "{cut}");
    }
    // A job that nobody knows is damage, and never another job.
    for job in [0, 5, 255] {
        found.record.body = body.to_vec();
        found.record.body[5] = job;
        assert!(matches!(read_token_keys(&found), Err(StoreError::Damaged(_))), "{job}");
    }
    for (job, byte) in [(Job::EdDsa, 1), (Job::Es256, 2), (Job::Rs256, 3), (Job::Data, 4)] {
        found.record.body = body.to_vec();
        found.record.body[5] = byte;
        assert!(read_token_keys(&found).is_ok_and(|read| read[0].job == job));
    }
}

#[test]
fn a_wrapping_names_environment_key_and_job() {
    let text = wrapping(EnvironmentId(7), "ab", Job::EdDsa);
    assert_eq!(text, "environment 0000000000000007, token key ab, sign EdDSA");
    for other in [
        wrapping(EnvironmentId(8), "ab", Job::EdDsa),
        wrapping(EnvironmentId(7), "ac", Job::EdDsa),
        wrapping(EnvironmentId(7), "ab", Job::Es256),
        wrapping(EnvironmentId(7), "ab", Job::Data),
    ] {
        assert_ne!(other, text);
    }
}
