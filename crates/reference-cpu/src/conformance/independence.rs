//! Bit-equality: a row's results depend on nothing but the row.

mod rows;
mod sequences;

use engine_core::kv_dtype::KvDType;
use engine_core::ops::Ops;

use super::Failure;

/// Computes the same rows in many ways and compares bits: alone; in batches of 2, 7, 64 and 65
/// with changing company, some of it NaN and infinite; and, for attention, as one chunk, in chunks
/// of 1, 7 and 64, with block sizes 1, 16 and 128, with and without other sequences.
///
/// All `backends` have to agree with each other as well: pass one for each number of threads (and
/// whatever else a numerics id leaves open).
///
/// # Errors
/// The first [`Failure`].
pub fn row_independence<O: Ops>(backends: &mut [O], kv_dtypes: &[KvDType]) -> Result<(), Failure> {
    if let Some((first, others)) = backends.split_first() {
        let first = first.numerics_id();
        if let Some(other) = others.iter().find(|other| other.numerics_id() != first) {
            let other = other.numerics_id();
            return Err(Failure::NumericsId { first, other });
        }
    }
    rows::embed(backends)?;
    rows::linear(backends)?;
    rows::rms_norm(backends)?;
    rows::head_norm(backends)?;
    rows::rope_angles(backends)?;
    rows::rope(backends)?;
    rows::silu_mul(backends)?;
    sequences::attention(backends, kv_dtypes)
}

/// Compares rows of `width` with those of the first run.
fn same_bits(
    op: &'static str,
    case: &dyn Fn() -> String,
    row: usize,
    got: &[f32],
    first: &[f32],
) -> Result<(), Failure> {
    let differ = |(got, first): (&f32, &f32)| {
        got.to_bits() != first.to_bits() && !(got.is_nan() && first.is_nan())
    };
    match got.iter().zip(first).position(differ) {
        None => Ok(()),
        Some(index) => Err(Failure::Dependent {
            op,
            case: case(),
            row,
            index,
            got: got[index],
            first: first[index],
        }),
    }
}
