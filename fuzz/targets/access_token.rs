//! Reading access tokens and what is sealed inside of them: as raw text, as any header and claims truly signed, as genuine
//! ones with a byte changed; claims by themselves; sealed texts, raw and under any header.
#![no_main]

use handstamp_core::id::{Bucket, SessionId};
use handstamp_core::jose::claims::{Claims, DATA_TYPE, LONGEST_LIFE, RESERVED, TYPE};
use handstamp_core::jose::json::Members;
use handstamp_core::jose::jwe::{Sealed, SealingKey};
use handstamp_core::jose::jws::{Unverified, looks_like, sign};
use handstamp_core::jose::key::{Kid, SigningKey, VerifyingKey};
use handstamp_core::jose::{Flaw, LONGEST, base64url};
use handstamp_core::secret::Secret;
use handstamp_core::time::Millis;
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

static KEY: LazyLock<SigningKey> =
    LazyLock::new(|| SigningKey::ed25519(&Secret::new([7; 32])).unwrap_or_else(|_| unreachable!("a seed")));
static SEALING: LazyLock<SealingKey> = LazyLock::new(|| {
    SealingKey::new(Kid::parse("k1").expect("a name"), Secret::new([1; 32]))
        .unwrap_or_else(|_| unreachable!("a key"))
});
static GENUINE: LazyLock<String> = LazyLock::new(|| signed(claims().write().as_bytes()));
static SEALED: LazyLock<String> = LazyLock::new(|| sealed(b"{\"plan\":\"pro\"}"));

fn signed(payload: &[u8]) -> String {
    sign(&KEY, TYPE, payload).unwrap_or_else(|_| unreachable!("it signs"))
}

fn sealed(plain: &[u8]) -> String {
    SEALING.seal(DATA_TYPE, plain, [9; 12]).unwrap_or_else(|_| unreachable!("it seals"))
}

fn claims() -> Claims {
    Claims {
        issuer: "handstamp:default/prd".to_owned(),
        audience: vec!["default/prd".to_owned()],
        subject: "ada".to_owned(),
        session: SessionId::new(Millis(1_700_000_000_000), Bucket::new(7), [3; 9]),
        issued_at: 1_700_000_000,
        not_before: 1_700_000_000,
        expires_at: 1_700_000_300,
        id: "j1".to_owned(),
        tags: vec!["role:admin".to_owned()],
        groups: Vec::new(),
        methods: Vec::new(),
        level: Some(2),
        authenticated_at: Millis(1_699_999_999_123),
        actor: None,
        epoch: 4,
        data: None,
        status: None,
        custom: Members::default(),
    }
}

fn opened(text: &str) -> Result<Claims, Flaw> {
    Claims::read(&Unverified::read(text, TYPE)?.verify(KEY.public())?)
}

/// What was read makes sense, and is written and read back as itself.
fn sound(claims: &Claims) {
    assert!(!claims.audience.is_empty() && claims.issued_at <= claims.expires_at);
    assert!(claims.expires_at - claims.issued_at <= u64::try_from(LONGEST_LIFE.as_secs()).unwrap_or(0));
    assert!(!RESERVED.iter().any(|name| claims.custom.has(name)));
    assert_eq!(Claims::read(claims.write().as_bytes()).as_ref(), Ok(claims));
}

/// Two segments of any bytes, at the first line break.
fn halves(rest: &[u8]) -> (String, &[u8]) {
    let cut = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
    let (header, payload) = rest.split_at(cut);
    (base64url::encode(header), payload.get(1..).unwrap_or_default())
}

fuzz_target!(|data: &[u8]| {
    let Some((way, rest)) = data.split_first() else { return };
    match way % 6 {
        0 => {
            let Ok(text) = std::str::from_utf8(rest) else { return };
            if opened(text).is_ok() {
                // Ed25519 makes one signature of one text: what opens is what was signed here, letter by letter.
                let Some((front, signature)) = text.rsplit_once('.') else { unreachable!("of this form") };
                let Ok(own) = KEY.sign(front.as_bytes()) else { unreachable!("it signs") };
                assert_eq!(base64url::encode(&own), signature);
            }
            assert!(!looks_like(text) || text.matches('.').count() == 2);
            assert!(
                text == *SEALED || Sealed::read(text, DATA_TYPE).and_then(|it| it.open(&SEALING)).is_err()
            );
        }
        // Truly signed: still only a token of this purpose, with our header and claims that are whole.
        1 => {
            let (header, payload) = halves(rest);
            let front = format!("{header}.{}", base64url::encode(payload));
            let Ok(signature) = KEY.sign(front.as_bytes()) else { unreachable!("it signs") };
            let text = format!("{front}.{}", base64url::encode(&signature));
            if let Ok(claims) = opened(&text) {
                assert!(text.len() <= LONGEST && looks_like(&text) == header.starts_with("eyJ"));
                sound(&claims);
                let said = base64url::decode(&header).unwrap_or_default();
                let said = String::from_utf8_lossy(&said).to_ascii_lowercase();
                assert!(said.contains("at") && !said.contains("\"none\"") && !said.contains("\"crit\""));
            }
        }
        // A byte of a genuine one.
        2 => {
            let [at, other, ..] = rest else { return };
            for (genuine, which) in [(&*GENUINE, true), (&*SEALED, false)] {
                let mut changed = genuine.as_bytes().to_vec();
                let at = (usize::from(*at) << 2 | usize::from(*way >> 6)) % changed.len();
                changed[at] = *other;
                let Ok(text) = std::str::from_utf8(&changed) else { continue };
                let opens = if which {
                    opened(text).is_ok()
                } else {
                    Sealed::read(text, DATA_TYPE).and_then(|it| it.open(&SEALING)).is_ok()
                };
                assert_eq!(opens, text == genuine);
            }
        }
        3 => {
            if let Ok(claims) = Claims::read(rest) {
                sound(&claims);
                let again = opened(&signed(rest));
                assert!(again == Ok(claims) || rest.len() > 4_096);
            }
        }
        // Any header before what was sealed: the header is part of what is sealed.
        4 => {
            let (header, plain) = halves(rest);
            let text = sealed(plain);
            let Some((own, body)) = text.split_once("..") else { unreachable!("of this form") };
            let read = Sealed::read(&text, DATA_TYPE).and_then(|it| it.open(&SEALING));
            assert_eq!(read.as_deref(), Ok(plain));
            let other = format!("{header}..{body}");
            assert!(
                header == own || Sealed::read(&other, DATA_TYPE).and_then(|it| it.open(&SEALING)).is_err()
            );
        }
        _ => {
            if let Ok(key) = VerifyingKey::parse_jwk(rest) {
                let again = VerifyingKey::parse_jwk(key.to_jwk().as_bytes());
                assert!(again.is_ok_and(|again| again.to_jwk() == key.to_jwk()));
                assert!(!key.verifies(b"message", &[0; 64]) && !key.verifies(b"message", &[0; 256]));
            }
        }
    }
});
