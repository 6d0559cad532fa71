//! The one test binary: everything that is tried from outside of the crates. Its tree is the tree of `src`.

mod config;
mod conformance;
mod listener;
