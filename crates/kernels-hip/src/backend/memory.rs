//! Arrays and weights on the device.

use bytemuck::Pod;
use engine_core::checkpoint::RowSource;
use engine_core::device::OpError;
use engine_core::dtype::DType;
use engine_core::kv_dtype::KvDType;

use super::error::{alloc_error, op_error};
use crate::buffer::Buffer;
use crate::device::Device;
use crate::stream::Stream;

/// Elements of a weight that are converted and copied at a time.
const CHUNK_LEN: usize = 1 << 21;

/// A device array of this backend.
pub struct Memory {
    pub(super) kind: Kind,
}

pub(super) enum Kind {
    /// f32.
    Wide(Buffer<f32>),
    /// Matrix inputs, as the bits of the compute dtype.
    Narrow(Buffer<u16>),
}

/// Memory for `len` elements.
pub(super) fn alloc<T: Pod>(
    device: &Device,
    len: usize,
    what: &'static str,
) -> Result<Buffer<T>, OpError> {
    let num_bytes = len.saturating_mul(size_of::<T>());
    device.buffer(len).map_err(|error| alloc_error(what, num_bytes, error))
}

/// The failure of an op that was given the other kind of array.
fn wrong_kind(op: &'static str, what: &'static str, found: usize, expected: usize) -> OpError {
    OpError::Shape { op, what, found, expected }
}

const WIDE_WANTED: &str = "element bytes of an f32 array";
const NARROW_WANTED: &str = "element bytes of matrix inputs";

impl Memory {
    /// The array if it is f32.
    pub(super) fn wide(&self, op: &'static str) -> Result<&Buffer<f32>, OpError> {
        match &self.kind {
            Kind::Wide(buffer) => Ok(buffer),
            Kind::Narrow(_) => Err(wrong_kind(op, WIDE_WANTED, 2, 4)),
        }
    }

    /// As [`Memory::wide`], to be written.
    pub(super) fn wide_mut(&mut self, op: &'static str) -> Result<&mut Buffer<f32>, OpError> {
        match &mut self.kind {
            Kind::Wide(buffer) => Ok(buffer),
            Kind::Narrow(_) => Err(wrong_kind(op, WIDE_WANTED, 2, 4)),
        }
    }

    /// The array if it is of matrix inputs.
    pub(super) fn narrow(&self, op: &'static str) -> Result<&Buffer<u16>, OpError> {
        match &self.kind {
            Kind::Narrow(buffer) => Ok(buffer),
            Kind::Wide(_) => Err(wrong_kind(op, NARROW_WANTED, 4, 2)),
        }
    }

    /// As [`Memory::narrow`], to be written.
    pub(super) fn narrow_mut(&mut self, op: &'static str) -> Result<&mut Buffer<u16>, OpError> {
        match &mut self.kind {
            Kind::Narrow(buffer) => Ok(buffer),
            Kind::Wide(_) => Err(wrong_kind(op, NARROW_WANTED, 4, 2)),
        }
    }
}

/// `x` rounded to `dtype`, which has 16 bits, as its bits.
pub(super) fn to_bits(dtype: DType, x: f32) -> u16 {
    KvDType::Float(dtype).to_code(dtype.round(x)) as u16
}

/// The number that [`to_bits`] made of it.
pub(super) fn from_bits(dtype: DType, bits: u16) -> f32 {
    KvDType::Float(dtype).from_code(bits.into())
}

/// A `[num_rows, num_cols]` weight in the compute dtype, row by row.
pub struct Matrix {
    pub(super) num_rows: usize,
    pub(super) num_cols: usize,
    pub(super) data: Buffer<u16>,
}

impl Matrix {
    /// Rounds and copies the rows of `parts`, one below the other.
    pub(super) fn load(
        device: &Device,
        stream: &Stream,
        parts: &[&dyn RowSource],
        dtype: DType,
    ) -> Result<Self, OpError> {
        const OP: &str = "load_matrix";
        let num_cols = parts.first().map_or(0, |part| part.num_cols());
        for part in parts {
            if part.num_cols() != num_cols || num_cols == 0 {
                let (what, found) = ("columns of a part", part.num_cols());
                return Err(OpError::Shape { op: OP, what, found, expected: num_cols.max(1) });
            }
        }
        let num_rows = parts.iter().map(|part| part.num_rows()).sum::<usize>();
        let len = num_rows.saturating_mul(num_cols);
        let mut data = alloc(device, len, "a weight matrix")?;
        let mut row = vec![0.0; num_cols];
        let mut chunk: Vec<u16> = Vec::new();
        let mut written = 0;
        let mut flush = |chunk: &mut Vec<u16>| {
            let copied = data.write_at(stream, written, chunk);
            written += chunk.len();
            chunk.clear();
            copied.map_err(|error| op_error(OP, error))
        };
        for part in parts {
            for row_idx in 0..part.num_rows() {
                part.read_row(row_idx, &mut row);
                chunk.extend(row.iter().map(|&x| to_bits(dtype, x)));
                if chunk.len() >= CHUNK_LEN {
                    flush(&mut chunk)?;
                }
            }
        }
        flush(&mut chunk)?;
        Ok(Matrix { num_rows, num_cols, data })
    }
}
