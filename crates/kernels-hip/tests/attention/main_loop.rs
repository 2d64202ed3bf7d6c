//! What the main loop of a variant issues, by the emulator's counters.

use engine_core::dtype::DType;
use engine_core::formats::Fp8Format;
use engine_core::kv_dtype::KvDType;
use kernels_hip::{Device, Error, Stream};
use serde::Deserialize;

use crate::bench::{Data, Problem, run};
use crate::support::device;
use crate::variants::{names, pinned};

/// The parts of the emulator's report that matter here.
#[derive(Deserialize)]
struct Report {
    cycles: Cycles,
}

/// Issue cycles of the units, over all waves.
#[derive(Clone, Copy, Default, Deserialize, Debug)]
struct Cycles {
    vector: u64,
    transcendental: u64,
    matrix: u64,
    lds: u64,
    lds_conflict: u64,
}

/// AITER's forward attention with rounding to nearest even, for as much as 2048 cycles of matrix instructions do: those
/// and its vector instructions, counted in its published code object.
const AITER_CYCLES: f64 = 4424.0;
const AITER_MATRIX_CYCLES: f64 = 2048.0;

/// The last rows of a sequence of `len` tokens: 128 queries that share a KV head.
fn chunk(head_dim: usize, len: usize) -> Problem {
    Problem { num_kv_heads: 1, head_dim, block_size: 16, ..Problem::new(&[(32, len)]) }
}

/// The cycles of a launch, if the variant serves it.
fn cycles(on: (&Device, &Stream), name: &str, problem: &Problem) -> Option<Cycles> {
    let emulator = on.0.runtime().emulator().unwrap();
    let data = Data::new(problem);
    let mut attention = pinned(on.0, name);
    // Other launches of the process would be counted too: there are none, for a test is a process.
    let _ = emulator.take_reports();
    emulator.count(true);
    let got = run(&mut attention, on, problem, &data);
    emulator.count(false);
    match got {
        Err(Error::Pin { .. }) => return None,
        got => got.unwrap(),
    };
    let reports: Vec<Report> = serde_json::from_str(&emulator.take_reports()).unwrap();
    Some(reports.iter().fold(Cycles::default(), |sum, Report { cycles }| Cycles {
        vector: sum.vector + cycles.vector,
        transcendental: sum.transcendental + cycles.transcendental,
        matrix: sum.matrix + cycles.matrix,
        lds: sum.lds + cycles.lds,
        lds_conflict: sum.lds_conflict + cycles.lds_conflict,
    }))
}

/// What 1024 more tokens cost, none of them masked, with the ends of two partitions: what a sequence of 8192 is made of.
#[test]
fn prefill_issues_little_beside_its_products() {
    let Some((device, stream)) = device() else { return };
    if device.runtime().emulator().is_none() {
        return eprintln!("skipped: hardware does not count");
    }
    let (mut of_ping_pong, mut of_lds) = (None, None);
    let prefill = names().into_iter().filter(|name| name.starts_with("prefill_attention"));
    for (name, head_dim) in prefill.flat_map(|name| [(name, 64), (name, 128)]) {
        let [short, long] =
            [1024, 2048].map(|len| cycles((&device, &stream), name, &chunk(head_dim, len)));
        let (Some(short), Some(long)) = (short, long) else { continue };
        let matrix = (long.matrix - short.matrix) as f64;
        if matrix == 0.0 {
            continue;
        }
        let per_matrix = |cycles: u64| cycles as f64 * AITER_MATRIX_CYCLES / matrix;
        let more = |of: fn(&Cycles) -> u64| per_matrix(of(&long) - of(&short));
        let vector = more(|cycles| cycles.vector + cycles.transcendental);
        let [lds, conflicts] = [more(|cycles| cycles.lds), more(|cycles| cycles.lds_conflict)];
        println!(
            "{name}, heads of {head_dim}: per {AITER_MATRIX_CYCLES} cycles of matrix instructions {vector:.0} of vector ones, together {:.2} of AITER's {AITER_CYCLES}; LDS {lds:.0} of a compute unit's {:.0}, {conflicts:.0} for conflicts",
            (AITER_MATRIX_CYCLES + vector) / AITER_CYCLES,
            AITER_MATRIX_CYCLES / 4.0,
        );
        if name.contains("ping_pong") {
            of_ping_pong = Some((vector, conflicts));
        }
        if name.ends_with("mfma_lds") && head_dim == 64 {
            of_lds = Some(lds);
        }
    }
    let (Some((vector, conflicts)), Some(lds)) = (of_ping_pong, of_lds) else {
        return eprintln!("skipped: not all variants; --features kernels-hip/all-variants");
    };
    let together = AITER_MATRIX_CYCLES + vector;
    assert!(together <= 1.15 * AITER_CYCLES, "{together:.0} cycles, of at most 1.15 x 4424");
    assert!(conflicts == 0.0, "{conflicts:.0} cycles of conflicts in LDS");
    assert!(lds < AITER_MATRIX_CYCLES / 4.0, "LDS limits waves of two sets: {lds:.0} cycles");
}

/// Whatever the size of heads and elements: lanes that read or write LDS together do so in different banks.
#[test]
fn no_bank_of_lds_is_wanted_twice() {
    let Some((device, stream)) = device() else { return };
    if device.runtime().emulator().is_none() {
        return eprintln!("skipped: hardware does not count");
    }
    let e4m3 = KvDType::Fp8(Fp8Format::E4m3Fnuz);
    let kv_dtypes = [KvDType::from(DType::BF16), e4m3];
    for name in names().into_iter().filter(|name| name.ends_with("mfma_lds")) {
        for head_dim in [64, 96, 128, 192, 256] {
            for kv_dtype in kv_dtypes {
                let problem = Problem { kv_dtype, ..chunk(head_dim, 130) };
                let cycles = cycles((&device, &stream), name, &problem).unwrap();
                println!("{name}, {kv_dtype}, heads of {head_dim}: {cycles:?}");
                assert_eq!(cycles.lds_conflict, 0, "{name}, {kv_dtype}, heads of {head_dim}");
            }
        }
    }
}
