//! The same work by each, one after the other, round after round.

use std::fmt;
use std::fs::File;
use std::time::Instant;

use crate::chunks::Chunks;
use crate::contender::Contender;

/// What stands above the rows.
pub const HEAD: &str = "where            op   tokens  depth   ours GB/s  unverified GB/s  foyer GB/s  ours / foyer  unverified / foyer";

/// The medians of one op.
pub struct Row {
    op: &'static str,
    num_tokens: usize,
    depth: usize,
    /// Ours, ours unverified, foyer: GB/s.
    rates: [f64; 3],
    /// The first two by the third, of the same round.
    ratios: [f64; 2],
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [ours, unverified, foyer] = self.rates;
        write!(f, "{:<5}{:>6}{:>7}", self.op, self.num_tokens, self.depth)?;
        write!(f, "{ours:>12.2}{unverified:>17.2}{foyer:>12.2}")?;
        write!(f, "{:>14.2}{:>20.2}", self.ratios[0], self.ratios[1])
    }
}

/// Puts and gets of all chunks by each of `contenders`, who keep them below `folder`. What is got is compared once, before
/// anything is measured. Between puts and gets, in nobody's time, what the page cache still has to write is written: a
/// direct read of such a file writes it first.
pub fn measure(
    contenders: &[Box<dyn Contender + '_>; 3],
    chunks: &Chunks,
    folder: &File,
    depth: usize,
    rounds: u32,
) -> [Row; 2] {
    let mut pages = vec![vec![0; chunks.chunk_bytes()]; depth];
    let mut puts = Vec::new();
    let mut gets = Vec::new();
    for round in 0..=rounds {
        let put = by_turns(contenders, round, |contender| {
            (0..chunks.len()).for_each(|i| contender.remove(i));
            seconds(|| all(chunks, &mut pages, |i, _| contender.put(i)))
        });
        if round == 0 {
            for contender in contenders {
                all(chunks, &mut pages, |i, page| {
                    contender.get(i, page);
                    assert!(page == chunks.bytes(i), "chunk {i} is another");
                });
            }
            continue;
        }
        puts.push(put);
        rustix::fs::syncfs(folder).expect("the file system takes what was written");
        gets.push(by_turns(contenders, round, |contender| {
            seconds(|| all(chunks, &mut pages, |i, page| contender.get(i, page)))
        }));
    }
    let row = |op, took: &[[f64; 3]]| {
        let gigabytes = chunks.total_bytes() as f64 / 1e9;
        Row {
            op,
            num_tokens: chunks.num_tokens(),
            depth,
            rates: [0, 1, 2].map(|i| median(took.iter().map(|took| gigabytes / took[i]))),
            ratios: [0, 1].map(|i| median(took.iter().map(|took| took[2] / took[i]))),
        }
    };
    [row("put", &puts), row("get", &gets)]
}

/// Measures each, another one first in every round: a disk whose rate is capped over time favours who comes after a pause.
fn by_turns(
    contenders: &[Box<dyn Contender + '_>; 3],
    round: u32,
    mut measured: impl FnMut(&dyn Contender) -> f64,
) -> [f64; 3] {
    let mut took = [0.0; 3];
    for turn in 0..3 {
        let i = (turn + round as usize) % 3;
        took[i] = measured(&*contenders[i]);
    }
    took
}

/// Does `one` for all chunks, by as many threads as there are pages.
fn all(chunks: &Chunks, pages: &mut [Vec<u8>], one: impl Fn(usize, &mut [u8]) + Sync) {
    let depth = pages.len();
    std::thread::scope(|scope| {
        for (thread, page) in pages.iter_mut().enumerate() {
            let one = &one;
            scope.spawn(move || (thread..chunks.len()).step_by(depth).for_each(|i| one(i, page)));
        }
    });
}

fn seconds(work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_secs_f64()
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
