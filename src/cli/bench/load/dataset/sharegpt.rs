//! Conversations that people had.

use std::fs::File;
use std::io::BufReader;
use std::path::PathBuf;

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use serde::Deserialize;

use super::{Sample, Words};
use crate::cli::error::CliError;

/// Shortest prompts and answers that count, and longest prompts, and both together, in tokens: vLLM's.
const MIN_LEN: usize = 4;
const MAX_PROMPT_LEN: usize = 1024;
const MAX_TOTAL_LEN: usize = 2048;

/// vLLM's `sharegpt`: a JSON list of `{"conversations": [{"value": …}, …]}`.
#[derive(Clone, Debug)]
pub(crate) struct ShareGpt {
    pub path: PathBuf,
    /// Most tokens of every answer; `None`: as many as the conversation's has.
    pub output_len: Option<usize>,
}

#[derive(Deserialize)]
struct Conversation {
    #[serde(default)]
    conversations: Vec<Turn>,
}

#[derive(Deserialize)]
struct Turn {
    value: String,
}

impl ShareGpt {
    /// The first turn of conversations in random order, the same ones again if there are too few.
    ///
    /// # Errors
    /// If the file cannot be read, or has no conversation of a length that counts.
    pub(crate) fn samples(
        &self,
        words: &Words<'_>,
        num: usize,
        seed: u64,
    ) -> Result<Vec<Sample>, CliError> {
        let file = File::open(&self.path).map_err(|e| CliError::file("read", &self.path, &e))?;
        let read = serde_json::from_reader::<_, Vec<Conversation>>(BufReader::new(file));
        let mut conversations = read.map_err(|error| {
            CliError::usage(format!("{}: {error}", self.path.display()))
                .with_hint("a ShareGPT file is a list of {\"conversations\": [{\"value\": \"…\"}]}")
        })?;
        let mut rng = StdRng::seed_from_u64(seed);
        conversations.shuffle(&mut rng);
        let mut samples = Vec::new();
        for conversation in conversations {
            if samples.len() == num {
                break;
            }
            samples.extend(self.sample(words, conversation)?);
        }
        let num_found = samples.len();
        if num_found == 0 && num > 0 {
            return Err(CliError::usage(format!(
                "{} has no conversation of two turns with {MIN_LEN} to {MAX_PROMPT_LEN} tokens of prompt",
                self.path.display()
            ))
            .with_hint("name another file with --dataset-path"));
        }
        while samples.len() < num {
            samples.push(samples[rng.random_range(0..num_found)].clone());
        }
        Ok(samples)
    }

    /// `None` if its lengths do not count.
    fn sample(
        &self,
        words: &Words<'_>,
        conversation: Conversation,
    ) -> Result<Option<Sample>, CliError> {
        let mut turns = conversation.conversations.into_iter();
        let (Some(prompt), Some(answer)) = (turns.next(), turns.next()) else { return Ok(None) };
        let prompt_len = words.count(&prompt.value)?;
        let output_len = match self.output_len {
            Some(output_len) => output_len,
            None => words.count(&answer.value)?,
        };
        let counts = (MIN_LEN..=MAX_PROMPT_LEN).contains(&prompt_len)
            && (self.output_len.is_some() || output_len >= MIN_LEN)
            && prompt_len + output_len <= MAX_TOTAL_LEN;
        Ok(counts.then(|| Sample::of_text(prompt.value, prompt_len, output_len)))
    }
}
