//! Following history: silence is broken, with how far all was told; and what does not fit is not looked at again.

use super::house::{House, Plan, good, user};
use futures_util::StreamExt;
use handstamp_server::app::history::{News, Wanted};
use handstamp_server::store::memory::Memory;
use std::sync::Arc;

#[tokio::test(start_paused = true)]
async fn silence_is_broken() {
    let house = House::new(Arc::new(Memory::new()), Plan::default()).await;
    let wanted = Wanted { user: Some(user("ada")), ..Wanted::default() };
    let following = house.app.clone().follow(house.caller(), wanted, Some(0)).await;
    let mut following = Box::pin(good(following));
    for n in 0..3 {
        house.create("grace", &[]).await;
        let began = tokio::time::Instant::now();
        let Some(Ok(News::Quiet(position))) = following.next().await else { panic!("no heartbeat") };
        assert_eq!(position, n + 1, "what was looked through");
        let silent = began.elapsed().as_secs_f64();
        assert!((9.5..=10.5).contains(&silent), "{silent}");
    }
    house.create("ada", &[]).await;
    let began = tokio::time::Instant::now();
    let Some(Ok(News::Lines(lines))) = following.next().await else { panic!("no line") };
    assert_eq!(lines.iter().map(|line| line.position).collect::<Vec<_>>(), [4]);
    assert!(began.elapsed().as_secs_f64() < 0.3, "it was not told soon");
    house.app.leave();
    assert!(following.next().await.is_none());
}
