//! What the operating system alone can say.

pub mod signals;
