//! What a session in memory costs, and that the cache keeps its bound in bytes. In a process of its own, because the
//! memory of a process is what is measured.

use super::house::{House, Plan, Said, asked, good};
use handstamp_server::store::memory::Memory;
use std::process::Command;
use std::sync::Arc;

const CHILD: &str = "HANDSTAMP_TEST_MEMORY";
const SESSIONS: usize = 20_000;

#[test]
fn a_cached_session_is_small_and_the_cache_keeps_its_bound() {
    let this = std::env::current_exe().unwrap();
    let ran = Command::new(this)
        .args(["--exact", "engine::memory::child", "--nocapture"])
        .env(CHILD, "1")
        .output()
        .unwrap();
    let said = String::from_utf8(ran.stdout).unwrap();
    assert!(ran.status.success(), "{said}{}", String::from_utf8_lossy(&ran.stderr));
    for line in said.lines().filter(|line| line.contains("cached session")) {
        println!("{line}");
    }
    assert!(said.contains("cached session"), "{said}");
}

/// Does its work in the process that the test above starts.
#[test]
#[expect(clippy::disallowed_methods, reason = "a test is told by its environment that it is the child")]
fn child() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let house =
            House::new(Arc::new(Memory::new()), Plan { cache_bytes: 1 << 30, ..Plan::default() }).await;
        let mut tokens = Vec::with_capacity(SESSIONS);
        for n in 0..SESSIONS {
            let mut ask = asked(&format!("user-{n}"), &["role:member", "org:acme-inc"]);
            ask.client.ip = Some([10, 0, 0, 1].into());
            ask.client.user_agent = Some(format!("Mozilla/5.0 (X11; Linux x86_64) Test/{}", n % 500).into());
            tokens.push(good(house.make(ask).await).given.token().unwrap().to_owned());
        }
        // The first look at each class of sizes is not a session's.
        for token in &tokens[..100] {
            assert_eq!(house.validate(token).await, Said::Allowed(None));
        }
        let before = resident();
        for token in &tokens[100..] {
            assert_eq!(house.validate(token).await, Said::Allowed(None));
        }
        let (said, _) = house.app.cache_use();
        let real = (resident() - before) / (SESSIONS - 100);
        let estimated = usize::try_from(said).unwrap() / SESSIONS;
        println!("a cached session takes {real} bytes and is counted as {estimated}");
        assert!(real <= 450, "a cached session takes {real} bytes");
        assert!(estimated * 10 >= real * 9, "a session is counted as {estimated} bytes and takes {real}");

        // Ten times as many as there is room for.
        let bound = said / 10;
        let small = House::at(
            house.store.clone(),
            house.clock.clone(),
            Plan { cache_bytes: bound, ..Plan::default() },
        )
        .await;
        for token in &tokens {
            assert_eq!(small.validate(token).await, Said::Allowed(None));
            let (used, most) = small.app.cache_use();
            assert!(used <= most && most <= bound, "{used} bytes are used, {bound} are allowed");
        }
        let (used, _) = small.app.cache_use();
        assert!(used > bound / 2, "room is wasted: {used} of {bound}");
    });
}

/// Bytes that this process has in memory.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1_024
}
