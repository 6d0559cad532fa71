//! Several nodes on one store: what one of them did is true on the others, in time or at once.
//!
//! * [`cluster`]: what these tests stand on. * [`cached`]: what memory may answer, and until when.
//! * [`control`]: keys, rules, epochs, origins, environments. * [`together`]: the same session on two nodes at once.
//! * [`doors`]: what leaves them. * [`knocking`]: who may come in by the word of now. * [`sim`]: all of it at once.
//! * [`away`]: a node that does not reach its store. * [`times`]: idle times.

mod away;
mod cached;
mod cluster;
mod control;
mod doors;
mod knocking;
mod sim;
mod times;
mod together;
