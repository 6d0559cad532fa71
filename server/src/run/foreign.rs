//! The foreign APIs that are served beside ours.

use crate::app::App;
use crate::compat::{self, Mounted};
use crate::http::foreign::Foreign;
use std::sync::Arc;

/// All of them.
pub fn foreign(app: &Arc<App>) -> Vec<Foreign> {
    let mount = |Mounted { path, routes, described }| Foreign { path, routes, described };
    compat::mounted(app).into_iter().map(mount).collect()
}
