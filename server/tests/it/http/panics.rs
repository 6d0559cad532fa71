//! A handler that panics is a 500 with the name of the request; the process lives, and the log has no secret of it.

use crate::front::{Front, Fronted};
use crate::world::{Options, World};
use async_trait::async_trait;
use handstamp_server::store::Store;
use handstamp_server::store::faulty::Call;
use handstamp_server::store::memory::Memory;
use http::Method;
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A store whose reading trips once, over something secret.
#[derive(Default)]
struct Tripping {
    inner: Memory,
    armed: AtomicBool,
}

#[async_trait]
impl Front for Tripping {
    fn inner(&self) -> &dyn Store {
        &self.inner
    }
    fn before(&self, call: Call) {
        if matches!(call, Call::Load | Call::Commit | Call::Search) {
            assert!(!self.armed.swap(false, Ordering::SeqCst), "tripped over PLANTED-IN-A-PANIC");
        }
    }
}

#[tokio::test]
async fn it_is_a_500_with_a_name_and_life_goes_on() {
    let log = super::secrets::Log::default();
    let _listening = log.listen();
    let store = Arc::new(Fronted::<Tripping>::default());
    let world = World::with(Options { store: store.clone(), ..Options::default() }).await;
    let made = world.login("ada").await;
    let path = format!("/v1/sessions/{}", made.id);
    let strong = json!({ "token": made.token, "consistency": "strong" });
    for call in [
        world.call(Method::GET, &path),
        world.call(Method::DELETE, &path),
        world.call(Method::GET, "/v1/sessions"),
        world.call(Method::POST, "/v1/sessions").json(&json!({ "user_id": "ada" })),
        world.call(Method::POST, "/v1/sessions/validate").json(&strong),
        world.call(Method::POST, "/v1/sessions/validate-batch").json(&json!({ "requests": [strong] })),
    ] {
        store.0.armed.store(true, Ordering::SeqCst);
        let answer = call.send().await;
        let problem = answer.refused(500, "internal_error");
        assert!(!store.0.armed.load(Ordering::SeqCst), "{}: did not trip", answer.what);
        assert!(!answer.text().contains("PLANTED"), "{}", answer.text());
        let name = problem["request_id"].as_str().unwrap();
        let told = log.text();
        assert!(
            told.lines().any(|line| line.contains(name) && line.contains("a handler panicked")),
            "{told}"
        );
        assert_eq!(world.verdict(&made.token).await, "valid", "after {}", answer.what);
        world.login("bob").await;
    }
    assert!(!log.text().contains("PLANTED"), "{}", log.text());
}

/// What the process's own hook writes: the place, not the message.
#[test]
fn the_hook_says_where_and_not_what() {
    let log = super::secrets::Log::default();
    let before = std::panic::take_hook();
    handstamp_server::http::door::quiet_panics();
    let listening = log.listen();
    let caught = std::panic::catch_unwind(|| panic!("PLANTED-IN-A-PANIC"));
    drop(listening);
    std::panic::set_hook(before);
    assert!(caught.is_err());
    let told = log.text();
    assert!(told.contains("a panic") && told.contains("panics.rs"), "{told}");
    assert!(!told.contains("PLANTED"), "{told}");
}
