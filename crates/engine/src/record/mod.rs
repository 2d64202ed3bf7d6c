//! A run of the engine as a file: everything that the scheduler took from outside, and a digest of
//! every step. The same inputs give the same steps, so the file is enough to repeat the run, on any
//! machine whose numerics id is the same, and to find the first step that goes another way.
//!
//! The file is JSON Lines: a [`Header`], then [`Event`]s in order.

mod options;
mod recorder;
mod replay;

use engine_core::request::{FinishReason, SamplingParams, SeqId, StopRules, TokenId};
use engine_core::sampling::SampleKey;
use engine_core::scheduler::SchedulerConfig;
use serde::{Deserialize, Serialize};

pub(crate) use options::RecordedOptions;
pub(crate) use recorder::Recorder;
pub use replay::{Difference, DifferentPart, RecordSummary, Replay, ReplayError, ReplayReport};

use crate::llm::RequestOptions;
use crate::run_loop::{Observed, StepDigest};
use crate::sampler::SeqRequest;

/// The version of the format, which a reader must know.
const FORMAT: u32 = 2;

/// The first line: what engine it was.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Header {
    pub(crate) kvasir_record: u32,
    /// Of Kvasir.
    pub(crate) version: String,
    /// As it was given.
    pub(crate) model: String,
    pub(crate) numerics_id: String,
    /// Of all that the bits of keys and values depend on besides tokens: weights, tokenizer, configuration, formats.
    #[serde(default)]
    pub(crate) kv_identity: String,
    pub(crate) options: RecordedOptions,
    pub(crate) scheduler: SchedulerConfig,
}

impl Header {
    /// Of an engine that starts now.
    pub(crate) fn new(
        model: String,
        numerics_id: String,
        kv_identity: String,
        options: RecordedOptions,
        scheduler: SchedulerConfig,
    ) -> Self {
        let version = env!("CARGO_PKG_VERSION").to_owned();
        Header {
            kvasir_record: FORMAT,
            version,
            model,
            numerics_id,
            kv_identity,
            options,
            scheduler,
        }
    }
}

/// A later line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Event {
    /// A sequence arrived.
    Add(Box<RecordedRequest>),
    /// A sequence was ended from outside: withdrawn, or at a stop text.
    Finish { seq_id: SeqId, reason: FinishReason },
    /// The prefix cache was forgotten.
    ResetPrefixCache,
    /// A step.
    Step { observed: Observed, digest: StepDigest },
}

/// A sequence in tokens.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RecordedRequest {
    pub(crate) seq_id: SeqId,
    pub(crate) prompt_token_ids: Vec<TokenId>,
    pub(crate) params: SamplingParams,
    pub(crate) stop_rules: StopRules,
    pub(crate) key: SampleKey,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) bad_words: Vec<Vec<TokenId>>,
    pub(crate) options: RequestOptions,
}

impl RecordedRequest {
    fn new(seq_id: SeqId, request: &SeqRequest) -> Self {
        RecordedRequest {
            seq_id,
            prompt_token_ids: request.prompt_token_ids.clone(),
            params: request.params.clone(),
            stop_rules: request.stop_rules.clone(),
            key: request.key,
            bad_words: request.bad_words.clone(),
            options: request.options.clone(),
        }
    }
}
