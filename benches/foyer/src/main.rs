//! `kv-store` beside foyer: puts and gets of chunks, in turns within one run, by so many threads.
//!
//! ```sh
//! cargo run --release --manifest-path benches/foyer/Cargo.toml
//! ```
//!
//! Both copy a chunk out of the engine's pages when they put, and into them when they get. `kv-store` makes xxh3-128
//! digests when it puts, and compares them when it gets, or, to know what that costs, does not. foyer compares nothing
//! in memory, and always an xxh64 on disk. A put returns when the chunk can be had from where it is kept; neither
//! synchronises files. Direct reads go past the page cache; their disk's own cache is not emptied. Where foyer reads so,
//! it writes so too, and `kv-store` writes through the page cache.

mod chunks;
mod contender;
mod ours;
mod theirs;
mod turns;

use std::fs::File;
use std::path::{Path, PathBuf};

use clap::{Parser, value_parser};

use chunks::Chunks;
use contender::Contender;
use ours::Ours;
use theirs::{InMemory, OnDisk};

#[derive(Parser)]
struct Args {
    /// Keep files below this folder; they are removed. A file system in memory has no direct reads
    #[arg(long, default_value = ".")]
    directory: PathBuf,
    /// Tokens of a chunk, of 23,040 bytes each
    #[arg(long, value_delimiter = ',', default_values_t = [64, 256])]
    #[arg(value_parser = value_parser!(u32).range(1..=1024))]
    chunk_size: Vec<u32>,
    /// Threads that put or get at once
    #[arg(long, value_delimiter = ',', default_values_t = [1, 4])]
    #[arg(value_parser = value_parser!(u32).range(1..=64))]
    depth: Vec<u32>,
    /// Megabytes that are moved in turn: more than the processor's caches hold
    #[arg(long, default_value_t = 192, value_parser = value_parser!(u32).range(1..=16_384))]
    megabytes: u32,
    /// Turns of each, after one that is not measured; the medians are compared
    #[arg(long, default_value_t = 9, value_parser = value_parser!(u32).range(1..=1000))]
    rounds: u32,
}

fn main() {
    let args = Args::parse();
    println!("{}", turns::HEAD);
    for &num_tokens in &args.chunk_size {
        let chunks = Chunks::new(num_tokens as usize, args.megabytes as usize * 1_000_000);
        for place in ["memory", "disk, page cache", "disk, direct"] {
            let folder = tempfile::tempdir_in(&args.directory).expect("the folder can be written");
            let Some(contenders) = contenders(place, &chunks, folder.path()) else { continue };
            let opened = File::open(folder.path()).expect("the folder can be opened");
            for &depth in &args.depth {
                let depth = depth as usize;
                let rows = turns::measure(&contenders, &chunks, &opened, depth, args.rounds);
                rows.iter().for_each(|row| println!("{place:<17}{row}"));
            }
        }
    }
}

/// Ours verified and not, and foyer; `None`, said, where foyer cannot be had.
fn contenders<'a>(
    place: &str,
    chunks: &'a Chunks,
    folder: &Path,
) -> Option<[Box<dyn Contender + 'a>; 3]> {
    let is_direct = place == "disk, direct";
    if place == "memory" {
        return Some([
            Box::new(Ours::in_memory(chunks, true)),
            Box::new(Ours::in_memory(chunks, false)),
            Box::new(InMemory::new(chunks)),
        ]);
    }
    let ours = |name: &str, is_verified| {
        Box::new(Ours::on_disk(chunks, &folder.join(name), is_direct, is_verified))
    };
    match OnDisk::new(chunks, &folder.join("foyer"), is_direct) {
        Ok(theirs) => Some([ours("on", true), ours("off", false), Box::new(theirs)]),
        Err(error) => {
            println!("{place}: foyer cannot be opened here: {error}");
            None
        }
    }
}
