//! `kvasir plan`: against known sizes, and against the engine.

use std::fs;

use engine::{KvCacheDType, Llm};
use engine_core::dtype::DType;
use engine_core::limits::MAX_NUM_BLOCKS;
use kvasir::plan::{DeviceProfile, Plan, PlanRequest};
use serde_json::{Value, json};

use crate::command::{Run, family, kvasir, kvasir_in};

/// A configuration of Llama 3.1's, with what its sizes differ in.
fn llama(hidden: usize, intermediate: usize, layers: usize, heads: usize) -> Value {
    json!({
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu",
        "hidden_size": hidden, "intermediate_size": intermediate, "num_hidden_layers": layers,
        "num_attention_heads": heads, "num_key_value_heads": 8, "vocab_size": 128_256,
        "max_position_embeddings": 131_072, "rms_norm_eps": 1e-5, "rope_theta": 500_000.0,
        "tie_word_embeddings": false, "torch_dtype": "bfloat16"
    })
}

/// Runs on a folder with nothing but `config`.
fn plan(config: &Value, args: &[&str]) -> Run {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.json");
    fs::write(&path, config.to_string()).unwrap();
    kvasir(&[&["plan", path.to_str().unwrap()], args].concat())
}

fn planned(config: &Value, args: &[&str]) -> Value {
    serde_json::from_str(&plan(config, &[args, &["--json"]].concat()).ok()).unwrap()
}

#[test]
fn a_config_alone_gives_the_sizes_of_llama_3_1_8b() {
    let plan = planned(&llama(4096, 14_336, 32, 32), &["--context", "8192"]);
    // 2 (K, V) · 32 layers · 8 heads · 128 elements · 2 bytes
    assert_eq!(plan["kv_bytes_per_token"], 131_072);
    // 8,030,261,248 parameters, the 65 norms of 4096 in f32 rather than in bfloat16, and 64 frequencies of RoPE.
    assert_eq!(plan["memory"]["weight_bytes"], 8_030_261_248_u64 * 2 + 65 * 4096 * 2 + 64 * 4);
    let number = |name: &str| plan["memory"][name].as_u64().unwrap();
    let left = number("usable_bytes") - number("weight_bytes") - number("activation_bytes");
    assert_eq!(number("num_blocks"), left / (131_072 * 16));
    assert_eq!(plan["fit"]["max_batch"].as_u64().unwrap(), number("num_blocks") / 512);
    assert_eq!(plan["devices_needed"], 1);
    // 2 · 7.5 G parameters behind the embedding, at 4.3 TB/s, and 1.07 GB of KV.
    let step = &plan["decode_step"];
    assert_eq!(step["limit"], "memory");
    assert!((step["seconds"].as_f64().unwrap() - 16.08e9 / 4.3e12).abs() < 1e-5, "{step}");
    // 2 · 7.0 G parameters in layers · 8192 rows, and 32 layers · 4 · 4096 · 8192² / 2 of attention, at 708 TFLOP/s.
    let prefill = &plan["prefill"];
    assert_eq!(prefill["limit"], "compute");
    assert!(
        (prefill["seconds"].as_f64().unwrap() - (114.4e12 + 17.6e12) / 708e12).abs() < 1e-3,
        "{prefill}"
    );
}

#[test]
fn a_large_batch_of_a_large_model_needs_more_devices() {
    let config = llama(8192, 28_672, 80, 64);
    let args = ["--context", "131072", "--batch", "4"];
    // 141 GB of weights and 43 GB for each sequence; 185 GB of an MI300X may be used.
    let one = planned(&config, &args);
    assert_eq!((&one["devices_needed"], &one["fit"]["max_batch"]), (&json!(2), &json!(1)));
    let preempts = one["fit"]["preempts_beyond"].as_u64().unwrap();
    assert!((30_000..40_000).contains(&preempts), "{preempts}");
    let two = planned(&config, &[&args[..], &["--tp", "2"]].concat());
    assert!(two["fit"]["preempts_beyond"].is_null(), "{two}");
    // Half of the KV in half of the bytes.
    let fp8 = planned(&config, &[&args[..], &["--kv-dtype", "fp8"]].concat());
    assert_eq!(fp8["kv_cache_dtype"], "fp8_e4m3fnuz");
    let twice = |plan: &Value| plan["kv_bytes_per_token"].as_u64().unwrap() * 2;
    assert_eq!(twice(&fp8), one["kv_bytes_per_token"].as_u64().unwrap());
    // More devices than KV heads share them.
    let sixteen = planned(&config, &[&args[..], &["--tp", "16"]].concat());
    assert!(sixteen["memory"]["weight_bytes"].as_u64() < two["memory"]["weight_bytes"].as_u64());
    plan(&config, &["--tp", "3"]).usage_error(&["cannot be shared among 3 devices", "--tp"]);
}

#[test]
fn loading_wins_from_some_length_on() {
    let plan = planned(&llama(8192, 28_672, 80, 64), &["--context", "131072"]);
    for tier in plan["tiers"].as_array().unwrap() {
        let tokens = tier["break_even_tokens"].as_u64().unwrap();
        assert!((2..5_000).contains(&tokens), "{tier}");
    }
    // The recipe's own case of 262 s against 1.5 s: computing is far slower wherever the KV is.
    let load = plan["tiers"][2]["seconds"].as_f64().unwrap();
    assert!(load * 5.0 < plan["prefill"]["seconds"].as_f64().unwrap(), "{plan}");
}

/// The planner is the allocator.
#[test]
fn the_engine_has_as_many_blocks_as_planned() {
    let model = family("llama");
    for (kv_cache_dtype, block_size, tokens) in
        [("auto", 16, 512), ("fp8", 32, 64), ("float32", 1, 100)]
    {
        let kv_cache_dtype: KvCacheDType = kv_cache_dtype.parse().unwrap();
        for dtype in [DType::BF16, DType::F16, DType::F32] {
            let share = 0.001;
            let llm = Llm::builder(&model)
                .dtype(dtype)
                .kv_cache_dtype(kv_cache_dtype)
                .block_size(block_size)
                .max_num_batched_tokens(tokens)
                .gpu_memory_utilization(share)
                .build()
                .unwrap();
            let request = PlanRequest {
                context: 64,
                batch: 1,
                dtype,
                kv_cache_dtype,
                tp: 1,
                block_size,
                memory_utilization: share,
                max_num_batched_tokens: tokens,
            };
            let plan = Plan::new(llm.config(), &DeviceProfile::host(), &request).unwrap();
            let num_blocks = llm.scheduler_config().num_blocks;
            assert!(
                num_blocks > 0 && num_blocks < MAX_NUM_BLOCKS,
                "a bound that hides the arithmetic"
            );
            assert_eq!(plan.memory.num_blocks, num_blocks, "{dtype} {kv_cache_dtype:?}");
            assert_eq!(plan.kv_bytes_per_token, llm.kv_bytes_per_token());
        }
    }
}

#[test]
fn a_context_beyond_the_models_own_is_planned_and_said_to_be() {
    let config = llama(4096, 14_336, 32, 32);
    for (context, is_beyond) in [("131072", false), ("131073", true)] {
        let table = plan(&config, &["--context", context]).ok();
        assert_eq!(table.contains("131072 tokens; no engine goes beyond"), is_beyond, "{table}");
        assert!(table.contains(&format!("1 sequence of {context} tokens")));
    }
}

#[test]
fn the_table_and_the_picture_say_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let svg = folder.path().join("memory.svg");
    let args =
        ["--context", "4096", "--batch", "8", "--device", "h100", "--svg", svg.to_str().unwrap()];
    let table = plan(&llama(4096, 14_336, 32, 32), &args).ok();
    for text in
        ["1 x h100", "8 sequences of 4096 tokens", "never: all fit at once", "memory bandwidth"]
    {
        assert!(table.contains(text), "{text}: {table}");
    }
    let svg = fs::read_to_string(svg).unwrap();
    for text in ["<svg", "weights: 16.1 GB", "KV of the asked sequences: 4.3 GB"] {
        assert!(svg.contains(text), "{text}");
    }
}

#[test]
fn the_recipe_stands_beside_the_plan() {
    let text = kvasir(&["plan", "--recipe"]).ok();
    for words in [
        "Llama-2-70B, 131072 tokens",
        "140 layers; it has 80",
        "8 KV heads have 1024",
        "600 tokens/s of at most",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
    let json: Value = serde_json::from_str(&kvasir(&["plan", "--recipe", "--json"]).ok()).unwrap();
    assert_eq!(json["examples"].as_array().unwrap().len(), 4);
    kvasir(&["plan", "--recipe", "smollm2-135m"]).usage_error(&["--recipe"]);
    kvasir(&["plan", "--recipe", "--device", "h100"]).usage_error(&["--recipe", "--device"]);
}

#[test]
fn the_model_comes_from_every_layer() {
    let folder = tempfile::tempdir().unwrap();
    for (name, layers) in [("eight.json", 8), ("four.json", 4), ("two.json", 2), ("one.json", 1)] {
        let config = llama(4096, 14_336, layers, 32).to_string();
        fs::write(folder.path().join(name), config).unwrap();
    }
    let run = |args: &[&str], variables: &[(&str, &str)]| {
        kvasir_in(folder.path(), &[&["plan"], args].concat(), variables, "")
    };
    run(&[], &[]).usage_error(&["no model is named", "plan MODEL", "KVASIR_MODEL", "kvasir.toml"]);
    fs::write(folder.path().join("kvasir.toml"), "[plan]\nmodel = \"eight.json\"\n").unwrap();
    let layers = |args: &[&str], variables: &[(&str, &str)]| {
        let plan: Value =
            serde_json::from_str(&run(&[args, &["--json"]].concat(), variables).ok()).unwrap();
        // 2 (K, V) · 8 heads · 128 elements · 2 bytes
        plan["kv_bytes_per_token"].as_u64().unwrap() / 4096
    };
    let variables = [("KVASIR_MODEL", "four.json")];
    assert_eq!(layers(&[], &[]), 8);
    assert_eq!(layers(&[], &variables), 4);
    assert_eq!(layers(&["--model", "two.json"], &variables), 2);
    assert_eq!(layers(&["one.json"], &variables), 1);
    let shown = run(&["--show-config"], &variables).ok();
    assert!(shown.contains("environment: KVASIR_MODEL"), "{shown}");
    // The recipe brings its own models.
    assert!(run(&["--recipe"], &variables).ok().contains("Llama-2-70B"));
    run(&["one.json", "--model", "two.json"], &[]).usage_error(&["--model"]);
}

#[test]
fn what_cannot_be_planned_is_refused() {
    let config = llama(4096, 14_336, 32, 32);
    plan(&config, &["--device", "mi400"]).usage_error(&["mi300x", "host"]);
    plan(&config, &["--gpu-memory-utilization", "1.5"]).usage_error(&["at most 1"]);
    for flag in ["--context", "--batch", "--block-size"] {
        plan(&config, &[flag, "4000000000"]).usage_error(&[flag, "at most"]);
    }
    plan(&config, &["--batch", "0"]).usage_error(&["--batch"]);
    kvasir(&["plan", "/nonexistent/config.json"])
        .usage_error(&["/nonexistent/config.json", "hint: check"]);
    plan(&json!({"model_type": "mamba"}), &[]).usage_error(&["mamba"]);
    // Nothing is left for KV.
    let none = planned(&llama(8192, 28_672, 80, 64), &["--device", "h100"]);
    assert_eq!((&none["memory"]["kv_bytes"], &none["fit"]["max_batch"]), (&json!(0), &json!(0)));
}
