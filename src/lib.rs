//! Kvasir: run language models from Rust.
//!
//! ```
//! use kvasir::{Llm, SamplingParams};
//!
//! # fn main() -> Result<(), kvasir::LlmError> {
//! // Any GGUF file or directory in transformers' layout; `hub::resolve` fetches one by its name.
//! // This one is tiny, knows no words, and takes token ids.
//! # let model = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/families/llama");
//! let mut llm = Llm::builder(model).build()?;
//! let params = SamplingParams { max_tokens: 8, temperature: 0.0, ..SamplingParams::default() };
//! let outputs = llm.generate(&[vec![86, 14, 3], vec![5]], &params)?;
//! for output in &outputs {
//!     println!("{:?} goes on with {:?}", output.prompt_token_ids, output.outputs[0].token_ids);
//! }
//! # assert_eq!(outputs.len(), 2);
//! # assert!(outputs.iter().all(|output| (1..=8).contains(&output.outputs[0].token_ids.len())));
//! # Ok(())
//! # }
//! ```
//!
//! A model that has a tokenizer takes text, and one that was trained to chat takes messages:
//!
//! ```no_run
//! use kvasir::{Llm, Message, Prompt, SamplingParams, hub};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let path = hub::resolve("smollm2-135m", &hub::Quiet)?;
//! let mut llm = Llm::builder(path).build()?;
//! let question = Message::new("user", "Why is the sky blue?");
//! let params = SamplingParams { max_tokens: 64, temperature: 0.0, ..SamplingParams::default() };
//! llm.add_request(Prompt::from(vec![question]), params)?;
//! while llm.has_unfinished() {
//!     for update in llm.step() {
//!         print!("{}", update.text_delta);
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! All requests that are in flight share steps, and what one of them is answered never depends on
//! the others. The options have vLLM's names; see [`LlmBuilder`] and [`SamplingParams`].
#![forbid(unsafe_code)]

pub mod kernels;
pub mod plan;

pub use engine::hub;
pub use engine::kv_store;
pub use engine::output::{
    CompletionOutput, Logprob, PromptKv, RequestMetrics, RequestOutput, StopReason,
};
pub use engine::text::{Content, ContentPart, Message, PromptEnd};
pub use engine::weights;
pub use engine::{
    AsyncLlm, AttachedPrefix, Backend, Conversation, CpuIsa, DType, Difference, DifferentPart,
    DirectoryConfig, FinishReason, Fp8Flavour, HostConfig, KvCacheDType, KvConfig, KvStoreConfig,
    KvStoreUse, KvTierStats, Llm, LlmBuilder, LlmError, LoadPolicy, LoadedTokens, LogprobsMode,
    NgramConfig, OpenKvStore, OpenKvStoreError, Prompt, Replay, ReplayError, ReplayReport,
    RequestId, RequestOptions, RequestStream, RequestUpdate, SamplingParams, SchedulerConfig,
    SchedulerStats, SchedulingPolicy, StepError, StructuredError, StructuredOutputs, TokenId,
    convert_to_hf_dir,
};
