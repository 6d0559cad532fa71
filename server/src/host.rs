//! What the operating system alone can say: the time, random bytes (both read once, at the edge, then passed), signals.

pub mod clock;
pub mod entropy;
pub mod signals;
