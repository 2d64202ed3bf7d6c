//! The invariants of `docs/invariants.md`.

pub(super) mod cache;
mod end;
mod pool;
mod queue;
mod rows;
mod state;
