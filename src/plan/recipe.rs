//! The recipe's own figures beside what the planner says of the same models.

use engine::{KvCacheDType, weights::ConfigError};
use engine_core::config::ModelConfig;
use engine_core::dtype::DType;
use serde::Serialize;

use super::models::{LLAMA_2_7B, LLAMA_2_13B, LLAMA_2_70B, LLAMA_3_1_8B, LLAMA_3_1_70B, Named};
use super::presets::{PRESETS, Preset, PresetCheck};
use super::{DeviceProfile, Plan, PlanRequest, ShardError};

/// The recipe's four examples.
const EXAMPLES: [(&Named, usize); 4] =
    [(&LLAMA_2_7B, 4096), (&LLAMA_2_13B, 16_384), (&LLAMA_2_70B, 32_768), (&LLAMA_2_70B, 131_072)];

/// Its throughput on eight MI300X: context, sequences, tokens in a second, and seconds to the first token when the
/// KV is kept.
const THROUGHPUT: [(&Named, usize, usize, f64, f64); 4] = [
    (&LLAMA_3_1_8B, 4096, 256, 2500.0, 0.010),
    (&LLAMA_3_1_8B, 131_072, 8, 600.0, 1.5),
    (&LLAMA_3_1_70B, 4096, 64, 1200.0, 0.025),
    (&LLAMA_3_1_70B, 131_072, 4, 400.0, 1.5),
];
const NUM_DEVICES: usize = 8;

/// GB of one sequence, as `memory_calculator.py` has it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Gigabytes {
    /// Weights.
    pub weights: f64,
    /// Keys and values.
    pub kv: f64,
    /// Activations.
    pub activations: f64,
    /// All, with the recipe's fifth on top where it is the recipe's.
    pub total: f64,
    /// MI300X that hold it.
    pub devices: usize,
}

/// An example of the recipe, and the same by the allocator.
#[derive(Clone, Debug, Serialize)]
pub struct Example {
    /// The model.
    pub model: &'static str,
    /// Tokens.
    pub context: usize,
    /// What the recipe's formula gives.
    pub recipe: Gigabytes,
    /// What the engine would take.
    pub plan: Gigabytes,
    /// Where the formula errs.
    pub errs: Vec<String>,
}

/// A row of the recipe's throughput, and the bounds of the same by the model of time.
#[derive(Clone, Debug, Serialize)]
pub struct Throughput {
    /// The model.
    pub model: &'static str,
    /// Tokens.
    pub context: usize,
    /// Sequences.
    pub batch: usize,
    /// Tokens in a second, by the recipe.
    pub recipe_tokens_per_s: f64,
    /// The most by the model.
    pub most_tokens_per_s: f64,
    /// Seconds to the first token with the KV kept, by the recipe.
    pub recipe_ttft_s: f64,
    /// The least by the model, with the KV in shared storage and nobody else there.
    pub least_ttft_s: f64,
}

/// Everything of the recipe that can be planned.
#[derive(Clone, Debug, Serialize)]
pub struct Recipe {
    /// The four examples.
    pub examples: Vec<Example>,
    /// Throughput on eight MI300X.
    pub throughput: Vec<Throughput>,
    /// The context matrix, each row with each of its models.
    pub presets: Vec<PresetCheck>,
}

/// A model of the recipe that cannot be planned.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecipeError {
    /// Its sizes.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Its parts.
    #[error(transparent)]
    Shard(#[from] ShardError),
}

impl Recipe {
    /// Plans what the recipe names.
    ///
    /// # Errors
    /// [`RecipeError`], which its models do not give.
    pub fn new() -> Result<Recipe, RecipeError> {
        let examples = EXAMPLES.iter().map(|&(model, context)| example(model, context));
        let throughput = THROUGHPUT.iter().map(throughput);
        let checks = PRESETS.iter().map(Preset::check).collect::<Result<Vec<_>, _>>()?;
        Ok(Recipe {
            examples: examples.collect::<Result<_, _>>()?,
            throughput: throughput.collect::<Result<_, _>>()?,
            presets: checks.concat(),
        })
    }
}

fn plan(
    model: &Named,
    context: usize,
    batch: usize,
    tp: usize,
) -> Result<(Plan, ModelConfig), RecipeError> {
    let config = model.config()?;
    let request = PlanRequest {
        context,
        batch,
        dtype: DType::BF16,
        kv_cache_dtype: KvCacheDType::Auto,
        tp,
        block_size: 16,
        memory_utilization: 0.9,
        max_num_batched_tokens: 2048,
    };
    let [mi300x, ..] = &super::DEVICES;
    let device: &DeviceProfile = mi300x;
    Ok((Plan::new(&config, device, &request)?, config))
}

fn example(model: &Named, context: usize) -> Result<Example, RecipeError> {
    let (plan, config) = plan(model, context, 1, 1)?;
    let gb = |bytes: u64| bytes as f64 / 1e9;
    let kv_bytes = plan.kv_bytes_per_token * context as u64;
    let (weights, activations) = (plan.memory.weight_bytes, plan.memory.activation_bytes);
    let planned = Gigabytes {
        weights: gb(weights),
        kv: gb(kv_bytes),
        activations: gb(activations),
        total: gb(weights + activations + kv_bytes),
        devices: plan.devices_needed.unwrap_or(usize::MAX),
    };
    let recipe = recipes_estimate(model.billions, context);
    Ok(Example {
        model: model.name,
        context,
        recipe,
        plan: planned,
        errs: errors(model, &config, context),
    })
}

/// `estimate_memory_gb` for one sequence in 16 bits.
fn recipes_estimate(billions: f64, context: usize) -> Gigabytes {
    let tokens = context as f64;
    let hidden = recipes_hidden(billions) as f64;
    let weights = billions * 2.0;
    let kv = 2.0 * recipes_layers(billions) * hidden * tokens * 2.0 / 1e9;
    let activations = tokens * hidden * 4.0 / 1e9;
    let total = (weights + kv + activations) * 1.2;
    let devices = (total / 192.0) as usize + 1;
    Gigabytes { weights, kv, activations, total, devices }
}

fn recipes_layers(billions: f64) -> f64 {
    billions * 2.0
}

fn recipes_hidden(billions: f64) -> usize {
    if billions <= 13.0 { 4096 } else { 8192 }
}

fn errors(model: &Named, config: &ModelConfig, context: usize) -> Vec<String> {
    let mut errs = Vec::new();
    let layers = recipes_layers(model.billions) as usize;
    if layers != config.num_layers {
        errs.push(format!("{layers} layers; it has {}", config.num_layers));
    }
    let hidden = recipes_hidden(model.billions);
    if hidden != config.hidden_size {
        errs.push(format!("a hidden size of {hidden}; it is {}", config.hidden_size));
    }
    let kv_size = config.num_kv_heads * config.head_dim;
    if kv_size != hidden {
        errs.push(format!(
            "{hidden} elements of K in a layer; {} KV heads have {kv_size}",
            config.num_kv_heads
        ));
    }
    if context > config.max_position_embeddings {
        errs.push(format!("{context} tokens; it was made for {}", config.max_position_embeddings));
    }
    errs.push("activations of the whole prompt; a step has at most 2048 rows of it".to_owned());
    errs
}

fn throughput(row: &(&Named, usize, usize, f64, f64)) -> Result<Throughput, RecipeError> {
    let &(model, context, batch, recipe_tokens_per_s, recipe_ttft_s) = row;
    let (plan, _) = plan(model, context, batch, NUM_DEVICES)?;
    let (alone, _) = self::plan(model, context, 1, NUM_DEVICES)?;
    let step_s = |plan: &Plan| plan.decode_step.map_or(f64::NAN, |step| step.seconds);
    let shared = plan.tiers.iter().find(|tier| tier.place == "shared storage");
    Ok(Throughput {
        model: model.name,
        context,
        batch,
        recipe_tokens_per_s,
        most_tokens_per_s: batch as f64 / step_s(&plan),
        recipe_ttft_s,
        least_ttft_s: shared.map_or(f64::NAN, |tier| tier.seconds) + step_s(&alone),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_estimate_is_the_recipes() {
        // What its `memory_calculator.py` prints, to two digits behind the point.
        let close = |found: f64, printed: f64| (found - printed).abs() <= 0.005;
        let of = recipes_estimate(70.0, 32_768);
        assert!(
            close(of.weights, 140.0) && close(of.kv, 150.32) && close(of.activations, 1.07),
            "{of:?}"
        );
        assert!(close(of.total, 349.68) && of.devices == 2, "{of:?}");
        assert_eq!(recipes_estimate(7.0, 4096).devices, 1);
    }

    #[test]
    fn the_engine_takes_what_the_models_are_made_of() {
        let recipe = Recipe::new().unwrap();
        let weights: Vec<i64> =
            recipe.examples.iter().map(|example| example.plan.weights.round() as i64).collect();
        // 6.74, 13.02 and 68.98 G parameters.
        assert_eq!(weights, [13, 26, 138, 138]);
        // 8 of 64 heads: the recipe has 8 times as much for each of 140 layers instead of 80.
        let of_70b = &recipe.examples[2];
        assert!((of_70b.recipe.kv / of_70b.plan.kv - 14.0).abs() < 1e-9, "{of_70b:?}");
        assert!(of_70b.errs.iter().any(|errs| errs.contains("8 KV heads have 1024")), "{of_70b:?}");
        assert_eq!(of_70b.plan.devices, 1);
    }

    #[test]
    fn bounds_of_time_stand_beside_the_recipes_throughput() {
        for row in Recipe::new().unwrap().throughput {
            assert!(row.most_tokens_per_s > row.recipe_tokens_per_s, "{row:?}");
            assert!(row.least_ttft_s > 0.0, "{row:?}");
        }
    }
}
