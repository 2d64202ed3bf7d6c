//! `kvasir generate --backend hip`: the machine code for MI300X, in the emulator, against the oracle in f32.
//!
//! The model is the first layers of SmolLM2, with its own embedding, norms and vocabulary. What 16-bit arithmetic and an
//! FP8 cache may change is which of two nearly equal tokens is the likeliest; where the oracle's likeliest leads by more
//! than [`GAP`], both find the same. `KVASIR_LONG=1` asks the whole model for the golden answers too.

mod golden_model;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use engine::output::Logprob;
use engine::{
    Backend, DType, Fp8Flavour, KvCacheDType, Llm, SamplingParams, convert_to_hf_dir, weights,
};
use golden_model::{GoldenRow, golden_rows, is_long, smollm2, token_ids};
use serde_json::{Value, json};

/// Fed the same tokens, the likeliest one is the same wherever the oracle's leads by more than this.
const GAP: f32 = 0.10;

/// Layers of the reduced model.
const NUM_LAYERS: usize = 2;

/// The emulator, and whether the build has kernels to run in it.
fn emulator() -> Option<PathBuf> {
    hip_toolchain::for_tests()?;
    Some(std::env::current_exe().unwrap().with_file_name("libhip_emulator.so"))
}

/// The first layers of SmolLM2 as a directory of their own.
fn reduced_model(folder: &Path) -> PathBuf {
    let model = folder.join("first-layers");
    convert_to_hf_dir(&weights::open(&smollm2()).unwrap(), &model, DType::BF16, &mut |_| {})
        .unwrap();
    let path = model.join("config.json");
    let mut config: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    assert!(config["num_hidden_layers"].as_u64().unwrap() > NUM_LAYERS as u64);
    config["num_hidden_layers"] = json!(NUM_LAYERS);
    fs::write(&path, config.to_string()).unwrap();
    keep_layers(&model.join("model.safetensors"));
    model
}

/// Leaves the tensors of later layers out of a file of tensors: the length of a JSON header as u64, the header, the bytes.
fn keep_layers(path: &Path) {
    let file = fs::read(path).unwrap();
    let (len, rest) = file.split_at(8);
    let (header, data) = rest.split_at(u64::from_le_bytes(len.try_into().unwrap()) as usize);
    let mut header: serde_json::Map<String, Value> = serde_json::from_slice(header).unwrap();
    let is_kept = |name: &str| {
        let layer = name.strip_prefix("model.layers.").and_then(|rest| rest.split('.').next());
        layer.is_none_or(|layer| layer.parse::<usize>().unwrap() < NUM_LAYERS)
    };
    header.retain(|name, _| is_kept(name));
    let mut kept = Vec::new();
    for (name, tensor) in header.iter_mut().filter(|(name, _)| *name != "__metadata__") {
        let [from, to] = [0, 1].map(|i| tensor["data_offsets"][i].as_u64().unwrap() as usize);
        assert!(is_kept(name) && from <= to);
        tensor["data_offsets"] = json!([kept.len(), kept.len() + (to - from)]);
        kept.extend_from_slice(&data[from..to]);
    }
    let header = Value::Object(header).to_string();
    let len = (header.len() as u64).to_le_bytes();
    fs::write(path, [&len[..], header.as_bytes(), &kept].concat()).unwrap();
}

/// A prompt and how many tokens to answer.
type Request = (Vec<u32>, usize);

/// What the backend made of a request.
#[derive(Clone)]
struct Answer {
    prompt: Vec<u32>,
    /// The likeliest token at each place of the prompt but the first.
    likeliest: Vec<u32>,
    output: Vec<u32>,
}

/// Runs the command on the emulator.
fn generate(model: &Path, [dtype, kv_cache_dtype]: [&str; 2], requests: &[Request]) -> Vec<Answer> {
    let folder = tempfile::tempdir().unwrap();
    let (input, output) = (folder.path().join("in.jsonl"), folder.path().join("out.jsonl"));
    let line = |(prompt, max_tokens): &Request| {
        let line = json!({"prompt_token_ids": prompt, "max_tokens": max_tokens, "temperature": 0,
            "ignore_eos": true, "prompt_logprobs": 1});
        format!("{line}\n")
    };
    fs::write(&input, requests.iter().map(line).collect::<String>()).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_kvasir"));
    command.args(["generate", "--backend", "hip", "--dtype", dtype]);
    command.args(["--kv-cache-dtype", kv_cache_dtype]);
    command.args(["--max-model-len", "512", "--kv-cache-memory-bytes", "67108864"]);
    command.arg("--model").arg(model).arg("--input").arg(&input).arg("--output").arg(&output);
    command.env("KVASIR_HIP_LIBRARY", emulator().unwrap());
    let run = command.output().unwrap();
    let said = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "{said}");
    // Each op says once which variant computes it.
    assert!(said.contains("gemm: gemm_v") && said.contains("paged_attention: "), "{said}");
    let text = fs::read_to_string(&output).unwrap();
    text.lines().map(|line| answer(&serde_json::from_str(line).unwrap())).collect()
}

fn answer(line: &Value) -> Answer {
    let places = line["prompt_logprobs"].as_array().unwrap();
    let likeliest = |place: &Value| {
        let mut candidates = place.as_array().unwrap().iter();
        let first = candidates.find(|candidate| candidate["rank"] == 1).unwrap();
        first["token_id"].as_u64().unwrap() as u32
    };
    Answer {
        prompt: token_ids(&line["prompt_token_ids"]),
        likeliest: places[1..].iter().map(likeliest).collect(),
        output: token_ids(&line["outputs"][0]["token_ids"]),
    }
}

/// For each place but the first of a text, the oracle's likeliest token, and by how much it leads.
fn oracle(llm: &mut Llm, text: &[u32]) -> Vec<(u32, f32)> {
    let params = SamplingParams {
        max_tokens: 1,
        temperature: 0.0,
        prompt_logprobs: Some(2),
        ..SamplingParams::default()
    };
    let outputs = llm.generate(&[text.to_vec()], &params).unwrap();
    let place = |place: &Option<Vec<Logprob>>| {
        let of_rank = |rank| place.as_ref()?.iter().find(|candidate| candidate.rank == rank);
        let [first, second] = [1, 2].map(|rank| of_rank(rank).expect("two were asked for"));
        (first.token_id, first.logprob - second.logprob)
    };
    outputs[0].prompt_logprobs.as_ref().unwrap()[1..].iter().map(place).collect()
}

/// How many places were clear; an error names one where the backend took another token.
fn compare(answer: &Answer, oracle: &[(u32, f32)]) -> Result<usize, String> {
    let found: Vec<u32> = answer.likeliest.iter().chain(&answer.output).copied().collect();
    assert_eq!(found.len(), oracle.len());
    let mut num_clear = 0;
    for (place, (&found, &(token_id, lead))) in found.iter().zip(oracle).enumerate() {
        // A NaN is no clear lead, and none of the counts below.
        if lead > GAP {
            num_clear += 1;
            if found != token_id {
                return Err(format!("place {place}: {found}, where {token_id} leads by {lead}"));
            }
        }
    }
    Ok(num_clear)
}

/// Beginnings of golden prompts: a block and a half, two blocks, a tile and more.
fn requests() -> Vec<Request> {
    let rows = golden_rows("smollm2-135m-greedy.json");
    let text = |row: &GoldenRow| [&row.prompt_token_ids[..], &row.output_token_ids[..]].concat();
    let lens = [(24, 10), (32, 8), (41, 12)];
    rows.iter()
        .zip(lens)
        .map(|(row, (len, max_tokens))| (text(row)[..len].to_vec(), max_tokens))
        .collect()
}

#[test]
fn the_first_layers_of_a_real_model_find_the_oracles_tokens() {
    if emulator().is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let model = reduced_model(folder.path());
    let mut reference =
        Llm::builder(&model).backend(Backend::Reference).dtype(DType::F32).build().unwrap();
    for kv_cache_dtype in ["auto", "fp8"] {
        let answers = generate(&model, ["bfloat16", kv_cache_dtype], &requests());
        let (mut num_clear, mut num_places) = (0, 0);
        for answer in &answers {
            let text = [&answer.prompt[..], &answer.output].concat();
            let oracle = oracle(&mut reference, &text);
            num_places += oracle.len();
            let compared = compare(answer, &oracle);
            num_clear += compared.unwrap_or_else(|error| panic!("{kv_cache_dtype}: {error}"));
            // Another token, in the prompt or in the answer, is seen where it is clear.
            let clear: Vec<usize> = (0..oracle.len()).filter(|&i| oracle[i].1 > GAP).collect();
            for place in [clear[0], clear[clear.len() - 1]] {
                let mut other = answer.clone();
                let num_scored = other.likeliest.len();
                match place.checked_sub(num_scored) {
                    None => other.likeliest[place] ^= 1,
                    Some(place) => other.output[place] ^= 1,
                }
                assert!(compare(&other, &oracle).is_err(), "place {place}");
            }
        }
        println!("{kv_cache_dtype}: {num_clear} of {num_places} places are clear");
        assert!(num_clear * 2 > num_places, "{num_clear} of {num_places}");
    }
}

/// The golden rows as requests: all of their tokens, to be scored.
fn golden_requests(rows: &[GoldenRow]) -> Vec<Request> {
    let text = |row: &GoldenRow| [&row.prompt_token_ids[..], &row.output_token_ids].concat();
    rows.iter().map(|row| (text(row), 1)).collect()
}

/// By how much the golden token leads at a step.
fn lead(top5: &[(u32, f32)]) -> f32 {
    top5[0].1 - top5[1].1
}

/// How far the oracle's leads are from the golden ones when it rounds to the same formats: what rounding may do.
fn largest_shift(rows: &[GoldenRow], kv_cache_dtype: &str) -> f32 {
    let mut llm = Llm::builder(smollm2())
        .backend(Backend::Reference)
        .dtype(DType::BF16)
        .kv_cache_dtype(kv_cache_dtype.parse::<KvCacheDType>().unwrap())
        .fp8_flavour(Fp8Flavour::Fnuz)
        .build()
        .unwrap();
    let params = SamplingParams {
        max_tokens: 1,
        temperature: 0.0,
        prompt_logprobs: Some(8),
        ..SamplingParams::default()
    };
    let texts: Vec<Vec<u32>> = golden_requests(rows).into_iter().map(|(text, _)| text).collect();
    let outputs = llm.generate(&texts, &params).unwrap();
    let mut largest = 0.0_f32;
    for (output, row) in outputs.iter().zip(rows) {
        let places = output.prompt_logprobs.as_ref().unwrap()[row.prompt_token_ids.len()..].iter();
        for (place, top5) in places.zip(&row.top5) {
            let of = |token_id| {
                let found = place.as_ref()?.iter().find(|found| found.token_id == token_id)?;
                Some(found.logprob)
            };
            if let (Some(first), Some(second)) = (of(top5[0].0), of(top5[1].0)) {
                largest = largest.max((first - second - lead(top5)).abs());
            }
        }
    }
    largest
}

/// Fails if another token than the golden one is the likeliest where that leads by more than `gap`.
fn assert_golden_where_clear(rows: &[GoldenRow], formats: [&str; 2], gap: f32) {
    let answers = generate(&smollm2(), formats, &golden_requests(rows));
    assert_eq!(answers.len(), rows.len());
    for (answer, row) in answers.iter().zip(rows) {
        let scored = answer.likeliest[row.prompt_token_ids.len() - 1..].iter();
        assert_eq!(scored.len(), row.top5.len());
        for (step, (&found, top5)) in scored.zip(&row.top5).enumerate() {
            let is_same = found == top5[0].0 || lead(top5) <= gap;
            assert!(is_same, "{formats:?}, step {step}, gap {gap}: {found} {top5:?}");
        }
    }
}

#[test]
fn the_whole_model_in_f16_agrees_where_the_golden_answer_is_clear() {
    if emulator().is_none() || !is_long() {
        return;
    }
    assert_golden_where_clear(&golden_rows("smollm2-135m-greedy.json"), ["float16", "auto"], GAP);
}

/// Thirty layers of bf16 move leads of this model by more than [`GAP`], in the oracle too.
#[test]
fn the_whole_model_in_bf16_errs_no_farther_than_the_oracle_does_in_bf16() {
    if emulator().is_none() || !is_long() {
        return;
    }
    let rows = golden_rows("smollm2-135m-greedy.json");
    for kv_cache_dtype in ["auto", "fp8"] {
        let gap = largest_shift(&rows, kv_cache_dtype).max(GAP);
        println!("{kv_cache_dtype}: the oracle's leads move by up to {gap}");
        assert_golden_where_clear(&rows, ["bfloat16", kv_cache_dtype], gap);
    }
}

#[test]
fn without_a_gpu_the_command_says_what_to_set() {
    let family = golden_model::repository_path("tests/golden/families/llama");
    let run = |args: &[&str], library: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kvasir"));
        command.args(["generate", "--model"]).arg(&family).args(args).arg("hello");
        let output = command.env("KVASIR_HIP_LIBRARY", library).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    let missing = run(&["--backend", "hip"], "/nowhere/libamdhip64.so");
    for words in ["/nowhere/libamdhip64.so", "cargo build -p hip-emulator", "KVASIR_HIP_LIBRARY"] {
        assert!(missing.contains(words), "{missing}");
    }
    let idle = run(&["--backend", "cpu", "--pin", "gemm=gemm_v1_naive"], "");
    assert!(idle.contains("--pin") && idle.contains("--backend hip"), "{idle}");
    let idle = run(&["--backend", "hip", "--threads", "2"], "");
    assert!(idle.contains("--threads"), "{idle}");
    let pin = run(&["--backend", "hip", "--pin", "gemm=gemm_v9"], "/nowhere/libamdhip64.so");
    assert!(pin.contains("gemm_v1_naive"), "{pin}");
    let pin = "paged_attention=paged_attention_v1_naive";
    let alone = run(&["--backend", "hip", "--pin", pin], "/nowhere/libamdhip64.so");
    let partner = "--pin prefill_attention=prefill_attention_v1_naive";
    assert!(alone.contains(partner), "{alone}");
    let Some(emulator) = emulator() else { return };
    let dtype = run(&["--backend", "hip", "--dtype", "float32"], emulator.to_str().unwrap());
    assert!(dtype.contains("bfloat16 or float16") && dtype.contains("--backend"), "{dtype}");
}
