//! The management door: HTTP/1.1, JSON, problem documents. It translates: parse, one verb of [`crate::app`], render.
//!
//! * [`routes`]: the whole table of routes. [`sessions`], [`validate`], [`revoke`], [`search`], [`events`], [`users`],
//!   [`policies`], [`session_types`], [`settings`], [`explain`], [`devices`], [`login`], [`keys`], [`signing_keys`], [`environments`]: what they do. [`door`]: what stands before and after them.
//! * [`wire`]: what answers look like ([`render`]: the same on the hot path); [`input`] and [`hints`]: what requests look like, read by [`crate::json`] and [`query`];
//!   [`problem`]: how a refusal or an accident is told, [`reply`]: how anything else is. [`caller`]: who asks.
//!   [`peer`]: whose request it is, behind proxies. [`forward_auth`]: the door for proxies. [`cookie`]: ready `Set-Cookie` values. [`budget`]: what an answer says of its rate limit.
//! * [`foreign`]: other APIs beside ours. [`health`]: liveness and readiness. [`metrics`]: what is counted. [`openapi`] and [`docs`]: the OpenAPI document and
//!   the pages made of it.
//! * [`listener`]: the network edge.

use crate::app::App;
use crate::host::clock::instant;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

pub mod access_tokens;
pub mod assurance;
pub mod browser;
pub mod budget;
pub mod caller;
pub mod cookie;
pub mod cookies;
pub mod cors;
pub mod devices;
pub mod docs;
pub mod door;
pub mod environments;
pub mod events;
pub mod explain;
pub mod foreign;
pub mod forward_auth;
pub mod health;
pub mod hints;
pub mod input;
pub mod keys;
pub mod listener;
pub mod login;
pub mod metrics;
pub mod openapi;
pub mod peer;
pub mod policies;
pub mod problem;
pub mod query;
pub mod refresh;
mod render;
mod reply;
pub mod revocations;
pub mod revoke;
pub mod routes;
pub mod search;
pub mod session_types;
pub mod sessions;
pub mod settings;
pub mod signing_keys;
pub mod statement;
pub mod status_lists;
pub mod users;
pub mod validate;
pub mod wire;

pub use door::Door;

/// What every handler stands on.
pub struct Web {
    /// The service.
    pub app: Arc<App>,
    /// How session cookies are written.
    pub cookie: cookie::Style,
    /// Whose word about a client's address is believed.
    pub trust: peer::Trust,
    /// How the doors for browsers are set up.
    pub browsers: browser::Browsers,
    /// Whether clients reach it over TLS of its own.
    pub tls: bool,
    /// Foreign APIs on the main listener.
    pub(crate) foreign: Vec<foreign::Foreign>,
    described: OnceLock<serde_json::Value>,
    requests: Requests,
    began: Instant,
}

/// Gives each request a name: 16 hexadecimal digits, from a random start, never twice in a row.
struct Requests {
    base: u64,
    count: AtomicU64,
}

impl Web {
    /// `seed` is random, so that names of different processes differ.
    pub fn new(app: Arc<App>, cookie: cookie::Style, seed: u64) -> Web {
        metrics::recorder::global();
        let requests = Requests { base: seed, count: AtomicU64::new(0) };
        Web {
            app,
            cookie,
            trust: peer::Trust::default(),
            browsers: browser::Browsers::default(),
            tls: false,
            foreign: Vec::new(),
            described: OnceLock::new(),
            requests,
            began: instant(),
        }
    }

    /// The same with foreign APIs beside ours.
    #[must_use]
    pub fn beside(self, foreign: Vec<foreign::Foreign>) -> Web {
        Web { foreign, ..self }
    }

    /// The OpenAPI document of all that is served.
    pub fn described(&self) -> &serde_json::Value {
        self.described.get_or_init(|| openapi::document(self.foreign.iter().map(|one| (one.described)())))
    }

    /// The same behind proxies.
    #[must_use]
    pub fn behind(self, trust: peer::Trust) -> Web {
        Web { trust, ..self }
    }

    /// The same with doors for browsers that are set up so.
    #[must_use]
    pub fn for_browsers(self, browsers: browser::Browsers) -> Web {
        Web { browsers, ..self }
    }

    /// The same over TLS of its own, or not.
    #[must_use]
    pub fn over_tls(self, tls: bool) -> Web {
        Web { tls, ..self }
    }

    fn next_request(&self) -> RequestId {
        self.requests.next()
    }
}

/// A request's name, given at the door.
#[derive(Clone, Copy)]
pub struct RequestId([u8; 16]);

impl RequestId {
    /// Its text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl Requests {
    fn next(&self) -> RequestId {
        // An odd multiplier walks through all 64-bit values before any repeats.
        let n = self.count.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ self.base;
        let mut text = [0; 16];
        for (slot, shift) in text.iter_mut().zip((0..16u32).rev()) {
            let digit = u8::try_from(n >> (shift * 4) & 15).unwrap_or(0);
            *slot = if digit < 10 { b'0' + digit } else { b'a' + digit - 10 };
        }
        RequestId(text)
    }
}
