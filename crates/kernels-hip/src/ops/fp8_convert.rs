//! `fp8_convert`.

use engine_core::formats::{Fp8Flavour, Fp8Format};

use super::{WORKGROUP_SIZE, count, plain};
use crate::buffer::Buffer;
use crate::device::Device;
use crate::launch::{Argument, Geometry};
use crate::module::{Kernel, Module};
use crate::result::Result;
use crate::stream::Stream;
use crate::variant::{Any, Variant, choose};

const V1: &str = "fp8_convert_v1_naive";
const V2: &str = "fp8_convert_v2_vectors";
/// Codes of a work-item of v2.
const VECTOR_LEN: usize = 16;

/// What there is.
pub(super) const VARIANTS: &[Variant<Any>] =
    &[plain("fp8_convert", V2, "none: no sums"), plain("fp8_convert", V1, "none: no sums")];

/// FP8 codes from the flavour of the Open Compute Project to that of gfx942, or back, and their scales. What becomes of
/// each code is written down at `reference_cpu::ops::fp8_convert`.
pub struct Fp8Convert {
    codes: Kernel,
    scales: Kernel,
    factor: f32,
    /// Codes of a work-item.
    codes_of_item: usize,
}

impl Fp8Convert {
    /// For codes of `from`, to the other flavour: the variant that `pin` names, or else the best.
    ///
    /// # Errors
    ///
    /// If the build has none for this device; HIP's.
    pub fn new(device: &Device, from: Fp8Format, pin: Option<&str>) -> Result<Self> {
        let variant = choose(VARIANTS, &device.info().arch, &Any, pin)?.name;
        Self::from_module(device, &device.variant(variant)?, from, variant)
    }

    /// As [`Fp8Convert::new`], of a code object from elsewhere that says it is `variant`.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn from_code_object(
        device: &Device,
        code_object: &[u8],
        from: Fp8Format,
        variant: &str,
    ) -> Result<Self> {
        let variant = choose(VARIANTS, &device.info().arch, &Any, Some(variant))?.name;
        Self::from_module(device, &device.module(code_object)?, from, variant)
    }

    fn from_module(
        device: &Device,
        module: &Module,
        from: Fp8Format,
        variant: &str,
    ) -> Result<Self> {
        let (names, factor) = match (from.mantissa_bits(), from.flavour()) {
            (3, Fp8Flavour::Ocp) => ("e4m3_e4m3fnuz", 2.0),
            (3, Fp8Flavour::Fnuz) => ("e4m3fnuz_e4m3", 0.5),
            (_, Fp8Flavour::Ocp) => ("e5m2_e5m2fnuz", 2.0),
            (_, Fp8Flavour::Fnuz) => ("e5m2fnuz_e5m2", 0.5),
        };
        Ok(Fp8Convert {
            codes: module.kernel(&format!("{variant}__{names}"))?,
            // Scales are few: v1 has the kernel.
            scales: device.variant(V1)?.kernel(&format!("{V1}__scales"))?,
            factor,
            codes_of_item: if variant == V2 { VECTOR_LEN } else { 1 },
        })
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
        let geometry = covering(codes.len().div_ceil(self.codes_of_item))?;
        // SAFETY: the kernel touches elements below `len`, which both buffers have, and one counter; in vectors where they
        // are whole, and buffers begin on one.
        unsafe { self.codes.launch(stream, geometry, &args) }
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
