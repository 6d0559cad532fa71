//! What clients and stores hold, byte for byte. These values were computed by another program from the text of the
//! design; a change that breaks one of them logs everybody out.

use crate::support::{ENV, ring, user};
use handstamp_core::id::SessionId;
use handstamp_core::secret::Secret;
use handstamp_core::token::Kind;
use handstamp_core::token::access_key::Parts;
use handstamp_core::token::opaque::{Holder, idempotent_nonce, mint, nonce_behind, open, verifier};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Generation 5 of session 0303...03 of `ada` in environment 7, nonce 0808...08, by key set 1 of master key 0101...01.
#[test]
fn tokens_their_verifiers_and_their_successors() {
    for (kind, text, stored, next, repeated) in [
        (
            Kind::Session,
            "hst_05NuFE27ArT0G1xHvdSZDX0Fy4Z3UjH3o0gkY6ThEBFQ0gkY6ThEBFQ0gkY6ThEBFQ0gkY6ThyQoiDZbinQarP6U2o3FLTT0yP965",
            "860bf5ab0950b28d76dcf8f490ed536cc9bfcabf26be8f9893dcf9c033333e7d",
            "b033ef29379fa899b688e5799df7a50b3c180e0a38fd611b3dfd72273f06a7a9",
            "3a751d07a8e9124629131f286a1e6a97719e9521e9ed200dce07a34f28f754eb",
        ),
        (
            Kind::Refresh,
            "hsr_05NuFE27ArT0G1xHvdSZDX0Fy4Z3UjH3o0gkY6ThEBFQ0gkY6ThEBFQ0gkY6ThEBFQ0gkY6Ths5ZwKjv4KaRx0dSAgWuay94TZ35E",
            "2b4e9e30690160b41412d8f92dbcb98b259c7d78e9b2a22047cc1e54b3ec8f05",
            "5e0fc078ef5f46609f85077144ca78cd81a1c37afe8b374bf57ce905044b9156",
            "9518267215ec23a129e2a1ab3d71948e44afc405985fb69b515e6453a62681b1",
        ),
    ] {
        let (keys, user) = (ring(1, &[]), user("ada"));
        let set = keys.current();
        let holder = Holder { env: ENV, session: SessionId([3; 16]), user: user.as_str() };
        let nonce = Secret::new([8; 32]);
        assert_eq!(mint(kind, holder, 5, &nonce, set).reveal(), text);
        assert_eq!(hex(verifier(kind, holder, 5, &nonce, set).bytes()), stored);
        let opened = open(kind, ENV, text, &keys).ok().unwrap();
        assert_eq!(hex(opened.verifier(holder, &keys).unwrap().bytes()), stored);
        assert_eq!(hex(opened.successor(kind, ENV, &keys).unwrap().expose()), next);
        assert_eq!(hex(idempotent_nonce(kind, holder, &[4; 32], set).expose()), repeated);
    }
}

/// The same of generation 0, as a one-time code, and the first nonce of the session behind it.
#[test]
fn one_time_codes() {
    let (keys, user) = (ring(1, &[]), user("ada"));
    let set = keys.current();
    let holder = Holder { env: ENV, session: SessionId([3; 16]), user: user.as_str() };
    let nonce = Secret::new([8; 32]);
    let text = "hsc_05NuFE27ArT0G1xHvdSZDX0Fy4Z3P3ISW0gkY6ThEBFQ0gkY6ThEBFQ0gkY6ThEBFQ0gkY6ThYjKiByY2ZFJ69aX1Rxy6mS4CX5bW";
    assert_eq!(mint(Kind::LoginCode, holder, 0, &nonce, set).reveal(), text);
    let stored = "0f9df3b895b53dc080e0a93fdfb8ae5a201e4507cc0ffcd6d037c22450d50129";
    assert_eq!(hex(verifier(Kind::LoginCode, holder, 0, &nonce, set).bytes()), stored);
    let behind = "4086a37890293984c8b3e54f9704ca0247fdaf9d21b25cb76b684e1a2ce451f1";
    assert_eq!(hex(nonce_behind(Kind::Session, &nonce, holder, set).expose()), behind);
    let refresh = "efbf11772cbc3fafb55841b358bceae9fc42cbd813fe2afc6f96444ae961cab7";
    assert_eq!(hex(nonce_behind(Kind::Refresh, &nonce, holder, set).expose()), refresh);
}

#[test]
fn access_keys_and_buckets() {
    let text = "hsk_05LJlJD9WPB05LJlJD9WPB0AgdWcQJ2oM0AgdWcQJ2oM0AgdWcQJ2oM0AgdWcQJ2oM2XcgQ5";
    let (keys, parts) = (ring(1, &[]), Parts::read(Kind::AccessKey, text).ok().unwrap());
    assert_eq!(parts.text().reveal(), text);
    let stored = "d49c6b74c80e23e7e80d5fb98dfd407a7254ffca8f95b3285f71de59dc6589ab";
    assert_eq!(hex(parts.verifier(keys.current()).bytes()), stored);
    assert_eq!(keys.bucket(ENV, &user("ada")).get(), 3_879);
}
