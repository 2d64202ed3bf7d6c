//! `rms_norm`.

use bytemuck::Pod;
use engine_core::dtype::DType;

use super::{ROW_LIST_LEN, WORKGROUP_SIZE, check_element, count, element_name, plain, row_list};
use crate::buffer::Buffer;
use crate::device::Device;
use crate::launch::{Argument, Geometry};
use crate::module::{Kernel, Module};
use crate::result::{Error, Result};
use crate::stream::Stream;
use crate::variant::{Any, Variant};

const NAME: &str = "rms_norm_v1_naive";

/// What there is.
pub(super) const VARIANTS: &[Variant<Any>] =
    &[plain("rms_norm", NAME, "stride 256, wave butterfly, waves in order")];

/// out\[t\] = x\[r(t)\] / sqrt(mean(x\[r(t)\]²) + eps) · weight: [`engine_core::ops::RmsNorm`].
pub struct RmsNorm {
    first: Kernel,
    listed: Kernel,
    dtype: DType,
}

/// Which rows of x are normalized, in order of output.
#[derive(Clone, Copy, Debug)]
pub enum NormRows<'a> {
    /// The first so many.
    First(usize),
    /// These.
    Listed(&'a [u32]),
}

impl RmsNorm {
    /// Loads `rms_norm_v1_naive` for an output of `dtype`.
    ///
    /// # Errors
    ///
    /// If the build has none for this device; HIP's.
    pub fn new(device: &Device, dtype: DType) -> Result<Self> {
        Self::of(&device.variant(NAME)?, dtype)
    }

    /// As [`RmsNorm::new`], of a code object from elsewhere.
    ///
    /// # Errors
    ///
    /// If it has no such kernel; HIP's.
    pub fn from_code_object(device: &Device, code_object: &[u8], dtype: DType) -> Result<Self> {
        Self::of(&device.module(code_object)?, dtype)
    }

    fn of(module: &Module, dtype: DType) -> Result<Self> {
        let name = format!("{NAME}__{}", element_name(dtype));
        let listed = module.kernel(&format!("{name}_rows"))?;
        Ok(RmsNorm { first: module.kernel(&name)?, listed, dtype })
    }

    /// `x` and `out` are rows of `hidden_size`; `T` is f32 or, for 16 bits, u16.
    ///
    /// # Errors
    ///
    /// If a buffer is too short or of another type; HIP's.
    pub fn run<T: Pod>(
        &self,
        stream: &Stream,
        out: &mut Buffer<T>,
        x: &Buffer<f32>,
        weight: &Buffer<f32>,
        (eps, hidden_size): (f32, usize),
        rows: NormRows<'_>,
    ) -> Result<()> {
        check_element::<T>(self.dtype)?;
        if hidden_size == 0 {
            let (what, allowed) = ("hidden_size", "at least 1");
            return Err(Error::Value { what, allowed, found: "0".to_owned() });
        }
        let (num_rows, x_rows) = match rows {
            NormRows::First(num_rows) => (num_rows, num_rows),
            NormRows::Listed(rows) => {
                let largest = rows.iter().max().map_or(0, |&row| (row as usize).saturating_add(1));
                (rows.len(), largest)
            }
        };
        weight.check_at_least("weight", hidden_size)?;
        x.check_at_least("x", x_rows.saturating_mul(hidden_size))?;
        out.check_at_least("out", num_rows.saturating_mul(hidden_size))?;
        let width = count("hidden_size", hidden_size)?;
        fn common<'a>(
            out: Argument<'a>,
            [x, weight]: [&'a Buffer<f32>; 2],
            eps: &'a f32,
            width: &'a u32,
        ) -> [Argument<'a>; 5] {
            let [x, weight] = [Argument::input(x), Argument::input(weight)];
            [out, x, weight, Argument::value(eps), Argument::value(width)]
        }
        match rows {
            NormRows::First(num_rows) => {
                let geometry = Geometry::linear(count("num_rows", num_rows)?, WORKGROUP_SIZE);
                // SAFETY: the kernel touches rows below the number of work-groups and columns below `hidden_size`: as
                // many as `x` and `out` have, and in each row as many as `weight` has. `T` was checked.
                unsafe {
                    self.first.launch(
                        stream,
                        geometry,
                        &common(Argument::output(out), [x, weight], &eps, &width),
                    )
                }
            }
            NormRows::Listed(rows) => {
                for (chunk_idx, rows) in rows.chunks(ROW_LIST_LEN).enumerate() {
                    let list = row_list(rows);
                    let first = chunk_idx * ROW_LIST_LEN * hidden_size;
                    let out = Argument::output_from(out, first);
                    let [out, x, weight, eps, width] = common(out, [x, weight], &eps, &width);
                    let args = [out, x, weight, eps, width, Argument::value(&list)];
                    let geometry = Geometry::linear(rows.len() as u32, WORKGROUP_SIZE);
                    // SAFETY: as above; the rows that are listed are below `x_rows`.
                    unsafe { self.listed.launch(stream, geometry, &args) }?;
                }
                Ok(())
            }
        }
    }
}
