//! `kvasir bench store`: how fast the KV store's tiers move bytes, beside what the machine allows.
//!
//! Each kind of work is done in turns within one run, so that what disturbs the machine disturbs all of them. A ratio is
//! that of the same turn. Chunks are as those of SmolLM2-135M: what is in them does not matter.

mod chunks;
mod place;
mod report;
mod turns;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::{Args, value_parser};
use kv_store::config::{KvConfig, Overrides, Place as Storage, Source, ThisMachine};
use kv_store_object::ObjectConfig;

use super::memory::MemorySampler;
use super::output::OutputArgs;
use super::progress;
use crate::cli::error::CliError;
use chunks::Chunks;
use place::Place;
use report::Report;

/// `kvasir bench store`.
#[derive(Args, Debug)]
pub(crate) struct StoreArgs {
    /// Measure files below this folder; what is written is removed
    #[arg(long, value_name = "FOLDER", default_value_os_t = std::env::temp_dir())]
    directory: PathBuf,

    /// Measure a bucket too: s3://BUCKET/PREFIX?endpoint_url=URL (credentials: AWS_* variables); what is written is removed
    #[arg(long, value_name = "URL")]
    s3: Option<String>,

    /// Tokens of a chunk
    #[arg(long, value_name = "TOKENS", value_delimiter = ',', default_values_t = [64, 256])]
    #[arg(value_parser = value_parser!(u32).range(1..=4096))]
    chunk_size: Vec<u32>,

    /// Threads that read or write at once
    #[arg(long, value_name = "THREADS", value_delimiter = ',', default_values_t = [1, 4])]
    #[arg(value_parser = value_parser!(u32).range(1..=256))]
    depth: Vec<u32>,

    /// Megabytes that are moved in turn: more than the processor's caches hold
    #[arg(long, value_name = "MB", default_value_t = 192, value_parser = value_parser!(u32).range(1..=16_384))]
    megabytes: u32,

    /// Turns of each kind that are measured, after one that is not
    #[arg(long, default_value_t = 9, value_parser = value_parser!(u32).range(1..=1000))]
    repeats: u32,

    /// Begin no more turns after this time; one of each kind is always measured
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    seconds: u32,

    #[command(flatten)]
    output: OutputArgs,
}

pub(super) fn run(args: &StoreArgs) -> Result<(), CliError> {
    let report = measure(args)?;
    args.output.give(&report, &report.to_string(), || report.page())
}

fn measure(args: &StoreArgs) -> Result<Report, CliError> {
    let sampler = MemorySampler::start();
    let folder = tempfile::Builder::new().prefix("kvasir-bench-").tempdir_in(&args.directory);
    let folder = folder.map_err(|error| {
        CliError::output(&args.directory.display().to_string(), &error)
            .with_hint("name a folder that can be written to with --directory")
    })?;
    let bucket = args.s3.as_deref().map(object_config).transpose()?;
    let num_places = 3 + usize::from(bucket.is_some());
    let num_cases = num_places * args.chunk_size.len() * args.depth.len();
    let bar = progress(num_cases as u64);
    let until = Instant::now() + Duration::from_secs(args.seconds.into());
    let (mut rows, mut fallbacks) = (Vec::new(), Vec::new());
    let mut num_left = num_cases as u32;
    for &chunk_size in &args.chunk_size {
        let chunks = Chunks::new(chunk_size, args.megabytes);
        let path = folder.path().join(chunk_size.to_string());
        for place in places(&chunks, &path, bucket.as_ref())? {
            bar.set_message(place.name());
            for &depth in &args.depth {
                // What is left of the time, in equal parts.
                let part = until.saturating_duration_since(Instant::now()) / num_left.max(1);
                rows.extend(turns::measure(&place, &chunks, depth, args.repeats, part)?);
                num_left -= 1;
                bar.inc(1);
            }
            place.clear(&chunks);
            fallbacks.extend(place.fallbacks());
        }
    }
    bar.finish_and_clear();
    fallbacks.sort();
    fallbacks.dedup();
    let bytes_per_token = chunks::BYTES_PER_TOKEN;
    Ok(Report { bytes_per_token, fallbacks, rows, memory: sampler.stop() })
}

fn places(
    chunks: &Chunks,
    path: &Path,
    bucket: Option<&ObjectConfig>,
) -> Result<Vec<Place>, CliError> {
    let mut places = vec![
        Place::host()?,
        Place::directory(&path.join("cached"), false)?,
        Place::directory(&path.join("direct"), true)?,
    ];
    places.extend(bucket.map(Place::bucket).transpose()?);
    places.iter_mut().try_for_each(|place| place.fill(chunks))?;
    Ok(places)
}

/// A bucket by its URL, and in it a prefix of this process's own.
fn object_config(url: &str) -> Result<ObjectConfig, CliError> {
    let overrides = Overrides { storage_path: Some(url.to_owned()), ..Overrides::default() };
    let resolved = KvConfig::read(Source::Text("storage_backend: file"), &overrides, &ThisMachine);
    let resolved = resolved.map_err(|error| CliError::from_usage_error(&error))?;
    match resolved.and_then(|resolved| resolved.config.storage).map(|storage| storage.place) {
        Some(Storage::Bucket { bucket, prefix, settings }) => {
            let prefix = format!("{prefix}/bench-{}", std::process::id());
            ObjectConfig::s3(&bucket, &prefix, &settings)
                .map_err(|error| CliError::from_usage_error(&error))
        }
        _ => Err(CliError::usage(format!("--s3 {url} names no bucket"))
            .with_hint("write s3://BUCKET/PREFIX; a folder is named with --directory")),
    }
}
