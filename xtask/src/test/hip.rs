//! The compiler for the kernels: without it their tests are skipped, which CI does not accept.

use anyhow::Result;

use super::Options;
use crate::context::Context;
use crate::hip_toolchain;

/// Finds or makes the toolchain that the later parts compile kernels with.
pub fn toolchain(_: &Context, options: &Options) -> Result<()> {
    match hip_toolchain::ensure() {
        Ok(toolchain) => println!("{}", toolchain.hipcc().display()),
        Err(error) if options.require_hip => return Err(error),
        Err(error) => println!("skipped: no hipcc: {error:#}"),
    }
    Ok(())
}
