//! A row's bits are its own: whatever the batch, the chunk, the kv_blocks' places, and within a reduction class the
//! variant.
//!
//! Some of it in processes whose emulator accumulates matrix products as the hardware does: its usual way, a chain of
//! fused multiply-adds, is one sum, and would hide how products are grouped.

use std::collections::BTreeMap;
use std::env;
use std::ops::Range;
use std::process::Command;

use engine_core::formats::Fp8Format;
use engine_core::kv_dtype::KvDType;
use kernels_hip::{Device, Error, Stream, ops};

use crate::bench::{Data, Got, Problem, run};
use crate::support::device;
use crate::variants::{names, pinned};

/// The emulator's mode.
const EXACT_VAR: &str = "KVASIR_EMU_EXACT_MFMA";

/// Whether this process is in the mode; if not, the test is run in one that is.
fn is_exact(test: &str) -> bool {
    if env::var_os(EXACT_VAR).is_some() {
        return true;
    }
    let mut child = Command::new(env::current_exe().unwrap());
    child.args(["--exact", &format!("invariance::{test}"), "--nocapture"]).env(EXACT_VAR, "1");
    let output = child.output().unwrap();
    let [said, errors] = [output.stdout, output.stderr].map(|s| String::from_utf8(s).unwrap());
    assert!(output.status.success() && said.contains("1 passed"), "{said}\n{errors}");
    false
}

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
fn splits_do_not_show() {
    let Some(on) = device() else { return };
    if !is_exact("splits_do_not_show") {
        return;
    }
    let on = (&on.0, &on.1);
    let problem =
        Problem { sinks: true, window: Some(1700), ..Problem::new(&[(1, 2100), (2, 515), (1, 3)]) };
    let data = Data::new(&problem);
    for name in names().into_iter().filter(|name| name.contains("split") || name.contains("work")) {
        let mut attention = pinned(on.0, name);
        let bits = [None, Some(1), Some(2), Some(3), Some(100)].map(|count| {
            attention.set_partitions_per_workgroup(count).unwrap();
            run(&mut attention, on, &problem, &data).unwrap().bits()
        });
        assert!(bits.iter().all(|some| *some == bits[0]), "{name}");
        // The bits of those that do not split.
        let class = |name: &str| {
            ops::catalogue().iter().find(|row| row.name == name).unwrap().reduction_class
        };
        for other in names().into_iter().filter(|other| class(other) == class(name)) {
            match run(&mut pinned(on.0, other), on, &problem, &data) {
                Ok(got) => assert!(got.bits() == bits[0], "{other} is not {name}"),
                Err(Error::Pin { .. }) => {}
                Err(error) => panic!("{other}: {error}"),
            }
        }
    }
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
        Problem { head_dim: 96, window: Some(600), ..Problem::new(&[(1, 1100), (3, 520)]) },
        Problem { num_qo_heads: 40, kv_dtype: fp8, head_dim: 192, ..Problem::new(&[(2, 530)]) },
        Problem {
            num_qo_heads: 24,
            head_dim: 128,
            window: Some(610),
            ..Problem::new(&[(37, 1100), (9, 20)])
        },
    ];
    for problem in problems {
        check((&device, &stream), &problem);
    }
}

#[test]
fn nor_does_the_grouping_of_products_show() {
    let Some((device, stream)) = device() else { return };
    if !is_exact("nor_does_the_grouping_of_products_show") {
        return;
    }
    let fp8 = KvDType::Fp8(Fp8Format::E4m3Fnuz);
    // More than a partition, and enough packed queries for every variant.
    let wide = Problem { num_qo_heads: 12, ..Problem::new(&[(13, 530), (1, 40)]) };
    let problems = [
        Problem { head_dim: 128, ..wide.clone() },
        Problem { kv_dtype: fp8, head_dim: 96, ..wide },
    ];
    for problem in problems {
        check((&device, &stream), &problem);
    }
}
