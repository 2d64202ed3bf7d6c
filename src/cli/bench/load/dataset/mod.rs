//! What is asked: prompts of known lengths, the same for the same seed.

mod prefix_repetition;
mod random;
mod sharegpt;
mod timed_trace;
mod words;

pub(crate) use prefix_repetition::PrefixRepetition;
pub(crate) use random::Random;
pub(crate) use sharegpt::ShareGpt;
pub(crate) use timed_trace::TimedTrace;
pub(crate) use words::Words;

/// A request that is to be sent.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sample {
    pub prompt: SamplePrompt,
    /// Tokens of the prompt, without those that the model wants around every text.
    pub prompt_len: usize,
    /// Most tokens of the answer.
    pub output_len: usize,
    /// Seconds after the first request of a trace.
    pub arrival_s: Option<f64>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum SamplePrompt {
    Text(String),
    TokenIds(Vec<u32>),
}

impl Sample {
    fn of_text(prompt: String, prompt_len: usize, output_len: usize) -> Sample {
        Sample { prompt: SamplePrompt::Text(prompt), prompt_len, output_len, arrival_s: None }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::io::Write as _;
    use std::path::PathBuf;

    use engine::text::{GgufVocab, Tokenizer};

    use super::*;

    /// Byte-level BPE over printable ASCII, with a merge, a special token that texts begin with, and half a letter.
    pub(super) fn tokenizer() -> Tokenizer {
        let mut tokens: Vec<String> =
            (33_u8..127).map(|byte| char::from(byte).to_string()).collect();
        tokens.extend(["ab", "Ã", "<s>"].map(str::to_owned));
        let last = tokens.len() as i32 - 1;
        let token_types = (0..=last).map(|id| if id == last { 3 } else { 1 }).collect();
        Tokenizer::from_gguf(&GgufVocab {
            model: "gpt2".to_owned(),
            pre: Some("gpt-2".to_owned()),
            tokens,
            scores: None,
            token_types: Some(token_types),
            merges: Some(vec!["a b".to_owned()]),
            bos_id: Some(last as u32),
            eos_id: None,
            unk_id: None,
            pad_id: None,
            add_bos_token: Some(true),
            add_eos_token: None,
            add_space_prefix: None,
            chat_template: None,
        })
        .unwrap()
    }

    pub(super) fn text(sample: &Sample) -> &str {
        match &sample.prompt {
            SamplePrompt::Text(text) => text,
            SamplePrompt::TokenIds(_) => panic!("token ids"),
        }
    }

    /// Each prompt has as many tokens as is said of it.
    fn check_lengths(tokenizer: &Tokenizer, samples: &[Sample]) {
        for sample in samples {
            let ids = tokenizer.encode(text(sample), false).unwrap();
            assert_eq!(ids.len(), sample.prompt_len, "{sample:?}");
        }
    }

    fn file(text: &str) -> (tempfile::NamedTempFile, PathBuf) {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        let path = file.path().to_owned();
        (file, path)
    }

    #[test]
    fn random_prompts_have_the_lengths_and_the_prefix_that_were_asked_for() {
        let tokenizer = tokenizer();
        let words = Words::new(&tokenizer).unwrap();
        let random = Random { input_len: 41, output_len: 10, range_ratio: 0.5, prefix_len: 7 };
        let samples = random.samples(&words, 200, 5).unwrap();
        assert_eq!(samples, random.samples(&words, 200, 5).unwrap());
        assert_ne!(samples, random.samples(&words, 200, 6).unwrap());
        check_lengths(&tokenizer, &samples);
        let lengths: BTreeSet<usize> = samples.iter().map(|sample| sample.prompt_len - 7).collect();
        // 41 with the token that texts begin with: 40 and its half more or less.
        assert!(lengths.iter().all(|length| (20..=60).contains(length)), "{lengths:?}");
        assert!(lengths.len() > 30, "200 draws of 41 lengths: {lengths:?}");
        let outputs: BTreeSet<usize> = samples.iter().map(|sample| sample.output_len).collect();
        assert_eq!(outputs, (5..=15).collect());
        let head = |sample: &Sample| text(sample)[..6].to_owned();
        assert!(samples.iter().all(|sample| head(sample) == head(&samples[0])));
        assert!(!text(&samples[0]).contains("<s>"));
    }

    #[test]
    fn what_leaves_no_token_is_refused() {
        let tokenizer = tokenizer();
        let words = Words::new(&tokenizer).unwrap();
        let random = Random { input_len: 1, output_len: 1, range_ratio: 0.0, prefix_len: 0 };
        let error = random.samples(&words, 1, 0).unwrap_err();
        assert!(format!("{error:?}").contains("--random-input-len"), "{error:?}");
    }

    #[test]
    fn prefixes_are_repeated_and_every_prompt_is_made() {
        let tokenizer = tokenizer();
        let words = Words::new(&tokenizer).unwrap();
        let set =
            PrefixRepetition { prefix_len: 20, suffix_len: 10, num_prefixes: 3, output_len: 4 };
        let samples = set.samples(&words, 11, 1).unwrap();
        assert_eq!(samples, set.samples(&words, 11, 1).unwrap());
        assert_eq!(samples.len(), 11);
        // A merge over the border may take one off.
        let prefixes: BTreeSet<&str> = samples.iter().map(|sample| &text(sample)[..19]).collect();
        assert_eq!(prefixes.len(), 3);
        let texts: BTreeSet<&str> = samples.iter().map(text).collect();
        assert_eq!(texts.len(), 11);
        let one = PrefixRepetition { num_prefixes: 12, ..set };
        assert!(one.samples(&words, 11, 1).is_err());
    }

    #[test]
    fn conversations_give_their_first_turn_and_the_length_of_its_answer() {
        let tokenizer = tokenizer();
        let words = Words::new(&tokenizer).unwrap();
        let turn = |value: &str| serde_json::json!({ "from": "human", "value": value });
        let conversation = |turns: &[&str]| serde_json::json!({ "conversations": turns.iter().map(|t| turn(t)).collect::<Vec<_>>() });
        let list = serde_json::json!([
            conversation(&["question", "xxxxx", "more"]),
            conversation(&["shrt"]),
            conversation(&["no", "answered"]),
            conversation(&["another", "yyyyyyy"]),
        ]);
        let (_file, path) = file(&list.to_string());
        let set = ShareGpt { path: path.clone(), output_len: None };
        let samples = set.samples(&words, 6, 3).unwrap();
        assert_eq!(samples, set.samples(&words, 6, 3).unwrap());
        check_lengths(&tokenizer, &samples);
        assert_eq!(samples.len(), 6, "short files are taken again");
        for sample in &samples {
            let expected = if text(sample) == "question" { 5 } else { 7 };
            assert_eq!(sample.output_len, expected, "{sample:?}");
        }
        let set = ShareGpt { path, output_len: Some(9) };
        assert!(set.samples(&words, 2, 3).unwrap().iter().all(|sample| sample.output_len == 9));
        let (_file, path) = super::tests::file("[{\"conversations\": 1}]");
        assert!(ShareGpt { path, output_len: None }.samples(&words, 1, 0).is_err());
    }

    #[test]
    fn a_traces_equal_blocks_are_equal_tokens() {
        let tokenizer = tokenizer();
        let words = Words::new(&tokenizer).unwrap();
        let (_file, path) = file(
            r#"{"timestamp": 5000, "input_length": 10, "output_length": 3, "hash_ids": [1, 2, 3]}
{"timestamp": 7500, "input_length": 8, "output_length": 1, "hash_ids": [1, 2], "more": 0}
{"timestamp": 9000, "input_length": 4, "output_length": 1, "hash_ids": [9]}
"#,
        );
        let set = TimedTrace { path, chunk_hash_size: 4, sec_multiplier: 0.001 };
        let samples = set.samples(&words, 2, 1).unwrap();
        let ids = |sample: &Sample| match &sample.prompt {
            SamplePrompt::TokenIds(ids) => ids.clone(),
            SamplePrompt::Text(_) => panic!("a text"),
        };
        assert_eq!(samples.len(), 2, "no more than asked for");
        assert_eq!(samples.iter().map(|s| s.arrival_s).collect::<Vec<_>>(), [Some(0.0), Some(2.5)]);
        let [first, second] = [ids(&samples[0]), ids(&samples[1])];
        assert_eq!((first.len(), second.len(), samples[0].output_len), (10, 8, 3));
        assert_eq!(first[..8], second[..]);
        assert_ne!(first[..4], first[4..8]);
        let others = set.samples(&words, 9, 2).unwrap();
        assert!(others.len() == 3 && ids(&others[0]) != first);
    }

    #[test]
    fn a_bad_trace_is_refused_by_its_line() {
        let tokenizer = tokenizer();
        let words = Words::new(&tokenizer).unwrap();
        let good = r#"{"timestamp": 1, "input_length": 4, "output_length": 1, "hash_ids": [1]}"#;
        for (bad, word) in [
            ("{", "EOF"),
            (
                r#"{"timestamp": 0, "input_length": 4, "output_length": 1, "hash_ids": [1]}"#,
                "before",
            ),
            (
                r#"{"timestamp": 2, "input_length": 9, "output_length": 1, "hash_ids": [1, 2]}"#,
                "8 tokens",
            ),
            (
                r#"{"timestamp": 2, "input_length": 0, "output_length": 1, "hash_ids": []}"#,
                "input_length",
            ),
            (
                r#"{"timestamp": -2, "input_length": 4, "output_length": 1, "hash_ids": [1]}"#,
                "timestamp",
            ),
        ] {
            let (_file, path) = file(&format!("{good}\n{bad}\n"));
            let set = TimedTrace { path, chunk_hash_size: 4, sec_multiplier: 0.001 };
            let error = format!("{:?}", set.samples(&words, 9, 1).unwrap_err());
            assert!(error.contains("line 2") && error.contains(word), "{error}");
        }
    }
}
