//! The tensor directory of a GGUF file.

use std::collections::HashSet;
use std::ops::Range;

use super::GgufError;
use super::cursor::Cursor;
use crate::weights::dequant::TensorFormat;

/// The smallest entry: a name's length, no name, the number of dimensions, one dimension, type, offset.
const MIN_ENTRY_BYTES: usize = 8 + 4 + 8 + 4 + 8;
/// ggml's limit.
const MAX_DIMS: u32 = 4;

/// One tensor of the file. Its bytes are in the file and begin at a multiple of the alignment; no
/// other tensor shares them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorInfo {
    /// As the file names it.
    pub name: String,
    /// Slowest dimension first: `[rows, cols]` of a matrix. (The file has the fastest first.)
    pub shape: Vec<usize>,
    /// How the elements are stored.
    pub format: TensorFormat,
    /// Where the bytes are, from the start of the file.
    pub range: Range<usize>,
}

/// An entry whose place is not known yet: offsets count from the end of the directory.
pub(super) struct Entry {
    name: String,
    shape: Vec<usize>,
    format: TensorFormat,
    num_bytes: usize,
    offset: u64,
}

impl Entry {
    pub(super) const fn min_bytes() -> usize {
        MIN_ENTRY_BYTES
    }

    pub(super) fn read(cursor: &mut Cursor<'_>) -> Result<Self, GgufError> {
        let name = cursor.string("a tensor's name")?;
        let bad = |problem| GgufError::BadTensor { name: name.to_owned(), problem };
        let num_dims = cursor.u32(name)?;
        if num_dims == 0 || num_dims > MAX_DIMS {
            return Err(bad(format!("{num_dims} dimensions instead of 1 to {MAX_DIMS}")));
        }
        let mut dims = Vec::with_capacity(MAX_DIMS as usize);
        for _ in 0..num_dims {
            dims.push(cursor.u64(name)?);
        }
        let format = format_of(name, cursor.u32(name)?)?;
        let offset = cursor.u64(name)?;
        let num_bytes = byte_size(&dims, format).map_err(bad)?;
        dims.reverse();
        Ok(Entry {
            name: name.to_owned(),
            // `byte_size` has shown that even the product of all fits.
            shape: dims.into_iter().map(|dim| dim as usize).collect(),
            format,
            num_bytes,
            offset,
        })
    }

    /// The entry's place in a file of `file_len` bytes whose data begin at `data_start`.
    fn place(
        self,
        data_start: usize,
        alignment: usize,
        file_len: usize,
    ) -> Result<TensorInfo, GgufError> {
        if !self.offset.is_multiple_of(alignment as u64) {
            return Err(GgufError::BadTensor {
                problem: format!("offset {} is no multiple of {alignment}", self.offset),
                name: self.name,
            });
        }
        let range = usize::try_from(self.offset)
            .ok()
            .and_then(|offset| data_start.checked_add(offset))
            .and_then(|start| Some(start..start.checked_add(self.num_bytes)?))
            .filter(|range| range.end <= file_len);
        let Some(range) = range else {
            return Err(GgufError::Truncated {
                what: format!("tensor `{}`", self.name),
                offset: (data_start as u64).saturating_add(self.offset),
                needed: self.num_bytes as u64,
                file_bytes: file_len as u64,
            });
        };
        Ok(TensorInfo { name: self.name, shape: self.shape, format: self.format, range })
    }
}

/// Finds the place of every entry and refuses two of one name or with common bytes.
pub(super) fn place_all(
    entries: Vec<Entry>,
    data_start: usize,
    alignment: usize,
    file_len: usize,
) -> Result<Vec<TensorInfo>, GgufError> {
    let tensors = entries
        .into_iter()
        .map(|entry| entry.place(data_start, alignment, file_len))
        .collect::<Result<Vec<_>, _>>()?;

    let mut names = HashSet::with_capacity(tensors.len());
    for tensor in &tensors {
        if !names.insert(tensor.name.as_str()) {
            return Err(GgufError::Duplicate { what: "tensor", name: tensor.name.clone() });
        }
    }

    let mut by_place: Vec<&TensorInfo> = tensors.iter().collect();
    by_place.sort_by_key(|tensor| tensor.range.start);
    for pair in by_place.windows(2) {
        if pair[0].range.end > pair[1].range.start {
            return Err(GgufError::Overlap {
                first: pair[0].name.clone(),
                second: pair[1].name.clone(),
            });
        }
    }
    Ok(tensors)
}

/// Bytes of a tensor; `dims` has the fastest dimension, the row, first.
fn byte_size(dims: &[u64], format: TensorFormat) -> Result<usize, String> {
    if dims.contains(&0) {
        return Err(format!("a dimension of {dims:?} is 0"));
    }
    let too_large = || format!("dimensions {dims:?} are more than an address can hold");
    let dims_usize: Vec<usize> = dims
        .iter()
        .map(|&dim| usize::try_from(dim).map_err(|_| too_large()))
        .collect::<Result<_, _>>()?;
    let (num_cols, outer) = dims_usize.split_first().ok_or_else(too_large)?;
    if !num_cols.is_multiple_of(format.block_len()) {
        return Err(format!(
            "rows of {num_cols} elements are no whole number of {format} blocks of {}",
            format.block_len()
        ));
    }
    // Elements too, as readers count them in f32.
    dims_usize
        .iter()
        .try_fold(size_of::<f32>(), |product, &dim| product.checked_mul(dim))
        .ok_or_else(too_large)?;
    let row_bytes = format.row_bytes(*num_cols).ok_or_else(too_large)?;
    outer.iter().try_fold(row_bytes, |product, &dim| product.checked_mul(dim)).ok_or_else(too_large)
}

fn format_of(name: &str, id: u32) -> Result<TensorFormat, GgufError> {
    Ok(match id {
        0 => TensorFormat::F32,
        1 => TensorFormat::F16,
        2 => TensorFormat::Q4_0,
        3 => TensorFormat::Q4_1,
        8 => TensorFormat::Q8_0,
        12 => TensorFormat::Q4_K,
        14 => TensorFormat::Q6_K,
        30 => TensorFormat::BF16,
        _ => {
            return Err(GgufError::UnsupportedType {
                name: name.to_owned(),
                found: foreign_type_name(id).map_or_else(|| format!("number {id}"), str::to_owned),
            });
        }
    })
}

/// ggml's names of the types without a reader, so that an error says what the user has.
fn foreign_type_name(id: u32) -> Option<&'static str> {
    Some(match id {
        6 => "Q5_0",
        7 => "Q5_1",
        9 => "Q8_1",
        10 => "Q2_K",
        11 => "Q3_K",
        13 => "Q5_K",
        15 => "Q8_K",
        16 => "IQ2_XXS",
        17 => "IQ2_XS",
        18 => "IQ3_XXS",
        19 => "IQ1_S",
        20 => "IQ4_NL",
        21 => "IQ3_S",
        22 => "IQ2_S",
        23 => "IQ4_XS",
        24 => "I8",
        25 => "I16",
        26 => "I32",
        27 => "I64",
        28 => "F64",
        29 => "IQ1_M",
        34 => "TQ1_0",
        35 => "TQ2_0",
        39 => "MXFP4",
        _ => return None,
    })
}
