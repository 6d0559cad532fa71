//! Listens to the feed of revocations, for as long as the verifier lives.
//!
//! One connection after the other. Each goes on where the last one was; where the server cannot (it was restarted, its store came from
//! a backup, the place is too long ago) it says so and tells everything again, which then takes the place of what was held, as a whole,
//! at the first word that all was told.

use crate::held::Held;
use crate::host::{pause, random};
use crate::link::Link;
use crate::sse::{Event, Events};
use crate::verdict::Trouble;
use crate::verifier::Inner;
use handstamp_core::epoch::Scope;
use handstamp_core::id::{SessionId, UserId};
use handstamp_core::offline::clock::{OldWords, Reading, ServerTime, Tick, backoff, renewal};
use handstamp_core::offline::revoked::{Entry, Raise};
use handstamp_core::tag::Tag;
use handstamp_core::time::{Millis, Span};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::header::{ACCEPT, HeaderName, HeaderValue};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// How often what matters no more is taken out.
const TIDY: Span = Span::secs(5);
/// After more was told than is held: how long until it is tried again.
const CROWDED: Duration = Duration::from_secs(30);

/// Never ends; it is stopped from outside.
pub(crate) async fn listen(inner: Arc<Inner>) {
    let mut failed = 0;
    loop {
        let mut connection = Connection::new(&inner);
        let trouble = connection.run().await;
        failed = if connection.heard { 0 } else { failed + 1_u32 };
        if connection.anew {
            continue;
        }
        let full = trouble == Trouble::Full;
        let rejected = matches!(trouble, Trouble::Status { status: 400, .. } | Trouble::Unreadable(_));
        let tick = inner.clock.tick();
        inner.update(|link| {
            link.connected = false;
            // A place that the server cannot read, or behind which more was told than is held, is no place to go on from.
            if full || rejected {
                link.position = None;
            }
            link.whole &= !full;
            link.trouble = Some((trouble, tick));
        });
        inner.first_try.send_replace(true);
        let wait = backoff(failed, random());
        pause(if full { CROWDED } else { duration(wait) }).await;
    }
}

pub(crate) fn duration(span: Span) -> Duration {
    Duration::from_millis(u64::try_from(span.0).unwrap_or(0))
}

struct Connection<'a> {
    inner: &'a Inner,
    /// When it was asked for.
    asked: Tick,
    /// The server's time as this connection tells it.
    begun: bool,
    /// Everything, while it is told; what is held meanwhile stays.
    pending: Option<Held>,
    /// Words that are older than the bound when they come.
    old_words: OldWords,
    /// Whether it said anything about the time.
    heard: bool,
    tidied: Tick,
    /// After how long another connection takes its place,
    renewal: Span,
    /// which is now.
    anew: bool,
}

impl<'a> Connection<'a> {
    fn new(inner: &'a Inner) -> Connection<'a> {
        let now = inner.clock.tick();
        Connection {
            inner,
            asked: now,
            begun: false,
            pending: None,
            old_words: OldWords::default(),
            heard: false,
            tidied: now,
            renewal: renewal(random()),
            anew: false,
        }
    }

    /// Until something is wrong.
    async fn run(&mut self) -> Trouble {
        let listened = async {
            let body = self.open().await?;
            self.read(body).await
        };
        listened.await.err().unwrap_or(Trouble::Ended)
    }

    async fn open(&mut self) -> Result<Incoming, Trouble> {
        let mut headers = vec![(ACCEPT, HeaderValue::from_static("text/event-stream"))];
        match self.inner.link.load().position.as_deref().map(HeaderValue::from_str) {
            Some(Ok(at)) => headers.push((HeaderName::from_static("last-event-id"), at)),
            _ => self.pending = Some(self.inner.empty()),
        }
        headers.push(self.inner.named.clone());
        self.asked = self.inner.clock.tick();
        self.inner.server.stream("/v1/revocations", &headers).await
    }

    /// Until the stream ends, or something is wrong with it.
    async fn read(&mut self, mut body: Incoming) -> Result<(), Trouble> {
        let mut events = Events::default();
        // The server speaks four times a second; longer silence than the bound cannot end well.
        let silence = duration(self.inner.bound).max(Duration::from_millis(500));
        loop {
            let frame = match timeout(silence, body.frame()).await {
                Err(_) => return Err(Trouble::Late),
                Ok(None) => return Ok(()),
                Ok(Some(Err(e))) => return Err(Trouble::Unreachable(e.to_string())),
                Ok(Some(Ok(frame))) => frame,
            };
            let Some(bytes) = frame.data_ref() else { continue };
            let all = events.take(bytes).ok_or(Trouble::Unreadable("an event of the feed has no end"))?;
            for event in all {
                self.take(&event)?;
            }
        }
    }

    fn take(&mut self, event: &Event) -> Result<(), Trouble> {
        if event.data.is_empty() {
            return Ok(());
        }
        let said: Value =
            serde_json::from_str(&event.data).map_err(|_| Trouble::Unreadable("the feed is not JSON"))?;
        match said_of(&said).ok_or(Trouble::Unreadable("the feed tells what is not known here"))? {
            Said::Reset => self.pending = Some(self.inner.empty()),
            Said::Ended(entry) => {
                // At once, also of what is told again.
                self.inner.held.load().add(entry.clone()).map_err(|_| Trouble::Full)?;
                if let Some(pending) = &self.pending {
                    pending.add(entry).map_err(|_| Trouble::Full)?;
                }
            }
            Said::AsOf(as_of) => return self.beat(as_of, event.id.as_deref()),
        }
        if let Some(id) = event.id.clone().filter(|_| self.pending.is_none()) {
            self.inner.update(|link| link.position = Some(id));
        }
        Ok(())
    }

    /// All was told that was committed before `as_of`.
    fn beat(&mut self, as_of: Millis, id: Option<&str>) -> Result<(), Trouble> {
        let read = self.inner.clock.reading();
        let now = read.tick;
        self.ran(read)?;
        if let Some(everything) = self.pending.take() {
            self.inner.held.store(Arc::new(everything));
        }
        self.heard = true;
        let (begun, asked) = (self.begun, self.asked);
        self.begun = true;
        self.inner.update(|link| {
            let time = match link.time {
                Some(time) if begun => time.hear(as_of, now),
                before => ServerTime::begin(before, asked, as_of),
            };
            let old = link.position.take();
            let position = id.map(str::to_owned).or(old);
            *link = Link {
                time: Some(time),
                read: Some(read),
                whole: true,
                connected: true,
                position,
                ..link.clone()
            };
        });
        self.inner.first_try.send_replace(true);
        self.inner.heard.send_replace(());
        self.tidy(now);
        self.is_current(now)?;
        if now.since(self.asked) >= self.renewal {
            self.anew = true;
            return Err(Trouble::Ended);
        }
        Ok(())
    }

    /// Whether this machine ran since it heard of the server last. If not, this word may have waited all the while, and looks new.
    fn ran(&self, read: Reading) -> Result<(), Trouble> {
        let last = self.inner.link.load().read;
        let Some(stood) = last.and_then(|last| read.stood_still(last, self.inner.bound)) else {
            return Ok(());
        };
        self.inner.keys.stood_still(stood);
        self.inner.update(|link| {
            link.time = link.time.map(ServerTime::unproven);
            link.read = Some(read);
        });
        self.inner.fetch_keys.notify_one();
        Err(Trouble::StoodStill)
    }

    /// Whether its words are worth listening to.
    fn is_current(&mut self, now: Tick) -> Result<(), Trouble> {
        let age = self.inner.link.load().time.and_then(|time| time.age(now));
        if self.old_words.hear(age, now, self.inner.bound) {
            return Err(Trouble::Unreadable("what the feed says is older than the bound when it comes"));
        }
        Ok(())
    }

    fn tidy(&mut self, now: Tick) {
        if now.since(self.tidied) < TIDY {
            return;
        }
        self.tidied = now;
        if let Some(time) = self.inner.link.load().time {
            let over = time.over(now, self.inner.bound);
            self.inner.held.load().forget(over);
            self.inner.signatures.tidy(over);
        }
    }
}

/// What one event says.
enum Said {
    Reset,
    Ended(Entry),
    AsOf(Millis),
}

/// `None`: nothing that is known here. What is not understood could be an end, so nothing is skipped.
fn said_of(said: &Value) -> Option<Said> {
    let object = said.as_object()?;
    if object.get("reset").is_some() {
        return Some(Said::Reset);
    }
    let time = |name: &str| Millis::parse(object.get(name)?.as_str()?).ok();
    if object.contains_key("as_of") {
        return time("as_of").map(Said::AsOf);
    }
    let until = time("until")?;
    let id = |name: &str| SessionId::parse(object.get(name)?.as_str()?);
    if object.contains_key("session_id") {
        return Some(Said::Ended(Entry::Session { session: id("session_id")?, until }));
    }
    let tag = |value: &Value| Tag::parse(value.as_str()?).ok();
    let scopes = ["tag", "tags", "user_id", "environment"].map(|name| object.get(name));
    let scope = match scopes {
        [Some(one), None, None, None] => Scope::Tags(vec![tag(one)?]),
        [None, Some(all), None, None] => {
            let tags: Option<Vec<Tag>> = all.as_array()?.iter().map(tag).collect();
            Scope::Tags(tags.filter(|tags| !tags.is_empty())?)
        }
        [None, None, Some(user), None] => Scope::User(UserId::new(user.as_str()?).ok()?),
        [None, None, None, Some(environment)] => environment.as_str().map(|_| Scope::All)?,
        _ => return None,
    };
    let except = if object.contains_key("except") { Some(id("except")?) } else { None };
    let epoch = object.get("epoch")?.as_u64()?;
    Some(Said::Ended(Entry::Raise(Raise { scope, epoch, except, until })))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builder::Builder;
    use handstamp_core::offline::Ask;
    use std::sync::atomic::Ordering;

    const UNTIL: &str = r#""until":"2026-11-22T10:00:00.000Z""#;

    fn entry(text: &str) -> Option<Entry> {
        match said_of(&serde_json::from_str(text).unwrap())? {
            Said::Ended(entry) => Some(entry),
            Said::Reset | Said::AsOf(_) => None,
        }
    }

    fn inner() -> Inner {
        Builder::new("http://127.0.0.1:9", "hsk_x").inner().unwrap()
    }
    /// A connection that is believed: it said something twice.
    fn told(inner: &Inner) -> Connection<'_> {
        let mut connection = Connection::new(inner);
        for as_of in [1_000, 1_250] {
            connection.beat(Millis(as_of), None).unwrap();
        }
        connection
    }

    #[test]
    fn a_machine_that_stood_still_trusts_nothing_that_waited_for_it() {
        let inner = inner();
        inner.keys.replace(b"{\"keys\":[]}", inner.clock.tick()).unwrap();
        let mut connection = told(&inner);
        assert_eq!(inner.known().doubt(), None);
        inner.clock.stood.store(3_600_000, Ordering::SeqCst);
        assert!(matches!(inner.known().doubt(), Some(Ask::Stale { age, .. }) if age >= Span::hours(1)));
        // What waited in the connection meanwhile looks new by the clock that stood still.
        assert_eq!(connection.beat(Millis(1_500), None), Err(Trouble::StoodStill));
        assert_eq!(inner.known().doubt(), Some(Ask::NotHeard));
        assert!(inner.known().keys_age >= Span::hours(1), "the keys are as old as they are");
        inner.keys.confirm(inner.clock.tick());
        let _next = told(&inner);
        assert_eq!(inner.known().doubt(), None, "another connection was asked for afterwards");
    }

    #[test]
    fn a_connection_is_followed_by_another_before_a_delay_can_grow() {
        let inner = inner();
        let mut connection = told(&inner);
        assert!(!connection.anew);
        let now = inner.clock.tick();
        connection.asked = Tick(now.0 - 480_000_000 + 5_000_000);
        connection.renewal = Span::minutes(8);
        connection.beat(Millis(1_500), None).unwrap();
        connection.asked = Tick(now.0 - 480_000_000);
        assert_eq!(connection.beat(Millis(1_750), None), Err(Trouble::Ended));
        assert!(connection.anew && inner.link.load().connected, "which is no trouble");
    }

    #[test]
    fn ends_are_held_for_the_bound_longer_than_they_matter() {
        let inner = inner();
        let mut connection = told(&inner);
        let session = SessionId([7; 16]);
        for until in [Millis(1_250 - 60_000), Millis(1_250 - 1_000)] {
            inner.held.load().add(Entry::Session { session, until }).unwrap();
            connection.tidied = Tick(inner.clock.tick().0 - 10_000_000);
            connection.tidy(inner.clock.tick());
            assert_eq!(inner.held.load().len(), usize::from(until.0 > 0));
        }
    }

    #[test]
    fn entries_as_the_server_writes_them() {
        let until = Millis::parse("2026-11-22T10:00:00Z").unwrap();
        let session = SessionId([7; 16]);
        let tags = |all: &[&str]| Scope::Tags(all.iter().map(|tag| Tag::parse(tag).unwrap()).collect());
        let ended = format!(r#"{{"session_id":"{session}","ended_at":"2026-11-22T09:00:00Z",{UNTIL}}}"#);
        assert_eq!(entry(&ended), Some(Entry::Session { session, until }));
        for (text, scope, except) in [
            (r#""tag":"role:admin""#.to_owned(), tags(&["role:admin"]), None),
            (r#""tags":["a:b","c:d"]"#.to_owned(), tags(&["a:b", "c:d"]), None),
            (
                format!(r#""user_id":"ada","except":"{session}""#),
                Scope::User(UserId::new("ada").unwrap()),
                Some(session),
            ),
            (r#""environment":"default/prd""#.to_owned(), Scope::All, None),
        ] {
            let raise = Entry::Raise(Raise { scope, epoch: 9, except, until });
            assert_eq!(entry(&format!("{{{text},\"epoch\":9,{UNTIL}}}")), Some(raise), "{text}");
        }
    }

    #[test]
    fn what_is_not_understood_is_never_skipped() {
        for text in [
            "{}",
            "[]",
            r#"{"as_of":5}"#,
            r#"{"as_of":"soon"}"#,
            &format!("{{{UNTIL}}}"),
            &format!(r#"{{"session_id":"ses_x",{UNTIL}}}"#),
            &format!(r#"{{"session_id":7,{UNTIL}}}"#),
            r#"{"session_id":"ses_0000000000000000000000"}"#,
            &format!(r#"{{"tag":"role:admin",{UNTIL}}}"#),
            &format!(r#"{{"tag":"role:admin","epoch":"9",{UNTIL}}}"#),
            &format!(r#"{{"tag":"role:admin","epoch":-9,{UNTIL}}}"#),
            &format!(r#"{{"tag":"admin","epoch":9,{UNTIL}}}"#),
            &format!(r#"{{"tags":[],"epoch":9,{UNTIL}}}"#),
            &format!(r#"{{"tags":["a:b",7],"epoch":9,{UNTIL}}}"#),
            &format!(r#"{{"tag":"a:b","user_id":"ada","epoch":9,{UNTIL}}}"#),
            &format!(r#"{{"device":"x","epoch":9,{UNTIL}}}"#),
            &format!(r#"{{"tag":"a:b","epoch":9,"except":null,{UNTIL}}}"#),
        ] {
            assert!(said_of(&serde_json::from_str(text).unwrap()).is_none(), "{text}");
        }
    }
}
