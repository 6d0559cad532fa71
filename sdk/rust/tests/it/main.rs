//! The verifier against a server: a small one of our own that speaks the same protocol and can be made to fail in every way, and the
//! real one.
#![expect(
    clippy::disallowed_methods,
    reason = "a server has a clock, and waiting for a condition takes time"
)]

#[cfg(test)]
mod clocks;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod good;
#[cfg(test)]
mod keys;
#[cfg(test)]
mod little;
#[cfg(test)]
mod many;
#[cfg(test)]
mod real;
#[cfg(test)]
mod revoked;
#[cfg(test)]
mod stopped;
#[cfg(test)]
mod support;
#[cfg(test)]
mod tls;
