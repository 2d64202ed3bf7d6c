//! The oracle: what every op means, and how far a fast backend may be from it.
//!
//! - [`ops`]: each op of [`engine_core::ops`] as a pure function over slices, in plain loops with
//!   f64 sums, short enough to be checked against its paper.
//! - [`backend`]: the same functions as a `Device` and `Ops` (`--backend reference`).
//! - [`bounds`] and [`check`]: error bounds derived from format and reduction length, and a
//!   comparison that NaN cannot fool.
//! - [`cases`] and [`inputs`]: the shapes and numbers that every backend is driven through.
//! - [`matrix`]: what a matrix instruction of the MI300X computes, and which lane holds what.
//! - [`conformance`]: runs any backend through the cases against the oracle, and checks bit for
//!   bit that its rows are independent.
#![forbid(unsafe_code)]

pub mod backend;
pub mod bounds;
pub mod cases;
pub mod check;
pub mod conformance;
pub mod inputs;
pub mod matrix;
pub mod ops;
mod parallel;
mod shape;

pub use backend::ReferenceCpu;
