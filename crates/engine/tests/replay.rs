//! A recorded run repeats to the bit, with other threads too, and a run that cannot is told where.

use std::fs;
use std::io::BufReader;
use std::num::NonZero;
use std::path::{Path, PathBuf};

use engine::{
    CpuIsa, DifferentPart, Llm, LlmBuilder, NgramConfig, Prompt, Replay, ReplayError, ReplayReport,
    RequestOptions, SamplingParams, SchedulingPolicy,
};

fn tiny_model() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/families/llama")
}

/// Small enough that requests give way, with everything that can happen switched on. Steps of few rows are
/// dear and copies of few blocks cheap, so that it pays to swap on any machine.
fn builder() -> LlmBuilder {
    Llm::builder(tiny_model())
        .cpu_isa(CpuIsa::Portable)
        .block_size(4)
        .max_num_batched_tokens(12)
        .max_model_len(40)
        .kv_cache_memory_bytes(12 * 4 * bytes_per_token())
        .swap_space(0.01)
        .scheduling_policy(SchedulingPolicy::Priority)
        .tpot_target_ms(50.0)
        .speculative(NgramConfig {
            num_speculative_tokens: 2,
            prompt_lookup_min: 1,
            prompt_lookup_max: 2,
        })
}

fn bytes_per_token() -> u64 {
    let llm = Llm::builder(tiny_model()).build().unwrap();
    let config = llm.config();
    2 * 2 * (config.num_layers * config.num_kv_heads * config.head_dim) as u64
}

/// Records a run with arrivals, a withdrawal, several sequences, swaps and a cache that is reset.
fn record(path: &Path) {
    let mut llm = builder().record(path).build().unwrap();
    let params = |seed| SamplingParams {
        max_tokens: 14,
        seed: Some(seed),
        ignore_eos: true,
        logprobs: Some(1),
        ..SamplingParams::default()
    };
    let add = |llm: &mut Llm, first: u32, n: usize| {
        let prompt = Prompt::TokenIds((first..first + 9).collect());
        let options = RequestOptions { priority: first as i32 % 2, ..RequestOptions::default() };
        let params = SamplingParams { n, ..params(u64::from(first)) };
        llm.add_request_with(prompt, params, options).unwrap()
    };
    for first in [1, 4, 1] {
        add(&mut llm, first, 2);
    }
    llm.step();
    let withdrawn = add(&mut llm, 11, 1);
    llm.step();
    llm.step();
    llm.abort(withdrawn).unwrap();
    while llm.has_unfinished() {
        llm.step();
    }
    assert!(llm.reset_prefix_cache());
    add(&mut llm, 1, 1);
    while llm.has_unfinished() {
        llm.step();
    }
    let stats = llm.stats();
    assert!(stats.num_preemptions > 0 && stats.num_prefix_hit_tokens > 0, "{stats:?}");
    assert!(stats.num_draft_tokens > 0, "{stats:?}");
    assert!(stats.num_swaps_out > 0 && stats.num_swaps_in > 0, "{stats:?}");
    llm.check_record().unwrap();
}

fn replay(path: &Path, threads: usize) -> Result<ReplayReport, ReplayError> {
    Replay::open(path, None, NonZero::new(threads))?.run(|_| ())
}

/// Damage.
type Edit = fn(&mut Vec<String>);

/// The recorded lines, to be changed and written again.
fn edited(path: &Path, edit: impl FnOnce(&mut Vec<String>)) {
    let text = fs::read_to_string(path).unwrap();
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    edit(&mut lines);
    fs::write(path, lines.join("\n") + "\n").unwrap();
}

#[test]
fn a_run_repeats_with_any_number_of_threads() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.jsonl");
    record(&path);
    let file = BufReader::new(fs::File::open(&path).unwrap());
    let summary = Replay::summarize(&path, file).unwrap();
    assert_eq!(summary.num_sequences, 8);
    for threads in [1, 2] {
        let report = replay(&path, threads).unwrap();
        assert_eq!(report.difference, None);
        assert!(report.num_steps > 20, "{report:?}");
        assert_eq!(report.num_steps, summary.num_steps);
    }
}

#[test]
fn the_first_step_that_differs_is_named_with_its_part() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.jsonl");
    // What is changed in the file, from which step on, and what must be seen.
    let cases: [(&str, &str, DifferentPart); 3] = [
        ("\"batch\":\"", "\"batch\":\"0", DifferentPart::Batch),
        ("\"logits\":\"", "\"logits\":\"0", DifferentPart::Logits),
        ("\"tokens\":\"", "\"tokens\":\"0", DifferentPart::Tokens),
    ];
    for (old, new, part) in cases {
        record(&path);
        let mut line = 0;
        edited(&path, |lines| {
            let steps = lines.iter().enumerate().filter(|(_, text)| text.starts_with("{\"step\""));
            line = steps.map(|(idx, _)| idx).nth(7).unwrap();
            lines[line] = lines[line].replacen(old, new, 1);
        });
        let difference = replay(&path, 1).unwrap().difference.expect("the file was changed");
        assert_eq!((difference.step_idx, difference.part), (7, part));
        assert_eq!(difference.line, line as u64 + 1);
    }
}

/// Another sampled token is another run from then on.
#[test]
fn another_input_gives_another_run() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.jsonl");
    record(&path);
    edited(&path, |lines| {
        lines[1] = lines[1].replacen("\"temperature\":1.0", "\"temperature\":0.5", 1)
    });
    let difference = replay(&path, 1).unwrap().difference.expect("the sampling was changed");
    assert_eq!(difference.part, DifferentPart::Tokens);
    record(&path);
    edited(&path, |lines| lines[1] = lines[1].replacen("[1,2,", "[1,3,", 1));
    let difference = replay(&path, 1).unwrap().difference.expect("the prompt was changed");
    assert_eq!((difference.step_idx, difference.part), (0, DifferentPart::Batch));
}

#[test]
fn damaged_records_are_errors_that_name_the_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.jsonl");
    let cases: [(Edit, &str); 7] = [
        (|lines| lines.clear(), "line 1"),
        (|lines| lines[0] = "{}".into(), "line 1: missing field"),
        (|lines| lines[0] = lines[0].replacen("_record\":2", "_record\":9", 1), "format 9"),
        (|lines| lines[0] = lines[0].replacen("portable", "portabel", 1), "portabel"),
        (|lines| lines[2].truncate(30), "line 3"),
        (
            |lines| lines[2] = "{\"finish\":{\"seq_id\":99,\"reason\":\"abort\"}}".into(),
            "line 3: sequence 99",
        ),
        (|lines| drop(lines.remove(1)), "line 2: the sequence has id 1"),
    ];
    for (edit, expected) in cases {
        record(&path);
        edited(&path, edit);
        let error = replay(&path, 1).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    let missing = replay(&folder.path().join("none.jsonl"), 1).unwrap_err().to_string();
    assert!(missing.contains("none.jsonl"), "{missing}");
}

#[test]
fn another_numerics_id_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.jsonl");
    record(&path);
    edited(&path, |lines| {
        lines[0] = lines[0].replacen("\"numerics_id\":\"", "\"numerics_id\":\"another ", 1);
    });
    let error = replay(&path, 1).unwrap_err();
    assert!(matches!(error, ReplayError::NumericsId { .. }), "{error}");
}

#[test]
fn a_record_that_cannot_be_written_is_an_error() {
    let refused = builder().record("/nonexistent/run.jsonl").build();
    let error = refused.err().expect("there is no such folder").to_string();
    assert!(error.contains("/nonexistent/run.jsonl"), "{error}");
    // Every write to this device finds the disk full.
    let full = builder().record("/dev/full").build();
    assert!(full.is_err());
}

#[test]
fn a_model_is_known_by_its_content_not_by_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.jsonl");
    record(&path);
    let copy = folder.path().join("copy");
    fs::create_dir(&copy).unwrap();
    for entry in fs::read_dir(tiny_model()).unwrap() {
        let file = entry.unwrap().path();
        fs::copy(&file, copy.join(file.file_name().unwrap())).unwrap();
    }
    let report = Replay::open(&path, Some(copy.clone()), None).unwrap().run(|_| ()).unwrap();
    assert_eq!(report.difference, None);
    // One bit of one weight.
    let weights = copy.join("model.safetensors");
    let mut bytes = fs::read(&weights).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&weights, bytes).unwrap();
    let other = Replay::open(&path, Some(copy), None).map(drop).unwrap_err();
    assert!(matches!(other, ReplayError::Model { .. }), "{other}");
}
