//! Every sampling option on a whole engine: it changes what it should, and nothing else.

mod golden_model;

use std::collections::{BTreeMap, BTreeSet};

use engine::output::{CompletionOutput, StopReason};
use engine::{FinishReason, Llm, LogprobsMode, Prompt, SamplingParams, StructuredOutputs, TokenId};
use golden_model::{repository_path, smollm2};

const PROMPT: [u32; 6] = [5, 9, 17, 3, 9, 40];

fn tiny(mode: LogprobsMode) -> Llm {
    let model = repository_path("tests/golden/families/llama");
    Llm::builder(model).logprobs_mode(mode).build().unwrap()
}

fn greedy() -> SamplingParams {
    SamplingParams { temperature: 0.0, max_tokens: 24, ignore_eos: true, ..Default::default() }
}

fn answer(llm: &mut Llm, params: &SamplingParams) -> CompletionOutput {
    let mut outputs = llm.generate(&[PROMPT.to_vec()], params).unwrap();
    outputs.remove(0).outputs.remove(0)
}

/// All options that move logits, at once.
fn loaded() -> SamplingParams {
    SamplingParams {
        temperature: 0.8,
        top_p: 0.95,
        top_k: 50,
        min_p: 0.001,
        presence_penalty: 0.7,
        frequency_penalty: 0.3,
        repetition_penalty: 1.3,
        logit_bias: [(TokenId(7), 4.0), (TokenId(8), -4.0)].into(),
        min_tokens: 3,
        seed: Some(4),
        logprobs: Some(3),
        ..greedy()
    }
}

/// The reported log-probabilities are those that scoring the same tokens as a prompt gives, bit for
/// bit, whatever the options did to the choice.
#[test]
fn log_probabilities_stay_raw_under_all_options() {
    let mut llm = tiny(LogprobsMode::RawLogprobs);
    let chosen = answer(&mut llm, &loaded());
    let whole: Vec<u32> = PROMPT.iter().chain(&chosen.token_ids).copied().collect();
    let scoring = SamplingParams { max_tokens: 1, prompt_logprobs: Some(3), ..greedy() };
    let scored = llm.generate(&[whole], &scoring).unwrap().remove(0).prompt_logprobs.unwrap();
    let expected: Vec<_> = scored[PROMPT.len()..].iter().map(|row| row.clone().unwrap()).collect();
    assert_eq!(chosen.logprobs.unwrap(), expected);
}

#[test]
fn each_mode_reports_what_it_says() {
    let of = |mode| answer(&mut tiny(mode), &loaded());
    let raw = of(LogprobsMode::RawLogprobs);
    let processed = of(LogprobsMode::ProcessedLogprobs);
    let raw_logits = of(LogprobsMode::RawLogits);
    let processed_logits = of(LogprobsMode::ProcessedLogits);
    for other in [&processed, &raw_logits, &processed_logits] {
        assert_eq!(other.token_ids, raw.token_ids);
        assert_ne!(other.logprobs, raw.logprobs);
    }
    // Differences of logits are differences of log-probabilities.
    let gaps = |output: &CompletionOutput| -> Vec<f32> {
        let rows = output.logprobs.as_ref().unwrap().iter();
        rows.map(|row| row[0].logprob - row[1].logprob).collect()
    };
    for (logprobs, logits) in [(&raw, &raw_logits), (&processed, &processed_logits)] {
        for (a, b) in gaps(logprobs).into_iter().zip(gaps(logits)) {
            assert!(a == b || (a - b).abs() < 1e-4 || a.is_nan(), "{a} {b}");
        }
    }
}

#[test]
fn every_option_changes_what_it_should() {
    let mut llm = tiny(LogprobsMode::RawLogprobs);
    let plain = answer(&mut llm, &greedy()).token_ids;
    let mut of = |params: SamplingParams| answer(&mut llm, &params).token_ids;
    let first = TokenId(plain[0]);
    let num_different = |ids: &[u32]| ids.iter().collect::<BTreeSet<_>>().len();

    let biased = of(SamplingParams { logit_bias: [(TokenId(77), 100.0)].into(), ..greedy() });
    assert!(biased.iter().all(|&id| id == 77), "{biased:?}");
    let unbiased = of(SamplingParams { logit_bias: [(first, -100.0)].into(), ..greedy() });
    assert!(!unbiased.contains(&first.0), "{unbiased:?}");
    let few = Some(vec![TokenId(4), TokenId(6), TokenId(11)]);
    let allowed = of(SamplingParams { allowed_token_ids: few, ..greedy() });
    assert!(allowed.iter().all(|id| [4, 6, 11].contains(id)), "{allowed:?}");
    // Whatever comes once never comes again.
    let unrepeated = of(SamplingParams { repetition_penalty: 1e6, ..greedy() });
    let is_new = |(i, id): (usize, &u32)| !PROMPT.contains(id) && !unrepeated[..i].contains(id);
    assert!(unrepeated.iter().enumerate().all(is_new), "{unrepeated:?}");
    let repeated = of(SamplingParams { frequency_penalty: -2.0, ..greedy() });
    assert!(num_different(&repeated) <= num_different(&plain), "{repeated:?} {plain:?}");
}

/// Each takes off the logits what it says, of the tokens of the answer and not of the prompt: exactly
/// so, seen from the logits before and after, and the choice follows.
#[test]
fn presence_and_frequency_penalties_take_off_what_they_say() {
    let plain = answer(&mut tiny(LogprobsMode::RawLogits), &greedy()).token_ids;
    for (presence, frequency) in [(1.0, 0.0), (0.0, 0.25), (0.5, 0.25), (-0.5, -0.25)] {
        let params = SamplingParams {
            presence_penalty: presence,
            frequency_penalty: frequency,
            logprobs: Some(-1),
            ..greedy()
        };
        let before = answer(&mut tiny(LogprobsMode::RawLogits), &params);
        let after = answer(&mut tiny(LogprobsMode::ProcessedLogits), &params);
        assert_eq!(before.token_ids, after.token_ids);
        assert_ne!(before.token_ids, plain, "{presence} {frequency}");
        let logits = |output: &CompletionOutput, step: usize| -> BTreeMap<u32, f32> {
            let row = output.logprobs.as_ref().unwrap()[step].iter();
            row.map(|candidate| (candidate.token_id, candidate.logprob)).collect()
        };
        let mut most = 0;
        for step in 0..before.token_ids.len() {
            let (raw, processed) = (logits(&before, step), logits(&after, step));
            assert!(raw.len() > 90 && raw.len() == processed.len());
            for (id, logit) in raw {
                let earlier = &before.token_ids[..step];
                let count = earlier.iter().filter(|&&other| other == id).count();
                let taken = presence * f32::from(count > 0) + frequency * count as f32;
                // A logit is below 32, so that f32 rounds each subtraction by less than 2⁻²⁰.
                let diff = (logit - taken - processed[&id]).abs();
                assert!(diff <= 4e-6, "token {id}, {count} times: {logit} {}", processed[&id]);
                most = most.max(count);
            }
        }
        // Presence and frequency differ from the second time on.
        assert!(most >= 2, "nothing came twice: {:?}", before.token_ids);
    }
}

#[test]
fn what_cannot_be_is_refused_by_name() {
    let mut llm = tiny(LogprobsMode::RawLogprobs);
    let mut error = |params: SamplingParams| {
        let prompt = Prompt::TokenIds(PROMPT.to_vec());
        llm.add_request(prompt, params).unwrap_err().to_string()
    };
    let bad_words = vec!["x".to_owned()];
    let form = Some(StructuredOutputs::JsonObject);
    for (params, expected) in [
        (SamplingParams { n: 2, ..greedy() }, "n above 1 cannot be used with temperature 0"),
        (
            SamplingParams { allowed_token_ids: Some(vec![TokenId(1 << 20)]), ..greedy() },
            "allowed_token_ids",
        ),
        (SamplingParams { bad_words, ..greedy() }, "a bad word"),
        (SamplingParams { structured_outputs: form, ..greedy() }, "structured_outputs"),
    ] {
        let error = error(params);
        assert!(error.contains(expected), "{error}");
    }
}

/// The real model, in words.
#[test]
fn the_real_model_keeps_to_form_and_avoids_bad_words() {
    let mut llm = Llm::builder(smollm2()).max_model_len(256).build().unwrap();
    let mut of = |prompt: &str, params: SamplingParams| {
        let outputs = llm.generate(&[prompt], &params).unwrap();
        outputs.into_iter().next().unwrap().outputs.remove(0)
    };
    let greedy = SamplingParams { temperature: 0.0, max_tokens: 40, ..Default::default() };
    let question = "The capital of France is";
    let plain = of(question, SamplingParams { max_tokens: 8, ..greedy.clone() });
    assert!(plain.text.contains("Paris"), "{}", plain.text);
    let undecoded =
        of(question, SamplingParams { max_tokens: 8, detokenize: false, ..greedy.clone() });
    assert_eq!((undecoded.text.as_str(), undecoded.token_ids), ("", plain.token_ids));
    let bad_words = vec!["Paris".to_owned()];
    let avoided = of(question, SamplingParams { max_tokens: 8, bad_words, ..greedy.clone() });
    assert!(!avoided.text.contains("Paris"), "{}", avoided.text);

    let mut formed = |form: StructuredOutputs| {
        let structured_outputs = Some(form);
        of("An example:\n", SamplingParams { structured_outputs, ..greedy.clone() })
    };
    let choices = vec!["Lyon".to_owned(), "Lyonesse".to_owned(), "Nice".to_owned()];
    let choice = formed(StructuredOutputs::Choice(choices.clone()));
    assert!(choices.contains(&choice.text), "{}", choice.text);
    assert_eq!((choice.finish_reason, choice.stop_reason), (FinishReason::Stop, None));
    let date = formed(StructuredOutputs::Regex(r"\d{4}-\d{2}-\d{2}".to_owned()));
    assert_eq!((date.text.len(), date.finish_reason), (10, FinishReason::Stop), "{}", date.text);
    let schema = r#"{"type": "object", "properties": {"name": {"type": "string", "maxLength": 12},
        "age": {"type": "integer", "minimum": 1, "maximum": 99}}, "required": ["name", "age"],
        "additionalProperties": false}"#;
    let json = formed(StructuredOutputs::Json(schema.to_owned()));
    let value: serde_json::Value = serde_json::from_str(&json.text).unwrap();
    assert!((1..=99).contains(&value["age"].as_i64().unwrap()), "{}", json.text);
    assert_ne!(json.stop_reason, Some(StopReason::Token(0)));
}
