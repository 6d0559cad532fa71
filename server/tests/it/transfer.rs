//! Moving a store to another one: the course of it on random histories, cut short at each step; each store, raw.

mod course;
mod database;
mod pairs;
mod world;
