//! What happens to whom when a step fails.

use std::path::Path;

use engine_core::capacity::blocks_for_tokens;
use engine_core::device::{Device, KvCacheShape};
use engine_core::dtype::DType;
use engine_core::kv_dtype::KvDType;
use engine_core::kv_scales::KvScales;
use engine_core::request::{SamplingParams, StopRules};
use engine_core::sampling::SampleKey;
use engine_core::scheduler::SchedulerConfig;
use reference_cpu::ReferenceCpu;

use super::*;
use crate::llm::RequestOptions;
use crate::weights;

/// What goes wrong in a step.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fault {
    Error,
    Panic,
}

impl Fault {
    /// Goes wrong.
    pub(super) fn strike(self) -> Result<(), OpError> {
        match self {
            Fault::Error => Err(OpError::OutOfMemory { what: "a test", requested_bytes: 1 }),
            Fault::Panic => panic!("the test wants it"),
        }
    }
}

const MAX_MODEL_LEN: usize = 64;
const BLOCK_SIZE: usize = 4;

/// Two rows a step: of three requests, one waits.
fn engine() -> Engine<ReferenceCpu> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/families/llama");
    let model = weights::open(&path).unwrap();
    let config = model.config().clone();
    let mut ops = ReferenceCpu::new(DType::F32);
    let shape = KvCacheShape {
        num_layers: config.num_layers,
        num_blocks: 3 * blocks_for_tokens(MAX_MODEL_LEN, BLOCK_SIZE),
        block_size: BLOCK_SIZE,
        num_kv_heads: config.num_kv_heads,
        head_dim: config.head_dim,
        dtype: KvDType::Float(DType::F32),
    };
    let scheduler = Scheduler::new(SchedulerConfig {
        max_num_seqs: 2,
        max_num_batched_tokens: 8,
        max_model_len: MAX_MODEL_LEN,
        block_size: BLOCK_SIZE,
        num_blocks: shape.num_blocks,
        ..SchedulerConfig::DEFAULT
    });
    let model = Model::load(&mut ops, model.checkpoint(), MAX_MODEL_LEN).unwrap();
    let kv_cache =
        ops.alloc_kv_cache(shape, &KvScales::ones(config.num_layers, config.num_kv_heads)).unwrap();
    Engine::new(EngineParts {
        ops,
        model,
        kv_cache,
        scheduler: scheduler.unwrap(),
        block_bytes: shape.block_bytes(),
        logprobs_mode: LogprobsMode::default(),
        kv_tier: None,
    })
    .unwrap()
}

fn request(first_token: u32) -> SeqRequest {
    let params = SamplingParams {
        max_tokens: 6,
        temperature: 0.0,
        ignore_eos: true,
        ..SamplingParams::default()
    };
    SeqRequest {
        prompt_token_ids: (first_token..first_token + 3).map(TokenId).collect(),
        stop_rules: StopRules::new(&params, &[]),
        key: SampleKey::from_request_seed(0),
        params,
        bad_words: Vec::new(),
        options: RequestOptions::default(),
        matcher: None,
    }
}

/// Runs to the end; how each sequence ended, and its output.
fn run(engine: &mut Engine<ReferenceCpu>) -> BTreeMap<SeqId, (FinishReason, Vec<TokenId>)> {
    let mut ends = BTreeMap::new();
    while engine.has_unfinished() {
        for seq in engine.step().finished {
            let tokens = seq.sequence.output_token_ids().to_vec();
            assert!(ends.insert(seq.sequence.seq_id(), (seq.reason, tokens)).is_none());
        }
    }
    ends
}

#[test]
fn a_step_that_fails_ends_those_in_it_and_no_others() {
    let expected = {
        let mut engine = engine();
        engine.add(request(30)).unwrap();
        run(&mut engine).into_values().next().unwrap()
    };
    for fault in [Fault::Error, Fault::Panic] {
        let mut engine = engine();
        for first_token in [1, 10, 30] {
            engine.add(request(first_token)).unwrap();
        }
        engine.step();
        engine.fault = Some(fault);
        let report = engine.step();
        let failed: Vec<_> = report.updates.iter().map(|update| update.seq_id).collect();
        assert_eq!(failed, [SeqId(0), SeqId(1)], "{fault:?}");
        for update in &report.updates {
            let error = update.error.as_ref().expect("the update says why");
            let is_panic = matches!(error, StepError::Panic(text) if text == "the test wants it");
            assert_eq!(is_panic, matches!(fault, Fault::Panic), "{error:?}");
        }
        let reasons: Vec<_> = report.finished.iter().map(|seq| seq.reason).collect();
        assert_eq!(reasons, [FinishReason::Error; 2]);
        assert_eq!(run(&mut engine), BTreeMap::from([(SeqId(2), expected.clone())]));
        assert_eq!(engine.scheduler.block_pool().num_used(), 0);
        assert_eq!(engine.scheduler.stats().num_failed_steps, 1);
        // What the failed step wrote is not found by anyone.
        engine.add(request(1)).unwrap();
        engine.add(request(30)).unwrap();
        let ends = run(&mut engine);
        assert_eq!(ends[&SeqId(4)], expected);
        assert_eq!(ends[&SeqId(3)].0, FinishReason::Length);
    }
}
