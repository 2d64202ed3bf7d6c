//! Stored formats of weights, widened to f32 a row at a time.
//!
//! Each format has one row function, bit-equal to `gguf.quants.dequantize` of the PyPI package
//! `gguf`: the same f32 operations in the same order, without fused multiply-add. The loops work
//! on fixed-size blocks so that the compiler turns them into vector code.

mod float;
mod k_quants;
mod legacy;

/// How the elements of a tensor are stored. Names and block layouts are ggml's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(non_camel_case_types)]
pub enum TensorFormat {
    /// IEEE 754 binary32.
    F32,
    /// IEEE 754 binary16.
    F16,
    /// bfloat16.
    BF16,
    /// 32 elements: f16 scale, 4-bit values about 8.
    Q4_0,
    /// 32 elements: f16 scale and minimum, 4-bit values.
    Q4_1,
    /// 32 elements: f16 scale, 8-bit signed values.
    Q8_0,
    /// 256 elements: eight groups with 6-bit scales and minima under two f16, 4-bit values.
    Q4_K,
    /// 256 elements: sixteen groups with 8-bit scales under one f16, 6-bit values about 32.
    Q6_K,
}

impl TensorFormat {
    /// The formats that can be read, for error messages.
    pub const NAMES: &str = "F32, F16, BF16, Q4_0, Q4_1, Q8_0, Q4_K, Q6_K";

    /// Those of them that safetensors has.
    pub const FLOAT_NAMES: &str = "F32, F16, BF16";

    /// ggml's name.
    pub const fn name(self) -> &'static str {
        match self {
            TensorFormat::F32 => "F32",
            TensorFormat::F16 => "F16",
            TensorFormat::BF16 => "BF16",
            TensorFormat::Q4_0 => "Q4_0",
            TensorFormat::Q4_1 => "Q4_1",
            TensorFormat::Q8_0 => "Q8_0",
            TensorFormat::Q4_K => "Q4_K",
            TensorFormat::Q6_K => "Q6_K",
        }
    }

    /// Elements of one block; a row is a whole number of them.
    pub const fn block_len(self) -> usize {
        match self {
            TensorFormat::F32 | TensorFormat::F16 | TensorFormat::BF16 => 1,
            TensorFormat::Q4_0 | TensorFormat::Q4_1 | TensorFormat::Q8_0 => legacy::BLOCK_LEN,
            TensorFormat::Q4_K | TensorFormat::Q6_K => k_quants::BLOCK_LEN,
        }
    }

    /// Bytes of one block.
    pub const fn block_bytes(self) -> usize {
        match self {
            TensorFormat::F32 => 4,
            TensorFormat::F16 | TensorFormat::BF16 => 2,
            TensorFormat::Q4_0 => legacy::Q4_0_BYTES,
            TensorFormat::Q4_1 => legacy::Q4_1_BYTES,
            TensorFormat::Q8_0 => legacy::Q8_0_BYTES,
            TensorFormat::Q4_K => k_quants::Q4_K_BYTES,
            TensorFormat::Q6_K => k_quants::Q6_K_BYTES,
        }
    }

    /// Bytes of a row of `num_cols` elements; `None` when that is no whole number of blocks or
    /// more than an address can hold.
    pub const fn row_bytes(self, num_cols: usize) -> Option<usize> {
        if num_cols.is_multiple_of(self.block_len()) {
            (num_cols / self.block_len()).checked_mul(self.block_bytes())
        } else {
            None
        }
    }

    /// Widens one row.
    ///
    /// # Panics
    /// When `row` is not [`TensorFormat::row_bytes`] of `out.len()` long: a bug of the caller.
    pub fn dequantize_row(self, row: &[u8], out: &mut [f32]) {
        assert_eq!(
            Some(row.len()),
            self.row_bytes(out.len()),
            "bytes of a {} row of {} elements",
            self.name(),
            out.len()
        );
        match self {
            TensorFormat::F32 => float::f32_row(row, out),
            TensorFormat::F16 => float::f16_row(row, out),
            TensorFormat::BF16 => float::bf16_row(row, out),
            TensorFormat::Q4_0 => legacy::q4_0_row(row, out),
            TensorFormat::Q4_1 => legacy::q4_1_row(row, out),
            TensorFormat::Q8_0 => legacy::q8_0_row(row, out),
            TensorFormat::Q4_K => k_quants::q4_k_row(row, out),
            TensorFormat::Q6_K => k_quants::q6_k_row(row, out),
        }
    }
}

impl std::fmt::Display for TensorFormat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}
