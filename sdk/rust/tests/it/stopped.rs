//! The verifier's own process stands still for a while: what it knew is as old as it is, although no time seems to have passed.

use crate::little::Little;
use crate::support::{SOON, now, session, token, verifier};
use serde_json::json;
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};

#[test]
fn who_stood_still_does_not_say_yes_from_memory() {
    let theirs = Runtime::new().unwrap();
    let ours = Builder::new_current_thread().enable_all().build().unwrap();
    let little = theirs.block_on(Little::start());
    let verifier = ours.block_on(verifier(&little));
    let (good, gone) = (token(&little, 1), token(&little, 2));
    assert_eq!((now(&verifier, &good), now(&verifier, &gone)), ("valid".to_owned(), "valid".to_owned()));
    // Nothing of ours runs from here on; the server goes on talking into the connection.
    little.tell(json!({ "session_id": session(2).to_string() }));
    std::thread::sleep(Duration::from_millis(1_200));
    assert_eq!((now(&verifier, &good), now(&verifier, &gone)), ("ask".to_owned(), "ask".to_owned()));
    ours.block_on(verifier.trusted(SOON)).unwrap();
    assert_eq!(now(&verifier, &gone), "session_revoked", "trusted only with what came meanwhile");
    assert_eq!(now(&verifier, &good), "valid");
    drop(verifier);
    drop(ours);
    drop(theirs);
}
