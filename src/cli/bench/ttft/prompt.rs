//! A prompt of a given length that is text, and does not repeat itself.

use engine::{Llm, Prompt};

use crate::cli::engine_setup::engine_error;
use crate::cli::error::CliError;

const SUBJECTS: [&str; 7] = [
    "The keeper",
    "A sailor",
    "The old harbour",
    "Every lamp",
    "The north wind",
    "A letter",
    "The clerk",
];
const VERBS: [&str; 5] = ["watched over", "remembered", "crossed", "waited for", "was seen beside"];
const OBJECTS: [&str; 11] = [
    "the quiet bay",
    "a broken mast",
    "the lighthouse",
    "seven small boats",
    "the first snow",
    "an open ledger",
    "the market square",
    "a grey gull",
    "the customs house",
    "two long winters",
    "the tide",
];

/// Sentences that all differ, of at least `num_tokens` tokens together.
pub(super) fn text(llm: &Llm, num_tokens: usize) -> Result<String, CliError> {
    if llm.tokenizer().is_none() {
        return Err(CliError::usage("the model has no tokenizer").with_hint(
            "take one that has: the time to cut text into tokens is part of the measurement",
        ));
    }
    let longest = llm.scheduler_config().max_model_len;
    if num_tokens > longest {
        return Err(CliError::usage(format!(
            "a prompt of {num_tokens} tokens is longer than the model's {longest}"
        ))
        .with_hint("give fewer --prompt-tokens"));
    }
    let count = |text: &str| {
        let tokens = llm.encode(&Prompt::Text(text.to_owned()));
        tokens.map(|tokens| tokens.len()).map_err(|error| engine_error(&error))
    };
    let mut text = String::new();
    let mut num_sentences = 0;
    // A sentence has at least as many tokens as this: few steps, and none too far.
    const LEAST_TOKENS: usize = 8;
    loop {
        let found = if text.is_empty() { 0 } else { count(&text)? };
        if found >= num_tokens {
            return Ok(text);
        }
        for _ in 0..(num_tokens - found).div_ceil(4 * LEAST_TOKENS) {
            text += &sentence(num_sentences);
            num_sentences += 1;
        }
    }
}

fn sentence(number: usize) -> String {
    let pick = |words: &[&'static str], stride: usize| words[number * stride % words.len()];
    let (subject, verb, object) = (pick(&SUBJECTS, 3), pick(&VERBS, 2), pick(&OBJECTS, 7));
    format!("{subject} {verb} {object} on day {}. ", number + 1)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_sentence_comes_twice() {
        let sentences: BTreeSet<String> = (0..2_000).map(sentence).collect();
        assert_eq!(sentences.len(), 2_000);
        assert!(sentences.iter().all(|sentence| sentence.ends_with(". ")));
    }
}
