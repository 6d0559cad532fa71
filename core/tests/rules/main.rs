//! The rules seen from outside, in one binary: tables of every refusal with both sides of each boundary.

#[cfg(test)]
mod support;

#[cfg(test)]
mod ending;
#[cfg(test)]
mod rotation;
