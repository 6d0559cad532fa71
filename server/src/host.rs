//! What the operating system alone can say: the time, random bytes (both read once, at the edge, then passed), signals,
//! how large pages of memory are, and what this process uses.

pub mod clock;
pub mod entropy;
pub mod pages;
pub mod process;
pub mod signals;
