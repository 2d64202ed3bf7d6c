//! The recipe's context configuration matrix: five rows of settings, each checked against the models that it names.

use engine::KvCacheDType;
use engine_core::dtype::DType;
use serde::Serialize;

use super::models::{self, Named};
use super::{DEVICES, Plan, PlanRequest, RecipeError};

/// A row of the matrix, by the recipe's names.
#[derive(Clone, Debug, Serialize)]
pub struct Preset {
    /// What `--preset` calls it.
    pub name: &'static str,
    /// Longest sequence, tokens.
    pub max_model_len: usize,
    /// Devices that share each layer.
    pub tensor_parallel_size: usize,
    /// Groups of devices that share the layers.
    pub pipeline_parallel_size: usize,
    /// Sequences at once.
    pub max_num_seqs: usize,
    /// Most tokens of a step.
    pub max_num_batched_tokens: usize,
    /// Share of the memory.
    pub gpu_memory_utilization: f64,
    /// Whether prompts are computed over several steps.
    pub enable_chunked_prefill: bool,
    /// Whether KV of the same beginning is shared.
    pub enable_prefix_caching: bool,
    /// Format of the KV cache.
    pub kv_cache_dtype: &'static str,
    /// Format of the weights, if not the model's own.
    pub quantization: Option<&'static str>,
    /// What it is for.
    pub use_case: &'static str,
    /// What the recipe expects, tokens in a second.
    pub expected_throughput: &'static str,
    #[serde(skip)]
    models: &'static [&'static Named],
}

/// What all rows but the first have.
const LONG: Preset = Preset {
    name: "",
    max_model_len: 0,
    tensor_parallel_size: 8,
    pipeline_parallel_size: 1,
    max_num_seqs: 1,
    max_num_batched_tokens: 16_384,
    gpu_memory_utilization: 0.98,
    enable_chunked_prefill: true,
    enable_prefix_caching: true,
    kv_cache_dtype: "fp8",
    quantization: None,
    use_case: "",
    expected_throughput: "",
    models: &[],
};

/// From the shortest context on.
pub const PRESETS: [Preset; 5] = [
    Preset {
        name: "small_2k_4k",
        max_model_len: 4096,
        tensor_parallel_size: 1,
        max_num_seqs: 256,
        max_num_batched_tokens: 4096,
        gpu_memory_utilization: 0.85,
        enable_chunked_prefill: false,
        kv_cache_dtype: "auto",
        use_case: "chat, questions and answers",
        expected_throughput: "2000-2500 on each device",
        models: &[&models::LLAMA_2_7B, &models::MISTRAL_7B, &models::LLAMA_2_13B],
        ..LONG
    },
    Preset {
        name: "medium_8k_16k",
        max_model_len: 16_384,
        tensor_parallel_size: 2,
        max_num_seqs: 32,
        gpu_memory_utilization: 0.90,
        kv_cache_dtype: "auto",
        use_case: "code, documents, long conversations",
        expected_throughput: "800-1200",
        models: &[&models::CODELLAMA_13B, &models::LLAMA_2_13B, &models::LLAMA_3_8B],
        ..LONG
    },
    Preset {
        name: "large_16k_32k",
        max_model_len: 32_768,
        tensor_parallel_size: 4,
        max_num_seqs: 8,
        gpu_memory_utilization: 0.95,
        use_case: "books, papers, large programs",
        expected_throughput: "300-500",
        models: &[&models::LLAMA_2_70B, &models::LLAMA_3_70B, &models::CODELLAMA_34B],
        ..LONG
    },
    Preset {
        name: "very_large_64k",
        max_model_len: 65_536,
        max_num_seqs: 2,
        max_num_batched_tokens: 8192,
        quantization: Some("awq"),
        use_case: "whole books",
        expected_throughput: "100-300",
        models: &[&models::LLAMA_3_70B_GRADIENT, &models::YI_34B_200K],
        ..LONG
    },
    Preset {
        name: "extreme_128k_plus",
        max_model_len: 131_072,
        pipeline_parallel_size: 2,
        max_num_batched_tokens: 4096,
        quantization: Some("awq"),
        use_case: "several books, whole repositories",
        expected_throughput: "50-150",
        models: &[&models::LLAMA_3_70B_GRADIENT_1048K],
        ..LONG
    },
];

/// A row with a model that it names, on MI300X.
#[derive(Clone, Debug, Serialize)]
pub struct PresetCheck {
    /// The row.
    pub preset: &'static str,
    /// The model.
    pub model: &'static str,
    /// Whether all of the row's sequences fit at its full length.
    pub fits: bool,
    /// So many do.
    pub max_batch: usize,
    /// Devices that they would need; `None` if the model cannot be shared among so many.
    pub devices_needed: Option<usize>,
    /// The most tokens in a second by the model of time, all sequences at full length.
    pub most_tokens_per_s: Option<f64>,
    /// Where the row does not hold, and what was left out of the plan.
    pub notes: Vec<String>,
}

impl Preset {
    /// A row by its name.
    pub fn named(name: &str) -> Option<Preset> {
        PRESETS.into_iter().find(|preset| preset.name == name)
    }

    /// The recipe's choice for sequences of so many tokens: the first row that is long enough, else the last.
    pub fn for_context(num_tokens: usize) -> Preset {
        let [.., last] = PRESETS;
        PRESETS.into_iter().find(|preset| num_tokens <= preset.max_model_len).unwrap_or(last)
    }

    /// The row with each of its models on MI300X.
    ///
    /// # Errors
    /// [`RecipeError`], which the recipe's rows do not give.
    pub fn check(&self) -> Result<Vec<PresetCheck>, RecipeError> {
        self.models.iter().map(|model| self.check_with(model)).collect()
    }

    fn check_with(&self, model: &Named) -> Result<PresetCheck, RecipeError> {
        let config = model.config()?;
        let request = PlanRequest {
            context: self.max_model_len,
            batch: self.max_num_seqs,
            dtype: DType::BF16,
            kv_cache_dtype: match self.kv_cache_dtype {
                "fp8" => KvCacheDType::Fp8E4m3,
                _ => KvCacheDType::Auto,
            },
            tp: self.tensor_parallel_size,
            block_size: 16,
            memory_utilization: self.gpu_memory_utilization,
            max_num_batched_tokens: self.max_num_batched_tokens,
        };
        let [mi300x, ..] = &DEVICES;
        let plan = Plan::new(&config, mi300x, &request)?;
        let fits = plan.fit.max_batch >= self.max_num_seqs;
        Ok(PresetCheck {
            preset: self.name,
            model: model.name,
            fits,
            max_batch: plan.fit.max_batch,
            devices_needed: plan.devices_needed,
            most_tokens_per_s: plan.decode_step.map(|step| self.max_num_seqs as f64 / step.seconds),
            notes: self.notes(model, &plan, fits),
        })
    }

    fn notes(&self, model: &Named, plan: &Plan, fits: bool) -> Vec<String> {
        let mut notes = Vec::new();
        if !fits {
            let count = plan.fit.max_batch;
            notes.push(format!("{} sequences do not fit, {count} do", self.max_num_seqs));
        }
        let made_for = model.max_position_embeddings;
        if made_for < self.max_model_len {
            notes.push(format!("{} tokens; it was made for {made_for}", self.max_model_len));
        }
        if let Some(needed) = plan.devices_needed.filter(|&count| fits && count < plan.tp) {
            notes.push(format!("{needed} of {} devices would do", plan.tp));
        }
        if self.pipeline_parallel_size > 1 && fits {
            notes.push(format!("{} devices hold it without a second group", plan.tp));
        }
        if self.quantization.is_some() {
            notes.push("planned with weights in bfloat16".to_owned());
        }
        notes
    }
}
