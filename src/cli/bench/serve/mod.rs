//! `kvasir bench serve`: load on an OpenAI endpoint, ours or another's, as `vllm bench serve` makes it.

mod args;
mod page;
mod result;

use std::path::Path;
use std::sync::Arc;

use engine::text::Tokenizer;
use engine::weights;
use indicatif::ProgressBar;
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::load::arrivals::arrivals;
use super::load::client::{Answer, Api, Connection, Endpoint, Question};
use super::load::dataset::{
    PrefixRepetition, Random, Sample, SamplePrompt, ShareGpt, TimedTrace, Words,
};
use super::load::drive::Driver;
use super::load::metrics::Measured;
use super::memory::{MemorySampler, MemoryUse};
use super::progress;
use crate::cli::bars::DownloadBars;
use crate::cli::error::CliError;
pub(super) use args::ServeArgs;
use args::{DatasetArgs, DatasetName};

/// A run, and what it was of.
struct Served {
    model: String,
    tokenizer: String,
    /// Sent, not asked for: a trace may have fewer.
    num_prompts: usize,
    answers: Vec<Answer>,
    measured: Measured,
    memory: Option<MemoryUse>,
}

pub(super) fn run(args: &ServeArgs) -> Result<(), CliError> {
    let runtime = tokio::runtime::Runtime::new()
        .map_err(|error| CliError::internal(format!("cannot start threads: {error}")))?;
    let served = runtime.block_on(serve(args))?;
    let result = result::json(args, &served);
    if let Some(path) = result::path(args, &result) {
        result::save(&path, &result, args.save.append_result)?;
    }
    let table = result::table(args, &served.measured);
    args.output.give(&result, &table, || page::page(args, &served))?;
    let first = served.answers.iter().find(|answer| !answer.is_success());
    match first {
        None => Ok(()),
        Some(answer) if served.measured.num_completed == 0 => {
            let num = served.answers.len();
            Err(CliError::usage(format!(
                "all of {num} requests failed, the first: {}",
                answer.error
            ))
            .with_hint("check --base-url, --endpoint, --model and --api-key"))
        }
        Some(answer) => {
            let (num, all) = (served.measured.num_failed, served.answers.len());
            eprintln!("warning: {num} of {all} requests failed, the first: {}", answer.error);
            Ok(())
        }
    }
}

async fn serve(args: &ServeArgs) -> Result<Served, CliError> {
    let endpoint = Endpoint::new(&Connection {
        base_url: &args.endpoint.base_url,
        request_timeout: args.endpoint.request_timeout,
        api_key: args.endpoint.api_key.as_deref(),
        headers: args.endpoint.header_map(),
        insecure: args.endpoint.insecure,
    })?;
    let model = match &args.endpoint.model {
        Some(model) => model.clone(),
        None => endpoint.first_model().await?,
    };
    let tokenizer_name = args.endpoint.tokenizer.clone().unwrap_or_else(|| model.clone());
    let tokenizer = tokenizer(&tokenizer_name)?;
    let words = Words::new(&tokenizer)?;
    let question = question(args, &model);
    let samples = samples(&args.dataset, &words, question.api)?;
    let times = times(args, &samples)?;
    let driver = Driver {
        endpoint: Arc::new(endpoint),
        question: Arc::new(question),
        max_concurrency: args.traffic.max_concurrency.map(|num| num as usize),
        bar: ProgressBar::hidden(),
    };
    warm_up(&driver, &samples[0], args.traffic.num_warmups as usize).await?;
    let bar = progress(samples.len() as u64);
    bar.set_message("requests");
    let samples: Arc<[Sample]> = samples.into();
    let sampler = args.figures.pid.map(MemorySampler::of_pid);
    let driver = Driver { bar, ..driver };
    let (answers, duration_s) = driver.run(&samples, &times).await?;
    driver.bar.finish_and_clear();
    let memory = sampler.map(MemorySampler::stop);
    let count = |text: &str| words.count(text).map_or(0, |num| num as u64);
    let measured = Measured::new(&answers, duration_s, &args.figures.goodput, count);
    let num_prompts = samples.len();
    Ok(Served { model, tokenizer: tokenizer_name, num_prompts, answers, measured, memory })
}

fn tokenizer(name: &str) -> Result<Tokenizer, CliError> {
    const HINT: &str = "name a model with a tokenizer with --tokenizer";
    let path = engine::hub::resolve(name, &DownloadBars::new())
        .map_err(|error| CliError::from(error).at("the tokenizer").with_hint(HINT))?;
    let model = weights::open(&path).map_err(|error| CliError::from_usage_error(&error))?;
    let found = engine::tokenizer(&model).map_err(|error| CliError::from_usage_error(&error))?;
    found.ok_or_else(|| CliError::usage(format!("{name} has no tokenizer")).with_hint(HINT))
}

fn question(args: &ServeArgs, model: &str) -> Question {
    let is_chat = args.endpoint.endpoint.ends_with("/chat/completions");
    let mut extra_body = serde_json::Map::new();
    if let Some(temperature) = args.dataset.temperature {
        extra_body.insert("temperature".to_owned(), temperature.into());
    }
    extra_body.extend(args.endpoint.extra_body.clone().unwrap_or_default());
    Question {
        api: if is_chat { Api::Chat } else { Api::Completions },
        path: args.endpoint.endpoint.clone(),
        model: model.to_owned(),
        ignore_eos: args.dataset.ignores_eos(),
        extra_body,
    }
}

fn samples(args: &DatasetArgs, words: &Words<'_>, api: Api) -> Result<Vec<Sample>, CliError> {
    let (num, seed) = (args.num_prompts as usize, args.seed);
    let output_len = |own: u32| args.output_len.unwrap_or(own) as usize;
    let samples = match args.dataset_name {
        DatasetName::Random => Random {
            input_len: args.input_len.unwrap_or(args.random_input_len) as usize,
            output_len: output_len(args.random_output_len),
            range_ratio: args.random_range_ratio,
            prefix_len: args.random_prefix_len as usize,
        }
        .samples(words, num, seed),
        DatasetName::ShareGpt => ShareGpt {
            path: dataset_path(args)?.to_owned(),
            output_len: args.output_len.or(args.sharegpt_output_len).map(|len| len as usize),
        }
        .samples(words, num, seed),
        DatasetName::PrefixRepetition => PrefixRepetition {
            prefix_len: args.prefix_repetition_prefix_len as usize,
            suffix_len: args.prefix_repetition_suffix_len as usize,
            num_prefixes: args.prefix_repetition_num_prefixes as usize,
            output_len: output_len(args.prefix_repetition_output_len),
        }
        .samples(words, num, seed),
        DatasetName::TimedTrace => TimedTrace {
            path: dataset_path(args)?.to_owned(),
            chunk_hash_size: args.timed_trace_chunk_hash_size as usize,
            sec_multiplier: args.timed_trace_sec_multiplier,
        }
        .samples(words, num, seed),
    }?;
    let is_of_ids = matches!(samples[0].prompt, SamplePrompt::TokenIds(_));
    if is_of_ids && api == Api::Chat {
        return Err(CliError::usage("a trace's prompts are token ids, which no chat takes")
            .with_hint("use --endpoint /v1/completions"));
    }
    Ok(samples)
}

fn dataset_path(args: &DatasetArgs) -> Result<&Path, CliError> {
    args.dataset_path.as_deref().ok_or_else(|| {
        CliError::usage("sharegpt and timed_trace are read from a file")
            .with_hint("name it with --dataset-path")
    })
}

/// When each sample is sent.
fn times(args: &ServeArgs, samples: &[Sample]) -> Result<Vec<f64>, CliError> {
    let traffic = &args.traffic;
    let of_trace: Option<Vec<f64>> = samples.iter().map(|sample| sample.arrival_s).collect();
    match of_trace {
        Some(times) if !traffic.no_self_timed => Ok(times),
        // Not the data set's random numbers once more.
        _ => {
            let mut rng = StdRng::seed_from_u64(!args.dataset.seed);
            arrivals(samples.len(), traffic.request_rate, traffic.burstiness, &mut rng)
        }
    }
}

/// The first request, `num` times; it must be answered.
async fn warm_up(driver: &Driver, sample: &Sample, num: usize) -> Result<(), CliError> {
    let samples: Arc<[Sample]> = vec![sample.clone(); num].into();
    let (answers, _) = driver.run(&samples, &vec![0.0; num]).await?;
    match answers.into_iter().find(|answer| !answer.is_success()) {
        None => Ok(()),
        Some(answer) => Err(CliError::usage(format!("a warm-up failed: {}", answer.error))
            .with_hint("check --base-url, --endpoint, --model and --api-key")),
    }
}
