//! What can go wrong between a user and the engine.

use std::path::PathBuf;

use engine_core::device::OpError;
use engine_core::kv_check::KvCheckError;
use engine_core::model::LoadError;
use engine_core::sampling::ParamError;
use engine_core::scheduler::{ConfigError, Refusal};
use kernels_cpu::StartError;

use crate::hub::HubError;
use crate::kv_scales::ScaleFileError;
use crate::kv_tier::OpenKvStoreError;
use crate::run_loop::StepError;
use crate::structured::StructuredError;
use crate::text::{ChatTemplateError, TokenizerError};
use crate::weights::WeightsError;
use crate::weights::gguf::MetadataError;

/// Why the engine does not start, or does not take or finish a request.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LlmError {
    /// The model is not here and cannot be fetched.
    #[error(transparent)]
    Hub(#[from] HubError),
    /// The model files are unreadable or not of a known architecture.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// GGUF metadata of the tokenizer is unusable.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    /// The tokenizer is unusable.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// The chat template is unusable, or refuses the conversation.
    #[error(transparent)]
    ChatTemplate(#[from] ChatTemplateError),
    /// The weights do not fit the configuration or the machine.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The backend cannot start.
    #[error(transparent)]
    Backend(#[from] StartError),
    /// There is no GPU, or none that this build has kernels for.
    #[error(transparent)]
    Hip(Box<kernels_hip::Error>),
    /// No HIP runtime, and so no GPU.
    #[error(
        "{0}. Without a GPU, build the emulator with `cargo build -p hip-emulator` and set \
         KVASIR_HIP_LIBRARY to target/debug/libhip_emulator.so"
    )]
    NoHip(Box<kernels_hip::Error>),
    /// The backend cannot hold its buffers.
    #[error(transparent)]
    Op(#[from] OpError),
    /// The KV cache does not hold what is written to it.
    #[error(transparent)]
    KvCheck(#[from] KvCheckError),
    /// A file of KV scales cannot be used or written.
    #[error(transparent)]
    Scales(Box<ScaleFileError>),
    /// Calibration without a text.
    #[error("there is no token to calibrate with; give a text")]
    NothingToCalibrate,
    /// Keys or values that are no numbers.
    #[error(
        "layer {layer_idx} computes keys or values that are not finite; the model's weights are damaged, or need another --dtype"
    )]
    NotFinite {
        /// The layer.
        layer_idx: usize,
    },
    /// An engine option is out of range.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The model was not made for sequences this long.
    #[error(
        "max_model_len is {max_model_len}, but the model was made for {longest} tokens; lower it"
    )]
    ModelLenTooLong {
        /// As asked for.
        max_model_len: usize,
        /// What the checkpoint's configuration allows.
        longest: usize,
    },
    /// A sampling parameter is out of range.
    #[error(transparent)]
    Param(#[from] ParamError),
    /// The output cannot have the form that is asked for.
    #[error(transparent)]
    Structured(#[from] StructuredError),
    /// The request can never run.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// More sequences than may ever wait: all of a request's are queued, or none.
    #[error(
        "n is {n}, but at most {max_num_queued_reqs} sequences may wait; ask for fewer, or raise \
         max_num_queued_reqs"
    )]
    QueueTooShort {
        /// Sequences of the request.
        n: usize,
        /// Most that wait.
        max_num_queued_reqs: usize,
    },
    /// A text prompt or stop text, and no tokenizer.
    #[error("the model has no tokenizer, so {what} cannot be used; give prompt_token_ids instead")]
    NoTokenizer {
        /// What needs one.
        what: &'static str,
    },
    /// Messages, and no chat template.
    #[error("the model has no chat template, so messages cannot be used; give a prompt instead")]
    NoChatTemplate,
    /// A token of the prompt is not in the vocabulary.
    #[error("prompt token {token_id} is not below the vocabulary size {vocab_size}")]
    TokenOutOfVocab {
        /// The token.
        token_id: u32,
        /// Tokens of the model.
        vocab_size: usize,
    },
    /// The model cannot be written in another form.
    #[error(transparent)]
    Convert(Box<crate::weights::convert::ConvertError>),
    /// The weights leave no room for KV.
    #[error(
        "gpu_memory_utilization {utilization} of {total_bytes} bytes is used up by weights and \
         activations ({used_bytes} bytes); raise it, or set kv_cache_memory_bytes"
    )]
    NoMemoryForKv {
        /// As asked for.
        utilization: f64,
        /// Memory of the device.
        total_bytes: u64,
        /// What everything but the KV cache takes.
        used_bytes: u64,
    },
    /// A fraction that is none.
    #[error("gpu_memory_utilization is {0}; set it above 0 and to at most 1")]
    MemoryUtilization(f64),
    /// Two sizes for one pool.
    #[error(
        "kv_cache_memory_bytes and gpu_memory_utilization both size the KV cache; set one of them"
    )]
    TwoKvCacheSizes,
    /// A time that no step takes.
    #[error("tpot_target_ms is {0}; set it to a number above 0, or leave it out for no target")]
    TpotTarget(f64),
    /// The KV store cannot be opened.
    #[error("{0}")]
    KvStore(OpenKvStoreError),
    /// The KV store's configuration cannot be used.
    #[error("the KV store's configuration: {0}")]
    KvConfig(#[from] Box<kv_store::config::ConfigError>),
    /// The KV store's metrics cannot be served.
    #[error(transparent)]
    KvMetrics(#[from] kv_store::metrics::ServeError),
    /// KV of this engine cannot be told from that of others.
    #[error(transparent)]
    KvIdentity(#[from] kv_store::identity::IdentityError),
    /// Swap space that no machine has.
    #[error("swap_space is {0} GiB; set it to a number from 0 up that fits in memory")]
    SwapSpace(f64),
    /// The run is not recorded, or not any more.
    #[error("cannot write the record {path}: {what}")]
    Record {
        /// The file.
        path: PathBuf,
        /// Why.
        what: String,
    },
    /// The system gives the engine no thread.
    #[error("cannot start the engine's thread: {0}")]
    Thread(std::io::Error),
    /// The engine's thread has ended, and with it all its requests.
    #[error("the engine has stopped; start another one")]
    Stopped,
    /// The engine failed in the middle of its work.
    #[error(transparent)]
    Step(#[from] StepError),
}

impl From<kernels_hip::Error> for LlmError {
    fn from(error: kernels_hip::Error) -> Self {
        match error {
            kernels_hip::Error::Load(_) | kernels_hip::Error::NoDevice(_) => {
                LlmError::NoHip(Box::new(error))
            }
            error => LlmError::Hip(Box::new(error)),
        }
    }
}

impl From<kv_store::store::StoreError> for LlmError {
    fn from(error: kv_store::store::StoreError) -> Self {
        LlmError::KvStore(Box::new(error))
    }
}

impl From<kv_store::config::ConfigError> for LlmError {
    fn from(error: kv_store::config::ConfigError) -> Self {
        LlmError::KvConfig(Box::new(error))
    }
}

impl LlmError {
    /// Whether the user can mend it (an option, a file, a request); otherwise the engine failed.
    pub fn is_users(&self) -> bool {
        !matches!(self, LlmError::Step(_) | LlmError::Thread(_) | LlmError::Stopped)
    }
}
