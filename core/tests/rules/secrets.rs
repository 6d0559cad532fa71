//! What holds a secret can be neither printed nor compared with `==`: this file does not compile if it can.

use handstamp_core::rotation::{Chain, Issued, Verifiers};
use handstamp_core::sealing::DataKey;
use handstamp_core::secret::{PlainToken, Secret, Verifier};
use handstamp_core::session::Session;
use handstamp_core::token::access_key::Parts;
use handstamp_core::token::keyring::{KeySet, Keyring, MasterKey};
use handstamp_core::token::opaque::Opened;
use handstamp_core::transition::create::{Created, NewSession};
use handstamp_core::transition::present::Presented;
use handstamp_core::transition::{Change, Entropy};
use std::fmt::{Debug, Display};

/// For a type with the trait there are two `it` to choose from, and the compiler refuses to choose.
macro_rules! without {
    ($trait:path: $($type:ty),* $(,)?) => {{
        struct Has;
        trait Choice<A> {
            fn it() {}
        }
        impl<T: ?Sized> Choice<()> for T {}
        impl<T: ?Sized + $trait> Choice<Has> for T {}
        $(<$type as Choice<_>>::it();)*
    }};
}

#[test]
fn secrets_have_no_text_and_no_equality() {
    without!(Debug: PlainToken, Secret<32>, Verifier, Entropy, Opened, MasterKey, KeySet, Keyring, Parts, DataKey);
    without!(Display: PlainToken, Secret<32>, Verifier, Entropy, Opened, MasterKey, KeySet, Keyring, Parts, DataKey);
    without!(PartialEq: PlainToken, Secret<32>, Verifier, Entropy, Opened, MasterKey, KeySet, Keyring, Parts, DataKey);
}

#[test]
fn what_carries_a_secret_has_no_text_either() {
    without!(Debug: Issued, Verifiers, Chain, Session, Created, Presented, Change, NewSession);
    without!(Display: Issued, Verifiers, Chain, Session, Created, Presented, Change, NewSession);
}

#[test]
fn a_token_is_not_cloned_by_accident() {
    without!(Clone: PlainToken, Issued, Entropy, Opened, MasterKey, Parts);
}
