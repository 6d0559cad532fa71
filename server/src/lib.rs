//! The service: one binary. A library only so that tests can reach it.
//!
//! Reading order: [`app`] (the verbs), [`http`] (the door), [`compat`] (doors of foreign APIs), [`store`] (where records lie), [`codec`] (how), [`agents`],
//! [`config`], [`sections`] (a policy as JSON says it), [`schema`] (what the data of a session must look like), [`json`] (JSON, read strictly), [`host`] (time, randomness, signals), [`cli`] (the command line),
//! [`run`] (where all of them meet).

pub mod agents;
pub mod app;
pub mod cli;
pub mod codec;
pub mod compat;
pub mod config;
pub mod host;
pub mod http;
pub mod json;
pub mod run;
pub mod schema;
pub mod sections;
pub mod store;
