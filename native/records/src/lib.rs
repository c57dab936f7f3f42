//! Records of the key-value store: how they join, how a replica takes a write, and their bytes.
//!
//! A storage node has it do all that a batch asks of records (`replica`), a coordinator reads with
//! it what nodes say (`messages`, `plain`), and Python calls the same rules for whatever is rare
//! (`muster_kv.merging`). Nothing here reads a clock, opens a file or draws a random number.

pub mod clock;
pub mod frames;
pub mod memory;
pub mod merging;
pub mod messages;
pub mod pack;
pub mod plain;
pub mod recent;
pub mod record;
pub mod replica;
pub mod requests;
pub mod tombstones;

#[cfg(feature = "python")]
mod python;
