//! What is asked: short and long prompts, greedy and seeded, with penalties and with a grammar, with
//! several sequences, with a beginning in common, and with text that repeats itself.

use std::ops::AddAssign;

use engine::output::{CompletionOutput, RequestMetrics};
use engine::{RequestOutput, SamplingParams, StructuredOutputs, TokenId};

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

/// What happened to requests of one kind.
#[derive(Clone, Copy, Debug, Default)]
pub struct Happened {
    pub num_draft_tokens: usize,
    pub num_accepted_tokens: usize,
    pub num_preemptions: u32,
}

impl AddAssign for Happened {
    fn add_assign(&mut self, other: Happened) {
        self.num_draft_tokens += other.num_draft_tokens;
        self.num_accepted_tokens += other.num_accepted_tokens;
        self.num_preemptions += other.num_preemptions;
    }
}

/// What happened to requests whose every token is under rules that depend on the tokens before it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    pub with_grammar: Happened,
    pub with_penalties: Happened,
}

impl Tally {
    pub fn of(params: &SamplingParams, metrics: &RequestMetrics) -> Tally {
        let happened = Happened {
            num_draft_tokens: metrics.num_draft_tokens,
            num_accepted_tokens: metrics.num_accepted_tokens,
            num_preemptions: metrics.num_preemptions,
        };
        let has_penalties = params.frequency_penalty != 0.0;
        let if_it_is = |is: bool| if is { happened } else { Happened::default() };
        Tally {
            with_grammar: if_it_is(params.structured_outputs.is_some()),
            with_penalties: if_it_is(has_penalties),
        }
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Tally) {
        self.with_grammar += other.with_grammar;
        self.with_penalties += other.with_penalties;
    }
}

/// " red, green, red, blue,", twice.
const COLOURS: [u32; 16] =
    [2382, 28, 2654, 28, 2382, 28, 4461, 28, 2382, 28, 2654, 28, 2382, 28, 4461, 28];

/// Goes on as the colours do, and then no more: guesses are right and wrong.
const OTHER_COLOURS: &str = " red, green, red, red, green, red, red, green, red, red, green,";

/// An object is likely to have the keys that it has in the prompt.
const SCHEMA: &str = r#"{"type": "object", "properties": {"name": {"type": "string", "maxLength": 9},
    "age": {"type": "integer"}}, "required": ["name", "age"], "additionalProperties": false}"#;

/// {"name": "x"}, twice.
const OBJECTS: [u32; 12] = [9583, 1245, 1799, 476, 104, 23597, 9583, 1245, 1799, 476, 104, 23597];

/// Requests whose next token depends on a grammar, on penalties, or on both.
fn ruled(greedy: &SamplingParams) -> [TestRequest; 4] {
    let formed = |form| SamplingParams { structured_outputs: Some(form), ..greedy.clone() };
    let colours = COLOURS.to_vec();
    let choice = [" red, green, red, green,", " red, green, blue, red"].map(str::to_owned).to_vec();
    [
        TestRequest {
            name: "greedy, a regex",
            prompt: colours.clone(),
            params: formed(StructuredOutputs::Regex(OTHER_COLOURS.to_owned())),
        },
        TestRequest {
            name: "greedy, a choice, penalties, min_tokens",
            prompt: colours.clone(),
            params: SamplingParams {
                frequency_penalty: 0.5,
                min_tokens: 3,
                ..formed(StructuredOutputs::Choice(choice))
            },
        },
        TestRequest {
            name: "seeded, JSON, penalties, a bias",
            prompt: OBJECTS.to_vec(),
            params: SamplingParams {
                temperature: 0.8,
                seed: Some(5),
                presence_penalty: 0.3,
                frequency_penalty: 0.2,
                logit_bias: [(TokenId(2382), 1.5), (TokenId(28), -0.5)].into(),
                ..formed(StructuredOutputs::Json(SCHEMA.to_owned()))
            },
        },
        TestRequest {
            name: "greedy, penalties, a bias, bad words, min_tokens",
            prompt: colours.clone(),
            params: SamplingParams {
                repetition_penalty: 1.05,
                frequency_penalty: 0.1,
                logit_bias: [(TokenId(2654), 0.75)].into(),
                allowed_token_ids: Some(colours[..8].iter().copied().map(TokenId).collect()),
                bad_words: vec![" blue".to_owned()],
                min_tokens: 6,
                ..greedy.clone()
            },
        },
    ]
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
    let mut requests = vec![
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
    ];
    requests.extend(ruled(&greedy(9)));
    requests.push(request("long", long, greedy(3)));
    requests
}
