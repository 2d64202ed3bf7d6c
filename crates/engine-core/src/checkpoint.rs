//! The seam between weight files and the model: named tensors, read a row at a time.

use alloc::boxed::Box;
use alloc::string::String;

use crate::config::ModelConfig;

/// A matrix (or a vector, as one row) that can be read in f32, whatever its stored format.
///
/// Reading cannot fail: whoever makes a `RowSource` has checked sizes and offsets. `Sync`, because
/// backends read rows from many threads while they pack.
pub trait RowSource: Sync {
    /// Rows; 1 for a vector.
    fn num_rows(&self) -> usize;
    /// Elements of a row.
    fn num_cols(&self) -> usize;
    /// Writes row `row` to `out`, which holds exactly `num_cols` elements.
    fn read_row(&self, row: usize, out: &mut [f32]);
}

/// A model on disk. Tensors have Hugging Face's Llama names (`model.layers.0.self_attn.q_proj.weight`),
/// whatever the file calls them, and Hugging Face's row order (half-split RoPE).
pub trait Checkpoint {
    /// The model's shape.
    fn config(&self) -> &ModelConfig;

    /// The tensor `name` of `shape` (`[rows, cols]`, or `[cols]` for a vector).
    ///
    /// # Errors
    /// [`CheckpointError::Missing`] or [`CheckpointError::WrongShape`], both naming the tensor.
    fn tensor(
        &self,
        name: &str,
        shape: &[usize],
    ) -> Result<Box<dyn RowSource + '_>, CheckpointError>;
}

/// Why a tensor cannot be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// No tensor has this name.
    #[error(
        "tensor `{name}` is missing from {file}; the file is incomplete or not of this architecture"
    )]
    Missing {
        /// The Hugging Face name.
        name: String,
        /// Where it was looked for.
        file: String,
    },
    /// The tensor is there with another shape.
    #[error(
        "tensor `{name}` in {file} has shape {found}, but the model's configuration asks for {expected}"
    )]
    WrongShape {
        /// The Hugging Face name.
        name: String,
        /// Where it was found.
        file: String,
        /// `[rows, cols]` as found.
        found: String,
        /// `[rows, cols]` as asked for.
        expected: String,
    },
    /// The tensor is there in a format that cannot be read.
    #[error(
        "tensor `{name}` in {file} has the unsupported type {found}; convert it to one of {supported}"
    )]
    UnsupportedType {
        /// The Hugging Face name.
        name: String,
        /// Where it was found.
        file: String,
        /// Its type.
        found: String,
        /// The types that can be read.
        supported: &'static str,
    },
}
