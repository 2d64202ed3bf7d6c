//! `fp8_quantize`.

use std::fmt;

use bytemuck::Pod;
use engine_core::formats::Fp8Format;

use super::{WORKGROUP_SIZE, count};
use crate::buffer::Buffer;
use crate::device::Device;
use crate::launch::{Argument, Geometry};
use crate::module::{Kernel, Module};
use crate::result::{Error, Result};
use crate::stream::Stream;
use crate::variant::{Variant, choose, everything};

const V1: &str = "fp8_quantize_v1_naive";
const V2: &str = "fp8_quantize_v2_registers";
const V3: &str = "fp8_quantize_v3_one_launch";

/// Columns that share a scale with [`Scaling::Group`].
pub const SCALE_GROUP: usize = 128;

/// Columns of a row that a work-group of v2 has the registers for.
pub(super) const MAX_KEPT_COLS: usize = 16_384;
/// Elements that a work-group of v3 has the registers for, and its work-items.
const MAX_ONE_LAUNCH: usize = 40_960;
const ONE_LAUNCH_WORKGROUP: u32 = 1024;

const CLASS: &str = "none: a maximum has no order";

/// What there is.
pub(super) const VARIANTS: &[Variant<QuantizeShape>] = &[
    Variant { op: "fp8_quantize", name: V3, reduction_class: CLASS, supports: one_launch },
    Variant { op: "fp8_quantize", name: V2, reduction_class: CLASS, supports: registers },
    Variant { op: "fp8_quantize", name: V1, reduction_class: CLASS, supports: everything },
];

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

/// Who shares a scale.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scaling {
    /// All, and it is known.
    Static,
    /// Each row has its own, from its maximum.
    Row,
    /// Each [`SCALE_GROUP`] columns of a row; the last group of a row may be shorter.
    Group,
    /// All, and it comes from their maximum: for what is quantized once and kept. Rows that are batched would depend on
    /// each other.
    Tensor,
}

impl Scaling {
    pub(super) const fn kernel_name(self) -> &'static str {
        match self {
            Scaling::Static => "static",
            Scaling::Row => "row",
            Scaling::Group => "group",
            Scaling::Tensor => "tensor",
        }
    }

    /// How many scales rows of a shape have that are not given.
    #[must_use]
    pub const fn num_scales(self, num_rows: usize, num_cols: usize) -> usize {
        match self {
            Scaling::Static => 0,
            Scaling::Row => num_rows,
            Scaling::Group => num_rows * num_cols.div_ceil(SCALE_GROUP),
            Scaling::Tensor => 1,
        }
    }
}

/// What a variant is chosen by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct QuantizeShape {
    /// Rows.
    pub num_rows: usize,
    /// Columns.
    pub num_cols: usize,
    /// Bytes of an element before.
    pub element_bytes: usize,
    /// Who shares a scale.
    pub scaling: Scaling,
}

impl fmt::Display for QuantizeShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let QuantizeShape { num_rows, num_cols, element_bytes, scaling } = self;
        let scaling = scaling.kernel_name();
        write!(
            f,
            "{num_rows} rows of {num_cols} elements of {element_bytes} bytes, {scaling} scale"
        )
    }
}

fn registers(shape: &QuantizeShape) -> std::result::Result<(), String> {
    let vector = 16 / shape.element_bytes;
    match shape.scaling {
        Scaling::Tensor => Err("a work-group sees one row".to_owned()),
        Scaling::Group if !shape.num_cols.is_multiple_of(vector) => {
            Err(format!("in groups, rows must be vectors of {vector} columns"))
        }
        _ if shape.num_cols > MAX_KEPT_COLS => {
            Err(format!("the registers hold {MAX_KEPT_COLS} columns"))
        }
        _ => Ok(()),
    }
}

fn one_launch(shape: &QuantizeShape) -> std::result::Result<(), String> {
    let num_elements = shape.num_rows.saturating_mul(shape.num_cols);
    if shape.scaling != Scaling::Tensor {
        Err("it has one scale for the tensor".to_owned())
    } else if num_elements > MAX_ONE_LAUNCH {
        Err(format!("the registers hold {MAX_ONE_LAUNCH} elements"))
    } else {
        Ok(())
    }
}

/// Rows of f32 or bf16 to FP8. What it computes, odd values included, is written down at
/// `reference_cpu::ops::fp8_quantize`.
pub struct Fp8Quantize {
    kernel: Kernel,
    /// The launches before it, with a scale for the tensor.
    before: Option<[Kernel; 2]>,
    variant: &'static str,
    shape: QuantizeShape,
    input: &'static str,
}

/// The scales of a tensor.
pub enum Scales<'a> {
    /// [`Scaling::Static`]: the one, positive and finite.
    Given(f32),
    /// Where the others go, [`Scaling::num_scales`] of them.
    Made(&'a mut Buffer<f32>),
}

impl Fp8Quantize {
    /// The variant that `pin` names, or else the best, for rows of type `T`. `num_rows` is the most that will come.
    ///
    /// # Errors
    ///
    /// If `format` is not one of the two that the device computes with, or no variant serves the shape; HIP's.
    pub fn new<T: Input>(
        device: &Device,
        format: Fp8Format,
        scaling: Scaling,
        [num_rows, num_cols]: [usize; 2],
        pin: Option<&str>,
    ) -> Result<Self> {
        let shape = QuantizeShape { num_rows, num_cols, element_bytes: size_of::<T>(), scaling };
        let variant = choose(VARIANTS, &device.info().arch, &shape, pin)?;
        Self::from_module::<T>(&device.variant(variant.name)?, variant.name, format, shape)
    }

    /// As [`Fp8Quantize::new`], of a code object from elsewhere that says it is `variant`.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn from_code_object<T: Input>(
        device: &Device,
        code_object: &[u8],
        format: Fp8Format,
        scaling: Scaling,
        [num_rows, num_cols]: [usize; 2],
        variant: &str,
    ) -> Result<Self> {
        let shape = QuantizeShape { num_rows, num_cols, element_bytes: size_of::<T>(), scaling };
        let variant = choose(VARIANTS, &device.info().arch, &shape, Some(variant))?;
        Self::from_module::<T>(&device.module(code_object)?, variant.name, format, shape)
    }

    fn from_module<T: Input>(
        module: &Module,
        variant: &'static str,
        format: Fp8Format,
        shape: QuantizeShape,
    ) -> Result<Self> {
        let (format, input) = (format_name(format)?, T::NAME);
        let kernel = |suffix: String| module.kernel(&format!("{variant}__{suffix}"));
        let before = if shape.scaling == Scaling::Tensor && variant == V1 {
            let maximum = kernel(format!("{input}_tensor_maximum"))?;
            Some([maximum, kernel(format!("{format}_tensor_scale"))?])
        } else {
            None
        };
        let scaling = shape.scaling.kernel_name();
        let kernel = kernel(format!("{input}_{format}_{scaling}"))?;
        Ok(Fp8Quantize { kernel, before, variant, shape, input })
    }

    /// The variant.
    #[must_use]
    pub fn variant(&self) -> &'static str {
        self.variant
    }

    /// out = fp8(x / scale), where `x` is rows of the shape's columns, no more of them than it says.
    ///
    /// # Errors
    ///
    /// If a given scale is not positive and finite, or a length or type does not fit; HIP's.
    pub fn run<T: Input>(
        &self,
        stream: &Stream,
        out: &mut Buffer<u8>,
        scales: Scales<'_>,
        x: &Buffer<T>,
    ) -> Result<()> {
        let num_rows = self.num_rows(out, x)?;
        let num_scales = self.shape.scaling.num_scales(num_rows as usize, self.shape.num_cols);
        match scales {
            Scales::Given(scale) => {
                check_given(self.shape.scaling, scale)?;
                self.launch(stream, num_rows, [Argument::output(out), Argument::input(x)], &scale)
            }
            Scales::Made(_) if self.shape.scaling == Scaling::Static => Err(not_given()),
            Scales::Made(scales) => {
                scales.check_len("scales", num_scales)?;
                if let Some(before) = &self.before {
                    self.tensor_scale(stream, before, num_rows, scales, x)?;
                }
                self.launch_made(stream, num_rows, out, scales, x)
            }
        }
    }

    fn launch(
        &self,
        stream: &Stream,
        num_rows: u32,
        [out, x]: [Argument<'_>; 2],
        scale: &f32,
    ) -> Result<()> {
        let num_cols = count("num_cols", self.shape.num_cols)?;
        let args = [out, x, Argument::value(scale), Argument::value(&num_cols)];
        // SAFETY: the kernel touches rows below the number of work-groups and columns below `num_cols`, as many as `x` and
        // `out` have; `x` has the type that the kernel reads. `num_rows` checked all three, and `choose` that the variant
        // serves rows of so many columns.
        unsafe { self.kernel.launch(stream, Geometry::linear(num_rows, WORKGROUP_SIZE), &args) }
    }

    fn launch_made<T: Input>(
        &self,
        stream: &Stream,
        num_rows: u32,
        out: &mut Buffer<u8>,
        scales: &mut Buffer<f32>,
        x: &Buffer<T>,
    ) -> Result<()> {
        let is_one_launch = self.variant == V3;
        let size = if is_one_launch { x.len() } else { self.shape.num_cols };
        let size = count("the number of elements", size)?;
        let args = [
            Argument::output(out),
            Argument::output(scales),
            Argument::input(x),
            Argument::value(&size),
        ];
        let geometry = if is_one_launch {
            Geometry::linear(1, ONE_LAUNCH_WORKGROUP)
        } else {
            Geometry::linear(num_rows, WORKGROUP_SIZE)
        };
        // SAFETY: as in `launch`; `scales` has what `Scaling::num_scales` says of rows as many as there are work-groups. v3
        // touches as many elements as `x` has, at most those of the shape, which `choose` checked.
        unsafe { self.kernel.launch(stream, geometry, &args) }
    }

    /// Makes the maximum of all rows, then the scale in its place.
    fn tensor_scale<T: Input>(
        &self,
        stream: &Stream,
        [maximum, to_scale]: &[Kernel; 2],
        num_rows: u32,
        scale: &mut Buffer<f32>,
        x: &Buffer<T>,
    ) -> Result<()> {
        let num_cols = count("num_cols", self.shape.num_cols)?;
        scale.fill_bytes(stream, 0)?;
        let args = [Argument::output(scale), Argument::input(x), Argument::value(&num_cols)];
        // SAFETY: rows and columns as in `launch`; `scale` has one element, checked by the caller.
        unsafe { maximum.launch(stream, Geometry::linear(num_rows, WORKGROUP_SIZE), &args) }?;
        // SAFETY: one work-item, and one element.
        unsafe { to_scale.launch(stream, Geometry::linear(1, 1), &[Argument::output(scale)]) }
    }

    fn num_rows<T: Input>(&self, out: &Buffer<u8>, x: &Buffer<T>) -> Result<u32> {
        let QuantizeShape { num_rows: most, num_cols, .. } = self.shape;
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
        let num_rows = x.len() / num_cols;
        if num_rows > most {
            let found = format!("{num_rows}, and the shape has {most}");
            return refused("the number of rows", "at most that of Fp8Quantize::new", found);
        }
        count("the number of rows", num_rows)
    }
}

/// The format's name in the names of kernels.
pub(super) fn format_name(format: Fp8Format) -> Result<&'static str> {
    match format {
        Fp8Format::E4m3Fnuz => Ok("e4m3fnuz"),
        Fp8Format::E5m2Fnuz => Ok("e5m2fnuz"),
        other => Err(Error::Value {
            what: "the FP8 format",
            allowed: "E4m3Fnuz or E5m2Fnuz, those of gfx942",
            found: format!("{other:?}"),
        }),
    }
}

/// An error unless `scale` is one that can be given, to who is given one.
pub(super) fn check_given(scaling: Scaling, scale: f32) -> Result<()> {
    if scaling != Scaling::Static {
        let (what, allowed) = ("a given scale", "for Scaling::Static alone");
        return Err(Error::Value { what, allowed, found: scale.to_string() });
    }
    if scale > 0.0 && scale.is_finite() {
        return Ok(());
    }
    let (what, allowed) = ("scale", "positive and finite");
    Err(Error::Value { what, allowed, found: scale.to_string() })
}

/// Who is to be given a scale was not.
pub(super) fn not_given() -> Error {
    let (what, allowed) = ("the scale", "Scales::Given with Scaling::Static");
    Error::Value { what, allowed, found: "Scales::Made".to_owned() }
}
