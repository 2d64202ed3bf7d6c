//! `rms_norm_fp8_quantize`.

use engine_core::formats::Fp8Format;

use super::fp8_quantize::{Scales, Scaling, format_name};
use super::row_scales::{self, FusedShape, any_row, kept_row, whole_rows};
use super::{WORKGROUP_SIZE, count};
use crate::buffer::Buffer;
use crate::device::Device;
use crate::launch::{Argument, Geometry};
use crate::module::{Kernel, Module};
use crate::result::Result;
use crate::stream::Stream;
use crate::variant::{Variant, choose};

const OP: &str = "rms_norm_fp8_quantize";
const CLASS: &str = "fours, stride 256, wave butterfly, waves in order";

/// What there is.
pub(super) const VARIANTS: &[Variant<FusedShape>] = &[
    Variant {
        op: OP,
        name: "rms_norm_fp8_quantize_v2_registers",
        reduction_class: CLASS,
        supports: kept_row,
    },
    Variant {
        op: OP,
        name: "rms_norm_fp8_quantize_v1_naive",
        reduction_class: CLASS,
        supports: any_row,
    },
];

/// [`engine_core::ops::RmsNorm`] and [`super::Fp8Quantize`] in one, with an addition before it where there is one to make.
pub struct RmsNormFp8Quantize {
    kernel: Kernel,
    shape: FusedShape,
}

impl RmsNormFp8Quantize {
    /// The variant that `pin` names, or else the best, for rows of `hidden_size`.
    ///
    /// # Errors
    ///
    /// If `format` is not one of the two that the device computes with, or no variant serves the shape; HIP's.
    pub fn new(
        device: &Device,
        format: Fp8Format,
        scaling: Scaling,
        hidden_size: usize,
        pin: Option<&str>,
    ) -> Result<Self> {
        let shape = shape(scaling, hidden_size);
        let variant = choose(VARIANTS, &device.info().arch, &shape, pin)?;
        Self::from_module(&device.variant(variant.name)?, variant.name, format, shape)
    }

    /// As [`RmsNormFp8Quantize::new`], of a code object from elsewhere that says it is `variant`.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn from_code_object(
        device: &Device,
        code_object: &[u8],
        format: Fp8Format,
        scaling: Scaling,
        hidden_size: usize,
        variant: &str,
    ) -> Result<Self> {
        let shape = shape(scaling, hidden_size);
        let variant = choose(VARIANTS, &device.info().arch, &shape, Some(variant))?;
        Self::from_module(&device.module(code_object)?, variant.name, format, shape)
    }

    fn from_module(
        module: &Module,
        variant: &str,
        format: Fp8Format,
        shape: FusedShape,
    ) -> Result<Self> {
        let (format, scaling) = (format_name(format)?, shape.scaling.kernel_name());
        let kernel = module.kernel(&format!("{variant}__{format}_{scaling}"))?;
        Ok(RmsNormFp8Quantize { kernel, shape })
    }

    /// x += delta, if there is one; out = fp8(x / sqrt(mean(x²) + eps) · weight / scale), row by row.
    ///
    /// # Errors
    ///
    /// If a given scale is not positive and finite, or a length does not fit; HIP's.
    pub fn run(
        &self,
        stream: &Stream,
        out: &mut Buffer<u8>,
        scales: Scales<'_>,
        (x, delta): (&mut Buffer<f32>, Option<&Buffer<f32>>),
        (weight, eps): (&Buffer<f32>, f32),
    ) -> Result<()> {
        let hidden_size = self.shape.num_cols;
        weight.check_len("weight", hidden_size)?;
        let num_rows = whole_rows("x", x.len(), hidden_size)?;
        out.check_len("out", x.len())?;
        if let Some(delta) = delta {
            delta.check_len("delta", x.len())?;
        }
        let (scales, given) = row_scales::arguments(&self.shape, num_rows, scales)?;
        let hidden_size = count("hidden_size", hidden_size)?;
        let args = [
            Argument::output(out),
            scales,
            Argument::value(&given),
            Argument::output(x),
            delta.map_or_else(Argument::null, Argument::input),
            Argument::input(weight),
            Argument::value(&eps),
            Argument::value(&hidden_size),
        ];
        // SAFETY: the kernel touches rows below the number of work-groups and columns below `hidden_size`: as many as `x`,
        // `out` and `delta` have, and in each row as many as `weight` has, and the scales of those rows; all checked above,
        // and by `choose` that the variant serves rows of so many columns.
        unsafe { self.kernel.launch(stream, Geometry::linear(num_rows, WORKGROUP_SIZE), &args) }
    }
}

fn shape(scaling: Scaling, num_cols: usize) -> FusedShape {
    FusedShape { num_cols, element_bytes: size_of::<f32>(), scaling }
}
