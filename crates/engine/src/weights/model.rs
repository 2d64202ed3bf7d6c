//! The one entry for every kind of model on disk.

use std::io;
use std::path::{Path, PathBuf};

use engine_core::checkpoint::{Checkpoint, CheckpointError};
use engine_core::config::ModelConfig;
use engine_core::kv_scales::KvScales;
use host_io::{MapError, MappedFile};

use super::config_error::ConfigError;
use super::dequant::TensorFormat;
use super::generation::GenerationConfig;
use super::gguf::{self, GgufError, Metadata};
use super::hf::{self, SafetensorsError};
use super::kv_scales::KvScalesError;

/// An opened model: its configuration and every tensor are known to be there.
pub struct Model {
    checkpoint: Box<dyn Checkpoint + Send + Sync>,
    generation: GenerationConfig,
    tensors: Vec<TensorSummary>,
    kv_scales: Option<KvScales>,
    source: ModelSource,
}

/// Where a model came from; tokenizer and chat template come from there too.
#[derive(Clone, Debug)]
enum ModelSource {
    Gguf { path: PathBuf, metadata: Metadata },
    HfDirectory { path: PathBuf },
}

/// A tensor as `kvasir inspect` lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorSummary {
    /// Hugging Face's name.
    pub name: String,
    /// How it is stored.
    pub format: TensorFormat,
    /// `[rows, cols]`, or `[cols]` for a vector.
    pub shape: Vec<usize>,
    /// Its size in the file.
    pub num_bytes: u64,
}

/// Opens a GGUF file or a Hugging Face directory, whichever `path` is.
///
/// # Errors
/// [`WeightsError`], which names the file and the key or tensor at fault.
pub fn open(path: &Path) -> Result<Model, WeightsError> {
    let metadata = std::fs::metadata(path)
        .map_err(|source| WeightsError::Io { path: path.to_path_buf(), source })?;
    if metadata.is_dir() { open_hf_directory(path) } else { open_gguf(path) }
}

fn open_hf_directory(path: &Path) -> Result<Model, WeightsError> {
    let directory = hf::open_directory(path)?;
    Ok(Model {
        tensors: directory.store.summaries(),
        kv_scales: directory.store.kv_scales().cloned(),
        checkpoint: Box::new(directory.store),
        generation: directory.generation,
        source: ModelSource::HfDirectory { path: path.to_path_buf() },
    })
}

fn open_gguf(path: &Path) -> Result<Model, WeightsError> {
    let file = MappedFile::open(path)?;
    if !file.starts_with(&gguf::MAGIC) {
        return Err(WeightsError::NotAModel {
            path: path.to_path_buf(),
            hint: foreign_file_hint(path),
        });
    }
    let label = path.display().to_string();
    let gguf = gguf::parse(&label, &file)?;
    let generation = gguf::generation_config(&gguf.metadata)
        .map_err(|source| WeightsError::Config { file: label.clone(), source })?;
    let store = gguf::open(&label, file, &gguf)?;
    Ok(Model {
        tensors: store.summaries(),
        kv_scales: store.kv_scales().cloned(),
        checkpoint: Box::new(store),
        generation,
        source: ModelSource::Gguf { path: path.to_path_buf(), metadata: gguf.metadata },
    })
}

/// What to do with a file that is no GGUF.
fn foreign_file_hint(path: &Path) -> String {
    let extension = path.extension().and_then(|extension| extension.to_str());
    match extension {
        Some("safetensors" | "json") => {
            "give the directory that holds it and its config.json".to_owned()
        }
        Some("bin" | "pt" | "pth") => {
            "PyTorch pickles are not read; convert them to safetensors".to_owned()
        }
        _ => "it does not begin with \"GGUF\"; give a GGUF file or a Hugging Face directory"
            .to_owned(),
    }
}

impl Model {
    /// Shapes and properties.
    pub fn config(&self) -> &ModelConfig {
        self.checkpoint.config()
    }

    /// The weights.
    pub fn checkpoint(&self) -> &(dyn Checkpoint + Send + Sync) {
        &*self.checkpoint
    }

    /// How the checkpoint wants to be sampled from, and the ends of texts.
    pub fn generation_config(&self) -> &GenerationConfig {
        &self.generation
    }

    /// The GGUF metadata, which hold tokenizer and chat template; `None` for a directory.
    pub fn gguf_metadata(&self) -> Option<&Metadata> {
        match &self.source {
            ModelSource::Gguf { metadata, .. } => Some(metadata),
            ModelSource::HfDirectory { .. } => None,
        }
    }

    /// The Hugging Face directory; `None` for a GGUF file.
    pub fn directory(&self) -> Option<&Path> {
        match &self.source {
            ModelSource::Gguf { .. } => None,
            ModelSource::HfDirectory { path } => Some(path),
        }
    }

    /// What [`open`] was given.
    pub fn path(&self) -> &Path {
        match &self.source {
            ModelSource::Gguf { path, .. } | ModelSource::HfDirectory { path } => path,
        }
    }

    /// All tensors in the model's order.
    pub fn tensors(&self) -> &[TensorSummary] {
        &self.tensors
    }

    /// The scales of an FP8 KV cache that the checkpoint brings.
    pub fn kv_scales(&self) -> Option<&KvScales> {
        self.kv_scales.as_ref()
    }

    /// Bytes of all tensors as stored; a tied embedding counts once.
    pub fn weight_bytes(&self) -> u64 {
        self.tensors.iter().map(|tensor| tensor.num_bytes).sum()
    }

    /// Elements of all tensors; a tied embedding counts once.
    pub fn num_parameters(&self) -> u64 {
        let elements = |tensor: &TensorSummary| tensor.shape.iter().product::<usize>() as u64;
        self.tensors.iter().map(elements).sum()
    }
}

impl std::fmt::Debug for Model {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Model")
            .field("path", &self.path())
            .field("config", self.config())
            .field("num_tensors", &self.tensors.len())
            .finish_non_exhaustive()
    }
}

/// Why a model cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WeightsError {
    /// The system refused.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A weight file could not be mapped.
    #[error(transparent)]
    Map(#[from] MapError),
    /// Neither a GGUF file nor a Hugging Face directory.
    #[error("{} is not a model: {hint}", path.display())]
    NotAModel {
        /// What was given.
        path: PathBuf,
        /// What to give instead.
        hint: String,
    },
    /// A directory with a configuration and no weights.
    #[error("{} has neither model.safetensors nor model.safetensors.index.json; download the model again, or convert its weights to safetensors", dir.display())]
    NoWeights {
        /// The directory.
        dir: PathBuf,
    },
    /// A damaged GGUF file, or one with a feature that has no reader.
    #[error("{file}: {source}")]
    Gguf {
        /// The file.
        file: String,
        /// What is wrong.
        source: GgufError,
    },
    /// A damaged safetensors file.
    #[error("{file}: {source}")]
    Safetensors {
        /// The file.
        file: String,
        /// What is wrong.
        source: SafetensorsError,
    },
    /// A configuration that cannot be used.
    #[error("{file}: {source}")]
    Config {
        /// The file.
        file: String,
        /// What is wrong.
        source: ConfigError,
    },
    /// Scales of the KV cache that cannot be used.
    #[error("{file}: {source}")]
    KvScales {
        /// The file or directory.
        file: String,
        /// What is wrong.
        source: KvScalesError,
    },
    /// A tensor is missing, of the wrong shape, or of a type that cannot be read.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// A tensor that the configuration has no place for: to leave it out would change the answer.
    #[error(
        "tensor `{name}` in {file} is not part of a {architecture} model with this configuration"
    )]
    UnexpectedTensor {
        /// Its name.
        name: String,
        /// Where it was found.
        file: String,
        /// The model's family.
        architecture: &'static str,
    },
    /// A tensor in two files.
    #[error("tensor `{name}` in {file} is in an earlier file too; download the model again")]
    DuplicateTensor {
        /// Its name.
        name: String,
        /// The later file.
        file: String,
    },
}
