//! The ops as tasks on the pool.

mod attention;
mod linear;
mod rows;

pub(crate) use attention::{Attend, KV_TILE, attention};
pub(crate) use linear::{Dense, linear};
pub(crate) use rows::{Heads, MAX_HEAD_DIM, head_norm, kv_write, rope, run_rows};
