//! Number formats that are stored and not computed with.

mod fp8;

pub use fp8::{Fp8Flavour, Fp8Format, Overflow};
