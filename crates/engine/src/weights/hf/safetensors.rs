//! The directory of a safetensors file.

use std::ops::Range;

use ::safetensors::{Dtype, SafeTensorError, SafeTensors};

use crate::weights::dequant::TensorFormat;

/// Larger headers are refused before they are parsed, as parsing takes several times their size.
/// The header of a 70-billion-parameter Llama has 0.1 MB.
pub const MAX_HEADER_BYTES: u64 = 16 << 20;

/// Why bytes are not a safetensors file that can be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SafetensorsError {
    /// The format's own rules are broken.
    #[error("not a valid safetensors file: {problem}; download it again")]
    Invalid {
        /// The parser's words.
        problem: String,
    },
    /// A header beyond any model's.
    #[error("the header has {found} bytes, more than {MAX_HEADER_BYTES}; the file is damaged")]
    HeaderTooLarge {
        /// As the file says.
        found: u64,
    },
}

/// One tensor of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SafetensorsEntry {
    /// Its name.
    pub name: String,
    /// Slowest dimension first.
    pub shape: Vec<usize>,
    /// How it is stored, or the name of a type that cannot be read.
    pub format: Result<TensorFormat, String>,
    /// Where its bytes are, from the start of the file.
    pub range: Range<usize>,
}

/// The tensors of `bytes`, a whole file, by place. Every range lies in the file and no two overlap.
///
/// # Errors
/// [`SafetensorsError`].
pub fn safetensors_from_bytes(bytes: &[u8]) -> Result<Vec<SafetensorsEntry>, SafetensorsError> {
    if let Some((len, _)) = bytes.split_first_chunk::<8>() {
        let found = u64::from_le_bytes(*len);
        if found > MAX_HEADER_BYTES {
            return Err(SafetensorsError::HeaderTooLarge { found });
        }
    }
    let (header_len, metadata) =
        SafeTensors::read_metadata(bytes).map_err(|error: SafeTensorError| {
            SafetensorsError::Invalid { problem: error.to_string() }
        })?;
    // The crate has checked that the tensors fill the file without gap or overlap from here.
    let data_start = size_of::<u64>() + header_len;
    let mut entries: Vec<SafetensorsEntry> = metadata
        .tensors()
        .into_iter()
        .map(|(name, info)| SafetensorsEntry {
            name,
            shape: info.shape.clone(),
            format: format_of(info.dtype),
            range: data_start + info.data_offsets.0..data_start + info.data_offsets.1,
        })
        .collect();
    entries.sort_by(|a, b| (a.range.start, &a.name).cmp(&(b.range.start, &b.name)));
    Ok(entries)
}

fn format_of(dtype: Dtype) -> Result<TensorFormat, String> {
    match dtype {
        Dtype::F32 => Ok(TensorFormat::F32),
        Dtype::F16 => Ok(TensorFormat::F16),
        Dtype::BF16 => Ok(TensorFormat::BF16),
        other => Err(format!("{other:?}")),
    }
}
