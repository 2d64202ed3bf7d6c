//! `fp8_quantize`.

use bytemuck::Pod;
use engine_core::formats::Fp8Format;

use super::{WORKGROUP_SIZE, count};
use crate::buffer::Buffer;
use crate::device::Device;
use crate::launch::{Argument, Geometry};
use crate::module::{Kernel, Module};
use crate::result::{Error, Result};
use crate::stream::Stream;
use crate::variant::{Any, Variant, everything};

const NAME: &str = "fp8_quantize_v1_naive";

/// What there is.
pub(super) const VARIANTS: &[Variant<Any>] = &[Variant {
    op: "fp8_quantize",
    name: NAME,
    reduction_class: "none: a maximum has no order",
    supports: everything,
}];

/// What can be quantized: f32, and bf16 as its bits.
pub trait Input: Pod {
    /// Its name in the names of kernels.
    const NAME: &str;
}

impl Input for f32 {
    const NAME: &str = "f32";
}

impl Input for u16 {
    const NAME: &str = "bf16";
}

/// Rows of f32 or bf16 to FP8, with one scale for all or one per row. What it computes, odd values included, is written
/// down at `reference_cpu::ops::fp8_quantize`.
pub struct Fp8Quantize {
    static_scale: Kernel,
    row_scale: Kernel,
    input: &'static str,
}

impl Fp8Quantize {
    /// Loads `fp8_quantize_v1_naive` for inputs of type `T`.
    ///
    /// # Errors
    ///
    /// If `format` is not one of the two that the device computes with, or the build has none for this device; HIP's.
    pub fn new<T: Input>(device: &Device, format: Fp8Format) -> Result<Self> {
        let format = match format {
            Fp8Format::E4m3Fnuz => "e4m3fnuz",
            Fp8Format::E5m2Fnuz => "e5m2fnuz",
            other => {
                return Err(Error::Value {
                    what: "the FP8 format",
                    allowed: "E4m3Fnuz or E5m2Fnuz, those of gfx942",
                    found: format!("{other:?}"),
                });
            }
        };
        let module: Module = device.variant(NAME)?;
        let kernel = |scale: &str| module.kernel(&format!("{NAME}__{}_{format}_{scale}", T::NAME));
        Ok(Fp8Quantize {
            static_scale: kernel("static")?,
            row_scale: kernel("row")?,
            input: T::NAME,
        })
    }

    /// out = fp8(x / scale), where `x` is rows of `num_cols`.
    ///
    /// # Errors
    ///
    /// If `scale` is not positive and finite, or a length or type does not fit; HIP's.
    pub fn with_static_scale<T: Input>(
        &self,
        stream: &Stream,
        out: &mut Buffer<u8>,
        x: &Buffer<T>,
        num_cols: usize,
        scale: f32,
    ) -> Result<()> {
        if !(scale > 0.0 && scale.is_finite()) {
            let (what, allowed) = ("scale", "positive and finite");
            return Err(Error::Value { what, allowed, found: scale.to_string() });
        }
        let num_rows = self.num_rows(out, x, num_cols)?;
        let num_cols = count("num_cols", num_cols)?;
        let args = [
            Argument::output(out),
            Argument::input(x),
            Argument::value(&scale),
            Argument::value(&num_cols),
        ];
        // SAFETY: the kernel touches rows below the number of work-groups and columns below `num_cols`, as many as `x` and
        // `out` have; `x` has the type that the kernel reads. `num_rows` checked all three.
        unsafe {
            self.static_scale.launch(stream, Geometry::linear(num_rows, WORKGROUP_SIZE), &args)
        }
    }

    /// scales\[row\] from the row's maximum, and out\[row\] = fp8(x\[row\] / scales\[row\]).
    ///
    /// # Errors
    ///
    /// If a length or type does not fit; HIP's.
    pub fn with_row_scales<T: Input>(
        &self,
        stream: &Stream,
        out: &mut Buffer<u8>,
        scales: &mut Buffer<f32>,
        x: &Buffer<T>,
        num_cols: usize,
    ) -> Result<()> {
        let num_rows = self.num_rows(out, x, num_cols)?;
        scales.check_len("scales", num_rows as usize)?;
        let num_cols = count("num_cols", num_cols)?;
        let args = [
            Argument::output(out),
            Argument::output(scales),
            Argument::input(x),
            Argument::value(&num_cols),
        ];
        // SAFETY: as above; `scales` has an element for each work-group.
        unsafe { self.row_scale.launch(stream, Geometry::linear(num_rows, WORKGROUP_SIZE), &args) }
    }

    fn num_rows<T: Input>(&self, out: &Buffer<u8>, x: &Buffer<T>, num_cols: usize) -> Result<u32> {
        let refused = |what, allowed, found| Err(Error::Value { what, allowed, found });
        if T::NAME != self.input {
            let found = format!("{}, and the kernel was loaded for {}", T::NAME, self.input);
            return refused("the type of x", "that of Fp8Quantize::new", found);
        }
        out.check_len("out", x.len())?;
        if num_cols == 0 || !x.len().is_multiple_of(num_cols) {
            let found = format!("{} for rows of {num_cols}", x.len());
            return refused("the number of elements of x", "whole rows", found);
        }
        count("the number of rows", x.len() / num_cols)
    }
}
