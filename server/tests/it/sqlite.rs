//! What is true of the embedded store alone: its file, its plans, its faults, its speed.

mod backups;
mod full_disk;
mod kills;
mod measure;
mod opening;
mod plans;
mod scrub;
mod syncs;
