//! Whole queries against a store: scripts in promqltest's notation, properties, prepared queries.

mod notation;
mod prepared;
mod properties;
mod scripts;
