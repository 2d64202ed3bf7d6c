//! A row's bits are its own: whatever the batch, the chunk, the kv_blocks' places, and within a reduction class the
//! variant.

use std::collections::BTreeMap;
use std::ops::Range;

use engine_core::formats::Fp8Format;
use engine_core::kv_dtype::KvDType;
use kernels_hip::{Device, Error, Stream, ops};

use crate::bench::{Data, Got, Problem, run};
use crate::support::device;
use crate::variants::{names, pinned};

/// Bits of each row, by sequence and position.
type Rows = BTreeMap<(usize, usize), (Vec<u16>, Vec<u32>)>;

/// Some rows of some sequences: a launch.
type Parts = Vec<(usize, Range<usize>)>;

/// Runs parts of a problem as one launch and puts their rows where they belong.
fn rows_of(
    on: (&Device, &Stream),
    name: &str,
    (problem, data): (&Problem, &Data),
    parts: &[(usize, Range<usize>)],
    placement: u64,
) -> Option<Rows> {
    let (part, data) = data.part(&Problem { placement, ..problem.clone() }, parts);
    let got: Got = match run(&mut pinned(on.0, name), on, &part, &data) {
        Ok(got) => got,
        Err(Error::Pin { .. }) => return None,
        Err(error) => panic!("{name}: {error}\n{part:?}"),
    };
    let (out, lse) = got.bits();
    let width = problem.num_qo_heads * problem.head_dim;
    let mut outs = out.chunks(width).zip(lse.chunks(problem.num_qo_heads));
    let mut rows = Rows::new();
    for (seq_idx, range) in parts {
        for row in range.clone() {
            let (out, lse) = outs.next().unwrap();
            rows.insert((*seq_idx, row), (out.to_vec(), lse.to_vec()));
        }
    }
    Some(rows)
}

/// Ways to cut a problem's rows into launches.
fn schedules(problem: &Problem) -> Vec<Vec<Parts>> {
    let whole: Vec<_> =
        problem.seqs.iter().enumerate().map(|(i, seq)| (i, 0..seq.num_rows)).collect();
    let reversed = whole.iter().rev().cloned().collect();
    let alone = whole.iter().map(|part| vec![part.clone()]).collect();
    let by_row = |(i, rows): &(usize, Range<usize>)| {
        let i = *i;
        rows.clone().map(move |row| vec![(i, row..row + 1)]).collect::<Vec<_>>()
    };
    let by_row = whole.iter().flat_map(by_row).collect();
    let halves = |half: usize| -> Parts {
        let cut = |(i, rows): &(usize, Range<usize>)| {
            let middle = rows.end / 2;
            (*i, if half == 0 { 0..middle } else { middle..rows.end })
        };
        whole.iter().map(cut).collect()
    };
    vec![vec![whole.clone()], vec![reversed], alone, by_row, vec![halves(0), halves(1)]]
}

fn check(on: (&Device, &Stream), problem: &Problem) {
    let data = Data::new(problem);
    let classes: BTreeMap<_, _> =
        ops::catalogue().into_iter().map(|row| (row.name, row.reduction_class)).collect();
    let mut expected: BTreeMap<&str, (&str, Rows)> = BTreeMap::new();
    for name in names() {
        for (placement, schedule) in schedules(problem).into_iter().enumerate() {
            let mut rows = Rows::new();
            for parts in &schedule {
                let placement = placement as u64 + 7;
                let Some(some) = rows_of(on, name, (problem, &data), parts, placement) else {
                    break;
                };
                rows.extend(some);
            }
            if rows.is_empty() {
                continue;
            }
            let (first, want) =
                expected.entry(classes[name]).or_insert_with(|| (name, rows.clone()));
            for (row, bits) in &rows {
                assert!(
                    want.get(row) == Some(bits),
                    "{name}, launched as {schedule:?}, has other bits than {first} for {row:?}\n{problem:?}"
                );
            }
        }
    }
    assert!(!expected.is_empty());
}

#[test]
fn a_rows_bits_are_its_own() {
    let Some((device, stream)) = device() else { return };
    let fp8 = KvDType::Fp8(Fp8Format::E4m3Fnuz);
    let seqs = [(1, 150), (7, 67), (2, 2), (1, 65)];
    let plain = Problem { num_qo_heads: 6, ..Problem::new(&seqs) };
    let problems = [
        plain.clone(),
        Problem { window: Some(40), sinks: true, block_size: 24, ..plain.clone() },
        Problem { kv_dtype: fp8, token_scales: true, alibi: true, soft_cap: Some(5.0), ..plain },
    ];
    for problem in problems {
        check((&device, &stream), &problem);
    }
}
