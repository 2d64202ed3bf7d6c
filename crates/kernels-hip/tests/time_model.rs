//! The model of time against timings that others published of kernels whose code objects can be counted.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use kernels_hip::time_model::{MI300X, Work};
use serde::Deserialize;

/// `data/aiter_attention_mi300x.json`, which says where it is from.
#[derive(Deserialize)]
struct Published {
    rows_per_work_group: u64,
    waves_per_work_group: u32,
    tokens_per_iteration: u64,
    matrix_cycles_per_iteration: u64,
    vector_cycles_per_iteration: BTreeMap<String, u64>,
    shapes: Vec<Timed>,
}

#[derive(Deserialize)]
struct Timed {
    batch: u64,
    heads: u64,
    tokens: u64,
    ms: BTreeMap<String, f64>,
}

impl Published {
    fn work(&self, shape: &Timed, rounding: &str) -> Work {
        let num_workgroups =
            (shape.batch * shape.heads * shape.tokens).div_ceil(self.rows_per_work_group);
        let num_waves = num_workgroups * u64::from(self.waves_per_work_group);
        let iterations = shape.tokens / self.tokens_per_iteration * num_waves;
        Work {
            num_workgroups,
            waves_per_workgroup: self.waves_per_work_group,
            matrix_cycles: iterations * self.matrix_cycles_per_iteration,
            vector_cycles: iterations * self.vector_cycles_per_iteration[rounding],
            lds_cycles: 0,
            memory_bytes: 0,
        }
    }

    /// Predicted over published time, without overlap: AITER's loop has none.
    fn ratios(&self, rounding: &str) -> Vec<f64> {
        let ratio = |shape: &Timed| {
            MI300X.predict(&self.work(shape, rounding)).upper.us / (shape.ms[rounding] * 1e3)
        };
        self.shapes.iter().map(ratio).collect()
    }
}

fn published() -> Published {
    serde_json::from_str(include_str!("data/aiter_attention_mi300x.json")).unwrap()
}

/// The sustained clock is the one that makes the geometric mean of the first mode's ratios 1.
#[test]
fn the_clock_is_fitted_to_the_first_rounding_mode() {
    let ratios = published().ratios("rtne");
    let mean = (ratios.iter().map(|ratio| ratio.ln()).sum::<f64>() / ratios.len() as f64).exp();
    assert!((mean - 1.0).abs() < 5e-4, "a clock {mean} times as high would fit");
}

#[test]
fn the_other_rounding_modes_are_predicted() {
    for rounding in ["rtna", "rtz"] {
        let errors: Vec<f64> =
            published().ratios(rounding).iter().map(|ratio| (ratio - 1.0).abs()).collect();
        let mean = errors.iter().sum::<f64>() / errors.len() as f64;
        let max = errors.iter().fold(0.0_f64, |max, &error| max.max(error));
        println!("{rounding}: mean {mean:.4}, max {max:.4}");
        assert!(mean <= 0.025 && max <= 0.04, "{rounding}: mean {mean}, max {max}");
    }
}
