//! Many prompts at once, with log-probabilities: `cargo run --release --example batch [MODEL]`.

use std::error::Error;

use kvasir::{Llm, SamplingParams, hub};

fn main() -> Result<(), Box<dyn Error>> {
    let model = std::env::args().nth(1).unwrap_or_else(|| "smollm2-135m".to_owned());
    let mut llm = Llm::builder(hub::resolve(&model, &hub::Quiet)?).max_num_seqs(16).build()?;
    let params = SamplingParams {
        max_tokens: 24,
        temperature: 0.0,
        stop: vec!["\n".to_owned()],
        logprobs: Some(1),
        ..SamplingParams::default()
    };
    let prompts = ["The capital of France is", "Water boils at", "Two plus two is"];
    for (prompt, output) in prompts.iter().zip(llm.generate(&prompts, &params)?) {
        let answer = &output.outputs[0];
        println!("{prompt}{}", answer.text);
        println!(
            "  {} tokens, log-probability {:.2}, first token after {:.0} ms",
            answer.token_ids.len(),
            answer.cumulative_logprob.unwrap_or_default(),
            output.metrics.time_to_first_token_s * 1e3,
        );
    }
    let stats = llm.stats();
    println!("{} steps for {} prompts", stats.num_steps, prompts.len());
    Ok(())
}
