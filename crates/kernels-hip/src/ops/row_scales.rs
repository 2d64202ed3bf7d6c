//! What the fused kernels that quantize rows share: their shape, and their scales as arguments.

use std::fmt;

use super::count;
use super::fp8_quantize::{MAX_KEPT_COLS, Scales, Scaling, check_given, not_given};
use crate::launch::Argument;
use crate::result::{Error, Result};

/// What a variant of a fused kernel is chosen by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FusedShape {
    /// Columns of a row of codes.
    pub num_cols: usize,
    /// Bytes of an element before.
    pub element_bytes: usize,
    /// Who shares a scale.
    pub scaling: Scaling,
}

impl fmt::Display for FusedShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let FusedShape { num_cols, element_bytes, scaling } = self;
        let scaling = scaling.kernel_name();
        write!(f, "rows of {num_cols} from elements of {element_bytes} bytes, {scaling} scale")
    }
}

/// The `supports` of a v1.
pub(super) fn any_row(shape: &FusedShape) -> std::result::Result<(), String> {
    match shape.scaling {
        Scaling::Tensor => Err("a work-group sees one row".to_owned()),
        _ => Ok(()),
    }
}

/// The `supports` of a variant that keeps rows in registers.
pub(super) fn kept_row(shape: &FusedShape) -> std::result::Result<(), String> {
    any_row(shape)?;
    let vector = 16 / shape.element_bytes;
    if !shape.num_cols.is_multiple_of(vector) {
        return Err(format!("rows must be vectors of {vector} columns"));
    }
    if shape.num_cols > MAX_KEPT_COLS {
        return Err(format!("the registers hold {MAX_KEPT_COLS} columns"));
    }
    Ok(())
}

/// Rows in `len` elements, if they are whole ones.
pub(super) fn whole_rows(what: &'static str, len: usize, num_cols: usize) -> Result<u32> {
    if num_cols == 0 || !len.is_multiple_of(num_cols) {
        let found = format!("{len} elements for rows of {num_cols}");
        return Err(Error::Value { what, allowed: "whole rows", found });
    }
    count("the number of rows", len / num_cols)
}

/// Where scales go, and the one that is given: one of them means nothing to the kernel.
pub(super) fn arguments<'a>(
    shape: &FusedShape,
    num_rows: u32,
    scales: Scales<'a>,
) -> Result<(Argument<'a>, f32)> {
    match scales {
        Scales::Given(scale) => {
            check_given(shape.scaling, scale)?;
            Ok((Argument::null(), scale))
        }
        Scales::Made(_) if shape.scaling == Scaling::Static => Err(not_given()),
        Scales::Made(scales) => {
            let num_scales = shape.scaling.num_scales(num_rows as usize, shape.num_cols);
            scales.check_len("scales", num_scales)?;
            Ok((Argument::output(scales), 0.0))
        }
    }
}
