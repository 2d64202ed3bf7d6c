//! `rms_norm`.

use super::{WORKGROUP_SIZE, count};
use crate::buffer::Buffer;
use crate::device::Device;
use crate::launch::{Argument, Geometry};
use crate::module::Kernel;
use crate::result::{Error, Result};
use crate::stream::Stream;
use crate::variant::{Any, Variant, everything};

const NAME: &str = "rms_norm_v1_naive";

/// What there is.
pub(super) const VARIANTS: &[Variant<Any>] = &[Variant {
    op: "rms_norm",
    name: NAME,
    reduction_class: "stride 256, wave butterfly, waves in order",
    supports: everything,
}];

/// out\[row\] = x\[row\] / sqrt(mean(x\[row\]²) + eps) · weight, f32: [`engine_core::ops::RmsNorm`].
pub struct RmsNorm {
    kernel: Kernel,
}

impl RmsNorm {
    /// Loads `rms_norm_v1_naive`.
    ///
    /// # Errors
    ///
    /// If the build has none for this device; HIP's.
    pub fn new(device: &Device) -> Result<Self> {
        Ok(RmsNorm { kernel: device.variant(NAME)?.kernel(NAME)? })
    }

    /// `x` and `out` are rows of `weight`'s length.
    ///
    /// # Errors
    ///
    /// If they are not; HIP's.
    pub fn run(
        &self,
        stream: &Stream,
        out: &mut Buffer<f32>,
        x: &Buffer<f32>,
        weight: &Buffer<f32>,
        eps: f32,
    ) -> Result<()> {
        let hidden_size = weight.len();
        out.check_len("out", x.len())?;
        if hidden_size == 0 || !x.len().is_multiple_of(hidden_size) {
            return Err(Error::Value {
                what: "the number of elements of x",
                allowed: "whole rows of weight's length",
                found: format!("{} for rows of {hidden_size}", x.len()),
            });
        }
        let geometry =
            Geometry::linear(count("the number of rows", x.len() / hidden_size)?, WORKGROUP_SIZE);
        let hidden_size = count("hidden_size", hidden_size)?;
        let args = [
            Argument::output(out),
            Argument::input(x),
            Argument::input(weight),
            Argument::value(&eps),
            Argument::value(&hidden_size),
        ];
        // SAFETY: the kernel touches rows below the number of work-groups and columns below `hidden_size`: as many as `x`
        // and `out` have, and in each row as many as `weight` has.
        unsafe { self.kernel.launch(stream, geometry, &args) }
    }
}
