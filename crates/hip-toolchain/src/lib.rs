//! Finds a hipcc that targets gfx942, and runs it.
//!
//! The first of these that exists is taken:
//!
//! 1. the program that `HIPCC` names,
//! 2. `bin/hipcc` below `ROCM_PATH`,
//! 3. `hipcc` on `PATH`, unless it is too old to know gfx942,
//! 4. the one that `cargo xtask hip-toolchain` made in the cache folder ([`Made`]).
//!
//! One that is named and does not work is an error, never a reason to take the next.
//!
//! ```no_run
//! use std::path::Path;
//! # fn main() -> Result<(), hip_toolchain::Error> {
//! let toolchain = hip_toolchain::Toolchain::find()?;
//! let (source, object) = (Path::new("k.hip"), Path::new("k.hsaco"));
//! toolchain.compile(source, "gfx942", &["-O3"], object)?;
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]

mod error;
mod find;
mod made;
mod toolchain;

pub use error::Error;
pub use made::Made;
pub use toolchain::Toolchain;

/// The variable with which `cargo xtask test --require-hip` forbids tests to do without a hipcc.
pub const REQUIRE_HIP_VAR: &str = "KVASIR_REQUIRE_HIP";

/// The toolchain for a test that needs one. Without one it says `skipped: no hipcc` and gives
/// `None`, so that the test can return.
///
/// # Panics
///
/// If there is none and `KVASIR_REQUIRE_HIP=1` says that there must be, or if the one that the
/// environment names does not work.
#[must_use]
#[track_caller]
pub fn for_tests() -> Option<Toolchain> {
    let required = std::env::var_os(REQUIRE_HIP_VAR).is_some_and(|value| value == "1");
    match Toolchain::find() {
        Ok(toolchain) => Some(toolchain),
        Err(Error::NotFound { .. }) if !required => {
            eprintln!("skipped: no hipcc");
            None
        }
        Err(error) => panic!("{error}"),
    }
}
