//! What the variants of attention do on a few problems, compared with `baselines/attention_counters.json`.

use engine_core::formats::Fp8Format;
use engine_core::kv_dtype::KvDType;
use hip_toolchain::for_tests;
use kernels_hip::{Error, registry};

use crate::baseline::Baseline;
use crate::bench::{Data, Problem, run};
use crate::counters::{ByKernel, Report, add};
use crate::support::device;
use crate::variants::{names, pinned};

fn problems() -> [(&'static str, Problem); 4] {
    let e4m3 = KvDType::Fp8(Fp8Format::E4m3Fnuz);
    let llama = Problem { num_qo_heads: 8, head_dim: 128, ..Problem::new(&[(1, 1024), (1, 700)]) };
    let chunk = Problem { num_qo_heads: 8, head_dim: 128, ..Problem::new(&[(48, 600)]) };
    [
        ("decode of bf16", llama.clone()),
        ("decode of e4m3", Problem { kv_dtype: e4m3, ..llama }),
        ("chunk of bf16", chunk.clone()),
        ("chunk of e4m3", Problem { kv_dtype: e4m3, ..chunk }),
    ]
}

#[test]
fn no_counter_differs_from_the_baseline() {
    let (Some(toolchain), Some((device, stream))) = (for_tests(), device()) else { return };
    let Some(emulator) = device.runtime().emulator() else {
        return eprintln!("skipped: hardware does not count");
    };
    let mut sums = ByKernel::new();
    for (case, problem) in problems() {
        let data = Data::new(&problem);
        for name in names() {
            emulator.count(true);
            let got = run(&mut pinned(&device, name), (&device, &stream), &problem, &data);
            emulator.count(false);
            let reports: Vec<Report> = serde_json::from_str(&emulator.take_reports()).unwrap();
            match got {
                Ok(_) => add(&mut sums, case, reports),
                Err(Error::Pin { .. }) => {}
                Err(error) => panic!("{name}: {error}"),
            }
        }
    }
    let is_built = |variant: &str| registry::rows().iter().any(|row| row.variant == variant);
    Baseline::of(&toolchain, sums).check("attention_counters", "attention counted", is_built);
}
