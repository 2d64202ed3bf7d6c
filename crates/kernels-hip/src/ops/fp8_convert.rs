//! `fp8_convert`.

use engine_core::formats::{Fp8Flavour, Fp8Format};

use super::{WORKGROUP_SIZE, count};
use crate::buffer::Buffer;
use crate::device::Device;
use crate::launch::{Argument, Geometry};
use crate::module::{Kernel, Module};
use crate::result::Result;
use crate::stream::Stream;
use crate::variant::{Any, Variant, everything};

const NAME: &str = "fp8_convert_v1_naive";

/// What there is.
pub(super) const VARIANTS: &[Variant<Any>] = &[Variant {
    op: "fp8_convert",
    name: NAME,
    reduction_class: "none: no sums",
    supports: everything,
}];

/// FP8 codes from the flavour of the Open Compute Project to that of gfx942, or back, and their scales. What becomes of
/// each code is written down at `reference_cpu::ops::fp8_convert`.
pub struct Fp8Convert {
    codes: Kernel,
    scales: Kernel,
    factor: f32,
}

impl Fp8Convert {
    /// Loads `fp8_convert_v1_naive` for codes of `from`, to the other flavour.
    ///
    /// # Errors
    ///
    /// If the build has none for this device; HIP's.
    pub fn new(device: &Device, from: Fp8Format) -> Result<Self> {
        Self::from_module(&device.variant(NAME)?, from)
    }

    /// As [`Fp8Convert::new`], of a code object from elsewhere.
    ///
    /// # Errors
    ///
    /// If it has no such kernels; HIP's.
    pub fn from_code_object(device: &Device, code_object: &[u8], from: Fp8Format) -> Result<Self> {
        Self::from_module(&device.module(code_object)?, from)
    }

    fn from_module(module: &Module, from: Fp8Format) -> Result<Self> {
        let (names, factor) = match (from.mantissa_bits(), from.flavour()) {
            (3, Fp8Flavour::Ocp) => ("e4m3_e4m3fnuz", 2.0),
            (3, Fp8Flavour::Fnuz) => ("e4m3fnuz_e4m3", 0.5),
            (_, Fp8Flavour::Ocp) => ("e5m2_e5m2fnuz", 2.0),
            (_, Fp8Flavour::Fnuz) => ("e5m2fnuz_e5m2", 0.5),
        };
        let kernel = |name: &str| module.kernel(&format!("{NAME}__{name}"));
        Ok(Fp8Convert { codes: kernel(names)?, scales: kernel("scales")?, factor })
    }

    /// Converts `codes`, and adds to `num_saturated[0]` how many the other flavour does not have.
    ///
    /// # Errors
    ///
    /// If a length does not fit; HIP's.
    pub fn codes(
        &self,
        stream: &Stream,
        out: &mut Buffer<u8>,
        num_saturated: &mut Buffer<u32>,
        codes: &Buffer<u8>,
    ) -> Result<()> {
        out.check_len("out", codes.len())?;
        num_saturated.check_len("num_saturated", 1)?;
        let len = codes.len() as u64;
        let args = [
            Argument::output(out),
            Argument::output(num_saturated),
            Argument::input(codes),
            Argument::value(&len),
        ];
        // SAFETY: the kernel touches elements below `len`, which both buffers have, and one counter.
        unsafe { self.codes.launch(stream, covering(codes.len())?, &args) }
    }

    /// Converts the scales of such codes. Exact, unless one leaves the normal numbers.
    ///
    /// # Errors
    ///
    /// If the lengths differ; HIP's.
    pub fn scales(
        &self,
        stream: &Stream,
        out: &mut Buffer<f32>,
        scales: &Buffer<f32>,
    ) -> Result<()> {
        out.check_len("out", scales.len())?;
        let len = scales.len() as u64;
        let args = [
            Argument::output(out),
            Argument::input(scales),
            Argument::value(&self.factor),
            Argument::value(&len),
        ];
        // SAFETY: the kernel touches elements below `len`, which both buffers have.
        unsafe { self.scales.launch(stream, covering(scales.len())?, &args) }
    }
}

/// A work-item for each of `len` elements.
fn covering(len: usize) -> Result<Geometry> {
    let num_workgroups = len.div_ceil(WORKGROUP_SIZE as usize);
    Ok(Geometry::linear(count("the number of work-groups", num_workgroups)?, WORKGROUP_SIZE))
}
