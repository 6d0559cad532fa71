//! `handstamp bench`: a small closed loop against a running server, to see that an installation is as fast as it should
//! be. It makes one session, validates it over and over, and ends it. The comparison with other servers is `./bench` in
//! a checkout of the source.

use super::args::Bench;
use super::client::Client;
use super::hooks::Progress;
use super::progress::Bar;
use super::{Context, Exit, Failure};
use futures_util::future::join_all;
use http::{Method, Request};
use http_body_util::Full;
use hyper::body::Bytes;
use serde_json::{Value as Json, json};
use std::time::{Duration, Instant};

const USER: &str = "handstamp-bench";

/// What one connection saw.
#[derive(Default)]
struct Seen {
    /// One for each answer that said `valid`.
    times: Vec<Duration>,
    failed: Option<Failure>,
}

impl Context<'_, '_> {
    pub(super) fn bench(&mut self, args: &Bench) -> Result<Exit, Failure> {
        let mut client = self.client(&args.connection)?;
        let duration = Duration::from_secs(u64::try_from(args.duration).unwrap_or(5));
        let body = json!({"user_id": USER, "expires_in": duration.as_secs().saturating_add(600)});
        let made = client.call(Method::POST, "/v1/sessions", Some(&body), "making a session")?.body;
        let token = made.get("token").and_then(Json::as_str);
        let token = token.ok_or_else(|| Failure::new("the server made a session without a token"))?;
        let id = made.pointer("/session/id").and_then(Json::as_str).unwrap_or_default();

        let body = json!({"token": token});
        let bar = Bar::new("bench", self.terminal.draws);
        let (seen, took) = Load::new(&client, &body, duration, &bar).run(args.connections);
        bar.finish();
        // The session goes whatever happened; that it also would by itself is no reason to leave it.
        client.call(Method::DELETE, &format!("/v1/sessions/{id}"), None, "ending the session")?;

        let mut times: Vec<Duration> = seen.iter().flat_map(|one| one.times.iter().copied()).collect();
        if let Some(failure) = seen.into_iter().find_map(|one| one.failed) {
            return Err(failure);
        }
        times.sort_unstable();
        let per_second =
            format!("{:.0}", f64::from(u32::try_from(times.len()).unwrap_or(u32::MAX)) / took.as_secs_f64());
        let at = |percent: usize| times.get(times.len() * percent / 100).copied().unwrap_or_default();
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let (p50, p99) = (micros(at(50)), micros(at(99)));
        if self.json {
            self.print_json(&json!({
                "url": client.url(), "connections": args.connections, "seconds": took.as_secs_f64(),
                "validations": times.len(), "per_second": per_second.parse::<u64>().unwrap_or(0),
                "p50_us": p50, "p99_us": p99,
            }))?;
        } else {
            self.line(format!(
                "{} validations over {} connections: {per_second} a second, p50 {p50} us, p99 {p99} us",
                times.len(),
                args.connections
            ))?;
            self.note("one thread asked, so the asking may be what is slow; ./bench of the source measures the server")?;
        }
        Ok(Exit::Done)
    }
}

/// One measurement.
struct Load<'a> {
    client: &'a Client,
    body: &'a Json,
    duration: Duration,
    bar: &'a Bar,
    start: Instant,
}

impl Load<'_> {
    #[expect(clippy::disallowed_methods, reason = "a measurement")]
    fn new<'a>(client: &'a Client, body: &'a Json, duration: Duration, bar: &'a Bar) -> Load<'a> {
        Load { client, body, duration, bar, start: Instant::now() }
    }

    fn run(&self, connections: u32) -> (Vec<Seen>, Duration) {
        let all = (0..connections).map(async |_| {
            let mut seen = Seen::default();
            seen.failed = self.one(&mut seen.times).await.err();
            seen
        });
        let seen = self.client.block_on(join_all(all));
        (seen, self.start.elapsed())
    }

    /// One connection: the next question follows the last answer.
    #[expect(clippy::disallowed_methods, reason = "a measurement")]
    async fn one(&self, times: &mut Vec<Duration>) -> Result<(), Failure> {
        let link = self.client.link();
        let total = u64::try_from(self.duration.as_millis()).unwrap_or(u64::MAX);
        let mut sender = link.connect().await?;
        while self.start.elapsed() < self.duration {
            let request: Request<Full<Bytes>> =
                self.client.request(Method::POST, "/v1/sessions/validate", Some(self.body))?;
            let asked = Instant::now();
            let answer = link.send(&mut sender, request).await?;
            let took = asked.elapsed();
            let body: Json = serde_json::from_slice(&answer.body).unwrap_or(Json::Null);
            if body.get("valid").and_then(Json::as_bool) != Some(true) {
                return Err(Failure::new(format!(
                    "a validation was answered {} and not valid",
                    answer.status
                )));
            }
            times.push(took);
            self.bar.at(u64::try_from(self.start.elapsed().as_millis()).unwrap_or(total), total);
            sender.ready().await.map_err(|e| Failure::new(format!("a connection broke off: {e}")))?;
        }
        Ok(())
    }
}
