//! `kvasir generate`: prompts and files of them, answered.

use std::fs;

use crate::command::{ByteModel, family, kvasir, kvasir_with_input};
use serde_json::{Value, json};

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The checkpoint's golden rows as input lines, with what must come out.
fn golden(name: &str) -> (String, Vec<Value>) {
    let text = fs::read_to_string(family(name).join("golden.json")).unwrap();
    let golden: Value = serde_json::from_str(&text).unwrap();
    let rows = golden["rows"].as_array().unwrap();
    let line = |row: &Value| {
        let tokens = row["output_token_ids"].as_array().unwrap().len();
        let line = json!({"prompt_token_ids": row["prompt_token_ids"], "max_tokens": tokens, "ignore_eos": true});
        format!("{line}\n")
    };
    let expected = rows.iter().map(|row| row["output_token_ids"].clone()).collect();
    (rows.iter().map(line).collect(), expected)
}

#[test]
fn a_file_of_golden_rows_gives_the_golden_tokens_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let (input, output) = (folder.path().join("in.jsonl"), folder.path().join("out.jsonl"));
    let (text, expected) = golden("llama");
    fs::write(&input, text).unwrap();
    let model = family("llama");
    let run = kvasir(&[
        "generate",
        "--model",
        model.to_str().unwrap(),
        "--dtype",
        "float32",
        "--input",
        input.to_str().unwrap(),
        "--output",
        output.to_str().unwrap(),
        // Small steps, so that answers finish out of order.
        "--max-num-batched-tokens",
        "7",
        "--max-num-seqs",
        "3",
        "--block-size",
        "4",
        "--threads",
        "1",
    ]);
    let summary = run.stderr.clone();
    assert_eq!(run.ok(), "");
    assert!(summary.contains(&format!("{} requests", expected.len())), "{summary}");
    let answers = lines(&fs::read_to_string(&output).unwrap());
    assert_eq!(answers.len(), expected.len());
    for (index, (answer, expected)) in answers.iter().zip(&expected).enumerate() {
        assert_eq!(answer["index"], index);
        assert_eq!(&answer["outputs"][0]["token_ids"], expected, "row {index}");
        assert_eq!(answer["outputs"][0]["finish_reason"], "length");
        assert_eq!(answer["outputs"][0]["logprobs"], Value::Null);
    }
}

#[test]
fn log_probabilities_have_vllms_shape() {
    let model = family("qwen3");
    let line = r#"{"prompt_token_ids": [7, 8, 9], "logprobs": 2, "prompt_logprobs": 0, "max_tokens": 3, "ignore_eos": true}"#;
    let args = ["generate", "--model", model.to_str().unwrap(), "--input", "-", "--output", "-"];
    let answer = &lines(&kvasir_with_input(&args, line).ok())[0];
    let prompt = answer["prompt_logprobs"].as_array().unwrap();
    assert_eq!(prompt.len(), 3);
    assert_eq!(prompt[0], Value::Null);
    assert_eq!(prompt[1][0]["token_id"], 8);
    let output = &answer["outputs"][0];
    let positions = output["logprobs"].as_array().unwrap();
    assert_eq!(positions.len(), 3);
    let mut sum = 0.0;
    for (position, token) in positions.iter().zip(output["token_ids"].as_array().unwrap()) {
        let chosen = &position[0];
        assert_eq!(&chosen["token_id"], token);
        assert_eq!(chosen["rank"], 1, "greedy takes the likeliest");
        assert!(chosen.get("decoded_token").is_some());
        sum += chosen["logprob"].as_f64().unwrap();
    }
    // Sums of three f32: a few ULPs of a number around 10.
    assert!((output["cumulative_logprob"].as_f64().unwrap() - sum).abs() < 1e-5);
    for field in ["queue_time_s", "time_to_first_token_s", "e2e_latency_s", "num_kv_blocks"] {
        assert!(answer["metrics"][field].is_number(), "{field}");
    }
}

#[test]
fn fields_of_a_line_win_over_flags() {
    let model = family("llama");
    let input = "{\"prompt_token_ids\": [5, 6]}\n\
                 {\"prompt_token_ids\": [5, 6], \"max_tokens\": 2, \"logprobs\": null}\n";
    let args = [
        "generate",
        "--model",
        model.to_str().unwrap(),
        "--input",
        "-",
        "--max-tokens",
        "4",
        "--logprobs",
        "0",
        "--ignore-eos",
    ];
    let answers = lines(&kvasir_with_input(&args, input).ok());
    let count = |answer: &Value| answer["outputs"][0]["token_ids"].as_array().unwrap().len();
    assert_eq!((count(&answers[0]), count(&answers[1])), (4, 2));
    assert!(answers[0]["outputs"][0]["logprobs"].is_array());
    assert!(answers[1]["outputs"][0]["logprobs"].is_null());
}

#[test]
fn a_seed_repeats_a_random_answer_and_another_changes_it() {
    let model = family("llama");
    let answer = |seed: &str| {
        let args = [
            "generate",
            "--model",
            model.to_str().unwrap(),
            "--input",
            "-",
            "--temperature",
            "1.5",
            "--seed",
            seed,
            "--max-tokens",
            "16",
            "--ignore-eos",
        ];
        let output = kvasir_with_input(&args, "{\"prompt_token_ids\": [5, 6]}").ok();
        lines(&output)[0]["outputs"][0]["token_ids"].clone()
    };
    assert_eq!(answer("1"), answer("1"));
    assert_ne!(answer("1"), answer("2"));
}

#[test]
fn a_prompt_is_answered_on_stdout_and_summed_up_on_stderr() {
    let model = ByteModel::new();
    let args = [
        "generate",
        "hello",
        "--model",
        model.arg(),
        "--raw",
        "--max-tokens",
        "8",
        "--ignore-eos",
        "--dtype",
        "float32",
    ];
    let run = kvasir(&args);
    assert!(run.stderr.contains("5 prompt tokens, first token after"), "{}", run.stderr);
    assert!(run.stderr.contains("8 tokens at"), "{}", run.stderr);
    assert!(run.stderr.contains("KV blocks"), "{}", run.stderr);
    assert_eq!(run.stderr.lines().count(), 1, "{}", run.stderr);
    let streamed = run.ok();
    assert!(streamed.ends_with('\n'));

    // The same through a file: what was streamed is the text of the answer.
    let args = [
        "generate",
        "--input",
        "-",
        "--model",
        model.arg(),
        "--max-tokens",
        "8",
        "--ignore-eos",
        "--dtype",
        "float32",
    ];
    let answers = lines(&kvasir_with_input(&args, "{\"prompt\": \"hello\"}").ok());
    let text = answers[0]["outputs"][0]["text"].as_str().unwrap();
    assert_eq!(streamed.trim_end_matches('\n'), text.trim_end_matches('\n'));
    assert_eq!(answers[0]["prompt_token_ids"], json!(b"hello"));
}

/// The prompt as the model saw it, from the JSON summary.
fn prompt_seen(args: &[&str]) -> String {
    let model = ByteModel::new();
    let mut all = vec!["generate", "--model", model.arg(), "--max-tokens", "2", "--json"];
    all.extend(args);
    let run = kvasir(&all);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let summary: Value = serde_json::from_str(&run.stderr).unwrap();
    assert!(summary["num_prompt_tokens"].is_number());
    let bytes = summary["output"]["prompt_token_ids"].as_array().unwrap();
    let bytes = bytes.iter().map(|byte| byte.as_u64().unwrap() as u8).collect();
    String::from_utf8(bytes).unwrap()
}

#[test]
fn a_prompt_becomes_a_message_unless_raw() {
    assert_eq!(prompt_seen(&["hi"]), "u:hi;a:");
    assert_eq!(prompt_seen(&["hi", "--chat", "--system", "brief"]), "s:brief;u:hi;a:");
    assert_eq!(prompt_seen(&["hi", "--raw"]), "hi");
}

#[test]
fn a_line_is_raw_unless_it_has_messages_or_chat_is_asked_for() {
    let model = ByteModel::new();
    let input = "{\"prompt\": \"hi\"}\n\
        {\"messages\": [{\"role\": \"user\", \"content\": \"hi\"}]}\n\
        {\"prompt_token_ids\": [1, 2]}\n";
    let seen = |flags: &[&str]| -> Vec<Value> {
        let mut args =
            vec!["generate", "--model", model.arg(), "--input", "-", "--max-tokens", "1"];
        args.extend(flags);
        let answers = lines(&kvasir_with_input(&args, input).ok());
        answers.iter().map(|answer| answer["prompt_token_ids"].clone()).collect()
    };
    assert_eq!(seen(&[]), [json!(b"hi"), json!(b"u:hi;a:"), json!([1, 2])]);
    assert_eq!(seen(&["--chat"]), [json!(b"u:hi;a:"), json!(b"u:hi;a:"), json!([1, 2])]);
}

#[test]
fn a_template_gets_its_variables_from_lines_and_else_from_the_flag() {
    let quick = ["--chat-template-kwargs", "{\"quick\": true}"];
    assert_eq!(prompt_seen(&["hi", quick[0], quick[1]]), "u:hi;a:!");
    let model = ByteModel::new();
    let line = |more: &str| {
        format!("{{\"messages\": [{{\"role\": \"user\", \"content\": \"x\"}}]{more}}}\n")
    };
    let own =
        |is_quick: bool| line(&format!(", \"chat_template_kwargs\": {{\"quick\": {is_quick}}}"));
    let input = [line(""), own(true), own(false), "{\"prompt\": \"x\"}\n".to_owned()].concat();
    let seen = |flags: &[&str]| -> Vec<Value> {
        let args = ["generate", "--model", model.arg(), "--input", "-", "--max-tokens", "1"];
        let answers = lines(&kvasir_with_input(&[&args, flags].concat(), &input).ok());
        answers.iter().map(|answer| answer["prompt_token_ids"].clone()).collect()
    };
    let [plain, quickly, raw] = [json!(b"u:x;a:"), json!(b"u:x;a:!"), json!(b"x")];
    assert_eq!(seen(&[]), [&plain, &quickly, &plain, &raw].map(Value::clone));
    assert_eq!(seen(&quick), [&quickly, &quickly, &plain, &raw].map(Value::clone));
    let run = kvasir(&[
        "generate",
        "hi",
        "--model",
        model.arg(),
        "--chat-template-kwargs",
        "{\"slow\": 1}",
    ]);
    run.usage_error(&["does not use `slow`", "its own arguments are quick"]);
    let family = family("llama");
    let args = ["generate", "hi", "--model", family.to_str().unwrap(), quick[0], quick[1]];
    kvasir(&args).usage_error(&["no chat template, which --chat-template-kwargs needs"]);
}

#[test]
fn a_prompt_can_come_from_standard_input() {
    let model = ByteModel::new();
    let args = ["generate", "-", "--raw", "--json", "--model", model.arg(), "--max-tokens", "1"];
    let run = kvasir_with_input(&args, "from a pipe\n");
    let summary: Value = serde_json::from_str(&run.stderr).unwrap();
    assert_eq!(summary["output"]["prompt_token_ids"], json!(b"from a pipe"));
}

#[test]
fn the_reference_backend_answers_alike() {
    let model = family("mistral_sliding");
    let (input, expected) = golden("mistral_sliding");
    let args = [
        "generate",
        "--model",
        model.to_str().unwrap(),
        "--dtype",
        "float32",
        "--backend",
        "reference",
        "--input",
        "-",
    ];
    let answers = lines(&kvasir_with_input(&args, &input).ok());
    let tokens: Vec<Value> = answers.iter().map(|a| a["outputs"][0]["token_ids"].clone()).collect();
    assert_eq!(tokens, expected);
}

#[test]
fn the_model_says_how_it_wants_to_be_sampled_from() {
    let model = ByteModel::new();
    fs::write(
        model.path().join("generation_config.json"),
        r#"{"do_sample": true, "temperature": 1.5, "eos_token_id": 2}"#,
    )
    .unwrap();
    let answer = |flags: &[&str]| {
        let mut args = vec![
            "generate",
            "--model",
            model.arg(),
            "--input",
            "-",
            "--max-tokens",
            "16",
            "--ignore-eos",
        ];
        args.extend(flags);
        let output = kvasir_with_input(&args, "{\"prompt_token_ids\": [5, 6]}").ok();
        lines(&output)[0]["outputs"][0]["token_ids"].clone()
    };
    assert_ne!(answer(&["--seed", "1"]), answer(&["--seed", "2"]), "sampled");
    let greedy = answer(&["--seed", "1", "--temperature", "0"]);
    assert_eq!(greedy, answer(&["--seed", "2", "--temperature", "0"]));
}

#[cfg(unix)]
#[test]
fn a_reader_that_leaves_ends_the_command_quietly() {
    use std::process::{Command, Stdio};
    let model = ByteModel::new();
    let mut child = Command::new(env!("CARGO_BIN_EXE_kvasir"))
        .args(["generate", "hi", "--ignore-eos", "--max-tokens", "100", "--model", model.arg()])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
}
