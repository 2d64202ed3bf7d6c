//! Kinds of work, by turns.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use host_io::AlignedBuffer;

use super::chunks::Chunks;
use super::place::{Place, Work};
use super::report::{Beside, Row};
use crate::cli::bench::spread::Quantiles;
use crate::cli::error::CliError;

/// Measures a place at a depth: up to `repeats` turns, none begun after `part` but the first.
pub(super) fn measure(
    place: &Place,
    chunks: &Chunks,
    depth: u32,
    repeats: u32,
    part: Duration,
) -> Result<Vec<Row>, CliError> {
    let buffer = |_| AlignedBuffer::new(chunks.bytes().len());
    let mut buffers: Vec<_> = (0..depth.min(chunks.keys().len() as u32)).map(buffer).collect();
    let start = Instant::now();
    for &work in place.works() {
        buffers.iter_mut().for_each(|buffer| buffer.fill(0));
        place.turn(work, chunks, &mut buffers)?;
        let is_read = matches!(work, Work::RawRead | Work::Get | Work::GetUnverified);
        let is_exact = |buffer: &AlignedBuffer| buffer.starts_with(chunks.bytes());
        if is_read && !buffers.iter().all(is_exact) {
            return Err(CliError::internal(format!("{}: wrong bytes were read", place.name())));
        }
    }
    let mut turns: BTreeMap<Work, Vec<f64>> = BTreeMap::new();
    for turn in 0..repeats {
        if turn > 0 && start.elapsed() >= part {
            break;
        }
        // Each is first in its turn: a disk whose rate is capped over time favours who comes after a pause.
        let mut works = place.works().to_vec();
        let first = turn as usize % works.len();
        works.rotate_left(first);
        for work in works {
            let took = place.turn(work, chunks, &mut buffers)?;
            turns.entry(work).or_default().push(took.as_secs_f64());
        }
    }
    Ok(Turns { place, chunks, depth, turns }.rows())
}

struct Turns<'a> {
    place: &'a Place,
    chunks: &'a Chunks,
    depth: u32,
    /// Seconds of each.
    turns: BTreeMap<Work, Vec<f64>>,
}

impl Turns<'_> {
    fn rows(&self) -> Vec<Row> {
        let (raw_read, raw_write) = self.place.raw_names();
        let get = self.row("get", Work::Get, (Work::RawRead, raw_read));
        let put = self.row("put", Work::Put, (Work::RawWrite, raw_write));
        get.into_iter().chain(put).collect()
    }

    fn row(&self, op: &'static str, work: Work, raw: (Work, &'static str)) -> Option<Row> {
        let took = self.turns.get(&work)?;
        let beside = self.turns.get(&raw.0).map(|raw_took| Beside {
            what: raw.1,
            gb_s: self.rates(raw_took),
            ratio: of_turns(raw_took, took, |raw, ours| raw / ours),
        });
        let unverified = self.turns.get(&Work::GetUnverified).filter(|_| work == Work::Get);
        Some(Row {
            tier: self.place.kind,
            op,
            chunk_tokens: self.chunks.num_tokens,
            chunk_bytes: self.chunks.bytes().len(),
            depth: self.depth,
            num_turns: took.len(),
            gb_s: self.rates(took),
            beside,
            verification: unverified
                .map(|unverified| of_turns(took, unverified, |on, off| (on - off) / on)),
        })
    }

    fn rates(&self, took: &[f64]) -> Quantiles {
        let gigabytes = self.chunks.num_bytes() as f64 / 1e9;
        Quantiles::of(took.iter().map(|seconds| gigabytes / seconds).collect())
    }
}

/// A figure of two kinds of work in the same turn.
fn of_turns(a: &[f64], b: &[f64], figure: impl Fn(f64, f64) -> f64) -> Quantiles {
    Quantiles::of(a.iter().zip(b).map(|(a, b)| figure(*a, *b)).collect())
}
