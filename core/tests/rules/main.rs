//! The rules seen from outside, in one binary: tables of every refusal with both sides of each boundary.

#[cfg(test)]
mod support;

#[cfg(test)]
mod ending;
#[cfg(test)]
mod epoch;
#[cfg(test)]
mod expiry;
#[cfg(test)]
mod judge;
#[cfg(test)]
mod rotation;
#[cfg(test)]
mod transitions;
