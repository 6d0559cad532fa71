//! The management door over real sockets. One file an address; what every address has in common is in `refusals`.

mod openapi;
mod refusals;
