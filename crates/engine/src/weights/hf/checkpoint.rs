//! A Hugging Face directory as a [`TensorStore`].

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use engine_core::checkpoint::{Checkpoint, CheckpointError};
use engine_core::config::ModelConfig;
use host_io::MappedFile;

use super::config::HfConfig;
use super::generation::{generation_config_from_bytes, generation_config_without_file};
use super::safetensors::safetensors_from_bytes;
use super::shards::{INDEX_FILE, SINGLE_FILE, ShardIndex};
use crate::weights::WeightsError;
use crate::weights::config_error::ConfigError;
use crate::weights::dequant::TensorFormat;
use crate::weights::generation::GenerationConfig;
use crate::weights::names;
use crate::weights::store::{RowOrder, SourceFile, StoredTensor, TensorStore};

/// JSON files are read whole, so larger ones are refused.
const MAX_JSON_BYTES: u64 = 64 << 20;

/// What an opened directory holds.
pub(in crate::weights) struct HfDirectory {
    pub(in crate::weights) store: TensorStore<MappedFile>,
    pub(in crate::weights) generation: GenerationConfig,
}

/// Opens the model in `dir`.
pub(in crate::weights) fn open_directory(dir: &Path) -> Result<HfDirectory, WeightsError> {
    let config_path = dir.join("config.json");
    if !config_path.exists() {
        return Err(not_a_model_directory(dir));
    }
    let config = parse_json(&config_path, HfConfig::from_bytes)?;
    let generation_path = dir.join("generation_config.json");
    let generation = if generation_path.exists() {
        parse_json(&generation_path, |bytes| generation_config_from_bytes(bytes, &config))?
    } else {
        generation_config_without_file(&config)
    };
    let files = open_weight_files(dir)?;
    let label = dir.display().to_string();
    let store = store_of_files(config.model, label, files.mapped, files.index.as_ref())?;
    Ok(HfDirectory { store, generation })
}

/// The model with the configuration `config` in `bytes`, a whole safetensors file that errors call
/// `label`.
///
/// # Errors
/// [`WeightsError`] when it is no safetensors file or not this model's.
pub fn checkpoint_from_bytes(
    config: ModelConfig,
    label: &str,
    bytes: Vec<u8>,
) -> Result<impl Checkpoint + Send + Sync, WeightsError> {
    let file = SourceFile { label: label.to_owned(), bytes };
    store_of_files(config, label.to_owned(), vec![file], None)
}

struct WeightFiles {
    mapped: Vec<SourceFile<MappedFile>>,
    index: Option<ShardIndex>,
}

fn open_weight_files(dir: &Path) -> Result<WeightFiles, WeightsError> {
    let single = dir.join(SINGLE_FILE);
    if single.exists() {
        return Ok(WeightFiles { mapped: vec![map(single)?], index: None });
    }
    let index_path = dir.join(INDEX_FILE);
    if !index_path.exists() {
        return Err(WeightsError::NoWeights { dir: dir.to_path_buf() });
    }
    let index = parse_json(&index_path, ShardIndex::from_bytes)?;
    let mapped =
        index.files().into_iter().map(|file| map(dir.join(file))).collect::<Result<_, _>>()?;
    Ok(WeightFiles { mapped, index: Some(index) })
}

fn map(path: PathBuf) -> Result<SourceFile<MappedFile>, WeightsError> {
    Ok(SourceFile { label: path.display().to_string(), bytes: MappedFile::open(&path)? })
}

/// Collects the tensors of all files. A tensor in two files, or one that the index promises and no
/// file has, is an error.
fn store_of_files<B: AsRef<[u8]> + Send + Sync>(
    config: ModelConfig,
    label: String,
    files: Vec<SourceFile<B>>,
    index: Option<&ShardIndex>,
) -> Result<TensorStore<B>, WeightsError> {
    let mut tensors = HashMap::new();
    for (file_idx, file) in files.iter().enumerate() {
        let entries = safetensors_from_bytes(file.bytes.as_ref())
            .map_err(|source| WeightsError::Safetensors { file: file.label.clone(), source })?;
        for entry in entries {
            if names::is_redundant(&config, &entry.name) {
                continue;
            }
            let stored = StoredTensor {
                file_idx,
                range: entry.range,
                shape: entry.shape,
                format: entry.format.map_err(|found| unsupported(&entry.name, file, found))?,
                row_order: RowOrder::HuggingFace,
            };
            if tensors.insert(entry.name.clone(), stored).is_some() {
                return Err(WeightsError::DuplicateTensor {
                    name: entry.name,
                    file: file.label.clone(),
                });
            }
        }
    }
    if let Some(index) = index {
        let missing = index
            .weight_map
            .keys()
            .find(|name| !names::is_redundant(&config, name) && !tensors.contains_key(*name));
        if let Some(name) = missing {
            return Err(WeightsError::Checkpoint(CheckpointError::Missing {
                name: name.clone(),
                file: index.weight_map[name].clone(),
            }));
        }
    }
    TensorStore::new(config, label, files, tensors)
}

fn unsupported<B>(name: &str, file: &SourceFile<B>, found: String) -> WeightsError {
    WeightsError::Checkpoint(CheckpointError::UnsupportedType {
        name: name.to_owned(),
        file: file.label.clone(),
        found,
        supported: TensorFormat::FLOAT_NAMES,
    })
}

/// Reads and parses a JSON file of bounded size.
fn parse_json<T>(
    path: &Path,
    parse: impl FnOnce(&[u8]) -> Result<T, ConfigError>,
) -> Result<T, WeightsError> {
    let io_error = |source| WeightsError::Io { path: path.to_path_buf(), source };
    let metadata = std::fs::metadata(path).map_err(io_error)?;
    if !metadata.is_file() || metadata.len() > MAX_JSON_BYTES {
        return Err(io_error(std::io::Error::new(
            std::io::ErrorKind::InvalidData,
            format!("not a regular file of at most {MAX_JSON_BYTES} bytes"),
        )));
    }
    let bytes = std::fs::read(path).map_err(io_error)?;
    parse(&bytes)
        .map_err(|source| WeightsError::Config { file: path.display().to_string(), source })
}

/// Says what the directory has instead, when that helps.
fn not_a_model_directory(dir: &Path) -> WeightsError {
    let gguf = std::fs::read_dir(dir)
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "gguf"))
        .min();
    WeightsError::NotAModel {
        path: dir.to_path_buf(),
        hint: match gguf {
            Some(gguf) => format!("it has no config.json; did you mean {}?", gguf.display()),
            None => {
                "it has no config.json; give a GGUF file or a Hugging Face directory".to_owned()
            }
        },
    }
}
