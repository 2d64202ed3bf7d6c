//! Any model that can be opened, written as a Hugging Face directory.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use engine_core::checkpoint::{Checkpoint, CheckpointError};
use engine_core::dtype::DType;
use half::bf16;
use serde_json::{Map, Value, json};

use super::Model;
use super::hf::{config_json, generation_json};
use super::names::{ExpectedTensor, expected_tensors};

/// Rows are converted and written in pieces of about this size.
const CHUNK_BYTES: usize = 1 << 20;

/// Bytes of weights written so far, and of all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConvertProgress {
    /// Until now.
    pub done_bytes: u64,
    /// In the end.
    pub total_bytes: u64,
}

/// Why a model could not be converted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConvertError {
    /// The system refused.
    #[error("cannot write {}: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// There is a model already.
    #[error("{} already exists; give another directory or remove it", path.display())]
    Exists {
        /// What is in the way.
        path: PathBuf,
    },
    /// No conversion to this format.
    #[error("cannot convert to {dtype}; use float32 or bfloat16")]
    UnsupportedDType {
        /// As asked for.
        dtype: DType,
    },
    /// The family's `config.json` has no key for a property of the model.
    #[error("a Hugging Face {architecture} model cannot have {what}")]
    NotExpressible {
        /// The family.
        architecture: &'static str,
        /// The property.
        what: String,
    },
    /// The model has scales of a KV cache, which the copy would not have.
    #[error("the model brings scales of an FP8 KV cache, which are not converted; use it as it is")]
    KvScales,
    /// A tensor could not be read.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
}

/// Writes `config.json`, `generation_config.json` and `model.safetensors` into `out_dir`, which is
/// made where it does not exist. Matrices are stored as `dtype`, vectors (norms and biases) always
/// as float32, so that a 16-bit copy computes what the original does with 16-bit weights.
///
/// Memory stays at a few megabytes. Each file appears under its name only when it is complete.
///
/// # Errors
/// [`ConvertError`].
pub fn to_hf_dir(
    model: &Model,
    out_dir: &Path,
    dtype: DType,
    mut progress: impl FnMut(ConvertProgress),
) -> Result<(), ConvertError> {
    if dtype == DType::F16 {
        // Weights beyond ±65504 would become infinite.
        return Err(ConvertError::UnsupportedDType { dtype });
    }
    if model.kv_scales().is_some() {
        return Err(ConvertError::KvScales);
    }
    let config = model.config();
    let config_json = config_json(config, dtype, model.generation_config()).map_err(|what| {
        ConvertError::NotExpressible { architecture: config.architecture.name(), what }
    })?;
    std::fs::create_dir_all(out_dir).map_err(|source| io_error(out_dir, source))?;
    let weights_path = out_dir.join("model.safetensors");
    let config_path = out_dir.join("config.json");
    let generation_path = out_dir.join("generation_config.json");
    for path in [&weights_path, &config_path, &generation_path] {
        if path.exists() {
            return Err(ConvertError::Exists { path: path.clone() });
        }
    }
    let plan = Plan::new(expected_tensors(config), dtype);
    write_file(&weights_path, |out| plan.write(model.checkpoint(), out, &mut progress))?;
    write_file(&generation_path, |out| {
        write_json(out, &generation_json(model.generation_config()))
    })?;
    // Last: a directory without it is no model, so an interrupted conversion is not mistaken for one.
    write_file(&config_path, |out| write_json(out, &config_json))
}

/// What goes wrong while a file is being written.
enum WriteError {
    Io(io::Error),
    Checkpoint(CheckpointError),
}

impl From<io::Error> for WriteError {
    fn from(error: io::Error) -> Self {
        WriteError::Io(error)
    }
}

/// Writes to a temporary name, syncs, and renames; removes the temporary file on failure.
fn write_file(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<File>) -> Result<(), WriteError>,
) -> Result<(), ConvertError> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.part", std::process::id()));
    let part = path.with_file_name(name);
    let result = File::create(&part).map_err(WriteError::Io).and_then(|file| {
        let mut out = BufWriter::with_capacity(CHUNK_BYTES, file);
        write(&mut out)?;
        out.flush()?;
        out.get_ref().sync_all()?;
        Ok(std::fs::rename(&part, path)?)
    });
    result.map_err(|error| {
        // The first failure is the one to report.
        let _ = std::fs::remove_file(&part);
        match error {
            WriteError::Io(source) => io_error(path, source),
            WriteError::Checkpoint(error) => ConvertError::Checkpoint(error),
        }
    })
}

fn write_json(out: &mut impl Write, value: &Value) -> Result<(), WriteError> {
    serde_json::to_writer_pretty(&mut *out, value).map_err(io::Error::from)?;
    Ok(out.write_all(b"\n")?)
}

fn io_error(path: &Path, source: io::Error) -> ConvertError {
    ConvertError::Io { path: path.to_path_buf(), source }
}

/// Order and formats of the tensors in the file.
struct Plan {
    tensors: Vec<(ExpectedTensor, DType)>,
    total_bytes: u64,
}

impl Plan {
    /// float32 first, so that every tensor is aligned to its elements.
    fn new(tensors: Vec<ExpectedTensor>, dtype: DType) -> Self {
        let mut tensors: Vec<_> = tensors
            .into_iter()
            .map(|tensor| match tensor.shape.len() {
                1 => (tensor, DType::F32),
                _ => (tensor, dtype),
            })
            .collect();
        tensors.sort_by_key(|(_, dtype)| *dtype != DType::F32);
        let total_bytes = tensors.iter().map(tensor_bytes).sum();
        Plan { tensors, total_bytes }
    }

    /// The header: its length in 8 bytes, then JSON padded with spaces to a multiple of 8.
    fn header(&self) -> Result<Vec<u8>, serde_json::Error> {
        let mut map = Map::new();
        map.insert("__metadata__".to_owned(), json!({ "format": "pt" }));
        let mut start = 0;
        for tensor in &self.tensors {
            let end = start + tensor_bytes(tensor);
            let (ExpectedTensor { name, shape }, dtype) = tensor;
            map.insert(
                name.clone(),
                json!({ "dtype": safetensors_name(*dtype), "shape": shape, "data_offsets": [start, end] }),
            );
            start = end;
        }
        let mut json = serde_json::to_vec(&map)?;
        json.resize(json.len().next_multiple_of(8), b' ');
        let mut header = (json.len() as u64).to_le_bytes().to_vec();
        header.extend(json);
        Ok(header)
    }

    fn write(
        &self,
        checkpoint: &dyn Checkpoint,
        out: &mut impl Write,
        progress: &mut impl FnMut(ConvertProgress),
    ) -> Result<(), WriteError> {
        out.write_all(&self.header().map_err(io::Error::from)?)?;
        let mut done_bytes = 0;
        let mut chunk = Vec::with_capacity(CHUNK_BYTES);
        for (tensor, dtype) in &self.tensors {
            let rows =
                checkpoint.tensor(&tensor.name, &tensor.shape).map_err(WriteError::Checkpoint)?;
            let mut row = vec![0.0; rows.num_cols()];
            for row_idx in 0..rows.num_rows() {
                rows.read_row(row_idx, &mut row);
                append(&row, *dtype, &mut chunk);
                if chunk.len() >= CHUNK_BYTES || row_idx + 1 == rows.num_rows() {
                    out.write_all(&chunk)?;
                    done_bytes += chunk.len() as u64;
                    chunk.clear();
                    progress(ConvertProgress { done_bytes, total_bytes: self.total_bytes });
                }
            }
        }
        Ok(())
    }
}

fn tensor_bytes((tensor, dtype): &(ExpectedTensor, DType)) -> u64 {
    let num_elements: usize = tensor.shape.iter().product();
    num_elements as u64 * dtype.size_bytes() as u64
}

/// Appends the row in the format; F16 never comes here.
fn append(row: &[f32], dtype: DType, out: &mut Vec<u8>) {
    match dtype {
        DType::BF16 => out.extend(row.iter().flat_map(|&x| bf16::from_f32(x).to_le_bytes())),
        DType::F32 | DType::F16 => out.extend(row.iter().flat_map(|x| x.to_le_bytes())),
    }
}

const fn safetensors_name(dtype: DType) -> &'static str {
    match dtype {
        DType::F32 => "F32",
        DType::F16 => "F16",
        DType::BF16 => "BF16",
    }
}
