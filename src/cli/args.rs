//! The arguments of `kvasir generate`, and their values.

use std::collections::BTreeMap;
use std::num::NonZero;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use engine::hub::SMOLLM2_135M;
use engine::{
    Backend, CpuIsa, DType, Fp8Flavour, KvCacheDType, LogprobsMode, Prompt, StructuredOutputs,
    TokenId,
};
use serde_json::{Map, Value};

use super::constraints::{logit_bias_flag, structured_outputs_flag, template_args_flag};
use super::kv_store_args::KvStoreArgs;
use super::overrides::{OptionOverrides, SamplingOverrides};
use super::scheduler_args::SchedulerArgs;

/// `kvasir generate`.
#[derive(Args, Debug)]
#[command(after_help = GENERATE_HELP)]
pub(crate) struct GenerateArgs {
    /// What to answer; `-` reads it from standard input
    #[arg(required_unless_present_any = ["input", "show_config"], conflicts_with = "input")]
    pub prompt: Option<String>,

    #[command(flatten)]
    pub files: FileArgs,
    #[command(flatten)]
    pub chat: ChatArgs,
    #[command(flatten)]
    pub sampling: SamplingArgs,
    #[command(flatten)]
    pub request: RequestArgs,
    #[command(flatten)]
    pub engine: EngineArgs,
    #[command(flatten)]
    pub scheduler: SchedulerArgs,
    #[command(flatten)]
    pub kv_store: KvStoreArgs,

    /// Write the run down in this file, for `kvasir replay`
    #[arg(long, value_name = "FILE.jsonl")]
    pub record: Option<PathBuf>,

    /// Print the summary as one line of JSON, with the tokens and log-probabilities of the answer
    #[arg(long)]
    pub json: bool,
}

const GENERATE_HELP: &str = "\
Each line of --input is a JSON object with one of `prompt`, `prompt_token_ids` or `messages`, and
sampling options by vLLM's names, which win over flags: n, max_tokens, min_tokens, temperature,
top_p, top_k, min_p, presence_penalty, frequency_penalty, repetition_penalty, logit_bias,
allowed_token_ids, bad_words, structured_outputs, seed, ignore_eos, stop, stop_token_ids,
include_stop_str_in_output, detokenize, skip_special_tokens, logprobs, prompt_logprobs,
priority, cache_salt.

The exit code is 0 for success, 2 for what you can mend, 1 for anything else.";

/// Files of requests and answers.
#[derive(Args, Debug)]
#[command(next_help_heading = "Files")]
pub(crate) struct FileArgs {
    /// Answer every line of this JSONL file; `-` is standard input
    #[arg(long, value_name = "FILE.jsonl")]
    pub input: Option<PathBuf>,

    /// Write the answers, in the order of the input, to this file instead of standard output (`-`)
    #[arg(long, value_name = "FILE.jsonl", requires = "input", conflicts_with = "prompt")]
    pub output: Option<PathBuf>,
}

/// Whether a prompt is a message.
#[derive(Args, Debug)]
#[command(next_help_heading = "Chat")]
pub(crate) struct ChatArgs {
    /// Put the prompt into the model's chat template as a user's message [default for a prompt on
    /// the command line if the model has a template]
    #[arg(long)]
    pub chat: bool,

    /// Give the prompt to the model as it is [default for `prompt` in --input]
    #[arg(long, conflicts_with = "chat")]
    pub raw: bool,

    /// The system's message before the prompt; in --input write it into `messages`
    #[arg(long, value_name = "TEXT", conflicts_with_all = ["raw", "input"])]
    pub system: Option<String>,

    /// Variables of the model's chat template, such as {"enable_thinking": false}; in --input, for lines without their own
    #[arg(long, value_name = "JSON", conflicts_with = "raw", value_parser = template_args_flag)]
    pub chat_template_kwargs: Option<Map<String, Value>>,
}

impl ChatArgs {
    /// `prompt` with the template's variables, if it is a conversation without any.
    pub(crate) fn with_template_args(&self, mut prompt: Prompt) -> Prompt {
        if let (Prompt::Chat(conversation), Some(args)) = (&mut prompt, &self.chat_template_kwargs)
            && conversation.template_args.is_empty()
        {
            conversation.template_args.clone_from(args);
        }
        prompt
    }
}

/// How tokens are chosen.
#[derive(Args, Debug)]
#[command(next_help_heading = "Sampling", allow_negative_numbers = true)]
pub(crate) struct SamplingArgs {
    /// Most tokens to generate
    #[arg(long, default_value = "256", value_parser = positive)]
    pub max_tokens: usize,

    /// Divides the logits; 0 takes the likeliest token [default: the model's
    /// generation_config.json, with its top-p and top-k, else 0]
    #[arg(long, value_parser = temperature)]
    pub temperature: Option<f32>,

    /// Keep the likeliest tokens whose probabilities sum to this
    #[arg(long, value_parser = top_p)]
    pub top_p: Option<f32>,

    /// Keep this many likeliest tokens; 0 or -1 keeps all
    #[arg(long, value_parser = clap::value_parser!(i32).range(-1..))]
    pub top_k: Option<i32>,

    /// Keep tokens at least this fraction as likely as the likeliest
    #[arg(long, value_parser = min_p)]
    pub min_p: Option<f32>,

    /// Take this off the logit of a token that the answer has already, -2 to 2
    #[arg(long, value_name = "LOGITS", value_parser = penalty)]
    pub presence_penalty: Option<f32>,

    /// Take this off the logit of a token for each time that the answer has it, -2 to 2
    #[arg(long, value_name = "LOGITS", value_parser = penalty)]
    pub frequency_penalty: Option<f32>,

    /// Divide the logit of a token that prompt or answer have, or multiply it if it is negative
    #[arg(long, value_name = "FACTOR", value_parser = repetition_penalty)]
    pub repetition_penalty: Option<f32>,

    /// Add to the logits of tokens, -100 to 100, such as '{"15": -2.5}'
    #[arg(long, value_name = "JSON", value_parser = logit_bias_flag)]
    pub logit_bias: Option<BTreeMap<TokenId, f32>>,

    /// The only tokens that may come
    #[arg(long, value_name = "ID,…", value_delimiter = ',')]
    pub allowed_token_ids: Vec<u32>,

    /// Keep this text out of the answer (repeatable)
    #[arg(long, value_name = "TEXT", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub bad_words: Vec<String>,

    /// Give the answer a form: an object with one of json (a schema), regex, choice (a list of
    /// texts), grammar (in Lark's notation), json_object (true)
    #[arg(long, value_name = "JSON", value_parser = structured_outputs_flag)]
    pub structured_outputs: Option<StructuredOutputs>,

    /// Seed of the random numbers
    #[arg(long)]
    pub seed: Option<u64>,

    /// No end of sequence and no stop before this many tokens
    #[arg(long, value_name = "N")]
    pub min_tokens: Option<usize>,

    /// End the answer before this text (repeatable)
    #[arg(long, value_name = "TEXT", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub stop: Vec<String>,

    /// End the answer after one of these tokens
    #[arg(long, value_name = "ID,…", value_delimiter = ',')]
    pub stop_token_ids: Vec<u32>,

    /// Leave the text that ended the answer in it
    #[arg(long)]
    pub include_stop_str_in_output: bool,

    /// Go on after an end-of-sequence token
    #[arg(long)]
    pub ignore_eos: bool,

    /// Report the log-probabilities of each token and of this many likeliest ones; -1: of all
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(-1..))]
    pub logprobs: Option<i32>,

    /// The same for each token of the prompt
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(-1..))]
    pub prompt_logprobs: Option<i32>,

    /// What --logprobs reports: of the model, or of what the token was drawn from after penalties,
    /// temperature and filters
    #[arg(long, value_enum, default_value_t = LogprobsModeArg::RawLogprobs)]
    pub logprobs_mode: LogprobsModeArg,
}

/// What the scheduler and the KV cache are to know of a request.
#[derive(Args, Debug)]
#[command(next_help_heading = "Request")]
pub(crate) struct RequestArgs {
    /// Lower is served first, with --scheduling-policy priority; `priority` in --input wins
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub priority: Option<i32>,

    /// Share cached KV only with requests of this salt; `cache_salt` in --input wins
    #[arg(long, value_name = "TEXT")]
    pub cache_salt: Option<String>,
}

impl RequestArgs {
    /// The flags as a layer.
    pub(crate) fn overrides(&self) -> OptionOverrides {
        OptionOverrides { priority: self.priority, cache_salt: self.cache_salt.clone() }
    }
}

/// What runs the model, and with how much memory.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Engine")]
pub(crate) struct EngineArgs {
    /// A known name, a GGUF file, a model directory, or hf:ORG/MODEL[@REVISION][:FILE.gguf]
    #[arg(long, default_value = SMOLLM2_135M.name)]
    pub model: String,

    /// Format of weights and matrix inputs; auto is bfloat16
    #[arg(long, value_enum, default_value_t = DtypeArg::Auto)]
    pub dtype: DtypeArg,

    /// Format of the KV cache: auto (--dtype's), float32, bfloat16, float16, fp8 (= fp8_e4m3),
    /// fp8_e4m3 or fp8_e5m2
    #[arg(long, value_name = "DTYPE", default_value = "auto")]
    pub kv_cache_dtype: KvCacheDType,

    /// Flavour of FP8 in the KV cache; auto is fnuz on gfx942 and ocp elsewhere
    #[arg(long, value_enum, default_value_t = Fp8FlavourArg::Auto)]
    pub fp8_flavour: Fp8FlavourArg,

    /// Scales of an FP8 KV cache, made by `kvasir calibrate` [default: the model's own, else 1]
    #[arg(long, value_name = "FILE")]
    pub kv_cache_scales: Option<PathBuf>,

    /// Longest sequence in tokens, prompt and answer together [default: the model's]
    #[arg(long, value_name = "TOKENS", value_parser = positive)]
    pub max_model_len: Option<usize>,

    /// Most sequences that run at once [default: 256]
    #[arg(long, value_name = "N", value_parser = positive)]
    pub max_num_seqs: Option<usize>,

    /// Most tokens that one step computes [default: 2048]
    #[arg(long, value_name = "TOKENS", value_parser = positive)]
    pub max_num_batched_tokens: Option<usize>,

    /// Token slots of one KV block [default: 16]
    #[arg(long, value_name = "TOKENS", value_parser = positive)]
    pub block_size: Option<usize>,

    /// Size of the KV cache [default: 4 GiB, or less where that is more than can be used]
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u64).range(1..))]
    pub kv_cache_memory_bytes: Option<u64>,

    /// Threads that compute [default: all cores]
    #[arg(long, value_name = "N")]
    pub threads: Option<NonZero<usize>>,

    /// What computes: the fast CPU kernels, the slow and plain reference, or the kernels for MI300X
    /// on a GPU or on the emulator that KVASIR_HIP_LIBRARY names
    #[arg(long, value_enum, default_value_t = BackendArg::Cpu)]
    pub backend: BackendArg,

    /// Instructions that the CPU kernels use
    #[arg(long, value_enum, default_value_t = CpuIsaArg::Auto)]
    pub cpu_isa: CpuIsaArg,

    /// Compute an op of --backend hip with this variant (repeatable); `kvasir kernels list` has them
    #[arg(long = "pin", value_name = "OP=VARIANT")]
    pub pins: Vec<String>,
}

/// A number format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum DtypeArg {
    Auto,
    #[value(alias = "f32", alias = "float")]
    Float32,
    #[value(alias = "bf16")]
    Bfloat16,
    #[value(alias = "f16", alias = "half")]
    Float16,
}

impl DtypeArg {
    /// The format, `None` for auto.
    pub(crate) fn dtype(self) -> Option<DType> {
        match self {
            DtypeArg::Auto => None,
            DtypeArg::Float32 => Some(DType::F32),
            DtypeArg::Bfloat16 => Some(DType::BF16),
            DtypeArg::Float16 => Some(DType::F16),
        }
    }
}

/// Who defined FP8.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Fp8FlavourArg {
    Auto,
    Ocp,
    Fnuz,
}

impl Fp8FlavourArg {
    /// The flavour, `None` for the backend's own.
    pub(crate) fn flavour(self) -> Option<Fp8Flavour> {
        match self {
            Fp8FlavourArg::Auto => None,
            Fp8FlavourArg::Ocp => Some(Fp8Flavour::Ocp),
            Fp8FlavourArg::Fnuz => Some(Fp8Flavour::Fnuz),
        }
    }
}

/// What computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum BackendArg {
    Cpu,
    Reference,
    Hip,
}

impl From<BackendArg> for Backend {
    fn from(backend: BackendArg) -> Backend {
        match backend {
            BackendArg::Cpu => Backend::Cpu,
            BackendArg::Reference => Backend::Reference,
            BackendArg::Hip => Backend::Hip,
        }
    }
}

/// What a reported log-probability is; vLLM's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(crate) enum LogprobsModeArg {
    RawLogprobs,
    RawLogits,
    ProcessedLogprobs,
    ProcessedLogits,
}

impl From<LogprobsModeArg> for LogprobsMode {
    fn from(mode: LogprobsModeArg) -> LogprobsMode {
        match mode {
            LogprobsModeArg::RawLogprobs => LogprobsMode::RawLogprobs,
            LogprobsModeArg::RawLogits => LogprobsMode::RawLogits,
            LogprobsModeArg::ProcessedLogprobs => LogprobsMode::ProcessedLogprobs,
            LogprobsModeArg::ProcessedLogits => LogprobsMode::ProcessedLogits,
        }
    }
}

/// Which instructions the CPU kernels use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum CpuIsaArg {
    Auto,
    Avx512,
    Avx2,
    Portable,
}

impl CpuIsaArg {
    /// The path, `None` for the best of this machine.
    pub(crate) fn isa(self) -> Option<CpuIsa> {
        match self {
            CpuIsaArg::Auto => None,
            CpuIsaArg::Avx512 => Some(CpuIsa::Avx512),
            CpuIsaArg::Avx2 => Some(CpuIsa::Avx2),
            CpuIsaArg::Portable => Some(CpuIsa::Portable),
        }
    }
}

impl SamplingArgs {
    /// The flags as a layer; `--seed` is the engine's, and each request's follows from it.
    pub(crate) fn overrides(&self) -> SamplingOverrides {
        SamplingOverrides {
            temperature: self.temperature,
            top_p: self.top_p,
            top_k: self.top_k,
            min_p: self.min_p,
            min_tokens: self.min_tokens,
            presence_penalty: self.presence_penalty,
            frequency_penalty: self.frequency_penalty,
            repetition_penalty: self.repetition_penalty,
            logit_bias: self.logit_bias.clone(),
            allowed_token_ids: tokens(&self.allowed_token_ids),
            bad_words: (!self.bad_words.is_empty()).then(|| self.bad_words.clone()),
            structured_outputs: self.structured_outputs.clone(),
            stop_token_ids: tokens(&self.stop_token_ids),
            include_stop_str_in_output: self.include_stop_str_in_output.then_some(true),
            ignore_eos: self.ignore_eos.then_some(true),
            stop: (!self.stop.is_empty()).then(|| self.stop.clone()),
            logprobs: self.logprobs.map(Some),
            prompt_logprobs: self.prompt_logprobs.map(Some),
            ..SamplingOverrides::default()
        }
    }
}

/// `None` if the flag was not given.
fn tokens(ids: &[u32]) -> Option<Vec<TokenId>> {
    (!ids.is_empty()).then(|| ids.iter().copied().map(TokenId).collect())
}

fn penalty(text: &str) -> Result<f32, String> {
    number(text, |p| (-2.0..=2.0).contains(&p), "from -2 to 2")
}

fn repetition_penalty(text: &str) -> Result<f32, String> {
    number(text, |p| p > 0.0, "above 0")
}

pub(crate) fn positive(text: &str) -> Result<usize, String> {
    match text.parse::<usize>() {
        // Half of the address space: sums of a few such numbers cannot overflow.
        Ok(number) if (1..=usize::MAX / 4).contains(&number) => Ok(number),
        _ => Err("give a whole number from 1 up".to_owned()),
    }
}

fn temperature(text: &str) -> Result<f32, String> {
    number(text, |t| t >= 0.0, "from 0 up")
}

fn top_p(text: &str) -> Result<f32, String> {
    number(text, |p| p > 0.0 && p <= 1.0, "above 0 and up to 1")
}

fn min_p(text: &str) -> Result<f32, String> {
    number(text, |p| (0.0..=1.0).contains(&p), "from 0 to 1")
}

fn number(text: &str, fits: impl Fn(f32) -> bool, words: &str) -> Result<f32, String> {
    match text.parse::<f32>() {
        Ok(number) if number.is_finite() && fits(number) => Ok(number),
        _ => Err(format!("give a number {words}")),
    }
}
