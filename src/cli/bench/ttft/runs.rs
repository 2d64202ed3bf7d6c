//! Answering the prompt, again and again.

use std::time::{Duration, Instant};

use engine::{Llm, Prompt, RequestOutput, SamplingParams};
use indicatif::ProgressBar;

use crate::cli::bench::spread::Spread;
use crate::cli::engine_setup::engine_error;
use crate::cli::error::CliError;

/// Tokens of an answer: the first, and as many steps of decode as give a steady time.
pub(super) const NUM_OUTPUT_TOKENS: usize = 9;

/// Where the prompt's KV is when a run begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Nowhere,
    Device,
    Host,
    Disk,
}

impl Place {
    pub(super) const ALL: [Place; 4] = [Place::Nowhere, Place::Device, Place::Host, Place::Disk];
    /// Runs that only bring the KV to its place; the cold ones bring it to the device.
    pub(super) const NUM_PRIMING: u64 = 2;

    const fn name(self) -> &'static str {
        match self {
            Place::Nowhere => "computed",
            Place::Device => "from the device",
            Place::Host => "from host memory",
            Place::Disk => "from the directory",
        }
    }

    const fn is_stored(self) -> bool {
        matches!(self, Place::Host | Place::Disk)
    }

    /// Prompt tokens whose KV came from here.
    fn num_found(self, output: &RequestOutput) -> usize {
        let metrics = &output.metrics;
        match self {
            Place::Nowhere => 0,
            Place::Device => metrics.num_cached_tokens,
            Place::Host => metrics.num_loaded_tokens.host,
            Place::Disk => metrics.num_loaded_tokens.disk,
        }
    }
}

/// The runs so far.
pub(super) struct Runs<'a> {
    text: String,
    repeats: u32,
    bar: &'a ProgressBar,
    /// Of the first run; all others must say the same.
    answer: Option<RequestOutput>,
    tokenize: Vec<Duration>,
    decode_steps: Vec<Duration>,
}

/// One answer, and when its first token came.
struct Timed {
    output: RequestOutput,
    ttft: Duration,
    decode_step: Duration,
}

impl<'a> Runs<'a> {
    pub(super) fn new(text: String, repeats: u32, bar: &'a ProgressBar) -> Runs<'a> {
        let (tokenize, decode_steps) = (Vec::new(), Vec::new());
        Runs { text, repeats, bar, answer: None, tokenize, decode_steps }
    }

    /// Tokens of the prompt; 0 before the first run.
    pub(super) fn num_prompt_tokens(&self) -> usize {
        self.answer.as_ref().map_or(0, |output| output.prompt_token_ids.len())
    }

    /// Cutting the text into tokens.
    pub(super) fn tokenize(&self) -> Option<Spread> {
        Spread::of(self.tokenize.clone())
    }

    /// One step of decode behind the prompt.
    pub(super) fn decode_step(&self) -> Option<Spread> {
        Spread::of(self.decode_steps.clone())
    }

    /// Times to first token with the KV in `place`.
    ///
    /// # Errors
    /// If another answer comes, or the KV from elsewhere.
    pub(super) fn measure(&mut self, llm: &mut Llm, place: Place) -> Result<Spread, CliError> {
        self.bar.set_message(place.name());
        if place.is_stored() {
            self.answer_once(llm)?;
            llm.flush_kv_store();
        }
        let mut times = Vec::new();
        for _ in 0..self.repeats {
            if place != Place::Device && !llm.reset_prefix_cache() {
                return Err(CliError::internal("a request is still running"));
            }
            let timed = self.answer_once(llm)?;
            check_place(place, &timed.output)?;
            times.push(timed.ttft);
            if place == Place::Nowhere {
                self.decode_steps.push(timed.decode_step);
            }
        }
        Spread::of(times).ok_or_else(|| CliError::internal("nothing was measured"))
    }

    fn answer_once(&mut self, llm: &mut Llm) -> Result<Timed, CliError> {
        let prompt = Prompt::Text(self.text.clone());
        let start = Instant::now();
        llm.encode(&prompt).map_err(|error| engine_error(&error))?;
        self.tokenize.push(start.elapsed());
        let timed = answer(llm, prompt)?;
        let first = self.answer.get_or_insert_with(|| timed.output.clone());
        if first.outputs[0].token_ids != timed.output.outputs[0].token_ids {
            return Err(CliError::internal("the same prompt was answered otherwise")
                .with_hint("this must not happen whatever was loaded: please report it"));
        }
        self.bar.inc(1);
        Ok(timed)
    }
}

fn answer(llm: &mut Llm, prompt: Prompt) -> Result<Timed, CliError> {
    let params = SamplingParams {
        max_tokens: NUM_OUTPUT_TOKENS,
        temperature: 0.0,
        ignore_eos: true,
        ..SamplingParams::default()
    };
    let start = Instant::now();
    let id = llm.add_request(prompt, params).map_err(|error| engine_error(&error))?;
    let mut ttft = None;
    loop {
        for update in llm.step() {
            if let Some(error) = update.error {
                return Err(engine_error(&error.into()));
            }
            if update.id == id && !update.new_token_ids.is_empty() {
                ttft.get_or_insert_with(|| start.elapsed());
            }
            if let (Some(output), Some(ttft)) = (update.finished, ttft) {
                let decode_step = (start.elapsed() - ttft) / (NUM_OUTPUT_TOKENS as u32 - 1);
                return Ok(Timed { output, ttft, decode_step });
            }
        }
    }
}

/// All full chunks at least: the tail, and a last token whose logits are wanted, may be computed.
fn check_place(place: Place, output: &RequestOutput) -> Result<(), CliError> {
    let (num_found, num_tokens) = (place.num_found(output), output.prompt_token_ids.len());
    if place != Place::Nowhere && num_found * 10 < num_tokens * 9 {
        return Err(CliError::usage(format!(
            "only the KV of {num_found} of {num_tokens} prompt tokens came {}",
            place.name()
        ))
        .with_hint("take a longer prompt, or a larger --kv-cache-memory-bytes"));
    }
    Ok(())
}
