//! Foreign APIs: other words for the same verbs, so that an application moves over without another client library. Each is
//! a file (or a folder) that translates: parse, one verb of [`crate::app`], render. None of them knows another one, or the
//! management API beside it; what they have in common with that is what the verbs say.

use crate::app::App;
use std::sync::Arc;

pub mod propelauth_byo;

/// A foreign API, ready to be served.
pub struct Mounted {
    /// Its address.
    pub path: &'static str,
    /// What answers there.
    pub routes: axum::Router,
    /// Its OpenAPI document: paths and components.
    pub described: fn() -> serde_json::Value,
}

/// All of them.
pub fn mounted(app: &Arc<App>) -> Vec<Mounted> {
    vec![Mounted {
        path: propelauth_byo::PATH,
        routes: propelauth_byo::routes(app.clone()),
        described: propelauth_byo::described,
    }]
}
