//! Reading user agents: against the cases of the uap-core project, against the reading of the crate `ua-parser`, and what
//! one agent is to another.

mod corpus;
mod hostile;
mod pairs;
mod reading;
