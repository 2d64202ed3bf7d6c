//! Attention problems, their oracle, and the verdict on what a kernel made of them.
//!
//! What a kernel must not look at is poison: NaN of the cache's own format in every slot that nobody attends, in free
//! kv_blocks and padding, the largest id in the tails of block tables, NaN in gaps of rows; and what it must not write
//! to is watched.

mod data;
mod problem;
mod run;
mod verdict;

pub use data::Data;
pub use problem::{Fixture, Problem};
pub use run::{Got, run};
pub use verdict::{Bar, verdict};
