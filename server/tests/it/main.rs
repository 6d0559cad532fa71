//! The one test binary: everything that is tried from outside of the crates. Its tree is the tree of `src`.

#[cfg(test)]
mod agents;
#[cfg(test)]
mod binary;
#[cfg(test)]
mod cli;
#[cfg(test)]
mod codec;
#[cfg(test)]
mod compat;
#[cfg(test)]
mod config;
#[cfg(test)]
mod conformance;
#[cfg(test)]
mod engine;
#[cfg(test)]
mod faulty;
#[cfg(test)]
mod front;
#[cfg(test)]
mod http;
#[cfg(test)]
mod listener;
#[cfg(test)]
mod nodes;
#[cfg(test)]
mod postgres;
#[cfg(test)]
mod schema;
#[cfg(test)]
mod several;
#[cfg(test)]
mod sqlite;
#[cfg(test)]
mod tidy;
#[cfg(test)]
mod transfer;
#[cfg(test)]
mod world;
