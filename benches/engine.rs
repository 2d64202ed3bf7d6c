//! The whole engine on SmolLM2-135M in bfloat16: load, prefill, decode, a batch job.
//! `cargo bench --bench engine`; the model is fetched on first use.

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use engine::{Llm, SamplingParams};

fn model() -> Llm {
    Llm::builder("smollm2-135m").build().unwrap_or_else(|e| panic!("{e}"))
}

fn prompts(num_seqs: usize, num_tokens: usize) -> Vec<Vec<u32>> {
    let token = |seq: usize, i: usize| ((i * 7919 + seq * 104_729) % 30_000 + 100) as u32;
    (0..num_seqs).map(|seq| (0..num_tokens).map(|i| token(seq, i)).collect()).collect()
}

fn run(llm: &mut Llm, prompts: &[Vec<u32>], max_tokens: usize) {
    let params = SamplingParams {
        max_tokens,
        temperature: 0.0,
        ignore_eos: true,
        ..SamplingParams::default()
    };
    llm.generate(prompts, &params).unwrap_or_else(|e| panic!("{e}"));
}

fn engine(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("smollm2-135m bfloat16");
    group.sample_size(10);
    group.bench_function("load", |bencher| {
        bencher.iter_batched(|| (), |()| model(), BatchSize::PerIteration);
    });
    let mut llm = model();
    // Sequences, prompt tokens and generated tokens; what counts is the prompt or the output.
    let jobs = [("prefill 512", 1, 512, 1, 512), ("prefill 2048", 1, 2048, 1, 2048)];
    let jobs = jobs
        .into_iter()
        .chain([("decode 64", 1, 1, 64, 64), ("32 x (128, 64)", 32, 128, 64, 2048)]);
    for (name, num_seqs, num_tokens, max_tokens, counted) in jobs {
        let prompts = prompts(num_seqs, num_tokens);
        group.throughput(Throughput::Elements(counted));
        group.bench_function(name, |bencher| {
            bencher.iter(|| run(&mut llm, &prompts, max_tokens));
        });
    }
}

criterion_group!(benches, engine);
criterion_main!(benches);
