//! Tokens in, tokens out, with the sizes of the engine chosen by hand. Runs without a network, on a
//! checkpoint of the test suite: `cargo run --example token_ids [MODEL]`.

use std::error::Error;

use kvasir::{DType, Llm, SamplingParams};

fn main() -> Result<(), Box<dyn Error>> {
    let tiny = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/families/qwen3");
    let model = std::env::args().nth(1).unwrap_or_else(|| tiny.to_owned());
    let mut llm = Llm::builder(model)
        .dtype(DType::F32)
        .max_model_len(128)
        .max_num_batched_tokens(64)
        .block_size(8)
        .build()?;
    println!("{} computes, numerics {}", llm.device_name(), llm.numerics_id());
    let params = SamplingParams {
        max_tokens: 12,
        temperature: 0.8,
        top_p: 0.95,
        seed: Some(7),
        ignore_eos: true,
        ..SamplingParams::default()
    };
    for output in llm.generate(&[vec![17, 4, 99], vec![200, 3]], &params)? {
        let answer = &output.outputs[0];
        println!("{:?} goes on with {:?}", output.prompt_token_ids, answer.token_ids);
        println!("  at most {} KV blocks", output.metrics.num_kv_blocks);
    }
    Ok(())
}
