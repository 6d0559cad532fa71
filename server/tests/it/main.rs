//! The one test binary: everything that is tried from outside of the crates.

#[cfg(test)]
mod conformance;
#[cfg(test)]
mod faulty;
#[cfg(test)]
mod sqlite;
