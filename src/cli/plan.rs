//! `kvasir plan`: what a model needs of a device.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;
use engine::weights::hf::HfConfig;
use engine::{DType, KvCacheDType, weights};
use engine_core::config::ModelConfig;
use engine_core::limits::{MAX_BLOCK_SIZE, MAX_MODEL_LEN, MAX_NUM_SEQS};
use indicatif::HumanBytes;
use kvasir::plan::{
    DEVICES, DeviceProfile, Estimate, Example, Gigabytes, Limit, PRESETS, Plan, PlanRequest,
    Recipe, memory_picture,
};

use super::args::{DtypeArg, positive};
use super::bars::DownloadBars;
use super::error::CliError;
use super::{output, presets};

/// `kvasir plan`.
#[derive(Args, Debug)]
#[command(after_help = PLAN_HELP)]
pub(crate) struct PlanArgs {
    /// The model: as --model, which it replaces
    #[arg(value_name = "MODEL", conflicts_with_all = ["model", "recipe"])]
    model_name: Option<String>,

    /// A known name, a GGUF file, a model directory, a config.json, or hf:ORG/MODEL[@REVISION][:FILE.gguf]
    #[arg(long, conflicts_with = "recipe")]
    model: Option<String>,

    /// Print the figures of the recipe beside those of this planner, and where it errs
    #[arg(long, conflicts_with_all = [
        "device", "context", "batch", "tp", "dtype", "kv_cache_dtype", "block_size", "gpu_memory_utilization",
        "max_num_batched_tokens", "svg",
    ])]
    recipe: bool,

    /// mi300x, mi325x, gaudi3, h100, h200, or host: this machine's memory
    #[arg(long, default_value = "mi300x", value_parser = device)]
    device: DeviceProfile,

    /// Prompt and answer of a sequence together [default: what the model was made for]
    #[arg(long, value_name = "TOKENS", value_parser = positive)]
    context: Option<usize>,

    /// Sequences at once
    #[arg(long, value_name = "N", default_value = "1", value_parser = positive)]
    batch: usize,

    /// Devices that share the model
    #[arg(long, value_name = "N", default_value = "1", value_parser = positive)]
    tp: usize,

    /// Format of weights and matrix inputs; auto is bfloat16
    #[arg(long, value_enum, default_value_t = DtypeArg::Auto)]
    dtype: DtypeArg,

    /// Format of the KV cache: auto (--dtype's), float32, bfloat16, float16, fp8 (= fp8_e4m3), fp8_e4m3 or fp8_e5m2
    #[arg(long, visible_alias = "kv-dtype", value_name = "DTYPE", default_value = "auto")]
    kv_cache_dtype: KvCacheDType,

    /// Token slots of a kv_block
    #[arg(long, value_name = "TOKENS", default_value = "16", value_parser = positive)]
    block_size: usize,

    /// Share of the device's memory that may be used, 0 to 1
    #[arg(long, value_name = "SHARE", default_value_t = 0.9, value_parser = share)]
    gpu_memory_utilization: f64,

    /// Most token rows in a step
    #[arg(long, value_name = "TOKENS", default_value = "2048", value_parser = positive)]
    max_num_batched_tokens: usize,

    /// Draw where each device's memory goes
    #[arg(long, value_name = "FILE.svg")]
    svg: Option<PathBuf>,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

const PLAN_HELP: &str = "\
Memory is what the engine itself would allocate. Times are a model: what must be computed and moved, at rates that good
kernels reach, without communication between devices; kvasir bench measures.";

pub(crate) fn run(args: &PlanArgs) -> Result<(), CliError> {
    if args.recipe {
        return recipe(args.json);
    }
    let Some(model) = args.model_name.as_ref().or(args.model.as_ref()) else {
        return Err(CliError::usage("no model is named").with_hint(
            "name one: kvasir plan MODEL, KVASIR_MODEL, or model = \"…\" in kvasir.toml",
        ));
    };
    let config = model_config(model)?;
    let request = PlanRequest {
        context: args.context.unwrap_or_else(|| config.default_max_model_len()),
        batch: args.batch,
        dtype: args.dtype.dtype().unwrap_or(DType::BF16),
        kv_cache_dtype: args.kv_cache_dtype,
        tp: args.tp,
        block_size: args.block_size,
        memory_utilization: args.gpu_memory_utilization,
        max_num_batched_tokens: args.max_num_batched_tokens,
    };
    refuse_oversize(&request)?;
    let plan = Plan::new(&config, &args.device, &request)
        .map_err(|error| CliError::from_usage_error(&error))?;
    if let Some(path) = &args.svg {
        let picture = memory_picture(&plan).map_err(CliError::internal)?;
        std::fs::write(path, picture)
            .map_err(|error| CliError::output(&path.display().to_string(), &error))?;
    }
    if args.json { output::json(&plan) } else { output::text(&text(model, &plan)) }
}

/// What no engine takes would overflow here.
fn refuse_oversize(request: &PlanRequest) -> Result<(), CliError> {
    let bounds = [
        ("--context", request.context, MAX_MODEL_LEN),
        ("--batch", request.batch, MAX_NUM_SEQS),
        ("--block-size", request.block_size, MAX_BLOCK_SIZE),
    ];
    match bounds.into_iter().find(|(_, asked, most)| asked > most) {
        Some((flag, asked, most)) => {
            Err(CliError::usage(format!("{flag} {asked} is more than can be planned"))
                .with_hint(format!("give at most {most}")))
        }
        None => Ok(()),
    }
}

fn model_config(model: &str) -> Result<ModelConfig, CliError> {
    let path = Path::new(model);
    let is_config = path.extension().is_some_and(|extension| extension == "json");
    if is_config {
        let bytes = std::fs::read(path).map_err(|error| CliError::file("read", path, &error))?;
        let config = HfConfig::from_bytes(&bytes);
        return config
            .map(|config| config.model)
            .map_err(|error| CliError::from_usage_error(&error).at(model));
    }
    let path = engine::hub::resolve(model, &DownloadBars::new())?;
    let model = weights::open(&path).map_err(|error| CliError::from_usage_error(&error))?;
    Ok(model.config().clone())
}

fn text(model: &str, plan: &Plan) -> String {
    let Plan { device, memory, fit, .. } = plan;
    let mut text = String::new();
    let mut line = |name: &str, value: String| {
        let _ = writeln!(text, "{name:28} {value}");
    };
    line("model", model.to_owned());
    line(
        "device",
        format!("{} x {}, {} each", plan.tp, device.name, HumanBytes(device.memory_bytes)),
    );
    line("asked", format!("{} of {} tokens", sequences(plan.batch), plan.context));
    if plan.context > plan.longest_context {
        let longest = plan.longest_context;
        line("the model's own limit", format!("{longest} tokens; no engine goes beyond"));
    }
    line(
        "KV of a token",
        format!("{} ({})", HumanBytes(plan.kv_bytes_per_token), plan.kv_cache_dtype),
    );
    let sequence = plan.kv_bytes_per_token.saturating_mul(plan.context as u64);
    line("KV of a sequence", HumanBytes(sequence).to_string());
    line("on each device", format!("{} may be used", HumanBytes(memory.usable_bytes)));
    line("  weights", HumanBytes(memory.weight_bytes).to_string());
    line("  activations", HumanBytes(memory.activation_bytes).to_string());
    line("  KV", format!("{}: {} kv_blocks", HumanBytes(memory.kv_bytes), memory.num_blocks));
    line(
        "fits",
        format!(
            "{} of {} tokens, or {} of {}",
            sequences(fit.max_batch),
            plan.context,
            plan.batch,
            fit.max_context
        ),
    );
    line(
        "preemption",
        match fit.preempts_beyond {
            None => "never: all fit at once".to_owned(),
            Some(0) => "at once: not one sequence fits".to_owned(),
            Some(tokens) => format!("when the sequences have {tokens} tokens each"),
        },
    );
    line(
        "devices needed",
        match plan.devices_needed {
            Some(count) => count.to_string(),
            None => "more than 32, or than the model can be shared among".to_owned(),
        },
    );
    line("prefill (model)", estimate(plan.prefill));
    line("decode step (model)", estimate(plan.decode_step));
    if let Some(step) = plan.decode_step {
        line("decode (model)", format!("{:.0} tokens/s", plan.batch as f64 / step.seconds));
    }
    for tier in &plan.tiers {
        let break_even = match tier.break_even_tokens {
            Some(tokens) => format!("faster than computing from {tokens} tokens on"),
            None if plan.prefill.is_none() => "to be compared with kvasir bench ttft".to_owned(),
            None => "computing is faster".to_owned(),
        };
        line(
            &format!("KV from {}", tier.place),
            format!("{}; {break_even}", seconds(tier.seconds)),
        );
    }
    if let Some(rates) = &device.rates {
        line("rates", rates.source.to_owned());
    }
    text
}

fn sequences(count: usize) -> String {
    if count == 1 { "1 sequence".to_owned() } else { format!("{count} sequences") }
}

fn recipe(as_json: bool) -> Result<(), CliError> {
    let recipe = Recipe::new().map_err(|error| CliError::from_internal_error(&error))?;
    if as_json {
        return output::json(&recipe);
    }
    let mut text =
        "One sequence on MI300X, GB: weights + KV + activations = total, devices\n\n".to_owned();
    for Example { model, context, recipe, plan, errs } in &recipe.examples {
        let _ = writeln!(text, "{model}, {context} tokens");
        let _ = writeln!(text, "  recipe  {} (a fifth on top)", gigabytes(recipe));
        let _ = writeln!(text, "  plan    {}", gigabytes(plan));
        for errs in errs {
            let _ = writeln!(text, "  the recipe reckons with {errs}");
        }
    }
    text += "\nEight MI300X: the recipe's throughput and time to first token with kept KV, and the bounds of the model\n\n";
    for row in &recipe.throughput {
        let _ = writeln!(
            text,
            "{}, {} tokens, {} sequences: {:.0} tokens/s of at most {:.0}; {} of at least {}",
            row.model,
            row.context,
            row.batch,
            row.recipe_tokens_per_s,
            row.most_tokens_per_s,
            seconds(row.recipe_ttft_s),
            seconds(row.least_ttft_s),
        );
    }
    text += "\nThe context matrix: its rows, with the models that it names, on MI300X\n";
    for preset in &PRESETS {
        let _ = writeln!(
            text,
            "\n{}, {} sequences of {} tokens",
            preset.name, preset.max_num_seqs, preset.max_model_len
        );
        for check in recipe.presets.iter().filter(|check| check.preset == preset.name) {
            let _ = writeln!(text, "  {}", presets::line(check));
        }
    }
    output::text(&text)
}

fn gigabytes(of: &Gigabytes) -> String {
    let Gigabytes { weights, kv, activations, total, devices } = of;
    format!("{weights:6.1} + {kv:6.1} + {activations:5.2} = {total:6.1}, {devices}")
}

fn estimate(estimate: Option<Estimate>) -> String {
    match estimate {
        None => "not known for this device: kvasir bench measures".to_owned(),
        Some(Estimate { seconds: time, limit }) => {
            let limit = match limit {
                Limit::Compute => "matrix products",
                Limit::Memory => "memory bandwidth",
            };
            format!("at least {}, by {limit}", seconds(time))
        }
    }
}

fn seconds(seconds: f64) -> String {
    match seconds {
        s if s < 1e-3 => format!("{:.0} us", s * 1e6),
        s if s < 1.0 => format!("{:.1} ms", s * 1e3),
        s => format!("{s:.2} s"),
    }
}

fn device(name: &str) -> Result<DeviceProfile, String> {
    if name == "host" {
        return Ok(DeviceProfile::host());
    }
    let names = || DEVICES.map(|device| device.name).join(", ");
    DeviceProfile::named(name).ok_or_else(|| format!("no such device; known are {}, host", names()))
}

fn share(text: &str) -> Result<f64, String> {
    let share = text.parse().ok().filter(|share| (0.0..=1.0).contains(share) && *share > 0.0);
    share.ok_or_else(|| "must be above 0 and at most 1".to_owned())
}
