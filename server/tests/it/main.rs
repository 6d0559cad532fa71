//! The one test binary. Its tree is the tree of `src`.

mod cli;
mod config;
