//! What is asked: short and long prompts, greedy and seeded, with penalties, with several sequences,
//! with a beginning in common, and with text that repeats itself.

use engine::output::CompletionOutput;
use engine::{RequestOutput, SamplingParams, TokenId};

use crate::golden_model::golden_rows;

/// A request under test.
#[derive(Clone)]
pub struct TestRequest {
    pub name: &'static str,
    pub prompt: Vec<u32>,
    pub params: SamplingParams,
}

/// Tokens and log-probabilities of all its sequences, to the bit.
#[derive(Debug, PartialEq)]
pub struct Answer(Vec<Bits>);

/// The tokens of a sequence, and each candidate with the bits of its log-probability.
type Bits = (Vec<u32>, Vec<(u32, u32)>);

impl Answer {
    pub fn new(output: &RequestOutput) -> Answer {
        let bits = |completion: &CompletionOutput| {
            let candidates = completion.logprobs.iter().flatten().flatten();
            let pairs = candidates.map(|one| (one.token_id, one.logprob.to_bits())).collect();
            (completion.token_ids.clone(), pairs)
        };
        Answer(output.outputs.iter().map(bits).collect())
    }

    pub fn token_ids(&self) -> Vec<&[u32]> {
        self.0.iter().map(|(token_ids, _)| &token_ids[..]).collect()
    }
}

/// Longest sequence of [`requests`] but the one named `long`.
pub const MAX_SHORT_LEN: usize = 64;

/// The last one is [`LONG`].
pub fn requests() -> Vec<TestRequest> {
    let rows = golden_rows("smollm2-135m-greedy.json");
    let long = &golden_rows("smollm2-135m-long.json")[0].prompt_token_ids;
    let greedy = |max_tokens| SamplingParams {
        max_tokens,
        temperature: 0.0,
        logprobs: Some(2),
        ignore_eos: true,
        ..SamplingParams::default()
    };
    let seeded =
        |seed| SamplingParams { temperature: 0.9, top_p: 0.95, seed: Some(seed), ..greedy(6) };
    let request =
        |name, prompt: &[u32], params| TestRequest { name, prompt: prompt.to_vec(), params };
    let shared = |question: &[u32]| [&long[..36], question].concat();
    let refrain = [&rows[4].prompt_token_ids[..], &rows[4].prompt_token_ids[..]].concat().repeat(3);
    vec![
        request("greedy, short", &rows[0].prompt_token_ids, greedy(7)),
        request("greedy, a chat", &rows[1].prompt_token_ids, greedy(6)),
        request("greedy, shared beginning, first", &shared(&[28, 665]), greedy(4)),
        request("greedy, shared beginning, second", &shared(&[30, 198, 504]), greedy(4)),
        request(
            "greedy, a refrain",
            &refrain,
            // Of two tokens to choose from, a guess is often right.
            SamplingParams {
                allowed_token_ids: Some(refrain[..2].iter().copied().map(TokenId).collect()),
                ..greedy(12)
            },
        ),
        request("seeded", &rows[12].prompt_token_ids, seeded(7)),
        request(
            "seeded, two sequences",
            &rows[2].prompt_token_ids,
            SamplingParams { n: 2, ..seeded(3) },
        ),
        request(
            "seeded, penalties",
            &rows[16].prompt_token_ids,
            SamplingParams {
                repetition_penalty: 1.3,
                frequency_penalty: 0.4,
                presence_penalty: 0.2,
                ..seeded(11)
            },
        ),
        request("long", long, greedy(3)),
    ]
}
