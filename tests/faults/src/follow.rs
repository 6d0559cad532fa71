//! Somebody who verifies access tokens elsewhere: follows the feed, and changes nodes every few seconds.

use crate::calls::text;
use crate::client::{Ask, Stream};
use crate::history::{Heard, Scope};
use crate::random::Random;
use crate::world::World;
use hyper::Method;
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// How long the feed may be silent before it is taken up elsewhere; it beats four times a second.
const SILENCE: Duration = Duration::from_millis(1_500);

/// Follows until it knows everything before the horizon of the world.
pub(crate) async fn follow(world: Arc<World>, number: usize, seed: u64) {
    let mut random = Random::new(seed);
    let mut last: Option<String> = None;
    let mut known = 0;
    while !reached(&world, known) {
        let node = random.index(world.nodes.len());
        let Some(address) = world.nodes.get(node).copied() else { return };
        let mut ask = Ask::new(Method::GET, "/v1/revocations", &world.key, None);
        ask.headers.push(("accept", "text/event-stream".to_owned()));
        ask.headers.extend(last.iter().map(|id| ("last-event-id", id.clone())));
        let Some(mut stream) = Stream::open(address, &ask).await else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        world.note(number, Heard::Connected(node));
        let leave = Instant::now() + Duration::from_millis(1_000 + random.below(4_000));
        let mut id = None;
        while !reached(&world, known)
            && Instant::now() < leave
            && let Some(line) = stream.line(SILENCE).await
        {
            if let Some(position) = line.strip_prefix("id: ") {
                id = Some(position.to_owned());
            } else if let Some(data) = line.strip_prefix("data: ") {
                for heard in read(&world, data) {
                    match heard {
                        Heard::AsOf(as_of) => known = as_of,
                        // Nothing is known until the next instant.
                        Heard::Reset => known = 0,
                        Heard::Connected(_) | Heard::Ended(_) => {}
                    }
                    world.note(number, heard);
                }
                // An event without an id has no place to go on from.
                last = id.take().or(last);
            }
        }
    }
}

fn reached(world: &World, known: u64) -> bool {
    let horizon = world.horizon.load(Ordering::Relaxed);
    horizon > 0 && known > horizon
}

fn read(world: &World, data: &str) -> Vec<Heard> {
    let Ok(item) = serde_json::from_str::<Value>(data) else { return Vec::new() };
    if item.get("reset").is_some() {
        return vec![Heard::Reset];
    }
    if let Some(as_of) = text(&item, "as_of").and_then(micros) {
        return vec![Heard::AsOf(world.brought(as_of))];
    }
    let scope = match (text(&item, "session_id"), text(&item, "user_id"), text(&item, "tag")) {
        (Some(session), ..) => Scope::One(session.into()),
        (_, Some(user), _) => Scope::User(user.into()),
        (.., Some(tag)) => Scope::Tag(tag.into()),
        _ if item.get("environment").is_some() => Scope::All,
        _ => return Vec::new(),
    };
    vec![Heard::Ended(scope)]
}

/// `2026-01-31T13:45:00.120Z`, as microseconds since 1970.
fn micros(text: &str) -> Option<u64> {
    let number = |from: usize, to: usize| text.get(from..to)?.parse::<u64>().ok();
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let seconds = number(11, 13)? * 3_600 + number(14, 16)? * 60 + number(17, 19)?;
    let millis = number(20, 23)?;
    // Days since 1 March of the year 0, with March as the first month.
    let (y, m) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = y * 365 + y / 4 - y / 100 + y / 400 + (m * 153 + 2) / 5 + day - 1;
    let since_1970 = days.checked_sub(719_468)?;
    Some(((since_1970 * 86_400 + seconds) * 1_000 + millis) * 1_000)
}

#[cfg(test)]
mod tests {
    use super::micros;

    #[test]
    fn instants() {
        assert_eq!(micros("1970-01-01T00:00:00.000Z"), Some(0));
        assert_eq!(micros("2000-02-29T12:34:56.789Z"), Some(951_827_696_789_000));
        assert_eq!(micros("2026-11-22T21:00:00.001Z"), Some(1_795_381_200_001_000));
        assert_eq!(micros("yesterday"), None);
    }
}
