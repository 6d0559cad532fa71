//! Foreign APIs over real sockets: what their clients send, and what they can read.

mod propelauth_byo;
