//! `add_rms_norm`.

use bytemuck::Pod;
use engine_core::dtype::DType;

use super::{WORKGROUP_SIZE, check_element, count, element_name, plain};
use crate::buffer::Buffer;
use crate::device::Device;
use crate::launch::{Argument, Geometry};
use crate::module::{Kernel, Module};
use crate::result::{Error, Result};
use crate::stream::Stream;
use crate::variant::{Any, Variant};

const NAME: &str = "add_rms_norm_v1_naive";

/// What there is.
pub(super) const VARIANTS: &[Variant<Any>] =
    &[plain("add_rms_norm", NAME, "stride 256, wave butterfly, waves in order")];

/// x += y, and out\[t\] = x\[t\] / sqrt(mean(x\[t\]²) + eps) · weight: a residual connection and
/// [`engine_core::ops::RmsNorm`], with the bits of one after the other.
pub struct AddRmsNorm {
    kernel: Kernel,
    dtype: DType,
}

impl AddRmsNorm {
    /// Loads `add_rms_norm_v1_naive` for an output of `dtype`.
    ///
    /// # Errors
    ///
    /// If the build has none for this device; HIP's.
    pub fn new(device: &Device, dtype: DType) -> Result<Self> {
        Self::of(&device.variant(NAME)?, dtype)
    }

    /// As [`AddRmsNorm::new`], of a code object from elsewhere.
    ///
    /// # Errors
    ///
    /// If it has no such kernel; HIP's.
    pub fn from_code_object(device: &Device, code_object: &[u8], dtype: DType) -> Result<Self> {
        Self::of(&device.module(code_object)?, dtype)
    }

    fn of(module: &Module, dtype: DType) -> Result<Self> {
        let name = format!("{NAME}__{}", element_name(dtype));
        Ok(AddRmsNorm { kernel: module.kernel(&name)?, dtype })
    }

    /// `x`, `y` and `out` are `num_rows` rows of `hidden_size`; `T` is f32 or, for 16 bits, u16.
    ///
    /// # Errors
    ///
    /// If a buffer is too short or of another type; HIP's.
    pub fn run<T: Pod>(
        &self,
        stream: &Stream,
        out: &mut Buffer<T>,
        x: &mut Buffer<f32>,
        [y, weight]: [&Buffer<f32>; 2],
        eps: f32,
        [num_rows, hidden_size]: [usize; 2],
    ) -> Result<()> {
        check_element::<T>(self.dtype)?;
        if hidden_size == 0 {
            let (what, allowed) = ("hidden_size", "at least 1");
            return Err(Error::Value { what, allowed, found: "0".to_owned() });
        }
        let len = num_rows.saturating_mul(hidden_size);
        x.check_at_least("x", len)?;
        y.check_at_least("y", len)?;
        out.check_at_least("out", len)?;
        weight.check_at_least("weight", hidden_size)?;
        let width = count("hidden_size", hidden_size)?;
        let args = [
            Argument::output(out),
            Argument::output(x),
            Argument::input(y),
            Argument::input(weight),
            Argument::value(&eps),
            Argument::value(&width),
        ];
        let geometry = Geometry::linear(count("num_rows", num_rows)?, WORKGROUP_SIZE);
        // SAFETY: the kernel touches rows below the number of work-groups and columns below `hidden_size`, which `x`, `y`
        // and `out` have, and as many elements of `weight`; all checked above, as `T` was.
        unsafe { self.kernel.launch(stream, geometry, &args) }
    }
}
