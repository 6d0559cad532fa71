//! The real binary, started as a person or a service manager starts it: a process of its own, real files, real signals,
//! real sockets.

mod addresses;
mod disk;
mod first_key;
mod kill;
mod master_key;
pub(crate) mod migrate;
mod operate;
mod owners;
mod pages;
mod postgres;
pub(crate) mod process;
mod put_back;
mod refresh;
mod revocations;
mod seats;
mod signals;
mod start;
mod trouble;

pub(crate) use process::{Place, Ran, Server, clock, eventually};
