//! The compiler for the kernels: without it their tests are skipped, which CI does not accept.

use anyhow::Result;

use super::Options;
use crate::context::Context;
use crate::hip_toolchain;

/// Finds or makes the toolchain that the later parts compile kernels with.
pub fn toolchain(context: &Context, options: &Options) -> Result<()> {
    match hip_toolchain::ensure(context) {
        Ok(toolchain) => println!("{}", toolchain.hipcc().display()),
        Err(error) if options.require_hip => return Err(error),
        Err(error) => println!("skipped: no hipcc: {error:#}"),
    }
    Ok(())
}
