//! `kvasir calibrate`, and an engine that uses what it made.

use std::fs;
use std::path::Path;

use crate::command::{ByteModel, Run, family, kvasir};

const TEXT: &str = "Each layer and head gets the scale that its own numbers ask for.";

fn calibrate(model: &str, input: &Path, output: &Path) -> Run {
    let (input, output) = (input.to_str().unwrap(), output.to_str().unwrap());
    kvasir(&["calibrate", model, "--input", input, "-o", output])
}

fn generate(model: &str, more: &[&str]) -> Run {
    let args =
        ["generate", "hi", "--model", model, "--raw", "--max-tokens", "4", "--kv-cache-dtype"];
    kvasir(&[&args[..], more].concat())
}

#[test]
fn scales_are_measured_written_and_used() {
    let folder = tempfile::tempdir().unwrap();
    let model = ByteModel::new();
    let [text, lines, scales, same] =
        ["text.txt", "lines.jsonl", "scales.safetensors", "same.safetensors"]
            .map(|name| folder.path().join(name));
    fs::write(&text, TEXT).unwrap();
    let run = calibrate(model.arg(), &text, &scales);
    assert!(run.stderr.contains("from 64 tokens; largest key"), "{}", run.stderr);
    assert_eq!(run.ok(), "");

    // A line with the same text, as tokens or as a text, has the same scales.
    let token_ids: Vec<u32> = TEXT.bytes().map(u32::from).collect();
    fs::write(
        &lines,
        format!("{{\"prompt_token_ids\": {token_ids:?}}}\n\n{{\"text\": \"{TEXT}\"}}\n"),
    )
    .unwrap();
    calibrate(model.arg(), &lines, &same).ok();
    assert!(fs::read(&scales).unwrap() == fs::read(&same).unwrap());

    let scales = scales.to_str().unwrap();
    for flavour in ["ocp", "fnuz"] {
        for dtype in ["fp8", "fp8_e5m2"] {
            let flags = [dtype, "--fp8-flavour", flavour];
            let without = generate(model.arg(), &flags);
            let warning = "the KV cache is in fp8";
            assert!(without.stderr.matches(warning).count() == 1, "{}", without.stderr);
            without.ok();
            let with =
                generate(model.arg(), &[&flags[..], &["--kv-cache-scales", scales]].concat());
            assert!(!with.stderr.contains("WARN"), "{}", with.stderr);
            with.ok();
        }
    }
    generate(model.arg(), &["bfloat16", "--kv-cache-scales", scales])
        .usage_error(&["no effect", "bfloat16"]);
    // Another model, of another shape.
    let other = family("qwen3");
    generate(other.to_str().unwrap(), &["fp8", "--kv-cache-scales", scales])
        .usage_error(&["another model"]);
}

#[test]
fn what_cannot_be_calibrated_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let model = ByteModel::new();
    let [text, lines, scales] =
        ["text.txt", "lines.jsonl", "scales.safetensors"].map(|name| folder.path().join(name));
    calibrate(model.arg(), &text, &scales).usage_error(&["cannot read", "text.txt"]);
    fs::write(&text, "").unwrap();
    calibrate(model.arg(), &text, &scales).usage_error(&["no token"]);
    let without_tokenizer = family("llama");
    fs::write(&text, TEXT).unwrap();
    calibrate(without_tokenizer.to_str().unwrap(), &text, &scales).usage_error(&["no tokenizer"]);
    for (line, word) in [
        ("{}", "neither"),
        ("{\"prompt\": \"a\", \"prompt_token_ids\": [1]}", "give one of them"),
        ("{\"promt\": \"a\"}", "promt"),
        ("{\"prompt_token_ids\": [300]}", "300"),
    ] {
        fs::write(&lines, format!("{{\"prompt\": \"fine\"}}\n{line}\n")).unwrap();
        calibrate(model.arg(), &lines, &scales).usage_error(&[word]);
    }
    assert!(!scales.exists());
    fs::write(&scales, "mine").unwrap();
    calibrate(model.arg(), &text, &scales).usage_error(&["already exists"]);
    assert_eq!(fs::read_to_string(&scales).unwrap(), "mine");
}
